"""A robot from a file as a node: its sensors, every command type, and lockstep."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim_rig import TOY_JOINTS, robot_file

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("mujoco") is None,
    reason="a robot from a file as a node needs rclpy and mujoco",
)

GAINS = {"stiffness": 60.0, "damping": 3.0}
STAND = np.tile([0.5, -1.0], 4)
TICK_NS = 20_000_000
VALUES = {
    "rate": 50,
    "period": 0.0,
    "twist": [],
    "command_delay": 0.0,
    "seed": 0,
    "fallen_tilt": 1.0,
}
MAIN = ["python", "-m", "policy_runner.ros.simulated_robot.main"]


class Graph:
    """Another node in this process: hears sensors and sends commands."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("other", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = {}

    def hear(self, message_type: Any, topic: str) -> None:
        self.heard[topic] = []
        self.node.create_subscription(message_type, topic, self.heard[topic].append, 50)

    def spin_until(self, done: Callable[[], Any], timeout_s: float = 20.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, "nothing heard in time"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def graph() -> Iterator[Graph]:
    made = Graph()
    yield made
    made.close()


def arguments(**parameters: Any) -> list[str]:
    words = [f"{name}:={json.dumps(value)}" for name, value in parameters.items()]
    return [*MAIN, "--ros-args", *(part for word in words for part in ("-p", word))]


def write(folder: Path, **keys: Any) -> str:
    robot_file(folder, "toy.xml", start={"keyframe": "home"}, actuators=GAINS, **keys)
    return str(folder / "robot.yaml")


def test_its_sensors_are_topics(spawn: Any, graph: Graph, tmp_path: Path) -> None:
    from nav_msgs.msg import Odometry
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import Imu, JointState
    from std_msgs.msg import Float64MultiArray

    robot = write(
        tmp_path,
        sensors={
            "body/imu": {"type": "imu", "gyro": "rates", "frame_id": "chip"},
            "joint_states": {"type": "joint_states"},
            "odom": {"type": "odometry", "child_frame_id": "trunk"},
            "feet": {"type": "contacts", "of": ["FL_foot", "FR_foot", "RL_foot", "RR_foot"]},
            "extra": {"type": "sensors", "names": ["attitude", "rates"]},
        },
    )
    kinds = {
        "body/imu": Imu,
        "joint_states": JointState,
        "odom": Odometry,
        "feet": Float64MultiArray,
        "extra": Float64MultiArray,
        "/clock": Clock,
    }
    for topic, kind in kinds.items():
        graph.hear(kind, topic)
    child = spawn(arguments(robot=robot, mode="lockstep", rate=50, shuffle_joints=3, seed=1))
    graph.spin_until(lambda: all(graph.heard.values()))
    first = {topic: messages[0] for topic, messages in graph.heard.items()}
    assert first["/clock"].clock.nanosec == TICK_NS
    for topic in ("body/imu", "joint_states", "odom"):
        assert first[topic].header.stamp.nanosec == TICK_NS
    joints = first["joint_states"]
    assert list(joints.name) != TOY_JOINTS
    assert dict(zip(joints.name, joints.position)) == dict(zip(TOY_JOINTS, STAND))
    assert len(joints.effort) == 8
    assert first["body/imu"].header.frame_id == "chip"
    assert first["odom"].child_frame_id == "trunk"
    assert first["odom"].pose.pose.position.z == pytest.approx(0.31)
    assert first["feet"].layout.dim[0].label == "FL_foot,FR_foot,RL_foot,RR_foot"
    assert first["extra"].data[0] == pytest.approx(1.0)
    child.send(2)
    child.wait(10.0)


def test_every_type_of_command_moves_it(graph: Graph, tmp_path: Path) -> None:
    """In this process: the node's own parts, without waiting for a clock."""
    from geometry_msgs.msg import TwistStamped
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64, Float64MultiArray, MultiArrayDimension
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    from policy_runner.ros.simulated_robot.command_reader import CommandReader
    from policy_runner.ros.simulated_robot.worlds import PlantWorld
    from policy_runner.sim.plant.plant import Plant
    from policy_runner.sim.robot_file.robot_reader import read_robot

    plant = Plant(read_robot(write(tmp_path, twist={"drive": "base"})))
    reader = CommandReader(plant.joint_names)

    def after(messages: list[tuple[Any, str, tuple[str, ...]]], ticks: int = 25) -> Any:
        world = PlantWorld(plant, VALUES)
        for _ in range(ticks):
            commands = [one for given in messages for one in reader.read(*given)]
            world.tick(commands)
        assert reader.ignored == 0, reader.problem
        return plant.read.joint_positions, plant.read.position("trunk")

    bent = np.tile([0.7, -1.4], 4)
    shuffled = TOY_JOINTS[::-1]
    ends = []
    state = JointState(name=shuffled, position=bent[::-1].tolist())
    ends.append(after([(state, "position", ())])[0])
    point = JointTrajectoryPoint(positions=bent[::-1].tolist())
    trajectory = JointTrajectory(joint_names=shuffled, points=[point])
    ends.append(after([(trajectory, "position", ())])[0])
    array = Float64MultiArray(data=bent[::-1].tolist())
    array.layout.dim = [MultiArrayDimension(label=",".join(shuffled), size=8, stride=8)]
    ends.append(after([(array, "position", ())])[0])
    singles = [(Float64(data=value), "position", (name,)) for name, value in zip(TOY_JOINTS, bent)]
    ends.append(after(singles)[0])
    assert ends[0] == pytest.approx(bent, abs=0.12)
    for end in ends[1:]:
        assert end.tobytes() == ends[0].tobytes()
    velocity = JointState(name=["FL_knee"], velocity=[-1.0])
    moved, _ = after([(velocity, "velocity", ())], 10)
    assert moved[1] < -1.08
    effort = JointState(name=["FL_knee"], effort=[-6.0])
    moved, _ = after([(effort, "effort", ())], 10)
    assert moved[1] < -1.3
    twist = TwistStamped()
    twist.twist.linear.x = 0.5
    _, place = after([(twist, "twist", ())], 50)
    assert place[0] == pytest.approx(0.5, abs=0.1)


def alone(folder: Path) -> tuple[Any, Any]:
    """The robot and its world, in this process."""
    from policy_runner.ros.simulated_robot.worlds import PlantWorld
    from policy_runner.sim.plant.plant import Plant
    from policy_runner.sim.robot_file.robot_reader import read_robot

    plant = Plant(read_robot(write(folder)))
    return plant, PlantWorld(plant, VALUES)


def test_several_points_of_a_trajectory_follow_their_times(tmp_path: Path) -> None:
    from policy_runner.ros.simulated_robot.command_reader import SentCommand

    plant, world = alone(tmp_path)
    knee = plant.model.actuator_trnid[:, 0].tolist().index(plant.model.joint("FL_knee").id)
    points = [SentCommand(0, "position", ["FL_knee"], [-1.0], {}, 0)]
    points += [SentCommand(0, "position", ["FL_knee"], [-1.4], {}, 20 * TICK_NS)]
    world.tick(points)
    sent = []
    for _ in range(24):
        world.tick(None)
        sent.append(plant.data.ctrl[knee])
    assert sent[:3] == pytest.approx([-1.02, -1.04, -1.06])
    assert sent[19:] == pytest.approx([-1.4] * 5)


def test_a_trajectory_plays_next_to_commands_of_another_kind(tmp_path: Path) -> None:
    from policy_runner.ros.simulated_robot.command_reader import SentCommand

    plant, world = alone(tmp_path)
    knee = plant.model.actuator_trnid[:, 0].tolist().index(plant.model.joint("FL_knee").id)
    points = [
        SentCommand(0, "position", ["FL_knee"], [value], {}, after_ns)
        for value, after_ns in ((-1.0, 0), (-1.4, 20 * TICK_NS))
    ]
    other = SentCommand(0, "velocity", ["FR_knee"], [0.1], {})
    sent = []
    for commands in ([*points, other], [other], [other]):
        world.tick(commands)
        sent.append(plant.data.ctrl[knee])
    assert sent == pytest.approx([-1.0, -1.02, -1.04])


def test_silence_ends_velocities_and_holds_positions(tmp_path: Path) -> None:
    from policy_runner.ros.simulated_robot.command_reader import SentCommand

    plant, world = alone(tmp_path)
    ids = plant.model.actuator_trnid[:, 0].tolist()
    hip, knee = (ids.index(plant.model.joint(f"FL_{name}").id) for name in ("hip", "knee"))
    world.tick(
        [
            SentCommand(0, "position", ["FL_hip"], [0.6], {}),
            SentCommand(0, "velocity", ["FL_knee"], [0.8], {}),
        ]
    )
    assert plant.data.ctrl[[hip, knee]].tolist() == [0.6, 0.8]
    for _ in range(12):
        world.tick(None)
    assert plant.data.ctrl[[hip, knee]].tolist() == [0.6, 0.0]


def test_silence_ends_velocities_that_came_in_messages_of_their_own(tmp_path: Path) -> None:
    from policy_runner.ros.simulated_robot.command_reader import SentCommand

    plant, world = alone(tmp_path)
    ids = plant.model.actuator_trnid[:, 0].tolist()
    legs = [ids.index(plant.model.joint(f"{leg}_knee").id) for leg in ("FL", "FR")]
    world.tick([SentCommand(0, "velocity", [f"{leg}_knee"], [0.8], {}) for leg in ("FL", "FR")])
    assert plant.data.ctrl[legs].tolist() == [0.8, 0.8]
    for _ in range(12):
        world.tick(None)
    assert plant.data.ctrl[legs].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"robot": "/no/robot.yaml"}, "expected a robot.yaml, an MJCF or a URDF, got no such file"),
        (
            {"robot": "", "task": "reach"},
            "parameter task: expected none without `robot`, got reach",
        ),
        ({"task": "reach"}, "model.file: expected a site fingertip, a mocap body ball and two"),
        ({"rate": 77}, "physics.timestep: expected a divisor of"),
        ({"command_kinds": ["dance"]}, "command_kinds: expected some of position, velocity"),
    ],
)
def test_a_bad_robot_is_one_sentence(
    spawn: Any, tmp_path: Path, parameters: dict[str, Any], sentence: str
) -> None:
    child = spawn(arguments(**{"robot": write(tmp_path), **parameters}))
    assert child.wait(20.0) == 1
    assert f"simulated_robot: {sentence}" in child.stderr.replace(str(tmp_path), "").replace(
        "/no/robot.yaml: ", ""
    ).replace("/robot.yaml: ", "")
    assert "Traceback" not in child.stderr
