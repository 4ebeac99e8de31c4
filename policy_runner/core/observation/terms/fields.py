"""A sequence of any length, such as a scan's ranges, pooled to the size that the policy has."""

from __future__ import annotations

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.message_fields import field_kind
from policy_runner.core.inputs.slot import Read
from policy_runner.core.observation.terms.sources import (
    JOINT_STATE,
    Array,
    CompiledTerm,
    Sources,
    absolute,
)
from policy_runner.core.spec.policy import FieldTerm

_POOLS = {"min": np.minimum, "max": np.maximum, "mean": np.add}


def pooled(term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    """Bins of [floor(k n / bins), floor((k + 1) n / bins)) elements of n, each made one number.

    The non-finite rule comes before the pooling: a mean or a maximum of an infinity, or a
    minimum of a NaN, would not be a number that the rule was written for.
    """
    slot = sources.slot(term.input, key)
    if term.pool is None or term.field is None or term.size is not None:
        raise refuse(sources.file, key, "`field` alone beside `pool`", "`fields` or `size`")
    if slot.spec.type == JOINT_STATE:
        expected = "joint_position, joint_velocity or joint_effort, which go by name"
        raise refuse(sources.file, f"{key}.term", expected, "field of a JointState")
    bins, by = term.pool.bins, term.pool.by
    path, _, cut = term.field.partition("[")
    first, last = _slice(cut, term.field, sources.file, f"{key}.field")
    try:
        field_kind(slot.spec.type, path, "sequence")
    except KeyError as error:
        expected = f"{error.args[0]} of {slot.spec.type}"
        raise refuse(sources.file, f"{key}.field", expected, f"'{path}'") from error
    taker = slot.sequence(path)
    rules = {str(which): value for which, value in (term.nonfinite or {}).items()}

    def bind(out: Array) -> Read:
        def read() -> str:
            if taker.values is None:
                out.fill(np.nan)
                return ""
            values = taker.values[first:last]
            if values.size < bins:
                return f"{values.size} elements in {path}, {bins} needed"
            if rules:
                values = _replaced(values, rules)
            edges = np.arange(bins + 1) * values.size // bins
            _POOLS[by].reduceat(values, edges[:-1], out=out)
            if by == "mean":
                np.divide(out, np.diff(edges), out=out)
            return ""

        return read

    elements = tuple(f"{term.field}~{k}" for k in range(bins))
    return absolute(term.name or term.field, elements, bind)


def _slice(cut: str, path: str, file: str, key: str) -> tuple[int | None, int | None]:
    if not cut:
        return None, None
    first, colon, last = cut.removesuffix("]").partition(":")
    if not cut.endswith("]") or not colon or not (first + last).isdigit():
        raise refuse(file, key, "a path such as ranges or ranges[10:350]", f"'{path}'")
    return int(first or 0), int(last) if last else None


def _replaced(values: Array, rules: dict[str, float]) -> Array:
    return np.nan_to_num(
        values,
        nan=rules.get("nan", np.nan),
        posinf=rules.get("inf", np.inf),
        neginf=rules.get("-inf", -np.inf),
    )
