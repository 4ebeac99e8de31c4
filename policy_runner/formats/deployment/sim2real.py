"""Drafts the YAML and JSON next to a policy of sim2real (EGalahad/sim2real, 7c29b2d).

    <policy>.yaml: {isaac_joint_names, policy_joint_names, default_joint_pos, joint_kp, joint_kd,
        action_scale, observation: {<group>: {<term>: {settings}}}}     # {name or regex: number}
    <policy>.json: {in_keys, out_keys}                                  # tensors of <policy>.onnx

Formulas of its own code (rl_policy/base_policy.py, observations/common.py): a group is an input.
`*_history` gives the frames of history_steps, `*_multistep` the newest `steps`; 0 is the newest,
and they start from zeros. Joint positions are not relative to the default pose, which is 0 where
no name matches. `prev_actions` lists all frames of the first joint, then of the next. The target
is default_joint_pos + action * action_scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
from policy_runner.formats.lerobot.policy_config import read_json
from policy_runner.formats.plain_onnx import state_pairs
from policy_runner.formats.trainer_terms import short
from policy_runner.formats.trainer_yaml import read_yaml, whole_numbers

KEYS = {"isaac_joint_names", "policy_joint_names", "observation", "action_scale"}
RATE_HZ = 50  # rl_rate of its BasePolicy; the files do not have it
GYRO = {"term": "field", "input": "imu", "field": "angular_velocity"}
GRAVITY = {"term": "projected_gravity", "input": "imu"}
POSITION = {"term": "joint_position", "input": "joint_states"}
VELOCITY = {"term": "joint_velocity", "input": "joint_states"}
TERMS: dict[str, dict[str, Any]] = {
    "root_angvel_b": GYRO, "root_ang_vel_b": GYRO, "root_ang_vel_history": GYRO,
    "projected_gravity_b": GRAVITY, "projected_gravity_history": GRAVITY,
    "joint_pos_multistep": POSITION, "joint_pos_history": POSITION,
    "joint_vel_multistep": VELOCITY, "joint_vel_history": VELOCITY,
    "prev_actions": {"term": "last_action"},
}  # fmt: skip


def is_sim2real(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file has this format."""
    return set(content) >= KEYS


def draft_sim2real(path: Path, model: ModelFacts) -> Draft:
    """Draft a policy's YAML file, with the JSON file of the same name if there is one.

    Raises:
        Refusal: a key of the format is missing or has an invalid value.
    """
    content = read_yaml(path)
    names = path.with_suffix(".json")
    draft = Draft("sim2real YAML and JSON", [*([names] if names.is_file() else []), path])
    keys = read_json(names) if names.is_file() else {}
    with well_formed(str(path), "", "the keys of sim2real"):
        _fill(draft, content, keys, model)
    return draft


def by_pattern(given: Any, names: Sequence[str], missing: float | None) -> list[float]:
    """Return a number per name from one number or {name or regular expression: number}.

    Args:
        given: one number, or the mapping; exactly one pattern must match a name.
        names: in the order of the result.
        missing: number of a name without a pattern; None: an error.

    Raises:
        ValueError: no pattern, or several with different numbers, match a name.
    """
    if not isinstance(given, Mapping):
        return [float(given)] * len(names)
    found = []
    for name in names:
        numbers = {float(v) for key, v in given.items() if re.fullmatch(str(key), name)}
        if not numbers and missing is not None:
            numbers = {missing}
        if len(numbers) != 1:
            raise ValueError(f"{len(numbers)} patterns match {name}")
        found.append(numbers.pop())
    return found


