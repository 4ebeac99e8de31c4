"""Scans pooled to bins, users' own terms, fields of many messages, joints relative to anything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, refused, term
from fidelity_rig import IMU, JOINTS, TWIST, FakeModel, fault, observed, terms_content, terms_rig
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core import terms_custom
from policy_runner.core.message_fields import leaves

SCAN = "sensor_msgs/msg/LaserScan"
INF, NAN = math.inf, math.nan


def _scan(folder: Path, bins: int, by: str = "min", field: str = "ranges", **keys: Any) -> Rig:
    one = term("field", input="scan", field=field, pool={"bins": bins, "by": by}, **keys)
    return terms_rig(folder, [one], {"scan": SCAN}, bins)


def _take(rig: Rig, ranges: Sequence[float]) -> None:
    slot = rig.pipeline.slots["scan"]
    slot.takers["ranges"](ranges)
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
    # A NaN that no rule mentions is a fault, wherever it is in its bin.
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
    assert rig.pipeline.slots["scan"].takers["ranges"]([]) == "an empty sequence"


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
        ("my_msgs/msg/Thing", "a.b[3:5]", None, ("a.b[3]", "a.b[4]")),
        ("geometry_msgs/msg/WrenchStamped", "wrench.force", None,
         ("wrench.force.x", "wrench.force.y", "wrench.force.z")),
    ],
)  # fmt: skip
def test_leaves(kind: str, path: str, size: int | None, expected: tuple[str, ...]) -> None:
    assert leaves(kind, path, size) == expected


@pytest.mark.parametrize(
    ("kind", "path"),
    [(SCAN, "ranges"), (SCAN, "range_max[0:2]"), (SCAN, "rnges[0:2]"), (SCAN, "range_max.x")],
)
def test_what_has_no_leaves(kind: str, path: str) -> None:
    with pytest.raises(KeyError):
        leaves(kind, path)


class _Battery:
    """A user's term: charge above a threshold, and how often it was asked for."""

    elements = ("full", "inferences")

    def __init__(self, parameters: Mapping[str, Any], request: Callable[..., Any]) -> None:
        self.threshold = parameters["threshold"]
        self.charge = request("battery", "percentage", 1)
        self.count = 0

    def read(self, out: Any) -> str:
        if self.charge[0] < 0:
            raise ValueError("a negative charge")
        out[:] = float(self.charge[0] > self.threshold), self.count
        return "empty" if self.charge[0] == 0 else ""

    def advance(self) -> None:
        self.count += 1

    def reset(self) -> None:
        self.count = 0


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("battery", f"{__name__}:_Battery", terms_custom.GROUP),
        EntryPoint("broken", "no_such_module_here:Term", terms_custom.GROUP),
    ]
    monkeypatch.setattr(terms_custom, "entry_points", lambda group: points)


BATTERY = {"battery": "sensor_msgs/msg/BatteryState"}


@pytest.mark.usefixtures("installed")
def test_a_user_s_term(tmp_path: Path) -> None:
    one = term(
        "custom", uses="battery", parameters={"threshold": 0.5}, scale={"full": 10, "i.*": 1}
    )
    rig = terms_rig(tmp_path, [one], BATTERY, 2)
    rig.feed("battery", MS, percentage=[0.7])
    assert observed(rig, MS) == [10, 0]
    rig.feed("battery", MS, percentage=[0.3])
    assert observed(rig, MS) == [0, 1]
    rig.feed("battery", MS, percentage=[0.0])
    assert fault(rig, MS) == "obs: empty"
    rig.feed("battery", MS, percentage=[-1.0])
    assert fault(rig, MS) == "obs: battery raised ValueError: a negative charge"
    rig.pipeline.reset()
    rig.feed("battery", MS, percentage=[0.7])
    assert observed(rig, MS) == [10, 0]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"uses": "batery"}, "(battery, broken), got 'batery'; did you mean 'battery'?"),
        ({"uses": "broken"}, "got ModuleNotFoundError: No module named 'no_such_module_here'"),
        ({"uses": "battery"}, "got KeyError: 'threshold'"),
    ],
)
def test_a_user_s_term_that_is_not_there(
    tmp_path: Path, keys: dict[str, Any], expected: str
) -> None:
    (sentence,) = refused(terms_rig, tmp_path, [term("custom", **keys)], BATTERY, 2)
    assert "observation[0].terms[0].uses: expected an entry point" in sentence
    assert sentence.endswith(expected)


