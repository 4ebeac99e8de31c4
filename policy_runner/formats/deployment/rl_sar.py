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

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import ModelFacts
from policy_runner.formats.draft import (
    Draft,
    model_keys,
    normalization_of,
    todo,
    used_inputs,
    well_formed,
)
from policy_runner.formats.trainer_terms import open_range, short, term_for, wrong_ids
from policy_runner.formats.trainer_yaml import WrongValue, numbers, read_yaml, whole_numbers

SCALES = {
    "lin_vel": "lin_vel_scale",
    "ang_vel": "ang_vel_scale",
    "ang_vel_body": "ang_vel_scale",
    "commands": "commands_scale",
    "dof_pos": "dof_pos_scale",
    "dof_vel": "dof_vel_scale",
}


LISTS = (
    *("default_dof_pos", "rl_kp", "rl_kd", "torque_limits", "action_scale"),
    *("clip_actions_lower", "clip_actions_upper"),
)
MOTION = "reference"
WAIST = ("z", "x", "y")  # axes of the waist's joints: yaw, roll, pitch (ComputeTorsoQuat)
NEEDED = ("dt", "decimation", "joint_names", "joint_mapping", "observations")


def is_rl_sar(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file is a policy's `config.yaml` of this format."""
    return bool(_policies(content))


def _policies(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the sections that describe a policy; '' for a file whose keys have no section."""
    if "observations" in content and "clip_obs" in content:
        return {"": content}
    return {
        str(name): one
        for name, one in content.items()
        if isinstance(one, Mapping) and {"observations", "clip_obs"} <= set(one)
    }


def draft_rl_sar(path: Path, model: ModelFacts) -> Draft:
    """Draft `config.yaml`, with the `base.yaml` of its robot if the file has not all keys.

    Raises:
        Refusal: several policies in the file, a missing key, or a list that does not fit.
    """
    content = read_yaml(path)
    name, section = _section_of(path, content)
    robot = name.split("/")[0]
    own = content.get(robot) if robot else None
    settings = {**(own if isinstance(own, Mapping) else {}), **section}
    draft = Draft("rl_sar", [path])
    if any(key not in settings for key in NEEDED):
        base, robot_keys = _base_of(path, robot, settings)
        settings = {**robot_keys, **settings}
        draft.sources = [base, path]
    with well_formed(str(path), "", "the keys of rl_sar's configuration"):
        _check_lists(draft, settings)
        _fill(draft, settings, model)
    return draft


def _section_of(path: Path, content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return (name, keys) of the policy that is meant: the only one, or that of the folder."""
    found = _policies(content)
    if len(found) == 1:
        return next(iter(found.items()))
    folder = path.resolve().parent.as_posix()
    fits = [name for name in found if f"{folder}/".endswith(f"/{name}/")]
    if len(fits) != 1:
        expected = "one policy, or a section with the name of its folder"
        remedy = "keep the section of this policy in a file of its own"
        raise refuse(str(path), "", expected, f"sections {', '.join(found)}", remedy)
    return fits[0], found[fits[0]]


def _base_of(path: Path, robot: str, settings: Mapping[str, Any]) -> tuple[Path, Mapping[str, Any]]:
    """Find the robot's section in a `base.yaml` next to the file or any number of folders up."""
    seen: list[str] = []
    for folder in path.resolve().parents:
        base = folder / "base.yaml"
        if not base.is_file():
            continue
        content = read_yaml(base)
        keys = content.get(robot)
        if isinstance(keys, Mapping):
            return base, keys
        if not robot and "joint_names" in content:
            return base, content
        seen.append(f"{base} with {', '.join(map(str, content))}")
    missing = ", ".join(key for key in NEEDED if key not in settings)
    expected = f"a base.yaml next to it or above, with section '{robot}' ({missing})"
    raise refuse(str(path), "", expected, "; ".join(seen) or "no such file")


def _check_lists(draft: Draft, given: Mapping[str, Any]) -> None:
    """Refuse lists of another length than the policy's joints, each by its key."""
    count = len(given["joint_mapping"])
    file = " and ".join(str(one) for one in draft.sources)
    problems: list[Problem | str] = [
        Problem(file, key, f"{count} numbers, as joint_mapping has", str(len(given[key])))
        for key in LISTS
        if isinstance(given.get(key), list) and len(given[key]) != count
    ]
    names = len(given["joint_names"])
    if wrong := wrong_ids(
        "joint_mapping", whole_numbers(given["joint_mapping"], "joint_mapping"), names
    ):
        problems.append(Problem(file, "joint_mapping", f"indices of {names} joint_names", wrong))
    wheels = whole_numbers(given.get("wheel_indices") or [], "wheel_indices")
    if wrong := wrong_ids("wheel_indices", wheels, count):
        problems.append(Problem(file, "wheel_indices", f"indices of {count} joints", wrong))
    if problems:
        raise Refusal(problems)


def _fill(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> None:
    mapping = whole_numbers(given["joint_mapping"], "joint_mapping")
    names = [str(given["joint_names"][motor]) for motor in mapping]
    wheels = set(whole_numbers(given.get("wheel_indices") or [], "wheel_indices"))
    spec = draft.spec
    spec.update(model_keys(model, model.path.parent.name))
    spec["control_dt"] = round(float(given["dt"]) * int(given["decimation"]), 9)
    spec["joint_names"] = names
    spec["default_joint_pos"] = numbers(given["default_dof_pos"], "default_dof_pos")
    for key, theirs in (
        ("stiffness", "rl_kp"), ("damping", "rl_kd"), ("effort_limit", "torque_limits")
    ):  # fmt: skip
        if theirs in given:
            spec[key] = numbers(given[theirs], theirs)
    terms = [_term(name, given, names, wheels) for name in given["observations"]]
    _motions(draft, given, terms)
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
    motion = _motion_term(name, given)
    if motion is not None:
        return motion
    if isinstance(term, str):
        return term
    scale = short(given[SCALES[name]]) if name in SCALES else 1.0
    if name == "dof_pos" and wheels:
        scale = [0.0 if k in wheels else float(scale) for k in range(len(names))]
    if scale != 1.0:
        term["scale"] = scale
    return term


def _motion_term(name: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The term of a reference motion; None for another name."""
    if name == "whole_body_tracking/motion_command":
        values = ["joint_position", "joint_velocity"]
        return {"term": "motion", "name": "motion_command", "motion": MOTION, "values": values}
    if name != "whole_body_tracking/motion_anchor_ori_b":
        return None
    waist = whole_numbers(given["waist_joint_indices"], "waist_joint_indices")
    count = len(given["joint_names"])
    wrong = wrong_ids("waist_joint_indices", waist, count)
    if wrong or len(waist) != len(WAIST):
        raise WrongValue("waist_joint_indices", "three indices of joint_names", wrong or f"{waist}")
    chain = [
        {"joint": str(given["joint_names"][motor]), "axis": axis}
        for motor, axis in zip(waist, WAIST, strict=True)
    ]
    return {
        "term": "motion_orientation", "name": "motion_anchor_ori_b", "motion": MOTION,
        "body": "torso_link", "input": "imu", "align": "yaw", "layout": "rows",
        "joints_input": "joint_states", "chain": chain,
    }  # fmt: skip


def _motions(draft: Draft, given: Mapping[str, Any], terms: Sequence[Any]) -> None:
    """Name the motion that the terms read; its file has the joints in motor order."""
    if not any(isinstance(one, dict) and "motion" in one for one in terms):
        return
    source = given.get("motion_file") or "the motion's file"
    text = f"the .npz that `policy-runner convert motion {source}` makes with --joints"
    text += " (joint_names of the source, in its order) and --chains (torso_link by the waist)"
    draft.spec["motions"] = {MOTION: {"file": todo(text), "end": "hold"}}
    draft.assumed.append(
        "the reference motion: turned to the robot's yaw at the start, held at its end, its anchor "
        "is the torso, velocities are forward differences of its own rows (motion_loader.cpp)"
    )


def _history(given: Mapping[str, Any]) -> dict[str, Any]:
    lags = whole_numbers(given.get("observations_history") or [], "observations_history")
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
    scale = numbers(given["action_scale"], "action_scale")
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
