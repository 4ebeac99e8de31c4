"""A policy of chunks that reads joints, a scan and a camera, and what it is fed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from policy_runner.core.spec import read_spec
from policy_runner.robot.load import LoadedPolicy, bind_policy
from policy_runner.robot.values import parameter_values

STEPS, PIXELS = 4, (4, 6)
MS = 1_000_000


def write_policy(folder: Path) -> Path:
    """A chunk that depends on every number of joints, scan and image, of three frames."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size, pixels = 3 * (2 + 5), 3 * PIXELS[0] * PIXELS[1]
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.normal(size=(size, STEPS * 2)),
        "v": rng.normal(size=(pixels, STEPS * 2)),
        "shape": np.array([1, STEPS, 2]),
        "flat": np.array([1, pixels]),
    }

    def tensor(name: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["obs", "w"], ["a"]),
            helper.make_node("Reshape", ["image", "flat"], ["pixels"]),
            helper.make_node("MatMul", ["pixels", "v"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Reshape", ["c", "shape"], ["actions"]),
        ],
        "toy",
        [tensor("obs", [1, size]), tensor("image", [1, 3, *PIXELS])],
        [tensor("actions", [1, STEPS, 2])],
        [
            numpy_helper.from_array(
                value.astype(np.int64 if value.dtype.kind == "i" else np.float32), name
            )
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "toy.onnx"))
    history = {"length": 3, "stack": "frame", "order": "oldest_first", "fill": "repeat"}
    image = {"term": "image", "input": "camera", "color": "rgb", "size": [*PIXELS],
             "layout": "chw", "scale": 0.01}  # fmt: skip
    spec = {
        "schema": "policy_runner/1",
        "name": "toy",
        "model": {"file": "toy.onnx"},
        "control_dt": 0.02,
        "joint_names": ["a", "b"],
        "inputs": {
            "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
            "scan": {"type": "sensor_msgs/msg/LaserScan", "topic": "scan"},
            "camera": {"type": "sensor_msgs/msg/Image", "topic": "image"},
        },
        "observation": [
            {
                "tensor": "obs",
                "terms": [
                    {"term": "joint_position", "input": "joints"},
                    {
                        "term": "field",
                        "input": "scan",
                        "field": "ranges",
                        "pool": {"bins": 5, "by": "min"},
                    },
                ],
                "normalization": "none",
                "history": history,
            },
            {"tensor": "image", "whole": image, "normalization": "none"},
        ],
        "action": [
            {
                "tensor": "actions",
                "groups": [
                    {"kind": "position", "joints": ["a", "b"], "relative_to": "measured"},
                ],
            }
        ],
        "chunk": {"dt": 0.02},
        "last_action": "raw",
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return folder


def bound(folder: Path, lane: str, simulated: bool = False, **more: Any) -> LoadedPolicy:
    """Bind it with this lane and these parameters."""
    spec_file = read_spec(folder)
    values, _ = parameter_values(None, spec_file.spec, [], [])
    given = {"inference.lane": lane, "require_arming": False, **more}
    return bind_policy(spec_file, {**values, **given}, simulated)


def feed(loaded: LoadedPolicy, k: int, now_ns: int) -> None:
    """Message k of every input; the camera sends every second one."""
    rng = np.random.default_rng(k)
    names = {"name": ["b", "a"], "position": rng.normal(size=2)}
    loaded.feed("joints", names, now_ns)
    loaded.feed("scan", {"ranges": rng.uniform(1.0, 2.0, 5)}, now_ns)
    if k % 2 == 0:
        pixels = rng.integers(0, 256, (*PIXELS, 3), dtype=np.uint8)
        image = SimpleNamespace(
            height=PIXELS[0], width=PIXELS[1], step=3 * PIXELS[1] + 1, encoding="bgr8",
            is_bigendian=0, data=np.pad(pixels.reshape(PIXELS[0], -1), ((0, 0), (0, 1))).tobytes(),
        )  # fmt: skip
        loaded.feed("camera", {"": image}, now_ns)
