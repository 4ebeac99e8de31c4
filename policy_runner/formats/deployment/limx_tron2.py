"""Drafts LimX Dynamics' `params.yaml` of TRON 2 (tron2_rl_deploy_ros, tron2_controllers, 699bb50).

    Tron2Cfg: {robot_variant, init_state: {joint_names, sensor_joint_names, default_joint_angle},
        control: {joint_control_modes, leg_joint_stiffness, light_joint_stiffness,
                  wheel_joint_damping, action_scale_pos, action_scale_vel, decimation, ...},
        normalization: {clip_scales}, size: {policy_obs_size, encoder_output_size, ...},
        commands: {max}, gait: {enabled, frequency, offset, duration, swing_height}}

The policy reads the encoder's output, then the clipped observation, then the commands. The encoder
reads the last obs_history_length observations, oldest first, filled with the first one. The files
are policy.onnx and encoder.onnx. The scales 0.25 and 0.05 are in the code (SolefootController.cpp,
WheelfootController.cpp), as are the joints with light gains: those with yaw_ or ankle_pitch_.
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
from policy_runner.formats.trainer_terms import term_for
from policy_runner.formats.trainer_yaml import WrongValue, number, read_yaml

ENCODER = "encoder.onnx"
ANG_VEL_SCALE, DOF_VEL_SCALE = 0.25, 0.05
STANDS = 0.02  # norm of the command below which the gait clock is at its start


def is_tron2(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file has this format."""
    given = content.get("Tron2Cfg")
    return isinstance(given, Mapping) and {"init_state", "control", "size"} <= set(given)


def draft_tron2(path: Path, model: ModelFacts) -> Draft:
    """Draft the parameters of one variant of the robot.

    Raises:
        Refusal: a key of the format is missing or has an invalid value.
    """
    draft = Draft("LimX params.yaml of TRON 2", [path])
    with well_formed(str(path), "Tron2Cfg", "the keys of LimX's params.yaml"):
        _fill(draft, read_yaml(path)["Tron2Cfg"], model)
    return draft


def _fill(draft: Draft, given: Mapping[str, Any], model: ModelFacts) -> None:
    spec, control, start = draft.spec, given["control"], given["init_state"]
    joints = [str(name) for name in start["joint_names"]]
    angles = start["default_joint_angle"]
    modes = [str(one) for one in control["joint_control_modes"]]
    if len(modes) != len(joints):
        raise WrongValue("control.joint_control_modes", f"{len(joints)} modes", f"{len(modes)}")
    spec.update(model_keys(model, ""))
    spec["control_dt"] = todo(
        f"seconds: decimation {control['decimation']} divided by loop_frequency, which is in "
        "tron2_hw.yaml"
    )
    spec["joint_names"] = joints
    spec["default_joint_pos"] = {
        name: number(angles[name], f"init_state.default_joint_angle.{name}") for name in joints
    }
    for key in ("stiffness", "damping"):
        spec[key] = [_gain(control, name, key) for name in joints]
    spec["effort_limit"] = [_gain(control, name, "torque_limit") for name in joints]
    observation = _observation(given, start, joints)
    hidden = int(given["size"]["encoder_output_size"])
    terms: list[Any] = []
    if hidden:
        draft.spec["models"] = _encoder(draft, given, observation)
        terms.append({"term": "model_output", "model": "encoder", "tensor": 0})
    most = given["commands"]["max"]
    ranges = [
        [-number(most[key], f"commands.max.{key}"), number(most[key], f"commands.max.{key}")]
        for key in ("lin_vel_x", "lin_vel_y", "ang_vel_yaw")
    ]
    tensor: dict[str, Any] = {
        "tensor": model.inputs[0].name,
        "terms": [*terms, *observation, term_for("commands", ranges)],
    }
    tensor["normalization"] = normalization_of(model, tensor["tensor"], "none")
    encoder = [one for part in spec.get("models", {}).values() for one in part["observation"]]
    spec["inputs"] = used_inputs([tensor, *encoder])
    spec["observation"] = [tensor]
    spec["action"] = [{"tensor": model.outputs[0].name, "groups": _groups(given, joints, modes)}]
    spec["last_action"] = "clipped"
    draft.assumed.append("the terms, their order and their scales, from the deployment code")
    offset = {
        key: value
        for key, value in (given.get("imu_orientation_offset") or {}).items()
        if number(value, f"imu_orientation_offset.{key}")
    }
    if offset:
        draft.notes.append(f"imu_orientation_offset {offset}: set inputs.imu.mounting of the robot")


