"""Keep past frames, flattened in the order that the policy was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import Array
from policy_runner.core.spec import History


def term_lags(spec: History, names: Sequence[str], file: str, key: str) -> list[list[int]]:
    """Per term, the lags in the tensor (0 is the newest frame), in the tensor's order.

    Args:
        spec: the history.
        names: the names of the terms.
        file: the spec file, for error messages.
        key: the history's key in the spec, for error messages.

    Raises:
        Refusal: neither or both of `length` and `lags`, an unknown term, or a mapping by term
            although whole frames are stacked.
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
    """Keeps the newest frames. `push` returns the frames that the spec names, float64 [stacked].

    One index array, computed once, maps past elements to the tensor. So stacking per term or per
    frame, oldest or newest first, lengths and lags all use the same gather.
    """

    def __init__(
        self,
        spec: History,
        term_sizes: Sequence[int],
        names: Sequence[str] | None = None,
        file: str = "",
        key: str = "history",
    ) -> None:
        """Compute the index array.

        Args:
            spec: the history.
            term_sizes: numbers per term in one frame.
            names: names of the terms, for terms with their own length.
            file: the spec file, for error messages.
            key: the history's key in the spec, for error messages.

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
        """Drop past frames. The next `push` fills them as the spec states in `fill`."""
        self._empty = True

    def push(self, frame: Array) -> Array:
        """Add the next frame, float64 [frame]. Return the flattened history (a reused array)."""
        if self._empty:
            self._frames[:] = frame if self._repeat else 0.0
            self._empty = False
        else:
            self._frames[:-1] = self._frames[1:]
        self._frames[-1] = frame
        self._frames.ravel().take(self._index, out=self.stacked)
        return self.stacked
