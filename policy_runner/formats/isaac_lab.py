"""Drafts Isaac Lab's `IO_descriptors.yaml`: actions, articulations, observations, scene.

Isaac Lab silently leaves terms without a descriptor out of the file. So the sum of the terms'
sizes is compared with the model's input. Terms are clipped, then scaled. Histories are oldest
first and filled with the first value. The control period is `scene.dt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.formats.draft import (
    Draft,
    model_keys,
    normalization_of,
    todo,
    used_inputs,
    well_formed,
)
from policy_runner.formats.modifiers import with_modifiers
from policy_runner.formats.plain_onnx import state_pairs
from policy_runner.formats.trainer_terms import SAYS, history_of, open_range, short, term_for
from policy_runner.formats.trainer_yaml import (
    WrongValue,
    frames,
    number,
    numbers,
    read_yaml,
    whole_numbers,
)

# Every key that is read, or that says nothing about the numbers of the policy.
TERM_KEYS = frozenset({
    *("name", "full_path", "dtype", "shape", "observation_type", "mdp_type", "extras"),
    *("overloads", "modifiers", "joint_names", "body_names", "joint_pos_offsets"),
    *("joint_vel_offsets", "units", "axes", "description", "noise"),
})  # fmt: skip
OVERLOADS = frozenset(
    {"clip", "scale", "history_length", "flatten_history_dim", "modifiers", "noise"}
)
ACTION_KEYS = frozenset({
    *("name", "full_path", "action_type", "mdp_type", "dtype", "shape", "joint_names", "extras"),
    *("scale", "offset", "clip", "alpha", "units", "description"),
})  # fmt: skip


# Classes of isaaclab.envs.mdp.actions whose kind their name says. An IK action, for example, may be
# called arm_position and commands no joint positions by itself.
ACTIONS = frozenset({
    *("JointPositionAction", "RelativeJointPositionAction", "JointVelocityAction"),
    *("JointEffortAction", "JointPositionToLimitsAction", "EMAJointPositionToLimitsAction"),
    *("BinaryJointPositionAction", "BinaryJointVelocityAction"),
})  # fmt: skip


def is_io_descriptors(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file has this format."""
    return {"actions", "articulations", "observations", "scene"} <= set(content)


def draft_io_descriptors(path: Path, model: ModelFacts) -> Draft:
    """Draft one file.

    Raises:
        Refusal: a key of the format is missing or has an invalid value.
    """
    content = read_yaml(path)
    draft = Draft("Isaac Lab IO descriptors", [path])
    with well_formed(str(path), "", "the keys of IO_descriptors.yaml"):
        _fill(draft, content, model)
    return draft


def _fill(draft: Draft, content: Mapping[str, Any], model: ModelFacts) -> None:
    robot = _robot(content["articulations"])
    joints = [str(name) for name in robot["joint_names"]]
    scene = content["scene"]
    spec = draft.spec
    spec.update(model_keys(model, model.path.parent.name))
    period = number(scene["dt"], "scene.dt")
    spec["control_dt"] = round(period, 9)
    product = number(scene["physics_dt"], "scene.physics_dt")
    product *= number(scene["decimation"], "scene.decimation")
    if abs(product - period) > 1e-9:
        draft.notes.append(f"scene.dt {scene['dt']} is not physics_dt * decimation ({product:g})")
    spec["joint_names"] = joints
    pose = numbers(robot["default_joint_pos"], "default_joint_pos")
    if len(pose) != len(joints):
        expected = f"{len(joints)} numbers, one per joint"
        raise WrongValue("default_joint_pos", expected, f"{len(pose)}")
    spec["default_joint_pos"] = pose
    for key in ("stiffness", "damping"):
        values = numbers(robot.get(f"default_joint_{key}") or [], f"default_joint_{key}")
        if values:
            spec[key] = values
            if not any(values):
                draft.notes.append(
                    f"{key} is 0 for all joints, as for explicit actuators: ask the trainer"
                )
    pairs = state_pairs(model)
    fed = [one for one in model.inputs if one.name not in {pair[0] for pair in pairs}]
    groups = content["observations"]
    observation = []
    for name, terms in groups.items():
        if name not in ("policy", "actor") and len(groups) > 1:
            if name not in {one.name for one in fed}:
                draft.notes.append(f"observation group '{name}' is not an input of the model")
                continue
            tensor = next(one for one in fed if one.name == name)
        else:
            tensor = fed[0]
        observation.append(_tensor(draft, tensor, terms, spec, model))
    spec["inputs"] = used_inputs(observation)
    spec["observation"] = observation
    if pairs:
        spec["state"] = [{"input": one, "output": other} for one, other in pairs]
    action_groups = [_group(draft, one, robot) for one in content["actions"]]
    spec["action"] = [{"tensor": model.outputs[0].name, "groups": action_groups}]
    spec["last_action"] = "raw"
    draft.assumed += [SAYS, "last_action is the network's raw output, zero after a reset"]


