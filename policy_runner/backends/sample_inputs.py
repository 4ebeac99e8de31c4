"""Inputs for a model without a robot: generated plausible numbers, or recorded ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_runner.backends.onnx_file.embedded_normalizer import embedded_statistics
from policy_runner.core.errors import refuse
from policy_runner.core.pipeline.bind_tensors import tensor_name
from policy_runner.core.spec import SpecFile
from policy_runner.core.spec.terms import ImageTerm

Sample = dict[str, npt.NDArray[np.generic]]
Tensors = Mapping[str, npt.NDArray[np.generic]]
FURTHEST = 3.0  # standard deviations
_KEPT = 0.9  # share of the previous sample: a robot's successive observations are similar
_SEED = 20


def generated(tensors: Tensors, spec_file: SpecFile, model: Path, count: int) -> list[Sample]:
    """Generate `count` samples in order of time, the same in every process.

    A policy's inputs are mostly normalized, so values are N(0, 1), limited to 3 standard
    deviations, and each sample is near the previous one. If the model normalizes its input
    (`normalization: in_model`), values are scaled with the mean and standard deviation in the
    model. An image has random colors from 0 to 255, then the term's scale, mean and std. Integers
    and booleans are 0.

    Args:
        tensors: arrays with the shapes and types, by tensor name.
        spec_file: the policy's spec.
        model: the ONNX file.
        count: number of samples.
    """
    random = np.random.default_rng(_SEED)
    spread: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}
    images: dict[str, ImageTerm] = {}
    inside = embedded_statistics(model)
    for tensor in spec_file.spec.observation:
        name = str(tensor_name(tensor.tensor, tensors) or tensor.tensor)
        if tensor.normalization == "in_model" and name in inside:
            mean, std = inside[name]
            if tensors[name].size % mean.size == 0:
                times = tensors[name].size // mean.size
                spread[name] = (np.tile(mean, times), np.tile(std, times))
        if isinstance(tensor.whole, ImageTerm) and tensor.normalization in ("none", "in_model"):
            images[name] = tensor.whole
    samples: list[Sample] = []
    walk = {name: random.standard_normal(array.size) for name, array in tensors.items()}
    for _ in range(count):
        sample: Sample = {}
        for name, array in tensors.items():
            fresh = random.standard_normal(array.size)
            walk[name] = _KEPT * walk[name] + np.sqrt(1.0 - _KEPT**2) * fresh
            values = np.clip(walk[name], -FURTHEST, FURTHEST)
            if name in images:
                values = _pixels(images[name], array.shape, random)
            elif name in spread:
                mean, std = spread[name]
                values = mean + std * values
            if array.dtype.kind != "f":
                values = np.zeros(array.size)
            sample[name] = values.reshape(array.shape).astype(array.dtype)
        samples.append(sample)
    return samples


def _pixels(
    term: ImageTerm, shape: tuple[int, ...], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    height, width = term.size
    channels = int(np.prod(shape)) // (height * width)
    colors = random.integers(0, 256, (height, width, channels)).astype(np.float64)
    values = (colors * np.asarray(term.scale) - np.asarray(term.mean)) / np.asarray(term.std)
    return (values.transpose(2, 0, 1) if term.layout == "chw" else values).reshape(-1)


def recorded(path: Path, tensors: Tensors, count: int) -> list[Sample]:
    """Read the first samples of an .npz file.

    Keys: `observation/NAME`, as `policy-runner replay ... -o FILE.npz` writes it from a
    recording, or `in__NAME`, `tensor/NAME`, NAME. Rows that are not finite are ticks without an
    inference; they are left out.

    Args:
        path: the .npz file.
        tensors: arrays with the shapes and types, by tensor name.
        count: the largest number of samples.

    Raises:
        Refusal: no such file, a tensor without samples, or samples of another size.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile, zlib and numpy raise their own types
        text = " ".join(str(error).split())
        raise refuse(str(path), "", "an .npz of recorded observations", text) from error
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        known = (f"observation/{name}", f"in__{name}", f"tensor/{name}", name)
        keys = [key for key in known if key in arrays]
        if not keys:
            got = ", ".join(sorted(arrays)) or "nothing"
            raise refuse(str(path), f"observation/{name}", f"samples of the tensor '{name}'", got)
        array = arrays[keys[0]]
        if array.ndim == 0 or array.size == 0 or array[0].size != tensor.size:
            expected = f"[N, {tensor.size}]"
            raise refuse(str(path), keys[0], expected, f"{list(array.shape)}")
        found[name] = array
    rows = range(min(len(array) for array in found.values()))
    whole = [k for k in rows if all(_finite(array[k]) for array in found.values())][:count]
    if not whole:
        raise refuse(str(path), "", "samples that are finite numbers", "none")
    return [
        {name: array[k].reshape(tensors[name].shape).astype(tensors[name].dtype)
         for name, array in found.items()}
        for k in whole
    ]  # fmt: skip


def _finite(values: npt.NDArray[np.generic]) -> bool:
    return values.dtype.kind != "f" or bool(np.all(np.isfinite(values)))
