"""Outputs of the process: each one ends with its last command (docs/reference/faults.md)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from fault_rig import FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared
from fault_table import FAULTS
from runner_rig import JOINTS

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
GraphMaker = Callable[..., FaultGraph]
PROGRAMS = Path(__file__).resolve().parents[1] / "rigs" / "programs"


class Outputs(FaultGraph):
    """A graph that records every output by (topic, field, name); its policy may be changed."""

    change: Callable[[dict[str, Any]], None] | None = None
    message: Any = None  # type of the commands; None: JointState

    def start(self) -> Any:
        if self.change is not None:
            self.rewrite(self.change)
        return super().start()

    def rewrite(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the policy's spec."""
        path = self.policy / "policy.yaml"
        content = yaml.safe_load(path.read_text("utf-8"))
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def _listen(self) -> None:
        from sensor_msgs.msg import JointState

        self.outputs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
        self.raw: list[tuple[float, Any]] = []  # commands that are not JointStates
        node, message = self.peer.node, self.message
        subscribe = node.create_subscription
        node.create_subscription = lambda kind, topic, *rest: subscribe(
            message or kind if topic == "joint_commands" else kind, topic, *rest
        )
        super()._listen()
        node.create_subscription = subscribe
        for topic in ("joint_commands/velocity", "joint_commands/effort"):
            self.peer.node.create_subscription(
                JointState, topic, lambda m, t=topic: self._heard_output(t, m), 200
            )

    def _heard_command(self, message: Any) -> None:
        if self.message is not None:
            self.raw.append((time.monotonic(), message))
            return
        self._heard_output("joint_commands", message)
        values = getattr(message, self.kind)
        by_name = dict(zip(message.name, values, strict=False))
        if set(JOINTS) <= set(by_name):
            self.commands.append((time.monotonic(), tuple(by_name[name] for name in JOINTS)))

    def _heard_output(self, topic: str, message: Any) -> None:
        now = time.monotonic()
        for field in ("position", "velocity", "effort"):
            for name, value in zip(message.name, getattr(message, field), strict=False):
                self.outputs.setdefault((topic, field, name), []).append((now, value))

    def newest(self, *output: str) -> float | None:
        heard = self.outputs.get(output)  # type: ignore[call-overload]
        return heard[-1][1] if heard else None


@pytest.fixture
def outputs(nursery: Any, tmp_path: Path) -> Any:
    """`outputs(change=…, message=…, **how)`: like `fault_graphs`, of class Outputs."""
    opened: list[Outputs] = []

    def make(change: Any = None, message: Any = None, **how: Any) -> Outputs:
        changed = staticmethod(change) if change else None
        kind = type("Changed", (Outputs,), {"change": changed, "message": message})
        opened.append(kind(nursery, tmp_path, **how))
        return opened[-1]

    yield make
    for graph in opened:
        graph.close()