def _robot(articulations: Mapping[str, Any]) -> Mapping[str, Any]:
    found = articulations.get("robot")
    if found is None and len(articulations) == 1:
        found = next(iter(articulations.values()))
    if not isinstance(found, Mapping):
        expected = "one articulation, or one with the name robot"
        raise WrongValue("articulations", expected, ", ".join(map(str, articulations)) or "none")
    return found


def _tensor(
    draft: Draft,
    facts: TensorFacts,
    terms: list[Any],
    spec: Mapping[str, Any],
    model: ModelFacts,
) -> dict[str, Any]:
    tensor, size = facts.name, facts.size
    drafted: list[Any] = []
    lengths: dict[str, int] = {}
    total = 0
    for given in terms:
        overloads = given.get("overloads") or {}
        name = str(given["name"])
        label = name if name not in lengths else f"{name}_{len(lengths)}"
        term = term_for(name)
        if isinstance(term, dict):
            term["name"] = label
            _joints(term, given, spec)
            term = _not_dropped(term, given, overloads, label)
        drafted.append(with_modifiers(term, given))
        lengths[label] = frames(overloads.get("history_length"), f"{label}.history_length")
        shape = given["shape"] if isinstance(given["shape"], list) else [given["shape"]]
        total += prod(whole_numbers(shape, f"{label}.shape")) * lengths[label]
    if size is not None and total > size:
        drafted.append(
            todo(f"{total - size} numbers less: '{tensor}' has {size}, and the terms give {total}")
        )
    elif size is not None and total != size:
        drafted.append(
            todo(
                f"{size - total} more numbers, for the {size} of '{tensor}', and their place among "
                "the terms: Isaac Lab leaves out terms without a descriptor, such as height_scan"
            )
        )
    result: dict[str, Any] = {"tensor": tensor, "terms": drafted}
    history = history_of(lengths, "term")
    if history:
        result["history"] = history
        draft.assumed.append("histories: per term, oldest first, filled with the first value")
    asked = todo("in_model, or none: is a normalizer inside the model?")
    result["normalization"] = normalization_of(model, tensor, asked)
    return result


def _not_dropped(
    term: dict[str, Any], given: Mapping[str, Any], overloads: Mapping[str, Any], label: str
) -> dict[str, Any] | str:
    """Return the term; a TODO if its descriptor has a value that is not read here."""
    found = unread(given, TERM_KEYS) + unread(overloads, OVERLOADS)
    if overloads.get("flatten_history_dim") is False and (overloads.get("history_length") or 0) > 1:
        found.append("flatten_history_dim false: its history keeps an axis of its own")
    if found:
        return todo(f"a term that reads '{label}'; the source also says {', '.join(found)}")
    return term


def unread(given: Mapping[str, Any], known: frozenset[str]) -> list[str]:
    """Return `key value` of every key that is not known and says something."""
    empty: tuple[object, ...] = (None, "", [], {}, False)
    return [f"{key} {value}" for key, value in given.items() if key not in known
            and value not in empty]  # fmt: skip