def test_joints_relative_to_the_previous_target(tmp_path: Path) -> None:
    content = terms_content(
        [term("joint_position", input="joints", joints=["b", "a"], relative_to="previous_target")],
        {"joints": JOINTS},
    )
    content["action"][0]["groups"] = [{"kind": "position", "joints": ["a", "b"], "offset": 1.0}]
    model = FakeModel(
        {"obs": np.zeros((1, 2))}, {"act": (1, 2)}, lambda inputs: {"act": [[10.0, 20.0]]}
    )
    rig = make_rig(tmp_path, content, model)
    rig.joints("joints", MS, ["a", "b"], position=[100.0, 200.0])
    assert observed(rig, MS) == [200, 100]
    assert observed(rig, MS) == [200 - 21, 100 - 11]
    rig.pipeline.reset()
    assert observed(rig, MS) == [200, 100]


def test_relative_to_a_target_of_another_kind(tmp_path: Path) -> None:
    one = term("joint_position", input="joints", relative_to="previous_target")
    (sentence,) = refused(terms_rig, tmp_path, [one], {"joints": JOINTS}, 2)
    assert sentence.endswith("expected joints whose position the policy commands, got a, b")


def test_relative_to_numbers(tmp_path: Path) -> None:
    one = term("joint_velocity", input="joints", joints=["b", "a"], relative_to={"b": 1, "a": 2})
    rig = terms_rig(tmp_path, [one], {"joints": JOINTS}, 2)
    rig.joints("joints", MS, ["a", "b"], velocity=[10.0, 20.0])
    assert observed(rig, MS) == [19, 8]


def test_a_command_through_dead_band_range_clip_and_scale(tmp_path: Path) -> None:
    one = term(
        "velocity_command", input="cmd", dead_band={"linear.*": 0.1, "angular.z": 0},
        range=[[-0.5, 1.0], [None, 0.3], [-1, 1]], clip=[-0.8, None], scale=2.0,
    )  # fmt: skip
    rig = terms_rig(tmp_path, [one], {"cmd": TWIST}, 3)
    for command, expected in (
        ((0.09, -0.09, 0.09), (0, 0, 0.18)),
        ((0.1, -2.0, -3.0), (0.2, -1.6, -1.6)),
        ((5.0, 5.0, 5.0), (2.0, 0.6, 2.0)),
    ):
        rig.feed("cmd", MS, linear__x=[command[0]], linear__y=[command[1]],
                 angular__z=[command[2]])  # fmt: skip
        assert observed(rig, MS) == pytest.approx(expected)


def test_an_infinite_command_is_no_command(tmp_path: Path) -> None:
    rig = terms_rig(
        tmp_path, [term("velocity_command", input="cmd", range=[-1, 1])], {"cmd": TWIST}, 3
    )
    rig.feed("cmd", MS, linear__x=[INF], linear__y=[0], angular__z=[0])
    assert "linear.x is inf" in fault(rig, MS)


def test_no_orientation_in_an_input_is_a_field_of_it(tmp_path: Path) -> None:
    (sentence,) = refused(
        terms_rig, tmp_path, [term("euler_angles", input="imu", field="orientaton")],
        {"imu": IMU}, 3,
    )  # fmt: skip
    assert sentence.endswith("got 'orientaton'; did you mean 'orientation'?")


def test_joints_go_by_name_and_not_by_their_place(tmp_path: Path) -> None:
    one = term("field", input="joints", field="position[0:2]")
    (sentence,) = refused(terms_rig, tmp_path, [one], {"joints": JOINTS}, 2)
    assert "terms[0].term: expected joint_position, joint_velocity or joint_effort" in sentence
