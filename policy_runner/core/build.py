"""From a spec file and a loaded model to a pipeline; every mismatch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from policy_runner.core.action import ActionDecoder, ActionElement, action_elements
from policy_runner.core.inputs import InputSlot
from policy_runner.core.joints import RobotJoint
from policy_runner.core.normalization import Normalizer, build_normalizer, resolve_formula
from policy_runner.core.observation import TensorBuilder
from policy_runner.core.pipeline import Buffer, Model, Pipeline
from policy_runner.core.problems import Problem, Refusal, did_you_mean
from policy_runner.core.settings import Settings
from policy_runner.core.spec import Normalization, PolicySpec, ProjectedGravityTerm
from policy_runner.core.spec_file import SpecFile
from policy_runner.core.statistics import read_statistics
from policy_runner.core.terms import Sources


def build_pipeline(
    spec_file: SpecFile,
    model: Model,
    settings: Settings,
    robot_joints: Mapping[str, RobotJoint],
    clock_ns: Callable[[], int],
) -> Pipeline:
    """Bind the spec to the model's tensors.

    Raises:
        Refusal: names, sizes, joints or statistics that do not fit, all of them.
    """
    spec, file = spec_file.spec, str(spec_file.path)
    slots = {name: InputSlot(name, given) for name, given in spec.inputs.items()}
    problems: list[Problem | str] = []
    try:
        elements = action_elements(spec, file)
    except Refusal as refusal:
        problems += refusal.problems
        elements = [
            ActionElement(j, g.kind) for t in spec.action for g in t.groups for j in g.joints
        ]
    last_action = np.zeros(len(elements))
    sources = Sources(
        spec=spec,
        file=file,
        slots=slots,
        robot_joints=robot_joints,
        last_action=last_action,
        action_joints=tuple(element.joint for element in elements),
        gravity=np.full(3, np.nan),
    )
    builders: list[tuple[TensorBuilder, Buffer]] = []
    for k, tensor in enumerate(spec.observation):
        try:
            builder = TensorBuilder(tensor, sources, f"observation[{k}]")
            problems += _normalize(builder, tensor.normalization, spec_file, f"observation[{k}]")
            into = model.inputs.get(tensor.tensor)
            if into is None:
                problems.append(
                    _unknown(file, f"observation[{k}].tensor", tensor.tensor, model.inputs)
                )
            elif into.size != builder.size:
                expected = f"terms that add up to the {into.size} elements of '{tensor.tensor}'"
                got = f"{builder.size} ({_sizes(builder)})"
                problems.append(Problem(file, f"observation[{k}].terms", expected, got))
            else:
                builders.append((builder, into.reshape(-1)))
        except Refusal as refusal:
            problems += refusal.problems
    problems += _uncovered(spec_file, model)
    decoder: ActionDecoder | None = None
    try:
        if all(tensor.tensor in model.outputs for tensor in spec.action):
            normalizers = _action_normalizers(spec_file)
            decoder = ActionDecoder(spec, model.outputs, normalizers, _measured(slots), file)
    except Refusal as refusal:
        problems += [problem for problem in refusal.problems if problem not in problems]
    if settings.max_tilt_rad and not _reads_gravity(spec):
        expected = "0, or a policy with a projected_gravity term"
        problems.append(
            Problem("", "parameter safety.max_tilt", expected, f"{settings.max_tilt_rad}")
        )
    problems += [
        Problem(file, f"inputs.{name}", "an input that some term reads", "none", "remove it")
        for name, slot in slots.items()
        if not slot.arrays and slot.joints is None and not problems
    ]
    if problems or decoder is None:
        raise Refusal(problems)
    states = [(model.inputs[s.input], model.outputs[s.output]) for s in spec.state]
    return Pipeline(
        slots, builders, states, model, decoder, (spec.last_action, last_action), sources.gravity,
        settings, clock_ns,
    )  # fmt: skip


def _sizes(builder: TensorBuilder) -> str:
    return ", ".join(f"{term.name} {term.size}" for term in builder.terms)


def _unknown(file: str, key: str, name: str, known: Mapping[str, object]) -> Problem:
    return Problem(
        file, key, f"a tensor of the model ({', '.join(known)})", f"'{name}'",
        did_you_mean(name, known),
    )  # fmt: skip


def _stored(spec_file: SpecFile, given: Normalization, size: int, key: str) -> Normalizer:
    formula = resolve_formula(given, str(spec_file.path), key)
    if isinstance(given.statistics, str):
        path = spec_file.beside(given.statistics, f"{key}.statistics")
        statistics = read_statistics(path, given.sha256)
        where = str(path)
    else:
        statistics = {k: np.asarray(v, dtype=np.float64) for k, v in given.statistics.items()}
        where = f"{spec_file.path}: {key}.statistics"
    names = {str(k): v for k, v in given.keys.items()}
    return build_normalizer(formula, statistics, names, size, where)


def _normalize(
    builder: TensorBuilder, given: object, spec_file: SpecFile, key: str
) -> list[Problem | str]:
    if isinstance(given, Normalization):
        try:
            size = builder.normalized_size
            builder.set_normalizer(_stored(spec_file, given, size, f"{key}.normalization"))
        except Refusal as refusal:
            return list(refusal.problems)
    return []


def _action_normalizers(spec_file: SpecFile) -> dict[str, Normalizer]:
    return {
        tensor.tensor: _stored(
            spec_file,
            tensor.denormalization,
            sum(len(group.joints) for group in tensor.groups),
            f"action[{k}].denormalization",
        )
        for k, tensor in enumerate(spec_file.spec.action)
        if tensor.denormalization is not None
    }


def _uncovered(spec_file: SpecFile, model: Model) -> list[Problem | str]:
    """Tensors of the model that the spec does not name, and the other way round."""
    spec, file = spec_file.spec, str(spec_file.path)
    problems: list[Problem | str] = []
    fed = {t.tensor for t in spec.observation} | {s.input for s in spec.state}
    for name in model.inputs:
        if name not in fed:
            expected = f"the model's input '{name}' in observation or state"
            problems.append(Problem(file, "observation", expected, "no tensor of that name"))
    read = {t.tensor for t in spec.action} | {s.output for s in spec.state}
    for k, tensor in enumerate(spec.action):
        if tensor.tensor not in model.outputs:
            problems.append(_unknown(file, f"action[{k}].tensor", tensor.tensor, model.outputs))
    for name in model.outputs:
        if name not in read and name not in spec.ignored_outputs:
            expected = f"the model's output '{name}' in action, state or ignored_outputs"
            problems.append(Problem(file, "action", expected, "no tensor of that name"))
    for k, state in enumerate(spec.state):
        for key, name, tensors in (
            ("input", state.input, model.inputs),
            ("output", state.output, model.outputs),
        ):
            if name not in tensors:
                problems.append(_unknown(file, f"state[{k}].{key}", name, tensors))
        given, kept = model.outputs.get(state.output), model.inputs.get(state.input)
        if given is not None and kept is not None and given.shape != kept.shape:
            expected = f"the shape of '{state.input}' {kept.shape}"
            problems.append(Problem(file, f"state[{k}].output", expected, f"{given.shape}"))
        elif given is not None and kept is not None and given.dtype != kept.dtype:
            expected = f"the type of '{state.input}' {kept.dtype}"
            problems.append(Problem(file, f"state[{k}].output", expected, f"{given.dtype}"))
    for k, name in enumerate(spec.ignored_outputs):
        if name not in model.outputs:
            problems.append(_unknown(file, f"ignored_outputs[{k}]", name, model.outputs))
    return problems


def _reads_gravity(spec: PolicySpec) -> bool:
    return any(
        isinstance(term, ProjectedGravityTerm)
        for tensor in spec.observation
        for term in tensor.terms
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