def _joints(term: dict[str, Any], given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    if not term["term"].startswith("joint_"):
        return
    names = [str(one) for one in given.get("joint_names") or []]
    if names and names != spec["joint_names"]:
        term["joints"] = names
    count = len(names or spec["joint_names"])
    rates = _numbers(given.get("joint_vel_offsets") or [], count)
    if term["term"] == "joint_velocity" and any(rates):
        term["relative_to"] = rates  # joint_vel_rel is the velocity minus default_joint_vel
    offsets = given.get("joint_pos_offsets")
    if term["term"] != "joint_position":
        return
    if offsets is None:
        term.pop("relative_to", None)
        if str(given["name"]).endswith("_rel"):
            term["relative_to"] = "default_joint_pos"
        return
    default = dict(zip(spec["joint_names"], spec["default_joint_pos"], strict=True))
    if _numbers(offsets, count) != [default.get(name) for name in names or default]:
        term["relative_to"] = _numbers(offsets, count)


def _numbers(given: Any, count: int) -> list[float]:
    key = "offsets"
    return numbers(given, key) if isinstance(given, list) else [number(given, key)] * count


def _group(draft: Draft, given: Mapping[str, Any], robot: Mapping[str, Any]) -> dict[str, Any]:
    spec = draft.spec
    path = str(given.get("full_path", "")).rsplit(".", 1)[-1]
    name = f"{path} {given.get('action_type', '')} {given['name']}".lower()
    kind = next((kind for kind in ("position", "velocity", "effort") if kind in name), "")
    if path and path not in ACTIONS:  # its own name may say position, such as that of an IK action
        kind = ""
    joints = [str(one) for one in given.get("joint_names") or []]
    asked = f"position, velocity or effort: what action '{given['name']}' is"
    asked += f", of the class {path} that is not known here" if path and not kind else ""
    found = unread(given, ACTION_KEYS)
    shape = given.get("shape")
    size = int(shape[-1]) if isinstance(shape, list) and shape else len(joints)
    if joints and ("binary" in name or size != len(joints)):
        # A binary action commands all its joints by the sign of one number.
        found.insert(0, f"{path or given['name']} with {size} numbers for {len(joints)} joints")
    if not joints:
        found.insert(0, f"{path or given['name']} without joint_names")
    if found:
        asked = f"{kind or 'which kind'}, by which rule; the source says {', '.join(found)}"
    group: dict[str, Any] = {
        "kind": kind if kind and not found else todo(asked),
        "joints": joints or todo(f"the joints of action '{given['name']}'"),
        "scale": short(1.0 if given.get("scale") is None else given["scale"]),
    }
    if "tolimits" in name or "to_limits" in name:
        _to_limits(draft, group, given, robot)
        return group
    offset = given.get("offset")
    values = numbers(offset, "offset") if isinstance(offset, list) else None
    default = dict(zip(spec["joint_names"], spec["default_joint_pos"], strict=True))
    if kind == "position" and values == [default.get(joint) for joint in joints]:
        group["relative_to"] = "default_joint_pos"
    elif offset:
        group["offset"] = short(offset, "offset")
    if "relative" in name:
        group["relative_to"] = "measured"
    limits = open_range(given.get("clip"))
    if limits is not None:
        group["clip"] = limits
    if given.get("alpha") is not None:
        _filter(draft, group, given)
    return group


def _filter(draft: Draft, group: dict[str, Any], given: Mapping[str, Any]) -> None:
    alpha = short(given["alpha"], "alpha")
    if isinstance(alpha, list):
        group["ema"] = todo(f"one group per weight: the source says alpha {alpha}")
        return
    group["ema"] = alpha
    draft.notes.append(
        f"the filter (alpha {alpha:g}) starts at the first target here, and at the measured "
        "joints in Isaac Lab"
    )


def _to_limits(
    draft: Draft, group: dict[str, Any], given: Mapping[str, Any], robot: Mapping[str, Any]
) -> None:
    """Fill an action that Isaac Lab rescales from [-1, 1] to the joints' soft limits.

    isaaclab/envs/mdp/actions/joint_actions_to_limits.py: clip(raw * scale, -1, 1), then
    low + (x + 1) / 2 * (high - low), then for EMA the filter. Neither `rescale_to_limits` nor the
    factor of the soft limits is in the descriptor.
    """
    limits = dict(zip(robot["joint_names"], robot.get("default_joint_pos_limits") or []))
    pairs = [limits.get(joint) for joint in group["joints"]]
    factor = group["scale"]
    if given.get("alpha") is not None:
        _filter(draft, group, given)
    clip = open_range(given.get("clip"))
    if clip is not None:
        group["clip"] = clip
    if not all(pairs) or not isinstance(factor, float):
        group["scale"] = todo(
            f"(high - low) / 2 of the soft limits times {factor}, or {factor} without "
            "rescale_to_limits"
        )
        group["offset"] = todo("(high + low) / 2 of the soft limits, or 0")
        return
    half = [factor * (float(pair[1]) - float(pair[0])) / 2 for pair in pairs if pair]
    middle = [(float(pair[1]) + float(pair[0])) / 2 for pair in pairs if pair]
    group["clip_raw"] = todo(
        f"{[-1 / factor, 1 / factor]} with rescale_to_limits, Isaac Lab's default; without it "
        "remove this key"
        if factor
        else "the bounds of the raw action"
    )
    spans, centers = (short([round(one, 9) for one in values]) for values in (half, middle))
    group["scale"] = todo(
        f"{spans} times soft_joint_pos_limit_factor, half the range of the joints' limits; "
        f"without rescale_to_limits: {factor:g}"
    )
    group["offset"] = todo(
        f"{centers}, the middle of the joints' limits; without rescale_to_limits: 0"
    )
