"""Drafts LimX Dynamics' `params.yaml` (tron1-rl-deploy-ros, robot_controllers, dbde3ec).

    PointfootCfg: {joint_names_gym, joint_names_lab, init_state: {default_joint_angle},
        control: {stiffness, damping, action_scale_pos, decimation, user_torque_limit},
        normalization: {clip_scales, obs_scales}, user_cmd_scales, imu_orientation_offset,
        size: {actions_size, observations_size, commands_size, obs_history_length,
               encoder_output_size, jointpos_idxs_gym, jointpos_idxs_lab}}

The policy reads an encoder's output, then the clipped observation, then the scaled commands. The
encoder reads the last obs_history_length observations, oldest first, and is a model of its own.
The encoder's file is not among these keys, so it is a TODO. The source limits each action by the
measured joint, and the limited action is its last action.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_runner.core.model import ModelFacts
from policy_runner.formats.draft import (
    Draft,
    model_keys,
    normalization_of,
    todo,
    used_inputs,
    well_formed,
)
from policy_runner.formats.trainer_terms import term_for, wrong_ids
from policy_runner.formats.trainer_yaml import WrongValue, number, read_yaml, whole_numbers

GAIT = 6  # sin, cos, and four constants: frequency, offset, duration, swing height
SIDES = ("gym", "lab")


def _section(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for one in content.values():
        if isinstance(one, Mapping) and {"init_state", "control", "size"} <= set(one):
            return one
    return None


def is_limx(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file has this format."""
    return _section(content) is not None


def draft_limx(path: Path, model: ModelFacts) -> Draft:
    """Draft the parameters of one robot.

    Raises:
        Refusal: a key of the format is missing or has an invalid value.
    """
    draft = Draft("LimX params.yaml", [path])
    with well_formed(str(path), "", "the keys of LimX's params.yaml"):
        _fill(draft, _section(read_yaml(path)) or {}, model)
    return draft


def _side(given: Mapping[str, Any], model: ModelFacts) -> str:
    """Return 'gym' or 'lab', from the folder of the model; '' if it does not say it."""
    parts = [part.lower() for part in model.path.parts]
    named = [one for one in SIDES if f"isaac{one}" in parts]
    listed = [one for one in SIDES if f"joint_names_{one}" in given]
    return named[0] if len(named) == 1 else listed[0] if len(listed) == 1 else ""


