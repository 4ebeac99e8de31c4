"""The simulated robot as a process: lockstep by stamp, real time, its report and its end."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("mujoco") is None,
    reason="the simulated robot as a node needs rclpy and mujoco",
)

TICK_NS = 10_000_000
MAIN = ["python", "-m", "policy_runner.ros.simulated_robot.main"]
INPUTS = ("imu/data", "joint_states", "odom", "cmd_vel", "/clock")


def stamp_ns(message: Any) -> int:
    stamp = message.clock if hasattr(message, "clock") else message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


class Answerer:
    """Receives everything that the robot publishes, and answers when the test wants it."""

    def __init__(self, trajectory: bool = False) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import TwistStamped
        from nav_msgs.msg import Odometry
        from rclpy.executors import SingleThreadedExecutor
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import Imu, JointState
        from trajectory_msgs.msg import JointTrajectory

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("answerer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = {name: [] for name in (*INPUTS, "/diagnostics")}
        types = (Imu, JointState, Odometry, TwistStamped, Clock, DiagnosticArray)
        for name, kind in zip(self.heard, types):
            self.node.create_subscription(kind, name, self.heard[name].append, 100)
        self._command_type = JointTrajectory if trajectory else JointState
        self.commands = self.node.create_publisher(self._command_type, "joint_commands", 10)
        self.statuses = self.node.create_publisher(DiagnosticArray, "policy_runner/status", 10)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def spin_until(self, done: Callable[[], Any], timeout_s: float = 15.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, "nothing heard in time"
            self.executor.spin_once(timeout_sec=0.02)

    def newest(self) -> int:
        """The newest time that every input and /clock have, or 0."""
        return min(stamp_ns(self.heard[n][-1]) if self.heard[n] else 0 for n in INPUTS)

    def await_time(self, stamp: int) -> None:
        self.spin_until(lambda: self.newest() == stamp)

    def command(self, stamp: int, left: float = 0.0, right: float = 0.0) -> None:
        """Publish targets, right wheel first, because only names count."""
        from trajectory_msgs.msg import JointTrajectoryPoint

        message = self._command_type()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        names = ["right_wheel_joint", "left_wheel_joint"]
        if hasattr(message, "points"):
            message.joint_names = names
            message.points = [JointTrajectoryPoint(velocities=[right, left])]
        else:
            message.name, message.velocity = names, [right, left]
        self.commands.publish(message)

    def status(self, stamp: int) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        message = DiagnosticArray()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        self.statuses.publish(message)


@pytest.fixture
def answerer() -> Iterator[Answerer]:
    made = Answerer()
    yield made
    made.close()


def start(spawn: Any, report: Path, **parameters: Any) -> Any:
    words = [f"{name}:={value}" for name, value in {**parameters, "report": report}.items()]
    return spawn([*MAIN, "--ros-args", *(part for word in words for part in ("-p", word))])


def finish(child: Any, report: Path, code: int = 0) -> dict[str, Any]:
    assert child.wait(15.0) == code, child.quote()
    read: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return read


def test_lockstep_goes_by_stamp(spawn: Any, answerer: Answerer, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    child = start(spawn, report, mode="lockstep", duration=0.05, seed=3)
    answerer.await_time(TICK_NS)
    # Without an answer it repeats all five messages with the same time, and does not continue.
    answerer.spin_until(lambda: len(answerer.heard["/clock"]) >= 3)
    for name in INPUTS:
        assert {stamp_ns(m) for m in answerer.heard[name]} == {TICK_NS}, name
    first, again = answerer.heard["imu/data"][0], answerer.heard["imu/data"][-1]
    assert first == again
    # An answer to another time does not count.
    answerer.command(2 * TICK_NS)
    answerer.command(0)
    heard = len(answerer.heard["/clock"])
    answerer.spin_until(lambda: len(answerer.heard["/clock"]) >= heard + 2)
    assert answerer.newest() == TICK_NS
    for tick in range(1, 4):
        answerer.await_time(tick * TICK_NS)
        answerer.command(tick * TICK_NS, 1.0, -1.0)
    for tick in (4, 5):  # a status instead of a command
        answerer.await_time(tick * TICK_NS)
        answerer.status(tick * TICK_NS)
    got = finish(child, report)
    assert got["simulated_s"] == 0.05
    assert (got["commands"], got["answered_by_status"]) == (3, 2)
    assert got["error"] == ""


def test_what_it_publishes_is_the_robot(spawn: Any, answerer: Answerer, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    child = start(spawn, report, mode="lockstep", duration=0.3, seed=0, pushes=False)
    for tick in range(1, 31):
        answerer.await_time(tick * TICK_NS)
        answerer.command(tick * TICK_NS, 3.0, -3.0)
    finish(child, report)
    joints, odom = answerer.heard["joint_states"][-1], answerer.heard["odom"][-1]
    # The robot's order, not the policy's.
    assert joints.name == ["right_wheel_joint", "left_wheel_joint"]
    assert joints.velocity[0] < -1.0 < 1.0 < joints.velocity[1]
    assert odom.twist.twist.linear.x > 0.1  # left +, right - is forward
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    imu = answerer.heard["imu/data"][0]
    assert imu.header.frame_id == "imu_link"
    assert 0.01 < abs(imu.orientation.y) < 0.05  # it starts tilted, forward or backward
    command = answerer.heard["cmd_vel"][0].twist
    assert abs(command.linear.x) <= 0.6
    assert abs(command.angular.z) <= 1.0
    (balance,) = answerer.heard["/diagnostics"][0].status
    assert balance.name == "simulated_robot: balance"
    keys = [pair.key for pair in balance.values]
    assert keys[:7] == [
        "upright [s]",
        "falls",
        "simulated [s]",
        "commands",
        "upright share",
        "velocity rmse forward [m/s]",
        "velocity rmse yaw [rad/s]",
    ]


def test_a_stall_and_a_repetition_leave_the_run_as_it_was(spawn: Any, tmp_path: Path) -> None:
    """The same answers give the same numbers, no matter how long they take."""
    ends = []
    for number, stall_s in enumerate((0.0, 0.3)):
        answerer = Answerer()
        try:
            report = tmp_path / f"out{number}.json"
            child = start(spawn, report, mode="lockstep", duration=0.2, seed=1, repeat_after=0.05)
            for tick in range(1, 21):
                answerer.await_time(tick * TICK_NS)
                if tick == 7:
                    time.sleep(stall_s)
                answerer.command(tick * TICK_NS, 0.1 * tick, -0.2 * tick)
                answerer.command(tick * TICK_NS, 0.1 * tick, -0.2 * tick)  # a repeated answer
            finish(child, report)
            imu, odom = answerer.heard["imu/data"][-1], answerer.heard["odom"][-1]
            ends.append((imu.orientation, imu.angular_velocity, odom.pose.pose))
        finally:
            answerer.close()
    assert ends[0] == ends[1]


def test_without_an_answer_it_ends_as_an_error(
    spawn: Any, answerer: Answerer, tmp_path: Path
) -> None:
    report = tmp_path / "out.json"
    child = start(spawn, report, mode="lockstep", answer_timeout=0.5)
    answerer.await_time(TICK_NS)
    answerer.command(TICK_NS)
    answerer.await_time(2 * TICK_NS)
    start_s = time.monotonic()
    got = finish(child, report, code=1)
    assert time.monotonic() - start_s < 5.0
    for text in (child.stderr, got["error"]):
        assert "no answer to simulated time 0.020 s within 0.5 s" in text
        assert "joint_commands (1 publishers)" in text
        assert "policy_runner/status (1 publishers)" in text
    assert got["commands"] == 1


def test_the_first_answer_has_its_own_time(spawn: Any, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    child = start(spawn, report, mode="lockstep", answer_timeout=0.05, first_answer_timeout=0.6)
    got = finish(child, report, code=1)
    assert "within 0.6 s" in got["error"]
    assert "joint_commands (0 publishers)" in got["error"]


def test_a_joint_trajectory_is_an_answer_too(spawn: Any, tmp_path: Path) -> None:
    answerer = Answerer(trajectory=True)
    try:
        report = tmp_path / "out.json"
        child = start(spawn, report, mode="lockstep", duration=0.1, command_type="joint_trajectory")
        for tick in range(1, 11):
            answerer.await_time(tick * TICK_NS)
            answerer.command(tick * TICK_NS, 3.0, -3.0)
        assert finish(child, report)["commands"] == 10
        assert answerer.heard["odom"][-1].twist.twist.linear.x > 0.05
    finally:
        answerer.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_real_time_ends_on_a_signal_with_its_report(
    spawn: Any, answerer: Answerer, tmp_path: Path, number: signal.Signals
) -> None:
    report = tmp_path / "out.json"
    child = start(spawn, report, pushes=False)
    answerer.spin_until(lambda: len(answerer.heard["odom"]) >= 50)
    first, last = (stamp_ns(answerer.heard["odom"][i]) for i in (-50, -1))
    assert (last - first) / 49 == pytest.approx(TICK_NS, rel=0.2)
    assert abs(time.time_ns() - last) < 2e9  # wall time, without /clock
    assert not answerer.heard["/clock"]
    # The robot is held until a command moves a wheel: silence and zeros do not release it.
    answerer.command(0)
    answerer.spin_until(lambda: len(answerer.heard["odom"]) >= 150)
    assert answerer.heard["odom"][0].pose == answerer.heard["odom"][-1].pose
    answerer.command(0, 1.0, -1.0)
    answerer.spin_until(lambda: answerer.heard["joint_states"][-1].velocity[1] > 0.5)
    answerer.spin_until(lambda: abs(answerer.heard["imu/data"][-1].orientation.y) > 0.38)
    start_s = time.monotonic()
    child.send(number)
    got = finish(child, report)
    assert time.monotonic() - start_s < 2.0
    assert got["mode"] == "realtime"
    assert got["commands"] == 1
    assert got["simulated_s"] > 0.3
    assert got["falls"] == 1  # it was released, and its wheels stop after 0.2 s without a command


def test_a_stopped_robot_stands_up_and_is_held(
    spawn: Any, answerer: Answerer, tmp_path: Path
) -> None:
    """As after ~/estop in the demo: ~/arm refuses a tipped robot, so it must not fall again."""
    report = tmp_path / "out.json"
    child = start(spawn, report, pushes=False)

    def tilt(message: Any = None) -> float:
        turned = (message or answerer.heard["imu/data"][-1]).orientation
        return math.hypot(turned.x, turned.y)  # the sine of half the tilt, at any heading

    answerer.spin_until(lambda: bool(answerer.heard["imu/data"]))
    answerer.command(0, 1.0, -1.0)
    answerer.spin_until(lambda: tilt() > 0.38)  # it falls, without further commands
    answerer.spin_until(lambda: tilt() < 0.1)  # it has stood up
    count = len(answerer.heard["imu/data"])
    answerer.command(0)
    answerer.spin_until(lambda: len(answerer.heard["imu/data"]) >= count + 150)
    assert max(map(tilt, answerer.heard["imu/data"][-100:])) < 0.1
    answerer.command(0, 1.0, -1.0)  # the policy commands again
    answerer.spin_until(lambda: tilt() > 0.38)
    child.send(signal.SIGINT)
    assert finish(child, report)["falls"] == 2


def test_real_time_with_a_duration_does_not_wait_for_ever(spawn: Any, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    child = start(spawn, report, duration=1.0, first_answer_timeout=0.3)
    got = finish(child, report, code=1)
    assert "no command other than zero on joint_commands within 0.3 s (0 publ" in got["error"]
    assert got["simulated_s"] == 0.0


def test_no_screen_is_one_sentence_and_no_reason_to_stop(spawn: Any, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    child = spawn(
        [*MAIN, "--viewer", "--ros-args", "-p", "duration:=0.1", "-p", "hold:=false"]
        + ["-p", f"report:={report}"],
        env={"DISPLAY": "", "WAYLAND_DISPLAY": ""},
    )
    assert finish(child, report)["simulated_s"] == 0.1
    assert "viewer: there is no screen" in child.stderr + child.stdout


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ("mode:=fast", "parameter mode: expected one of realtime, lockstep, got 'fast'"),
        ("rate:=300", "rate: physics.timestep: expected a divisor of 0.00333333 s, the control"),
        ("command_delay:=-1.0", "parameter command_delay: expected a float in 0..1 (s), got -1"),
        ("report:=/no/such/folder/out.json", "parameter report: expected a file in a folder"),
    ],
)
def test_a_bad_parameter_is_one_sentence(spawn: Any, parameter: str, sentence: str) -> None:
    child = spawn([*MAIN, "--ros-args", "-p", parameter])
    assert child.wait(15.0) == 1
    assert f"simulated_robot: {sentence}" in child.stderr
    assert "Traceback" not in child.stderr
