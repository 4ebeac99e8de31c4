"""Build a pipeline from a spec file and a loaded model; report every mismatch at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.inputs.attitude import AttitudeCheck
from policy_runner.core.inputs.joints import RobotJoint, with_constants
from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Model
from policy_runner.core.observation.terms.rotation import Quaternion, from_euler
from policy_runner.core.observation.terms.sources import IMU, JOINT_STATE, Sources
from policy_runner.core.pipeline.bind_policy import BoundPolicy, Robot, bind_policy
from policy_runner.core.pipeline.bind_tensors import Problems
from policy_runner.core.pipeline.interface import AnyPolicy
from policy_runner.core.pipeline.laned import LaneSetup, laned_policy
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.pipeline.policy import Policy
from policy_runner.core.pipeline.switched import SwitchedPolicy, SwitchRule
from policy_runner.core.safety.robot_watch import RobotWatch
from policy_runner.core.settings import Settings
from policy_runner.core.spec import PolicySpec, ProjectedGravityTerm, SpecFile
from policy_runner.core.spec.parts import every_tensor, has_several, policies, reads_now

Angles = tuple[float, float, float]


def build_pipeline(
    spec_file: SpecFile,
    model: Model,
    settings: Settings,
    robot_joints: Mapping[str, RobotJoint],
    clock_ns: Callable[[], int],
    mountings: Mapping[str, Angles] | None = None,
    lane: LaneSetup | None = None,
) -> Pipeline:
    """Bind the spec to the model's tensors.

    Args:
        spec_file: the policy's spec.
        model: the loaded model; the pipeline uses its tensors.
        settings: the robot's rules.
        robot_joints: by policy joint, the robot's name and sign of the joint.
        clock_ns: a monotonic clock [ns]; it only measures how long the parts of a tick take.
        mountings: by input name, how an Imu is rotated relative to the body: roll, pitch, yaw
            [rad] of its axes, R(body, sensor) = Rz(yaw) Ry(pitch) Rx(roll).
        lane: runs the inferences next to the control thread; None: they run in the tick.

    Raises:
        Refusal: names, sizes, joints or statistics do not fit. It lists all of them.
    """
    spec, file = spec_file.spec, str(spec_file.path)
    slots = {name: InputSlot(name, given) for name, given in spec.inputs.items()}
    problems: Problems = []
    with contextlib.suppress(Refusal):  # `bind_policy` reports it
        robot_joints = with_constants(spec, robot_joints, file)
    robot = Robot(slots, robot_joints, _turned(mountings or {}, spec, problems))
    bound = [bind_policy(one, spec_file, model, robot, problems) for one in policies(spec)]
    rule = _rule(spec_file, bound, problems)
    elements, sources = bound[0].elements, [one.sources for one in bound]
    watch = measured = None
    if all(one.decoder is not None for one in bound):
        try:
            needed = "parameter start_pose.duration" if settings.start_pose_ns else ""
            measured = MeasuredPositions(slots, spec.joint_names, robot_joints, elements, needed)
            gravities = [gravity for one in sources for gravity in one.gravities]
            watch = RobotWatch(
                slots,
                spec.joint_names,
                robot_joints,
                elements,
                gravities,
                settings,
                has_several(spec),
            )
        except Refusal as refusal:
            problems += refusal.problems
    problems += tilt_problems(settings, spec)
    problems += [] if problems else _unused(spec, file, slots, sources)
    for slot in slots.values():
        if slot.spec.type == IMU and any(p.split(".")[0] == "orientation" for p in slot.paths):
            slot.attitude = AttitudeCheck()
    if problems or watch is None or measured is None:
        raise Refusal(problems)
    policy = _policy(spec, bound, rule)
    if lane is None or not isinstance(policy, Policy):
        return Pipeline(policy, slots, watch, measured, settings, clock_ns)
    laned = laned_policy(bound[0], policy, slots, measured, settings, lane)
    return Pipeline(laned, slots, watch, measured, settings, clock_ns, laned)


def _policy(spec: PolicySpec, bound: Sequence[BoundPolicy], rule: SwitchRule | None) -> AnyPolicy:
    problems: Problems = []
    made: dict[str, Policy] = {}
    for one in bound:
        try:
            made[one.given.name] = one.policy()
        except Refusal as refusal:
            problems += refusal.problems
    if problems:
        raise Refusal(problems)
    if spec.switch is None or rule is None:
        return made[""]
    paths = {one.given.name: one.given.path for one in bound}
    return SwitchedPolicy(made, paths, rule, spec.switch)


def _rule(
    spec_file: SpecFile, bound: Sequence[BoundPolicy], problems: Problems
) -> SwitchRule | None:
    """The rule of the switch, if there is one; it makes its input's slot read the numbers."""
    switch, file = spec_file.spec.switch, str(spec_file.path)
    if switch is None:
        return None
    sources = bound[0].sources
    numbers = []
    try:
        slot = sources.slot(switch.value.input, "switch.value")
        if slot.spec.type == JOINT_STATE:
            expected = "an input that is no JointState, whose numbers go by joint name"
            raise refuse(file, "switch.value.input", expected, f"'{slot.name}'")
        for k, path in enumerate(switch.value.fields):
            numbers.append(sources.numbers(slot, path, None, f"switch.value.fields[{k}]"))
    except Refusal as refusal:
        problems += refusal.problems
    if switch.history == "advance" and switch.state != "advance":
        problems += [
            Problem(
                file, "switch.state", "advance, since switch.history is advance and a history of "
                f"'{given.tensor}' has outputs of a model", switch.state,
            )
            for one in bound
            for part, _ in one.models
            for given in part.spec.observation
            if given.history is not None and reads_now(given)
        ]  # fmt: skip
    return SwitchRule(switch, numbers)


def _turned(
    mountings: Mapping[str, Angles], spec: PolicySpec, problems: Problems
) -> dict[str, Quaternion]:
    turned = {}
    for name, angles in mountings.items():
        if not any(angles):
            continue
        if name not in spec.inputs or spec.inputs[name].type != IMU:
            got = spec.inputs[name].type if name in spec.inputs else "no such input"
            expected = f"zeros, since only an input of type {IMU} has a mounting"
            problems.append(Problem("", f"parameter inputs.{name}.mounting", expected, got))
        turned[name] = from_euler(*angles)
    return turned


def _unused(
    spec: PolicySpec, file: str, slots: Mapping[str, InputSlot], sources: Sequence[Sources]
) -> Problems:
    unread = [
        Problem(file, f"inputs.{name}", "an input that some term reads", "none", "remove it")
        for name, slot in slots.items()
        if not slot.arrays and slot.joints is None and not slot.keepers and slot.text is None
    ]
    return [
        *unread,
        *(
            Problem(file, f"motions.{name}", "a motion that some term follows", "none")
            for name in spec.motions
            if not any(name in one.motions for one in sources)
        ),
    ]


def tilt_problems(settings: Settings, spec: PolicySpec) -> list[Problem | str]:
    """The problems of watching the tilt; empty if the policy measures it, or no limit is set."""
    if not settings.max_tilt_rad or reads_gravity(spec):
        return []
    expected = "0, or a policy with a projected_gravity term"
    return [Problem("", "parameter safety.max_tilt", expected, f"{settings.max_tilt_rad}")]


def reads_gravity(spec: PolicySpec) -> bool:
    """Whether the policy has a `projected_gravity` term."""
    return any(
        isinstance(term, ProjectedGravityTerm)
        for tensor in every_tensor(spec)
        for term in tensor.every_term
    )
