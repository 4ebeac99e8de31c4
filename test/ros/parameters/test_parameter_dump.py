"""`ros2 param dump`, and what its file gives to the next start: the same node.

ros2cli is no wheel; `dump` makes the same service calls and writes the file in the same way
(`ros2param/verb/dump.py` of ros2/ros2cli, branch jazzy).
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from runner_rig import Graph, GraphMaker, Peer, Served
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
UNSET_FLOATS = ("rate", "safety.position_margin", "joints.left_joint.max_rate")
UNKNOWN = "parameter {}: expected a parameter of this node, got an unknown name"
EMPTY_LISTS = {"command.layout": "str[]", "realtime.cpu_affinity": "int[]"}


def read_all(peer: Peer, node: str) -> dict[str, Any]:
    """Read every parameter with one call, like rqt_reconfigure and Foxglove's bridge."""
    from rcl_interfaces.srv import GetParameters, ListParameters
    from rclpy.parameter import parameter_value_to_python

    listed = peer.call(ListParameters, f"{node}/list_parameters", ListParameters.Request())
    names = sorted(listed.result.names)
    request = GetParameters.Request(names=names)
    values = peer.call(GetParameters, f"{node}/get_parameters", request).values
    assert len(values) == len(names), "the answer to a read of all parameters is empty"
    return {name: parameter_value_to_python(value) for name, value in zip(names, values)}


def dump(node: str, values: dict[str, Any]) -> str:
    """Write the values like `ros2 param dump`."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        inner, *outer = reversed(name.split("."))
        place = tree
        for word in reversed(outer):
            place = place.setdefault(word, {})
        place[inner] = list(value) if hasattr(value, "tolist") else value
    return yaml.dump({node: {"ros__parameters": tree}}, default_flow_style=False)


def set_one(peer: Peer, node: str, name: str) -> str:
    """Set a parameter like `ros2 param set`; return the reason of the refusal."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(parameters=[Parameter(name, value="x").to_parameter_msg()])
    (result,) = peer.call(SetParameters, f"{node}/set_parameters", request).results
    assert not result.successful
    return str(result.reason)


def same(one: Any, other: Any) -> bool:
    """Equal values of one type; NaN is equal to NaN."""
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


def test_a_dump_of_the_runner_starts_the_same_runner(graphs: GraphMaker, tmp_path: Path) -> None:
    graph = graphs({}, estop__quiet_time=2.0, joints__left_joint__lower=-3.0)
    assert graph.peer.change("configure")
    before = read_all(graph.peer, "/policy_runner")
    for name in UNSET_FLOATS:
        assert math.isnan(before[name]), name
    assert all(not list(before[name]) for name in EMPTY_LISTS)
    file = tmp_path / "dump.yaml"
    file.write_text(dump("/policy_runner", before), encoding="utf-8")
    configured = graph.node.configured.policy.config
    graph.close()
    again = Graph(["--ros-args", "--params-file", str(file)])
    try:
        assert again.node.parameters.problems == []
        assert again.peer.change("configure")
        after = read_all(again.peer, "/policy_runner")
        assert set(after) == set(before)
        assert not [name for name in before if not same(before[name], after[name])]
        assert again.node.configured.policy.config == configured
        assert again.node.parameters.value("rate") is None
        reason = set_one(again.peer, "/policy_runner", "safety.max_tillt")
        assert reason == f"{UNKNOWN.format('safety.max_tillt')}; did you mean 'safety.max_tilt'?"
        assert again.peer.set(rate=70.0, **{"safety.position_margin": 0.5}) != []  # configured
        assert again.peer.set(**{"joints.left_joint.upper": 4.0}) == []
        assert again.peer.set(**{"joints.left_joint.upper": math.nan}) == []  # not set again
        assert again.node.parameters.value("joints.left_joint.upper") is None
    finally:
        again.close()
        graph.close = lambda: None  # type: ignore[method-assign]


@pytest.mark.parametrize("of", ["sidecar", "robot"])
def test_a_dump_of_the_other_nodes_starts_the_same_node(of: str, tmp_path: Path) -> None:
    import rclpy

    def make(*arguments: str) -> Any:
        options = {"cli_args": list(arguments), "use_global_arguments": False, "context": context}
        if of == "robot":
            pytest.importorskip("mujoco")
            from policy_runner.ros.simulated_robot.node import SimulatedRobot

            return SimulatedRobot(**options)
        from policy_runner.ros.sidecar.node import JetsonDiagnostics

        return JetsonDiagnostics(**options)

    context = rclpy.Context()
    rclpy.init(context=context)
    peer = Peer(context)
    read: list[dict[str, Any]] = []
    arguments: tuple[str, ...] = ()
    try:
        for _ in range(2):
            served = Served(make(*arguments))
            name = served.node.get_fully_qualified_name()
            read.append(read_all(peer, name))
            hint = "did you mean 'hardware_id'?"
            assert set_one(peer, name, "hardwar_id") == f"{UNKNOWN.format('hardwar_id')}; {hint}"
            file = tmp_path / "dump.yaml"
            file.write_text(dump(name, read[-1]), encoding="utf-8")
            arguments = ("--ros-args", "--params-file", str(file))
            served.close()
    finally:
        peer.close()
        context.try_shutdown()
    first, second = read
    assert len(first) > 10
    assert not [name for name in first if not same(first[name], second[name])]


def test_no_name_is_a_group_of_others_too(graphs: GraphMaker) -> None:
    """`a` next to `a.b` would overwrite each other in a dump."""
    graph = graphs({})
    assert graph.peer.change("configure")
    names = set(graph.node.parameters.names)
    assert not [name for name in names if any(other.startswith(f"{name}.") for other in names)]
