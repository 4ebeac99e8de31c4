"""Pixels as trainers had them: torch's and OpenCV's resizing, depth in one unit, ranges of 0."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_rig import FakeModel, make_rig, refused, term
from fidelity_rig import fault, terms_content
from rules_rig import DT, PERIOD_NS, meets

from policy_runner.core.safety.decision import Decision

IMAGE, SCAN = "sensor_msgs/msg/Image", "sensor_msgs/msg/LaserScan"
FRAMES, ROWS, COLUMNS = 100, 9, 14
RANDOM = np.random.default_rng(41)
METERS = RANDOM.uniform(0.3, 6.0, size=(FRAMES, ROWS, COLUMNS)).astype(np.float32)
METERS[RANDOM.uniform(size=METERS.shape) < 0.1] = 0.0
COLORS = RANDOM.integers(0, 256, size=(FRAMES, ROWS, COLUMNS, 3)).astype(np.uint8)
needs_pillow = pytest.mark.skipif(find_spec("PIL") is None, reason="Pillow is not installed")


def _message(pixels: np.ndarray, encoding: str) -> SimpleNamespace:
    return SimpleNamespace(
        encoding=encoding, height=pixels.shape[0], width=pixels.shape[1], is_bigendian=0,
        step=pixels.strides[0], data=pixels.tobytes(),
    )  # fmt: skip


def _run(folder: Path, messages: list[SimpleNamespace], numbers: int, **keys: Any) -> np.ndarray:
    one = term("image", input="camera", layout="hwc", **keys)
    content = terms_content([one], {"camera": IMAGE}, control_dt=DT)
    model = FakeModel({"obs": (1, numbers)}, {"act": (1, 2)})
    rig = make_rig(folder, content, model, period_ns=PERIOD_NS)
    slot = rig.pipeline.slots["camera"]
    for k, message in enumerate(messages):
        slot.keepers[""](message)
        slot.received((k + 1) * PERIOD_NS, (k + 1) * PERIOD_NS)
        step = rig.pipeline.step((k + 1) * PERIOD_NS)
        assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    return np.array([seen["obs"].reshape(-1).astype(float) for seen in model.seen])


def _linear(size: int, wanted: int) -> np.ndarray:
    """Return the weights [wanted, size] of torch's bilinear and OpenCV's INTER_LINEAR."""
    found = np.zeros((wanted, size))
    for i in range(wanted):
        x = max((i + 0.5) * size / wanted - 0.5, 0.0)
        low = min(int(x), size - 1)
        high = min(low + 1, size - 1)
        found[i, low] += 1.0 - (x - low)
        found[i, high] += x - low
    return found


def _triangle(size: int, wanted: int) -> np.ndarray:
    """Return the weights [wanted, size] of torch's bilinear with antialias."""
    found, scale = np.zeros((wanted, size)), size / wanted
    wide = max(scale, 1.0)
    for i in range(wanted):
        for j in range(size):
            found[i, j] = max(0.0, 1.0 - abs((j + 0.5) - (i + 0.5) * scale) / wide)
        found[i] /= found[i].sum()
    return found


def _resized(pixels: np.ndarray, weights: Any, height: int, width: int) -> np.ndarray:
    rows, columns = weights(pixels.shape[0], height), weights(pixels.shape[1], width)
    return np.einsum("ij,jk...,lk->il...", rows, pixels.astype(float), columns)


