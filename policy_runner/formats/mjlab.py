"""Drafts models from the metadata of whole_body_tracking, mjlab, unitree_rl_mjlab, legged_lab.

They share one set of keys in two styles (`onnx_metadata`): joint_names, joint_stiffness,
joint_damping, default_joint_pos, command_names, observation_names, action_scale, history lengths,
and since 2026 the terms' scales and clips. The metadata never has the action's offset and clip,
the control period, and whether the normalizer is inside the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_runner.core.model import ModelFacts
from policy_runner.formats.draft import (
    Draft,
    model_keys,
    normalization_of,
    rounded,
    todo,
    used_inputs,
    well_formed,
)
from policy_runner.formats.onnx_metadata import nested, numbers, parse_json, words
from policy_runner.formats.plain_onnx import COUNTERS, state_pairs
from policy_runner.formats.trainer_terms import (
    COMMAND,
    SAYS,
    history_of,
    short,
    term_for,
    with_arithmetic,
)

STIFFNESS, DAMPING = ("joint_stiffness", "kp"), ("joint_damping", "kd")
DEFAULT = ("default_joint_pos", "default_joint_pos_nominal")
CLIPS = ("observation_terms_clip", "observation_term_clip", "observation_clips")
SCALES = ("observation_terms_scale", "observation_term_scale", "observation_scales")
FLATTENED = ("observation_terms_flatten_history_dim",)
HISTORIES = ("observation_terms_history_length", "observation_history_lengths")
MOTION = "reference"  # name of the motion in a draft
# Outputs of a motion-tracking model other than its action: the reference motion, not commands.
REFERENCE = ("joint_pos", "joint_vel", "body_pos_w", "body_quat_w", "body_lin_vel_w")
REFERENCES = {*REFERENCE, "body_ang_vel_w", "ref_pos_xyz", "ref_quat_xyzw"}


def is_mjlab(metadata: Mapping[str, str]) -> bool:
    """Return whether a model's metadata is of this family."""
    return {"joint_names", "observation_names"} <= set(metadata)


def draft_mjlab(model: ModelFacts) -> Draft:
    """Draft a model with such metadata.

    Raises:
        Refusal: a value of the metadata cannot be read.
    """
    json_style = model.metadata["joint_names"].lstrip().startswith("[")
    draft = Draft(f"ONNX metadata, {'JSON' if json_style else 'CSV'} style", [model.path])
    with well_formed(str(model.path), "metadata", "values of its own style"):
        _fill(draft, model)
    return draft


