"""The robot's configuration as typed values, built once from the values of the parameters.

`robot_config` is the only code that looks parameters up by name. The rows are in `parameters/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policy_runner.backends.interface import BackendChoice
from policy_runner.core.errors import Problem
from policy_runner.core.inputs.text import STRING
from policy_runner.core.spec import Limit, PolicySpec
from policy_runner.core.spec.elements import KINDS, ActionElement, limit_names
from policy_runner.robot.parameters.policy import limit_prefix
from policy_runner.robot.prompt import NO_AGE_LIMIT_NS


@dataclass(frozen=True)
class LoopConfig:
    """The control loop: its rate, its clock, and its publications in addition to commands."""

    rate_hz: float | None  # rate of the control loop; None: decimation / control_dt
    decimation: int  # control ticks per inference
    allow_rate_mismatch: bool
    dry_run: bool
    lockstep: bool
    simulated: bool  # the clock is the simulator's
    max_message_bytes: int
    max_joint_names: int  # strings and messages in the lists of one input message
    publish_vectors: bool
    window: int  # samples of the latency percentiles
    diagnostics_period_s: float


@dataclass(frozen=True)
class InferenceConfig:
    """Where and when inferences run; fields are the parameters `inference.*`."""

    lane: str  # auto | control | thread | process
    start: str  # when_free | every | at_remaining
    every_ns: int | None
    remaining_ns: int | None
    timeout_ns: int
    tolerance_ns: int
    simulated_latency_ns: int
    cpu_affinity: tuple[int, ...]


@dataclass(frozen=True)
class InputConfig:
    """One input of the policy on this robot."""

    type: str  # message type, as pkg/msg/Name
    mounting: tuple[float, ...]  # roll, pitch, yaw of the sensor relative to the body [rad]
    max_age_ns: int
    on_stale: str  # hold | safe_stop | zero
    strict_stamp: bool


@dataclass(frozen=True)
class JointConfig:
    """One joint of the policy on this robot: robot value = sign * policy value + offset."""

    name: str  # the robot's name of the joint
    sign: float
    offset: float  # [rad] or [m]
    max_velocity: float | None  # measured speed that causes SAFE_STOP [rad/s] or [m/s]


@dataclass(frozen=True)
class CommandConfig:
    """The message of the command; the fields are the parameters `command.*`."""

    type: str
    twist_type: str
    effort_from_pd: bool
    held_joints: tuple[str, ...]  # `name=value` each
    layout: tuple[str, ...]
    message_type: str
    fields: tuple[str, ...]
    stiffness_fields: tuple[str, ...]
    damping_fields: tuple[str, ...]
    constants: tuple[str, ...]  # `path=value` each
    joint_names: tuple[str, ...]  # the receiver's order, robot names; empty: the policy's order
    stamp: str  # stamp of a trajectory: now | zero
    trajectory_lead: float  # [s]; 0: one command per tick

    @property
    def trajectory_lead_ns(self) -> int:
        """`trajectory_lead` [ns]."""
        return _ns(self.trajectory_lead)

    @property
    def carries_gains(self) -> bool:
        """Whether the message has stiffness and damping in addition to the positions."""
        if self.type == "float64_multi_array":
            return {"stiffness", "damping"} <= set(self.layout)
        return self.type == "message" and bool(self.stiffness_fields and self.damping_fields)


@dataclass(frozen=True)
class StopConfig:
    """The commands of HOLD and SAFE_STOP, by kind of command."""

    position: str  # hold | default_pose | damping
    kinds: Mapping[str, str]  # velocity, effort, twist, value -> zero | hold
    ramp_ns: int
    allow_runaway_hold: bool


@dataclass(frozen=True)
class StartConfig:
    """The move to the start pose, and the blend into the policy's commands."""

    duration_ns: int
    tolerance: float  # [rad] or [m]
    blend_in_ns: int


