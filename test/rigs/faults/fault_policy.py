"""The policy of the fault matrix; the robot can make it slow or wrong through cmd_vel.

action = 2 * joint velocity + (linear.x, angular.z) of cmd_vel. linear.y makes an inference slow
(1: about ten periods), linear.z above 1 makes the action NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from runner_rig import JOINTS, PERIOD_S, spec

AXES = ["linear.x", "angular.z", "linear.y", "linear.z"]
TRIPS, WIDTH = 5000, 20_000  # size of the loop in the model: about 0.2 s


def fault_spec(kind: str = "velocity", chunk: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the spec of that policy; `chunk`: number of actions of a chunk, 0: none."""
    terms = [
        {"term": "joint_velocity", "input": "joints"},
        {"term": "velocity_command", "input": "command", "axes": AXES},
        {"term": "projected_gravity", "input": "imu"},
    ]
    inputs = {
        "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
        "command": {"type": "geometry_msgs/msg/TwistStamped", "topic": "cmd_vel"},
        "imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"},
    }
    observation = [{"tensor": "obs", "terms": terms, "normalization": "none"}]
    if chunk:
        # With the default of 1 unit/s a velocity takes 6 s from 0 to the policy's.
        rate = 100.0 if kind == "velocity" else 1.0
        changes["chunk"] = {"dt": PERIOD_S, "seam": {"catch_up_rate": rate}}
    action = [{"tensor": "actions", "groups": [{"kind": kind, "joints": list(JOINTS)}]}]
    return spec(inputs=inputs, observation=observation, state=[], action=action, **changes)


def write_fault_policy(
    folder: Path, gain: float = 2.0, size: int = 9, chunk: int = 0, **changes: Any
) -> Path:
    """Write policy.yaml and toy.onnx; return the folder.

    `gain`: factor of the joint velocities. `size`: of the observation; only 9 matches the spec.
    `chunk`: the policy returns so many times the same action, as one chunk.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: Any, kind: Any = np.float32) -> Any:
        return numpy_helper.from_array(np.asarray(value, dtype=kind), name)

    def tensor(name: str, shape: Sequence[int], kind: int = TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    def pick(k: int, name: str) -> Any:
        return helper.make_node("Gather", ["obs", f"at{k}"], [name], axis=1)

    weights = np.zeros((size, 2))
    weights[:2], weights[2:4] = gain * np.eye(2), np.eye(2)
    body = helper.make_graph(
        [
            helper.make_node("Sin", ["wave"], ["next"]),
            helper.make_node("Identity", ["go"], ["still"]),
        ],
        "body",
        [
            tensor("trip", [], TensorProto.INT64),
            tensor("go", [], TensorProto.BOOL),
            tensor("wave", [WIDTH]),
        ],
        [tensor("still", [], TensorProto.BOOL), tensor("next", [WIDTH])],
    )
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["moved"]),
        pick(4, "slow"),
        helper.make_node("Mul", ["slow", "trips"], ["wanted"]),
        helper.make_node("Cast", ["wanted"], ["count2"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["count2", "scalar"], ["count"]),
        helper.make_node("Loop", ["count", "yes", "start"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["peak"], keepdims=0),
        pick(5, "root"),
        helper.make_node("Sub", ["one", "root"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["rooted"]),
        helper.make_node("Add", ["peak", "rooted"], ["sum"]),
        helper.make_node("Mul", ["sum", "nothing"], ["odd"]),
        helper.make_node("Add", ["moved", "odd"], ["action" if chunk else "actions"]),
    ]
    if chunk:
        nodes.append(helper.make_node("Expand", ["action", "shape"], ["actions"]))
    constants = [
        constant("weights", weights),
        constant("at4", [4], np.int64),
        constant("at5", [5], np.int64),
        constant("trips", TRIPS),
        constant("scalar", np.zeros(0), np.int64),
        constant("yes", True, np.bool_),
        constant("start", np.ones(WIDTH)),
        constant("one", 1.0),
        constant("nothing", 0.0),
    ]
    if chunk:
        constants.append(constant("shape", [1, chunk, 2], np.int64))
    shape = [1, chunk, 2] if chunk else [1, 2]
    graph = helper.make_graph(
        nodes, "toy", [tensor("obs", [1, size])], [tensor("actions", shape)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "toy.onnx"))
    text = yaml.safe_dump(fault_spec(chunk=chunk, **changes), sort_keys=False)
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    return folder
