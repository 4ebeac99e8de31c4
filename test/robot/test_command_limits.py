"""Limits, stops and the start from parameters and spec, without a node: priority, refusals."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from runner_rig import spec as toy

from policy_runner.core.errors import Refusal
from policy_runner.core.settings import Settings
from policy_runner.core.spec import PolicySpec, SpecFile
from policy_runner.core.spec.elements import action_elements
from policy_runner.robot.config import RobotConfig, robot_config
from policy_runner.robot.limits import with_urdf_limits
from policy_runner.robot.parameters.policy import policy_rows
from policy_runner.robot.parameters.runner import TABLE
from policy_runner.robot.settings import build_settings, robot_joints

GROUPS: dict[str, list[dict[str, Any]]] = {
    "velocity": [{"kind": "velocity", "joints": ["left_joint", "right_joint"]}],
    "position": [{"kind": "position", "joints": ["left_joint", "right_joint"]}],
    "twist": [{"kind": "twist", "axes": ["linear.x", "angular.z"]}],
    "value": [{"kind": "value", "elements": ["throttle", "brake"]}],
    "both": [
        {"kind": "position", "joints": ["left_joint"]},
        {"kind": "velocity", "joints": ["left_joint"]},
    ],
}


def _spec(kind: str, **changes: Any) -> PolicySpec:
    action = [{"tensor": "actions", "groups": GROUPS[kind]}]
    return PolicySpec.model_validate(toy(action=action, **changes))


def _config(spec: PolicySpec, **given: Any) -> RobotConfig:
    elements = action_elements(spec, "policy.yaml")
    rows = (*TABLE, *policy_rows(spec, elements))
    values = {row.name: row.default for row in rows}
    named = {name.replace("__", "."): value for name, value in given.items()}
    assert set(named) <= set(values), set(named) - set(values)
    return robot_config(values | named, spec, elements, simulated=False)


def _settings(kind: str, spec: dict[str, Any] | None = None, **given: Any) -> Settings:
    made = _spec(kind, **(spec or {}))
    return build_settings(_config(made, **given), made, action_elements(made, "policy.yaml"))


def _refused(kind: str, spec: dict[str, Any] | None = None, **given: Any) -> str:
    with pytest.raises(Refusal) as caught:
        _settings(kind, spec, **given)
    (problem,) = caught.value.problems
    return str(problem)


def test_a_parameter_goes_before_the_spec_key_by_key() -> None:
    limits = {"left_.*": {"lower": -1.0, "upper": 2.0, "max_rate": 5.0}}
    found = _settings("velocity", {"limits": limits}, joints__left_joint__upper=1.5).limits
    assert found.low.tolist() == [-1.0, -math.inf]
    assert found.high.tolist() == [1.5, math.inf]
    assert found.max_step.tolist() == [pytest.approx(0.1), math.inf]


def test_the_exact_name_goes_before_a_pattern() -> None:
    limits = {".*_joint": {"upper": 2.0}, "left_joint": {"upper": 1.0}}
    assert _settings("velocity", {"limits": limits}).limits.high.tolist() == [1.0, 2.0]


def test_axes_and_values_have_limits() -> None:
    given: dict[str, Any] = {"twist.linear.x.upper": 0.5, "twist.angular.z.max_rate": 1.0}
    found = _settings("twist", **given).limits
    assert found.high.tolist() == [0.5, math.inf]
    assert found.max_step.tolist() == [math.inf, pytest.approx(0.02)]
    assert _settings("value", values__brake__upper=1.0).limits.high.tolist() == [math.inf, 1.0]
    spec = {"limits": {"linear\\..*": {"upper": 0.25}}}
    assert _settings("twist", spec).limits.high.tolist() == [0.25, math.inf]


def test_a_joint_commanded_in_two_kinds_has_two_sets() -> None:
    given: dict[str, Any] = {"joints.left_joint.position.upper": 0.5}
    spec = {"limits": {"left_joint.velocity": {"upper": 9.0}}}
    assert _settings("both", spec, **given).limits.high.tolist() == [0.5, 9.0]
    names = [row.name for row in policy_rows(_spec("both"), action_elements(_spec("both"), ""))]
    assert "joints.left_joint.upper" not in names
    assert "joints.right_joint.upper" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("kind", "spec", "given", "says"),
    [
        ("velocity", {}, {"joints__left_joint__lower": 1.0}, "bounds around 0, since a velocity"),
        (
            "velocity",
            {"limits": {"left_joint": {"upper": 1.0}}},
            {"joints__left_joint__lower": 2.0},
            "parameter joints.left_joint.lower: expected at most upper (1), got 2",
        ),
        ("velocity", {"limits": {"left": {}}}, {}, "limits: expected a name or pattern of left_"),
        ("velocity", {"limits": {"(": {}}}, {}, "limits: expected a name or pattern of left_"),
        (
            "velocity",
            {"limits": {"left.*": {}, ".*_joint": {}}},
            {},
            "limits: expected one pattern for 'left_joint', got 'left.*' and '.*_joint'",
        ),
        (
            "velocity",
            {"limits": {"left_joint": {"lower": 2.0, "upper": 1.0}}},
            {},
            "limits.left_joint.lower: expected at most upper (1), got 2",
        ),
        ("velocity", {}, {"stop__velocity": "hold"}, "stop.velocity: expected zero, got hold; set"),
        ("twist", {}, {"stop__twist": "hold"}, "stop.twist: expected zero, got hold; set"),
        ("velocity", {}, {"stop__position": "damping"}, "expected hold, as no position is command"),
        ("position", {}, {"stop__position": "damping"}, "unless the command carries stiffness"),
        ("position", {}, {"stop__position": "default_pose"}, "has no default_joint_pos, got def"),
        (
            "position",
            {"default_joint_pos": 0.0},
            {"stop__position": "default_pose", "joints__left_joint__max_rate": 1.0},
            "parameter stop.ramp_s: expected a time, or max_rate for every joint",
        ),
        (
            "position",
            {"default_joint_pos": 0.0},
            {"stop__position": "default_pose", "command__effort_from_pd": True},
            "expected hold, since command.effort_from_pd publishes efforts, got default_pose",
        ),
        ("position", {}, {"start_pose__duration": 1.0}, "or a policy spec with default_joint_pos"),
        ("velocity", {}, {"start_pose__duration": 1.0}, "expected 0, as no position is commanded"),
        ("velocity", {}, {"blend_in": 1.0}, "parameter blend_in: expected 0, as no position"),
    ],
)
def test_refusals(kind: str, spec: dict[str, Any], given: dict[str, Any], says: str) -> None:
    assert says in _refused(kind, spec, **given)


def test_stops_and_the_start_that_are_accepted() -> None:
    found = _settings("velocity", stop__velocity="hold", allow_runaway_hold=True)
    assert found.stops.velocity == "hold"
    found = _settings(
        "position",
        {"default_joint_pos": 0.0},
        stop__position="default_pose",
        stop__ramp_s=0.5,
        start_pose__duration=2.0,
        blend_in=1.0,
    )
    assert (found.stops.position, found.stops.ramp_ns) == ("default_pose", 500_000_000)
    assert (found.start_pose_ns, found.blend_in_ns) == (2_000_000_000, 1_000_000_000)
    layout = ["position", "stiffness", "damping"]
    damped = {"command.type": "float64_multi_array", "command.layout": layout}
    assert _settings("position", stop__position="damping", **damped).stops.position == "damping"


def test_a_dry_run_waits_for_no_move_that_nobody_makes() -> None:
    pose = {"default_joint_pos": 0.0}
    assert _settings("position", pose, start_pose__duration=2.0).start_pose_ns == 2_000_000_000
    assert _settings("position", pose, start_pose__duration=2.0, dry_run=True).start_pose_ns == 0


def test_an_executor_timeout_below_its_own_beat_is_refused() -> None:
    for seconds in (0.01, 1.49):
        why = _refused("velocity", safety__executor_timeout=seconds)
        assert why.startswith("parameter safety.executor_timeout: expected 0, or at least 1.5 s")
    for seconds in (0.0, 1.5):
        found = _settings("velocity", safety__executor_timeout=seconds)
        assert found.executor_timeout_ns == round(seconds * 1e9)


@pytest.mark.skipif(find_spec("urdf_parser_py") is None, reason="urdf-parser-py is not installed")
def test_the_urdf_comes_last_and_gives_the_efforts_of_a_pd_their_limit(tmp_path: Path) -> None:
    joints = "".join(
        f'<joint name="{name}" type="revolute"><parent link="a"/><child link="{name}"/>'
        f'<limit lower="-1" upper="1" velocity="4" effort="7"/></joint><link name="{name}"/>'
        for name in ("left_joint", "right_joint")
    )
    path = tmp_path / "robot.urdf"
    path.write_text(f'<robot name="r"><link name="a"/>{joints}</robot>')
    spec = _spec("position", limits={"left_joint": {"upper": 0.5}})
    config = _config(
        spec,
        limits__urdf=str(path),
        joints__right_joint__max_rate=2.0,
        command__effort_from_pd=True,
    )
    found = with_urdf_limits(SpecFile(spec, Path("p")), config, robot_joints(config)).spec
    limits = build_settings(config, found, action_elements(found, "")).limits
    assert limits.low.tolist() == [-1.0, -1.0]
    assert limits.high.tolist() == [0.5, 1.0]
    assert limits.max_step.tolist() == [pytest.approx(0.08), pytest.approx(0.04)]
    assert found.effort_limit == {"left_joint": 7.0, "right_joint": 7.0}


@pytest.mark.parametrize("kind", ["sensor_msgs/msg/JointState", "sensor_msgs/msg/Image"])
def test_zero_is_refused_for_an_input_of_measurements(kind: str) -> None:
    said = _refused("velocity", inputs__joints__on_stale="zero", inputs__joints__type=kind)
    assert said == (
        f"parameter inputs.joints.on_stale: expected hold or safe_stop, since 0 is a measurement"
        f" in a {kind}, got zero"
    )
    assert _settings("velocity", inputs__command__on_stale="zero").inputs["command"]
