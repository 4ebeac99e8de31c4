"""A policy with a text: action = joint velocity + a tenth of the text's first byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from runner_rig import JOINTS, spec

SIZE = 16  # bytes of the text


def text_spec(**changes: Any) -> dict[str, Any]:
    """Return the spec of that policy."""
    inputs = {
        "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
        "prompt": {"type": "std_msgs/msg/String", "topic": "~/prompt"},
    }
    observation = [
        {
            "tensor": "obs",
            "terms": [{"term": "joint_velocity", "input": "joints"}],
            "normalization": "none",
        },
        {"tensor": "text", "whole": {"term": "text", "input": "prompt", "size": SIZE}},
    ]
    action = [{"tensor": "actions", "groups": [{"kind": "velocity", "joints": list(JOINTS)}]}]
    return spec(inputs=inputs, observation=observation, state=[], action=action, **changes)


def write_text_policy(folder: Path, **changes: Any) -> Path:
    """Write policy.yaml and toy.onnx; return the path of policy.yaml."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = [
        numpy_helper.from_array(np.array([0], dtype=np.int64), "first"),
        numpy_helper.from_array(np.array([0.1], dtype=np.float32), "tenth"),
    ]
    nodes = [
        helper.make_node("Gather", ["text", "first"], ["byte"], axis=0),
        helper.make_node("Cast", ["byte"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "tenth"], ["share"]),
        helper.make_node("Add", ["obs", "share"], ["actions"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("text", TensorProto.UINT8, [SIZE]),
        ],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "toy.onnx"))
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(text_spec(**changes), sort_keys=False), encoding="utf-8")
    return path
