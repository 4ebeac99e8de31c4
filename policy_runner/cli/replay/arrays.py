"""Reads a replay's .npz with observations (frames) or tensors; `signals.py` reads signals.

Observations: `frame/TENSOR` [N, elements], or `frame` for a policy with one such tensor. They are
the values of the terms in their order, before history, clip and normalization.
Tensors: `in__NAME`, `tensor/NAME` or NAME itself, [N, ...] or one sample in the model's own
shape. They are the inputs of the model. Recurrent state may be left out; then the replay carries
it from sample to sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.robot.load import LoadedPolicy

Arrays = Mapping[str, np.ndarray]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return every array of an .npz.

    Raises:
        Refusal: the file does not exist, is not an .npz, or contains pickled objects.
    """
    if not path.is_file():
        raise refuse(str(path), "", "a rosbag2 recording or an .npz", "no such file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile, zlib and numpy raise exceptions of many types
        text = " ".join(str(error).split())
        raise refuse(str(path), "", "an .npz of plain arrays", text) from error


def frames_of(arrays: Arrays, loaded: LoadedPolicy, file: str) -> dict[str, np.ndarray]:
    """Return tensor name -> frames [N, elements]; {} if the file has no frames.

    Raises:
        Refusal: frames have the wrong size, or some tensors have no frames.
    """
    builders = {builder.name: builder for builder, _ in loaded.pipeline.policy.tensors}
    found = {}
    for name in builders:
        array = arrays.get(f"frame/{name}", arrays.get("frame") if len(builders) == 1 else None)
        if array is not None:
            found[str(name)] = array
    if not found:
        return {}
    problems = [
        Problem(file, f"frame/{name}", f"frames of '{name}', too", "none")
        for name in builders
        if name not in found
    ]
    for name, array in found.items():
        size = builders[name].frame.size
        if array.ndim < 2 or array[0].size != size:
            expected = f"[N, {size}] ({', '.join(builders[name].elements[:3])}, ...)"
            problems.append(Problem(file, f"frame/{name}", expected, f"shape {array.shape}"))
    _same_length(found, file, problems)
    return found


def tensors_of(arrays: Arrays, loaded: LoadedPolicy, file: str) -> dict[str, np.ndarray]:
    """Return input name of the model -> values [N, ...]; {} if the file has no tensors.

    Raises:
        Refusal: values do not have the model's shape.
    """
    found = {}
    problems: list[Problem] = []
    for name, tensor in loaded.model.inputs.items():
        for key in (f"in__{name}", f"tensor/{name}", name):
            if key not in arrays:
                continue
            array = arrays[key]
            if array.shape == tensor.shape:
                array = array[np.newaxis]
            if array.ndim < 1 or not len(array) or array[0].size != tensor.size:
                expected = f"[N, ...] of {tensor.shape}"
                problems.append(Problem(file, key, expected, f"shape {array.shape}"))
            found[name] = array
            break
    if found and not set(found) >= _needed(loaded):
        missing = sorted(_needed(loaded) - set(found))
        problems.append(Problem(file, "", f"the tensors {', '.join(missing)}, too", "none"))
    _same_length(found, file, problems)
    return found


def _needed(loaded: LoadedPolicy) -> set[str]:
    """Return the model's inputs that are neither state nor constant."""
    names = list(loaded.model.inputs)
    observed = loaded.spec_file.spec.observation
    return {
        names[one.tensor] if isinstance(one.tensor, int) else one.tensor
        for one in observed
        if getattr(one, "constant", None) is None
    }


def _same_length(found: Arrays, file: str, problems: list[Problem]) -> None:
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} {count}" for name, count in lengths.items())
        problems.append(Problem(file, "", "as many samples of every tensor", got))
    if problems:
        raise Refusal(problems)
