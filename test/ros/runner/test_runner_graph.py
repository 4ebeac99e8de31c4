"""The runner in a ROS graph: joints are matched by name, commands come at the rate, faults stop."""

from __future__ import annotations

import time
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import pytest
from children import wait_until
from runner_rig import JOINTS, PERIOD_S, Graph, GraphMaker, spec, values_by_name
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
RIGHT_IS_MIRRORED = {
    "joints__left_joint__name": "wheel_l",
    "joints__right_joint__name": "wheel_r",
    "joints__right_joint__sign": -1.0,
}


def joint_state() -> Any:
    from sensor_msgs.msg import JointState

    return JointState


def running(graph: Graph, topic: str = "joint_commands", message_type: Any = None) -> list[Any]:
    """Feed the graph until the runner runs; return the list that records its commands."""
    commands = graph.peer.hear(message_type or joint_state(), topic, 200)
    graph.peer.feed()
    graph.activate()
    graph.await_decision("RUN")
    wait_until(lambda: commands, what="a command")
    return commands


def says(commands: list[Any], **expected: float) -> None:
    """Wait until the newest command has exactly these values."""

    def newest() -> dict[str, float]:
        return values_by_name(commands[-1][1]) if commands else {}

    try:
        wait_until(lambda: newest() == expected)
    except AssertionError as error:
        raise AssertionError(f"{error}; newest command: {newest()}") from None


