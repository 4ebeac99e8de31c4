"""Terms from message fields: numbers, constants, pooled sequences, and texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.message_fields import field_kind
from policy_runner.core.inputs.slot import Read
from policy_runner.core.inputs.text import STRING
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.gait.conditions import all_small
from policy_runner.core.observation.terms.rotation import matrix
from policy_runner.core.observation.terms.sources import (
    IMU,
    JOINT_STATE,
    CompiledTerm,
    Sources,
    absolute,
    compiles,
    copy,
)
from policy_runner.core.spec import ConstantTerm, FieldTerm, TextTerm

_POOLS = {"min": np.minimum, "max": np.maximum, "mean": np.add}


def _pooled(term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    """Pool n elements to one number per bin; bin k is [floor(k n / bins), floor((k + 1) n / bins)).

    The non-finite rule is applied before pooling. After it, an infinity would already have changed
    a mean or a maximum, and a NaN a minimum.
    """
    slot = sources.slot(term.input, key)
    if term.pool is None or term.field is None or term.size is not None:
        raise refuse(sources.file, key, "only `field` next to `pool`", "`fields` or `size`")
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
    keeper, no_return = slot.sequence(path), term.no_return
    rules = {str(which): value for which, value in (term.nonfinite or {}).items()}

    def bind(out: Array) -> Read:
        def read() -> str:
            if keeper.values is None:
                out.fill(np.nan)
                return ""
            values = keeper.values[first:last]
            if values.size < bins:
                return f"{values.size} elements in {path}, {bins} needed"
            if rules:
                values = _replaced(values, rules)
            if no_return is not None:
                values = np.where(values == 0.0, no_return, values)
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


@compiles(FieldTerm)
def field(term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    """A field of a message, several of them, or a pooled sequence."""
    compiled = _pooled(term, sources, key) if term.pool else _plain(term, sources, key)
    if term.no_return is not None and not term.pool:
        compiled = _without_zeros(compiled, term.no_return)
    return _with_rules(compiled, term, sources, key) if term.zero else compiled


def _with_rules(
    compiled: CompiledTerm, term: FieldTerm, sources: Sources, key: str
) -> CompiledTerm:
    """The same term with the numbers that are 0 while other signals are small."""
    names, rules = list(compiled.elements), []
    for k, rule in enumerate(term.zero):
        where = f"{key}.zero[{k}]"
        for n, name in enumerate(rule.elements):
            if name not in names:
                expected = f"a number of the term ({', '.join(names)})"
                hint = did_you_mean(name, names)
                raise refuse(sources.file, f"{where}.elements[{n}]", expected, f"'{name}'", hint)
        index = np.array([names.index(name) for name in rule.elements], dtype=np.intp)
        rules.append((index, all_small(rule.when, term.input, sources, f"{where}.when")))

    def bind(out: Array) -> Read:
        inner = compiled.bind(out)

        def read() -> str:
            fault = inner()
            for index, holds in rules:
                if holds():
                    out[index] = 0.0
            return fault

        return read

    return absolute(compiled.name, compiled.elements, bind)


def _without_zeros(compiled: CompiledTerm, no_return: float) -> CompiledTerm:
    def bind(out: Array) -> Read:
        inner = compiled.bind(out)

        def read() -> str:
            fault = inner()
            out[out == 0.0] = no_return
            return fault

        return read

    return absolute(compiled.name, compiled.elements, bind)


def _plain(term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    if (term.field is None) == (term.fields is None):
        raise refuse(sources.file, key, "one of `field` and `fields`", "both or none")
    if slot.spec.type == JOINT_STATE:
        expected = "joint_position, joint_velocity or joint_effort, which go by name"
        raise refuse(sources.file, f"{key}.term", expected, "field of a JointState")
    name = term.name or term.field or "field"
    if slot.name in sources.mountings and slot.spec.type == IMU:
        return _mounted(name, term, sources, key)
    if term.field is not None:
        array = sources.numbers(slot, term.field, term.size, f"{key}.field")
        if term.size not in (None, array.size):
            expected = f"{array.size}, the numbers of '{term.field}'"
            raise refuse(sources.file, f"{key}.size", expected, f"{term.size}")
        return copy(name, slot.paths[term.field], array)
    each_once(term.fields or [], sources, f"{key}.fields")
    arrays = [sources.numbers(slot, p, 1, f"{key}.fields") for p in term.fields or []]
    elements = tuple(leaf for p in term.fields or [] for leaf in slot.paths[p])

    def bind(out: Array) -> Read:
        def read() -> str:
            np.concatenate(arrays, out=out)
            return ""

        return read

    return absolute(name, elements, bind)


def each_once(paths: Sequence[str], sources: Sources, key: str) -> None:
    """Check that a term reads every path once: a repeated path is most likely a mistake.

    Raises:
        Refusal: a path is repeated.
    """
    twice = next((path for path in paths if list(paths).count(path) > 1), None)
    if twice is not None:
        raise refuse(sources.file, key, "each of them once", f"'{twice}' again")


def _mounted(name: str, term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    """Vectors of an Imu with rotated axes: body vector = R(body, sensor) sensor vector."""
    slot = sources.slot(term.input, key)
    rotation = np.array(matrix(sources.mountings[slot.name])).reshape(3, 3)
    rows, arrays, elements = [], [], []
    for path in [term.field] if term.field else term.fields or []:
        vector, _, part = path.partition(".")
        if vector not in ("angular_velocity", "linear_acceleration"):
            expected = "angular_velocity or linear_acceleration, since the input has a mounting"
            raise refuse(sources.file, f"{key}.field", expected, f"'{path}'")
        array = sources.numbers(slot, vector, None, f"{key}.field")
        parts = [part] if part else ["x", "y", "z"]
        if part not in ("", "x", "y", "z"):
            raise refuse(sources.file, f"{key}.field", f"x, y or z of {vector}", f"'{path}'")
        rows.append(rotation[["xyz".index(axis) for axis in parts]])
        arrays.append(array)
        elements += [f"{vector}.{axis}" for axis in parts]

    def bind(out: Array) -> Read:
        def read() -> str:
            at = 0
            for turn, array in zip(rows, arrays):
                out[at : at + len(turn)] = turn @ array
                at += len(turn)
            return ""

        return read

    return absolute(name, tuple(elements), bind)


@compiles(ConstantTerm)
def constant(term: ConstantTerm, _sources: Sources, _key: str) -> CompiledTerm:
    """Numbers that never change."""
    value = np.array(term.value, dtype=np.float64)
    return copy(term.name or "constant", tuple(f"[{k}]" for k in range(value.size)), value)


@compiles(TextTerm)
def text(term: TextTerm, sources: Sources, key: str) -> CompiledTerm:
    """The bytes of a text, and zeros after them.

    Raises:
        Refusal: the input is no text.
    """
    slot = sources.slot_of(term.input, key, STRING)
    elements = tuple(f"byte[{k}]" for k in range(term.size))
    return copy(term.name or "text", elements, slot.text_values().array(term.size))
