"""The shipped policy keeps the robot upright; each change that makes it wrong makes it fall.

The runs are in lockstep, so that a slow machine gives the same result.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import closed_loop
import numpy as np
import pytest

pytestmark = [
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("rclpy", "mujoco", "onnx")),
        reason="the closed loop needs rclpy, mujoco and onnx",
    ),
    pytest.mark.slow,
]
SEEDS = (0, 1, 2, 3)
DURATION_S = 60.0
RATE_HZ = 100
FALLS_WITHIN_S = 3.0


def test_the_shipped_policy_stays_up_and_follows(tmp_path: Path, record_property: Any) -> None:
    for report in closed_loop.run_seeds(tmp_path, SEEDS, DURATION_S):
        rmse = report["velocity_rmse"]
        record_property(f"seed {report['seed']}", f"{rmse}, wall {report['wall_s']} s")
        assert report["falls"] == 0, report
        assert report["upright_share"] == 1.0
        assert rmse["forward"] <= 0.1, report
        assert rmse["yaw"] <= 0.15, report
        assert report["simulated_s"] == pytest.approx(DURATION_S)
        # An upright robot proves nothing about the rate: it stays upright at half the rate too.
        assert abs(report["commands"] - DURATION_S * RATE_HZ) <= 1
        assert report["ignored_commands"] == 0


def no_statistics(folder: Path, _spec: dict[str, Any]) -> None:
    np.savez(folder / "statistics.npz", mean=np.zeros(12), var=np.ones(12))


def wheels_swapped(_folder: Path, spec: dict[str, Any]) -> None:
    spec["joint_names"].reverse()
    spec["action"][0]["groups"][0]["joints"].reverse()


def gyro_and_gravity_exchanged(_folder: Path, spec: dict[str, Any]) -> None:
    terms = spec["observation"][0]["terms"]
    names = [term.get("name", term["term"]) for term in terms[:2]]
    assert names == ["base_ang_vel", "projected_gravity"]
    terms[:2] = reversed(terms[:2])


def output_zero(folder: Path, _spec: dict[str, Any]) -> None:
    import onnx
    from onnx import helper, numpy_helper

    path = str(folder / "policy.onnx")
    model = onnx.load(path)
    (output,) = model.graph.output
    for node in model.graph.node:
        for k, name in enumerate(node.output):
            if name == output.name:
                node.output[k] = "unscaled"
    model.graph.initializer.append(numpy_helper.from_array(np.float32([0.0]), "nothing"))
    model.graph.node.append(helper.make_node("Mul", ["unscaled", "nothing"], [output.name]))
    onnx.save(model, path)


def unchanged(_folder: Path, _spec: dict[str, Any]) -> None:
    """Change nothing, as a control."""


@pytest.mark.parametrize(
    ("change", "robot", "falls"),
    [
        (unchanged, {}, False),
        (no_statistics, {}, True),
        (wheels_swapped, {}, True),
        (gyro_and_gravity_exchanged, {}, True),
        (unchanged, {"command_delay": 0.2}, True),
        (output_zero, {}, True),
    ],
    ids=[
        "unchanged",
        "statistics mean 0 std 1",
        "wheels swapped",
        "gyro and gravity exchanged",
        "commands 200 ms late",
        "output zero",
    ],
)
def test_what_is_wrong_makes_it_fall(
    tmp_path: Path, change: Any, robot: dict[str, Any], falls: bool, record_property: Any
) -> None:
    policy = closed_loop.copy_policy(tmp_path / "policy", change)
    reports = closed_loop.run_seeds(
        tmp_path, SEEDS, FALLS_WITHIN_S + 0.1, policy=str(policy), **robot
    )
    first = [report["first_fall_s"] for report in reports]
    record_property("first falls [s]", str(first))
    if falls:
        assert all(at is not None and at <= FALLS_WITHIN_S for at in first), first
    else:
        assert first == [None] * len(SEEDS)
