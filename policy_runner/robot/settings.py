"""Builds joints, mountings and settings of a pipeline from the robot's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.settings import CommandLimits, InputRule, Settings, StopRule
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.config import RobotConfig
from policy_runner.robot.limits import command_limits, start_settings, stop_rule
from policy_runner.robot.parameters.command import COMMAND_ROWS, READ_FOR

SHORTEST_EXECUTOR_TIMEOUT_S = 1.5
# For these types 0 is an ordinary measurement: a silent camera does not mean a black image, and a
# silent map does not mean free cells.
_NO_ZERO = (
    *("sensor_msgs/msg/JointState", "sensor_msgs/msg/Imu", "nav_msgs/msg/Odometry"),
    *("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/LaserScan"),
    "nav_msgs/msg/OccupancyGrid",
)


def robot_joints(config: RobotConfig) -> dict[str, RobotJoint]:
    """Return the robot's name, sign and offset of every joint of the policy.

    Raises:
        Refusal: a sign is not 1 or -1, or two joints have the same robot name.
    """
    joints = {
        name: RobotJoint(joint.name, joint.sign, joint.offset)
        for name, joint in config.joints.items()
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


def mountings(config: RobotConfig) -> dict[str, tuple[float, float, float]]:
    """Return the rotation of each Imu relative to the body: input name -> roll, pitch, yaw [rad].

    Raises:
        Refusal: a mounting has not three angles, or belongs to an input that is not an Imu.
    """
    found: dict[str, tuple[float, float, float]] = {}
    problems = []
    for name, given in config.inputs.items():
        angles = given.mounting
        if len(angles) != 3 or (any(angles) and given.type != "sensor_msgs/msg/Imu"):
            expected = "three angles, for an input of type sensor_msgs/msg/Imu"
            key = f"parameter inputs.{name}.mounting"
            problems.append(Problem("", key, expected, f"{list(angles)} for {given.type}"))
        elif any(angles):
            found[name] = (angles[0], angles[1], angles[2])
    if problems:
        raise Refusal(problems)
    return found


def control_rate(config: RobotConfig, spec: PolicySpec) -> float:
    """Return the control rate [Hz].

    Raises:
        Refusal: the rate is out of range, or differs from the trained rate without
            `allow_rate_mismatch`.
    """
    loop = config.loop
    trained = loop.decimation / spec.control_dt
    rate = loop.rate_hz if loop.rate_hz is not None else trained
    if not 1.0 <= rate <= 1000.0:
        got = f"{rate:g} (decimation {loop.decimation} / control_dt {spec.control_dt:g} s)"
        raise Refusal([Problem("", "parameter rate", "1 to 1000 Hz", got)])
    # Chunks are played by the clock, so any rate plays them at their speed.
    free = loop.allow_rate_mismatch or spec.chunk is not None
    if abs(rate - trained) > 1e-6 * trained and not free:
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


def unread_parameters(config: RobotConfig, elements: Sequence[ActionElement]) -> list[Problem]:
    """Return a problem for each parameter that is set but not read for this command."""
    command = config.command
    defaults = {row.name: row.default for row in COMMAND_ROWS}
    kinds = {element.kind for element in elements}
    problems = []
    for name, message in READ_FOR.items():
        value = getattr(command, name.removeprefix("command."))
        if value != defaults[name] and command.type != message:
            expected = f"nothing, since only command.type {message} reads it"
            shown = str(list(value)) if isinstance(value, tuple) else f"'{value}'"
            remedy = f"leave it out, or set command.type, which is {command.type}"
            problems.append(Problem("", f"parameter {name}", expected, shown, remedy))
    usual, given = defaults["command.twist_type"], command.twist_type
    if given != usual and kinds and ("twist" not in kinds or command.type == "message"):
        what = "command.type message" if "twist" in kinds else "a policy that commands no twist"
        expected = f"{usual}, since nothing reads it for {what}"
        problems.append(Problem("", "parameter command.twist_type", expected, given))
    return problems


def _too_short(config: RobotConfig, period_ns: int) -> list[Problem]:
    """Return a problem for each time below one control period: it would become a jump."""
    times = {
        "stop.ramp_s": config.stop.ramp_ns,
        "start_pose.duration": config.start.duration_ns,
        "blend_in": config.start.blend_in_ns,
    }
    expected = f"0, or at least one control period ({period_ns / 1e9:g} s)"
    return [
        Problem("", f"parameter {name}", expected, f"{time_ns / 1e9:g}")
        for name, time_ns in times.items()
        if 0 < time_ns < period_ns
    ]


def build_settings(
    config: RobotConfig, spec: PolicySpec, elements: Sequence[ActionElement], laned: bool = False
) -> Settings:
    """Build the frozen settings of a pipeline.

    Args:
        config: the parameters.
        spec: the policy.
        elements: of its command.
        laned: its inferences run in a lane, which has its own times; every tick has an action.

    Raises:
        Refusal: names all values that contradict each other.
    """
    problems: list[Problem | str] = []
    period_ns = round(1e9 / control_rate(config, spec))

    loop, safety = config.loop, config.safety
    limits, stops = CommandLimits.none(len(elements)), StopRule()
    start: dict[str, Any] = {}
    try:
        limits = command_limits(config, spec, elements, period_ns)
        stops = stop_rule(config, spec, elements, limits)
        start = start_settings(config, spec, elements)
    except Refusal as refusal:
        problems += refusal.problems
    problems += _too_short(config, period_ns)
    between_ns = loop.decimation * period_ns
    if safety.reset_after_ns <= between_ns:
        key = "parameter safety.reset_after"
        expected = f"more than the {between_ns / 1e9:g} s between two inferences"
        problems.append(Problem("", key, expected, f"{safety.reset_after_ns / 1e9:g}"))
    if 0.0 < safety.executor_timeout_ns / 1e9 < SHORTEST_EXECUTOR_TIMEOUT_S:
        key = "parameter safety.executor_timeout"
        expected = (
            f"0, or at least {SHORTEST_EXECUTOR_TIMEOUT_S:g} s, since the executor reports every "
            "0.25 s that it is alive, and checks a new policy for up to 1 s"
        )
        problems.append(Problem("", key, expected, f"{safety.executor_timeout_ns / 1e9:g}"))
    if safety.require_guard and not safety.require_arming:
        expected = "false, since with require_arming: false nothing is armed that could be refused"
        problems.append(Problem("", "parameter safety.require_guard", expected, "true"))
    for name, given in config.inputs.items():
        if given.on_stale == "zero" and given.type in _NO_ZERO:
            expected = f"hold or safe_stop, since 0 is a measurement in a {given.type}"
            problems.append(Problem("", f"parameter inputs.{name}.on_stale", expected, "zero"))
    if problems:
        raise Refusal(problems)
    return Settings(
        period_ns=period_ns,
        decimation=1 if laned else loop.decimation,
        inputs={
            name: InputRule(given.max_age_ns, given.on_stale, given.strict_stamp)
            for name, given in config.inputs.items()
        },
        limits=limits,
        stops=stops,
        max_tilt_rad=safety.max_tilt,
        hold_recover_ns=safety.hold_recover_ns,
        safe_stop_after_ns=safety.safe_stop_after_ns,
        recover=safety.recover,
        reset_after_ns=safety.reset_after_ns,
        require_arming=safety.require_arming,
        require_guard=safety.require_guard,
        stamp_tolerance_ns=safety.stamp_tolerance_ns,
        # Simulated time may be slower than an inference, and /clock may arrive less often than
        # once in a tick.
        late_inferences=0 if loop.simulated else safety.late_inferences,
        late_ticks=0 if loop.simulated else safety.late_ticks,
        executor_timeout_ns=safety.executor_timeout_ns,
        callback_failures=safety.callback_failures,
        second_commander=safety.second_commander,
        estop_quiet_ns=safety.estop_quiet_ns,
        position_margin=safety.position_margin,
        max_velocity={
            name: joint.max_velocity
            for name, joint in config.joints.items()
            if joint.max_velocity is not None
        },
        **start,
    )
