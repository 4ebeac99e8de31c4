"""Scans pooled to bins, and the numbers of a message field."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from core_rig import MS, Rig, refused, term
from fidelity_rig import IMU, fault, observed, terms_rig
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.inputs.message_fields import leaves
from policy_runner.core.settings import InputRule

SCAN = "sensor_msgs/msg/LaserScan"
INF, NAN = math.inf, math.nan


def _scan(folder: Path, bins: int, by: str = "min", field: str = "ranges", **keys: Any) -> Rig:
    one = term("field", input="scan", field=field, pool={"bins": bins, "by": by}, **keys)
    return terms_rig(folder, [one], {"scan": SCAN}, bins)


def _take(rig: Rig, ranges: Sequence[float]) -> None:
    slot = rig.pipeline.slots["scan"]
    slot.keepers["ranges"](ranges)
    slot.received(MS, MS)


def test_pooled_to_bins(tmp_path: Path) -> None:
    for by, expected in (("min", [1, 3, 5]), ("max", [2, 4, 7]), ("mean", [1.5, 3.5, 6])):
        rig = _scan(tmp_path, 3, by)
        _take(rig, [2, 1, 3, 4, 5, 6, 7])  # 7 elements: edges 0 2 4 7
        assert observed(rig, MS) == expected


@given(data=st.data(), bins=st.integers(1, 6))
def test_bins_are_a_partition(tmp_path_factory: Any, data: st.DataObject, bins: int) -> None:
    values = data.draw(st.lists(st.floats(0, 10), min_size=bins, max_size=40))
    rig = _scan(tmp_path_factory.mktemp("scan"), bins)
    _take(rig, values)
    edges = [k * len(values) // bins for k in range(bins + 1)]
    expected = [min(values[a:b]) for a, b in itertools.pairwise(edges)]
    assert observed(rig, MS) == expected


def test_the_rule_for_infinities_comes_before_the_pooling(tmp_path: Path) -> None:
    rig = _scan(tmp_path, 2, nonfinite={"inf": 10.0, "nan": 10.0}, scale=0.1)
    _take(rig, [INF, INF, NAN, 2.0])
    assert observed(rig, MS) == pytest.approx([1.0, 0.2])
    # A NaN without a rule is a fault, at any place in its bin.
    rig = _scan(tmp_path, 2, nonfinite={"inf": 10.0})
    _take(rig, [INF, INF, 2.0, NAN])
    assert fault(rig, MS) == "obs: ranges/ranges~1 is nan"


def test_a_slice_of_a_scan(tmp_path: Path) -> None:
    rig = _scan(tmp_path, 2, field="ranges[1:5]")
    _take(rig, [0, 4, 3, 2, 1, 0, 0])
    assert observed(rig, MS) == [3, 1]


def test_a_scan_that_is_too_short(tmp_path: Path) -> None:
    rig = _scan(tmp_path, 4)
    _take(rig, [1, 2, 3])
    assert fault(rig, MS) == "obs: 3 elements in ranges, 4 needed"
    assert rig.pipeline.slots["scan"].keepers["ranges"]([]) == "an empty sequence"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("rangs", "expected one of angle_min, angle_max"),
        ("range_max", "expected a sequence, which 'range_max' is not, but a number,"),
        ("ranges[a:b]", "expected a path such as ranges or ranges[10:350]"),
    ],
)
def test_what_cannot_be_pooled(tmp_path: Path, field: str, expected: str) -> None:
    (sentence,) = refused(_scan, tmp_path, 4, field=field)
    assert "observation[0].terms[0].field: " in sentence
    assert expected in sentence


@pytest.mark.parametrize(
    ("kind", "path", "size", "expected"),
    [
        (SCAN, "range_max", None, ("range_max",)),
        (SCAN, "ranges[2:4]", None, ("ranges[2]", "ranges[3]")),
        ("std_msgs/msg/Float32MultiArray", "data", 2, ("data[0]", "data[1]")),
        ("std_msgs/msg/Bool", "data", None, ("data",)),
        (IMU, "orientation_covariance[0:1]", None, ("orientation_covariance[0]",)),
        ("nav_msgs/msg/Odometry", "pose.covariance[35:36]", None, ("pose.covariance[35]",)),
        ("my_msgs/msg/Thing", "a.b[3:5]", None, ("a.b[3]", "a.b[4]")),
        ("geometry_msgs/msg/WrenchStamped", "wrench.force", None,
         ("wrench.force.x", "wrench.force.y", "wrench.force.z")),
    ],
)  # fmt: skip
def test_leaves(kind: str, path: str, size: int | None, expected: tuple[str, ...]) -> None:
    assert leaves(kind, path, size) == expected


def test_a_covariance_is_there_only_when_it_is_named() -> None:
    assert len(leaves("nav_msgs/msg/Odometry", "pose")) == 7
    assert len(leaves("nav_msgs/msg/Odometry", "twist")) == 6


@pytest.mark.parametrize(
    ("kind", "path"),
    [(SCAN, "ranges"), (SCAN, "range_max[0:2]"), (SCAN, "rnges[0:2]"), (SCAN, "range_max.x")],
)
def test_what_has_no_leaves(kind: str, path: str) -> None:
    with pytest.raises(KeyError):
        leaves(kind, path)


def test_a_scan_is_forgotten_with_its_input(tmp_path: Path) -> None:
    rig = _scan(tmp_path, 2)
    _take(rig, [1.0, 2.0])
    assert observed(rig, MS) == [1, 2]
    slot = rig.pipeline.slots["scan"]
    slot.forget()
    slot.received(2 * MS, 2 * MS)  # as if another field had arrived, without ranges
    assert fault(rig, 2 * MS) == "obs: ranges/ranges~0 is nan"


def test_a_stale_scan_that_means_zero(tmp_path: Path) -> None:
    rig = _scan(tmp_path, 2, offset=1.0)
    settings = rig.pipeline.settings
    rule = InputRule(10 * MS, "zero")
    rig.pipeline.settings = dataclasses.replace(settings, inputs={"scan": rule})
    _take(rig, [1.0, 2.0])
    assert observed(rig, MS) == [2, 3]
    assert observed(rig, 50 * MS) == [1, 1]
