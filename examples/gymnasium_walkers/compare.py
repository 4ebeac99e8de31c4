"""Is our loop gymnasium's? Both run the exported network from the same start, step by step.

    python examples/gymnasium_walkers/compare.py half_cheetah out

`out` is what train_and_export.py wrote. Prints the first step in which a number differs, and the
returns of gymnasium's loop with the exported network, with SB3's predict, and with random actions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from train_and_export import ENVIRONMENTS, environment

from policy_runner.sim.loop.policy_in_loop import PolicyInLoop, put_in_loop
from policy_runner.sim.robot_file.robot_reader import read_robot

Act = Callable[[np.ndarray], np.ndarray]


def network(policy: Path) -> Act:
    """The exported network in a loop by hand: VecNormalize's arithmetic, clip to the space."""
    session = onnxruntime.InferenceSession(str(policy / "policy.onnx"))
    stored = policy / "statistics.npz"
    statistics = np.load(stored) if stored.is_file() else None

    def act(observation: np.ndarray) -> np.ndarray:
        given = observation
        if statistics is not None:
            spread = np.sqrt(statistics["var"] + 1e-8)
            given = np.clip((observation - statistics["mean"]) / spread, -10.0, 10.0)
        raw = session.run(None, {"obs": given.astype(np.float32)[None]})[0][0]
        return np.asarray(np.clip(raw, -1.0, 1.0))

    return act


def predict(robot: str, folder: Path) -> Act:
    """SB3's own call."""
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    model = (SAC if robot == "half_cheetah" else PPO).load(folder / "model.zip", device="cpu")
    stored = folder / "vecnormalize.pkl"
    normalizer = None
    if stored.is_file():
        normalizer = VecNormalize.load(str(stored), DummyVecEnv([lambda: environment(robot)]))

    def act(observation: np.ndarray) -> np.ndarray:
        given = observation if normalizer is None else normalizer.normalize_obs(observation)
        return np.asarray(model.predict(given, deterministic=True)[0])

    return act


def started(robot: str, loop: PolicyInLoop) -> tuple[Any, np.ndarray]:
    """An environment that starts as our robot does, and its first observation."""
    made: Any = environment(robot)
    made.reset(seed=0)
    data = loop.plant.data
    made.unwrapped.set_state(data.qpos.copy(), data.qvel.copy())
    return made, made.unwrapped._get_obs()


def total(made: Any, observation: np.ndarray, act: Act, steps: int) -> float:
    """The return of gymnasium's own loop."""
    found = 0.0
    for _ in range(steps):
        observation, reward, terminated, _, _ = made.step(act(observation))
        found += float(reward)
        if terminated:
            break
    return found


def first_difference(
    robot: str, folder: Path, loop: PolicyInLoop, steps: int, seed: int
) -> tuple[int, float]:
    """Step both loops, also after gymnasium's episode is over.

    Returns:
        The first step after which a control, a position or a velocity differs; `steps` if none
        does. And the return of gymnasium's episode.
    """
    loop.begin(seed)
    made, observation = started(robot, loop)
    act, ours, theirs = network(folder / "policy"), loop.plant.data, made.unwrapped.data
    found, over = 0.0, False
    for step in range(steps):
        observation, reward, terminated, _, _ = made.step(act(observation))
        found += 0.0 if over else float(reward)
        over = over or terminated
        loop.tick()
        for one, other in ((ours.ctrl, theirs.ctrl), (ours.qpos, theirs.qpos),
                           (ours.qvel, theirs.qvel)):  # fmt: skip
            if one.tobytes() != other.tobytes():
                return step, found
    return steps, found


def main() -> int:
    """Print the comparison; 1 if a number differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot", choices=list(ENVIRONMENTS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=8)
    arguments = parser.parse_args()
    robot, folder, steps = str(arguments.robot), Path(arguments.folder), int(arguments.steps)
    loop = put_in_loop(folder / "policy", read_robot(folder / "robot"))
    starts = range(arguments.starts)
    rows = [first_difference(robot, folder, loop, steps, seed) for seed in starts]
    equal = sum(step for step, _ in rows)
    wanted = steps * len(rows)
    print(f"{robot}: controls, positions and velocities are the same floats in {equal} of {wanted}"
          f" steps; mean return {np.mean([found for _, found in rows]):.0f}")  # fmt: skip
    rng = np.random.default_rng(0)
    ways: dict[str, Act] = {
        "SB3's predict": predict(robot, folder),
        "random actions": lambda _: rng.uniform(-1.0, 1.0, loop.plant.model.nu),
    }
    for name, act in ways.items():
        found = []
        for seed in starts:
            loop.begin(seed)
            found.append(total(*started(robot, loop), act, steps))
        print(f"gymnasium's loop with {name}: mean return {np.mean(found):.0f}")
    loop.close()
    return 0 if equal == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
