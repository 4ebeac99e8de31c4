"""Depth images in one unit, with rules for pixels without a measurement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.spec import ImageTerm

_FOUND: dict[str, Callable[[npt.NDArray[np.float32]], npt.NDArray[np.bool_]]] = {
    "nan": np.isnan,
    "inf": np.isposinf,
    "-inf": np.isneginf,
}
Pixels = npt.NDArray[np.generic]
# Units of a depth image, by the number's type: REP 118 has millimetres in whole numbers and metres
# in floats.
_METERS = {"u": 1e-3, "f": 1.0}
_UNITS = {"m": 1.0, "mm": 1e3}


class DepthRule:
    """Converts depth pixels to one unit, then replaces NaN, infinities and holes, then clips."""

    def __init__(self, term: ImageTerm, file: str, key: str) -> None:
        """Take the rules of a term.

        Args:
            term: the image term.
            file: the spec file, for error messages.
            key: the term's key in the spec, for error messages.

        Raises:
            Refusal: a rule for an image that is no depth image, or low above high.
        """
        for name in ("depth_unit", "nonfinite", "holes", "clip"):
            if term.color != "depth" and getattr(term, name) is not None:
                raise refuse(file, f"{key}.{name}", "this key only for color: depth", term.color)
        self._unit = _UNITS[term.depth_unit] if term.depth_unit is not None else None
        self._nonfinite = {str(which): value for which, value in (term.nonfinite or {}).items()}
        self._holes = term.holes
        low, high = term.clip or (None, None)
        self._low = -np.inf if low is None else low
        self._high = np.inf if high is None else high
        if not self._low <= self._high:
            raise refuse(file, f"{key}.clip", "low at most high", f"[{low}, {high}]")
        self._clips = term.clip is not None
        self.needed = any((self._unit, self._nonfinite, self._holes is not None, self._clips))

    def apply(self, pixels: Pixels) -> Pixels | str:
        """The pixels by the rules, float32 of the same shape; or a fault in words."""
        kind = pixels.dtype.kind
        if self._unit is not None and (kind not in _METERS or pixels.dtype.itemsize == 1):
            return f"{pixels.dtype} pixels where 16 bit millimetres or float metres are wanted"
        found = pixels.astype(np.float32)
        hole = found == 0.0 if self._holes is not None else None
        if self._unit is not None:
            found *= np.float32(_METERS[kind] * self._unit)
        for which, value in self._nonfinite.items():
            found[_FOUND[which](found)] = value
        if hole is not None:
            found[hole] = self._holes
        if self._clips:
            np.clip(found, self._low, self._high, out=found)
        return found
