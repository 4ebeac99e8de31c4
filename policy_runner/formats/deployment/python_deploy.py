"""Drafts the YAML files of two deployment programs in Python that fix the terms in their code.

unitree_rl_gym (deploy/deploy_real/deploy_real.py, 276801e) and its many copies for legged_gym:

    control_dt, or simulation_dt and control_decimation; kps, kds, default_angles, num_actions,
    num_obs, ang_vel_scale, dof_pos_scale, dof_vel_scale, action_scale, cmd_scale, max_cmd,
    leg_joint2motor_idx, imu_type
    observation: angular velocity, gravity, command, positions, velocities, last action, and if
    num_obs has 2 more numbers, sin and cos of a clock of 0.8 s that advances before it is read

Berkeley Humanoid Lite (Berkeley-Humanoid-Lite-Lowlevel, policy/rl_controller.py, 8b7f077):

    policy_dt, joints, joint_kp, joint_kd, effort_limits, default_joint_positions, num_observations,
    history_length, num_actions, action_indices, action_scale, action_limit_lower and _upper
    observation: command, angular velocity, gravity, positions, velocities, last action; frames
    oldest first, history_length + 1 of them, from zeros; the last action is clipped
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
from policy_runner.formats.plain_onnx import state_pairs
from policy_runner.formats.trainer_terms import short, term_for, with_arithmetic, wrong_ids
from policy_runner.formats.trainer_yaml import read_yaml, whole_numbers

LEGGED_GYM = {"kps", "kds", "default_angles", "action_scale", "num_actions", "num_obs"}
BERKELEY = {"joints", "joint_kp", "joint_kd", "default_joint_positions", "policy_dt", "num_actions"}
PERIOD_S = 0.8  # of the gait clock in unitree_rl_gym's code


def is_legged_gym(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file is a legged_gym-style deployment configuration."""
    return set(content) >= LEGGED_GYM


