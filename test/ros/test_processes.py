"""The process table that the launch file and the demo read, and the launch description itself."""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy_runner.package_files import share_path
from policy_runner.ros.launching import (
    RESPAWNED_PARAMETERS,
    after_exit,
    choices,
    full_namespace,
)
from policy_runner.ros.processes import LAUNCH_ARGUMENTS, Arguments, Process, processes

ROOT = Path(__file__).resolve().parents[2]


def by_name(arguments: Arguments) -> dict[str, Process]:
    return {row.node_name: row for row in processes(arguments)}


def test_a_robot_gets_runner_guard_and_sidecar() -> None:
    rows = by_name(Arguments())
    assert list(rows) == ["policy_runner", "policy_runner_guard", "jetson_diagnostics"]
    runner = rows["policy_runner"]
    assert runner.is_lifecycle
    assert not rows["jetson_diagnostics"].is_lifecycle
    assert runner.params_file == share_path("config", "policy_runner.yaml")
    # No policy and no backend: the parameter file and the node keep their own values.
    assert dict(runner.parameters) == {
        "autostart": True,
        "use_sim_time": False,
        "lockstep": False,
        "dry_run": False,
    }
    setup = (ROOT / "setup.py").read_text()
    for row in rows.values():
        assert find_spec(row.module) is not None
        # The process table and `ros2 run` start the same module.
        assert f'"{row.executable} = {row.module}:main"' in setup


def test_the_simulated_robot_brings_its_policy_and_its_parameters() -> None:
    rows = by_name(Arguments(simulated_robot=True, robot={"seed": 5}))
    nodes = ["simulated_robot", "policy_runner", "policy_runner_guard", "jetson_diagnostics"]
    assert list(rows) == nodes
    runner, robot = rows["policy_runner"], rows["simulated_robot"]
    assert runner.params_file == share_path("config", "balancer.yaml")
    assert runner.parameters["policy"] == str(share_path("models", "balancer"))
    assert dict(robot.parameters) == {"mode": "realtime", "publish_clock": False, "seed": 5}


def test_lockstep_means_simulated_time_for_both() -> None:
    rows = by_name(Arguments(simulated_robot=True, lockstep=True))
    assert rows["policy_runner"].parameters["use_sim_time"] is True
    assert rows["policy_runner"].parameters["lockstep"] is True
    assert rows["simulated_robot"].parameters["mode"] == "lockstep"
    assert rows["simulated_robot"].parameters["publish_clock"] is True


def test_what_was_said_goes_to_the_runner(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("{}", encoding="utf-8")
    rows = by_name(
        Arguments(
            params_file=str(file),
            policy="/p",
            backend="onnxruntime",
            dry_run=True,
            use_sim_time=True,
            sidecar=False,
            guard=False,
            autostart=False,
        )
    )
    assert list(rows) == ["policy_runner"]
    assert rows["policy_runner"].params_file == file
    assert dict(rows["policy_runner"].parameters) == {
        "autostart": False,
        "use_sim_time": True,
        "lockstep": False,
        "dry_run": True,
        "policy": "/p",
        "backend": "onnxruntime",
    }


def test_a_params_file_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(FileNotFoundError, match=r"params_file: expected a YAML file, got /no/such"):
        processes(Arguments(params_file="/no/such.yaml"))


def test_every_launch_argument_has_a_description_and_a_field() -> None:
    fields = set(Arguments.__dataclass_fields__) - {"robot"}
    names = {name for name, _, _ in LAUNCH_ARGUMENTS}
    assert names == fields | {"namespace", "log_level", "aggregator", "on_runner_exit"}
    assert all(len(text) > 15 for _, _, text in LAUNCH_ARGUMENTS)


@pytest.mark.parametrize("name", ["balancer.yaml", "policy_runner.yaml"])
def test_the_shipped_files_speak_to_our_nodes_in_any_namespace(name: str) -> None:
    content = yaml.safe_load(share_path("config", name).read_text("utf-8"))
    assert content
    for section in content:
        assert section in ("/**/policy_runner", "/**/jetson_diagnostics", "/**/simulated_robot")


def _described() -> list[Any]:
    """Entities of the launch description; launch is imported here, not when tests are collected."""
    path = share_path("launch", "jetson.launch.py")
    return list(runpy.run_path(str(path))["generate_launch_description"]().entities)


@pytest.mark.skipif(find_spec("launch_ros") is None, reason="launch_ros is not installed")
def test_the_launch_description() -> None:
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    from launch import LaunchContext

    entities = _described()
    declared = [one for one in entities if isinstance(one, DeclareLaunchArgument)]
    assert [one.name for one in declared] == [name for name, _, _ in LAUNCH_ARGUMENTS]
    assert all(one.description for one in declared)
    context = LaunchContext()
    for one in declared:
        one.execute(context)
    (nodes,) = [one for one in entities if isinstance(one, OpaqueFunction)]
    actions = nodes.execute(context)
    assert [type(one).__name__ for one in actions] == ["LifecycleNode", "Node", "Node"]
    assert all(one.choices == choices(one.name) for one in declared)


def test_choices_of_launch_arguments() -> None:
    names = [name for name, _, _ in LAUNCH_ARGUMENTS]
    for name, default, _ in LAUNCH_ARGUMENTS:
        valid = choices(name)
        assert valid is None or default in valid, name
    assert choices("guard") == ("true", "false", "True", "False")
    assert choices("on_runner_exit") == ("shutdown", "respawn", "ignore")
    free = [name for name in names if choices(name) is None]
    assert free == ["params_file", "policy", "namespace"]


@pytest.mark.parametrize(
    ("pushed", "given", "full"),
    [
        ("", "", ""),
        ("", "robot1", "/robot1"),
        ("/fleet", "robot1", "/fleet/robot1"),
        ("/fleet", "", "/fleet"),
        ("/fleet", "/robot1", "/robot1"),
        ("fleet/", "a/b", "/fleet/a/b"),
    ],
)
def test_the_namespace_of_the_nodes(pushed: str, given: str, full: str) -> None:
    assert full_namespace(pushed, given) == full


def test_what_follows_the_end_of_the_runner() -> None:
    killed, failed, ended_well, refused = -9, 1, 0, 2
    assert [after_exit("respawn", code) for code in (killed, failed)] == ["respawn"] * 2
    # Ended on purpose, or refused its arguments: the same would follow a new start.
    assert [after_exit("respawn", code) for code in (ended_well, refused)] == ["shutdown"] * 2
    assert {after_exit("shutdown", code) for code in (killed, ended_well)} == {"shutdown"}
    assert after_exit("ignore", killed) == "ignore"


def test_a_respawned_runner_waits_for_arming(tmp_path: Path) -> None:
    """The launch file gives these parameters to the node's full name, after the file."""
    rclpy = pytest.importorskip("rclpy")
    over = tmp_path / "over.yaml"
    over.write_text(
        yaml.safe_dump({"/r1/policy_runner": {"ros__parameters": RESPAWNED_PARAMETERS}})
    )
    shipped = share_path("config", "balancer.yaml")
    assert "require_arming: false" in shipped.read_text("utf-8")
    words = ["--params-file", str(shipped), "--params-file", str(over), "-r", "__ns:=/r1"]
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        from policy_runner.ros.runner.node import PolicyRunner

        node = PolicyRunner(
            context=context, cli_args=["--ros-args", *words], use_global_arguments=False
        )
        assert node.parameters.value("require_arming") is True
        node.free()
        node.destroy_node()
    finally:
        context.try_shutdown()
