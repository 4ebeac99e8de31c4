"""A reload while the robot runs: swapped completely between two ticks, or not at all."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from runner_rig import JOINTS, PERIOD_S, Graph, GraphMaker, spec, values_by_name, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


class Robot:
    """An active runner, the peer that feeds it, and all commands that the peer receives."""

    def __init__(self, graphs: GraphMaker, tmp_path: Path, **given: Any) -> None:
        from sensor_msgs.msg import JointState

        self.folder = tmp_path / "policy"
        self.graph: Graph = graphs(**given)
        self.peer = self.graph.peer
        self.commands = self.peer.hear(JointState, "joint_commands", qos=500)
        self.peer.feed(rate_hz=200.0)

    def run(self) -> Robot:
        self.graph.activate()
        self.graph.await_decision("RUN")
        wait_until(lambda: len(self.commands) > 5, 10.0, "commands")
        return self

    @property
    def command(self) -> dict[str, float]:
        return values_by_name(self.commands[-1][1])

    def await_command(self, expected: tuple[float, ...], timeout_s: float = 5.0) -> None:
        def there() -> bool:
            return [self.command[joint] for joint in JOINTS] == pytest.approx(list(expected))

        wait_until(there, timeout_s, f"a command of {expected}, not {self.command}")

    def reload(self) -> Any:
        return self.peer.trigger("reload")

    def is_without_gap(self, since_s: float) -> float:
        times = [at for at, _ in self.commands if at >= since_s]
        return max(b - a for a, b in pairwise(times))


RobotMaker = Callable[..., Robot]


@pytest.fixture
def robots(graphs: GraphMaker, tmp_path: Path) -> RobotMaker:
    def make(policy: dict[str, Any] | None = None, **parameters: Any) -> Robot:
        return Robot(graphs, tmp_path, policy=policy or {}, **parameters)

    return make


def entities(graph: Graph) -> dict[str, int]:
    node = graph.node
    return {
        "subscriptions": len(list(node.subscriptions)),
        "publishers": len(list(node.publishers)),
        "timers": len(list(node.timers)),
        "default group": len(node.default_callback_group.entities),
        "parameters": len(node.parameters.names),
        "threads": sum(t.name in ("control", "reload") for t in threading.enumerate()),
    }


def sent_on(robot: Robot) -> set[int]:
    return {id(one) for one in robot.graph.node.publishers}


def test_a_new_model_takes_over_without_a_gap(robots: RobotMaker) -> None:
    robot = robots().run()
    robot.await_command((2.0, -4.0))  # twice the speeds
    before = robot.graph.node.configured
    loop, publishers = robot.graph.node.loop, sent_on(robot)
    topics = [one.polled.subscription for one in before.inputs]
    begin = time.monotonic()
    write_policy(robot.folder, counts=True)
    answer = robot.reload()
    assert answer.success, answer.message
    assert "toy runs" in answer.message
    wait_until(lambda: robot.command["left_joint"] > 10.0, 5.0, "the new policy's commands")
    # No stop, no new discovery of topics, and the new policy's first inference counts as its first.
    assert robot.is_without_gap(begin) < 0.2
    made = robot.graph.node.configured
    assert made is not before
    assert robot.graph.node.loop is loop
    assert [one.polled.subscription for one in made.inputs] == topics
    assert sent_on(robot) == publishers
    begun = [values_by_name(m)["left_joint"] for at, m in robot.commands if at > begin]
    first = begun.index(0.0)  # the new count begins at 0
    assert set(begun[:first]) <= {2.0}
    assert begun[first + 1] > 0.0
    assert robot.graph.await_status("model", "")["last reload"] == answer.message
    assert {m.status[0].message for at, m in robot.graph.heartbeat() if at > begin} <= {"RUN"}


def test_the_rate_limit_goes_on_from_the_last_command(robots: RobotMaker) -> None:
    limits = {f"joints__{joint}__max_rate": 5.0 for joint in JOINTS}
    robot = robots({"counts": True}, **limits, joints__left_joint__upper=8.0).run()
    wait_until(lambda: robot.command["left_joint"] > 7.99, 10.0, "the upper bound")
    write_policy(robot.folder)
    robot.peer.speeds = (-1.0, 1.0)
    begin = time.monotonic()
    assert robot.reload().success
    robot.await_command((-2.0, 2.0), 10.0)
    course = [values_by_name(m)["left_joint"] for at, m in robot.commands if at > begin - 0.2]
    # 0.1 per tick. A lost message shows as a multiple of that, never as the whole distance.
    steps = [abs(b - a) for a, b in pairwise(course)]
    assert max(steps) < 5.0 * PERIOD_S * 4
    assert sum(step > 0.05 for step in steps) > 50


def test_histories_and_states_start_anew(robots: RobotMaker) -> None:
    robot = robots({"counts": True}).run()
    wait_until(lambda: robot.command["left_joint"] > 60.0, 10.0)
    assert robot.reload().success  # the same files
    wait_until(lambda: robot.command["left_joint"] < 50.0, 2.0, "a reset count")


@pytest.mark.parametrize("fault", ["no file", "corrupt", "interface", "spec", "gone", "unheard"])
def test_what_is_wrong_is_said_and_the_old_policy_goes_on(robots: RobotMaker, fault: str) -> None:
    robot = robots({"counts": True}).run()
    made, names = robot.graph.node.configured, set(robot.graph.node.parameters.names)
    model = robot.folder / "toy.onnx"
    begin = time.monotonic()
    count = robot.command["left_joint"]
    expected = {
        "no file": ["no file", "toy.onnx"],
        "corrupt": ["an ONNX model that ONNX Runtime can load"],
        "interface": ["terms that add up to the 4 elements of 'obs'", "joint_effort 2"],
        "spec": ["control_dt", "names"],
        "gone": ["no such file"],
        "unheard": ["input extra (elsewhere)", "no message yet"],
    }[fault]
    if fault == "no file":
        model.unlink()
    elif fault == "corrupt":
        model.write_bytes(model.read_bytes()[:90] + b"nonsense")
    elif fault == "interface":
        terms = [*spec()["observation"][0]["terms"]]
        terms.append({"term": "joint_effort", "input": "joints"})
        write_policy(robot.folder, observation=[{**spec()["observation"][0], "terms": terms}])
    elif fault == "spec":
        write_policy(robot.folder, control_dt="soon", names=["a"])
    elif fault == "gone":
        shutil.rmtree(robot.folder)
    else:
        inputs = {**spec()["inputs"]}
        inputs["extra"] = {"type": "sensor_msgs/msg/JointState", "topic": "elsewhere"}
        terms = [{"term": "joint_velocity", "input": "extra"}, spec()["observation"][0]["terms"][1]]
        write_policy(
            robot.folder, inputs={k: inputs[k] for k in ("extra", "command")},
            observation=[{**spec()["observation"][0], "terms": terms}],
        )  # fmt: skip
    held = entities(robot.graph)
    answer = robot.reload()
    assert not answer.success
    for part in expected:
        assert part in answer.message, answer.message
    assert robot.graph.node.configured is made
    wait_until(lambda: robot.command["left_joint"] > count + 20, 5.0, "the old policy's commands")
    values = [values_by_name(m)["left_joint"] for at, m in robot.commands if at >= begin]
    assert values == sorted(values)  # the count was never reset
    assert robot.is_without_gap(begin) < 0.2
    assert set(robot.graph.node.parameters.names) == names
    wait_until(lambda: {**entities(robot.graph), "timers": 0} == {**held, "timers": 0}, 3.0,
               f"{entities(robot.graph)} to become {held}")  # fmt: skip
    # The next valid policy is accepted.
    write_policy(robot.folder)
    assert robot.reload().success
    robot.await_command((2.0, -4.0))


def test_a_latched_stop_stays_and_so_does_not_armed(robots: RobotMaker) -> None:
    robot = robots({"root": True})
    robot.peer.speeds = (2.0, 8.0)
    robot.run()
    robot.peer.speeds = (-2.0, 8.0)
    robot.graph.await_decision("SAFE_STOP", "action not finite")
    write_policy(robot.folder)  # this policy would have no fault with these speeds
    assert robot.reload().success
    time.sleep(0.5)
    robot.graph.await_decision("SAFE_STOP", "action not finite")
    assert robot.peer.trigger("arm").success
    robot.await_command((-4.0, 16.0))


def test_a_policy_with_other_inputs_brings_its_topics(robots: RobotMaker) -> None:
    from sensor_msgs.msg import JointState

    robot = robots().run()
    held = entities(robot.graph)
    terms = [{"term": "joint_velocity", "input": "other"}, spec()["observation"][0]["terms"][1]]
    inputs = {"other": {"type": "sensor_msgs/msg/JointState", "topic": "other_states"}}
    inputs["command"] = spec()["inputs"]["command"]
    write_policy(
        robot.folder, inputs=inputs, observation=[{**spec()["observation"][0], "terms": terms}]
    )
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(0.01):
            robot.peer.joints({"left_joint": 3.0, "right_joint": 4.0}, "other_states")

    feeder = threading.Thread(target=feed)
    robot.peer.publisher(JointState, "other_states")
    feeder.start()
    try:
        begin = time.monotonic()
        answer = robot.reload()
        assert answer.success, answer.message
        robot.await_command((6.0, 8.0))
        assert robot.is_without_gap(begin) < 0.2
        names = robot.graph.node.parameters.names
        assert "inputs.other.max_age" in names
        assert "inputs.joints.max_age" not in names
        wait_until(lambda: robot.graph.node.count_subscribers("joint_states") == 0, 3.0)
        settle = {"timers": 0, "parameters": 0}
        wait_until(lambda: {**entities(robot.graph), **settle} == {**held, **settle}, 3.0)
        assert not robot.peer.set(inputs__other__max_age=0.2)
    finally:
        ended.set()
        feeder.join()


def test_a_changed_parameter_reloads_or_is_refused(robots: RobotMaker, tmp_path: Path) -> None:
    robot = robots().run()
    first = robot.graph.node.parameters.value("policy")
    (reason,) = robot.peer.set(policy=str(tmp_path / "nowhere"))
    assert "no such file" in reason
    assert robot.graph.node.parameters.value("policy") == first
    robot.await_command((2.0, -4.0))
    second = write_policy(tmp_path / "second", counts=True)
    assert not robot.peer.set(policy=str(second))
    wait_until(lambda: robot.command["left_joint"] > 4.0, 5.0, "the second policy's commands")
    assert robot.graph.node.parameters.value("policy") == str(second)
    assert str(second) in robot.graph.await_status("model", "")["spec"]


def test_one_that_is_accepted_and_fails_later_gives_the_parameter_back(
    robots: RobotMaker, tmp_path: Path
) -> None:
    robot = robots().run()
    first = robot.graph.node.parameters.value("policy")
    inputs = {**spec()["inputs"], "joints": {**spec()["inputs"]["joints"], "topic": "elsewhere"}}
    assert not robot.peer.set(policy=str(write_policy(tmp_path / "second", inputs=inputs)))
    wait_until(lambda: robot.graph.node.parameters.value("policy") == first, 5.0)
    assert "elsewhere" in robot.graph.await_status("model", "")["last reload"]
    robot.await_command((2.0, -4.0))


def test_while_it_loads_the_node_answers(
    robots: RobotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from std_srvs.srv import Trigger

    from policy_runner.ros.runner import reload as attempts

    robot = robots(safety__executor_timeout=1.5).run()
    real = attempts.bind_policy
    begin = time.monotonic()

    def slow(*given: Any) -> Any:
        time.sleep(2.0)
        return real(*given)

    monkeypatch.setattr(attempts, "bind_policy", slow)
    client = robot.peer.node.create_client(Trigger, f"{robot.peer.runner}/reload")
    wait_until(client.service_is_ready, 5.0)
    future = client.call_async(Trigger.Request())
    time.sleep(0.2)
    assert not robot.peer.set(safety__hold_recover=0.35)
    assert robot.peer.state() == "active"
    second = robot.reload()
    assert not second.success
    assert "in progress" in second.message
    assert not future.done()
    wait_until(future.done, 5.0)
    assert future.result().success
    assert time.monotonic() - begin > 1.5
    # A value that was set during the load also applies to the new policy.
    assert robot.graph.node.configured.pipeline.settings.hold_recover_ns == 350_000_000
    assert {m.status[0].message for at, m in robot.graph.heartbeat() if at > begin} <= {"RUN"}
    # Deactivate during the load: the attempt ends with the reason.
    future = client.call_async(Trigger.Request())
    time.sleep(0.2)
    assert robot.peer.change("deactivate")
    wait_until(future.done, 5.0)
    assert "deactivated" in future.result().message
    # The loading thread still sleeps, and the next test would count it.
    wait_until(lambda: entities(robot.graph)["threads"] == 0, 5.0, "the end of the loading")


def test_inactive_it_is_exchanged_too_and_unconfigured_refused(robots: RobotMaker) -> None:
    robot = robots()
    assert "not configured" in robot.reload().message
    assert robot.peer.change("configure")
    write_policy(robot.folder, counts=True)
    assert robot.reload().success
    (robot.folder / "toy.onnx").unlink()
    assert "no file" in robot.reload().message
    assert robot.peer.change("activate")
    wait_until(lambda: robot.commands and robot.command["left_joint"] > 4.0, 5.0)


def test_thirty_reloads_leave_nothing_behind(robots: RobotMaker) -> None:
    robot = robots({"counts": True}).run()
    timers = entities(robot.graph)["timers"]
    assert robot.reload().success
    begin = time.monotonic()
    wait_until(lambda: entities(robot.graph)["timers"] == timers, 3.0)
    held = entities(robot.graph)
    gone = []
    gc.disable()  # a swap must not need the garbage collector, which ignores frozen objects
    try:
        for _ in range(30):
            made = robot.graph.node.configured
            gone += [weakref.ref(made.pipeline), weakref.ref(made.policy.model), weakref.ref(made)]
            del made
            assert robot.reload().success
        wait_until(lambda: entities(robot.graph) == held, 3.0, f"{entities(robot.graph)} {held}")
        left = [one() for one in gone if one() is not None]
        assert not left, [(type(one), gc.get_referrers(one)) for one in left[:1]]
    finally:
        gc.enable()
    assert robot.is_without_gap(begin) < 0.2
    assert robot.graph.await_status("model", "")["reloads"] == "31"


def test_gains_vectors_and_other_joints_come_with_the_policy(robots: RobotMaker) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import Float64MultiArray

    stiff = {"stiffness": {"left_joint": 3.0, "right_joint": 4.0}}
    robot = robots({**stiff}, publish_vectors=True).run()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    gains = robot.peer.hear(Float64MultiArray, f"{robot.peer.runner}/joint_gains", latched)
    vectors = robot.peer.hear(Float64MultiArray, f"{robot.peer.runner}/observation")
    wait_until(lambda: gains and list(gains[-1][1].data) == [3.0, 0.0, 4.0, 0.0], 5.0)
    held = entities(robot.graph)
    mirrored = [JOINTS[1], JOINTS[0]]
    action = {"tensor": "actions", "groups": [{"kind": "velocity", "joints": mirrored}]}
    write_policy(
        robot.folder, joint_names=mirrored, action=[action],
        stiffness={"left_joint": 5.0, "right_joint": 6.0},
    )  # fmt: skip
    assert robot.reload().success
    wait_until(lambda: list(gains[-1][1].data) == [6.0, 0.0, 5.0, 0.0], 5.0, f"{gains[-1][1].data}")
    names = "joint_velocity/right_joint,joint_velocity/left_joint"
    wait_until(lambda: vectors[-1][1].layout.dim[0].label.startswith(names), 5.0, names)
    assert robot.commands[-1][1].name == mirrored
    robot.await_command((2.0, -4.0))
    settle = {"timers": 0}
    wait_until(lambda: {**entities(robot.graph), **settle} == {**held, **settle}, 3.0)


def test_inactive_the_gains_come_with_the_policy(robots: RobotMaker) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import Float64MultiArray

    robot = robots({"stiffness": {"left_joint": 3.0, "right_joint": 4.0}})
    assert robot.peer.change("configure")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    gains = robot.peer.hear(Float64MultiArray, f"{robot.peer.runner}/joint_gains", latched)
    wait_until(lambda: gains and list(gains[-1][1].data) == [3.0, 0.0, 4.0, 0.0], 5.0)
    publishers = sent_on(robot)
    stiffer = {"stiffness": {"left_joint": 5.0, "right_joint": 6.0}}
    write_policy(robot.folder, **stiffer, control_dt=PERIOD_S / 4)
    answer = robot.reload()
    assert answer.success, answer.message
    wait_until(lambda: list(gains[-1][1].data) == [5.0, 0.0, 6.0, 0.0], 5.0, f"{gains[-1][1].data}")
    made = robot.graph.node.configured
    assert made.spec.control_dt == PERIOD_S / 4
    assert not [text for text in made.policy.warnings if text.startswith("reload:")]
    assert made.status._every == round(4 / PERIOD_S / 20)  # the heartbeat stays at 20 Hz
    assert sent_on(robot) == publishers
    assert robot.reload().success


def test_a_reload_changes_nothing_that_configure_has_read(robots: RobotMaker) -> None:
    robot = robots()
    assert robot.peer.change("configure")
    assert len(robot.peer.set(dry_run=True, lockstep=True, use_sim_time=True, decimation=3)) == 4
    assert robot.peer.change("activate")
    wait_until(lambda: len(robot.commands) > 5, 10.0, "commands")
    write_policy(robot.folder, counts=True)
    answer = robot.reload()
    assert answer.success, answer.message
    wait_until(lambda: robot.command["left_joint"] > 10.0, 5.0, "the new policy's commands")
    made, loop = robot.graph.node.configured, robot.graph.node.loop
    assert not made.config.loop.simulated
    assert made.command_topic == "joint_commands"
    assert loop.error is None
    assert made.pipeline.settings.decimation == 1


def test_what_fails_after_the_swap_is_a_warning(
    robots: RobotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import policy_runner.ros.runner.configure as configured

    def broken(*_given: Any) -> None:
        raise RuntimeError("no gains today")

    robot = robots().run()
    before, timers = robot.graph.node.configured, entities(robot.graph)["timers"]
    with monkeypatch.context() as patched:
        patched.setattr(configured, "publish_gains", broken)
        patched.setattr(before.policy.model, "close", broken)  # when the old policy is released
        answer = robot.reload()
        assert answer.success, answer.message
        made = robot.graph.node.configured
        assert made is not before
        assert any("no gains today" in text for text in made.policy.warnings)
        assert robot.graph.node.loop.pipeline is made.pipeline
        wait_until(lambda: entities(robot.graph)["timers"] <= timers, 3.0, "the attempt's end")
    assert robot.reload().success
    robot.await_command((2.0, -4.0))
