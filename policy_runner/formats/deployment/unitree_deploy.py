"""Drafts Unitree's `deploy.yaml` (unitree_rl_lab, unitree_rl_mjlab), in both its forms.

    joint_ids_map: [policy index -> motor index]   step_dt   stiffness, damping: [motor order]
    default_joint_pos: [policy order]   commands: {base_velocity: {ranges: ...}}
    actions: {JointPositionAction: {clip, joint_names, scale, offset, joint_ids}}
    observations: {term: {params, clip, scale, history_length}}              # one group
    observations: {group: {use_gym_history, scale_first, term: {...}, ...}}  # newer

The file has no joint names. Unitree's deployment code clips, then scales (`scale_first` swaps the
two). It stacks histories per term, oldest first (`use_gym_history`: per frame), and fills them
with the first value. The export rounds numbers to 3 significant digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from policy_runner.formats.trainer_terms import (
    SAYS,
    history_of,
    open_range,
    ranges_of,
    short,
    term_for,
    with_arithmetic,
    wrong_ids,
)
from policy_runner.formats.trainer_yaml import frames, number, numbers, read_yaml, whole_numbers

KINDS = {"position": "position", "velocity": "velocity", "effort": "effort"}


def is_deploy_yaml(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file has this format."""
    return {"joint_ids_map", "observations", "actions"} <= set(content)


def draft_deploy_yaml(path: Path, model: ModelFacts) -> Draft:
    """Draft one `deploy.yaml`; the joints' names are not in it.

    Raises:
        Refusal: a key of the format is missing or has an invalid value.
    """
    content = read_yaml(path)
    draft = Draft("unitree deploy.yaml", [path])
    with well_formed(str(path), "", "the keys of a unitree deploy.yaml"):
        _fill(draft, content, model)
    return draft


def _fill(draft: Draft, content: Mapping[str, Any], model: ModelFacts) -> None:
    motors = whole_numbers(content["joint_ids_map"], "joint_ids_map")
    count = len(motors)
    wrong = _wrong_motors(motors, content)
    names = todo(
        f"the {count} joint names in the policy's order, in which joint i is the robot's motor "
        f"joint_ids_map[i]: {_brief(motors)}{f'; but {wrong}' if wrong else ''}"
    )
    spec = draft.spec
    spec.update(model_keys(model, model.path.parent.name))
    spec["control_dt"] = number(content["step_dt"], "step_dt")
    spec["joint_names"] = names
    spec["default_joint_pos"] = numbers(content["default_joint_pos"], "default_joint_pos")
    for key in ("stiffness", "damping"):
        if key in content:  # in motor order; all other keys are in policy order
            listed = numbers(content[key], key)
            spec[key] = (
                todo(
                    f"the {count} numbers in the policy's order: the source lists {listed} in "
                    f"motor order, but {wrong}"
                )
                if wrong
                else [listed[motor] for motor in motors]
            )
    ranges = ranges_of(content.get("commands") or {})
    observation = [
        _tensor(draft, group, terms, tensor, ranges, model, count)
        for group, terms, tensor in _groups(content["observations"], model)
    ]
    spec["inputs"] = used_inputs(observation)
    spec["observation"] = observation
    groups = [
        _action(draft, name, action, names, count) for name, action in content["actions"].items()
    ]
    spec["action"] = [{"tensor": model.outputs[0].name, "groups": groups}]
    spec["last_action"] = "raw"
    if len(model.outputs) > 1:
        spec["ignored_outputs"] = [one.name for one in model.outputs[1:]]
        draft.assumed.append("outputs after the first are not used")
    draft.assumed += [
        SAYS,
        "nothing is normalized outside the model",
        "last_action is the network's raw output, zero after a reset",
        "stiffness and damping are in motor order in the source; here in the policy's",
    ]
    draft.notes.append("numbers in deploy.yaml are rounded to 3 significant digits")
    if any(motor != k for k, motor in enumerate(motors)):
        draft.notes.append("joint_ids_map reorders: policy order is not motor order")


def _wrong_motors(motors: Sequence[int], content: Mapping[str, Any]) -> str:
    """Return why `joint_ids_map` cannot be right; '' if it can."""
    gains = [content[key] for key in ("stiffness", "damping") if key in content]
    known = min((len(one) for one in gains), default=None)
    if wrong := wrong_ids("joint_ids_map", motors, known):
        return wrong
    pose = len(content["default_joint_pos"])
    if pose != len(motors):
        return f"joint_ids_map has {len(motors)} motors and default_joint_pos {pose} joints"
    return ""