def _gain(control: Mapping[str, Any], name: str, key: str) -> float:
    which = "light" if "yaw_" in name or "ankle_pitch_" in name else "leg"
    if "wheel_" in name:
        if key == "stiffness":
            return 0.0
        which = "wheel"
    whole = f"{which}_joint_{key}"
    return number(control[whole], f"control.{whole}")


def _observation(
    given: Mapping[str, Any], start: Mapping[str, Any], joints: Sequence[str]
) -> list[Any]:
    """The terms of one observation: the code clips it as a whole, after the scales."""
    measured = [str(name) for name in start.get("sensor_joint_names") or joints]
    legs = [name for name in measured if "wheel_" not in name]
    terms: list[Any] = [
        term_for(name)
        for name in ("ang_vel", "projected_gravity", "dof_pos", "dof_vel", "last_action")
    ]
    terms[0]["scale"], terms[3]["scale"] = ANG_VEL_SCALE, DOF_VEL_SCALE
    for term, names in ((terms[2], legs), (terms[3], measured)):
        if names != list(joints):
            term["joints"] = names
    gait = given.get("gait") or {}
    if gait.get("enabled"):
        hertz = number(gait["frequency"], "gait.frequency")
        hold = {"input": "cmd_vel", "below": STANDS, "clock": "restart", "first": "start_plus_step"}
        numbers = [
            number(gait[key], f"gait.{key}")
            for key in ("frequency", "offset", "duration", "swing_height")
        ]
        terms += [
            {"term": "phase_clock", "name": "gait", "period": 1.0 / hertz,
             "first": "start_plus_step", "hold": hold},
            {"term": "constant", "name": "gait_command", "value": numbers},
        ]  # fmt: skip
    bound = number(given["normalization"]["clip_scales"]["clip_observations"], "clip_observations")
    for term in terms:
        term.update(clip=[-bound, bound], order="scale_clip")
    return terms


def _encoder(draft: Draft, given: Mapping[str, Any], observation: list[Any]) -> dict[str, Any]:
    file: str = ENCODER
    if not (draft.sources[0].parent / ENCODER).is_file():
        file = todo(f"the encoder's file ({ENCODER} in the source), next to this file")
    frames = int(given["size"]["obs_history_length"])
    tensor = {
        "tensor": 0,
        "terms": [dict(term) for term in observation],
        "history": {"stack": "frame", "order": "oldest_first", "length": frames, "fill": "repeat"},
        "normalization": "none",
    }
    draft.assumed.append("the encoder runs at every inference")
    return {"encoder": {"file": file, "observation": [tensor]}}


def _groups(
    given: Mapping[str, Any], joints: Sequence[str], modes: Sequence[str]
) -> list[dict[str, Any]]:
    """One group per run of joints with the same mode."""
    control = given["control"]
    bound = number(given["normalization"]["clip_scales"]["clip_actions"], "clip_actions")
    groups: list[dict[str, Any]] = []
    for name, mode in zip(joints, modes, strict=True):
        if groups and groups[-1]["kind"] == mode:
            groups[-1]["joints"].append(name)
            continue
        group: dict[str, Any] = {"kind": mode, "joints": [name], "clip_raw": [-bound, bound]}
        if mode == "velocity":
            group["scale"] = number(control["action_scale_vel"], "control.action_scale_vel")
        else:
            group["scale"] = number(control["action_scale_pos"], "control.action_scale_pos")
            group["relative_to"] = "default_joint_pos"
        groups.append(group)
    return groups
