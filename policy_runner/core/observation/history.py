"""Past frames, flattened in the order the policy was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import Array
from policy_runner.core.spec import History


def term_lags(spec: History, names: Sequence[str], file: str, key: str) -> list[list[int]]:
    """For each term the lags that are in the tensor (0 is the newest frame), in its order.

    Raises:
        Refusal: neither or both of `length` and `lags`, an unknown term, or a mapping by term
            where whole frames are stacked.
    """
    if (spec.length is None) == (spec.lags is None):
        got = "none" if spec.length is None else "both"
        raise refuse(file, key, "one of `length` and `lags`", got)
    which = "length" if spec.length is not None else "lags"
    given = spec.length if spec.length is not None else spec.lags
    if isinstance(given, Mapping):
        if spec.stack != "term":
            expected = "one for all terms, since whole frames are stacked (stack: frame)"
            raise refuse(file, f"{key}.{which}", expected, "a mapping by term")
        for name in given:
            if name not in names:
                expected = f"terms ({', '.join(names)})"
                raise refuse(
                    file, f"{key}.{which}", expected, f"'{name}'", did_you_mean(name, names)
                )
    lags = []
    for name in names:
        one = given.get(name, 1 if which == "length" else [0]) if isinstance(given, dict) else given
        wanted = list(range(one)) if isinstance(one, int) else sorted(set(one or []))
        if not isinstance(one, int) and len(wanted) != len(one or []):
            raise refuse(file, f"{key}.lags", "every lag once", f"{one}")
        lags.append(wanted if spec.order == "newest_first" else wanted[::-1])
    return lags


class FrameHistory:
    """The newest frames; `push` gives those of the spec flattened, float64 [stacked].

    Which past element stands where is one index array, computed once: stacking per term or
    per frame, oldest or newest first, lengths and lags are all the same gather.
    """

    def __init__(
        self,
        spec: History,
        term_sizes: Sequence[int],
        names: Sequence[str] | None = None,
        file: str = "",
        key: str = "history",
    ) -> None:
        """Names of the terms, for those that have their own length.

        Raises:
            Refusal: see `term_lags`.
        """
        names = names if names is not None else [str(k) for k in range(len(term_sizes))]
        lags = term_lags(spec, names, file, key)
        frame, depth = sum(term_sizes), 1 + max(max(one) for one in lags)
        self._frames = np.zeros((depth, frame))  # oldest first
        self._repeat = spec.fill == "repeat"
        self._empty = True
        starts = [sum(term_sizes[:k]) for k in range(len(term_sizes))]
        if spec.stack == "frame":
            cells = [(lag, column) for lag in lags[0] for column in range(frame)]
            self.term_counts = [frame * len(lags[0])]
        else:
            cells = [
                (lag, start + k)
                for start, size, own in zip(starts, term_sizes, lags, strict=True)
                for lag in own
                for k in range(size)
            ]
            self.term_counts = [s * len(own) for s, own in zip(term_sizes, lags, strict=True)]
        index = [(depth - 1 - lag) * frame + column for lag, column in cells]
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