def _fill(
    draft: Draft, given: Mapping[str, Any], keys: Mapping[str, Any], model: ModelFacts
) -> None:
    joints = [str(name) for name in given["isaac_joint_names"]]
    moved = [str(name) for name in given["policy_joint_names"]]
    spec = draft.spec
    spec.update(model_keys(model, draft.sources[-1].stem))
    spec["control_dt"] = 1.0 / RATE_HZ
    spec["joint_names"] = joints
    spec["default_joint_pos"] = by_pattern(given.get("default_joint_pos") or {}, joints, 0.0)
    for key, theirs in (("stiffness", "joint_kp"), ("damping", "joint_kd")):
        if theirs in given:
            spec[key] = by_pattern(given[theirs], joints, None)
    pairs = state_pairs(model)
    states = {name for pair in pairs for name in pair}
    fed = [one for one in model.inputs if one.name not in states]
    observation = []
    for one in fed:
        group = one.name if one.name in given["observation"] else _group(one, fed, keys)
        terms = given["observation"].get(group)
        observation.append(_tensor(one, terms, model))
    spec["inputs"] = used_inputs(observation)
    spec["observation"] = observation
    if pairs:
        spec["state"] = [{"input": one, "output": other} for one, other in pairs]
    made = [one for one in model.outputs if one.name not in states]
    output = _action(made, keys)
    commands = {"kind": "position", "joints": moved,
             "scale": short(by_pattern(given["action_scale"], moved, None)),
             "relative_to": "default_joint_pos"}  # fmt: skip
    if output is None:
        listed = ", ".join(str(one) for one in made)
        spec["action"] = todo(f"the output 'action' of {listed}, with groups: [{commands}]")
    else:
        spec["action"] = [{"tensor": output.name, "groups": [commands]}]
        if len(made) > 1:
            spec["ignored_outputs"] = [one.name for one in made if one is not output]
            draft.assumed.append("outputs other than the action are not used")
    spec["last_action"] = "raw"
    if given.get("use_residual_action"):
        draft.notes.append("use_residual_action: the source adds the action to a reference motion")
        if output is not None:
            spec["action"][0]["groups"][0]["relative_to"] = todo(
                "the reference motion's joint positions; default_joint_pos is not added"
            )
    draft.assumed += [
        f"control_dt {1 / RATE_HZ:g}: its code's default rate, {RATE_HZ} Hz",
        "nothing is normalized outside the model",
        "histories: newest first, from zeros; joint positions without the default pose",
    ]
    still = [name for name in joints if name not in moved]
    if still:
        draft.notes.append(f"held at the default pose, not by the policy: {', '.join(still)}")


def _group(tensor: TensorFacts, fed: Sequence[TensorFacts], keys: Mapping[str, Any]) -> str:
    """Return the input's name in the JSON file; its order is that of the model's inputs."""
    named = keys.get("in_keys") or []
    return str(named[fed.index(tensor)]) if len(named) == len(fed) else tensor.name


def _action(made: Sequence[TensorFacts], keys: Mapping[str, Any]) -> TensorFacts | None:
    named = keys.get("out_keys") or []
    if len(named) == len(made) and named.count("action") == 1:
        return made[named.index("action")]
    found = [one for one in made if one.name == "action"]
    return found[0] if len(found) == 1 else made[0] if len(made) == 1 else None


def _tensor(tensor: TensorFacts, given: Any, model: ModelFacts) -> dict[str, Any]:
    asked = normalization_of(model, tensor.name, "none")
    if not isinstance(given, Mapping):
        terms: Any = todo(f"the terms, in order, that give {tensor}; no group has its name")
        return {"tensor": tensor.name, "terms": terms, "normalization": asked}
    drafted: list[Any] = []
    lags = {}
    for name, settings in given.items():
        said = {key: value for key, value in (settings or {}).items() if key != "noise_std"}
        steps = said.pop("history_steps", None)
        count = said.pop("steps", None)
        frames = (
            whole_numbers(steps, "steps") if steps is not None else list(range(int(count or 1)))
        )
        if (
            name not in TERMS
            or said
            or (name == "prev_actions" and frames != [0])
            or (frames != sorted(set(frames)))
        ):
            drafted.append(
                todo(f"the term '{name}' of sim2real, with its settings {settings or 'none'}")
            )
            continue
        drafted.append({**TERMS[name], "name": str(name)})
        lags[str(name)] = frames
    result: dict[str, Any] = {"tensor": tensor.name, "terms": drafted}
    if any(frames != [0] for frames in lags.values()):
        kept = {name: frames for name, frames in lags.items() if frames != [0]}
        result["history"] = {"stack": "term", "order": "newest_first", "lags": kept,
                             "fill": "zeros"}  # fmt: skip
    result["normalization"] = asked
    return result