def _cv2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let OpenCV be there: itself, or a module of its rule for INTER_LINEAR."""
    if find_spec("cv2") is not None:
        return

    def resize(source: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
        assert interpolation == 1
        turned = _resized(source, _linear, size[1], size[0]).astype(source.dtype)
        return turned[:, :, 0] if turned.shape[2:] == (1,) else turned  # as OpenCV does

    names = ("NEAREST", "LINEAR", "CUBIC", "AREA", "LANCZOS4")
    flags = {f"INTER_{name}": k for k, name in enumerate(names)}
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(resize=resize, **flags))


DEPTH = [_message(frame[:, :, None], "32FC1") for frame in METERS]
SIZES = [(4, 5), (12, 20)]  # fewer pixels, and more


@needs_pillow
@pytest.mark.parametrize("size", SIZES, ids=["smaller", "larger"])
@pytest.mark.parametrize(
    ("how", "weights", "mutation"),
    [
        ("torch_bilinear", _linear, "torch_bilinear_aligned"),
        ("torch_bilinear_antialias", _triangle, "torch_nearest"),
        ("cv2_linear", _linear, "nearest"),
    ],
)
def test_a_resized_depth_image_by_hand(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    weights: Any,
    mutation: str,
    size: tuple[int, int],
) -> None:
    _cv2(monkeypatch)
    keys = {"color": "depth", "size": list(size), "scale": 0.5, "mean": 0.1}
    expected = np.array([
        (0.5 * _resized(frame, weights, *size) - 0.1).reshape(-1) for frame in METERS
    ])  # fmt: skip
    count = size[0] * size[1]
    assert meets(_run(tmp_path, DEPTH, count, resize=how, **keys), expected)
    assert not meets(_run(tmp_path, DEPTH, count, resize=mutation, **keys), expected)


@needs_pillow
def test_pillow_and_torch_without_antialias_differ(tmp_path: Path) -> None:
    """Up to the full range: one reads two pixels where the other averages over ten."""
    stripes = np.zeros((1, 100, 100, 3), dtype=np.uint8)
    stripes[:, :, ::10] = stripes[:, ::10] = 255
    messages = [_message(stripes[0], "rgb8")]
    keys = {"color": "rgb", "size": [10, 10], "scale": 1 / 255}
    torch = _run(tmp_path, messages, 300, resize="torch_nearest", **keys)
    pillow = _run(tmp_path, messages, 300, resize="bilinear", **keys)
    assert np.abs(torch - pillow).max() > 0.6


def test_resized_colours_by_hand(tmp_path: Path) -> None:
    messages = [_message(frame, "rgb8") for frame in COLORS]
    keys = {"size": [4, 5], "scale": 1 / 255, "resize": "torch_bilinear"}
    rows = []
    for frame in COLORS:
        rows.append(_resized(frame, _linear, 4, 5)[:, :, ::-1].reshape(-1) / 255)
    expected = np.array(rows)
    assert meets(_run(tmp_path, messages, 60, color="bgr", **keys), expected)
    assert not meets(_run(tmp_path, messages, 60, color="rgb", **keys), expected)


def _depth_by_hand(low: float, high: float) -> np.ndarray:
    rows = []
    for frame in METERS:
        row = []
        for x in frame.reshape(-1).tolist():
            x = round(x * 1000.0) / 1000.0
            if math.isnan(x) or x == 0.0:
                x = 5.0
            row.append((min(max(x, low), high) - low) / (high - low) - 0.5)
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_depth_in_one_unit_by_hand(tmp_path: Path, encoding: str) -> None:
    frames: Any = np.round(METERS.astype(np.float64) * 1000.0)
    frames = frames.astype(np.uint16) if encoding == "16UC1" else (frames / 1000).astype("f4")
    if encoding == "32FC1":
        frames[:, 2, 3] = np.nan  # in millimetres a hole can only be 0
    messages = [_message(frame[:, :, None], encoding) for frame in frames]
    expected = _depth_by_hand(0.5, 4.0)
    if encoding == "32FC1":
        expected[:, 2 * COLUMNS + 3] = (4.0 - 0.5) / 3.5 - 0.5
    keys: dict[str, Any] = {
        "color": "depth", "size": [ROWS, COLUMNS], "depth_unit": "m", "holes": 5.0,
        "nonfinite": {"nan": 5.0}, "clip": [0.5, 4.0], "scale": 1 / 3.5, "mean": 0.5 / 3.5 + 0.5,
    }  # fmt: skip
    size = ROWS * COLUMNS
    assert meets(_run(tmp_path, messages, size, **keys), expected)
    millimetres = {**keys, "depth_unit": "mm", "scale": 1e-3 / 3.5, "clip": [500, 4000],
                   "holes": 5000, "nonfinite": {"nan": 5000}}  # fmt: skip
    assert meets(_run(tmp_path, messages, size, **millimetres), expected)
    assert not meets(_run(tmp_path, messages, size, **{**keys, "holes": None}), expected)
    plain = {**keys, "depth_unit": None, "clip": [500, 4000]}
    assert not meets(_run(tmp_path, messages, size, **plain), expected)


def test_a_nan_stays_where_it_is_and_is_a_fault(tmp_path: Path) -> None:
    frame = METERS[0].copy()
    frame[0, 0] = np.nan
    one = term("image", input="camera", layout="hwc", color="depth", size=[4, 5], scale=1.0,
               resize="torch_bilinear_antialias")  # fmt: skip
    content = terms_content([one], {"camera": IMAGE})
    rig = make_rig(tmp_path, content, FakeModel({"obs": (1, 20)}, {"act": (1, 2)}))
    rig.pipeline.slots["camera"].keepers[""](_message(frame[:, :, None], "32FC1"))
    rig.pipeline.slots["camera"].received(1, 1)
    assert "d[0,0] is nan" in fault(rig, 1)


RANGES = RANDOM.uniform(0.2, 12.0, size=(FRAMES, 30)).astype(np.float32)
RANGES[RANDOM.uniform(size=RANGES.shape) < 0.2] = 0.0


def test_ranges_where_nothing_came_back_by_hand(tmp_path: Path) -> None:
    far = {"no_return": 20.0, "clip": [0, 20]}
    terms = [
        term("field", input="scan", field="ranges", pool={"bins": 6}, **far),
        term("field", input="scan", field="ranges[4:9]", name="few", **far),
    ]

    def run(terms: list[dict[str, Any]]) -> np.ndarray:
        content = terms_content(terms, {"scan": SCAN}, control_dt=DT)
        model = FakeModel({"obs": (1, 11)}, {"act": (1, 2)})
        rig = make_rig(tmp_path, content, model, period_ns=PERIOD_NS)
        for k, ranges in enumerate(RANGES):
            slot = rig.pipeline.slots["scan"]
            slot.keepers["ranges"](ranges)
            rig.feed("scan", (k + 1) * PERIOD_NS, **{"ranges[4:9]": ranges[4:9]})
            assert rig.pipeline.step((k + 1) * PERIOD_NS).decision is Decision.RUN
        return np.array([seen["obs"].reshape(-1).astype(float) for seen in model.seen])

    rows = []
    for ranges in RANGES.tolist():
        seen = [20.0 if x == 0.0 else x for x in ranges]
        rows.append([*(min(seen[5 * b : 5 * b + 5]) for b in range(6)), *seen[4:9]])
    assert meets(run(terms), np.array(rows))
    del terms[0]["no_return"]
    assert not meets(run(terms), np.array(rows))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"color": "rgb", "holes": 1.0}, "holes: expected this key only for color: depth, got rgb"),
        ({"color": "depth", "clip": [2, 1]}, "clip: expected low at most high, got [2.0, 1.0]"),
    ],
)
def test_images_that_do_not_fit(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    (sentence,) = refused(_run, tmp_path, [], 20, size=[4, 5], scale=1.0, **keys)
    assert expected in sentence


def test_opencv_that_is_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    keys = {"color": "depth", "size": [4, 5], "scale": 1.0, "resize": "cv2_area"}
    (sentence,) = refused(_run, tmp_path, [], 20, **keys)
    expected = "resize: expected OpenCV for cv2_area, got none installed; "
    assert f"{expected}pip install policy_runner[opencv], or python3-opencv" in sentence


def test_depth_in_eight_bits_has_no_unit(tmp_path: Path) -> None:
    one = term("image", input="camera", layout="hwc", color="depth", size=[2, 2], scale=1.0,
               depth_unit="m")  # fmt: skip
    content = terms_content([one], {"camera": IMAGE})
    rig = make_rig(tmp_path, content, FakeModel({"obs": (1, 4)}, {"act": (1, 2)}))
    rig.pipeline.slots["camera"].keepers[""](_message(np.ones((2, 2, 1), np.uint8), "mono8"))
    rig.pipeline.slots["camera"].received(1, 1)
    assert "uint8 pixels where 16 bit millimetres or float metres" in fault(rig, 1)