def is_berkeley(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file is a policy's configuration of Berkeley Humanoid Lite."""
    return set(content) >= BERKELEY


def draft_legged_gym(path: Path, model: ModelFacts) -> Draft:
    """Draft a legged_gym-style deployment configuration; the joints' names are not in it.

    Raises:
        Refusal: a key of the format is missing or has an invalid value.
    """
    return _draft(path, "legged_gym-style deployment YAML", _legged_gym, model)


def draft_berkeley(path: Path, model: ModelFacts) -> Draft:
    """Draft a configuration of Berkeley Humanoid Lite.

    Raises:
        Refusal: a key of the format is missing or has an invalid value.
    """
    return _draft(path, "Berkeley Humanoid Lite YAML", _berkeley, model)


def _draft(path: Path, dialect: str, fill: Any, model: ModelFacts) -> Draft:
    content = read_yaml(path)
    draft = Draft(dialect, [path])
    with well_formed(str(path), "", f"the keys of a {dialect}"):
        fill(draft, content, model)
    return draft


def _list(given: Mapping[str, Any], key: str, count: int) -> list[float]:
    """Return a list of numbers; one number counts for all.

    Raises:
        ValueError: the list has another length.
    """
    value = given[key]
    numbers = [float(one) for one in value] if isinstance(value, list) else [float(value)] * count
    if len(numbers) != count:
        raise ValueError(f"{key} has {len(numbers)} numbers for {count} joints")
    return numbers


def _finish(draft: Draft, tensor: dict[str, Any], group: dict[str, Any], model: ModelFacts) -> None:
    spec, pairs = draft.spec, state_pairs(model)
    tensor["normalization"] = normalization_of(model, tensor["tensor"], "none")
    spec["inputs"] = used_inputs([tensor])
    spec["observation"] = [tensor]
    if pairs:
        spec["state"] = [{"input": one, "output": other} for one, other in pairs]
    taken = {output for _, output in pairs}
    outputs = [one for one in model.outputs if one.name not in taken]
    spec["action"] = [{"tensor": outputs[0].name, "groups": [group]}]
    if len(outputs) > 1:
        others = ", ".join(str(one) for one in outputs[1:])
        spec["ignored_outputs"] = todo(f"which of {others} command nothing")
    draft.assumed += [
        "the terms and their order, from the deployment code",
        "nothing is normalized outside the model",
    ]


def _size_note(terms: list[Any], said: int, size: int) -> None:
    if said != size:
        terms.append(
            todo(
                f"{said - size} more numbers: the source has {said}, and the terms of the "
                f"deployment code have {size}"
            )
        )


def _legged_gym(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> None:
    spec, count = draft.spec, int(given["num_actions"])
    motors = whole_numbers(
        given.get("leg_joint2motor_idx") or [*range(count)], "leg_joint2motor_idx"
    )
    wrong = wrong_ids("leg_joint2motor_idx", motors, None)
    names = todo(
        f"the {count} joint names in the policy's order, in which joint i is the robot's motor "
        f"{motors}" + (f"; but {wrong}" if wrong else "")
    )
    spec.update(model_keys(model, ""))
    if "control_dt" in given:
        period = float(given["control_dt"])
    else:
        period = round(float(given["simulation_dt"]) * int(given["control_decimation"]), 9)
    spec["control_dt"] = period
    spec["joint_names"] = names
    spec["default_joint_pos"] = _list(given, "default_angles", count)
    spec["stiffness"], spec["damping"] = _list(given, "kps", count), _list(given, "kds", count)
    command: Any = term_for("commands")
    if given.get("max_cmd") is not None:
        # A stick of -1 to 1 times max_cmd is the command: its range.
        command["range"] = [[-float(one), float(one)] for one in given["max_cmd"]]
    scales = {"ang_vel": "ang_vel_scale", "dof_pos": "dof_pos_scale", "dof_vel": "dof_vel_scale"}
    terms: list[Any] = [
        command if name == "commands" else term_for(name)
        for name in ("ang_vel", "projected_gravity", "commands", "dof_pos", "dof_vel", "actions")
    ]
    for term in terms:
        key = "cmd_scale" if term["name"] == "commands" else scales.get(term["name"], "")
        factor = short(given.get(key, 1.0))
        if factor != 1.0:
            term["scale"] = factor
    size, said = 9 + 3 * count, int(given["num_obs"])
    if said == size + 2:
        start = period / PERIOD_S
        terms.append({"term": "phase_clock", "name": "gait", "period": PERIOD_S, "start": start})
        draft.assumed.append(f"a gait clock of {PERIOD_S} s, which advances before the read")
    else:
        _size_note(terms, said, size)
    tensor: dict[str, Any] = {"tensor": model.inputs[0].name, "terms": terms}
    group = {"kind": "position", "joints": names, "scale": short(given["action_scale"]),
             "relative_to": "default_joint_pos"}  # fmt: skip
    _finish(draft, tensor, group, model)
    spec["last_action"] = "raw"
    if str(given.get("imu_type", "pelvis")) != "pelvis":
        draft.notes.append(
            f"imu_type {given['imu_type']}: the source turns the IMU by the waist; publish it in "
            "the pelvis' frame"
        )
    held = given.get("arm_waist_joint2motor_idx")
    if held:
        draft.notes.append(f"motors {held} are held by its code, not by the policy")


def _berkeley(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> None:
    spec, count = draft.spec, int(given["num_actions"])
    everything = [str(name) for name in given["joints"]]
    total = len(everything)
    first = 0 if count == int(given.get("num_joints", total)) else total - count
    ids = whole_numbers(given.get("action_indices") or [*range(first, total)], "action_indices")
    if wrong := wrong_ids("action_indices", ids, total):
        raise ValueError(wrong)
    if len(ids) != count:
        raise ValueError(f"action_indices has {len(ids)} numbers for {count} num_actions")
    joints = [everything[k] for k in ids]
    spec.update(model_keys(model, ""))
    spec["control_dt"] = float(given["policy_dt"])
    spec["joint_names"] = joints
    for key, theirs in (("default_joint_pos", "default_joint_positions"), ("stiffness", "joint_kp"),
                        ("damping", "joint_kd"), ("effort_limit", "effort_limits")):  # fmt: skip
        if theirs in given:
            numbers = _list(given, theirs, total)
            spec[key] = [numbers[k] for k in ids]
    names = ("commands", "ang_vel", "projected_gravity", "dof_pos", "dof_vel", "actions")
    terms: list[Any] = [with_arithmetic(term_for(name)) for name in names]
    _size_note(terms, int(given.get("num_observations", 9 + 3 * count)), 9 + 3 * count)
    tensor: dict[str, Any] = {"tensor": model.inputs[0].name, "terms": terms}
    frames = int(given.get("history_length") or 0) + 1
    if frames > 1:
        tensor["history"] = {"stack": "frame", "order": "oldest_first", "length": frames,
                             "fill": "zeros"}  # fmt: skip
    group: dict[str, Any] = {
        "kind": "position", "joints": joints,
        "clip_raw": [float(given["action_limit_lower"]), float(given["action_limit_upper"])],
        "scale": short(given["action_scale"]), "relative_to": "default_joint_pos",
    }  # fmt: skip
    _finish(draft, tensor, group, model)
    spec["last_action"] = "clipped"
    draft.assumed.append("history_length counts the frames before the newest one")
