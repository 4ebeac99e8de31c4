"""The policy of the benchmarks: 48 observations to 12 positions, layers of 512, 256, 128.

It has the shape of a quadruped's walking policy: gyro, gravity, acceleration, a constant command,
12 joint positions and velocities, last action. The weights are random, since only its cost matters.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

LEGS = [
    f"{leg}_{part}_joint" for leg in ("FL", "FR", "RL", "RR") for part in ("hip", "thigh", "calf")
]
OBSERVATIONS, ACTIONS, HIDDEN = 48, len(LEGS), (512, 256, 128)
SPEC = """\
schema: policy_runner/1
name: benchmark
model: {{file: policy.onnx}}
control_dt: {control_dt!r}
joint_names: {joints}
default_joint_pos: {pose}
inputs:
  imu: {{type: sensor_msgs/msg/Imu, topic: imu/data}}
  joint_states: {{type: sensor_msgs/msg/JointState, topic: joint_states}}
observation:
  - tensor: obs
    terms:
      - {{term: field, input: imu, field: angular_velocity, scale: 0.25}}
      - {{term: projected_gravity, input: imu}}
      - {{term: field, input: imu, field: linear_acceleration, scale: 0.1}}
      - {{term: constant, value: [0.5, 0.0, 0.1]}}
      - {{term: joint_position, input: joint_states, relative_to: default_joint_pos}}
      - {{term: joint_velocity, input: joint_states, scale: 0.05}}
      - {{term: last_action}}
    normalization: {{preset: rl_games, statistics: statistics.npz}}
action:
  - tensor: actions
    groups:
      - {{kind: position, joints: {joints}, clip_raw: [-10.0, 10.0], scale: 0.25,
         relative_to: default_joint_pos}}
last_action: clipped
"""


def write_policy(folder: Path, rate_hz: float) -> Path:
    """Write policy.yaml, policy.onnx and statistics.npz into a folder; returns the folder."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    sizes = (OBSERVATIONS, *HIDDEN, ACTIONS)
    weights, nodes, previous = [], [], "obs"
    for k, (wide, narrow) in enumerate(itertools.pairwise(sizes)):
        matrix = rng.standard_normal((wide, narrow)).astype(np.float32) / np.float32(wide**0.5)
        weights.append(numpy_helper.from_array(matrix, f"w{k}"))
        weights.append(numpy_helper.from_array(np.zeros(narrow, np.float32), f"b{k}"))
        last = k == len(sizes) - 2
        out = "actions" if last else f"h{k}"
        nodes.append(helper.make_node("Gemm", [previous, f"w{k}", f"b{k}"], [out]))
        if not last:
            nodes.append(helper.make_node("Elu", [out], [f"e{k}"]))
            previous = f"e{k}"
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, OBSERVATIONS])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, ACTIONS])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "policy.onnx")
    np.savez(folder / "statistics.npz", mean=np.zeros(OBSERVATIONS), var=np.ones(OBSERVATIONS))
    text = SPEC.format(control_dt=1.0 / rate_hz, joints=LEGS, pose=[0.1] * ACTIONS)
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    return folder
