"""The shipped network and statistics in the handwritten loop: no runner, no ROS, no trainer.

The runner's closed-loop test drives the same scenario through `policy.yaml` and ROS. If that test
fails and this one passes, the fault is in the runner, not in the model.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shipped_policy

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None or find_spec("onnxruntime") is None,
    reason="the shipped policy's plain loop needs mujoco and onnxruntime",
)

FOLDER = Path(__file__).resolve().parents[2] / "models" / "balancer"


@pytest.fixture(scope="module")
def shipped() -> Any:
    """See `shipped_policy.shipped`."""
    return shipped_policy.shipped()


def test_the_network_is_small_fixed_and_without_the_normalization(shipped: Any) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(FOLDER / "policy.onnx")
    (entry,), (out,) = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.type, entry.shape) == ("obs", "tensor(float)", [1, 12])
    assert (out.name, out.type, out.shape) == ("actions", "tensor(float)", [1, 2])
    assert not (FOLDER / "policy.onnx.data").exists()
    _, mean, var = shipped
    assert mean.shape == var.shape == (12,)
    assert mean.dtype == var.dtype == np.float64
    # The spec has the normalization and the action's clip, so the graph has no such nodes.
    graph = (FOLDER / "policy.onnx").read_bytes()
    nodes = {op for op in (b"Gemm", b"Tanh", b"Sub", b"Div", b"Clip") if _node(op) in graph}
    assert nodes == {b"Gemm", b"Tanh"}


def _node(op: bytes) -> bytes:
    """Return the bytes of a node's op_type (field 4, a string) in the file."""
    return bytes([4 << 3 | 2, len(op)]) + op


@pytest.mark.parametrize("seed", range(4))
def test_it_balances_and_follows(shipped: Any, seed: int) -> None:
    from policy_runner.sim.handwritten_loop import run

    score = run(*shipped, seed, duration_s=60.0)
    assert score.falls == 0
    assert score.commands == 6000
    assert score.upright_share == 1.0
    assert score.counted_s > 9.0
    assert score.velocity_rmse_forward is not None
    assert score.velocity_rmse_yaw is not None
    assert score.velocity_rmse_forward <= 0.1
    assert score.velocity_rmse_yaw <= 0.15


def test_it_bears_the_lateness_and_noise_of_a_busy_machine(shipped: Any) -> None:
    from policy_runner.sim.handwritten_loop import run
    from policy_runner.sim.sensors import Noise

    assert run(*shipped, seed=1, duration_s=20.0, delay_s=0.03, noise=Noise()).falls == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "mistake",
    ["plain_statistics", "wheels_swapped", "gyro_and_gravity_swapped", "zero_output", "late"],
)
def test_any_mistake_makes_it_fall(shipped: Any, mistake: str, seed: int) -> None:
    from policy_runner.sim.handwritten_loop import Sabotage, run

    late = mistake == "late"
    sabotage = Sabotage() if late else Sabotage(**{mistake: True})
    score = run(*shipped, seed, 3.0, delay_s=0.2 if late else 0.0, sabotage=sabotage)
    assert score.first_fall_s is not None
    assert score.first_fall_s <= 3.0


def test_the_same_seed_gives_the_same_score(shipped: Any) -> None:
    from policy_runner.sim.handwritten_loop import run

    assert run(*shipped, seed=2, duration_s=5.0) == run(*shipped, seed=2, duration_s=5.0)
