"""Which kind of source a path or name is, and its trained policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.files.arrays import read_statistics
from policy_runner.export.sources.checkpoints import (
    checkpoint_statistics,
    layout_of,
    load_checkpoint,
    of_checkpoint,
)
from policy_runner.export.sources.module_source import (
    imported,
    is_import_path,
    is_torchscript,
    load_torchscript,
    of_module,
)
from policy_runner.export.sources.sb3 import of_archive, vec_normalize
from policy_runner.export.sources.sb3_archive import is_archive
from policy_runner.export.sources.trained_policy import (
    CONSTANT_SPREAD,
    Statistics,
    TensorShape,
    TrainedPolicy,
)
from policy_runner.formats.sb3_statistics import read_pickle

SOURCES = (
    "package.module:name (a torch.nn.Module, or a function that returns one), a TorchScript file, "
    "an archive of Stable-Baselines3 or sb3-contrib, or a checkpoint of rsl_rl, rl_games "
    "or skrl"
)
_MODULE, _CHECKPOINT, _ARCHIVE = (
    "a torch module or a TorchScript file", "a checkpoint", "an archive of Stable-Baselines3"
)  # fmt: skip
# Attribute of `SourceOptions`: its option of the command line, and the source that takes it.
_TAKEN_BY = {
    "inputs": ("--input", _MODULE),
    "outputs": ("--output", _MODULE),
    "states": ("--state", _MODULE),
    "normalized_inside": ("--normalized-inside", _MODULE),
    "activation": ("--activation", _CHECKPOINT),
    "keep_value": ("--keep-value", _ARCHIVE),
}
_SAME_SPREAD = 1e-3  # std may have an eps inside, as rsl_rl's
_WITH_FORMULA = (".pkl", ".pickle", ".pt", ".pth")
PRESETS = ("sb3", "rsl_rl", "rl_games", "skrl")


@dataclass(frozen=True)
class SourceOptions:
    """What a source does not say itself.

    Attributes:
        inputs, outputs, states: names for a module; see `module_source.of_module`.
        activation: of a checkpoint.
        normalizer: VecNormalize's pickle, a checkpoint, or statistics as .npz, .json or
            .safetensors.
        preset: formula of `normalizer`, where that is no pickle of VecNormalize.
        normalized_inside: inputs that the module normalizes itself.
        keep_value: keep the value head of an SB3 policy.
        trust_pickle: run pickles that hold code.
        folder: where modules are imported from; default: the working directory.
    """

    inputs: Sequence[TensorShape] = ()
    outputs: Sequence[str] = ()
    states: Sequence[str] = ()
    activation: str | None = None
    normalizer: Path | None = None
    preset: str | None = None
    normalized_inside: Sequence[str] = ()
    keep_value: bool = False
    trust_pickle: bool = False
    folder: Path | None = None


NO_OPTIONS = SourceOptions()


def open_source(source: Any, options: SourceOptions = NO_OPTIONS) -> TrainedPolicy:
    """The trained policy of a source.

    Args:
        source: one of `SOURCES`, a torch module, or a `TrainedPolicy`.

    Raises:
        Refusal: nothing that is known here, or a source that cannot be read.
    """
    if find_spec("torch") is None:
        remedy = "pip install 'policy_runner[export,cpu]' on the trainer's machine"
        raise refuse("", "export", "torch", "no torch", remedy)
    policy = source if isinstance(source, TrainedPolicy) else _open(source, options)
    problems: list[Problem | str] = []
    for name, given in policy.statistics.items():
        shape = next((one for one in policy.inputs if one.name == name), None)
        if shape is None:
            known = ", ".join(one.name for one in policy.inputs)
            problems.append(Problem(policy.kind, "statistics", f"of {known}", f"of '{name}'"))
            continue
        problems += _statistics_problems(policy.kind, shape, given)
        if name in policy.normalized_inside:
            expected = "one normalizer"
            got = "one in the module and statistics outside"
            problems.append(Problem(policy.kind, f"input '{name}'", expected, got))
    if problems:
        raise Refusal(problems)
    return policy


def _open(source: Any, options: SourceOptions) -> TrainedPolicy:
    if not isinstance(source, (str, Path)):
        return _of_module(type(source).__name__, source, options)
    text = str(source)
    path = Path(source).expanduser()
    if isinstance(source, str) and is_import_path(text) and not path.exists():
        found = imported(text, options.folder)
        if isinstance(found, TrainedPolicy):
            return found
        return _of_module(text, found, options)
    if not path.is_file():
        raise refuse(text, "", SOURCES, "no such file")
    if is_archive(path):
        _check_taken(text, options, _ARCHIVE)
        return of_archive(
            path, options.trust_pickle, _statistics(options, "obs"), options.keep_value
        )
    if is_torchscript(path):
        return _of_module(path.name, load_torchscript(path), options, script=True)
    content = load_checkpoint(path, options.trust_pickle)
    layout = layout_of(content)
    if layout is not None:
        _check_taken(text, options, _CHECKPOINT)
        policy = of_checkpoint(path, content, layout, options.activation)
        given = _statistics(options, "obs")
        if given and policy.statistics:
            expected, got = "one normalizer", "one in the checkpoint and --normalizer"
            raise refuse(text, "--normalizer", expected, got)
        policy.statistics = {**policy.statistics, **given}
        return policy
    if not isinstance(content, Mapping):
        return _of_module(path.name, content, options)
    got = f"weights alone ({', '.join(map(str, list(content)[:4]))})"
    remedy = "export the module that loads them by its import path"
    raise refuse(text, "", SOURCES, got, remedy)


def _check_taken(source: str, options: SourceOptions, kind: str) -> None:
    """Refuse options that this kind of source does not take.

    Raises:
        Refusal: one of them is given.
    """
    problems: list[Problem | str] = [
        Problem(source, option, f"{taker} with it", kind)
        for name, (option, taker) in _TAKEN_BY.items()
        if getattr(options, name) and taker != kind
    ]
    if problems:
        raise Refusal(problems)


def _of_module(
    source: str, module: Any, options: SourceOptions, script: bool = False
) -> TrainedPolicy:
    _check_taken(source, options, _MODULE)
    first = options.inputs[0].name if options.inputs else "obs"
    return of_module(
        source, module, options.inputs, options.outputs, options.states,
        _statistics(options, first), options.normalized_inside, script=script,
    )  # fmt: skip


def _statistics(options: SourceOptions, name: str) -> dict[str, Statistics]:
    """The statistics that `normalizer` names; of the input `name` where the file names none."""
    path = options.normalizer
    if options.preset is not None and (path is None or path.suffix in _WITH_FORMULA):
        got = "none" if path is None else f"{path.name}, which says its formula itself"
        expected = "a --normalizer of .npz, .json or .safetensors with it"
        raise refuse("", "--preset", expected, got)
    if path is None:
        return {}
    if path.suffix in (".pkl", ".pickle"):
        return vec_normalize(path, read_pickle(path), name)
    if path.suffix in (".pt", ".pth"):
        return {name: _of_checkpoint(path, options.trust_pickle)}
    if options.preset is None:
        remedy = "it is the formula that the numbers are used in"
        raise refuse(str(path), "--preset", f"one of {', '.join(PRESETS)}", "none", remedy)
    stored = read_statistics(path)
    found = {}
    for key in ("mean", "var", "std"):
        named = [one for one in (key, f"running_{key}") if one in stored]
        if named:
            found[key] = stored[named[0]]
    if "mean" not in found or len(found) < 2:
        got = ", ".join(stored) or "nothing"
        raise refuse(str(path), "", "mean, and var or std", got)
    count = stored["count"].item(0) if "count" in stored else None
    return {name: Statistics(options.preset, found, count=count)}


def _of_checkpoint(path: Path, trusted: bool) -> Statistics:
    content = load_checkpoint(path, trusted)
    layout = layout_of(content)
    found = None if layout is None else checkpoint_statistics(path, content, layout)
    if found is None:
        expected = "a checkpoint of rsl_rl, rl_games or skrl with a normalizer"
        raise refuse(str(path), "--normalizer", expected, "none")
    return found


def _statistics_problems(where: str, shape: TensorShape, given: Statistics) -> list[Problem | str]:
    """Statistics of another size, not finite, or never learnt."""
    key = f"statistics of '{shape.name}'"
    mean, spread = given.values["mean"], given.spread
    if mean.size != shape.size or spread.size != shape.size:
        expected = f"{shape.size} numbers, one per element"
        return [Problem(where, key, expected, f"{mean.size} and {spread.size}")]
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(spread))):
        return [Problem(where, key, "finite numbers", "others")]
    if "std" in given.values and "var" in given.values:
        apart = np.abs(np.sqrt(np.maximum(given.values["var"], 0.0)) - spread)
        if np.any(apart > _SAME_SPREAD * (1.0 + spread)):
            expected = "std and var that agree"
            return [Problem(where, key, expected, f"a difference of {np.max(apart):.3g}")]
    if bool((spread < CONSTANT_SPREAD).all()):
        got = f"a standard deviation of at most {np.max(spread):.3g} everywhere"
        remedy = "save the normalizer after training, not before"
        return [Problem(where, key, "numbers that were learnt", got, remedy)]
    unlearnt = not mean.any() and bool((spread == 1.0).all())
    if unlearnt or (given.count is not None and given.count < 2):
        got = "mean 0 and variance 1 everywhere" if unlearnt else f"a count of {given.count:g}"
        remedy = "save the normalizer after training, not before"
        return [Problem(where, key, "numbers that were learnt", got, remedy)]
    return []
