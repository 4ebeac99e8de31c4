"""The runner in a graph of this process: a small policy, its robot, clients of its services."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from children import wait_until

JOINTS = ("left_joint", "right_joint")
PERIOD_S = 0.02


def spec(**changes: Any) -> dict[str, Any]:
    """Return a policy on two joints: action = 2 * joint velocity + command; counts inferences."""
    return {
        "schema": "policy_runner/1",
        "name": "toy",
        "model": {"file": "toy.onnx"},
        "control_dt": PERIOD_S,
        "joint_names": list(JOINTS),
        "inputs": {
            "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
            "command": {"type": "geometry_msgs/msg/TwistStamped", "topic": "cmd_vel"},
        },
        "observation": [
            {
                "tensor": "obs",
                "terms": [
                    {"term": "joint_velocity", "input": "joints"},
                    {
                        "term": "velocity_command",
                        "input": "command",
                        "axes": ["linear.x", "angular.z"],
                    },
                ],
                "normalization": "none",
            }
        ],
        "state": [{"input": "count", "output": "next_count"}],
        "action": [
            {"tensor": "actions", "groups": [{"kind": "velocity", "joints": list(JOINTS)}]},
        ],
        "last_action": "raw",
        **changes,
    }


def write_policy(
    folder: Path, root: bool = False, counts: bool = False, inner: int = 0, **changes: Any
) -> Path:
    """Write policy.yaml and toy.onnx to `folder`.

    `root`: the action is its square root, NaN for a negative one. `counts`: the action is the
    number of inferences since the last reset. `inner`: also multiply matrices of this size.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)

    weights = np.vstack([2.0 * np.eye(2), np.eye(2)])
    constants = [constant("weights", weights), constant("one", [[1.0]])]
    nodes = [
        helper.make_node("Add", ["count", "one"], ["next_count"]),
        helper.make_node("MatMul", ["obs", "weights"], ["moved"]),
    ]
    if counts:
        constants.append(constant("zeros", [[0.0, 0.0]]))
        nodes.append(helper.make_node("Add", ["zeros", "count"], ["actions"]))
    elif root:
        nodes.append(helper.make_node("Sqrt", ["moved"], ["actions"]))
    elif inner:
        constants += [constant("wide", np.zeros((2, inner))), constant("narrow", np.eye(inner))]
        constants.append(constant("back", np.zeros((inner, 2))))
        nodes.append(helper.make_node("MatMul", ["moved", "wide"], ["w0"]))
        nodes += [helper.make_node("MatMul", [f"w{k}", "narrow"], [f"w{k + 1}"]) for k in range(20)]
        nodes.append(helper.make_node("MatMul", ["w20", "back"], ["nothing"]))
        nodes.append(helper.make_node("Add", ["moved", "nothing"], ["actions"]))
    else:
        nodes.append(helper.make_node("Identity", ["moved"], ["actions"]))

    def tensor(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])

    graph = helper.make_graph(
        nodes,
        "toy",
        [tensor("obs", 4), tensor("count", 1)],
        [tensor("actions", 2), tensor("next_count", 1)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "toy.onnx"))
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(spec(**changes), sort_keys=False), encoding="utf-8")
    return path


def write_parameters(path: Path, section: str = "/**/policy_runner", **parameters: Any) -> Path:
    """Write a parameter file; `__` in a name is a dot. A runner runs unarmed by default."""
    if section.endswith("policy_runner"):
        parameters.setdefault("require_arming", False)
    rows = {name.replace("__", "."): value for name, value in parameters.items()}
    path.write_text(
        yaml.safe_dump({section: {"ros__parameters": rows}}, sort_keys=False), encoding="utf-8"
    )
    return path


class Served:
    """A node with a thread that serves its callbacks."""

    def __init__(self, node: Any) -> None:
        from policy_runner.ros.process.executor import ExecutorThread

        self.node = node
        self.executor = ExecutorThread(node)
        self.executor.start()

    def close(self) -> None:
        assert self.executor.stop(5.0)
        self.node.destroy_node()


