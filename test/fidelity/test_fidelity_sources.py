"""Terms of users, joints relative to other values, and the whole arithmetic of commands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, make_rig, refused, term
from fidelity_rig import IMU, JOINTS, TWIST, FakeModel, fault, observed, terms_content, terms_rig

from policy_runner.core.observation.terms import custom as terms_custom

INF = math.inf


class _Battery:
    """A user's term: charge above a threshold, and the number of reads."""

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


@pytest.mark.parametrize(
    "keys", [{"field": "position[0:2]"}, {"field": "position", "pool": {"bins": 2}}]
)
def test_joints_go_by_name_and_not_by_their_place(tmp_path: Path, keys: dict[str, Any]) -> None:
    one = term("field", input="joints", **keys)
    (sentence,) = refused(terms_rig, tmp_path, [one], {"joints": JOINTS}, 2)
    assert "terms[0].term: expected joint_position, joint_velocity or joint_effort" in sentence
