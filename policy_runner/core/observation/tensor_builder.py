"""Build the tensors that the policy was trained on from the newest inputs.

frame = terms, read and computed in the order of `arithmetic`;
tensor = frame -> history -> clip -> normalize -> clip.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import Array, cast_range
from policy_runner.core.observation.arithmetic import clip_stage, frame_stages
from policy_runner.core.observation.history import FrameHistory
from policy_runner.core.observation.normalization import Normalizer
from policy_runner.core.observation.terms.compile import compile_term
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources
from policy_runner.core.spec import (
    ImageTerm,
    ModelOutputTerm,
    Normalization,
    ObservationTensor,
    PerTermNormalization,
    TermArithmetic,
    TextTerm,
)
from policy_runner.core.spec.named_numbers import bounds_by_name


class TensorBuilder:
    """Builds one input tensor of the model, in two parts: read a frame, then advance.

    Call `read` at any time. Call `advance` once per inference, because it moves the history.
    """

    def __init__(self, spec: ObservationTensor, sources: Sources, key: str) -> None:
        """Compile the terms.

        Args:
            spec: the tensor in the spec.
            sources: the data that the terms read.
            key: the tensor's key in the spec, for error messages.

        Raises:
            Refusal: a term, the history or the normalization does not fit.
        """
        problems: list[Problem | str] = []
        self.terms: list[CompiledTerm] = []
        given = spec.terms if spec.terms is not None else [spec.whole] if spec.whole else []
        keys = [f"{key}.terms[{k}]" if spec.terms else f"{key}.whole" for k in range(len(given))]
        for term, where in zip(given, keys, strict=True):
            try:
                self.terms.append(compile_term(term, sources, where))
            except Refusal as refusal:
                problems += refusal.problems
        if problems:
            raise Refusal(problems)
        self.name = str(spec.tensor)
        sizes = [term.size for term in self.terms]
        self.frame = np.zeros(sum(sizes))
        self._zeros = np.zeros(sum(sizes))
        starts = np.concatenate(([0], np.cumsum(sizes))).tolist()
        reads = [
            term.bind(self.frame[start : start + term.size])
            for term, start in zip(self.terms, starts, strict=False)
        ]
        late = [isinstance(term, ModelOutputTerm) and not term.previous for term in given]
        self._reads = [read for read, output in zip(reads, late, strict=True) if not output]
        self._output_reads = [read for read, output in zip(reads, late, strict=True) if output]
        self._outputs = np.flatnonzero(np.repeat(late, sizes))
        self._others = np.flatnonzero(~np.repeat(late, sizes))
        self._kept = np.zeros(self._others.size)
        plain = TermArithmetic()
        self._before_check, self._stages = frame_stages(
            [
                (
                    plain if isinstance(settings, (ImageTerm, TextTerm)) else settings,
                    term.relative,
                    term.elements,
                    where,
                )
                for settings, term, where in zip(given, self.terms, keys, strict=True)
            ],
            sources.file,
        )
        names = [term.name for term in self.terms]
        self._history = (
            FrameHistory(
                spec.history,
                sizes,
                names,
                sources.file,
                f"{key}.history",
                [term.elements for term in self.terms],
            )
            if spec.history
            else None
        )
        self.size = self._history.stacked.size if self._history else self.frame.size
        self._clip = clip_stage(*bounds_by_name(spec.clip, ["clip"], sources.file, f"{key}.clip"))
        self._normalizer: Normalizer | None = None
        normalization = spec.normalization
        stored = isinstance(normalization, (Normalization, PerTermNormalization))
        on = getattr(normalization, "on", None)
        self._on_frame = stored and on == "frame"
        if stored and spec.history and on is None:
            where = f"{key}.normalization.on"
            raise refuse(sources.file, where, "frame or stacked, since there is a history", "none")
        self._work = np.zeros(self.size)
        self._frame_work = np.zeros(self.frame.size)
        self._out_zeros: npt.NDArray[np.generic] | None = None

    @property
    def depth(self) -> int:
        """Number of frames that the tensor is made of, with those between its lags."""
        return self._history.depth if self._history is not None else 1

    @property
    def normalized_parts(self) -> list[tuple[str, int]]:
        """The normalized elements per term, in order: (term's name, number of elements).

        If whole frames are stacked, there is one part with the name "": no term's statistics fit.
        """
        names = [term.name for term in self.terms]
        if self._on_frame or self._history is None:
            return [(term.name, term.size) for term in self.terms]
        counts = self._history.term_counts
        return list(zip(names if len(counts) == len(names) else [""], counts, strict=True))

    @property
    def has_history(self) -> bool:
        """Whether it keeps past frames, so that every inference must `advance` it."""
        return self._history is not None

    def set_normalizer(self, normalizer: Normalizer) -> None:
        """Use this normalizer from now on."""
        self._normalizer = normalizer

    @property
    def elements(self) -> list[str]:
        """Names of the frame's elements, `term/element`."""
        return [f"{term.name}/{element}" for term in self.terms for element in term.elements]

    @property
    def tensor_elements(self) -> list[str]:
        """Names of the tensor's elements [size].

        Without a history, the names of the frame's elements. With a history, `term/[k]`, or `[k]`
        if whole frames are stacked.
        """
        if self.size == len(self.elements):
            return self.elements
        counts = self._history.term_counts if self._history is not None else []
        if len(counts) != len(self.terms):
            return [f"[{k}]" for k in range(self.size)]
        return [
            f"{term.name}/[{k}]"
            for term, count in zip(self.terms, counts, strict=True)
            for k in range(count)
        ]

    @property
    def reads_outputs(self) -> bool:
        """Whether it has outputs of models of the same inference, which `read_outputs` reads."""
        return bool(self._output_reads)

    def read_outputs(self) -> None:
        """Read the outputs of earlier models of this inference into the frame.

        Call it after those models have run. The other elements stay.
        """
        frame = self.frame
        frame.take(self._others, out=self._kept, mode="clip")
        for read in self._output_reads:
            read()
        for stage in self._before_check:
            stage(frame)
        for stage in self._stages:
            stage(frame)
        frame[self._others] = self._kept

    def read(self) -> str:
        """Read every term into the frame. Return '' or why the frame is unusable.

        Outputs of models of the same inference are 0, because those models have not run yet.
        """
        for read in self._reads:
            fault = read()
            if fault:
                return fault
        frame = self.frame
        if self._output_reads:
            frame[self._outputs] = 0.0
        for stage in self._before_check:
            stage(frame)
        # x . 0 is 0 exactly when every x is finite (NaN and inf give NaN): one call, no mask.
        if frame.dot(self._zeros) != 0.0:
            bad = int(np.flatnonzero(~np.isfinite(frame))[0])
            return f"{self.elements[bad]} is {frame[bad]}"
        for stage in self._stages:
            stage(frame)
        return ""

    def advance(self, out: npt.NDArray[np.generic]) -> str:
        """Apply history, clip and normalization; write the tensor's elements to `out` [size].

        Return '' or the element that the tensor's type cannot hold.
        """
        if self._on_frame:
            work = self._frame_work
            np.copyto(work, self.frame)
            self._finish(work)
            values = self._history.push(work) if self._history else work
        else:
            values = self._work
            stacked = self._history.push(self.frame) if self._history else self.frame
            if self._normalizer is not None and not self._clip:
                self._normalizer.normalize(stacked, values)
            else:
                np.copyto(values, stacked)
                self._finish(values)
        np.copyto(out, values, casting="unsafe")
        return self._not_held(out, values)

    def _not_held(self, out: npt.NDArray[np.generic], values: Array) -> str:
        """Why `out` does not hold `values`: an element overflowed or wrapped in the cast; or ''."""
        kind = out.dtype.kind
        if kind == "f":
            # As in `read`: the product is 0 exactly when every element is finite.
            if out.dot(self._zeros_like(out)) == 0.0:
                return ""
            bad = int(np.flatnonzero(~np.isfinite(out))[0])
        elif kind == "b":  # a boolean holds every value: true if it is not 0
            return ""
        else:
            low, high = cast_range(out.dtype)
            # A cast to integers drops decimals. The comparison is false for NaN.
            if low - 1.0 < values.min() and values.max() < high + 1.0:
                return ""
            bad = int(np.flatnonzero(~((values > low - 1.0) & (values < high + 1.0)))[0])
        return f"{self.tensor_elements[bad]} is {values[bad]:g}, which no {out.dtype} holds"

    def _zeros_like(self, out: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        if self._out_zeros is None or self._out_zeros.dtype != out.dtype:
            self._out_zeros = np.zeros_like(out)
        return self._out_zeros

    def _finish(self, values: Array) -> None:
        for stage in self._clip:
            stage(values)
        if self._normalizer is not None:
            self._normalizer.normalize(values, values)

    def reset(self) -> None:
        """Drop the past frames."""
        if self._history is not None:
            self._history.reset()
