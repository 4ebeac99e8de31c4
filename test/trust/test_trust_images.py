"""Images are refused by their length and their first bytes, before they are decoded."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_rig import MS
from fidelity_rig import fault
from image_rig import COMPRESSED, IMAGE, PLAIN, image_rig

from policy_runner.core.observation.terms.image import most_bytes

needs_pillow = pytest.mark.skipif(find_spec("PIL") is None, reason="Pillow is not installed")


def _most(folder: Path, kind: str = IMAGE, **keys: Any) -> int:
    return int(image_rig(folder, 18, kind, **(PLAIN | keys)).pipeline.slots["camera"].most_bytes)


@needs_pillow
def test_the_spec_tells_how_long_an_image_may_be(tmp_path: Path) -> None:
    assert _most(tmp_path) == most_bytes(2, 3) == 2 * (12 + 256) + 4096
    # An image that is resized, cropped or compressed has no fixed message size.
    assert _most(tmp_path, resize="nearest") <= 0
    assert _most(tmp_path, crop=[0, 0, 2, 3]) <= 0
    assert _most(tmp_path, COMPRESSED) <= 0


def _png(height: int, width: int) -> bytes:
    """Return a short PNG that states this size, black."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(height * (3 * width + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _given(folder: Path, data: bytes, **keys: Any) -> str:
    rig = image_rig(folder, 18, COMPRESSED, **(PLAIN | keys))
    slot = rig.pipeline.slots["camera"]
    slot.keepers[""](SimpleNamespace(format="png", data=data))
    slot.received(MS, MS)
    return fault(rig, MS)


@needs_pillow
def test_a_small_file_of_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    bomb = _png(4000, 6000)
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        assert "4000 x 6000 pixels, at most 6 are read" in _given(tmp_path, bomb)
        sized = _given(tmp_path, bomb, resize="area")
        assert "4000 x 6000 pixels, at most 16777216 are read" in sized
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@needs_pillow
@pytest.mark.parametrize("kind", ["EPS", "TIFF", "BMP", "GIF", "PPM"])
def test_formats_that_no_camera_sends_are_not_read(tmp_path: Path, kind: str) -> None:
    from PIL import Image

    # Pillow would start Ghostscript for the first format.
    stream = io.BytesIO()
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(stream, kind)
    assert "an image that cannot be decoded" in _given(tmp_path, stream.getvalue())


@pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
def test_longer_messages_are_refused_before_they_are_read() -> None:
    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input
    from policy_runner.ros.inputs.polling import PolledInput

    waiting = [bytes(size) for size in (101, 100, 4000)]

    class Polled:
        def take_raw(self) -> Any:
            return (waiting.pop(0), {"received_timestamp": 0}) if waiting else None

    slot = InputSlot("camera", Input(type=IMAGE, topic="t"))
    slot.expect_at_most(100)
    read: list[int] = []

    def reader(raw: bytes) -> tuple[str, int]:
        read.append(len(raw))
        return "", 0

    polled: Any = Polled()
    PolledInput(polled, slot, reader, 1 << 20).drain(10 * MS, "now")
    assert read == [100]
    assert (slot.count, slot.faults) == (1, 2)
    assert slot.fault.startswith("a message of 4000 bytes, at most 100 are read")
