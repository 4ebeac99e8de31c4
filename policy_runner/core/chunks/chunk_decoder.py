"""Decode a model's outputs into a chunk of targets: the arithmetic of the action, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policy_runner.core.command.action_columns import MeasuredPart, action_columns, measured_parts
from policy_runner.core.command.action_stages import Rounding, runs
from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.model import Array, Buffer
from policy_runner.core.observation.normalization import Normalizer
from policy_runner.core.spec import Chunk, PolicySpec
from policy_runner.core.spec.elements import absent_joints, action_elements, kept_elements
from policy_runner.core.spec.reader import step_problems


def chunk_rows(chunk: Chunk, output: Buffer, file: str, key: str) -> Buffer:
    """The output as a view [T, A].

    Args:
        chunk: the chunk of the spec.
        output: [1, T, A], [T, A], or flat with `steps` in the spec.
        file: the spec file, for error messages.
        key: the key of the tensor, for error messages.

    Raises:
        Refusal: the shape is another one, or T does not fit `steps`.
    """
    shape = output.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2 and not (chunk.steps is not None and shape[0] == 1 != chunk.steps):
        steps = shape[0]
    elif chunk.steps is not None and output.size % chunk.steps == 0 and len(shape) <= 2:
        steps = chunk.steps
    else:
        expected = "an output [1, T, A], [T, A], or a flat one and a matching `chunk.steps`"
        raise refuse(file, key, expected, f"{output.shape}")
    if chunk.steps is not None and steps != chunk.steps:
        raise refuse(file, "chunk.steps", f"{steps}, as the output has", f"{chunk.steps}")
    if steps < 2:
        expected = "a chunk of 2 actions or more; leave out `chunk` for one action"
        raise refuse(file, key, expected, f"{steps}")
    found = step_problems(chunk, steps, file)
    if found:
        raise Refusal(found)
    return output.reshape(steps, -1)


def first_rows(spec: PolicySpec, outputs: Sequence[Buffer], file: str) -> list[Buffer]:
    """Of each output the action of the observation's time, a view; without a chunk the outputs.

    Raises:
        Refusal: see `chunk_rows`.
    """
    chunk = spec.chunk
    if chunk is None:
        return list(outputs)
    return [
        chunk_rows(chunk, output, file, f"action[{t}].tensor")[chunk.observed_index]
        for t, output in enumerate(outputs)
    ]


def joined_rows(spec: PolicySpec, outputs: Sequence[Buffer], file: str) -> Array:
    """The raw chunk of all outputs, float64 [T, columns]; see `ChunkDecoder.columns`."""
    assert spec.chunk is not None
    rows = [
        chunk_rows(spec.chunk, output, file, f"action[{t}].tensor")
        for t, output in enumerate(outputs)
    ]
    return np.concatenate(rows, axis=1).astype(np.float64)


def statistics_steps(spec: PolicySpec, outputs: Sequence[Buffer], file: str) -> int:
    """How many actions the statistics of the denormalization describe: 1, or T for `per_step`.

    Raises:
        Refusal: see `chunk_rows`.
    """
    if spec.chunk is None or spec.chunk.denormalization == "per_element":
        return 1
    return len(chunk_rows(spec.chunk, outputs[0], file, "action[0].tensor"))


def normalizers_of_step(
    spec: PolicySpec, normalizers: Sequence[Normalizer | None], step: int
) -> list[Normalizer | None]:
    """The denormalizations of one step of a chunk; only those of `per_step` differ by step."""
    if spec.chunk is None or spec.chunk.denormalization == "per_element":
        return list(normalizers)
    counts = [sum(len(group.names) for group in tensor.groups) for tensor in spec.action]
    return [
        None if one is None else one.part(step * count, (step + 1) * count)
        for one, count in zip(normalizers, counts, strict=True)
    ]


class ChunkDecoder:
    """Decodes the outputs of one inference into a chunk, float64 [count, elements].

    The order is that of `ActionDecoder`. Row 0 belongs to the time of the observation.

    Attributes:
        steps: T, the actions of an output.
        count: the actions that may be played.
        elements: of an action.
        scale: units per raw number, float64 [T, elements].
        offset: units at a raw 0, without measured positions, float64 [T, elements].
        columns: per element, its column in the joined outputs [elements].
    """

    def __init__(
        self,
        spec: PolicySpec,
        outputs: Sequence[Buffer],
        normalizers: Sequence[Normalizer | None],
        measured: Callable[[int], Array | None],
        file: str,
    ) -> None:
        """Bind the action of the spec to the model's outputs.

        Args:
            spec: the policy's spec; it has a chunk.
            outputs: the model's output per tensor of `spec.action`.
            normalizers: the denormalization per tensor, of all steps for `per_step`.
            measured: as of `ActionDecoder`; read by `decode`, so at the time of the observation.
            file: the spec file, for error messages.

        Raises:
            Refusal: shapes, groups or named numbers do not fit.
        """
        chunk = spec.chunk
        assert chunk is not None
        self.elements = action_elements(spec, file)
        rows = [
            chunk_rows(chunk, output, file, f"action[{t}].tensor")
            for t, output in enumerate(outputs)
        ]
        self.steps = len(rows[0])
        for t, row in enumerate(rows):
            if len(row) != self.steps:
                expected = f"{self.steps} actions, as the first tensor has"
                raise refuse(file, f"action[{t}].tensor", expected, f"{len(row)}")
        self.first = chunk.observed_index
        self.count = chunk.n_action_steps or self.steps - self.first
        size = len(self.elements)
        self.columns = np.zeros(size, dtype=np.intp)
        self._reads: list[tuple[slice, Buffer]] = []
        self._bind(spec, rows, file)
        parts = [
            action_columns(spec, normalizers_of_step(spec, normalizers, step), file)
            for step in range(self.steps if chunk.denormalization == "per_step" else 1)
        ]
        column = parts[0]
        shape = (self.steps, size)
        self.scale = np.broadcast_to([c["spread"] * c["scale"] for c in parts], shape)
        self.offset = np.broadcast_to([c["mean"] * c["scale"] + c["offset"] for c in parts], shape)
        self._tanh = np.flatnonzero(column["tanh"])
        self._raw_bounds = _bounds(column["raw_low"], column["raw_high"])
        self._bounds = _bounds(column["low"], column["high"])
        self._round_raw, self._round_target = column["step_raw"], column["step_target"]
        self.relative = np.flatnonzero(column["measured"])
        self.delta = np.flatnonzero(column["previous"])
        anchored = np.flatnonzero(column["measured"] + column["previous"])
        self._measured: list[MeasuredPart] = measured_parts(
            spec, self.elements, anchored, measured, file
        )
        self._anchor = np.zeros(size)
        self._raw = np.zeros(shape)
        self._target = np.zeros((self.count, size))

    def _bind(self, spec: PolicySpec, rows: Sequence[Buffer], file: str) -> None:
        absent = absent_joints(spec, file)
        start, before = 0, 0
        for tensor, row in zip(spec.action, rows, strict=True):
            at = 0
            for group in tensor.groups:
                first, _ = group.slice or (at, 0)
                at += len(group.names)
                place = start
                kept = kept_elements(group, absent)
                for run in runs(kept):
                    into = slice(place, place + len(run))
                    self._reads.append((into, row[:, first + run[0] : first + run[-1] + 1]))
                    self.columns[into] = before + first + np.array(run)
                    place += len(run)
                start += len(kept)
            before += row.shape[1]

    def anchor(self) -> Array:
        """The measured positions that relative elements start from, 0 for others, [elements]."""
        for elements, positions, joints in self._measured:
            self._anchor[elements] = positions[joints]
        return self._anchor

    def decode(self) -> Array | str:
        """The chunk, float64 [count, elements], valid until the next call; or why there is none."""
        raw, target = self._raw, self._target
        for into, source in self._reads:
            raw[:, into] = source
        if not np.isfinite(raw).all():
            step, element = (int(k) for k in np.argwhere(~np.isfinite(raw))[0])
            return f"action {step} of the chunk is not finite ({self.elements[element].joint})"
        rows = slice(self.first, self.first + self.count)
        np.copyto(target, raw[rows])
        if self._tanh.size:
            target[:, self._tanh] = np.tanh(target[:, self._tanh])
        _clip(self._raw_bounds, target)
        _round(self._round_raw, target)
        target *= self.scale[rows]
        target += self.offset[rows]
        if self.delta.size:
            target[:, self.delta] = np.cumsum(target[:, self.delta], axis=0)
        if self._measured:
            target += self.anchor()
        _clip(self._bounds, target)
        _round(self._round_target, target)
        if not np.isfinite(target).all():
            return "a target of the chunk is not finite"
        return target


def _bounds(low: Array, high: Array) -> tuple[Array, Array] | None:
    unbounded = np.all(np.isneginf(low)) and np.all(np.isposinf(high))
    return None if unbounded else (low, high)


def _clip(bounds: tuple[Array, Array] | None, values: Array) -> None:
    if bounds is not None:
        np.clip(values, *bounds, out=values)


def _round(steps: Array, values: Array) -> None:
    rounding = Rounding.of(steps)
    if rounding is not None:
        for row in values:
            rounding.apply(row)
