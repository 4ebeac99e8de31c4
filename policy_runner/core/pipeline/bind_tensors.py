"""From the spec's normalizations to normalizers: statistics found, checked, in tensor order."""

from __future__ import annotations

import numpy as np

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.files.arrays import read_statistics
from policy_runner.core.observation.normalization import (
    Normalizer,
    build_normalizer,
    identity,
    resolve_formula,
    side_by_side,
)
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.spec.policy import ActionTensor, Normalization, PerTermNormalization
from policy_runner.core.spec.reader import SpecFile


def stored_normalizer(spec_file: SpecFile, given: Normalization, size: int, key: str) -> Normalizer:
    """The normalizer of one formula and its statistics, for `size` elements.

    Raises:
        Refusal: the formula is not complete, or the statistics are not there or do not fit.
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
        path = spec_file.beside(given.statistics, f"{key}.statistics")
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
    """Give the tensor its normalizer, if it has one; the problems that kept it from it."""
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


def action_normalizers(spec_file: SpecFile) -> list[Normalizer | None]:
    """One for each action tensor, None where it has no denormalization.

    Raises:
        Refusal: as `stored_normalizer`.
    """

    def one(k: int, tensor: ActionTensor) -> Normalizer | None:
        if tensor.denormalization is None:
            return None
        size = sum(len(group.names) for group in tensor.groups)
        key = f"action[{k}].denormalization"
        return stored_normalizer(spec_file, tensor.denormalization, size, key)

    return [one(k, tensor) for k, tensor in enumerate(spec_file.spec.action)]
