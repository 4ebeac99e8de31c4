"""`replay` of inputs of variable size: scans of any length, and images."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import PERIOD_S, load, save, write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")


def test_a_sequence_of_any_length_is_taken(tmp_path: Path) -> None:
    inputs = {"scan": {"type": "sensor_msgs/msg/LaserScan", "topic": "scan"}}
    term = {"term": "field", "name": "ranges", "input": "scan", "field": "ranges",
            "pool": {"bins": 13, "by": "min"}, "nonfinite": {"inf": 30.0}}  # fmt: skip
    observation = [{"tensor": "obs", "terms": [term], "normalization": "none"}]
    policy = write_policy(tmp_path / "policy", inputs=inputs, observation=observation)
    ranges = np.random.default_rng(5).uniform(1.0, 9.0, (4, 26))
    ranges[2] = np.inf
    given = {"control_dt": np.array(PERIOD_S), "scan/ranges": ranges}
    out = tmp_path / "out.npz"
    path = save(tmp_path / "given.npz", given)
    assert main(["replay", str(policy), str(path), "-o", str(out)]) == 0
    found = load(out)["observation/obs"]
    wanted = ranges.reshape(4, 13, 2).min(axis=2)
    wanted[2] = 30.0
    assert np.allclose(found, wanted)


def test_an_image_becomes_a_tensor(tmp_path: Path) -> None:
    inputs = {"camera": {"type": "sensor_msgs/msg/Image", "topic": "image_raw"}}
    term: dict[str, Any] = {
        "term": "image",
        "input": "camera",
        "color": "rgb",
        "size": [2, 2],
        "layout": "chw",
        "scale": 1 / 255,
    }
    observation = [{"tensor": "obs", "terms": [term], "normalization": "none"}]
    policy = write_policy(tmp_path / "policy", 12, inputs=inputs, observation=observation)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 2, 2, 3), np.uint8)
    given = {
        "control_dt": np.array(PERIOD_S),
        "camera/height": np.full(3, 2),
        "camera/width": np.full(3, 2),
        "camera/step": np.full(3, 6),
        "camera/encoding": np.array(["rgb8", "rgb8", "bgr8"]),
        "camera/is_bigendian": np.zeros(3, np.int64),
        "camera/data": pixels.reshape(3, 12),
    }
    out = tmp_path / "out.npz"
    path = save(tmp_path / "given.npz", given)
    assert main(["replay", str(policy), str(path), "-o", str(out)]) == 0
    found = load(out)["observation/obs"].reshape(3, 3, 2, 2)
    wanted = pixels.astype(np.float64).transpose(0, 3, 1, 2) / 255
    wanted[2] = wanted[2][::-1]  # blue first
    assert np.allclose(found, wanted, atol=1e-6)
