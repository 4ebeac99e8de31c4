"""HalfCheetah and Ant of gymnasium with policies of SB3: our loop gives the floats of gymnasium's.

The policies are not trained: with any weights the robots leave the ground, fall and meet their
limits. `examples/gymnasium_walkers` trains them.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.open_source import SourceOptions
from policy_runner.sim.loop.policy_in_loop import PolicyInLoop, put_in_loop
from policy_runner.sim.robot_file.robot_reader import read_robot

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mujoco", "imageio", "stable_baselines3")),
    reason="needs mujoco, stable-baselines3, and imageio, which gymnasium's MuJoCo robots import",
)
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "gymnasium_walkers"
STEPS = 300  # 15 s
ROBOTS = ("half_cheetah", "ant")


def example() -> Any:
    if str(EXAMPLE) not in sys.path:
        sys.path.append(str(EXAMPLE))
    import mujoco
    import train_and_export  # type: ignore[import-not-found,unused-ignore]

    # MuJoCo would write a file MUJOCO_LOG.TXT of its warnings into the working directory.
    mujoco.set_mju_user_warning(lambda _text: None)
    return train_and_export


@pytest.fixture(scope="module", params=ROBOTS)
def folder(request: Any, tmp_path_factory: Any) -> Path:
    """`policy/` of an untrained network, and `robot/`."""
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    found: Path = tmp_path_factory.mktemp(request.param)
    options = SourceOptions()
    given: dict[str, Any] = {"seed": 3, "device": "cpu"}
    if request.param == "half_cheetah":
        SAC("MlpPolicy", example().environment(request.param), buffer_size=10, **given).save(
            found / "model.zip"
        )
    else:
        training = VecNormalize(DummyVecEnv([lambda: example().environment(request.param)]))
        training.reset()
        for _ in range(50):
            training.step(np.array([training.action_space.sample()]))
        PPO("MlpPolicy", training, **given).save(found / "model.zip")
        training.save(str(found / "vecnormalize.pkl"))
        options = SourceOptions(normalizer=found / "vecnormalize.pkl")
    contract = EXAMPLE / request.param / "contract.yaml"
    export_policy(found / "model.zip", found / "policy", contract, options=options)
    example().copy_robot(request.param, found / "robot")
    return found


def in_loop(folder: Path) -> PolicyInLoop:
    loop = put_in_loop(folder / "policy", read_robot(folder / "robot"))
    loop.begin(seed=2)
    return loop


def test_our_loop_gives_the_floats_of_gymnasiums(folder: Path) -> None:
    example()
    from compare import first_difference  # type: ignore[import-not-found,unused-ignore]

    robot = next(name for name in ROBOTS if (folder / "robot" / f"{name}.xml").is_file())
    loop = in_loop(folder)
    equal, _ = first_difference(robot, folder, loop, STEPS, 2)
    assert equal == STEPS
    start = np.array(loop.plant.data.qpos)
    loop.begin(seed=2)
    assert np.abs(start - loop.plant.data.qpos).max() > 0.1  # it is no robot at rest
    loop.close()


def test_gears_signs_and_orders_count(folder: Path) -> None:
    """The comparison above would see each of them."""
    loop = in_loop(folder)
    loop.run(1.0)
    known = loop.plant.state_hash
    for change in (
        lambda kind, names, values: values * (1.0 + 1e-15),
        lambda kind, names, values: values[::-1],
    ):
        loop.begin(seed=2)
        loop.output.change = change
        loop.run(1.0)
        assert loop.plant.state_hash != known
    loop.close()