def _brief(motors: Sequence[int]) -> str:
    same = all(motor == k for k, motor in enumerate(motors))
    return "the motors' own order" if same else str(list(motors))


def _groups(
    observations: Mapping[str, Any], model: ModelFacts
) -> list[tuple[Mapping[str, Any], dict[str, Any], str]]:
    """Return (settings, terms, input tensor) of each observation group."""
    first = next(iter(observations.values()))
    if isinstance(first, Mapping) and "params" in first:
        return [({}, dict(observations), model.inputs[0].name)]
    found: list[tuple[Mapping[str, Any], dict[str, Any], str]] = []
    inputs = [one.name for one in model.inputs]
    for name, group in observations.items():
        terms = {key: value for key, value in group.items() if isinstance(value, Mapping)}
        settings = {key: value for key, value in group.items() if key not in terms}
        if name in inputs:
            tensor = name
        elif len(observations) == 1:
            tensor = inputs[0]
        else:
            tensor = todo(f"the input ({', '.join(inputs)}) that group '{name}' is fed to")
        found.append((settings, terms, tensor))
    return found


def _tensor(
    draft: Draft,
    group: Mapping[str, Any],
    terms: Mapping[str, Any],
    tensor: str,
    ranges: list[list[float]] | None,
    model: ModelFacts,
    count: int,
) -> dict[str, Any]:
    drafted = []
    lengths = {}
    for name, given in terms.items():
        params = given.get("params") or {}
        subset = (params.get("asset_cfg") or {}).get("joint_ids")
        term = term_for(name, ranges)
        if name == "gait_phase" and "period" in params:
            period, step = float(params["period"]), float(draft.spec["control_dt"])
            # The trainer's clock advances before it is read.
            term = {"term": "phase_clock", "name": name, "period": period, "start": step / period}
            draft.assumed.append(
                "gait_phase is (sin, cos) of a clock that advances before the read"
            )
        if isinstance(term, dict) and isinstance(subset, list):
            wrong = wrong_ids("joint_ids", whole_numbers(subset, f"{name}.joint_ids"), count)
            asked = f"the names of the joints with policy index {subset}"
            term["joints"] = todo(f"{asked}; but {wrong}" if wrong else asked)
        drafted.append(
            with_arithmetic(
                term, given.get("clip"), given.get("scale"), bool(group.get("scale_first"))
            )
        )
        lengths[name] = frames(given.get("history_length"), f"{name}.history_length")
    result: dict[str, Any] = {"tensor": tensor, "terms": drafted}
    history = history_of(lengths, "frame" if group.get("use_gym_history") else "term")
    if history:
        result["history"] = history
        draft.assumed.append("histories: oldest first, filled with the first value after a reset")
    result["normalization"] = normalization_of(model, tensor, "none")
    return result


def _action(
    draft: Draft, name: str, given: Mapping[str, Any], names: str, count: int
) -> dict[str, Any]:
    kind = next((kind for kind in KINDS if kind in name.lower()), "")
    joints: Any = names
    ids = given.get("joint_ids")
    if isinstance(ids, Mapping):
        chosen = list(range(count))[slice(*ids["slice"])]
        ids = None if len(chosen) == count else chosen
    if ids is not None and list(ids) != list(range(count)):
        wrong = wrong_ids("joint_ids", whole_numbers(ids, f"{name}.joint_ids"), count)
        asked = f"the names of the joints with policy index {list(ids)}"
        joints = todo(f"{asked}; but {wrong}" if wrong else asked)
    group: dict[str, Any] = {
        "kind": kind or todo(f"position, velocity or effort: what '{name}' commands"),
        "joints": joints,
        "scale": short(given.get("scale")) if given.get("scale") is not None else 1.0,
    }
    offset = given.get("offset")
    default = [float(q) for q in draft.spec["default_joint_pos"]]
    if offset is not None and kind == "position" and [float(q) for q in offset] == default:
        group["relative_to"] = "default_joint_pos"
    elif offset is not None and any(float(q) != 0.0 for q in offset):
        group["offset"] = short(offset)
    limits = open_range(given.get("clip"))
    if limits is not None:
        group["clip"] = limits
    if "Relative" in name:
        group["relative_to"] = todo("measured or previous_target: what the action is added to")
    return group
