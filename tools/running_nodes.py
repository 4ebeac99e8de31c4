"""What the nodes of this package have in a ROS graph: endpoints and statuses, from running nodes.

The nodes run in this process, in a context of their own, on this machine only. The runner has the
shipped policy. The sidecar reads a folder with the files of a small board.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from policy_runner.package_files import share_path

RUNNER, GUARD, SIDECAR = "policy_runner", "policy_runner_guard", "jetson_diagnostics"
ROBOT = "simulated_robot"
TIMEOUT_S = 60.0
AWAITED = (
    *(f"{RUNNER}: {part}" for part in ("loop", "inputs", "inference", "safety", "model", "status")),
    f"{GUARD}: guard",
    f"{SIDECAR}: policy",
    f"{ROBOT}: balance",
)
# Parameters that give the runner its optional topics and services.
EVERYTHING = {"publish_vectors": True, "black_box.seconds": 1.0, "black_box.memory": 1}
# Every node of ROS has these; the page names them once.
USUAL_TOPICS = ("/rosout", "/parameter_events")
USUAL_TYPES = ("rcl_interfaces/", "lifecycle_msgs/", "type_description_interfaces/")
ZONE = "sys/class/thermal/thermal_zone0"
RAILS, OC = "sys/class/hwmon/hwmon1", "sys/class/hwmon/hwmon2"
BOARD: dict[str, object] = {
    "proc/stat": "cpu  1 0 0 1 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\nintr 1",
    "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB",
    "proc/uptime": "100.0 100.0",
    "proc/device-tree/model": "NVIDIA Jetson of this page",
    f"{ZONE}/type": "ZONE-thermal",
    f"{ZONE}/temp": 61200,
    f"{ZONE}/trip_point_0_temp": 99000,
    f"{ZONE}/trip_point_0_type": "passive",
    f"{RAILS}/name": "ina3221",
    f"{RAILS}/in1_label": "RAIL",
    f"{RAILS}/in1_input": 5000,
    f"{RAILS}/curr1_input": 1000,
    f"{OC}/name": "soctherm_oc",
    f"{OC}/oc1_throt_en": 1,
    f"{OC}/oc1_event_cnt": 0,
    "sys/class/hwmon/hwmon3/name": "pwmfan",
    "sys/class/hwmon/hwmon3/pwm1": 128,
}


class Endpoint(NamedTuple):
    """A publisher, a subscription or a service of a node."""

    node: str
    kind: str  # publishes, subscribes, serves
    name: str  # with ~ for the node's own namespace
    type: str
    qos: str  # reliability and durability; "" for a service


class Found(NamedTuple):
    """What the nodes showed."""

    endpoints: set[Endpoint]
    statuses: dict[str, list[str]]  # name of a status -> its keys


def found() -> Found:
    """Run the nodes for a few seconds, twice."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    endpoints: set[Endpoint] = set()
    statuses: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        policy, board = Path(folder, "policy"), Path(folder, "board")
        _write_policy(policy)
        _write(board, BOARD)
        for parameters in (EVERYTHING, {"dry_run": True, "use_sim_time": True}):
            with _graph({"policy": str(policy), **parameters}, board) as graph:
                graph.run()
                endpoints |= graph.endpoints()
                for name, keys in graph.statuses.items():
                    statuses.setdefault(name, keys)
    return Found(endpoints, statuses)