@dataclass(frozen=True)
class SafetyConfig:
    """When the policy may not run, and how it recovers; fields are the parameters `safety.*`."""

    require_arming: bool
    require_guard: bool
    max_tilt: float  # [rad]; 0: not checked
    hold_recover_ns: int
    safe_stop_after_ns: int
    recover: str  # armed | auto
    reset_after_ns: int
    stamp_tolerance_ns: int
    late_inferences: int
    late_ticks: int
    executor_timeout_ns: int
    callback_failures: int
    second_commander: str  # warn | hold | safe_stop
    estop_quiet_ns: int
    position_margin: float | None  # [rad] or [m]


@dataclass(frozen=True)
class RobotConfig:
    """Every parameter that *configure* reads, including the rows that this policy adds."""

    policy: str  # path of the policy spec
    backend: BackendChoice
    build_in_configure: bool
    loop: LoopConfig
    inference: InferenceConfig
    command: CommandConfig
    stop: StopConfig
    start: StartConfig
    safety: SafetyConfig
    limits_urdf: str  # topic, a path, or empty
    robot_description: str | None  # the URDF from the topic
    prompt: str  # text of the policy's text inputs, until a newer one comes; "": none
    inputs: Mapping[str, InputConfig] = field(default_factory=dict)
    joints: Mapping[str, JointConfig] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)  # by name of `limit_names`


def robot_config(
    values: Mapping[str, Any],
    spec: PolicySpec | None,
    elements: Sequence[ActionElement],
    simulated: bool,
) -> RobotConfig:
    """Build the configuration from the values of the parameters.

    Args:
        values: parameter name -> value, including the policy's parameters. Each value has its
            row's type and range. `robot_description` is the text of that topic, if any.
        spec: the policy's spec. None if it could not be read; then the result has no inputs and
            no joints.
        elements: elements of the policy's command, for its limits.
        simulated: the clock is the simulator's.
    """
    kinds = {kind: values[f"stop.{kind}"] for kind in KINDS if kind != "position"}
    return RobotConfig(
        policy=values["policy"],
        backend=BackendChoice.of(values),
        build_in_configure=values["build_in_configure"],
        loop=LoopConfig(
            rate_hz=values["rate"],
            decimation=values["decimation"],
            allow_rate_mismatch=values["allow_rate_mismatch"],
            dry_run=values["dry_run"],
            lockstep=values["lockstep"],
            simulated=simulated,
            max_message_bytes=values["max_message_bytes"],
            max_joint_names=values["max_joint_names"],
            publish_vectors=values["publish_vectors"],
            window=values["diagnostics.window"],
            diagnostics_period_s=values["diagnostics.period"],
        ),
        inference=_inference(values),
        command=_command(values),
        stop=StopConfig(
            values["stop.position"],
            kinds,
            _ns(values["stop.ramp_s"]),
            values["allow_runaway_hold"],
        ),
        start=StartConfig(
            _ns(values["start_pose.duration"]),
            values["start_pose.tolerance"],
            _ns(values["blend_in"]),
        ),
        safety=_safety(values),
        limits_urdf=values["limits.urdf"],
        robot_description=values.get("robot_description"),
        prompt=values["prompt"],
        inputs=_inputs(values, spec) if spec is not None else {},
        joints=_joints(values, spec) if spec is not None else {},
        limits=_limits(values, elements),
    )


def _inference(values: Mapping[str, Any]) -> InferenceConfig:
    every, remaining = values["inference.every"], values["inference.remaining"]
    return InferenceConfig(
        lane=values["inference.lane"],
        start=values["inference.start"],
        every_ns=None if every is None else _ns(every),
        remaining_ns=None if remaining is None else _ns(remaining),
        timeout_ns=_ns(values["inference.timeout"]),
        tolerance_ns=_ns(values["inference.tolerance"]),
        simulated_latency_ns=_ns(values["inference.simulated_latency"]),
        cpu_affinity=tuple(values["inference.cpu_affinity"]),
    )