def _first(metadata: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    return next((metadata[key] for key in keys if key in metadata), None)


def _fill(draft: Draft, model: ModelFacts) -> None:
    metadata, spec = model.metadata, draft.spec
    joints = words(metadata["joint_names"])
    run = metadata.get("run_path", "").rsplit("/", 1)[-1]
    spec.update(model_keys(model, run or model.path.stem))
    spec["control_dt"] = todo("seconds between two inferences in training")
    spec["joint_names"] = joints
    default = _first(metadata, DEFAULT)
    if default is not None:
        spec["default_joint_pos"] = numbers(default)
    else:
        spec["default_joint_pos"] = todo(f"rad, {len(joints)} numbers in the order of joint_names")
    for key, theirs in (("stiffness", STIFFNESS), ("damping", DAMPING)):
        _gains(draft, key, _first(metadata, theirs), len(joints))
    observation = [_terms_tensor(draft, model)]
    pairs = state_pairs(model)
    for one in model.inputs[1:]:
        if one.name in COUNTERS:
            counter = {"term": "step_counter", "name": one.name}
            observation.append({"tensor": one.name, "whole": counter})
            draft.assumed.append(
                f"{one.name} counts inferences from 0, without end: set delay, end"
            )
        elif one.name not in {pair[0] for pair in pairs}:
            asked = todo(f"the terms, in order, of {one}")
            normalization = normalization_of(
                model, one.name, todo("none, in_model, or the preset and statistics")
            )
            observation.append({"tensor": one.name, "terms": asked, "normalization": normalization})
    spec["inputs"] = used_inputs(observation)
    _motion_file(draft, observation, model)
    spec["observation"] = observation
    if pairs:
        spec["state"] = [{"input": one, "output": other} for one, other in pairs]
    spec["action"] = [_action(draft, model, joints)]
    others = [one for one in model.outputs[1:] if one.name not in {pair[1] for pair in pairs}]
    unknown = [str(one) for one in others if one.name not in REFERENCES]
    if unknown:
        asked = todo(f"which of {', '.join(unknown)} command nothing; the others: action")
        spec["ignored_outputs"] = asked
    elif others:
        spec["ignored_outputs"] = [one.name for one in others]
        draft.assumed.append("the reference motion among the outputs is not a command")
    spec["last_action"] = "raw"
    draft.assumed += [SAYS, "terms are clipped, then scaled", "no clip of the action"]
    lists = [value for text in metadata.values() for value in [_numbers_or_none(text)] if value]
    if rounded([value for one in lists for value in one], 3):
        draft.notes.append("numbers in the metadata are rounded to 3 decimals")


def _motion_file(draft: Draft, observation: list[dict[str, Any]], model: ModelFacts) -> None:
    terms = [one for tensor in observation if isinstance(tensor.get("terms"), list)
             for one in tensor["terms"] if isinstance(one, dict)]  # fmt: skip
    if any("motion" in one for one in terms):
        text = "the .npz or .csv of the reference motion, next to this file"
        if model.output("joint_pos") is not None:
            text += f"; `policy-runner convert motion` makes it from {model.path.name}"
        asked = todo(text)
        end = todo("hold, loop or stop: what the policy does after the last row")
        draft.spec["motions"] = {MOTION: {"file": asked, "end": end}}
    if any(one["term"] == "motion_orientation" for one in terms):
        draft.notes.append(
            "the IMU measures its own body: add a chain of joints to motion_orientation if the "
            "anchor is another body"
        )


def _numbers_or_none(text: str) -> list[float] | None:
    try:
        return numbers(text)
    except ValueError:
        return None


def _gains(draft: Draft, key: str, text: str | None, count: int) -> None:
    if text is None:
        return
    values = [abs(one) if one == 0 else one for one in numbers(text)]
    if len(values) != count:
        draft.notes.append(
            f"{key}: {len(values)} numbers for {count} joints, those with an actuator; left out"
        )
        return
    draft.spec[key] = values
    if set(values) <= {0.0, 1.0}:
        draft.notes.append(
            f"{key} is {'exactly 1 or 0'} for all joints, which this exporter writes for actuators "
            "whose gains it does not know: ask the trainer"
        )


def _terms_tensor(draft: Draft, model: ModelFacts) -> dict[str, Any]:
    metadata = model.metadata
    names = words(metadata["observation_names"])
    clips = _per_term(_first(metadata, CLIPS), names)
    scales = _per_term(_first(metadata, SCALES), names)
    lengths = _lengths(metadata, names)
    flattened = _per_term(_first(metadata, FLATTENED), names)
    motion = "motion" in words(metadata.get("command_names", ""))
    terms: list[Any] = []
    for k, name in enumerate(names):
        term = term_for(name)
        if (name.rsplit(".", 1)[-1] in COMMAND and motion) or name.startswith("motion_"):
            term = _motion_term(name, metadata)
        term = with_arithmetic(term, clips[k] if clips else None, scales[k] if scales else None)
        if isinstance(term, dict) and scales is None and term["term"] != "projected_gravity":
            term["scale"] = todo(
                f"the scale of '{name}' (1.0 for none), and its clip if it had one"
            )
        if flattened is not None and not flattened[k] and lengths[name] > 1:
            term = todo(f"where '{name}' is fed: [{lengths[name]}, size] is kept as it is")
        terms.append(term)
    tensor: dict[str, Any] = {"tensor": model.inputs[0].name, "terms": terms}
    history = history_of(lengths, "term")
    if history:
        tensor["history"] = history
        draft.assumed.append("histories: per term, oldest first, filled with the first value")
    asked = todo("in_model, or none: is a normalizer inside the model?")
    tensor["normalization"] = normalization_of(model, tensor["tensor"], asked)
    return tensor


def _motion_term(name: str, metadata: Mapping[str, str]) -> dict[str, Any] | str:
    """Draft a term of whole_body_tracking's reference motion (its mdp/commands and observations).

    `command` is the joints' positions, then their velocities. `motion_anchor_ori_b` is the first
    two columns of the anchor's rotation in the robot's anchor frame, flattened row by row.
    """
    anchor = metadata.get("anchor_body_name", "")
    if name.rsplit(".", 1)[-1] in COMMAND:
        return {"term": "motion", "name": name, "motion": MOTION,
                "values": ["joint_position", "joint_velocity"]}  # fmt: skip
    if name == "motion_anchor_ori_b":
        body = anchor or todo("the anchor body of the reference motion")
        return {
            "term": "motion_orientation", "name": name, "motion": MOTION, "body": body,
            "input": "imu", "layout": "rows",
            "align": todo("yaw or none: is the reference turned to the robot's yaw at the start?"),
        }  # fmt: skip
    return todo(f"the term '{name}' of the reference motion (anchor: {anchor or 'unknown'})")


def _per_term(text: str | None, names: list[str]) -> list[Any] | None:
    if text is None:
        return None
    if text.lstrip().startswith("{"):
        given = parse_json(text)
        return [given.get(name) for name in names]
    values = nested(text)
    if len(values) != len(names):
        raise ValueError(f"{len(values)} elements for {len(names)} observation_names: {text[:60]}")
    return [tuple(one) if isinstance(one, list) else one for one in values]


def _lengths(metadata: Mapping[str, str], names: list[str]) -> dict[str, int]:
    text = _first(metadata, HISTORIES)
    values = _per_term(text, names) if text else None
    return {
        name: max(1, int(float(values[k] or 1))) if values else 1 for k, name in enumerate(names)
    }


def _action(draft: Draft, model: ModelFacts, joints: list[str]) -> dict[str, Any]:
    output = model.outputs[0]
    subset = output.size not in (None, len(joints))
    chosen: Any = joints
    if subset:
        chosen = todo(f"the {output.size} of joint_names that {output} commands, in its order")
    text = model.metadata.get("action_scale")
    scale = short(numbers(text)) if text else todo("target = raw * scale + offset")
    asked = (
        "default_joint_pos or zero: was the default pose added to the action (use_default_offset)?"
    )
    group = {"kind": "position", "joints": chosen, "scale": scale, "relative_to": todo(asked)}
    draft.assumed.append("the action is joint positions")
    return {"tensor": output.name, "groups": [group]}