def test_inputs_by_name_commands_by_name_at_the_rate(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    commands = running(graph)
    # left 2 * 1 + 0, right 2 * -2 + 0; the message lists the right joint first, and a foreign one.
    says(commands, left_joint=2.0, right_joint=-4.0)
    begin, first = time.monotonic(), len(commands)
    time.sleep(2.0)
    seconds, count = time.monotonic() - begin, len(commands) - first
    assert count == pytest.approx(seconds / PERIOD_S, rel=0.3)  # the machine is shared
    stamp = commands[-1][1].header.stamp
    assert abs(stamp.sec + stamp.nanosec * 1e-9 - time.time()) < 1.0
    graph.peer.command(0.5, 0.25)
    says(commands, left_joint=2.5, right_joint=-3.75)
    # A silent cmd_vel means zero, not a stop.
    says(commands, left_joint=2.0, right_joint=-4.0)
    values = graph.await_status("loop", "Hz")
    assert float(values["target rate [Hz]"]) == 50.0
    assert float(graph.await_status("inputs", "all inputs arrive")["joints rate [Hz]"]) > 25.0
    assert graph.await_status("safety", "RUN")["holds"] == "0"


def test_partial_joint_states_of_two_publishers_are_merged(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    commands = graph.peer.hear(joint_state(), "joint_commands", 200)
    graph.activate()
    graph.peer.joints({"left_joint": 1.0})
    detail = graph.await_decision("STARTING", "input never seen")
    assert detail == "joints: velocity of right_joint"
    for _ in range(20):
        graph.peer.joints({"left_joint": 3.0})
        graph.peer.joints({"right_joint": 5.0})
        time.sleep(0.02)
    says(commands[-1:], left_joint=6.0, right_joint=10.0)


def test_a_silent_input_holds_with_zeros_and_its_reason_until_it_is_back(
    graphs: GraphMaker,
) -> None:
    graph = graphs(policy={})
    commands = running(graph)
    graph.peer.feeds = False
    detail = graph.await_decision("HOLD", "input too old")
    assert detail.startswith("joints: 0.")
    says(commands, left_joint=0.0, right_joint=0.0)
    values = graph.await_status("safety", "HOLD: joints: ")
    assert (values["decision"], values["reason"], values["holds"]) == ("HOLD", "input too old", "1")
    assert graph.statuses()["safety"].level == b"\1"
    held = len(commands)
    wait_until(lambda: len(commands) > held + 10, what="zeros at the rate")
    graph.peer.feeds = True
    graph.await_decision("RUN")
    says(commands, left_joint=2.0, right_joint=-4.0)


def test_a_nan_in_an_input_holds_and_names_it(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    commands = running(graph)
    graph.peer.speeds = (float("nan"), 1.0)
    detail = graph.await_decision("HOLD", "observation not usable")
    assert "joint_velocity" in detail
    says(commands, left_joint=0.0, right_joint=0.0)
    graph.peer.speeds = (2.0, 1.0)
    graph.await_decision("RUN")
    says(commands, left_joint=4.0, right_joint=2.0)


def test_a_nan_action_stops_until_it_is_armed(graphs: GraphMaker) -> None:
    graph = graphs(policy={"root": True})
    graph.peer.speeds = (2.0, 8.0)
    commands = running(graph)
    says(commands, left_joint=2.0, right_joint=4.0)
    graph.peer.speeds = (-1.0, 8.0)  # the square root of a negative number
    graph.await_decision("SAFE_STOP", "action not finite")
    says(commands, left_joint=0.0, right_joint=0.0)
    assert graph.await_status("safety", "SAFE_STOP")["safe stops"] == "1"
    assert graph.statuses()["safety"].level == b"\2"
    graph.peer.speeds = (2.0, 8.0)
    time.sleep(0.6)  # the fault is gone for longer than hold_recover: SAFE_STOP stays
    graph.await_decision("SAFE_STOP")
    # Arming clears SAFE_STOP, and the policy runs.
    assert graph.peer.trigger("arm").success
    graph.await_decision("RUN")
    says(commands, left_joint=2.0, right_joint=4.0)
    assert all(abs(v) < 100 for _, m in commands for v in m.velocity)


def test_recover_auto_needs_no_arming(graphs: GraphMaker) -> None:
    graph = graphs(policy={"root": True}, safety__recover="auto")
    graph.peer.speeds = (2.0, 8.0)
    commands = running(graph)
    graph.peer.speeds = (-1.0, 8.0)
    says(commands, left_joint=0.0, right_joint=0.0)
    graph.peer.speeds = (2.0, 8.0)
    graph.await_decision("RUN")


def test_dry_run_publishes_on_the_debug_topic_only(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, dry_run=True)
    real = graph.peer.hear(joint_state(), "joint_commands")
    commands = running(graph, "/policy_runner/dry_run")
    says(commands, left_joint=2.0, right_joint=-4.0)
    graph.await_status("safety", "dry run: nothing is commanded")
    assert graph.peer.change("deactivate")
    time.sleep(0.3)
    assert not real
    topics = dict(graph.node.get_publisher_names_and_types_by_node("policy_runner", "/"))
    assert "/joint_commands" not in topics


def test_joint_trajectory(graphs: GraphMaker) -> None:
    from trajectory_msgs.msg import JointTrajectory

    graph = graphs(policy={}, command__type="joint_trajectory")
    commands = running(graph, message_type=JointTrajectory)
    says(commands, left_joint=2.0, right_joint=-4.0)
    (point,) = commands[-1][1].points
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 20_000_000)
    assert not point.positions


def test_float64_multi_array_in_the_receivers_order(graphs: GraphMaker) -> None:
    from std_msgs.msg import Float64MultiArray

    graph = graphs(
        policy={},
        command__type="float64_multi_array",
        command__joint_names=["wheel_r", "wheel_l"],
        **RIGHT_IS_MIRRORED,
    )
    commands = graph.peer.hear(Float64MultiArray, "joint_commands", 200)
    graph.activate()
    for _ in range(25):
        # The robot's right wheel turns the other way: +2 of its own is -2 of the policy's.
        graph.peer.joints({"wheel_r": 2.0, "wheel_l": 1.0})
        time.sleep(0.02)
    assert commands
    message = commands[-1][1]
    assert list(message.data) == [4.0, 2.0]
    assert message.layout.dim[0].label == "wheel_r,wheel_l"
    assert message.layout.dim[0].size == 2


def test_names_signs_and_the_receivers_order_of_joint_states(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, command__joint_names=["wheel_r", "wheel_l"], **RIGHT_IS_MIRRORED)
    commands = graph.peer.hear(joint_state(), "joint_commands", 200)
    graph.activate()
    for _ in range(25):
        graph.peer.joints({"wheel_r": 2.0, "wheel_l": 1.0})
        time.sleep(0.02)
    assert commands
    assert commands[-1][1].name == ["wheel_r", "wheel_l"]
    assert list(commands[-1][1].velocity) == [4.0, 2.0]


def test_a_position_gets_sign_and_offset_and_is_held_at_the_end(graphs: GraphMaker) -> None:
    groups = [{"kind": "position", "joints": list(JOINTS)}]
    graph = graphs(
        policy={"action": [{"tensor": "actions", "groups": groups}]},
        joints__right_joint__sign=-1.0,
        joints__right_joint__offset=0.5,
    )
    commands = graph.peer.hear(joint_state(), "joint_commands", 200)
    graph.peer.speeds = (1.0, 2.0)  # the robot's speeds; the policy sees 1 and -2
    graph.peer.feed()
    graph.activate()
    graph.await_decision("RUN")
    held = {"left_joint": 2.0, "right_joint": 4.5}  # -1 * (2 * -2) + 0.5
    wait_until(lambda: commands and values_by_name(commands[-1][1], "position") == held)
    assert not commands[-1][1].velocity
    graph.peer.feeds = False
    graph.await_decision("HOLD")
    assert values_by_name(commands[-1][1], "position") == held
    assert graph.peer.change("deactivate")
    time.sleep(0.3)
    assert values_by_name(commands[-1][1], "position") == held


def test_limits_hold_and_change_while_it_runs(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, joints__right_joint__lower=-1.5, joints__left_joint__upper=1.0)
    commands = running(graph)
    says(commands, left_joint=1.0, right_joint=-1.5)
    assert int(graph.await_status("safety", "RUN")["limit hits left_joint"]) > 0
    assert graph.peer.set(joints__left_joint__upper=1.25) == []
    says(commands, left_joint=1.25, right_joint=-1.5)
    (reason,) = graph.peer.set(joints__left_joint__upper=-0.5)
    assert "bounds around 0, since a velocity must be able to stop" in reason
    (reason,) = graph.peer.set(joints__right_joint__upper=-2.0)
    assert "parameter joints.right_joint.lower: expected at most upper (-2), got -1.5" in reason
    (reason,) = graph.peer.set(rate=50.0)
    assert "parameter rate: read while configuring" in reason
    says(commands, left_joint=1.25, right_joint=-1.5)
    assert graph.peer.set(joints__left_joint__max_rate=0.5) == []
    graph.peer.speeds = (-5.0, 0.0)
    begin = len(commands)
    wait_until(lambda: values_by_name(commands[-1][1])["left_joint"] < 0.5)
    steps = [m.velocity[0] for _, m in commands[begin:]]
    falling = [a - b for a, b in pairwise(steps) if a != b]
    assert falling == pytest.approx([0.5 * PERIOD_S] * len(falling))


def test_reset_starts_recurrent_state_anew(graphs: GraphMaker) -> None:
    graph = graphs(policy={"counts": True})
    commands = running(graph)
    wait_until(lambda: commands[-1][1].velocity[0] > 20.0)
    assert graph.peer.trigger("reset").success
    wait_until(lambda: commands[-1][1].velocity[0] < 15.0, what="a count from 0")
    values = [m.velocity[0] for _, m in commands]
    assert values.count(0.0) >= 2  # at activation and at the reset
    assert graph.peer.change("deactivate")
    answer = graph.peer.trigger("reset")
    assert (answer.success, answer.message) == (False, "the node is not active")
    assert not graph.peer.trigger("arm").success


def test_decimation_infers_every_nth_tick_and_publishes_every_tick(graphs: GraphMaker) -> None:
    graph = graphs(policy={"counts": True}, decimation=4)
    commands = running(graph)
    wait_until(lambda: commands[-1][1].velocity[0] > 10.0)
    values = [m.velocity[0] for _, m in commands]
    full = [values.count(v) for v in sorted(set(values))[1:-1]]
    assert set(full) == {4}
    assert float(graph.await_status("loop", "Hz")["target rate [Hz]"]) == 200.0


def test_deactivate_sends_zeros_as_the_last_command(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    commands = running(graph)
    says(commands, left_joint=2.0, right_joint=-4.0)
    assert graph.peer.change("deactivate")
    says(commands, left_joint=0.0, right_joint=0.0)
    count = len(commands)
    time.sleep(0.3)
    assert len(commands) == count
    assert graph.await_status("safety", "not active")["decision"] == "not active"
    # Repeat it: nothing is left of the first time, and the loop works as before.
    assert graph.peer.change("activate")
    graph.await_decision("RUN")
    says(commands, left_joint=2.0, right_joint=-4.0)
    assert graph.node.loop.last_command_acknowledged is None
    loop = graph.node.loop
    assert graph.peer.change("deactivate")
    assert loop.last_command_acknowledged is True


def test_inferences_above_the_period_are_counted_and_the_executor_warns(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"inner": 1600, "control_dt": 0.001}
    graph = graphs(policy=changes, diagnostics__log_interval=60.0, safety__late_inferences=0)
    running(graph)
    values = graph.await_status("inference", "inferences took longer than the period")
    assert int(values["above period"]) > 0
    assert float(values["inference p50 [us]"]) > 1000.0
    assert graph.statuses()["inference"].level == b"\1"
    graph.await_status("loop", "deadlines missed")
    time.sleep(0.5)
    graph.peer.change("deactivate")
    assert capfd.readouterr().err.count("inferences took longer than their period") == 1


def test_a_namespace_and_a_remapping(graphs: GraphMaker) -> None:
    remapping = ("-r", "joint_commands:=/base/commands", "-r", "joint_states:=wheels")
    graph = graphs(policy={}, namespace="/robot1", arguments=remapping)
    commands = graph.peer.hear(joint_state(), "/base/commands")
    graph.peer.feed(topic="/robot1/wheels")
    graph.activate()
    graph.await_decision("RUN")
    says(commands, left_joint=2.0, right_joint=-4.0)
    assert graph.await_status("model", "toy")["policy"] == "toy"
    assert graph.statuses()["model"].name == "/robot1/policy_runner: model"


def test_qos_overrides_of_an_input(graphs: GraphMaker) -> None:
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import JointState

    key = "qos_overrides./joint_states.subscription.reliability"
    graph = graphs(policy={}, arguments=("-p", f"{key}:=reliable"))
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    graph.peer.publisher(JointState, "joint_states", best_effort)
    graph.peer.feed()
    graph.activate()
    graph.await_status("inputs", "joints: incompatible QoS on /joint_states")
    graph.await_decision("STARTING", "input never seen")
    assert graph.peer.change("deactivate")
    assert graph.peer.change("cleanup")
    assert graph.peer.change("configure"), graph.node._problems  # declared before: no fault


def test_silence_is_explained(graphs: GraphMaker) -> None:
    import rclpy
    from std_msgs.msg import String

    graph = graphs(policy={})
    graph.activate()
    graph.await_status("inputs", "joints: no publisher on /joint_states")
    context = rclpy.Context()  # one participant cannot have two types on one topic
    rclpy.init(context=context)
    stranger = rclpy.create_node("stranger", context=context)
    stranger.create_publisher(String, "joint_states", 10)
    sentence = (
        "joints: /joint_states carries std_msgs/msg/String, expected sensor_msgs/msg/JointState"
    )
    graph.await_status("inputs", sentence)
    stranger.destroy_node()
    context.try_shutdown()
    for _ in range(30):
        graph.peer.joints({"somebody_elses_joint": 1.0})
        time.sleep(0.02)
    sentence = "joints: velocity of left_joint, velocity of right_joint"
    graph.await_status("inputs", sentence)
    graph.await_status("inputs", "command: no publisher on /cmd_vel")
    graph.peer.joints({"left_joint": 1.0, "right_joint": 1.0})
    graph.peer.command(0.0, 0.0)
    graph.await_status("inputs", "all inputs arrive")


def test_an_unusable_message_is_counted_and_said(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy={})
    commands = running(graph)
    publisher = graph.peer.publisher(JointState, "joint_states")
    graph.peer.feeds = False
    for _ in range(20):
        publisher.publish(JointState(name=["left_joint", "right_joint"], velocity=[1.0]))
        time.sleep(0.02)
    detail = graph.await_decision("HOLD", "input too old")
    assert detail == "joints: 1 values of velocity for 2 names"
    values = graph.await_status("inputs", "joints: 1 values of velocity for 2 names")
    assert int(values["joints refused"]) > 10
    says(commands, left_joint=0.0, right_joint=0.0)
    graph.peer.feeds = True
    graph.await_decision("RUN")


def test_an_imu_without_orientation_is_unusable(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import Imu

    given = spec()
    given["inputs"]["imu"] = {"type": "sensor_msgs/msg/Imu", "topic": "imu"}
    given["observation"][0]["terms"] = [
        {"term": "projected_gravity", "input": "imu"},
        {"term": "field", "input": "imu", "field": "angular_velocity.z"},
    ]
    given["inputs"] = {"imu": given["inputs"]["imu"]}
    graph = graphs(policy=given, safety__max_tilt=1.0)
    graph.activate()
    publisher = graph.peer.publisher(Imu, "imu")
    message = Imu()
    message.orientation_covariance[0] = -1.0
    message.orientation.w = 1.0

    def publish(count: int) -> None:
        for _ in range(count):
            publisher.publish(message)
            time.sleep(0.02)

    publish(20)
    graph.await_status("inputs", "imu: no orientation (orientation_covariance[0] is -1)")
    message.orientation_covariance[0] = 0.0
    publish(20)
    message.orientation.w, message.orientation.x = 0.0, 1.0  # upside down
    publish(5)
    assert graph.await_decision("SAFE_STOP", "robot tipped") == "180 degrees"


def test_an_executor_that_fails_is_no_concern_of_the_loop(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    commands = running(graph)

    def fail(*_args: Any) -> None:
        raise RuntimeError("odd")

    whole, graph.node._report = graph.node._report, fail
    graph.node.create_timer(0.05, fail)
    wait_until(lambda: graph.runner.executor.exceptions > 3)
    count = len(commands)
    wait_until(lambda: len(commands) > count + 20)
    assert graph.peer.state() == "active"
    graph.node._report = whole
