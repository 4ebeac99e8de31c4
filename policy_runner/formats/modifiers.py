"""Reduces Isaac Lab's modifiers of an observation term to one clip, one scale and one offset.

A term runs through its modifiers in order, then through the term's clip and scale
(isaaclab/managers/observation_manager.py; formulas in isaaclab/utils/modifiers/modifier.py). Three
modifiers have no memory: `scale` y = x * multiplier, `bias` y = x + value, `clip` to bounds. Any
sequence of them equals clip(x) * scale + offset. `DigitalFilter` and `Integrator` keep past
values, which a term of the spec cannot do; they become a TODO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.formats.draft import todo
from policy_runner.formats.trainer_terms import Term, open_range, short

Numbers = npt.NDArray[np.float64]


def modifiers_of(given: Mapping[str, Any]) -> list[Any]:
    """Return the modifiers that a term's descriptor lists, in their order.

    Args:
        given: the descriptor; `modifiers` is in it, in its `extras` or in its `overloads`.
    """
    for place in (given.get("overloads"), given.get("extras"), given):
        if isinstance(place, Mapping) and place.get("modifiers"):
            found = place["modifiers"]
            return list(found) if isinstance(found, list) else [found]
    return []


class Affine:
    """The function x -> clip(x, low, high) * scale + offset, of one or several numbers."""

    def __init__(self) -> None:
        self.low: Numbers = np.array(-np.inf)
        self.high: Numbers = np.array(np.inf)
        self.scale: Numbers = np.array(1.0)
        self.offset: Numbers = np.array(0.0)

    def multiply(self, factor: Any) -> None:
        """Append a multiplication."""
        numbers = np.asarray(factor, np.float64)
        self.scale, self.offset = self.scale * numbers, self.offset * numbers

    def add(self, value: Any) -> None:
        """Append an addition."""
        self.offset = self.offset + np.asarray(value, np.float64)

    def limit(self, bounds: Any) -> bool:
        """Append a clip; return False if the result is not such a function.

        Args:
            bounds: [low, high], or a pair per number; None and infinity are open.
        """
        pairs = np.asarray(
            [[-np.inf if low is None else low, np.inf if high is None else high]
             for low, high in (bounds if isinstance(bounds[0], Sequence) else [bounds])],
            np.float64,
        )  # fmt: skip
        ends = pairs[0] if len(pairs) == 1 else pairs.T
        if np.any(self.scale == 0):
            return False
        first, second = ((end - self.offset) / self.scale for end in ends)
        low = np.maximum(self.low, np.minimum(first, second))
        high = np.minimum(self.high, np.maximum(first, second))
        if np.any(low > high):  # disjoint bounds give a constant
            return False
        self.low, self.high = low, high
        return True


def with_modifiers(term: Term | str, given: Mapping[str, Any]) -> Term | str:
    """Add a descriptor's modifiers, clip and scale to a term; a TODO if the spec cannot say them.

    Args:
        term: a term of the spec, or a TODO.
        given: the term's descriptor.
    """
    overloads = given.get("overloads") or {}
    clip, scale = overloads.get("clip"), overloads.get("scale")
    said = [("modifiers", modifiers_of(given)), ("clip", clip), ("scale", scale)]
    text = ", ".join(f"{key} {value}" for key, value in said if value not in (None, []))
    if isinstance(term, str):
        return f"{term}; the source says {text}" if text else term
    function = Affine()
    for modifier in modifiers_of(given):
        try:
            known = _append(function, modifier)
        except (TypeError, ValueError, IndexError):  # a value that is no number
            known = False
        if not known:
            return todo(
                f"how the policy's own code computes '{given['name']}': the spec has no rule for "
                f"the modifier {_name(modifier) or modifier}; the source says {text}"
            )
    if open_range(clip) is not None and not function.limit(clip):
        return todo(f"a constant: the bounds exclude each other; the source says {text}")
    if scale is not None:
        function.multiply(scale)
    result = dict(term)
    limits = _limits(function)
    if limits is not None:
        result["clip"] = limits
    for key, value, nothing in (("scale", function.scale, 1.0), ("offset", function.offset, 0.0)):
        number = short(np.atleast_1d(value).tolist())
        if number != nothing:
            result[key] = number
    return result


def _limits(function: Affine) -> Any:
    low, high = np.broadcast_arrays(function.low, function.high)
    pairs = [[float(a), float(b)] for a, b in zip(low.ravel(), high.ravel(), strict=True)]
    return open_range(pairs)


def _name(modifier: Any) -> str:
    if not isinstance(modifier, Mapping):
        return str(modifier)
    name = modifier.get("func") or modifier.get("name") or modifier.get("class_type") or ""
    return str(name).replace(":", ".").rsplit(".", 1)[-1]


def _append(function: Affine, modifier: Any) -> bool:
    if not isinstance(modifier, Mapping):
        return False
    params = modifier.get("params")
    known = {"func", "name", "params", "class_type"}
    if not isinstance(params, Mapping) or set(modifier) - known:
        return False
    name = _name(modifier)
    if name == "scale" and set(params) == {"multiplier"}:
        function.multiply(params["multiplier"])
    elif name == "bias" and set(params) == {"value"}:
        function.add(params["value"])
    elif name == "clip" and set(params) == {"bounds"}:
        return function.limit(params["bounds"])
    else:
        return False
    return True
