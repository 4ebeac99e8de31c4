"""The image term: pixels of the newest image, as the policy was trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, overload

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.observation.terms.image import (
    MOST_PIXELS,
    Pixels,
    decode_compressed,
    decode_image,
    most_bytes,
    pillow,
    recolor,
    resized,
)
from policy_runner.core.observation.terms.sources import Array, CompiledTerm, Sources, absolute
from policy_runner.core.spec.policy import ImageTerm

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class PixelNames(Sequence[str]):
    """Names of an image's numbers, made when asked for: there may be a million."""

    def __init__(self, channels: str, height: int, width: int, layout: str) -> None:
        self._channels, self._height, self._width, self._layout = channels, height, width, layout

    def __len__(self) -> int:
        return len(self._channels) * self._height * self._width

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        count, width = len(self._channels), self._width
        if self._layout == "chw":
            channel, rest = divmod(index, self._height * width)
        else:
            rest, channel = divmod(index, count)
        row, column = divmod(rest, width)
        return f"{self._channels[channel]}[{row},{column}]"


def image(term: ImageTerm, sources: Sources, key: str) -> CompiledTerm:
    """Crop -> colours -> resize -> (x * scale - mean) / std.

    Raises:
        Refusal: an input that is no image, numbers per channel that do not fit, or no Pillow
            where it is needed.
    """
    slot, file = sources.slot(term.input, key), sources.file
    if slot.spec.type not in (IMAGE, COMPRESSED):
        expected = f"an input of type {IMAGE} or CompressedImage"
        raise refuse(file, f"{key}.input", expected, slot.spec.type)
    compressed = slot.spec.type == COMPRESSED
    if compressed or term.resize != "refuse":
        try:
            pillow()
        except ImportError as error:
            remedy = "pip install policy_runner[images], or python3-pil"
            raise refuse(file, key, "Pillow for images", "none installed", remedy) from error
    names = {"rgb": "rgb", "bgr": "bgr", "gray": "y", "depth": "d"}[term.color]
    per_channel = {}
    for part in ("scale", "mean", "std"):
        given = getattr(term, part)
        values = given if isinstance(given, list) else [given] * len(names)
        if len(values) != len(names):
            expected = f"one number, or {len(names)}, one per channel"
            raise refuse(file, f"{key}.{part}", expected, f"{len(values)}")
        per_channel[part] = np.array(values, dtype=np.float64)
    factor = per_channel["scale"] / per_channel["std"]
    shift = per_channel["mean"] / per_channel["std"]
    height, width = term.size
    taker = slot.whole_message()
    decode: Callable[[Any], Pixels | str]
    # Where every message has the policy's own size, a larger one is not even decoded.
    fixed = term.resize == "refuse" and term.crop is None
    if compressed:
        decode = partial(decode_compressed, most_pixels=height * width if fixed else MOST_PIXELS)
    else:
        decode = decode_image
        slot.expect_at_most(most_bytes(height, width) if fixed else 0)

    def prepare() -> Pixels | str:
        pixels = decode(taker.message)
        if isinstance(pixels, str):
            return pixels
        if term.crop is not None:
            top, left, rows, columns = term.crop
            if top + rows > pixels.shape[0] or left + columns > pixels.shape[1]:
                return f"{pixels.shape[0]} x {pixels.shape[1]} pixels, too few for the crop"
            pixels = pixels[top : top + rows, left : left + columns]
        colored = recolor(pixels, term.color)
        if isinstance(colored, str):
            return colored
        if colored.shape[:2] != (height, width):
            if term.resize == "refuse":
                found = f"{colored.shape[0]} x {colored.shape[1]}"
                return f"{found} pixels instead of {height} x {width}, and resize is refuse"
            colored = resized(colored, height, width, term.resize)
        return colored

    def bind(out: Array) -> Read:
        seen = -1
        shape = (len(names), height, width) if term.layout == "chw" else (height, width, len(names))
        into = out.reshape(shape)
        if term.layout == "chw":
            into = into.transpose(1, 2, 0)

        def read() -> str:
            nonlocal seen
            # The frame keeps the numbers, but `frame_arithmetic` may not touch an image's.
            if taker.count == seen:
                return ""
            if taker.message is None:
                out.fill(np.nan)
                return ""
            pixels = prepare()
            if isinstance(pixels, str):
                return pixels
            np.multiply(pixels, factor, out=into)
            np.subtract(into, shift, out=into)
            seen = taker.count
            return ""

        return read

    elements = PixelNames(names, height, width, term.layout)
    return absolute(term.name or "image", elements, bind)