def _fill(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> None:
    control, sizes = given["control"], given["size"]
    side = _side(given, model)
    lists = {one: [str(name) for name in given.get(f"joint_names_{one}") or []] for one in SIDES}
    named = [str(name) for name in given["init_state"].get("joint_names") or []]
    joints: Any = (
        lists.get(side)
        or named
        or todo(
            f"joint_names_gym {lists['gym']} for a policy from Isaac Gym, joint_names_lab "
            f"{lists['lab']} for one from Isaac Lab"
        )
    )
    count = int(sizes["actions_size"])
    if isinstance(joints, list) and len(joints) != count:
        raise ValueError(f"joint_names_{side} has {len(joints)} names, actions_size is {count}")
    spec = draft.spec
    spec.update(model_keys(model, ""))
    spec["control_dt"] = todo(
        f"seconds: decimation {control['decimation']} divided by loop_frequency, which is in "
        "robot_hw's parameters"
    )
    spec["joint_names"] = joints
    angles = given["init_state"]["default_joint_angle"]
    spec["default_joint_pos"] = {str(name): float(angle) for name, angle in angles.items()}
    for key in ("stiffness", "damping"):
        others = {name: value for name, value in control.items()
                  if name.endswith(f"_{key}")}  # fmt: skip
        if key not in control:
            if not others:
                raise WrongValue(f"control.{key}", "a number", "nothing")
            spec[key] = todo(f"one number per joint: the source names {others}")
            continue
        value = number(control[key], f"control.{key}")
        spec[key] = (
            todo(f"{value:g} for all joints, except those that the source names: {others}")
            if others
            else value
        )
    tensor = _tensor(draft, given, joints, side, model)
    spec["inputs"] = used_inputs([tensor])
    spec["observation"] = [tensor]
    clip = float(given["normalization"]["clip_scales"]["clip_actions"])
    group: dict[str, Any] = {
        "kind": "position", "joints": joints, "clip_raw": [-clip, clip],
        "scale": float(control["action_scale_pos"]), "relative_to": "default_joint_pos",
    }  # fmt: skip
    wheels = [name for name in angles if "wheel" in str(name).lower()]
    if wheels:
        group["kind"] = todo(
            f"position for the legs; {', '.join(wheels)} are another group, commanded in velocity"
        )
    spec["action"] = [{"tensor": model.outputs[0].name, "groups": [group]}]
    if len(model.outputs) > 1:
        others_ = ", ".join(str(one) for one in model.outputs[1:])
        spec["ignored_outputs"] = todo(f"which of {others_} command nothing")
    limit = control.get("user_torque_limit")
    spec["last_action"] = "clipped"
    others = {name: value for name, value in control.items()
              if name.endswith("_torque_limit") and name != "user_torque_limit"}  # fmt: skip
    if limit is not None:
        # At every tick: |kp (q* - q) - kd dq| <= limit, and the bounded action is the last action.
        of = todo(f"{float(limit):g}, except those that the source names: {others}")
        group["limit_torque"] = {"limit": of if others else float(limit), "every": "tick"}
    elif others:
        # tron1-rl-deploy-arm has a limit per kind of joint, and no user_torque_limit.
        group["limit_torque"] = todo(
            f"limit and every, or no such key: the source names {others}; its code has the rule"
        )
    draft.assumed += [
        "the terms and their order, from the deployment code",
        "nothing is normalized outside the model",
    ]
    offset = {key: value for key, value in (given.get("imu_orientation_offset") or {}).items()
              if float(value)}  # fmt: skip
    if offset:
        draft.notes.append(f"imu_orientation_offset {offset}: set inputs.imu.mounting of the robot")


def _tensor(
    draft: Draft, given: Mapping[str, Any], joints: Any, side: str, model: ModelFacts
) -> dict[str, Any]:
    sizes, scales = given["size"], given["normalization"]["obs_scales"]
    bound = float(given["normalization"]["clip_scales"]["clip_observations"])
    count, hidden = int(sizes["actions_size"]), int(sizes.get("encoder_output_size") or 0)
    terms: list[Any] = []
    if hidden:
        frames, size = sizes["obs_history_length"], sizes["observations_size"]
        terms.append(
            todo(
                f"model_output of the encoder, {hidden} numbers: add it to `models`; it reads the "
                f"last {frames} observations of {size} numbers, oldest first"
            )
        )
    plain: list[Any] = [
        term_for(name)
        for name in ("ang_vel", "projected_gravity", "dof_pos", "dof_vel", "last_action")
    ]
    for term in plain:
        factor = scales.get(str(term["name"]))
        if factor is not None and float(factor) != 1.0:
            term["scale"] = float(factor)
    seen = sizes.get(f"jointpos_idxs_{side}") if side else sizes.get("jointpos_idxs_gym")
    ids = whole_numbers(seen, "jointpos_idxs") if seen is not None else list(range(count))
    if wrong := wrong_ids("jointpos_idxs", ids, count):
        raise ValueError(wrong)
    if len(ids) != count:
        plain[2]["joints"] = (
            [joints[k] for k in ids]
            if isinstance(joints, list)
            else todo(f"the joints with index {ids} of joint_names")
        )
    for term in plain:  # the source clips the whole observation after the scales
        term.update(clip=[-bound, bound], order="scale_clip")
    terms += plain
    rest = int(sizes["observations_size"]) - (6 + len(ids) + 2 * count)
    if rest:
        gait = given.get("gait") or "2 Hz, 0.5, 0.5, 0.1 m, which are in its code"
        what = "the gait: sin, cos and its constants" if rest == GAIT else "unknown here"
        terms.append(todo(f"{rest} more numbers of the observation, {what} ({gait})"))
    command: Any = term_for("commands")
    stick = given.get("user_cmd_scales") or {}
    draft.notes.append(
        f"user_cmd_scales {dict(stick)} turn a stick of -1 to 1 into m/s and rad/s: cmd_vel "
        "already has these units"
    )
    command["range"] = [[-float(one), float(one)] for one in stick.values()] or None
    size = int(sizes.get("commands_size") or 3)
    terms.append(command if size == 3 else todo(f"the {size} commands of the source"))
    tensor: dict[str, Any] = {"tensor": model.inputs[0].name, "terms": terms}
    tensor["normalization"] = normalization_of(model, tensor["tensor"], "none")
    return tensor
