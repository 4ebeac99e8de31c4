"""Drafts holosoma and exploy models from their metadata, which has JSON values.

holosoma: kp, kd, robot_urdf; input `actor_obs`, output `action`.
exploy: model_source, exploy_version, decimation, sim_dt, and each tensor's joint names. The model
takes raw signals and does everything else itself, including the decimation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from policy_runner.core.errors import refuse
from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.formats.draft import MALFORMED, Draft, model_keys, todo, used_inputs
from policy_runner.formats.onnx_metadata import parse_json
from policy_runner.formats.plain_onnx import draft_plain, state_pairs
from policy_runner.formats.trainer_terms import term_for

KINDS = {"pos": "position", "vel": "velocity", "eff": "effort", "torque": "effort"}


def is_holosoma(metadata: Mapping[str, str]) -> bool:
    """Return whether a model's metadata is holosoma's."""
    return {"kp", "kd"} <= set(metadata) and "joint_names" not in metadata


def is_exploy(metadata: Mapping[str, str]) -> bool:
    """Return whether a model's metadata is exploy's."""
    return "exploy_version" in metadata


def draft_holosoma(model: ModelFacts) -> Draft:
    """Draft a holosoma model: its gains, and a note with the joint names of its URDF.

    Raises:
        Refusal: the gains are not lists of numbers.
    """
    draft = draft_plain(model)
    draft.dialect = "ONNX metadata of holosoma"
    names = _urdf_joints(model.metadata.get("robot_urdf", ""))
    try:
        gains = {
            "stiffness": [float(one) for one in parse_json(model.metadata["kp"])],
            "damping": [float(one) for one in parse_json(model.metadata["kd"])],
        }
    except MALFORMED as error:
        raise refuse(str(model.path), "metadata kp, kd", "lists of numbers", str(error)) from error
    spec: dict[str, Any] = {}
    for key, value in draft.spec.items():
        spec[key] = value
        if key == "joint_names":
            spec.update(gains)
    draft.spec = spec
    if names:
        draft.notes.append(f"moving joints in the order of its URDF: {', '.join(names)}")
    draft.assumed += [
        "kp and kd are in the policy's joint order",
        "holosoma concatenates terms in alphabetic order and fills histories with zeros",
    ]
    return draft


def _urdf_joints(urdf: str) -> list[str]:
    text = parse_json(urdf) if urdf.startswith('"') else urdf
    joints = re.findall(r"<joint\s([^<>]*)>", str(text))
    found = []
    for attributes in joints:
        name = re.search(r'name="([^"]+)"', attributes)
        kind = re.search(r'type="([^"]+)"', attributes)
        if name and kind and kind[1] != "fixed":
            found.append(name[1])
    return found


def draft_exploy(model: ModelFacts) -> Draft:
    """Draft an exploy model; its inputs are raw signals, its outputs are targets.

    Raises:
        Refusal: a value of the metadata cannot be read.
    """
    draft = Draft("ONNX metadata of exploy", [model.path])
    try:
        _fill(draft, model)
    except MALFORMED as error:
        got = f"{type(error).__name__}: {error}"
        raise refuse(str(model.path), "metadata", "values of exploy", got) from error
    return draft


def _of_tensor(model: ModelFacts, tensor: TensorFacts) -> dict[str, Any]:
    value = parse_json(model.metadata.get(tensor.name, "{}"))
    return value if isinstance(value, dict) else {}


def _fill(draft: Draft, model: ModelFacts) -> None:
    metadata, spec = model.metadata, draft.spec
    pairs = state_pairs(model)
    states = {name for pair in pairs for name in pair}
    joints: list[str] = []
    for tensor in (*model.inputs, *model.outputs):
        said = _of_tensor(model, tensor)
        for name in said.get("joint_names") or said.get("names") or []:
            if name not in joints:
                joints.append(str(name))
    spec.update(model_keys(model, str(metadata.get("model_source", model.path.stem))))
    spec["control_dt"] = float(metadata["sim_dt"])
    spec["joint_names"] = joints
    groups = [
        _output(one, _of_tensor(model, one)) for one in model.outputs if one.name not in states
    ]
    for key in ("stiffness", "damping"):
        known = {
            name: float(value)
            for one in model.outputs
            for said in [_of_tensor(model, one)]
            for name, value in zip(said.get("names") or [], said.get(key) or [])
        }
        if known and set(known) == set(joints):
            spec[key] = [known[name] for name in joints]
    observation = [
        _input(one, _of_tensor(model, one)) for one in model.inputs if one.name not in states
    ]
    spec["inputs"] = used_inputs(
        [{"terms": [one["whole"]]} for one in observation if isinstance(one.get("whole"), dict)]
    )
    spec["observation"] = observation
    if pairs:
        spec["state"] = [{"input": one, "output": other} for one, other in pairs]
    spec["action"] = groups
    spec["last_action"] = "raw"
    decimation = metadata.get("decimation", "1")
    draft.assumed.append(
        f"the model runs every sim_dt and divides by its own decimation ({decimation})"
    )


def _input(tensor: TensorFacts, said: Mapping[str, Any]) -> dict[str, Any]:
    if tensor.name == "ctx.step_count":
        return {"tensor": tensor.name, "whole": {"term": "step_counter"}}
    joints = said.get("joint_names")
    kind = _kind(tensor.name)
    if joints and kind:
        term: Any = {"term": f"joint_{kind}", "input": "joint_states", "joints": list(joints)}
    else:
        term = term_for(tensor.name.replace("_b", ""))
        if isinstance(term, str):
            term = todo(f"the one term that gives {tensor}")
        else:
            term.pop("relative_to", None)
    return {"tensor": tensor.name, "whole": term}


def _output(tensor: TensorFacts, said: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(tensor.name) or todo(
        f"position, velocity, effort, twist or value: what {tensor} is"
    )
    names = [str(one) for one in said.get("names") or []]
    joints: Any = names or todo(f"the joints of {tensor}, in its order")
    return {"tensor": tensor.name, "groups": [{"kind": kind, "joints": joints}]}


def _kind(name: str) -> str:
    return next((kind for part, kind in KINDS.items() if part in name.lower()), "")
