"""A pipeline whose one input is a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from core_rig import Rig, make_rig, term
from fidelity_rig import FakeModel, terms_content

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
PLAIN: dict[str, Any] = {"color": "rgb", "size": [2, 3], "layout": "hwc", "scale": 1.0}


def image_rig(folder: Path, count: int, kind: str = IMAGE, whole: bool = True, **keys: Any) -> Rig:
    """A term `image` with these keys and `count` numbers; `whole`: as a separate tensor."""
    one = term("image", input="camera", **keys)
    content = terms_content([one], {"camera": kind})
    if whole:
        content["observation"] = [{"tensor": "obs", "whole": one}]
    shape = (1, count) if not whole else (1, *_shape(keys))
    return make_rig(folder, content, FakeModel({"obs": np.zeros(shape)}, {"act": (1, 2)}))


def _shape(keys: dict[str, Any]) -> tuple[int, ...]:
    channels = 3 if keys["color"] in ("rgb", "bgr") else 1
    return (channels, *keys["size"]) if keys["layout"] == "chw" else (*keys["size"], channels)