def _write(root: Path, files: Mapping[str, object]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", encoding="utf-8")


def _write_policy(folder: Path) -> None:
    """The shipped policy, with gains: only a policy with gains has ~/joint_gains."""
    shipped = share_path("models", "balancer")
    folder.mkdir()
    for path in (shipped / "policy.onnx", shipped / "statistics.npz"):
        (folder / path.name).write_bytes(path.read_bytes())
    spec = yaml.safe_load((shipped / "policy.yaml").read_text("utf-8"))
    spec |= {"stiffness": 0.0, "damping": 1.0}
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")


class _Graph:
    def __init__(self, context: Any, parameters: Mapping[str, Any], board: Path) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        from policy_runner.ros.guard.node import Guard
        from policy_runner.ros.runner.node import PolicyRunner
        from policy_runner.ros.sidecar.node import JetsonDiagnostics
        from policy_runner.ros.simulated_robot.node import SimulatedRobot

        def given(values: Mapping[str, Any]) -> dict[str, Any]:
            rows = [Parameter(name, value=value) for name, value in values.items()]
            return {"context": context, "parameter_overrides": rows}

        self.runner = PolicyRunner(**given(parameters))
        self.guard = Guard(**given({}))
        self.sidecar = JetsonDiagnostics(**given({"root": str(board), "period": 0.5}))
        simulated = bool(parameters.get("use_sim_time"))
        robot = {"publish_clock": simulated, "duration": 100.0, "hold": False}
        self.robot = SimulatedRobot(**given(robot))
        self.robot_thread = threading.Thread(target=self.robot.run)
        self.listener = rclpy.create_node("listener", context=context)
        self.statuses: dict[str, list[str]] = {}
        self.heard: Counter[str] = Counter()
        for topic in ("/diagnostics", f"{RUNNER}/status"):
            self.listener.create_subscription(DiagnosticArray, topic, self._hear, 50)
        self.executor = SingleThreadedExecutor(context=context)
        for node in (self.runner, self.sidecar, self.listener):
            self.executor.add_node(node)

    def _hear(self, message: Any) -> None:
        for status in message.status:
            self.heard[status.name] += 1
            keys = [pair.key for pair in status.values]
            # The longest: a status that has not everything yet shows fewer keys.
            if len(keys) >= len(self.statuses.get(status.name, [])):
                self.statuses[status.name] = keys

    def run(self) -> None:
        """Let everything run until each status was heard twice.

        Raises:
            TimeoutError: A status was not heard in time.
        """
        self.runner.trigger_configure()
        self.runner.trigger_activate()
        self.sidecar.start()
        self.robot_thread.start()
        end = time.monotonic() + TIMEOUT_S
        while missing := [name for name in AWAITED if self.heard[name] < 2]:
            if time.monotonic() > end:
                raise TimeoutError(f"not heard within {TIMEOUT_S:g} s: {', '.join(missing)}")
            self.executor.spin_once(timeout_sec=0.02)
            self.guard.look(time.monotonic_ns())

    def endpoints(self) -> set[Endpoint]:
        """Every endpoint of the four nodes."""
        rows = set()
        ask = self.listener
        for node in (RUNNER, GUARD, SIDECAR, ROBOT):
            for kind, by_node, infos in (
                ("publishes", "publisher", ask.get_publishers_info_by_topic),
                ("subscribes", "subscriber", ask.get_subscriptions_info_by_topic),
            ):
                names = getattr(ask, f"get_{by_node}_names_and_types_by_node")(node, "/")
                for topic, types in names:
                    one = next(i for i in infos(topic) if i.node_name == node)
                    qos = one.qos_profile
                    text = f"{_word(qos.reliability)}, {_word(qos.durability)}"
                    rows.add(Endpoint(node, kind, _own(node, topic), types[0], text))
            for name, types in ask.get_service_names_and_types_by_node(node, "/"):
                rows.add(Endpoint(node, "serves", _own(node, name), types[0], ""))
        return {row for row in rows if _ours(row)}

    def close(self) -> None:
        """End every node."""
        self.robot.stop()
        self.robot_thread.join()
        self.runner.end(1.0)
        self.sidecar.stop()
        self.executor.shutdown()
        self.runner.free()
        for node in (self.runner, self.guard, self.sidecar, self.robot, self.listener):
            node.destroy_node()


@contextmanager
def _graph(parameters: Mapping[str, Any], board: Path) -> Iterator[_Graph]:
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ.get("ROS_DOMAIN_ID", "87")))
    graph = _Graph(context, parameters, board)
    try:
        yield graph
    finally:
        graph.close()
        context.try_shutdown()


def _word(policy: Any) -> str:
    return str(policy.name).lower().replace("_", " ")


def _own(node: str, name: str) -> str:
    return f"~{name.removeprefix(f'/{node}')}" if name.startswith(f"/{node}/") else name


def _ours(row: Endpoint) -> bool:
    return row.name not in USUAL_TOPICS and not row.type.startswith(USUAL_TYPES)
