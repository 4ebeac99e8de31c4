"""Policies with several models: their ONNX files, their specs, and plain numpy loops of them.

walk: an encoder (a history of five frames and a memory of its own, every third inference) whose
latent is an input of the policy. stand: one small model with a state of its own. The loops compute
in float64, without any code of the package.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import yaml

PERIOD_S = 0.005
JOINTS = ("hip", "knee")
DEFAULT = np.array([0.1, -0.2])
LENGTH, EVERY, LATENT = 5, 3, 4
FRAME = 6  # of the encoder: positions, velocities, last action
MEMORY, OBS, STAND = 2, 13, 5
UP, DOWN = 0.06, 0.04
SCALES = {"walk": 0.25, "stand": 0.5}
LATENT_SCALE, LATENT_CLIP = 2.0, 1.5


def _weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.4, shape).astype(np.float32)


ENCODE = _weights(1, FRAME * LENGTH + MEMORY, LATENT)
REMEMBER = _weights(2, FRAME * LENGTH + MEMORY, MEMORY)
HIDDEN, OUT = _weights(3, OBS, 16), _weights(4, 16, 2)
STANDING, KEEPING = _weights(5, STAND, 2), _weights(6, STAND, 1)
TWO_INPUTS = _weights(9, 2 + LATENT, 2)
MEAN, STD = 0.1 * _weights(7, OBS).astype(np.float64), 1.0 + np.abs(_weights(8, OBS))


def write_models(folder: Path) -> None:
    """Write encoder.onnx, walk.onnx, two_inputs.onnx and stand.onnx."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def save(file: str, nodes: Any, inputs: Any, outputs: Any, **stored: np.ndarray) -> None:
        def info(sizes: Any) -> Any:
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
                for name, size in sizes.items()
            ]

        weights = [numpy_helper.from_array(array, name) for name, array in stored.items()]
        graph = helper.make_graph(nodes, file, info(inputs), info(outputs), weights)
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / file)

    folder.mkdir(parents=True, exist_ok=True)
    node = helper.make_node
    save(
        "encoder.onnx",
        [
            node("Concat", ["history", "memory"], ["all"], axis=1),
            node("MatMul", ["all", "encode"], ["coded"]),
            node("Tanh", ["coded"], ["latent"]),
            node("MatMul", ["all", "remember"], ["kept"]),
            node("Tanh", ["kept"], ["next_memory"]),
        ],
        {"history": FRAME * LENGTH, "memory": MEMORY},
        {"latent": LATENT, "next_memory": MEMORY},
        encode=ENCODE, remember=REMEMBER,
    )  # fmt: skip
    save(
        "walk.onnx",
        [
            node("MatMul", ["obs", "hidden"], ["h"]),
            node("Elu", ["h"], ["active"]),
            node("MatMul", ["active", "out"], ["actions"]),
        ],
        {"obs": OBS},
        {"actions": 2},
        hidden=HIDDEN, out=OUT,
    )  # fmt: skip
    save(
        "two_inputs.onnx",
        [
            node("Concat", ["obs", "latent"], ["all"], axis=1),
            node("MatMul", ["all", "two_inputs"], ["actions"]),
        ],
        {"obs": 2, "latent": LATENT},
        {"actions": 2},
        two_inputs=TWO_INPUTS,
    )  # fmt: skip
    save(
        "stand.onnx",
        [
            node("Concat", ["obs", "state"], ["all"], axis=1),
            node("MatMul", ["all", "standing"], ["actions"]),
            node("MatMul", ["all", "keeping"], ["kept"]),
            node("Tanh", ["kept"], ["next_state"]),
        ],
        {"obs": STAND - 1, "state": 1},
        {"actions": 2, "next_state": 1},
        standing=STANDING, keeping=KEEPING,
    )  # fmt: skip


def _action(scale: float) -> list[dict[str, Any]]:
    group = {"kind": "position", "joints": list(JOINTS), "scale": scale,
             "relative_to": "default_joint_pos"}  # fmt: skip
    return [{"tensor": "actions", "groups": [group]}]


def _joint(kind: str, **keys: Any) -> dict[str, Any]:
    return {"term": f"joint_{kind}", "input": "joints", **keys}


WALK: dict[str, Any] = {
    "model": {"file": "walk.onnx"},
    "models": {
        "encoder": {
            "file": "encoder.onnx",
            "every": EVERY,
            "observation": [
                {
                    "tensor": "history",
                    "terms": [
                        _joint("position", relative_to="default_joint_pos"),
                        _joint("velocity", scale=0.05),
                        {"term": "last_action"},
                    ],
                    "history": {"stack": "frame", "order": "oldest_first", "length": LENGTH,
                                "fill": "zeros"},
                    "normalization": "none",
                }
            ],
            "state": [{"input": "memory", "output": "next_memory"}],
        }
    },
    "observation": [
        {
            "tensor": "obs",
            "terms": [
                {"term": "velocity_command", "input": "command"},
                {"term": "model_output", "model": "encoder", "tensor": "latent",
                 "scale": LATENT_SCALE, "clip": [-LATENT_CLIP, LATENT_CLIP], "order": "scale_clip"},
                _joint("position", relative_to="default_joint_pos"),
                _joint("velocity", scale=0.05),
                {"term": "last_action"},
            ],
            "normalization": {"formula": "mean_std", "eps": 0.0, "eps_in_sqrt": False,
                              "statistics": {"mean": MEAN.tolist(), "std": STD.tolist()}},
        }
    ],
    "action": _action(SCALES["walk"]),
    "last_action": "raw",
}  # fmt: skip

