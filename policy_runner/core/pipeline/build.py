"""Build a pipeline from a spec file and a loaded model; report every mismatch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.inputs.attitude import AttitudeCheck
from policy_runner.core.inputs.joints import RobotJoint, with_constants
from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Buffer, Model
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.observation.terms.rotation import Quaternion, from_euler
from policy_runner.core.observation.terms.sources import IMU, Sources
from policy_runner.core.pipeline.bind_tensors import (
    Problems,
    action_normalizers,
    bind_states,
    fill_constant,
    set_normalizer,
    tensor_name,
    uncovered,
    unknown,
)
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.pipeline.policy import Policy
from policy_runner.core.safety.robot_watch import RobotWatch
from policy_runner.core.settings import Settings
from policy_runner.core.spec import PolicySpec, ProjectedGravityTerm, SpecFile
from policy_runner.core.spec.elements import ActionElement, action_elements

Angles = tuple[float, float, float]


def build_pipeline(
    spec_file: SpecFile,
    model: Model,
    settings: Settings,
    robot_joints: Mapping[str, RobotJoint],
    clock_ns: Callable[[], int],
    mountings: Mapping[str, Angles] | None = None,
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

    Raises:
        Refusal: names, sizes, joints or statistics do not fit. It lists all of them.
    """
    spec, file = spec_file.spec, str(spec_file.path)
    slots = {name: InputSlot(name, given) for name, given in spec.inputs.items()}
    problems: Problems = []
    try:
        elements = action_elements(spec, file)
    except Refusal as refusal:
        problems += refusal.problems
        elements = [
            ActionElement(j, g.kind) for t in spec.action for g in t.groups for j in g.names
        ]
    else:
        robot_joints = with_constants(spec, robot_joints, file)
    size = len(elements)
    previous_target = np.zeros(size) if _reads_previous_target(spec) else None
    sources = Sources(
        spec=spec,
        file=file,
        slots=slots,
        robot_joints=robot_joints,
        last_action=np.zeros(size),
        action_joints=tuple(element.joint for element in elements),
        action_kinds=tuple(element.kind for element in elements),
        previous_target=previous_target if previous_target is not None else np.zeros(size),
        mountings=_turned(mountings or {}, spec, problems),
        beside=spec_file.beside,
    )
    tensors = _tensor_builders(spec_file, model, sources, problems)
    problems += uncovered(spec_file, model)
    decoder: ActionDecoder | None = None
    try:
        outputs = [tensor_name(tensor.tensor, model.outputs) for tensor in spec.action]
        if None not in outputs:
            buffers = [model.outputs[str(name)] for name in outputs]
            normalizers = action_normalizers(spec_file)
            decoder = ActionDecoder(spec, buffers, normalizers, _measured(slots), file, sources)
    except Refusal as refusal:
        problems += [problem for problem in refusal.problems if problem not in problems]
    watch = measured = None
    if decoder is not None:
        try:
            needed = "parameter start_pose.duration" if settings.start_pose_ns else ""
            measured = MeasuredPositions(slots, spec.joint_names, robot_joints, elements, needed)
            watch = RobotWatch(
                slots, spec.joint_names, robot_joints, elements, sources.gravities, settings
            )
        except Refusal as refusal:
            problems += refusal.problems
    problems += tilt_problems(settings, spec)
    problems += [] if problems else _unused(spec, file, slots, sources)
    for slot in slots.values():
        if slot.spec.type == IMU and any(p.split(".")[0] == "orientation" for p in slot.paths):
            slot.attitude = AttitudeCheck()
    if problems or decoder is None or watch is None or measured is None:
        raise Refusal(problems)
    policy = Policy(
        tensors=tensors,
        states=bind_states(spec_file, model),
        model=model,
        decoder=decoder,
        last_action=(spec.last_action, sources.last_action),
        clocks=sources.clocks,
        previous_target=previous_target,
    )
    return Pipeline(policy, slots, watch, measured, settings, clock_ns)


def _tensor_builders(
    spec_file: SpecFile, model: Model, sources: Sources, problems: Problems
) -> list[tuple[TensorBuilder, Buffer]]:
    """Make the builders of the tensors that have terms. Fill constant tensors here, once."""
    builders: list[tuple[TensorBuilder, Buffer]] = []
    for k, tensor in enumerate(spec_file.spec.observation):
        key = f"observation[{k}]"
        name = tensor_name(tensor.tensor, model.inputs)
        into = model.inputs[name] if name is not None else None
        if into is None:
            problems.append(unknown(sources.file, f"{key}.tensor", tensor.tensor, model.inputs))
        try:
            if tensor.constant is not None:
                if into is not None:
                    fill_constant(spec_file, tensor.constant, into, f"{key}.constant")
                continue
            builder = TensorBuilder(tensor, sources, key)
            problems += set_normalizer(builder, tensor.normalization, spec_file, key)
            if into is not None and into.size != builder.size:
                expected = f"terms that add up to the {into.size} elements of '{tensor.tensor}'"
                got = f"{builder.size} ({_sizes(builder)})"
                which = "whole" if tensor.whole is not None else "terms"
                problems.append(Problem(sources.file, f"{key}.{which}", expected, got))
            elif into is not None:
                builders.append((builder, into.reshape(-1)))
        except Refusal as refusal:
            problems += refusal.problems
    return builders


def _sizes(builder: TensorBuilder) -> str:
    return ", ".join(f"{term.name} {term.size}" for term in builder.terms)


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
    spec: PolicySpec, file: str, slots: Mapping[str, InputSlot], sources: Sources
) -> Problems:
    unread = [
        Problem(file, f"inputs.{name}", "an input that some term reads", "none", "remove it")
        for name, slot in slots.items()
        if not slot.arrays and slot.joints is None and not slot.keepers
    ]
    return [
        *unread,
        *(
            Problem(file, f"motions.{name}", "a motion that some term follows", "none")
            for name in spec.motions
            if name not in sources.motions
        ),
    ]


def _reads_previous_target(spec: PolicySpec) -> bool:
    return any(
        getattr(term, "relative_to", None) == "previous_target"
        for tensor in spec.observation
        for term in tensor.every_term
    )


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
        for tensor in spec.observation
        for term in tensor.every_term
    )


def _measured(
    slots: Mapping[str, InputSlot],
) -> Callable[[int], npt.NDArray[np.float64] | None]:
    def find(joint: int) -> npt.NDArray[np.float64] | None:
        for slot in slots.values():
            if slot.joints is not None and joint in slot.used("position"):
                return slot.joints.values["position"]
        return None

    return find
