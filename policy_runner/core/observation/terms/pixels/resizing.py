"""Resize pixels by the rules of the library that the trainer used.

The libraries differ by up to the full range of a pixel: Pillow and torch with antialias average
over all pixels that an output pixel covers; OpenCV (except INTER_AREA) and torch without antialias
read the nearest pixels only. Pillow and OpenCV run themselves; torch's rules are in numpy.

torch, without antialias: x = (i + 0.5) in / out - 0.5, at least 0; between floor(x) and the next
pixel. With antialias: scale = in / out, s = max(scale, 1), c = scale (i + 0.5); the pixels j from
floor(c - s + 0.5) to floor(c + s + 0.5) with the weights max(0, 1 - |j - c + 0.5| / s), divided by
their sum. With aligned corners: x = i (in - 1) / (out - 1). Nearest: floor(i in / out). Source:
aten/src/ATen/native (UpSample.h, cpu/UpSampleKernel.cpp) of PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse

Pixels = npt.NDArray[Any]
Taps = tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]  # [out, taps]: pixels, weights
PILLOW = {"nearest": "NEAREST", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "area": "BOX"}
CV2 = {
    "cv2_nearest": "INTER_NEAREST",
    "cv2_linear": "INTER_LINEAR",
    "cv2_cubic": "INTER_CUBIC",
    "cv2_area": "INTER_AREA",
    "cv2_lanczos4": "INTER_LANCZOS4",
}
Resize = Callable[[Pixels], Pixels]


def pillow() -> Any:
    """The module PIL.Image.

    Raises:
        ImportError: Pillow is not installed.
    """
    from PIL import Image

    return Image


def resizer(how: str, height: int, width: int, file: str, key: str) -> Resize:
    """Make a function that resizes pixels [rows, columns, channels], each channel separately.

    Args:
        how: a value of the spec's `resize`, except refuse.
        height: rows of the result.
        width: columns of the result.
        file: the spec file, for error messages.
        key: the key of `resize` in the spec, for error messages.

    Raises:
        Refusal: the library is not installed.
    """
    if how in CV2:
        try:
            import cv2
        except ImportError as error:
            remedy = "pip install policy_runner[opencv], or python3-opencv"
            raise refuse(file, key, f"OpenCV for {how}", "none installed", remedy) from error
        flag = getattr(cv2, CV2[how])

        def by_cv2(pixels: Pixels) -> Pixels:
            source = np.ascontiguousarray(pixels)
            turned = np.asarray(cv2.resize(source, (width, height), interpolation=flag))
            return turned.reshape(height, width, pixels.shape[2])

        return by_cv2
    if how in PILLOW:
        return lambda pixels: _by_pillow(pixels, height, width, how)
    return lambda pixels: by_torch(pixels, height, width, how)


def _by_pillow(pixels: Pixels, height: int, width: int, how: str) -> Pixels:
    module = pillow()
    filter_ = getattr(module.Resampling, PILLOW[how])
    if pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        turned = module.fromarray(np.ascontiguousarray(pixels)).resize((width, height), filter_)
        return np.asarray(turned)
    single = pixels[:, :, 0]
    plain = single if single.dtype == np.uint8 else single.astype(np.float32)
    turned = module.fromarray(np.ascontiguousarray(plain)).resize((width, height), filter_)
    return np.asarray(turned)[:, :, None]


def by_torch(pixels: Pixels, height: int, width: int, how: str) -> Pixels:
    """Resize as torch.nn.functional.interpolate does on floats, float32 [height, width, channels].

    Args:
        pixels: [rows, columns, channels].
        height: rows of the result.
        width: columns of the result.
        how: torch_nearest, torch_bilinear, torch_bilinear_antialias, torch_bilinear_aligned.
    """
    rows = _taps(how, pixels.shape[0], height)
    columns = _taps(how, pixels.shape[1], width)
    # Reduce the columns first, as torch does: fewer numbers stay.
    return _reduced(_reduced(pixels, columns, 1), rows, 0)


def _reduced(pixels: Pixels, taps: Taps, axis: int) -> npt.NDArray[np.float32]:
    indices, weights = taps
    shape = [1, 1, 1]
    shape[axis] = len(indices)
    found: npt.NDArray[np.float32] | None = None
    for k in range(indices.shape[1]):
        part = pixels.take(indices[:, k], axis=axis) * weights[:, k].reshape(shape)
        found = part if found is None else np.add(found, part, out=found)
    assert found is not None
    return found.astype(np.float32, copy=False)


@lru_cache(maxsize=16)
def _taps(how: str, size: int, wanted: int) -> Taps:
    """The pixels of one axis that each output pixel reads, and their weights."""
    cells: list[list[tuple[int, float]]] = []
    # torch computes coordinates in floats; in doubles an output pixel may read another pixel.
    one, half = np.float32(1.0), np.float32(0.5)
    scale = np.float32(size) / np.float32(wanted)
    between = np.float32(size - 1) / np.float32(max(wanted - 1, 1))
    for i in range(wanted):
        if how == "torch_nearest":
            cells.append([(min(int(np.float32(i) * scale), size - 1), 1.0)])
        elif how == "torch_bilinear_antialias":
            cells.append(_triangle(size / wanted, i, size))
        else:
            if how == "torch_bilinear_aligned":
                x = np.float32(i) * between
            else:
                x = max(scale * (np.float32(i) + half) - half, np.float32(0.0))
            first = min(int(x), size - 1)
            share = float(min(x - np.float32(first), one))
            cells.append([(first, 1.0 - share), (min(first + 1, size - 1), share)])
    most = max(len(cell) for cell in cells)
    # Missing taps repeat the first pixel with the weight 0.
    full = [cell + [(cell[0][0], 0.0)] * (most - len(cell)) for cell in cells]
    indices = np.array([[j for j, _ in cell] for cell in full], dtype=np.intp)
    return indices, np.array([[w for _, w in cell] for cell in full], dtype=np.float32)


def _triangle(scale: float, i: int, size: int) -> list[tuple[int, float]]:
    support = max(scale, 1.0)
    center = scale * (i + 0.5)
    first = max(math.floor(center - support + 0.5), 0)
    last = min(math.floor(center + support + 0.5), size)
    weights = [max(0.0, 1.0 - abs(j - center + 0.5) / support) for j in range(first, last)]
    total = sum(weights)
    return [(first + k, weight / total) for k, weight in enumerate(weights)]
