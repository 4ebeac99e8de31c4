"""The shipped policy of chunks: its files fit, and it moves the arm towards the ball."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from policy_runner import load_policy

pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime")

ROOT = Path(__file__).resolve().parents[2]
MS, SIDE = 1_000_000, 64
PARAMETERS = """\
policy_runner:
  ros__parameters: {rate: 100.0, inference: {simulated_latency: 0.2}}
"""


def seen(across: int, down: int) -> np.ndarray:
    """A table, an arm along +x, and a ball at these pixels, as the camera above sees them."""
    image = np.full((SIDE, SIDE, 3), (217, 217, 204), np.uint8)
    image[30:34, 32:58] = (51, 90, 178)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image[(rows - down) ** 2 + (columns - across) ** 2 < 4] = (230, 38, 25)
    return image


def commands(folder: Path, image: np.ndarray) -> np.ndarray:
    """The commands of a second, at 100 Hz, with the arm at rest along +x."""
    params = folder / "robot.yaml"
    params.write_text(PARAMETERS, encoding="utf-8")
    loaded = load_policy(ROOT / "models" / "reach", params)
    message = SimpleNamespace(
        height=SIDE, width=SIDE, step=3 * SIDE, encoding="rgb8", is_bigendian=0,
        data=image.tobytes(),
    )  # fmt: skip
    found = []
    for tick in range(100):
        now_ns = 10**9 + tick * 10 * MS
        pose = {"name": ["elbow", "shoulder"], "position": [0.0, 0.0]}
        loaded.feed("joint_states", pose, now_ns)
        loaded.feed("camera", {"": message}, now_ns)
        step = loaded.pipeline.step(now_ns)
        if step.command is not None:
            found.append(step.command.copy())
    loaded.close()
    return np.array(found)


def test_it_moves_smoothly_and_to_the_side_of_the_ball(tmp_path: Path) -> None:
    left, right = (commands(tmp_path, seen(44, down)) for down in (14, 50))
    for moved in (left, right):
        assert len(moved) == 80  # the first result counts after 0.2 s
        assert np.abs(moved[0]).max() <= 0.015 + 1e-6  # one tick at the catch-up rate
        assert np.abs(np.diff(moved, axis=0)).max() <= 0.1
    # The camera looks down, so the upper half of the image is +y: the shoulder turns left.
    assert left[-1, 0] - right[-1, 0] > 0.3
