"""Drafts rl_sar's `base.yaml` (the robot) and `config.yaml` (the policy; it overrides the robot).

    <robot>: {dt, decimation, joint_names, joint_mapping, default_dof_pos, wheel_indices, ...}
    <robot>/<config>: {observations: [...], observations_history, observations_history_priority,
        clip_obs, clip_actions_lower, clip_actions_upper, rl_kp, rl_kd, action_scale, *_scale}

Formulas of rl_sar's deployment code: it scales every term, then clips the whole observation. It
sets the observed positions of wheels to 0. Index 0 is the newest frame of a history; a history
starts with zeros. The raw action is clipped, and the clipped action is the last action. Wheels
are commanded in velocity without an offset. The policy runs every dt * decimation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse
from policy_runner.core.model import ModelFacts
from policy_runner.formats.draft import (
    MALFORMED,
    Draft,
    model_keys,
    normalization_of,
    todo,
    used_inputs,
)
from policy_runner.formats.trainer_terms import open_range, short, term_for
from policy_runner.formats.trainer_yaml import read_yaml

SCALES = {
    "lin_vel": "lin_vel_scale",
    "ang_vel": "ang_vel_scale",
    "ang_vel_body": "ang_vel_scale",
    "commands": "commands_scale",
    "dof_pos": "dof_pos_scale",
    "dof_vel": "dof_vel_scale",
}


def is_rl_sar(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file is a policy's `config.yaml` of this format."""
    return any(isinstance(one, Mapping) and "observations" in one and "clip_obs" in one
               for one in content.values())  # fmt: skip


def draft_rl_sar(path: Path, model: ModelFacts) -> Draft:
    """Draft `config.yaml` with the `base.yaml` next to it or one folder up.

    Raises:
        Refusal: no `base.yaml`, or a key is missing or has an invalid value.
    """
    bases = [folder / "base.yaml" for folder in (path.parent, path.parent.parent)]
    base = next((one for one in bases if one.is_file()), None)
    if base is None:
        raise refuse(str(path), "", "base.yaml next to it or one folder up", "no such file")
    settings: dict[str, Any] = {}
    for one in (base, path):
        for section in read_yaml(one).values():
            if isinstance(section, Mapping):
                settings.update(section)
    draft = Draft("rl_sar", [base, path])
    try:
        _fill(draft, settings, model)
    except MALFORMED as error:
        got = f"{type(error).__name__}: {error}"
        raise refuse(str(path), "", "the keys of rl_sar's configuration", got) from error
    return draft


def _fill(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> None:
    mapping = [int(k) for k in given["joint_mapping"]]
    names = [str(given["joint_names"][motor]) for motor in mapping]
    wheels = {int(k) for k in given.get("wheel_indices") or []}
    spec = draft.spec
    spec.update(model_keys(model, model.path.parent.name))
    spec["control_dt"] = round(float(given["dt"]) * int(given["decimation"]), 9)
    spec["joint_names"] = names
    spec["default_joint_pos"] = [float(q) for q in given["default_dof_pos"]]
    for key, theirs in (
        ("stiffness", "rl_kp"), ("damping", "rl_kd"), ("effort_limit", "torque_limits")
    ):  # fmt: skip
        if theirs in given:
            spec[key] = [float(one) for one in given[theirs]]
    terms = [_term(name, given, names, wheels) for name in given["observations"]]
    tensor: dict[str, Any] = {"tensor": model.inputs[0].name, "terms": terms}
    history = _history(given)
    if history:
        tensor["history"] = history
    if given.get("clip_obs") is not None:
        tensor["clip"] = open_range(float(given["clip_obs"]))
    tensor["normalization"] = normalization_of(model, tensor["tensor"], "none")
    spec["inputs"] = used_inputs([tensor])
    spec["observation"] = [tensor]
    spec["action"] = [{"tensor": model.outputs[0].name, "groups": _groups(given, names, wheels)}]
    spec["last_action"] = "clipped"
    draft.assumed += [
        "every term is scaled, then the whole observation clipped",
        "last_action is the network's output after its clip, zero after a reset",
        "nothing is normalized outside the model",
        "commands are used unchanged, without a limit of their own",
    ]
    if wheels:
        draft.assumed.append("wheels: observed position 0, commanded in velocity without offset")
    if any(motor != k for k, motor in enumerate(mapping)):
        draft.assumed.append("joint_names is in motor order: policy joint i is joint_mapping[i]")
    model_name = str(given.get("model_name", ""))
    if model_name and model_name != model.path.name:
        draft.notes.append(
            f"the configuration names the model '{model_name}', and {model.path.name} was taken: "
            "make sure that both hold the same weights"
        )
    decimation = int(given["decimation"])
    if decimation > 1:
        draft.notes.append(
            f"its robot sends commands every {float(given['dt']):g} s: parameter decimation: "
            f"{decimation} does the same"
        )


def _term(
    name: str, given: Mapping[str, Any], names: Sequence[str], wheels: set[int]
) -> dict[str, Any] | str:
    term = term_for(name)
    if name == "ang_vel_world":
        return todo("the angular velocity in the body frame (the source has it in the world's)")
    if isinstance(term, str):
        return term
    scale = short(given[SCALES[name]]) if name in SCALES else 1.0
    if name == "dof_pos" and wheels:
        scale = [0.0 if k in wheels else float(scale) for k in range(len(names))]
    if scale != 1.0:
        term["scale"] = scale
    return term


def _history(given: Mapping[str, Any]) -> dict[str, Any]:
    lags = [int(k) for k in given.get("observations_history") or []]
    if not lags or lags == [0]:
        return {}
    stacks = {"time": "frame", "term": "term"}
    history: dict[str, Any] = {"stack": stacks[str(given["observations_history_priority"])]}
    rising = list(range(len(lags)))
    if lags in (rising, rising[::-1]):
        history["order"] = "newest_first" if lags == rising else "oldest_first"
        history["length"] = len(lags)
    else:
        history["order"] = "newest_first" if lags == sorted(lags) else "oldest_first"
        history["lags"] = lags
    return {**history, "fill": "zeros"}


def _groups(
    given: Mapping[str, Any], names: Sequence[str], wheels: set[int]
) -> list[dict[str, Any]]:
    scale = [float(one) for one in given["action_scale"]]
    lower, upper = given.get("clip_actions_lower"), given.get("clip_actions_upper")
    runs: list[list[int]] = []
    for k in range(len(names)):
        if runs and (runs[-1][-1] in wheels) == (k in wheels):
            runs[-1].append(k)
        else:
            runs.append([k])
    groups = []
    for run in runs:
        is_wheel = run[0] in wheels
        group: dict[str, Any] = {
            "kind": "velocity" if is_wheel else "position",
            "joints": [names[k] for k in run],
        }
        if lower and upper:
            group["clip_raw"] = open_range([[lower[k], upper[k]] for k in run])
        group["scale"] = short([scale[k] for k in run])
        if not is_wheel:
            group["relative_to"] = "default_joint_pos"
        groups.append(group)
    return groups
