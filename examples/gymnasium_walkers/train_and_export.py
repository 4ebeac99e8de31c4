"""HalfCheetah and Ant of gymnasium: train with SB3, export, verify, and run them as our robots.

    python examples/gymnasium_walkers/train_and_export.py half_cheetah -o out
    python examples/gymnasium_walkers/train_and_export.py ant -o out_ant

Needs `pip install 'policy_runner[sim,train,export,cpu]' imageio`. Training ends after `--minutes`
of processor time, or after `--steps`. Then:

    policy-runner evaluate out/policy --robot out/robot --fall-tilt 3.2
    policy-runner sim out/policy --robot out/robot --lockstep --duration 50
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from policy_runner.cli.main import main as policy_runner

HERE = Path(__file__).resolve().parent
ENVIRONMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "half_cheetah": ("HalfCheetah-v5", {}),
    "ant": ("Ant-v5", {"include_cfrc_ext_in_observation": False}),
}


class _Course(BaseCallback):
    """Ends the training, and prints the return of the last episodes."""

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self._ends_s = time.process_time() + 60 * minutes
        self._shown = 0

    def _on_step(self) -> bool:
        if self.num_timesteps - self._shown >= 20_000:
            self._shown = self.num_timesteps
            known = [episode["r"] for episode in self.model.ep_info_buffer or []][-20:]
            mean = sum(known) / len(known) if known else float("nan")
            print(f"{self.num_timesteps:>8} steps, return {mean:.0f}", flush=True)
        return time.process_time() < self._ends_s


def environment(robot: str, **keys: Any) -> gymnasium.Env[Any, Any]:
    """The environment that the policy is trained in."""
    # MuJoCo would write a file MUJOCO_LOG.TXT of its warnings into the working directory.
    mujoco.set_mju_user_warning(lambda _text: None)
    name, given = ENVIRONMENTS[robot]
    return gymnasium.make(name, **given, **keys)


def train(robot: str, folder: Path, minutes: float, steps: int, seed: int = 1) -> list[str]:
    """Write `model.zip`, and with PPO `vecnormalize.pkl`.

    Returns:
        The options of `export` and `verify` for this source.
    """
    torch.set_num_threads(1)
    course = _Course(minutes)
    if robot == "half_cheetah":
        sac = SAC(
            "MlpPolicy", Monitor(environment(robot)), learning_rate=1e-3, batch_size=256,
            learning_starts=min(5000, steps // 2), gamma=0.98, buffer_size=300_000,
            policy_kwargs={"net_arch": [128, 128]}, seed=seed, device="cpu",
        )  # fmt: skip
        sac.learn(steps, callback=course)
        sac.save(folder / "model.zip")
        return []
    training = VecNormalize(DummyVecEnv([lambda: Monitor(environment(robot))] * 4))
    ppo = PPO(
        "MlpPolicy", training, learning_rate=3e-4, n_steps=512, batch_size=128, n_epochs=8,
        policy_kwargs={"net_arch": [64, 64], "log_std_init": -1.0}, seed=seed, device="cpu",
    )  # fmt: skip
    ppo.learn(steps, callback=course)
    ppo.save(folder / "model.zip")
    training.save(str(folder / "vecnormalize.pkl"))
    return ["--normalizer", str(folder / "vecnormalize.pkl")]


def copy_robot(robot: str, folder: Path) -> None:
    """Copy robot.yaml, and the model of gymnasium, which it names, next to it."""
    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(assets / f"{robot}.xml", folder)
    shutil.copy(HERE / robot / "robot.yaml", folder)


def main() -> int:
    """Run every step; the exit status of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot", choices=list(ENVIRONMENTS))
    parser.add_argument("-o", dest="folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0, help="of processor time")
    parser.add_argument("--steps", type=int, default=2_000_000)
    arguments = parser.parse_args()
    robot, folder = str(arguments.robot), Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    statistics = train(robot, folder, arguments.minutes, arguments.steps)
    copy_robot(robot, folder / "robot")
    model, policy = str(folder / "model.zip"), str(folder / "policy")
    contract = ["--contract", str(HERE / robot / "contract.yaml")]
    for words in (
        ["export", model, "-o", policy, *contract, *statistics],
        ["check", policy],
        ["verify", policy, "--against", model, *statistics],
        ["evaluate", policy, "--robot", str(folder / "robot"), "--episodes", "2", "--jobs", "1"],
    ):
        status = policy_runner(words)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
