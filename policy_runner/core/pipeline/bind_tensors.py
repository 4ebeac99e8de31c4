"""Bind the spec to the model's tensors: names, normalizers, recurrent states and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.files.arrays import read_statistics, read_tensor
from policy_runner.core.model import Buffer, Model, StateTensors, cast_range
from policy_runner.core.observation.normalization import (
    Normalizer,
    build_normalizer,
    identity,
    resolve_formula,
    side_by_side,
)
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.spec import (
    ActionTensor,
    Normalization,
    PerTermNormalization,
    PolicySpec,
    SpecFile,
    State,
    StoredTensor,
)


def stored_normalizer(spec_file: SpecFile, given: Normalization, size: int, key: str) -> Normalizer:
    """Build the normalizer of one formula and its statistics.

    Args:
        spec_file: the spec; its folder holds the statistics file.
        given: the formula, and the statistics as numbers or as a file name.
        size: number of elements.
        key: the formula's key in the spec, for error messages.

    Raises:
        Refusal: the formula is not complete, or the statistics are missing or do not fit.
    """
    file = str(spec_file.path)
    formula = resolve_formula(given, file, key)
    if formula.kind == "identity":
        if given.statistics is not None:
            raise refuse(file, f"{key}.statistics", "none, for an identity", "some")
        return build_normalizer(formula, {}, {}, size, file)
    if given.statistics is None:
        raise refuse(file, f"{key}.statistics", "a file or numbers", "nothing")
    group = [given.group] if isinstance(given.group, str) else list(given.group or [])
    if isinstance(given.statistics, str):
        path = spec_file.next_to(given.statistics, f"{key}.statistics")
        statistics = read_statistics(path, given.sha256, group)
        where = str(path)
    else:
        statistics = {k: np.asarray(v, dtype=np.float64) for k, v in given.statistics.items()}
        where = f"{file}: {key}.statistics"
    names = {str(k): v for k, v in given.keys.items()}
    return build_normalizer(formula, statistics, names, size, where)


def set_normalizer(
    builder: TensorBuilder, given: object, spec_file: SpecFile, key: str
) -> list[Problem | str]:
    """Set the tensor's normalizer if the spec has one. Return the problems that prevented it.

    Args:
        builder: the tensor.
        given: the tensor's `normalization` from the spec; None: no normalizer.
        spec_file: the spec; its folder holds the statistics files.
        key: the tensor's key in the spec, for error messages.
    """
    try:
        if isinstance(given, Normalization):
            size = sum(count for _, count in builder.normalized_parts)
            builder.set_normalizer(
                stored_normalizer(spec_file, given, size, f"{key}.normalization")
            )
        elif isinstance(given, PerTermNormalization):
            builder.set_normalizer(
                _per_term(builder, given, spec_file, f"{key}.normalization.per_term")
            )
    except Refusal as refusal:
        return list(refusal.problems)
    return []


def _per_term(
    builder: TensorBuilder, given: PerTermNormalization, spec_file: SpecFile, key: str
) -> Normalizer:
    file = str(spec_file.path)
    parts = builder.normalized_parts
    names = [name for name, _ in parts]
    if names == [""]:
        raise refuse(file, key, "on: frame, since whole frames are stacked", "on: stacked")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise refuse(file, key, "terms of different names", f"'{twice}' twice", "give them `name`")
    problems: list[Problem | str] = [
        Problem(file, key, f"terms ({', '.join(names)})", f"'{name}'", did_you_mean(name, names))
        for name in given.per_term
        if name not in names
    ]
    built = []
    for name, size in parts:
        one = given.per_term.get(name)
        if one is None:
            problems.append(Problem(file, f"{key}.{name}", "a normalization, or none", "nothing"))
        elif isinstance(one, str):
            built.append(identity(size))
        else:
            try:
                built.append(stored_normalizer(spec_file, one, size, f"{key}.{name}"))
            except Refusal as refusal:
                problems += refusal.problems
    if problems:
        raise Refusal(problems)
    return side_by_side(built)


def action_normalizers(spec_file: SpecFile, steps: int = 1) -> list[Normalizer | None]:
    """One normalizer per action tensor; None for a tensor without a denormalization.

    Args:
        spec_file: the spec.
        steps: of a chunk with statistics `per_step`, the actions of one output.

    Raises:
        Refusal: see `stored_normalizer`.
    """

    def one(k: int, tensor: ActionTensor) -> Normalizer | None:
        if tensor.denormalization is None:
            return None
        size = sum(len(group.names) for group in tensor.groups)
        key = f"action[{k}].denormalization"
        return stored_normalizer(spec_file, tensor.denormalization, size * steps, key)

    return [one(k, tensor) for k, tensor in enumerate(spec_file.spec.action)]


Problems = list[Problem | str]


def tensor_name(given: str | int, tensors: Mapping[str, object]) -> str | None:
    """The name of the tensor with that name or position; None if there is none."""
    if isinstance(given, int):
        return list(tensors)[given] if given < len(tensors) else None
    return given if given in tensors else None


def unknown(file: str, key: str, given: str | int, known: Mapping[str, object]) -> Problem:
    """The problem that the model has no such tensor.

    Args:
        file: the spec file.
        key: the key in the spec that names the tensor.
        given: the tensor's name or position in the spec.
        known: the model's tensors.
    """
    got = f"position {given}" if isinstance(given, int) else f"'{given}'"
    return Problem(
        file, key, f"a tensor of the model ({', '.join(known)})", got,
        did_you_mean(str(given), known),
    )  # fmt: skip


def uncovered(
    spec_file: SpecFile, model: Model, read: Sequence[str | int] | None = None
) -> Problems:
    """The problems of model tensors that the spec does not name, and of unknown names in the spec.

    Unknown observation tensors are not checked here; `build_pipeline` reports them.

    Args:
        spec_file: the spec, which has this model only.
        model: the loaded model.
        read: of an earlier model, the outputs that `model_output` terms read; None: a policy's
            `model`, whose outputs are its action.
    """
    spec, file = spec_file.spec, str(spec_file.path)
    problems: Problems = []

    def names(given: list[str | int], tensors: Mapping[str, object]) -> list[str | None]:
        return [tensor_name(one, tensors) for one in given]

    for key, tensors, given in (
        (
            "observation",
            model.inputs,
            [t.tensor for t in spec.observation]
            + [s.input for s in spec.state]
            + [name for _, name in (spec.chunk.inputs if spec.chunk is not None else ())],
        ),
        (
            "action",
            model.outputs,
            [t.tensor for t in spec.action] + [s.output for s in spec.state] + spec.ignored_outputs
            if read is None
            else _outputs_of_earlier(spec, read, model),
        ),
    ):
        found = names(given, tensors)
        for name in tensors:
            if name not in found:
                where = "observation or state"
                if key == "action":
                    where = "action, state or ignored_outputs"
                    if read is not None:
                        key, where = "ignored_outputs", "it, in state, or in a model_output term"
                kind = "input" if key == "observation" else "output"
                expected = f"the model's {kind} '{name}' in {where}"
                problems.append(Problem(file, key, expected, "no tensor of that name"))
            elif found.count(name) > 1:
                problems.append(Problem(file, key, "every tensor once", f"'{name}' again"))
    for k, action in enumerate(spec.action):
        if tensor_name(action.tensor, model.outputs) is None:
            problems.append(unknown(file, f"action[{k}].tensor", action.tensor, model.outputs))
    for key, input_name in spec.chunk.inputs if spec.chunk is not None else ():
        if tensor_name(input_name, model.inputs) is None:
            problems.append(unknown(file, f"chunk.{key}", input_name, model.inputs))
    for k, state in enumerate(spec.state):
        problems += _state_problems(file, k, state, model)
    for k, ignored in enumerate(spec.ignored_outputs):
        if tensor_name(ignored, model.outputs) is None:
            problems.append(unknown(file, f"ignored_outputs[{k}]", ignored, model.outputs))
    return problems


def _outputs_of_earlier(
    spec: PolicySpec, read: Sequence[str | int], model: Model
) -> list[str | int]:
    """The outputs of an earlier model that the spec names; a term may read a state, too."""
    states: list[str | int] = [state.output for state in spec.state]
    named = {tensor_name(one, model.outputs) for one in states}
    return [
        *states,
        *spec.ignored_outputs,
        *{
            str(n)
            for n in (tensor_name(one, model.outputs) for one in read)
            if n and n not in named
        },
    ]


def _state_problems(file: str, k: int, state: State, model: Model) -> Problems:
    problems: Problems = []
    for key, given, tensors in (
        ("input", state.input, model.inputs),
        ("output", state.output, model.outputs),
    ):
        if tensor_name(given, tensors) is None:
            problems.append(unknown(file, f"state[{k}].{key}", given, tensors))
    if problems:
        return problems
    kept, following = state_tensors(state, model)
    if following.shape != kept.shape:
        expected = f"the shape of '{state.input}' {kept.shape}"
        problems.append(Problem(file, f"state[{k}].output", expected, f"{following.shape}"))
    elif following.dtype != kept.dtype:
        expected = f"the type of '{state.input}' {kept.dtype}"
        problems.append(Problem(file, f"state[{k}].output", expected, f"{following.dtype}"))
    return problems


def state_tensors(state: State, model: Model) -> tuple[Buffer, Buffer]:
    """The model's input and output of a state. Both must exist."""
    given = tensor_name(state.input, model.inputs)
    result = tensor_name(state.output, model.outputs)
    return model.inputs[str(given)], model.outputs[str(result)]


