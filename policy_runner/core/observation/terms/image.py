"""Compute pixels from an Image or CompressedImage message: decode, crop, colours, resize.

Arrays are [height, width, channels]. Compressed images and resizing by Pillow's rules need Pillow
(the extra `images`), resizing by OpenCV's rules OpenCV (the extra `opencv`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.pixels.depth import DepthRule
from policy_runner.core.observation.terms.pixels.resizing import PILLOW, pillow, resizer
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import ImageTerm

Pixels = npt.NDArray[Any]
# encoding: (type, channels in the message, indices of red, green, blue; None: one value per pixel)
ENCODINGS: dict[str, tuple[str, int, tuple[int, int, int] | None]] = {
    "rgb8": ("u1", 3, (0, 1, 2)),
    "bgr8": ("u1", 3, (2, 1, 0)),
    "rgba8": ("u1", 4, (0, 1, 2)),
    "bgra8": ("u1", 4, (2, 1, 0)),
    "mono8": ("u1", 1, None),
    "8UC1": ("u1", 1, None),
    "mono16": ("u2", 1, None),
    "16UC1": ("u2", 1, None),
    "32FC1": ("f4", 1, None),
}
# The formats of image_transport. Pillow knows many more, and runs other programs for some of them.
_FORMATS = ("JPEG", "PNG", "WEBP")
MOST_PIXELS = 4096 * 4096  # limit needed: a small file may state any image size


def decode_image(message: Any) -> Pixels | str:
    """The pixels of a sensor_msgs/Image, colours as red, green, blue; or a fault in words."""
    known = ENCODINGS.get(message.encoding)
    if known is None:
        return f"encoding '{message.encoding}', none of {', '.join(ENCODINGS)}"
    kind, channels, colors = known
    height, width, step = int(message.height), int(message.width), int(message.step)
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    row = width * channels * dtype.itemsize
    data = np.frombuffer(message.data, dtype=np.uint8)
    if step < row or data.size < step * height or not height or not width:
        return f"{data.size} bytes for {height} rows of {step}, {row} of them pixels"
    rows = data[: step * height].reshape(height, step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(dtype).reshape(height, width, channels)
    return pixels if colors is None else pixels[:, :, list(colors)]


def most_bytes(height: int, width: int) -> int:
    """Largest size [bytes] of a sensor_msgs/Image: 4 bytes per pixel, padded rows, its strings."""
    return height * (width * 4 + 256) + 4096


def decode_compressed(message: Any, most_pixels: int = MOST_PIXELS) -> Pixels | str:
    """The pixels of a sensor_msgs/CompressedImage, red, green, blue; or a fault in words.

    Only JPEG, PNG and WebP of at most `most_pixels`. The size is checked before decoding, from the
    file's header.
    """
    if "compressedDepth" in message.format:
        return "compressedDepth, which is no plain image file"
    try:
        with pillow().open(io.BytesIO(bytes(message.data)), formats=_FORMATS) as opened:
            if opened.width * opened.height > most_pixels:
                return f"{opened.height} x {opened.width} pixels, at most {most_pixels} are read"
            plain = opened.mode in ("L", "I", "I;16", "F")
            pixels = np.asarray(opened if plain else opened.convert("RGB"))
    except Exception as error:  # noqa: BLE001 -- Pillow raises what its decoders raise
        return f"an image that cannot be decoded ({type(error).__name__}: {error})"
    return pixels.reshape(*pixels.shape[:2], -1)


def recolor(pixels: Pixels, color: str) -> Pixels | str:
    """Convert red, green, blue or one value to the policy's channels; or a fault in words."""
    colored = pixels.shape[2] == 3
    if color == "depth":
        return pixels if not colored else "a colour image where depth is wanted"
    if pixels.dtype.itemsize != 1:
        return f"{8 * pixels.dtype.itemsize} bit pixels where colours are wanted"
    if color == "gray":
        if not colored:
            return pixels
        # ITU-R 601-2 luma in integers, rounded, as in Pillow's mode L.
        weights = np.array([19595, 38470, 7471], dtype=np.uint32)
        luma = (pixels.astype(np.uint32) @ weights + 0x8000) >> 16
        return luma.astype(np.uint8)[:, :, None]
    if not colored:
        return "a gray image where colours are wanted"
    return pixels if color == "rgb" else pixels[:, :, ::-1]


IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class PixelNames(Sequence[str]):
    """Names of an image's numbers, computed on access: there may be a million."""

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


@compiles(ImageTerm)
def image(term: ImageTerm, sources: Sources, key: str) -> CompiledTerm:
    """An image: crop -> colours -> depth's rules -> resize -> (x * scale - mean) / std.

    Raises:
        Refusal: the input is no image, the numbers per channel do not fit, or Pillow or OpenCV is
            needed but missing.
    """
    slot, file = sources.slot_of(term.input, key, IMAGE, COMPRESSED), sources.file
    compressed = slot.spec.type == COMPRESSED
    if compressed or term.resize in PILLOW:
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
    depth = DepthRule(term, file, key)
    resize = None
    if term.resize != "refuse":
        resize = resizer(term.resize, height, width, file, f"{key}.resize")
    keeper = slot.whole_message()
    decode: Callable[[Any], Pixels | str]
    # If every message must have the policy's own size, a larger one is not even decoded.
    fixed = term.resize == "refuse" and term.crop is None
    if compressed:
        decode = partial(decode_compressed, most_pixels=height * width if fixed else MOST_PIXELS)
    else:
        decode = decode_image
        slot.expect_at_most(most_bytes(height, width) if fixed else 0)

    def prepare() -> Pixels | str:
        pixels = decode(keeper.message)
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
        if depth.needed:
            colored = depth.apply(colored)
            if isinstance(colored, str):
                return colored
        if colored.shape[:2] != (height, width):
            if resize is None:
                found = f"{colored.shape[0]} x {colored.shape[1]}"
                return f"{found} pixels instead of {height} x {width}, and resize is refuse"
            colored = resize(colored)
        return colored

    def bind(out: Array) -> Read:
        seen = -1
        shape = (len(names), height, width) if term.layout == "chw" else (height, width, len(names))
        into = out.reshape(shape)
        if term.layout == "chw":
            into = into.transpose(1, 2, 0)

        def read() -> str:
            nonlocal seen
            # The frame still holds the numbers: `arithmetic` does not change those of an image.
            if keeper.count == seen:
                return ""
            if keeper.message is None:
                out.fill(np.nan)
                return ""
            pixels = prepare()
            if isinstance(pixels, str):
                return pixels
            np.multiply(pixels, factor, out=into)
            np.subtract(into, shift, out=into)
            seen = keeper.count
            return ""

        return read

    elements = PixelNames(names, height, width, term.layout)
    return absolute(term.name or "image", elements, bind)
