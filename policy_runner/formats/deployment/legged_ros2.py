"""Drafts the ros2_control parameters of legged_ros2's `LeggedRLController`.

    <controller>: {ros__parameters: {update_rate or control_rate, imu_names, joint_names,
        obs_names: [...], obs_cfg: {<term>: {clip, scale, history_length}},
        action_cfg: {<joint>: {clip, scale, kp, kd, default_pos}},
        range_lin_vel_x, range_lin_vel_y, range_ang_vel_z, gait_period}}

Formulas of its own code (zitongbai/legged_ros2, legged_rl_controller, edce7ae): a clip that has
not two numbers means none; terms are clipped, then scaled; histories are per term, oldest first,
filled with the first value; length 0 means 1. The target is raw * scale + default_pos, then clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse
from policy_runner.core.model import ModelFacts
from policy_runner.formats.draft import (
    Draft,
    model_keys,
    normalization_of,
    todo,
    used_inputs,
    well_formed,
)
from policy_runner.formats.trainer_terms import (
    history_of,
    open_range,
    short,
    term_for,
    with_arithmetic,
)
from policy_runner.formats.trainer_yaml import frames, read_yaml

KEYS = {"obs_names", "obs_cfg", "joint_names", "action_cfg"}
RANGES = ("range_lin_vel_x", "range_lin_vel_y", "range_ang_vel_z")


def _controllers(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = {}
    for name, one in content.items():
        parameters = one.get("ros__parameters") if isinstance(one, Mapping) else None
        if isinstance(parameters, Mapping) and set(parameters) >= KEYS:
            found[str(name)] = parameters
    return found


def is_legged_ros2(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file has this format."""
    return bool(_controllers(content))


def draft_legged_ros2(path: Path, model: ModelFacts) -> Draft:
    """Draft the only controller of a parameter file.

    Raises:
        Refusal: several controllers, or a key is missing or has an invalid value.
    """
    controllers = _controllers(read_yaml(path))
    if len(controllers) != 1:
        names = ", ".join(controllers)
        remedy = "keep the section of this policy in a file of its own"
        raise refuse(str(path), "", "one controller with obs_names", names, remedy)
    draft = Draft("legged_ros2 ros2_control parameters", [path])
    with well_formed(str(path), "", "the parameters of LeggedRLController"):
        _fill(draft, next(iter(controllers.values())), model)
    return draft


def _fill(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> None:
    joints = [str(name) for name in given["joint_names"]]
    missing = [name for name in joints if name not in given["action_cfg"]]
    if missing:
        raise KeyError(f"action_cfg.{missing[0]}")
    each = [given["action_cfg"][name] for name in joints]
    spec = draft.spec
    spec.update(model_keys(model, ""))
    # The newer code calls it control_rate, because ros2_control itself reads update_rate.
    rate = given.get("control_rate", given.get("update_rate"))
    spec["control_dt"] = (
        round(1.0 / float(rate), 9) if rate else todo("seconds between two inferences: 1 / rate")
    )
    spec["joint_names"] = joints
    for key, theirs in (("default_joint_pos", "default_pos"), ("stiffness", "kp"),
                        ("damping", "kd")):  # fmt: skip
        spec[key] = [float(one.get(theirs, 0.0)) for one in each]
    tensor = _tensor(draft, given, model)
    spec["inputs"] = used_inputs([tensor])
    spec["observation"] = [tensor]
    group: dict[str, Any] = {
        "kind": "position", "joints": joints,
        "scale": short([float(one.get("scale", 1.0)) for one in each]),
        "relative_to": "default_joint_pos",
    }  # fmt: skip
    limits = open_range([_pair(one.get("clip")) or [None, None] for one in each])
    if limits is not None:
        group["clip"] = limits
    spec["action"] = [{"tensor": model.outputs[0].name, "groups": [group]}]
    if len(model.outputs) > 1:
        others = ", ".join(str(one) for one in model.outputs[1:])
        spec["ignored_outputs"] = todo(f"which of {others} command nothing")
    spec["last_action"] = "raw"
    imus = ", ".join(str(one) for one in given.get("imu_names") or [])
    draft.notes.append(f"imu_names: {imus or 'none'}; the code reads the first for the terms")
    draft.assumed += [
        "terms are clipped, then scaled; the target is clipped after its scale and offset",
        "nothing is normalized outside the model",
        "last_action is the network's raw output, zero after a reset",
    ]


def _tensor(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> dict[str, Any]:
    ranges = [given.get(key) for key in RANGES]
    terms: list[Any] = []
    lengths = {}
    for name in map(str, given["obs_names"]):
        said = given["obs_cfg"].get(name) or {}
        term = term_for(name)
        if name == "sin_cos_phase":
            period = given.get("gait_period")
            asked = todo("s, gait_period: the source has none, and 0.8 is its code's default")
            term = {"term": "phase_clock", "name": name, "period": float(period or 0) or asked}
        elif isinstance(term, dict) and term["term"] == "velocity_command":
            if all(_pair(pair) for pair in ranges):
                term["range"] = [[float(end) for end in pair] for pair in ranges if pair]
            else:
                term["range"] = todo("[low, high] of vx, vy, wz: the code's default is 0 for all")
        terms.append(with_arithmetic(term, _pair(said.get("clip")), said.get("scale", 1.0)))
        lengths[name] = frames(said.get("history_length"), f"{name}.history_length")
    tensor: dict[str, Any] = {"tensor": model.inputs[0].name, "terms": terms}
    history = history_of(lengths, "term")
    if history:
        tensor["history"] = history
        draft.assumed.append("histories: per term, oldest first, filled with the first value")
    tensor["normalization"] = normalization_of(model, tensor["tensor"], "none")
    return tensor


def _pair(clip: Any) -> Any:
    return clip if isinstance(clip, list) and len(clip) == 2 else None
