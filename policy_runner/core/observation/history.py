"""Keep past frames, flattened in the order that the policy was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import Array
from policy_runner.core.spec import History, HistoryBlock
from policy_runner.core.spec.named_numbers import match_names

Lags = list[int]  # 0 is the newest frame; in the tensor's order
_Term = tuple[str, int, int, Sequence[str]]  # name, first column, numbers, names of elements


def term_lags(
    spec: History | HistoryBlock,
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


def _lags(given: object, spec: History | HistoryBlock, file: str, key: str) -> Lags:
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
            Refusal: see `term_lags`; keys next to `blocks`, or a block with an unknown term.
        """
        names = names if names is not None else [str(k) for k in range(len(term_sizes))]
        if elements is None:
            elements = [[f"[{k}]" for k in range(size)] for size in term_sizes]
        frame = sum(term_sizes)
        starts = [sum(term_sizes[:k]) for k in range(len(term_sizes))]
        terms = list(zip(names, starts, term_sizes, elements, strict=True))
        parts = _parts(spec, terms, file, key)
        depth = 1 + max(lag for part in parts for lag, _ in part)
        self.depth = depth  # frames that are kept
        self._frames = np.zeros((depth, frame))  # oldest first
        self._fill = spec.fill
        self._pushed = 0  # frames since the reset, at most `depth`
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


def _parts(
    spec: History, terms: Sequence[_Term], file: str, key: str
) -> list[list[tuple[int, int]]]:
    """(lag, column of the frame) of the tensor's numbers, per term or for whole frames."""
    if spec.blocks is None:
        for name in ("stack", "order"):
            if getattr(spec, name) is None:
                raise refuse(file, f"{key}.{name}", "a value, since there are no `blocks`", "none")
        return _stacked(spec, terms, file, key)
    for name in ("stack", "order", "length", "lags"):
        if getattr(spec, name) is not None:
            raise refuse(file, f"{key}.{name}", "no such key next to `blocks`", "one")
    by_name = {term[0]: term for term in terms}
    if len(by_name) != len(terms):
        names = [term[0] for term in terms]
        twice = next(name for name in names if names.count(name) > 1)
        raise refuse(file, f"{key}.blocks", "terms with different names", f"'{twice}' twice")
    cells: list[tuple[int, int]] = []
    for k, block in enumerate(spec.blocks):
        where = f"{key}.blocks[{k}]"
        for n, name in enumerate(block.terms or []):
            if name not in by_name or name in (block.terms or [])[:n]:
                expected = f"each term of the tensor ({', '.join(by_name)}) at most once"
                hint = did_you_mean(name, list(by_name))
                raise refuse(file, f"{where}.terms[{n}]", expected, f"'{name}'", hint)
        chosen = [by_name[name] for name in block.terms] if block.terms else terms
        if block.length is None and block.lags is None:
            block = block.model_copy(update={"length": 1})
        cells += [cell for part in _stacked(block, chosen, file, where) for cell in part]
    return [cells]


def _stacked(
    spec: History | HistoryBlock, terms: Sequence[_Term], file: str, key: str
) -> list[list[tuple[int, int]]]:
    names, elements = [term[0] for term in terms], [term[3] for term in terms]
    lags = term_lags(spec, names, elements, file, key)
    if spec.stack == "frame":
        columns = [start + k for _, start, size, _ in terms for k in range(size)]
        return [[(lag, column) for lag in lags[0][0] for column in columns]]
    return [
        _cells(spec, start, size, own) for (_, start, size, _), own in zip(terms, lags, strict=True)
    ]


def _cells(
    spec: History | HistoryBlock, start: int, size: int, lags: Sequence[Lags]
) -> list[tuple[int, int]]:
    """(lag, column of the frame) of a term's numbers, in the order of the tensor."""
    of_each = list(lags) * size if len(lags) == 1 else list(lags)
    if spec.stack == "element":
        return [(lag, start + k) for k in range(size) for lag in of_each[k]]
    if len(lags) == 1:
        return [(lag, start + k) for lag in lags[0] for k in range(size)]
    every = sorted({lag for own in lags for lag in own}, reverse=spec.order == "oldest_first")
    owned = [set(own) for own in of_each]
    return [(lag, start + k) for lag in every for k in range(size) if lag in owned[k]]
