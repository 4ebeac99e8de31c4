"""The runner's parameters: what this robot does with the policy, and how it becomes settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.settings import CommandLimits, InputRule, Settings, StopRule
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.limits import command_limits, start_settings, stop_rule
from policy_runner.robot.parameters.command import COMMAND_TYPES, JOINT_KINDS, TWIST_TYPES
from policy_runner.robot.parameters.policy import joint_rows
from policy_runner.robot.parameters.runner import TABLE

SHORTEST_EXECUTOR_TIMEOUT_S = 1.5
__all__ = ["COMMAND_TYPES", "JOINT_KINDS", "TABLE", "TWIST_TYPES", "joint_rows"]


def robot_joints(values: Mapping[str, Any], spec: PolicySpec) -> dict[str, RobotJoint]:
    """How the robot calls and turns every joint of the policy.

    Raises:
        Refusal: a sign that is not 1 or -1, or two joints with one robot name.
    """
    joints = {
        name: RobotJoint(
            values[f"joints.{name}.name"] or values["joint_prefix"] + name,
            values[f"joints.{name}.sign"],
            values[f"joints.{name}.offset"],
        )
        for name in spec.joint_names
    }
    problems = [
        Problem("", f"parameter joints.{name}.sign", "1.0 or -1.0", f"{joint.sign}")
        for name, joint in joints.items()
        if joint.sign not in (1.0, -1.0)
    ]
    names = [joint.name for joint in joints.values()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(
            Problem("", "parameters joints.*.name", "different names", f"'{name}' twice")
        )
    if problems:
        raise Refusal(problems)
    return joints


def mountings(values: Mapping[str, Any], spec: PolicySpec) -> dict[str, tuple[float, float, float]]:
    """How each Imu is turned against the body: roll, pitch, yaw [rad] by input.

    Raises:
        Refusal: not three angles, or angles for an input that is no Imu.
    """
    found: dict[str, tuple[float, float, float]] = {}
    problems = []
    for name, given in spec.inputs.items():
        angles = values[f"inputs.{name}.mounting"]
        if len(angles) != 3 or (any(angles) and given.type != "sensor_msgs/msg/Imu"):
            expected = "three angles, for an input of type sensor_msgs/msg/Imu"
            key = f"parameter inputs.{name}.mounting"
            problems.append(Problem("", key, expected, f"{list(angles)} for {given.type}"))
        elif any(angles):
            found[name] = (angles[0], angles[1], angles[2])
    if problems:
        raise Refusal(problems)
    return found


def control_rate(values: Mapping[str, Any], spec: PolicySpec) -> float:
    """Control rate in Hz.

    Raises:
        Refusal: it is not the trained one and `allow_rate_mismatch` is false, or out of range.
    """
    trained = values["decimation"] / spec.control_dt
    rate = values["rate"] if values["rate"] is not None else trained
    if not 1.0 <= rate <= 1000.0:
        got = f"{rate:g} (decimation {values['decimation']} / control_dt {spec.control_dt:g} s)"
        raise Refusal([Problem("", "parameter rate", "1 to 1000 Hz", got)])
    if abs(rate - trained) > 1e-6 * trained and not values["allow_rate_mismatch"]:
        raise Refusal(
            [
                Problem(
                    "",
                    "parameter rate",
                    f"{trained:g} Hz, as trained (decimation / control_dt)",
                    f"{rate:g} Hz",
                    "correct it, or set allow_rate_mismatch",
                )
            ]
        )
    return float(rate)


def build_settings(
    values: Mapping[str, Any],
    spec: PolicySpec,
    elements: Sequence[ActionElement],
    simulated: bool = False,
) -> Settings:
    """Frozen settings from parameter values; `simulated`: time is the simulator's.

    Raises:
        Refusal: values that contradict each other, all of them.
    """
    problems: list[Problem | str] = []
    period_ns = round(1e9 / control_rate(values, spec))

    limits, stops = CommandLimits.none(len(elements)), StopRule()
    start: dict[str, Any] = {}
    try:
        limits = command_limits(values, spec, elements, period_ns)
        stops = stop_rule(values, spec, elements, limits)
        start = start_settings(values, spec, elements)
    except Refusal as refusal:
        problems += refusal.problems
    between_s = values["decimation"] * period_ns / 1e9
    if values["safety.reset_after"] <= between_s:
        key = "parameter safety.reset_after"
        expected = f"more than the {between_s:g} s between two inferences"
        problems.append(Problem("", key, expected, f"{values['safety.reset_after']:g}"))
    if 0.0 < values["safety.executor_timeout"] < SHORTEST_EXECUTOR_TIMEOUT_S:
        key = "parameter safety.executor_timeout"
        expected = (
            f"0, or at least {SHORTEST_EXECUTOR_TIMEOUT_S:g} s, since the executor tells every "
            "0.25 s that it lives, and checks a new policy for up to 1 s"
        )
        problems.append(Problem("", key, expected, f"{values['safety.executor_timeout']:g}"))
    if problems:
        raise Refusal(problems)
    return Settings(
        period_ns=period_ns,
        decimation=values["decimation"],
        inputs={
            name: InputRule(
                round(values[f"inputs.{name}.max_age"] * 1e9),
                values[f"inputs.{name}.on_stale"],
                values[f"inputs.{name}.strict_stamp"],
            )
            for name in spec.inputs
        },
        limits=limits,
        stops=stops,
        max_tilt_rad=values["safety.max_tilt"],
        hold_recover_ns=round(values["safety.hold_recover"] * 1e9),
        safe_stop_after_ns=round(values["safety.safe_stop_after"] * 1e9),
        recover=values["safety.recover"],
        reset_after_ns=round(values["safety.reset_after"] * 1e9),
        require_arming=values["require_arming"],
        stamp_tolerance_ns=round(values["safety.stamp_tolerance"] * 1e9),
        # Simulated time may pass slower than an inference, and /clock come rarer than a tick.
        late_inferences=0 if simulated else values["safety.late_inferences"],
        late_ticks=0 if simulated else values["safety.late_ticks"],
        executor_timeout_ns=round(values["safety.executor_timeout"] * 1e9),
        callback_failures=values["safety.callback_failures"],
        position_margin=values["safety.position_margin"],
        max_velocity={
            name: values[f"joints.{name}.max_velocity"]
            for name in spec.joint_names
            if values.get(f"joints.{name}.max_velocity") is not None
        },
        **start,
    )
