"""Reads a replay's .npz with observations (frames) or tensors; `signals.py` reads signals.

Observations: `frame/TENSOR` [N, elements], or `frame` for a policy with one such tensor. They are
the values of the terms in their order, before history, clip and normalization.
Tensors: `in__NAME`, `tensor/NAME` or NAME itself, [N, ...] or one sample in the model's own
shape. They are the inputs of the model. Recurrent state may be left out; then the replay carries
it from sample to sample.
Of several models, NAME is as `encoder/obs`. Tensors that consist of outputs of other models are
computed, and so are such elements of a frame. A switch needs its value in every sample, [N].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from policy_runner.backends.several import part_name
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.pipeline.bind_policy import model_part
from policy_runner.core.spec.parts import ModelFile, is_linked, model_files
from policy_runner.robot.load import LoadedPolicy

Arrays = Mapping[str, np.ndarray]
_NUMBERS = "biuf"  # kinds of numpy's types
SWITCH = "switch/value"  # per sample, the number that selects the policy of a switch


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
        if "pickle" in text:  # numpy says so for every file that is no archive, and advises it
            text = "something else, or pickled objects"
        raise refuse(str(path), "", "an .npz of plain arrays", text) from error


def frames_of(arrays: Arrays, loaded: LoadedPolicy, file: str) -> dict[str, np.ndarray]:
    """Return tensor name -> frames [N, elements]; {} if the file has no frames.

    Raises:
        Refusal: frames have the wrong size, or some tensors have no frames.
    """
    builders = {builder.name: builder for builder, _ in loaded.pipeline.policy.every_tensor}
    linked = _tensors(loaded, linked=True)
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
        if name not in found and name not in linked
    ]
    for name, array in found.items():
        size = builders[name].frame.size
        fits = array.ndim >= 2 and len(array) > 0 and array[0].size == size
        if not fits or array.dtype.kind not in _NUMBERS:
            expected = f"numbers [N, {size}] ({', '.join(builders[name].elements[:3])}, ...)"
            got = f"{array.dtype.name} of shape {array.shape}"
            problems.append(Problem(file, f"frame/{name}", expected, got))
    _with_selection(found, arrays, loaded, file, problems)
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
            fits = array.ndim >= 1 and len(array) > 0 and array[0].size == tensor.size
            if not fits or array.dtype.kind not in _NUMBERS:
                expected = f"numbers [N, ...] of {tensor.shape}"
                got = f"{array.dtype.name} of shape {array.shape}"
                problems.append(Problem(file, key, expected, got))
            found[name] = array
            break
    missing = sorted(_tensors(loaded, linked=False) - set(found))
    if found and missing:
        problems.append(Problem(file, "", f"the tensors {', '.join(missing)}, too", "none"))
    if found:
        _with_selection(found, arrays, loaded, file, problems)
    _same_length(found, file, problems)
    return found


def observed_tensors(loaded: LoadedPolicy) -> dict[str, str]:
    """Input of the model, or of one of several -> the model's name in `core.spec.parts`.

    Without recurrent states. The tensors of the top level's `model` are first.
    """
    found = {}
    for part in _parts(loaded):
        inputs = list(model_part(loaded.model, part.name).inputs)
        for one in part.spec.observation:
            name = inputs[one.tensor] if isinstance(one.tensor, int) else one.tensor
            found[part_name(part.name, name)] = part.name
    return found


def output_tensors(loaded: LoadedPolicy) -> dict[str, str]:
    """Output of the model, or of one of several -> the model's name in `core.spec.parts`."""
    return {
        part_name(part.name, name): part.name
        for part in _parts(loaded)
        for name in model_part(loaded.model, part.name).outputs
    }


def _parts(loaded: LoadedPolicy) -> list[ModelFile]:
    return sorted(model_files(loaded.spec_file.spec), key=lambda part: part.name != "")


def _tensors(loaded: LoadedPolicy, linked: bool) -> set[str]:
    """The inputs that are neither state nor constant; those that models compute, or the others."""
    found = set()
    for part in _parts(loaded):
        inputs = list(model_part(loaded.model, part.name).inputs)
        for one in part.spec.observation:
            name = inputs[one.tensor] if isinstance(one.tensor, int) else one.tensor
            if one.constant is None and is_linked(one) == linked:
                found.add(part_name(part.name, name))
    return found


def _with_selection(
    found: dict[str, np.ndarray],
    arrays: Arrays,
    loaded: LoadedPolicy,
    file: str,
    problems: list[Problem],
) -> None:
    """Add the numbers that select the policy of a switch; refuse what the models compute."""
    if loaded.spec_file.spec.switch is not None:
        given = arrays.get(SWITCH)
        if given is None:
            expected = "the value of the switch in every sample, [N]"
            problems.append(Problem(file, SWITCH, expected, "none"))
        else:
            found[SWITCH] = given.reshape(-1)
    for name in sorted(_tensors(loaded, linked=True) & found.keys()):
        expected = "no such array, since another model computes it"
        problems.append(Problem(file, name, expected, "one", "leave it out"))


def _same_length(found: Arrays, file: str, problems: list[Problem]) -> None:
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} {count}" for name, count in lengths.items())
        problems.append(Problem(file, "", "as many samples of every tensor", got))
    if problems:
        raise Refusal(problems)
