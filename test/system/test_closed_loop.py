"""The shipped policy keeps the robot upright; each change that makes it wrong makes it fall.

The runs are in lockstep, so that a slow machine gives the same result. Each run gives the figures
of the handwritten loop with the same seed. So the longer runs and the other seeds of
test/sim/test_shipped_policy.py, which need no processes, speak for the node too.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import closed_loop
import numpy as np
import pytest
import shipped_policy

pytestmark = [
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("rclpy", "mujoco", "onnx")),
        reason="the closed loop needs rclpy, mujoco and onnx",
    ),
    pytest.mark.slow,
]
SEEDS = (0, 1)
DURATION_S = 20.0
RATE_HZ = 100
FALLS_WITHIN_S = 3.0


def handwritten(seed: int, duration_s: float, delay_s: float = 0.0, mistake: str = "") -> Any:
    """The report of the plain loop: no node, no ROS."""
    from policy_runner.sim.handwritten_loop import Sabotage, run

    sabotage = Sabotage(**{mistake: True}) if mistake else Sabotage()
    policy = shipped_policy.shipped()
    return run(*policy, seed, duration_s, delay_s=delay_s, sabotage=sabotage).as_json()


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
        plain = handwritten(report["seed"], DURATION_S)
        assert rmse == pytest.approx(plain["velocity_rmse"], rel=1e-3)


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
    ("change", "mistake", "delay_s", "seed"),
    [
        (unchanged, "", 0.0, 0),
        (no_statistics, "plain_statistics", 0.0, 1),
        (wheels_swapped, "wheels_swapped", 0.0, 2),
        (gyro_and_gravity_exchanged, "gyro_and_gravity_swapped", 0.0, 3),
        (unchanged, "", 0.2, 1),
        (output_zero, "zero_output", 0.0, 0),
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
    tmp_path: Path, change: Any, mistake: str, delay_s: float, seed: int, record_property: Any
) -> None:
    policy = closed_loop.copy_policy(tmp_path / "policy", change)
    duration_s = FALLS_WITHIN_S + 0.1
    report = closed_loop.run(
        tmp_path / "run", seed, duration_s, policy=str(policy), command_delay=delay_s
    )
    first = report["first_fall_s"]
    record_property("first fall [s]", str(first))
    if mistake or delay_s:
        assert first is not None
        assert first <= FALLS_WITHIN_S
        plain = handwritten(seed, duration_s, delay_s, mistake)
        assert first == pytest.approx(plain["first_fall_s"], abs=0.02)
    else:
        assert first is None
