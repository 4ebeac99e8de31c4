"""Past frames, flattened in the order the policy was trained with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.spec import History

Array = npt.NDArray[np.float64]


class FrameHistory:
    """The newest `length` frames; `push` gives them flattened, float64 [length * frame].

    Which past element stands where is one index array, computed once: stacking per term or
    per frame, oldest or newest first, are all the same gather.
    """

    def __init__(self, spec: History, term_sizes: Sequence[int]) -> None:
        frame = sum(term_sizes)
        self._frames = np.zeros((spec.length, frame))  # oldest first
        self._repeat = spec.fill == "repeat"
        self._empty = True
        lags = range(spec.length)  # row k is the k-th oldest
        rows = list(lags) if spec.order == "oldest_first" else list(reversed(lags))
        index: list[int] = []
        if spec.stack == "frame":
            index = [row * frame + column for row in rows for column in range(frame)]
        else:
            start = 0
            for size in term_sizes:
                index += [row * frame + start + k for row in rows for k in range(size)]
                start += size
        self._index = np.array(index, dtype=np.intp)
        self.stacked = np.zeros(len(index))

    def reset(self) -> None:
        """Forget the past; the next push fills it as the spec says."""
        self._empty = True

    def push(self, frame: Array) -> Array:
        """Take the next frame, float64 [frame]; returns the flattened history (a reused array)."""
        if self._empty:
            self._frames[:] = frame if self._repeat else 0.0
            self._empty = False
        else:
            self._frames[:-1] = self._frames[1:]
        self._frames[-1] = frame
        self._frames.ravel().take(self._index, out=self.stacked)
        return self.stacked