def bind_states(spec_file: SpecFile, model: Model) -> list[StateTensors]:
    """(input, output, value at reset) of every recurrent state.

    Raises:
        Refusal: an initial tensor is missing, has another size, or has numbers that the state's
            type cannot hold.
    """
    bound = []
    problems: Problems = []
    for k, state in enumerate(spec_file.spec.state):
        kept, following = state_tensors(state, model)
        initial = np.zeros_like(kept)
        if isinstance(state.initial, StoredTensor):
            try:
                values = _stored(spec_file, state.initial, kept, f"state[{k}].initial")
                where = str(spec_file.path)
                _check_cast(values, initial, where, f"state[{k}].initial")
                np.copyto(initial, values.reshape(kept.shape), casting="unsafe")
            except Refusal as refusal:
                problems += refusal.problems
        bound.append((kept, following, initial))
    if problems:
        raise Refusal(problems)
    return bound


def fill_constant(
    spec_file: SpecFile, given: float | list[float] | StoredTensor, tensor: Buffer, key: str
) -> None:
    """Write a constant tensor's numbers, in C order.

    Args:
        spec_file: the spec; its folder holds the file of a stored tensor.
        given: one number for all elements, one number per element, or a stored tensor.
        tensor: the model's input; it is overwritten.
        key: the constant's key in the spec, for error messages.

    Raises:
        Refusal: the count of numbers is not the tensor's, its type cannot hold them, or the file
            lacks them.
    """
    if isinstance(given, StoredTensor):
        values = _stored(spec_file, given, tensor, key)
    elif isinstance(given, list):
        values = np.array(given, dtype=np.float64)
        if values.size != tensor.size:
            expected = f"one number, or {tensor.size}"
            raise refuse(str(spec_file.path), key, expected, f"{values.size}")
    else:
        values = np.full(tensor.size, given)
    _check_cast(values, tensor, str(spec_file.path), key)
    np.copyto(tensor, values.reshape(tensor.shape), casting="unsafe")


def _check_cast(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], tensor: Buffer, file: str, key: str
) -> None:
    low, high = cast_range(tensor.dtype)
    outside = np.flatnonzero(~((values.reshape(-1) >= low) & (values.reshape(-1) <= high)))
    if outside.size:
        expected = f"numbers from {low:g} to {high:g}, which the tensor's {tensor.dtype} holds"
        got = f"{values.reshape(-1)[outside[0]]:g}"
        raise refuse(file, key, expected, got)


def _stored(
    spec_file: SpecFile, given: StoredTensor, tensor: Buffer, key: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    path = spec_file.next_to(given.file, f"{key}.file")
    values = read_tensor(path, given.key, given.sha256)
    if values.size != tensor.size:
        raise refuse(str(path), given.key, f"{tensor.size} numbers", f"{values.size}")
    if not np.all(np.isfinite(values)):
        raise refuse(str(path), given.key, "finite numbers", "others")
    return values
