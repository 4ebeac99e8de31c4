"""Detects the format of a file or folder, and finds the function that drafts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.model import ModelFacts
from policy_runner.formats.deployment.leapp import draft_leapp, is_leapp
from policy_runner.formats.deployment.legged_ros2 import draft_legged_ros2, is_legged_ros2
from policy_runner.formats.deployment.limx import draft_limx, is_limx
from policy_runner.formats.deployment.limx_tron2 import draft_tron2, is_tron2
from policy_runner.formats.deployment.python_deploy import (
    draft_berkeley,
    draft_legged_gym,
    is_berkeley,
    is_legged_gym,
)
from policy_runner.formats.deployment.rl_sar import draft_rl_sar, is_rl_sar
from policy_runner.formats.deployment.sim2real import draft_sim2real, is_sim2real
from policy_runner.formats.deployment.unitree_deploy import draft_deploy_yaml, is_deploy_yaml
from policy_runner.formats.draft import Draft
from policy_runner.formats.holosoma_exploy import (
    draft_exploy,
    draft_holosoma,
    is_exploy,
    is_holosoma,
)
from policy_runner.formats.isaac_lab import draft_io_descriptors, is_io_descriptors
from policy_runner.formats.lerobot.policy_config import read_json
from policy_runner.formats.lerobot.processors import PRE, draft_processors, draft_stats, is_stats
from policy_runner.formats.mjlab import draft_mjlab, is_mjlab
from policy_runner.formats.own.exported import draft_exported, is_exported
from policy_runner.formats.plain_onnx import draft_plain
from policy_runner.formats.trainer_yaml import read_yaml

FORMATS = (
    "Isaac Lab IO_descriptors.yaml, unitree deploy.yaml, rl_sar config.yaml, ros2_control "
    "parameters of legged_ros2, YAML of Berkeley Humanoid Lite, sim2real, LimX, legged_gym or "
    "LEAPP, LeRobot policy_preprocessor.json or stats.json, or an .onnx model with or without "
    "metadata"
)
Read = Callable[[ModelFacts], Draft]


def model_in(folder: Path) -> Path:
    """Find the only ONNX model of a folder, or of `exported` in it or next to it.

    Raises:
        Refusal: there is no model, or there are several.
    """
    for place in (folder, folder / "exported", folder.parent / "exported"):
        models = sorted(place.glob("*.onnx")) if place.is_dir() else []
        if len(models) == 1:
            return models[0]
        if models:
            names = ", ".join(path.name for path in models)
            raise refuse(str(place), "", "one .onnx model", names, "name one with --model")
    raise refuse(str(folder), "", "an .onnx model", "none", "name one with --model")


def find_reader(source: Path) -> tuple[Read, Path | None]:
    """Find the format of a source.

    Args:
        source: a file or folder.

    Returns:
        (function that drafts the source from a model's facts, the model's file or None). The
        model's file is known only if the source is the model.

    Raises:
        Refusal: no such file, or its format is not known.
    """
    if source.is_dir():
        return _of_folder(source), None
    if not source.is_file():
        raise refuse(str(source), "", "a file or folder", "no such file")
    if source.suffix == ".onnx":
        return draft_model, source
    if source.suffix in (".yaml", ".yml"):
        read = _of_yaml(source)
    elif source.name in (PRE, "policy_postprocessor.json"):
        return lambda model: draft_processors(source.parent, model), None
    elif source.suffix == ".json" and is_stats(read_json(source)):
        return lambda model: draft_stats(source, model), None
    else:
        read = None
    if read is None:
        raise refuse(str(source), "", FORMATS, "something else")
    return read, None


def draft_model(model: ModelFacts) -> Draft:
    """Draft a model from its own metadata."""
    if is_exported(model.metadata):
        return draft_exported(model)
    if is_mjlab(model.metadata):
        return draft_mjlab(model)
    if is_exploy(model):
        return draft_exploy(model)
    if is_holosoma(model.metadata):
        return draft_holosoma(model)
    draft = draft_plain(model)
    if model.metadata:
        draft.notes.append(f"metadata that is not known here: {', '.join(sorted(model.metadata))}")
    return draft


def neighbours(source: Path, model: ModelFacts) -> tuple[list[Draft], list[str]]:
    """Draft the other sources of the same policy, to compare them with the first.

    If SOURCE is the model, these are the YAML files next to it. Otherwise it is the model's own
    metadata.

    Returns:
        (drafts, one sentence for each neighbour that could not be compared).
    """
    if source.suffix != ".onnx":
        known = is_mjlab(model.metadata) or is_holosoma(model.metadata) or is_exploy(model)
        found: list[Read] = [draft_model] if known else []
    else:
        folder = model.path.parent
        run = [folder.parent] if folder.name == "exported" else []
        found = [read for one in (folder, *run) for _, read in _yaml_readers(one)]
    drafts, failed = [], []
    for read in found:
        try:
            drafts.append(read(model))
        except Refusal as refusal:
            failed.append(f"not compared: {refusal}")
    return drafts, failed


def unread(model: Path) -> list[str]:
    """Return one sentence for each YAML file next to the model whose format is not known here."""
    found = []
    for path in sorted(model.parent.glob("*.y*ml")):
        try:
            known = _of_yaml(path) is not None
        except Refusal:  # a file that is no plain YAML
            known = False
        if not known and path.name != "policy.yaml":
            found.append(
                f"{path.name} is in no format that is known here: what it says is not in this file"
            )
    return found


Recognized = tuple[Callable[[Mapping[str, Any]], bool], Callable[[Path, ModelFacts], Draft]]
YAML_FORMATS: tuple[Recognized, ...] = (
    (is_io_descriptors, draft_io_descriptors),
    (is_deploy_yaml, draft_deploy_yaml),
    (is_rl_sar, draft_rl_sar),
    (is_legged_ros2, draft_legged_ros2),
    (is_berkeley, draft_berkeley),
    (is_sim2real, draft_sim2real),
    (is_tron2, draft_tron2),
    (is_limx, draft_limx),
    (is_leapp, draft_leapp),
    (is_legged_gym, draft_legged_gym),
)


def _of_yaml(path: Path) -> Read | None:
    content = read_yaml(path)
    for recognized, draft in YAML_FORMATS:
        if recognized(content):
            return partial(draft, path)
    return None


def _of_folder(folder: Path) -> Read:
    readers = _yaml_readers(folder)
    if (folder / PRE).is_file():
        readers.append((folder / PRE, lambda model: draft_processors(folder, model)))
    if len(readers) > 1:
        names = ", ".join(path.name for path, _ in readers)
        raise refuse(str(folder), "", "files of one format", names, "name one of them as SOURCE")
    if readers:
        return readers[0][1]
    stats = folder / "stats.json"
    if stats.is_file() and is_stats(read_json(stats)):
        return lambda model: draft_stats(stats, model)
    return draft_model


def _yaml_readers(folder: Path) -> list[tuple[Path, Read]]:
    places = [folder, folder / "params", folder / "io_descriptors"]
    files = [path for place in places if place.is_dir() for path in sorted(place.glob("*.y*ml"))]
    readers: list[tuple[Path, Read]] = []
    for path in files:
        try:
            read = _of_yaml(path)
        except Refusal:  # a YAML file of another kind
            continue
        if read is not None:
            readers.append((path, read))
    return readers