def _command(values: Mapping[str, Any]) -> CommandConfig:
    return CommandConfig(
        type=values["command.type"],
        twist_type=values["command.twist_type"],
        effort_from_pd=values["command.effort_from_pd"],
        held_joints=tuple(values["command.held_joints"]),
        layout=tuple(values["command.layout"]),
        message_type=values["command.message_type"],
        fields=tuple(values["command.fields"]),
        stiffness_fields=tuple(values["command.stiffness_fields"]),
        damping_fields=tuple(values["command.damping_fields"]),
        constants=tuple(values["command.constants"]),
        joint_names=tuple(values["command.joint_names"]),
        stamp=values["command.stamp"],
        trajectory_lead=values["command.trajectory_lead"],
    )


def held_numbers(command: CommandConfig, problems: list[Problem | str]) -> dict[str, float]:
    """Joint -> number that `command.held_joints` holds it at.

    Args:
        command: the parameters `command.*`.
        problems: gets one for each text that is not `joint=number`.
    """
    held = {}
    for text in command.held_joints:
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            expected = "`joint=number` each, finite"
            problems.append(Problem("", "parameter command.held_joints", expected, f"'{text}'"))
        held[name.strip()] = value
    return held


def _safety(values: Mapping[str, Any]) -> SafetyConfig:
    return SafetyConfig(
        require_arming=values["require_arming"],
        require_guard=values["safety.require_guard"],
        max_tilt=values["safety.max_tilt"],
        hold_recover_ns=_ns(values["safety.hold_recover"]),
        safe_stop_after_ns=_ns(values["safety.safe_stop_after"]),
        recover=values["safety.recover"],
        reset_after_ns=_ns(values["safety.reset_after"]),
        stamp_tolerance_ns=_ns(values["safety.stamp_tolerance"]),
        late_inferences=values["safety.late_inferences"],
        late_ticks=values["safety.late_ticks"],
        executor_timeout_ns=_ns(values["safety.executor_timeout"]),
        callback_failures=values["safety.callback_failures"],
        second_commander=values["safety.second_commander"],
        estop_quiet_ns=_ns(values["estop.quiet_time"]),
        position_margin=values["safety.position_margin"],
    )


def _inputs(values: Mapping[str, Any], spec: PolicySpec) -> dict[str, InputConfig]:
    text = InputConfig(STRING, (0.0, 0.0, 0.0), NO_AGE_LIMIT_NS, "hold", strict_stamp=False)
    return {
        name: text
        if given.type == STRING
        else InputConfig(
            type=values[f"inputs.{name}.type"],
            mounting=tuple(values[f"inputs.{name}.mounting"]),
            max_age_ns=_ns(values[f"inputs.{name}.max_age"]),
            on_stale=values[f"inputs.{name}.on_stale"],
            strict_stamp=values[f"inputs.{name}.strict_stamp"],
        )
        for name, given in spec.inputs.items()
    }


def _joints(values: Mapping[str, Any], spec: PolicySpec) -> dict[str, JointConfig]:
    return {
        name: JointConfig(
            name=values[f"joints.{name}.name"] or values["joint_prefix"] + name,
            sign=values[f"joints.{name}.sign"],
            offset=values[f"joints.{name}.offset"],
            max_velocity=values.get(f"joints.{name}.max_velocity"),
        )
        for name in spec.joint_names
    }


def _limits(values: Mapping[str, Any], elements: Sequence[ActionElement]) -> dict[str, Limit]:
    found = {}
    for name, element in zip(limit_names(elements), elements, strict=True):
        prefix = limit_prefix(name, element.kind)
        given = {key: values.get(f"{prefix}.{key}") for key in ("lower", "upper", "max_rate")}
        # No validation here: the row has checked the range, and lower > upper is refused later.
        found[name] = Limit.model_construct(**given)
    return found


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
