"""One tensor `obs` of given terms, read as numbers; shared by the tests of terms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from core_rig import FakeModel, Rig, make_rig, spec_content

from policy_runner.core.safety.decision import Decision

IMU = "sensor_msgs/msg/Imu"
TWIST = "geometry_msgs/msg/Twist"
JOINTS = "sensor_msgs/msg/JointState"


def terms_content(
    terms: list[dict[str, Any]], inputs: Mapping[str, str], **changes: Any
) -> dict[str, Any]:
    """Return a spec with one tensor of these terms; inputs by type, topics named after them."""
    content = spec_content(
        inputs={name: {"type": kind, "topic": name} for name, kind in inputs.items()}, **changes
    )
    content["observation"][0]["terms"] = terms
    return content


def terms_rig(
    folder: Path,
    terms: list[dict[str, Any]],
    inputs: Mapping[str, str],
    size: int,
    dtype: Any = np.float64,
    **changes: Any,
) -> Rig:
    """Return a pipeline over those terms; float64, so that numbers by hand are not rounded."""
    model = FakeModel({"obs": np.zeros((1, size), dtype=dtype)}, {"act": (1, 2)})
    return make_rig(folder, terms_content(terms, inputs, **changes), model)


def observed(rig: Rig, now_ns: int = 1) -> list[float]:
    """Run one tick that must infer; return the numbers that the model got."""
    step = rig.pipeline.step(now_ns)
    assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    return [float(x) for x in rig.model.seen[-1]["obs"].reshape(-1)]


def fault(rig: Rig, now_ns: int = 1) -> str:
    """Run one tick that must not infer; return the reason."""
    step = rig.pipeline.step(now_ns)
    assert step.decision is not Decision.RUN
    return rig.pipeline.safety.detail