STAND_POLICY: dict[str, Any] = {
    "model": {"file": "stand.onnx"},
    "observation": [
        {
            "tensor": "obs",
            "terms": [
                _joint("position", relative_to="default_joint_pos"),
                {"term": "last_action"},
            ],
            "normalization": "none",
        }
    ],
    "state": [{"input": "state", "output": "next_state"}],
    "action": _action(SCALES["stand"]),
    "last_action": "raw",
}

COMMON: dict[str, Any] = {
    "schema": "policy_runner/1",
    "name": "several",
    "control_dt": PERIOD_S,
    "joint_names": list(JOINTS),
    "default_joint_pos": DEFAULT.tolist(),
    "inputs": {
        "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
        "command": {"type": "geometry_msgs/msg/Twist", "topic": "cmd_vel"},
    },
}
SWITCH: dict[str, Any] = {
    "first": "stand",
    "value": {"input": "command", "fields": ["linear.x", "linear.y", "angular.z"]},
    "thresholds": [{"up": UP, "down": DOWN}],
    "state": "reset",
    "history": "reset",
    "clocks": "reset",
    "last_action": "zeros",
}


def chain() -> dict[str, Any]:
    """Return the spec of walk alone."""
    return copy.deepcopy({**COMMON, **WALK})


def two_inputs() -> dict[str, Any]:
    """Return the spec of a policy with the latent as an input of its own, next to positions."""
    content = chain()
    content["model"]["file"] = "two_inputs.onnx"
    content["inputs"].pop("command")
    content["observation"] = [
        {
            "tensor": "obs",
            "terms": [_joint("position", relative_to="default_joint_pos")],
            "normalization": "none",
        },
        {
            "tensor": "latent",
            "whole": {"term": "model_output", "model": "encoder", "tensor": "latent"},
        },
    ]
    return content


def switch(**changes: Any) -> dict[str, Any]:
    """Return the spec of stand, and walk above a norm of the command."""
    rule = {**SWITCH, **changes, "policies": {"walk": WALK}}
    return copy.deepcopy({**COMMON, **STAND_POLICY, "switch": rule})


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Write the models and policy.yaml; return the spec's path."""
    write_models(folder)
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def recorded(ticks: int = 160) -> dict[str, np.ndarray]:
    """Return positions, velocities [ticks, 2] and commands [ticks, 3] that cross the thresholds."""
    random = np.random.default_rng(11)
    k = np.arange(ticks)
    speed = 0.055 + 0.05 * np.sin(2.0 * np.pi * k / 53.0)  # also turns between the thresholds
    command = np.stack([0.6 * speed, 0.8 * speed, np.zeros(ticks)], axis=1)
    return {
        "position": DEFAULT + random.normal(0.0, 0.3, (ticks, 2)),
        "velocity": random.normal(0.0, 2.0, (ticks, 2)),
        "command": command,
    }


class WalkLoop:
    """walk in plain numpy: one `step` per inference."""

    def __init__(self) -> None:
        self.last = np.zeros(2)
        self.reset()

    def reset(self) -> None:
        self.frames = [np.zeros(FRAME)] * LENGTH
        self.begin()

    def begin(self) -> None:
        """The memory of the encoder as at the first inference."""
        self.memory, self.latent, self.count = np.zeros(MEMORY), np.zeros(LATENT), 0

    def push(self, position: np.ndarray, velocity: np.ndarray) -> None:
        frame = np.concatenate([position - DEFAULT, 0.05 * velocity, self.last])
        self.frames = [*self.frames[1:], frame]

    def encode(self) -> None:
        if self.count % EVERY == 0:
            all_of_it = np.concatenate([*self.frames, self.memory])
            self.latent = np.tanh(all_of_it @ ENCODE)
            self.memory = np.tanh(all_of_it @ REMEMBER)
        self.count += 1

    def step(self, position: np.ndarray, velocity: np.ndarray, command: np.ndarray) -> np.ndarray:
        self.push(position, velocity)
        self.encode()
        shown = np.clip(LATENT_SCALE * self.latent, -LATENT_CLIP, LATENT_CLIP)
        obs = np.concatenate([command, shown, position - DEFAULT, 0.05 * velocity, self.last])
        hidden = ((obs - MEAN) / STD) @ HIDDEN
        active = np.where(hidden > 0.0, hidden, np.exp(np.minimum(hidden, 0.0)) - 1.0)
        self.last = active @ OUT
        return np.asarray(DEFAULT + SCALES["walk"] * self.last)


class StandLoop:
    """stand in plain numpy."""

    def __init__(self) -> None:
        self.last = np.zeros(2)
        self.reset()

    def reset(self) -> None:
        self.state = np.zeros(1)

    def follow(self, position: np.ndarray) -> np.ndarray:
        all_of_it = np.concatenate([position - DEFAULT, self.last, self.state])
        self.state = np.tanh(all_of_it @ KEEPING)
        return np.asarray(all_of_it @ STANDING)

    def step(self, position: np.ndarray) -> np.ndarray:
        self.last = self.follow(position)
        return np.asarray(DEFAULT + SCALES["stand"] * self.last)


def walked_two_inputs(given: dict[str, np.ndarray]) -> np.ndarray:
    """Return the targets of `two_inputs`, [ticks, 2]."""
    loop, targets = WalkLoop(), []
    for position, velocity in zip(given["position"], given["velocity"], strict=True):
        loop.push(position, velocity)
        loop.encode()
        loop.last = np.concatenate([position - DEFAULT, loop.latent]) @ TWO_INPUTS
        targets.append(DEFAULT + SCALES["walk"] * loop.last)
    return np.array(targets)


def walked(given: dict[str, np.ndarray]) -> np.ndarray:
    """Return the targets of walk alone, [ticks, 2]."""
    loop = WalkLoop()
    rows = zip(given["position"], given["velocity"], given["command"], strict=True)
    return np.array([loop.step(*row) for row in rows])
