"""Drafts holosoma and exploy models from their metadata, which has JSON values.

holosoma: dof_names, kp, kd, command_ranges, robot_urdf (holosoma/agents/ppo/ppo.py, export).
exploy: model_source, exploy_version, decimation, sim_dt, update_rate, base_names, and the joint
names of each tensor or group of tensors. The names of the tensors say what they are
(exploy control/src/matcher.cpp). The model takes raw signals and does everything else itself,
including the decimation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from policy_runner.core.errors import refuse
from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.formats.draft import INPUTS, MALFORMED, Draft, model_keys, todo, well_formed
from policy_runner.formats.onnx_metadata import parse_json
from policy_runner.formats.plain_onnx import action, draft_plain, state_pairs
from policy_runner.formats.trainer_terms import ranges_of

KINDS = {"pos": "position", "vel": "velocity", "effort": "effort"}
# Names of exploy's tensors; a model without exploy's metadata is recognized by two of them.
_NAMED = re.compile(
    r"(obj|cmd|sensor|output)\.[a-z0-9_]+\.\w+|memory\..+\.(in|out)|ctx\.step_count"
)
_JOINTS = re.compile(r"obj\.\w+\.joints\.(pos|vel)")
_COMMANDED = re.compile(r"cmd\.joint_pos\.\w+")
_TARGETS = re.compile(r"output\.joint_targets\.\w+\.(pos|vel|effort)")
_BODY = re.compile(
    r"(?:obj\.(?P<robot>\w+)\.(?P<body>\w+)|sensor\.imu\.(?P<imu>\w+))\."
    r"(?P<what>pos_b_rt_w_in_w|w_Q_b|lin_vel_b_rt_w_in_b|ang_vel_b_rt_w_in_b)"
)


def is_holosoma(metadata: Mapping[str, str]) -> bool:
    """Return whether a model's metadata is holosoma's."""
    return {"kp", "kd"} <= set(metadata) and "joint_names" not in metadata


def is_exploy(model: ModelFacts) -> bool:
    """Return whether exploy exported a model: by its metadata, or by the names of its tensors."""
    names = [one.name for one in (*model.inputs, *model.outputs)]
    return "exploy_version" in model.metadata or sum(map(bool, map(_NAMED.fullmatch, names))) >= 2


def draft_holosoma(model: ModelFacts) -> Draft:
    """Draft a holosoma model: its joints and gains, and a note with the joints of its URDF.

    Raises:
        Refusal: the gains are not lists of numbers.
    """
    draft = draft_plain(model)
    draft.dialect = "ONNX metadata of holosoma"
    output = model.output("action")  # the name that holosoma's exporter gives
    if isinstance(draft.spec["action"], str) and output is not None:
        draft.spec["action"] = [action(output, draft.spec["joint_names"])]
    names = _urdf_joints(model.metadata.get("robot_urdf", ""))
    try:
        gains = {
            "stiffness": [float(one) for one in parse_json(model.metadata["kp"])],
            "damping": [float(one) for one in parse_json(model.metadata["kd"])],
        }
    except MALFORMED as error:
        raise refuse(str(model.path), "metadata kp, kd", "lists of numbers", str(error)) from error
    given = parse_json(model.metadata.get("dof_names", "null"))
    joints = [str(one) for one in given] if isinstance(given, list) else None
    spec: dict[str, Any] = {}
    for key, value in draft.spec.items():
        spec[key] = value
        if key == "joint_names":
            spec.update(gains)
    draft.spec = spec
    for key, values in gains.items():
        if joints is not None and len(values) != len(joints):
            spec[key] = todo(f"the numbers of the {len(joints)} dof_names; the source has {values}")
    if joints is not None:
        spec["joint_names"] = joints
        commands = spec["action"][0] if isinstance(spec["action"], list) else None
        output = model.output(commands["tensor"]) if commands else None
        if commands and output is not None:
            fits = output.size in (None, len(joints))
            commands["groups"][0]["joints"] = (
                joints if fits else todo(f"the {output.size} of dof_names that {output} commands")
            )
    ranges = parse_json(model.metadata.get("command_ranges", "null"))
    if ranges:
        draft.notes.append(f"command_ranges of the metadata, for the velocity command: {ranges}")
    if names and joints is None:
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
    with well_formed(str(model.path), "metadata", "values of exploy"):
        _fill(draft, model)
    return draft


def _said(model: ModelFacts, name: str) -> dict[str, Any]:
    """Return the metadata of a tensor, or else of the group that it is in."""
    for key in (name, name.rpartition(".")[0]):
        value = parse_json(model.metadata.get(key, "null"))
        if isinstance(value, dict):
            return value
    return {}


def _names(model: ModelFacts, name: str) -> list[str]:
    said = _said(model, name)
    return [str(one) for one in said.get("joint_names") or said.get("names") or []]


def _fill(draft: Draft, model: ModelFacts) -> None:
    spec = draft.spec
    pairs = state_pairs(model)
    states = {name for pair in pairs for name in pair}
    fed = [one for one in model.inputs if one.name not in states]
    given = [one for one in model.outputs if one.name not in states]
    joints: list[str] = []
    for tensor in (*fed, *given):
        joints += [name for name in _names(model, tensor.name) if name not in joints]
    source = parse_json(model.metadata.get("model_source", ""))
    spec.update(model_keys(model, source if isinstance(source, str) else model.path.stem))
    spec["control_dt"] = _period(model)
    spec["joint_names"] = joints
    for key in ("stiffness", "damping"):
        known = {
            name: float(value)
            for one in given
            for name, value in zip(_names(model, one.name), _said(model, one.name).get(key) or [])
        }
        if known and set(known) == set(joints):
            spec[key] = [known[name] for name in joints]
        elif known:
            values = ", ".join(f"{name} {value:g}" for name, value in known.items())
            draft.notes.append(f"{key} is known for some joints only, so left out: {values}")
    inputs: dict[str, Any] = {}
    spec["inputs"] = inputs
    spec["observation"] = [_input(draft, one, model, inputs) for one in fed]
    if not inputs:
        spec["inputs"] = todo("name: {type: package/msg/Name, topic: ...} of every message")
    if pairs:
        spec["state"] = [{"input": one, "output": other} for one, other in pairs]
    unused = [one.name for one in given if one.name == "actions"]
    spec["action"] = [_output(one, model) for one in given if one.name not in unused]
    if unused:
        spec["ignored_outputs"] = unused
        draft.assumed.append("the output `actions` is the network's, and commands nothing")
    spec["last_action"] = "raw"
    decimation = model.metadata.get("decimation", "1")
    draft.assumed.append(
        f"the model runs every sim_dt and divides by its own decimation ({decimation})"
    )
    kinds = {group["kind"] for one in spec["action"] for group in one["groups"]}
    if len(kinds & set(KINDS.values())) > 1:
        draft.notes.append(
            "exploy exports targets of position, velocity and effort: move those that the robot "
            "does not take to ignored_outputs"
        )


def _period(model: ModelFacts) -> float | str:
    step = parse_json(model.metadata.get("sim_dt", "null"))
    if step is not None:
        return round(float(step), 9)
    rate = parse_json(model.metadata.get("update_rate", "null"))
    if rate is not None:
        return round(1.0 / float(rate), 9)
    return todo("seconds between two runs of the model: 1 / update_rate, or sim_dt")


def _input(
    draft: Draft, tensor: TensorFacts, model: ModelFacts, inputs: dict[str, Any]
) -> dict[str, Any]:
    name, said = tensor.name, _said(model, tensor.name)
    term: Any = None
    commanded, measured = _COMMANDED.fullmatch(name), _JOINTS.fullmatch(name)
    command = name.startswith("cmd.se2_velocity.")
    if name == "ctx.step_count":
        term = {"term": "step_counter"}
    elif measured or commanded:
        # A commanded position is another message than the measured one.
        source = "joint_states" if measured else "joint_command"
        joints = _names(model, name)
        term = {"term": f"joint_{KINDS[measured[1]] if measured else 'position'}", "input": source,
                "joints": joints or todo(f"the joints of {tensor}, in its order")}  # fmt: skip
        topic = "joint_states" if measured else name.replace(".", "/")
        inputs[source] = {"type": "sensor_msgs/msg/JointState", "topic": topic}
    elif command:
        ranges = ranges_of({name: said})
        source = "cmd_vel"
        term = {"term": "velocity_command", "input": source}
        if ranges:
            term["range"] = ranges
        inputs[source] = dict(INPUTS[source])
    elif body := _BODY.fullmatch(name):
        term = _body_term(body, model, inputs)
    if term is None:
        about = f"; the metadata says {said}" if said else ""
        term = todo(f"the one term that gives {tensor}{about}")
    return {"tensor": name, "whole": term}


def _body_term(
    body: re.Match[str], model: ModelFacts, inputs: dict[str, Any]
) -> dict[str, Any] | None:
    bases = parse_json(model.metadata.get("base_names", "{}"))
    imu, what = body["imu"], body["what"]
    is_base = imu is None and isinstance(bases, dict) and bases.get(body["robot"]) == body["body"]
    if imu is None and not is_base:
        return None  # a body other than the base: no usual message has it
    if what in ("w_Q_b", "ang_vel_b_rt_w_in_b"):
        source = f"imu_{imu}" if imu else "imu"
        topic = f"{imu}/imu/data" if imu else INPUTS["imu"]["topic"]
        inputs[source] = {"type": INPUTS["imu"]["type"], "topic": topic}
        if what == "w_Q_b":
            return {"term": "quaternion", "input": source, "layout": "wxyz"}
        return {"term": "field", "input": source, "field": "angular_velocity"}
    if imu is not None:
        return None  # an Imu message has no linear velocity
    inputs["odom"] = dict(INPUTS["odom"])
    field = "twist.twist.linear" if what.startswith("lin") else "pose.pose.position"
    return {"term": "field", "input": "odom", "field": field}


def _output(tensor: TensorFacts, model: ModelFacts) -> dict[str, Any]:
    group: dict[str, Any]
    names = _names(model, tensor.name)
    targets = _TARGETS.fullmatch(tensor.name)
    if tensor.name.startswith("output.se2_velocity."):
        group = {"kind": "twist", "axes": ["linear.x", "linear.y", "angular.z"]}
    else:
        kind = KINDS[targets[1]] if targets else todo(
            f"position, velocity, effort, twist or value: what {tensor} is"
        )  # fmt: skip
        group = {"kind": kind, "joints": names or todo(f"the joints of {tensor}, in its order")}
    return {"tensor": tensor.name, "groups": [group]}