class Peer(Served):
    """All other nodes of the graph: sensors, an operator, and receivers of commands."""

    def __init__(self, context: Any, namespace: str = "", runner: str = "/policy_runner") -> None:
        import rclpy

        super().__init__(rclpy.create_node("peer", context=context, namespace=namespace))
        self.runner = runner
        self.heard: dict[str, list[tuple[float, Any]]] = {}
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self._feeding = threading.Event()
        self._feeder: threading.Thread | None = None
        self.speeds: Any = (1.0, -2.0)  # speeds of the joints that the feeder publishes
        self.feeds = True
        self.settling_s = 0.0  # wait of a new client [s]; above 0 for a runner in another process

    def close(self) -> None:
        self.stop_feeding()
        super().close()

    def hear(self, message_type: Any, topic: str, qos: Any = 50) -> list[tuple[float, Any]]:
        """Record (monotonic time, message) of a topic from now on."""
        kept: list[tuple[float, Any]] = self.heard.setdefault(topic, [])
        self.node.create_subscription(
            message_type, topic, lambda m: kept.append((time.monotonic(), m)), qos
        )
        return kept

    def publisher(self, message_type: Any, topic: str, qos: Any = 10) -> Any:
        """Return the one publisher of this peer on a topic."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(message_type, topic, qos)
        return self._publishers[topic]

    # --- sensors ---

    def joints(
        self, values: Mapping[str, float], topic: str = "joint_states", stamp_ns: int | None = None
    ) -> None:
        """Publish one JointState with velocities by name."""
        from sensor_msgs.msg import JointState

        message = JointState(name=list(values), velocity=[float(v) for v in values.values()])
        self._stamp(message, stamp_ns)
        self.publisher(JointState, topic).publish(message)

    def command(self, forward: float, turn: float, stamp_ns: int | None = None) -> None:
        """Publish one cmd_vel."""
        from geometry_msgs.msg import TwistStamped

        message = TwistStamped()
        message.twist.linear.x, message.twist.angular.z = float(forward), float(turn)
        self._stamp(message, stamp_ns)
        self.publisher(TwistStamped, "cmd_vel").publish(message)

    @staticmethod
    def _stamp(message: Any, stamp_ns: int | None) -> None:
        at = time.time_ns() if stamp_ns is None else stamp_ns
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(at, 10**9)

    def feed(self, rate_hz: float = 100.0, topic: str = "joint_states") -> None:
        """Publish `speeds` of the joints, right one first, until the end; `feeds` pauses it."""

        def work() -> None:
            while not self._feeding.wait(1.0 / rate_hz):
                if self.feeds:
                    left, right = self.speeds
                    self.joints({"caster": 9.0, "right_joint": right, "left_joint": left}, topic)

        self._feeding.clear()
        self._feeder = threading.Thread(target=work, name="feeder")
        self._feeder.start()

    def stop_feeding(self) -> None:
        self._feeding.set()
        if self._feeder is not None:
            self._feeder.join()
            self._feeder = None

    # --- services ---

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service once; relative names are the runner's."""
        full = name if name.startswith("/") else f"{self.runner}/{name}"
        if full not in self._clients:
            self._clients[full] = self.node.create_client(service_type, full)
        client = self._clients[full]
        if not client.service_is_ready():
            wait_until(client.service_is_ready, 15.0, f"service {full}")
            # The server may not yet know the client: the answer would be lost.
            time.sleep(self.settling_s)
        future = client.call_async(request)
        wait_until(future.done, 15.0, f"an answer of {full}", every_s=0.002)
        return future.result()

    def change(self, verb: str) -> bool:
        """Drive the lifecycle: configure, activate, deactivate, cleanup, shutdown."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        names = {
            "configure": Transition.TRANSITION_CONFIGURE,
            "activate": Transition.TRANSITION_ACTIVATE,
            "deactivate": Transition.TRANSITION_DEACTIVATE,
            "cleanup": Transition.TRANSITION_CLEANUP,
        }
        request = ChangeState.Request()
        request.transition.id = names[verb]
        return bool(self.call(ChangeState, "change_state", request).success)

    def state(self) -> str:
        """The runner's lifecycle state, from its service."""
        from lifecycle_msgs.srv import GetState

        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def trigger(self, name: str) -> Any:
        """Call ~/arm or ~/reset."""
        from std_srvs.srv import Trigger

        return self.call(Trigger, name, Trigger.Request())

    def set(self, **values: Any) -> list[str]:
        """Set parameters like `ros2 param set`; return the reasons of the refused ones."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request()
        request.parameters = [
            Parameter(name.replace("__", "."), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        results = self.call(SetParameters, "set_parameters", request).results
        return [result.reason for result in results if not result.successful]


class Graph:
    """A runner and a peer, in one context of this process."""

    def __init__(self, arguments: Sequence[str], namespace: str = "") -> None:
        import rclpy

        from policy_runner.ros.runner.node import PolicyRunner

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        words = list(arguments)
        node = PolicyRunner(
            arguments=words,
            context=self.context,
            namespace=namespace,
            cli_args=words,
            use_global_arguments=False,
        )
        self.node = node
        self.runner = Served(node)
        self.peer = Peer(self.context, namespace, node.get_fully_qualified_name())

    def close(self) -> None:
        assert self.node.end(2.0)
        self.peer.close()
        assert self.runner.executor.stop(5.0)
        self.node.free()
        self.node.destroy_node()
        self.context.try_shutdown()
        # A lifecycle node's services outlive destroy_node. Until they are collected, the next test
        # would find a second node of the same name that never answers.
        vars(self).clear()
        gc.collect()

    # --- what it says ---

    def statuses(self) -> dict[str, Any]:
        """Newest status on /diagnostics by part of the runner; recorded from the first call on."""
        from diagnostic_msgs.msg import DiagnosticArray

        if "/diagnostics" not in self.peer.heard:
            self.peer.hear(DiagnosticArray, "/diagnostics")
        found = {}
        for _, message in list(self.peer.heard["/diagnostics"]):
            for status in message.status:
                node, _, part = status.name.partition(": ")
                found[part if node.endswith("policy_runner") else status.name] = status
        return found

    def await_status(self, part: str, says: str, timeout_s: float = 15.0) -> dict[str, str]:
        """Wait until a status' message contains `says`; return its values."""

        def there() -> dict[str, str] | None:
            status = self.statuses().get(part)
            if status is None or says not in status.message:
                return None
            return {pair.key: pair.value for pair in status.values}

        try:
            return wait_until(there, timeout_s, f"{part}: {says!r}") or {}
        except AssertionError as error:
            said = {name: status.message for name, status in self.statuses().items()}
            raise AssertionError(f"{error}; diagnostics: {said}") from None

    def heartbeat(self) -> list[tuple[float, Any]]:
        """The messages of ~/status, recorded from the first call on."""
        from diagnostic_msgs.msg import DiagnosticArray

        topic = f"{self.node.get_fully_qualified_name()}/status"
        if topic not in self.peer.heard:
            self.peer.hear(DiagnosticArray, topic)
        return self.peer.heard[topic]

    def await_decision(self, decision: str, reason: str = "", timeout_s: float = 15.0) -> str:
        """Wait until the newest heartbeat has this decision and reason; return its detail."""
        heard = self.heartbeat()
        begin = len(heard)

        def there() -> tuple[str] | None:
            if len(heard) <= begin:
                return None
            values = {pair.key: pair.value for pair in heard[-1][1].status[0].values}
            if values["decision"] != decision or (reason and values["reason"] != reason):
                return None
            return (values["detail"],)

        return (wait_until(there, timeout_s, f"{decision} {reason}") or ("",))[0]

    def activate(self) -> None:
        assert self.peer.change("configure"), self.node._problems
        assert self.peer.change("activate"), self.node._problems


