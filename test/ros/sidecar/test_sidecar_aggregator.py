"""Exactly one rule of the aggregator's configuration matches each status of this package.

diagnostic_aggregator is not needed here: its `startswith` is a plain comparison.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[3] / "config/diagnostics_aggregator.yaml"
GROUPS = ("cpu", "memory", "temperature", "disk", "power", "throttling", "gpu", "fan", "board")
NAMES = [f"jetson_diagnostics: {group}" for group in (*GROUPS, "policy")]
NAMES += [f"policy_runner: {part}" for part in ("loop", "inputs", "inference", "safety", "model")]
NAMES += ["simulated_robot: balance"]


def rules():
    tree = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    for group in tree.values():
        if isinstance(group, dict):
            assert group["type"] == "diagnostic_aggregator/AnalyzerGroup"
            yield from group["analyzers"].values()


@pytest.mark.parametrize("name", NAMES)
def test_each_status_has_one_place(name):
    matching = [r for r in rules() if any(name.startswith(word) for word in r["startswith"])]
    assert len(matching) == 1
    (rule,) = matching
    assert rule["type"] == "diagnostic_aggregator/GenericAnalyzer"
    # The rest of the name is readable, and one status each second is well within the timeout.
    assert name.removeprefix(rule["remove_prefix"]) == name.split(": ")[1]
    assert rule["timeout"] >= 2.0


def test_no_rule_matches_nothing():
    for rule in rules():
        for word in rule["startswith"]:
            assert any(name.startswith(word) for name in NAMES), word


def test_the_published_groups_are_the_ones_above(tmp_path):
    pytest.importorskip("rclpy")
    from policy_runner.telemetry.groups import make_groups
    from policy_runner.telemetry.host.identity import read_identity
    from policy_runner.telemetry.host_files import HostFiles

    tree = HostFiles(str(tmp_path))
    assert tuple(make_groups(tree, {"disk.paths": []}, read_identity(tree))) == GROUPS