def action(*groups: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["action"] = [{"tensor": "actions", "groups": list(groups)}]

    return change


def stopped(graph: Outputs, *lasting: tuple[str, str, str]) -> None:
    """Check that after a stop every output that was ever commanded ends at zero."""
    graph.wait(lambda: all(graph.newest(*one) for one in lasting), 5.0, "commands")
    assert graph.peer.trigger("disarm").success
    graph.wait(lambda: not any(graph.newest(*one) for one in graph.outputs), 2.0, "zeros")
    assert graph.peer.change("deactivate")
    time.sleep(0.2)
    assert {one: graph.newest(*one) for one in graph.outputs if graph.newest(*one)} == {}


def test_reload_drops_a_joint(outputs: Any) -> None:
    row = FAULTS["reload drops a joint"]
    graph = outputs()
    graph.well()
    right = ("joint_commands", "velocity", "right_joint")
    left = ("joint_commands", "velocity", "left_joint")
    assert graph.newest(*right) == pytest.approx(graph.wanted[1])
    graph.rewrite(action({"kind": "velocity", "joints": ["left_joint"], "slice": [0, 1]}))
    begin = time.monotonic()
    assert graph.peer.trigger("reload").success
    graph.wait(lambda: graph.newest(*right) == 0.0, 2.0, "the stop of the wheel that is left")
    (at,) = [at for at, value in graph.outputs[right] if at > begin and value == 0.0]
    gaps = [b - a for (a, _), (b, _) in zip(graph.outputs[left], graph.outputs[left][1:])]
    assert max(gaps[-20:]) < 0.2, (at, gaps)
    graph.await_beat(time.monotonic(), row.decision, row.reason)
    stopped(graph, left)


def test_reload_moves_to_other_topics(outputs: Any) -> None:
    row = FAULTS["reload moves to other topics"]
    graph = outputs()
    graph.well()
    groups = [
        {"kind": "velocity", "joints": ["left_joint"], "slice": [0, 1]},
        {"kind": "effort", "joints": ["right_joint"], "slice": [1, 2]},
    ]
    graph.rewrite(action(*groups))
    assert graph.peer.trigger("reload").success
    for name in JOINTS:
        graph.wait(lambda n=name: graph.newest("joint_commands", "velocity", n) == 0.0, 2.0, name)
    graph.await_beat(time.monotonic(), row.decision, row.reason)
    stopped(
        graph,
        ("joint_commands/velocity", "velocity", "left_joint"),
        ("joint_commands/effort", "effort", "right_joint"),
    )


def test_a_held_joint_stops(outputs: Any) -> None:
    graph = outputs(command__held_joints=["caster=3.0"])
    caster = ("joint_commands", "velocity", "caster")
    graph.well()
    assert graph.newest(*caster) == 3.0
    graph.shows(
        "input stops, a joint held",
        lambda: graph.silent.add("joints"),
        lambda: (
            (graph.newest(*caster) == 0.0 or pytest.fail("the caster turns"))
            and graph.silent.remove("joints")
        ),
    )
    graph.wait(lambda: graph.newest(*caster) == 3.0, 2.0, "the caster again")
    assert graph.peer.change("deactivate")
    graph.wait(lambda: graph.newest(*caster) == 0.0, 2.0, "the caster's last command")


def test_emergency_stop_during_an_inference(robot: FaultGraph) -> None:
    from std_msgs.msg import Bool

    publisher: Any = robot.peer.publisher(Bool, f"{robot.runner}/estop")
    robot.wait(publisher.get_subscription_count, 10.0, "the emergency stop's receiver")
    row = FAULTS["emergency stop during an inference"]
    assert robot.peer.set(safety__late_inferences=0, safety__late_ticks=0) == []
    try:
        for trial in range(5):
            robot.well()
            robot.twist[2] = 0.5
            time.sleep(0.3 + 0.02 * trial)
            publisher.publish(Bool(data=True))
            pressed = time.monotonic()
            robot.await_beat(pressed, row.decision, row.reason)
            robot.twist[2] = 0.0
            late = [v for at, v in robot.commands if at > pressed + 0.015 and any(v)]
            assert not late, (trial, late)
            publisher.publish(Bool(data=False))
            time.sleep(0.3)
        robot.recovers(row)
    finally:
        assert robot.peer.set(safety__late_inferences=10, safety__late_ticks=25) == []


def test_inference_outlasts_its_inputs(fault_graphs: GraphMaker) -> None:
    ages = {f"inputs__{name}__max_age": 0.05 for name in ("joints", "imu", "command")}
    graph = fault_graphs(**ages, safety__late_inferences=50)
    graph.shows(
        "inference outlasts its inputs",
        lambda: graph.twist.__setitem__(2, 1.5),
        lambda: graph.twist.__setitem__(2, 0.0),
    )


def test_inference_of_a_second(fault_graphs: GraphMaker) -> None:
    ages = {f"inputs__{name}__max_age": 30.0 for name in ("joints", "imu", "command")}
    graph = fault_graphs(**ages)
    graph.well()
    begin = time.monotonic()
    graph.shows(
        "inference of a second",
        lambda: graph.twist.__setitem__(2, 5.0),
        lambda: graph.twist.__setitem__(2, 0.0),
    )
    slow = [v for at, v in graph.commands if at > begin + 1.0]
    assert (0.0, 0.0) in slow


def gains(content: dict[str, Any]) -> None:
    """Positions with gains, from a policy that reads only positions."""
    terms = content["observation"][0]["terms"]
    terms[0] = {"term": "joint_position", "input": "joints"}
    content.update(stiffness=10.0, damping=1.0, effort_limit=15.0)


def test_nan_velocity_where_efforts_are_computed(outputs: Any) -> None:
    graph = outputs(change=gains, kind="position", command__effort_from_pd=True,
                    joints__left_joint__max_velocity=None)  # fmt: skip
    row = FAULTS["NaN velocity where efforts are computed"]
    efforts = [("joint_commands", "effort", name) for name in JOINTS]

    def run() -> None:
        graph.await_beat(time.monotonic(), "RUN", "none")
        graph.wait(lambda: all(graph.newest(*one) for one in efforts), 5.0, "efforts")

    run()
    begin = time.monotonic()
    graph.velocity[1] = float("nan")
    graph.await_beat(begin, row.decision, row.reason)
    graph.await_status(begin, row)
    graph.wait(lambda: not any(graph.newest(*one) for one in efforts), 2.0, "no effort")
    time.sleep(1.0)  # the fault stays, and does not come and go
    beats = {beat["decision"] for at, beat in graph.beats if at > begin + 0.5}
    assert beats == {"HOLD"}
    assert int(graph.values("safety")["efforts not finite"]) > 10
    graph.velocity[1] = 0.0
    run()
    assert all(abs(v) <= 15.0 for one in efforts for _, v in graph.outputs[one])


def test_number_beyond_the_tensors_type(robot: FaultGraph) -> None:
    robot.shows(
        "number beyond the tensor's type",
        lambda: robot.twist.__setitem__(0, 1e39),
        lambda: robot.twist.__setitem__(0, 0.5),
    )


BYTES = {
    "command__type": "message",
    "command__message_type": "std_msgs/msg/UInt8MultiArray",
    "command__fields": ["data[0]", "data[1]"],
}


def test_number_beyond_the_messages_type(outputs: Any) -> None:
    from std_msgs.msg import UInt8MultiArray

    row = FAULTS["number beyond the message's type"]
    unbounded = {f"joints__{j}__{end}": None for j in JOINTS for end in ("lower", "upper")}
    graph = outputs(message=UInt8MultiArray, **BYTES, **unbounded,
                    joints__left_joint__max_velocity=None)  # fmt: skip
    heard = graph.raw
    graph.velocity = [10.0, 20.0]
    graph.wait(lambda: heard and list(heard[-1][1].data) == [20, 40], 20.0, "bytes")
    begin = time.monotonic()
    graph.velocity = [10.0, 150.0]
    graph.await_beat(begin, row.decision, row.reason)
    graph.await_status(begin, row)
    graph.wait(lambda: list(heard[-1][1].data) == [0, 0], 2.0, "the stop")
    assert {tuple(m.data) for at, m in heard if at > begin} <= {(20, 40), (0, 0)}
    graph.velocity = [10.0, 20.0]
    time.sleep(0.5)
    assert graph.decision == row.decision
    assert graph.peer.trigger("arm").success
    graph.await_beat(time.monotonic(), "RUN", "none")


def test_path_outside_of_the_message(outputs: Any) -> None:
    row = FAULTS["path outside of the message"]
    graph = outputs(
        command__type="message",
        command__message_type="sensor_msgs/msg/Imu",
        command__fields=["orientation_covariance[12]", "angular_velocity.x"],
    )
    graph.await_status(0.0, row, 20.0)
    graph.child.wait(0.1) if graph.child.poll() is not None else graph.child.stop()


def test_deactivate_while_an_inference_hangs(outputs: Any) -> None:
    row = FAULTS["deactivate while an inference hangs"]
    graph = outputs()
    graph.well()
    graph.twist[2] = 20.0  # an inference of some seconds
    time.sleep(0.3)
    graph.twist[2] = 0.0
    begin = time.monotonic()
    assert not graph.peer.change("deactivate")
    graph.await_beat(begin, row.decision, row.reason)
    graph.await_status(begin, row)
    assert graph.commands[-1][1] == (0.0, 0.0)
    count = len(graph.commands)
    ended = time.monotonic() + 60.0
    while not graph.peer.change("deactivate") and time.monotonic() < ended:
        graph.await_status(time.monotonic() - 1.0, row)
    assert time.monotonic() < ended
    time.sleep(0.3)
    assert len(graph.commands) == count or graph.commands[-1][1] == (0.0, 0.0)
    assert all(v == (0.0, 0.0) for _, v in graph.commands[count:])
    assert graph.peer.change("activate")
    graph.well()


def test_wall_clock_beyond_2038(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(program=[str(PROGRAMS / "fault_runner.py")])
    graph.well()
    graph.peer.trigger("fault/wall_2040")
    begin = time.monotonic()
    graph.wait(lambda: int(graph.stamps[-1][1]) == 2**31 - 1, 5.0, "the last stamp that there is")
    graph.await_commands(graph.wanted, begin + 0.2)
    graph.ends("wall clock beyond 2038", lambda: graph.child.send(signal.SIGTERM))
