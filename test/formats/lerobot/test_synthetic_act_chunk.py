"""The published chunk policy to its golden values: model, statistics and image."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from published_policies import MISSING, POLICIES, imported, write_spec

from policy_runner.backends.load import load_model
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.pipeline.bind_policy import BoundChunk, Robot, bind_policy
from policy_runner.core.spec import read_spec
from policy_runner.core.spec.parts import policies

pytestmark = pytest.mark.skipif(not POLICIES.is_dir(), reason=MISSING)
FOLDER = "synthetic-act-chunk"
JOINTS = [f"joint_{k}" for k in range(14)]


class Bound:
    """The imported policy with its TODOs replaced, bound to the real model."""

    def __init__(self, folder: Path) -> None:
        spec = imported(FOLDER, folder)
        spec.update(control_dt=0.02, joint_names=JOINTS, last_action="raw")
        spec["inputs"] = {
            "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
            "top": {"type": "sensor_msgs/msg/Image", "topic": "camera"},
        }
        state, _ = spec["observation"]
        state["terms"] = [{"term": "joint_position", "input": "joints"}]
        preset = "lerobot_mean_std"
        state["normalization"]["preset"] = preset
        action = spec["action"][0]
        action["groups"][0].update(kind="position", joints=JOINTS)
        action["denormalization"]["preset"] = preset
        spec["chunk"]["dt"] = 0.02
        spec_file = read_spec(write_spec(spec, folder))
        path = folder / spec_file.spec.model.file
        self.model = load_model("onnxruntime", path, None, spec_file.path)
        self.slots = {name: InputSlot(name, one) for name, one in spec_file.spec.inputs.items()}
        problems: list[Any] = []
        one = policies(spec_file.spec)[0]
        self.policy = bind_policy(one, spec_file, self.model, Robot(self.slots, {}, {}), problems)
        assert problems == []
        assert self.policy.chunk is not None
        self.chunk: BoundChunk = self.policy.chunk

    def decoded(self) -> np.ndarray:
        rows = self.chunk.decoder.decode()
        assert isinstance(rows, np.ndarray)
        return rows


def statistics() -> dict[str, np.ndarray]:
    stats = json.loads((POLICIES / FOLDER / "stats.json").read_text())
    return {f"{name}.{key}": np.array(values).reshape(-1)
            for name, one in stats.items() for key, values in one.items()}  # fmt: skip


def test_golden_tensors_give_the_golden_chunk_in_units(tmp_path: Path) -> None:
    bound = Bound(tmp_path)
    with np.load(POLICIES / FOLDER / "golden_policy.npz") as golden:
        for name in ("state", "image_0"):
            bound.model.inputs[name][...] = golden[f"in__{name}"]
        wanted = golden["out00__action_chunk"]
    bound.chunk.model.run()
    np.testing.assert_allclose(bound.model.outputs["action_chunk"], wanted, atol=1e-5)
    known = statistics()
    expected = wanted[0] * known["action.std"] + known["action.mean"]
    np.testing.assert_allclose(bound.decoded(), expected, atol=1e-5)
    assert bound.decoded().shape == (20, 14)


def test_a_picture_and_joints_give_the_chunk_of_their_normalized_numbers(tmp_path: Path) -> None:
    bound = Bound(tmp_path)
    generator = np.random.default_rng(2)
    pixels = generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    positions = generator.normal(size=14)
    message = SimpleNamespace(height=96, width=96, encoding="rgb8", is_bigendian=0, step=288,
                              data=pixels.tobytes())  # fmt: skip
    assert bound.slots["top"].keepers[""](message) == ""
    bound.slots["top"].received(1, 1)
    joints = bound.slots["joints"].joints
    assert joints is not None
    assert joints.merge(JOINTS, {"position": positions.tolist()}, 1) == ""
    policy = bound.policy.policy()
    policy.reset()
    assert policy.observe() is None
    assert policy.infer(1) is None
    known = statistics()
    mean, std = (known[f"observation.images.top.{key}"] for key in ("mean", "std"))
    image = ((pixels / 255.0 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(bound.model.inputs["image_0"][0], image, atol=1e-5)
    np.testing.assert_allclose(bound.model.inputs["state"][0], positions, atol=1e-6)
    alone = load_model("onnxruntime", POLICIES / FOLDER / "policy.onnx", None, tmp_path)
    alone.inputs["image_0"][0], alone.inputs["state"][0] = image, positions
    alone.run()
    raw = alone.outputs["action_chunk"][0]
    expected = raw * known["action.std"] + known["action.mean"]
    np.testing.assert_allclose(bound.decoded(), expected, atol=1e-4)
    # The action of the policy itself is the chunk's action at the observation.
    np.testing.assert_allclose(policy.decoder.target, bound.decoded()[0], atol=1e-12)
