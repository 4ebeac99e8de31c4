"""The aggregator accepts our configuration, and exactly one rule takes each of our statuses.

diagnostic_aggregator is no wheel: `aggregator_rig` has its types and rules.
"""

from __future__ import annotations

from pathlib import Path

import aggregator_rig
import pytest

from policy_runner.robot.parameter_yaml import read_parameter_file
from policy_runner.ros.aggregator import aggregator_parameters

CONFIG = Path(__file__).resolve().parents[3] / "config/diagnostics_aggregator.yaml"
GROUPS = ("cpu", "memory", "temperature", "disk", "power", "throttling", "gpu")
GROUPS += ("engines", "fan", "board")
NAMES = [f"jetson_diagnostics: {group}" for group in (*GROUPS, "policy")]
NAMES += [f"policy_runner: {part}" for part in ("loop", "inputs", "inference", "safety", "model")]
NAMES += ["policy_runner_guard: guard", "simulated_robot: balance"]


def shipped():
    """The parameters of the shipped file, typed like rcl does."""
    (section,) = read_parameter_file(CONFIG)
    assert section.name == "/**"
    return section.keys


def test_every_key_has_the_type_that_the_analyzers_read():
    assert not aggregator_rig.wrong_types(shipped())


def test_rcl_gives_the_same_values(tmp_path):
    """Read by rcl itself, like `aggregator_node` does: a node that declares what it is given."""
    rclpy = pytest.importorskip("rclpy")
    context = rclpy.Context()
    rclpy.init(args=["--ros-args", "--params-file", str(CONFIG)], context=context)
    try:
        node = rclpy.create_node(
            "analyzers", context=context, automatically_declare_parameters_from_overrides=True
        )
        read = {name: one.value for name, one in node.get_parameters_by_prefix("").items()}
        node.destroy_node()
    finally:
        context.try_shutdown()
    got = {key: read[key] for key in shipped()}
    assert not aggregator_rig.wrong_types(got)
    assert got == shipped()


def test_the_check_of_types_finds_what_crashed_the_aggregator():
    key = "policy.analyzers.runner.remove_prefix"
    for wrong in ("policy_runner: ", [], [1]):
        (text,) = aggregator_rig.wrong_types({**shipped(), key: wrong})
        assert text.startswith(f"{key}: expected a list of strings")
    assert aggregator_rig.wrong_types({**shipped(), "policy.analyzers.runner.timeout": 5})
    assert aggregator_rig.wrong_types({**shipped(), "policy.analyzers.runner.timeuot": 5.0})


def matching(namespace, name):
    return [
        rule
        for rule in aggregator_rig.rules(aggregator_parameters(namespace))
        if rule.matches(name)
    ]


@pytest.mark.parametrize(
    ("namespace", "before"), [("", ""), ("", "/"), ("r1", "/r1/"), ("/fleet/r1", "/fleet/r1/")]
)
@pytest.mark.parametrize("name", NAMES)
def test_each_status_has_one_place(name, namespace, before):
    (rule,) = matching(namespace, f"{before}{name}")
    # The rest of the name is readable, and one status each second is well within the timeout.
    assert rule.shown(f"{before}{name}") == name.split(": ")[1]
    assert rule.keys["timeout"] >= 2.0


@pytest.mark.parametrize("name", NAMES)
def test_an_aggregator_takes_no_status_of_another_robot(name):
    for namespace, others in (("", ("/r1/", "/r2/")), ("r1", ("", "/", "/r2/", "/r11/"))):
        for before in others:
            assert not matching(namespace, f"{before}{name}"), (namespace, before)


def test_the_parameters_for_a_namespace_have_the_right_types():
    for namespace in ("", "r1", "/fleet/r1"):
        assert not aggregator_rig.wrong_types(aggregator_parameters(namespace))
    assert aggregator_parameters("") == aggregator_parameters("/") == shipped()
    assert aggregator_parameters("r1")["path"] == "Robot r1"


def test_no_rule_matches_nothing():
    for rule in aggregator_rig.rules(shipped()):
        for word in rule.keys["startswith"]:
            assert any(f"{slash}{n}".startswith(word) for n in NAMES for slash in ("", "/")), word


def test_the_published_groups_are_the_ones_above(tmp_path):
    pytest.importorskip("rclpy")
    from policy_runner.telemetry.groups import make_groups
    from policy_runner.telemetry.host.identity import read_identity
    from policy_runner.telemetry.host_files import HostFiles

    tree = HostFiles(str(tmp_path))
    assert tuple(make_groups(tree, {"disk.paths": []}, read_identity(tree))) == GROUPS
