"""Small files of other trainers, in the format of their own tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

DEPLOY: dict[str, Any] = {
    "joint_ids_map": [1, 0],
    "step_dt": 0.02,
    "stiffness": [10.0, 20.0],  # in the order of the motors
    "damping": [1.0, 2.0],
    "default_joint_pos": [0.1, 0.2],
    "commands": {"base_velocity": {"ranges": {"lin_vel_x": [-0.5, 1.0], "lin_vel_y": [-0.3, 0.3],
                                              "ang_vel_z": [-0.2, 0.2], "heading": None}}},
    "actions": {"JointPositionAction": {"clip": None, "joint_names": [".*"], "scale": [0.25, 0.5],
                                        "offset": [0.1, 0.2], "joint_ids": None}},
    "observations": {
        "base_ang_vel": {"params": {}, "clip": [-10, 10], "scale": [0.2, 0.2, 0.2],
                         "history_length": 1},
        "velocity_commands": {"params": {}, "clip": None, "scale": [1, 1, 1], "history_length": 1},
        "joint_pos_rel": {"params": {}, "clip": None, "scale": [1.0, 1.0], "history_length": 1},
        "joint_vel_rel": {"params": {}, "clip": None, "scale": [0.05, 0.05], "history_length": 1},
        "last_action": {"params": {}, "clip": None, "scale": [1.0, 1.0], "history_length": 1},
    },
}  # fmt: skip

CSV = {
    "run_path": "team/project/run7",
    "joint_names": "hip,knee",
    "joint_stiffness": "40.179,99.098",
    "joint_damping": "2.558,6.309",
    "default_joint_pos": "-0.312,0.669",
    "command_names": "twist",
    "observation_names": "base_ang_vel,projected_gravity,command,joint_pos,joint_vel,actions",
    "action_scale": "0.548,0.351",
}

IO: dict[str, Any] = {
    "actions": [
        {"name": "joint_pos", "action_type": "JointAction", "mdp_type": "Action", "shape": [2],
         "joint_names": ["hip", "knee"], "scale": 0.5, "offset": [0.1, -0.2], "clip": None,
         "full_path": "isaaclab.envs.mdp.actions.JointPositionAction"},
    ],
    "articulations": {
        "robot": {"joint_names": ["hip", "knee"], "default_joint_pos": [0.1, -0.2],
                  "default_joint_stiffness": [25.0, 30.0], "default_joint_damping": [0.5, 0.5]}
    },
    "observations": {
        "policy": [
            {"name": "base_ang_vel", "shape": [3],
             "overloads": {"clip": None, "scale": 0.25, "history_length": 0}},
            {"name": "joint_pos_rel", "shape": [2], "joint_names": ["knee", "hip"],
             "joint_pos_offsets": [-0.2, 0.1],
             "overloads": {"clip": [-5.0, 5.0], "scale": None, "history_length": 2}},
            {"name": "last_action", "shape": [2], "overloads": {}},
        ]
    },
    "scene": {"physics_dt": 0.005, "dt": 0.02, "decimation": 4},
}  # fmt: skip


def _safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    header, body = {}, b""
    for name, array in arrays.items():
        data = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [len(body), len(body) + len(data)]}  # fmt: skip
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def write_processors(folder: Path, state: str = "MEAN_STD", action: str = "QUANTILES") -> None:
    """Write LeRobot's pre- and postprocessor, with the statistics of both."""
    features = {"observation.state": {"type": "STATE", "shape": [4]},
                "action": {"type": "ACTION", "shape": [2]}}  # fmt: skip
    for kind in ("pre", "post"):
        name = "normalizer" if kind == "pre" else "unnormalizer"
        file = f"policy_{kind}processor_step_3_{name}_processor.safetensors"
        config = {"eps": 1e-8, "features": features, "norm_map": {"STATE": state, "ACTION": action}}
        steps = [
            {"registry_name": "rename_observations_processor", "config": {}},
            {"registry_name": f"{name}_processor", "config": config, "state_file": file},
        ]
        (folder / f"policy_{kind}processor.json").write_text(json.dumps({"steps": steps}))
        _safetensors(folder / file, {
            "observation.state.mean": np.arange(4.0), "observation.state.std": np.ones(4) / 2,
            "action.q01": np.array([-1.0, -2.0]), "action.q99": np.array([1.0, 2.0]),
        })  # fmt: skip
