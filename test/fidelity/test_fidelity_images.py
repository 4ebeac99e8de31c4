"""Images: encodings, strides, colours, crops, sizes, layouts, and numbers per channel."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, refused
from fidelity_rig import fault, observed
from image_rig import COMPRESSED, PLAIN, image_rig

from policy_runner.core.observation.terms.image import PixelNames, decode_image, recolor

needs_pillow = pytest.mark.skipif(find_spec("PIL") is None, reason="Pillow is not installed")
RANDOM = np.random.default_rng(3)
PICTURE = RANDOM.integers(0, 256, (2, 3, 3), dtype=np.uint8)  # 2 high, 3 wide, RGB


def _message(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Any:
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    flat = rows.reshape(rows.shape[0], -1).view(np.uint8)
    padded = np.pad(flat, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
        is_bigendian=int(big), step=padded.shape[1], data=padded.tobytes(),
    )  # fmt: skip


def _see(rig: Rig, message: Any) -> np.ndarray:
    slot = rig.pipeline.slots["camera"]
    assert slot.keepers[""](message) == ""
    slot.received(MS, MS)
    return np.array(observed(rig, MS)).reshape(rig.model.inputs["obs"].shape[1:])


@pytest.mark.parametrize("whole", [True, False])
def test_as_it_is(tmp_path: Path, whole: bool) -> None:
    rig = image_rig(tmp_path, 18, whole=whole, **PLAIN)
    assert _see(rig, _message(PICTURE, "rgb8")).ravel().tolist() == PICTURE.ravel().tolist()


def test_channels_first_and_numbers_per_channel(tmp_path: Path) -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    keys = PLAIN | {"layout": "chw", "scale": 1 / 255, "mean": mean, "std": std}
    found = _see(image_rig(tmp_path, 18, **keys), _message(PICTURE, "rgb8", padding=5))
    for c in range(3):
        expected = (PICTURE[:, :, c] / 255 - mean[c]) / std[c]
        assert found[c] == pytest.approx(expected, abs=1e-12)


def test_encodings_and_colours(tmp_path: Path) -> None:
    alpha = np.full((2, 3, 1), 9, np.uint8)
    messages = {
        "bgr8": _message(PICTURE[:, :, ::-1], "bgr8", padding=1),
        "rgba8": _message(np.concatenate([PICTURE, alpha], axis=2), "rgba8"),
        "bgra8": _message(np.concatenate([PICTURE[:, :, ::-1], alpha], axis=2), "bgra8"),
    }
    rig = image_rig(tmp_path, 18, **(PLAIN | {"color": "bgr"}))
    for message in messages.values():
        assert _see(rig, message).tolist() == PICTURE[:, :, ::-1].tolist()


@needs_pillow
def test_gray_as_pillow_makes_it(tmp_path: Path) -> None:
    from PIL import Image

    expected = np.asarray(Image.fromarray(PICTURE).convert("L"))
    rig = image_rig(tmp_path, 6, **(PLAIN | {"color": "gray", "layout": "chw"}))
    assert _see(rig, _message(PICTURE, "rgb8"))[0].tolist() == expected.tolist()
    assert _see(rig, _message(expected[:, :, None], "mono8"))[0].tolist() == expected.tolist()


@pytest.mark.parametrize("big", [False, True])
def test_depth(tmp_path: Path, big: bool) -> None:
    keys = PLAIN | {"color": "depth", "scale": 0.001}
    millimetres = np.array([[[1000], [2000], [60000]], [[4], [5], [6]]], dtype=np.uint16)
    found = _see(image_rig(tmp_path, 6, **keys), _message(millimetres, "16UC1", big=big))
    assert found == pytest.approx(millimetres * 0.001)
    metres = np.array([[[1.5], [2.5], [3.5]], [[4], [5], [6]]], dtype=np.float32)
    found = _see(
        image_rig(tmp_path, 6, **(keys | {"scale": 1.0})), _message(metres, "32FC1", big=big)
    )
    assert found.tolist() == metres.tolist()


def test_a_hole_in_a_depth_image_is_a_fault(tmp_path: Path) -> None:
    rig = image_rig(tmp_path, 6, **(PLAIN | {"color": "depth"}))
    metres = np.array([[[1.5], [np.nan], [3.5]], [[4], [5], [6]]], dtype=np.float32)
    slot = rig.pipeline.slots["camera"]
    slot.keepers[""](_message(metres, "32FC1"))
    slot.received(MS, MS)
    assert fault(rig, MS) == "obs: image/d[0,1] is nan"


@needs_pillow
def test_crop_then_resize(tmp_path: Path) -> None:
    from PIL import Image

    large = RANDOM.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    keys = PLAIN | {"size": [3, 2], "crop": [1, 2, 6, 8], "resize": "bilinear"}
    found = _see(image_rig(tmp_path, 18, **keys), _message(large, "rgb8"))
    cut = Image.fromarray(np.ascontiguousarray(large[1:7, 2:10]))
    assert found.tolist() == np.asarray(cut.resize((2, 3), Image.Resampling.BILINEAR)).tolist()


@needs_pillow
@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic", "area"])
def test_a_constant_stays_constant(tmp_path: Path, how: str) -> None:
    flat = np.full((7, 5, 1), 1234, dtype=np.uint16)
    keys = PLAIN | {"color": "depth", "size": [3, 4], "resize": how}
    found = _see(image_rig(tmp_path, 12, **keys), _message(flat, "16UC1"))
    assert found == pytest.approx(np.full((3, 4, 1), 1234.0), abs=1e-3)


@needs_pillow
def test_compressed(tmp_path: Path) -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "PNG")
    message = SimpleNamespace(format="rgb8; png compressed bgr8", data=stream.getvalue())
    rig = image_rig(tmp_path, 18, COMPRESSED, **PLAIN)
    assert _see(rig, message).tolist() == PICTURE.tolist()


def test_one_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = image_rig(tmp_path, 18, **PLAIN)
    message = _message(PICTURE, "rgb8")
    first = _see(rig, message)
    message.encoding = "gone"  # a second decoding would be a fault
    assert observed(rig, 2 * MS) == first.ravel().tolist()


BAD: dict[str, tuple[Any, str]] = {
    "another size": (_message(PICTURE[:, :2], "rgb8"), "2 x 2 pixels instead of 2 x 3"),
    "another encoding": (_message(PICTURE, "bayer_rggb8"), "encoding 'bayer_rggb8', none of rgb8"),
    "gray": (_message(PICTURE[:, :, :1], "mono8"), "a gray image where colours are wanted"),
    "too few bytes": (
        SimpleNamespace(height=2, width=3, encoding="rgb8", is_bigendian=0, step=9, data=bytes(17)),
        "17 bytes for 2 rows of 9",
    ),
    "no pixels": (
        SimpleNamespace(height=0, width=0, encoding="rgb8", is_bigendian=0, step=0, data=b""),
        "0 bytes for 0 rows",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_images_that_do_not_fit(tmp_path: Path, case: str) -> None:
    message, expected = BAD[case]
    rig = image_rig(tmp_path, 18, **PLAIN)
    slot = rig.pipeline.slots["camera"]
    slot.keepers[""](message)
    slot.received(MS, MS)
    assert expected in fault(rig, MS)
    # The next valid image is accepted.
    assert _see(rig, _message(PICTURE, "rgb8")).tolist() == PICTURE.tolist()


@needs_pillow
def test_a_damaged_file(tmp_path: Path) -> None:
    rig = image_rig(tmp_path, 18, COMPRESSED, **PLAIN)
    slot = rig.pipeline.slots["camera"]
    slot.keepers[""](SimpleNamespace(format="jpeg", data=b"\xff\xd8 no jpeg"))
    slot.received(MS, MS)
    assert "an image that cannot be decoded" in fault(rig, MS)


def test_what_configure_refuses(tmp_path: Path) -> None:
    (sentence,) = refused(image_rig, tmp_path, 18, **(PLAIN | {"mean": [0.0, 1.0]}))
    assert sentence.endswith("whole.mean: expected one number, or 3, one per channel, got 2")
    (sentence,) = refused(image_rig, tmp_path, 18, "sensor_msgs/msg/Imu", **PLAIN)
    assert "expected an input of type sensor_msgs/msg/Image or CompressedImage" in sentence


def test_names_of_pixels() -> None:
    names = PixelNames("rgb", 2, 3, "chw")
    assert (len(names), names[0], names[17], names[7]) == (18, "r[0,0]", "b[1,2]", "g[0,1]")
    names = PixelNames("rgb", 2, 3, "hwc")
    assert names[0:4] == ["r[0,0]", "g[0,0]", "b[0,0]", "r[0,1]"]


def test_sixteen_bits_are_no_colour() -> None:
    pixels = decode_image(_message(np.zeros((2, 3, 1), np.uint16), "mono16"))
    assert not isinstance(pixels, str)
    assert recolor(pixels, "gray") == "16 bit pixels where colours are wanted"
