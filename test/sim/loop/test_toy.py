"""The toy with four legs walks with the policy that was trained here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from policy_runner.package_files import share_path

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None or find_spec("onnxruntime") is None,
    reason="the toy needs mujoco and onnxruntime",
)


@pytest.mark.parametrize(("speed", "tolerance"), [(0.0, 0.02), (0.2, 0.1), (0.5, 0.1)])
def test_the_toy_walks_as_commanded(speed: float, tolerance: float) -> None:
    from policy_runner.sim.loop.policy_in_loop import put_in_loop
    from policy_runner.sim.robot_file.robot_reader import read_robot

    folder = share_path("models", "toy")
    loop = put_in_loop(folder, read_robot(folder), noise_seed=1)
    loop.begin(seed=2)
    loop.inputs.command[0] = speed
    forward, tilts = [], []

    def look(one: Any, _step: Any) -> None:
        forward.append(one.plant.read.velocity("trunk")[0][0])
        tilts.append(one.plant.tilt)

    loop.run(8.0, look)
    loop.close()
    assert max(tilts) < 0.4
    assert np.mean(forward[100:]) == pytest.approx(speed, abs=tolerance)
