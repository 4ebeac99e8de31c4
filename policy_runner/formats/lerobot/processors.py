"""Drafts LeRobot policies: a folder with processors, or a data set's `stats.json`.

A folder has policy_preprocessor.json and policy_postprocessor.json, {name, steps: [{registry_name,
config, state_file}]}. The normalizer's config has features, norm_map and eps. Its state file
(safetensors) has `<feature>.<statistic>`. `stats.json` is {feature: {mean, std, ...}}. It does
not say which statistics the policy was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse
from policy_runner.core.files.arrays import read_statistics
from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.formats.draft import Draft, todo, well_formed
from policy_runner.formats.lerobot.policy_config import draft_chunk, read_json, relative_elements
from policy_runner.formats.plain_onnx import draft_plain

PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"
PRESETS = {
    "MEAN_STD": "lerobot_mean_std",
    "MIN_MAX": "lerobot_min_max",
    "QUANTILES": "lerobot_quantiles",
    "QUANTILE10": "lerobot_quantile10",
    "IDENTITY": "lerobot_identity",
}
STATISTICS = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}


def is_stats(content: object) -> bool:
    """Return whether a JSON file has the statistics of a data set."""
    return isinstance(content, Mapping) and any(
        isinstance(one, Mapping) and {"mean", "std"} & set(one) for one in content.values()
    )


def draft_stats(path: Path, model: ModelFacts) -> Draft:
    """Draft a model with a data set's `stats.json`.

    Raises:
        Refusal: the file does not follow its format.
    """
    stats = read_json(path)
    draft = draft_plain(model)
    draft.dialect, draft.sources = "LeRobot stats.json", [path]
    with well_formed(str(path), "", "statistics of LeRobot"):
        shapes = {name: _shape(one) for name, one in stats.items() if isinstance(one, Mapping)}
    modes = "lerobot_mean_std, lerobot_min_max, lerobot_quantiles, lerobot_quantile10"
    mode = todo(f"{modes}: which did the policy train with?")

    def normalization(feature: str) -> dict[str, Any]:
        return {"preset": mode, "statistics": path.name, "group": feature}

    with well_formed(str(path), "", "statistics of LeRobot"):
        _fill(draft, model, shapes, normalization, path.parent, stats)
    return draft


def draft_processors(folder: Path, model: ModelFacts) -> Draft:
    """Draft a model with the processors in its folder.

    Raises:
        Refusal: no normalizer, an unknown mode, or a file that does not follow its format.
    """
    draft = draft_plain(model)
    draft.dialect, draft.sources = "LeRobot processors", [folder / PRE, folder / POST]
    with well_formed(str(folder), "", "processors of LeRobot"):
        _fill_from_processors(draft, folder, model)
    return draft


def _fill_from_processors(draft: Draft, folder: Path, model: ModelFacts) -> None:
    known: dict[str, tuple[str, dict[str, str], str, Any]] = {}
    shapes: dict[str, list[int]] = {}
    for file, registry in ((PRE, "normalizer"), (POST, "unnormalizer")):
        path = folder / file
        steps = read_json(path).get("steps") or []
        for step in steps:
            if str(step.get("registry_name", "")).split("_processor")[0] != registry:
                continue
            config = step.get("config") or {}
            for name, feature in (config.get("features") or {}).items():
                mode = (config.get("norm_map") or {}).get(feature.get("type"), "IDENTITY")
                if mode not in PRESETS:
                    expected = f"one of {', '.join(PRESETS)}"
                    raise refuse(str(path), f"norm_map.{feature.get('type')}", expected, str(mode))
                if (name == "action") != (registry == "unnormalizer"):
                    continue
                shapes[name] = [int(d) for d in feature.get("shape") or []]
                keys = {one: f"{name}.{one}" for one in STATISTICS.get(mode, ())}
                known[name] = (mode, keys, str(step.get("state_file") or ""), config.get("eps"))
    if not known:
        raise refuse(str(folder / PRE), "steps", "a normalizer_processor", "none")

    def normalization(feature: str) -> dict[str, Any] | str:
        mode, keys, file, eps = known[feature]
        if mode == "IDENTITY":
            return "none"
        result: dict[str, Any] = {"preset": PRESETS[mode], "statistics": file, "keys": keys}
        if eps is not None and float(eps) != 1e-8:
            result["eps"] = float(eps)
        return result

    images = {name: _of_images(folder, known[name]) for name in known if "image" in name}
    _fill(draft, model, shapes, normalization, folder, images)


def _of_images(folder: Path, given: tuple[str, dict[str, str], str, Any]) -> dict[str, Any]:
    """Mean and std of a camera, per channel; empty if the mode has others."""
    mode, keys, file, _ = given
    if mode == "IDENTITY":
        return {"mean": [0.0] * 3, "std": [1.0] * 3}
    if mode != "MEAN_STD":
        return {}
    stored = read_statistics(folder / file)
    return {one: stored[key].tolist() for one, key in keys.items() if key in stored}


def _shape(statistics: Mapping[str, Any]) -> list[int]:
    value: Any = statistics.get("mean", statistics.get("min", []))
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _match(
    features: Mapping[str, list[int]], tensors: tuple[TensorFacts, ...], draft: Draft
) -> dict[str, str]:
    """Return {tensor: feature}, by equal name, else by kind and size if only one fits."""
    found: dict[str, str] = {}
    for tensor in tensors:
        plain = tensor.name.replace("/", ".")
        if plain in features:
            found[tensor.name] = plain
            continue
        is_image = len(tensor.shape) >= 4
        fits = [
            name
            for name, shape in features.items()
            if ("image" in name) == is_image and (is_image or math.prod(shape) == tensor.size)
        ]
        if len(fits) == 1:
            found[tensor.name] = fits[0]
            draft.assumed.append(
                f"'{fits[0]}' is the model's {tensor.name}, since no other feature fits"
            )
    return found


def _image(feature: str, facts: TensorFacts, stats: Mapping[str, Any], draft: Draft) -> Any:
    """Draft the image term of a camera; its statistics are per channel."""
    camera = feature.rsplit(".", 1)[-1]
    shape = facts.shape[-3:]
    known = len(facts.shape) >= 3 and shape[0] == 3 and None not in shape
    given = stats.get(feature)
    if not known or not isinstance(given, Mapping) or not {"mean", "std"} <= set(given):
        return todo(f"an image term for '{feature}', {facts}: input, resize, scale, mean and std")
    draft.assumed.append(f"'{feature}' is RGB from 0 to 1, as LeRobot's data sets have it")
    return {
        "term": "image", "name": camera, "input": camera, "color": "rgb", "layout": "chw",
        "size": list(shape[1:]), "scale": 1.0 / 255.0,
        "mean": _flat(given["mean"]), "std": _flat(given["std"]),
    }  # fmt: skip


def _flat(values: Any) -> list[float]:
    if isinstance(values, list):
        return [number for one in values for number in _flat(one)]
    return [float(values)]


def _fill(
    draft: Draft,
    model: ModelFacts,
    features: Mapping[str, list[int]],
    normalization: Any,
    folder: Path,
    stats: Mapping[str, Any],
) -> None:
    observed = {name: shape for name, shape in features.items() if name.startswith("observation")}
    matched = _match(observed, model.inputs, draft)
    for tensor in draft.spec["observation"]:
        feature = matched.get(tensor["tensor"])
        if feature is None:
            continue
        if "image" in feature:
            tensor.pop("normalization")
            tensor.pop("terms")
            facts = model.input(tensor["tensor"])
            assert facts is not None
            tensor["whole"] = _image(feature, facts, stats, draft)
        else:
            tensor["normalization"] = normalization(feature)
    if "action" not in features or not isinstance(draft.spec["action"], list):
        return
    action = draft.spec["action"][0]
    group = action["groups"][0]
    size = math.prod(features["action"])
    for key in ("scale", "offset"):
        group.pop(key)  # denormalized actions are already in the robot's units
    draft_chunk(draft, model, folder, size)
    relative = relative_elements(folder, PRE, size)
    if relative is not None and all(relative):
        group["relative_to"] = "measured"
    elif relative is not None and any(relative):
        which = ", ".join(str(k) for k, one in enumerate(relative) if one)
        group["relative_to"] = todo(
            f"measured for elements {which}, zero for the others: split the group"
        )
    denormalization = normalization("action")
    if denormalization != "none":
        action["denormalization"] = denormalization
