"""`replay` of images from an .npz, and of arrays that no reader expects: never a traceback."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import save, signals, write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")
IMAGE = {
    "inputs": {"camera": {"type": "sensor_msgs/msg/Image", "topic": "image"}},
    "observation": [{"tensor": "obs", "whole": {
        "term": "image", "input": "camera", "color": "rgb", "size": [2, 2], "resize": "refuse",
        "layout": "hwc", "scale": 1.0}}],
}  # fmt: skip
PIXELS = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """A policy that sees 2 x 2 pixels in colour."""
    return write_policy(tmp_path / "policy", size=12, **IMAGE)


def _replayed(policy: Path, folder: Path, given: dict[str, Any]) -> tuple[int, Any]:
    out = folder / "out.npz"
    status = main(["replay", str(policy), str(save(folder / "in.npz", given)), "-o", str(out)])
    return status, dict(np.load(out)) if status == 0 else None


@pytest.mark.parametrize("layout", ["pixels", "bgr", "bytes"])
def test_pixels_are_all_that_an_image_needs(layout: str, camera: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"camera/data": PIXELS, "control_dt": np.array(0.02)}
    if layout == "bgr":
        given.update({"camera/data": PIXELS[..., ::-1], "camera/encoding": np.array("bgr8")})
    elif layout == "bytes":
        given["camera/data"] = PIXELS.reshape(3, -1)
        for key, value in (("height", 2), ("width", 2), ("step", 6), ("encoding", "rgb8")):
            given[f"camera/{key}"] = np.array(value)
    status, found = _replayed(camera, tmp_path, given)
    assert status == 0
    np.testing.assert_array_equal(found["observation/obs"], PIXELS.reshape(3, -1))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"camera/encoding": np.array("rgb8")}, "camera/data: expected the pixels"),
        ({"camera/data": PIXELS.reshape(3, -1)}, "without height, width, encoding, step"),
        ({"camera/data": PIXELS.astype(np.float64)}, "float64 with 3 channels"),
        ({"camera/data": np.zeros((3, 2, 2, 3), "U1")}, "expected"),
        ({"camera/data": np.array(3)}, "expected"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    given: dict[str, Any], sentence: str, camera: Path, tmp_path: Path, capsys: Any
) -> None:
    assert _replayed(camera, tmp_path, {**given, "control_dt": np.array(0.02)})[0] == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"command": np.zeros(20)}, {"command": np.array(0.0)}, {"command": np.zeros((20, 1))},
        {"imu_angular_velocity": np.array("text")}, {"imu_angular_velocity": np.full(20, "x")},
        {"joint_position": np.zeros((0, 3))}, {"joint_state_names": np.array("hip")},
        {"control_dt": np.array("fast")}, {"control_dt": np.array([])},
        {"control_dt": np.array(np.inf)}, {"t": np.full(20, "now")}, {"t": np.array(1.0)},
        {"frame": np.zeros((0, 13))}, {"frame": np.full((3, 13), "x")}, {"frame": np.array(1.0)},
        {"in__obs": np.full((3, 13), "x")}, {"in__obs": np.zeros((0, 13))},
        {"imu/orientation": np.zeros((20, 4), np.complex128)},
    ],
    ids=lambda change: ", ".join(f"{k} {v.dtype} {v.shape}" for k, v in change.items()),
)  # fmt: skip
def test_no_array_gives_a_traceback(change: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path / "policy")
    given = {**signals(), **change}
    status = main(["replay", str(policy), str(save(tmp_path / "given.npz", given))])
    said = capsys.readouterr()
    assert status in (0, 1)
    assert "Traceback" not in said.err + said.out
    assert status == 0 or "expected" in said.err


def test_a_reference_of_another_kind_is_refused(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path / "policy")
    given = save(tmp_path / "given.npz", signals())
    for value in (np.full((20, 2), "x"), np.array(3.0), np.zeros((0, 2))):
        reference = save(tmp_path / "reference.npz", {"raw": value})
        status = main(["replay", str(policy), str(given), "--reference", str(reference)])
        assert status == 1
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(find_spec("rosbags") is None, reason="rosbags reads recordings")
@pytest.mark.parametrize("content", [b"text", b"", b"\x89MCAP0\r\n", b"SQLite format 3\0"])
@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "metadata.yaml"])
def test_a_file_that_is_no_recording_is_refused(
    name: str, content: bytes, tmp_path: Path, capsys: Any
) -> None:
    policy = write_policy(tmp_path / "policy")
    folder = tmp_path / "bag"
    folder.mkdir()
    (folder / name).write_bytes(content)
    given = folder if name == "metadata.yaml" else folder / name
    assert main(["replay", str(policy), str(given)]) == 1
    assert "expected a rosbag2 recording, got" in capsys.readouterr().err
