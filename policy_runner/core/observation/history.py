"""Keep past frames, flattened in the order that the policy was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import Array
from policy_runner.core.spec import History
from policy_runner.core.spec.named_numbers import match_names

Lags = list[int]  # 0 is the newest frame; in the tensor's order


def term_lags(
    spec: History,
    names: Sequence[str],
    elements: Sequence[Sequence[str]],
    file: str,
    key: str,
) -> list[list[Lags]]:
    """The lags per term: one list for all elements of the term, or one per element.

    Args:
        spec: the history.
        names: the names of the terms.
        elements: per term, the names of its elements.
        file: the spec file, for error messages.
        key: the history's key in the spec, for error messages.

    Raises:
        Refusal: neither or both of `length` and `lags`, an unknown term or element, a list of
            another length than the term, or a mapping by term although whole frames are stacked.
    """
    if (spec.length is None) == (spec.lags is None):
        got = "none" if spec.length is None else "both"
        raise refuse(file, key, "one of `length` and `lags`", got)
    which = "length" if spec.length is not None else "lags"
    given = spec.length if spec.length is not None else spec.lags
    if isinstance(given, Mapping):
        if spec.stack == "frame":
            expected = "one for all terms, since whole frames are stacked (stack: frame)"
            raise refuse(file, f"{key}.{which}", expected, "a mapping by term")
        for name in given:
            if name not in names:
                expected = f"terms ({', '.join(names)})"
                raise refuse(
                    file, f"{key}.{which}", expected, f"'{name}'", did_you_mean(name, names)
                )
    found = []
    for name, own in zip(names, elements, strict=True):
        one: object = given
        if isinstance(given, Mapping):
            one = given.get(name, 1 if which == "length" else [0])
        where = f"{key}.{which}.{name}"
        if isinstance(one, Mapping):
            each: list[object] = list(match_names(one, own, file, where))
        elif which == "length" and isinstance(one, list):
            if len(one) != len(own):
                expected = f"one length, or {len(own)}, one per element"
                raise refuse(file, where, expected, f"{len(one)}")
            each = list(one)
        else:
            each = [one]
        found.append([_lags(single, spec, file, key) for single in each])
    return found


def _lags(given: object, spec: History, file: str, key: str) -> Lags:
    if isinstance(given, int):
        wanted = list(range(given))
    else:
        assert isinstance(given, list)
        wanted = sorted(set(given))
        if len(wanted) != len(given):
            raise refuse(file, f"{key}.lags", "every lag once", f"{given}")
    return wanted if spec.order == "newest_first" else wanted[::-1]


class FrameHistory:
    """Keeps the newest frames. `push` returns the frames that the spec names, float64 [stacked].

    One index array, computed once, maps past elements to the tensor. So stacking per element, per
    term or per frame, oldest or newest first, lengths and lags all use the same gather.
    """

    def __init__(
        self,
        spec: History,
        term_sizes: Sequence[int],
        names: Sequence[str] | None = None,
        file: str = "",
        key: str = "history",
        elements: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Compute the index array.

        Args:
            spec: the history.
            term_sizes: numbers per term in one frame.
            names: names of the terms, for terms with their own length.
            file: the spec file, for error messages.
            key: the history's key in the spec, for error messages.
            elements: per term, the names of its elements; None: [0], [1], ...

        Raises:
            Refusal: see `term_lags`.
        """
        names = names if names is not None else [str(k) for k in range(len(term_sizes))]
        if elements is None:
            elements = [[f"[{k}]" for k in range(size)] for size in term_sizes]
        lags = term_lags(spec, names, elements, file, key)
        frame = sum(term_sizes)
        depth = 1 + max(lag for term in lags for one in term for lag in one)
        self.depth = depth  # frames that are kept
        self._frames = np.zeros((depth, frame))  # oldest first
        self._fill = spec.fill
        self._pushed = 0  # frames since the reset, at most `depth`
        starts = [sum(term_sizes[:k]) for k in range(len(term_sizes))]
        if spec.stack == "frame":
            parts = [[(lag, column) for lag in lags[0][0] for column in range(frame)]]
        else:
            parts = [
                _cells(spec, start, size, own)
                for start, size, own in zip(starts, term_sizes, lags, strict=True)
            ]
        # Numbers per term in the tensor, or of all if whole frames are stacked.
        self.term_counts = [len(part) for part in parts]
        index = [(depth - 1 - lag) * frame + column for part in parts for lag, column in part]
        self._index = np.array(index, dtype=np.intp)
        self.stacked = np.zeros(len(index))

    def reset(self) -> None:
        """Drop past frames. The next `push` fills them as the spec states in `fill`."""
        self._pushed = 0

    def push(self, frame: Array) -> Array:
        """Add the next frame, float64 [frame]. Return the flattened history (a reused array)."""
        depth = len(self._frames)
        if self._pushed == 0:
            self._frames[:] = 0.0 if self._fill == "zeros" else frame
        else:
            self._frames[:-1] = self._frames[1:]
        self._frames[-1] = frame
        if self._pushed < depth:
            self._pushed += 1
            if self._fill == "newest":
                self._frames[: depth - self._pushed] = frame
        self._frames.ravel().take(self._index, out=self.stacked)
        return self.stacked


def _cells(spec: History, start: int, size: int, lags: Sequence[Lags]) -> list[tuple[int, int]]:
    """(lag, column of the frame) of a term's numbers, in the order of the tensor."""
    of_each = list(lags) * size if len(lags) == 1 else list(lags)
    if spec.stack == "element":
        return [(lag, start + k) for k in range(size) for lag in of_each[k]]
    if len(lags) == 1:
        return [(lag, start + k) for lag in lags[0] for k in range(size)]
    every = sorted({lag for own in lags for lag in own}, reverse=spec.order == "oldest_first")
    owned = [set(own) for own in of_each]
    return [(lag, start + k) for lag in every for k in range(size) if lag in owned[k]]