def values_by_name(message: Any, kind: str = "velocity") -> dict[str, float]:
    """Return {joint: value} of a JointState or JointTrajectory command."""
    if hasattr(message, "points"):
        field = {"velocity": "velocities", "position": "positions", "effort": "effort"}[kind]
        return dict(zip(message.joint_names, getattr(message.points[0], field), strict=True))
    return dict(zip(message.name, getattr(message, kind), strict=True))


GraphMaker = Callable[..., Graph]


@pytest.fixture
def graphs(tmp_path: Path) -> Iterator[GraphMaker]:
    """`graphs(policy={…}, arguments=[…], namespace="…", **parameters)`: a runner and its peer.

    Parameters come from a parameter file; `__` in a name is a dot. policy None: the test wrote
    one, or needs none.
    """
    opened: list[Graph] = []

    def make(
        policy: dict[str, Any] | None = None,
        arguments: tuple[str, ...] = (),
        namespace: str = "",
        **parameters: Any,
    ) -> Graph:
        if policy is not None:
            write_policy(tmp_path / "policy", **policy)
        given = {"policy": str(tmp_path / "policy"), "diagnostics__period": 0.1, **parameters}
        file = write_parameters(tmp_path / "parameters.yaml", **given)
        opened.append(Graph(["--ros-args", "--params-file", str(file), *arguments], namespace))
        return opened[-1]

    yield make
    with contextlib.ExitStack() as closing:
        for graph in opened:
            closing.callback(graph.close)
