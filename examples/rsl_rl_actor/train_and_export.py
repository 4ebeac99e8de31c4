"""An rsl_rl actor with its normalizer, from training to a policy folder.

    python examples/rsl_rl_actor/train_and_export.py -o out

Needs the extra [export] and rsl-rl-lib 5. PPO learns to move two joints to a target. The proof is
the trainer's own call: its answers to recorded observations, and then the checkpoint's.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# rsl_rl logs the state of git repositories; without this its import fails where git is absent.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import numpy as np
import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict
from torch import Tensor

from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.main import main as policy_runner

HERE = Path(__file__).resolve().parent
DT, STIFFNESS, DAMPING = 0.02, 60.0, 8.0
ACTION_SCALE, VELOCITY_SCALE = 0.25, 0.05
NETWORK = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "elu",
           "obs_normalization": True}  # fmt: skip
NOISE = {"class_name": "GaussianDistribution", "init_std": 1.0}
CONFIG = {
    "algorithm": {"class_name": "PPO", "learning_rate": 1e-3, "entropy_coef": 0.005},
    "actor": {**NETWORK, "distribution_cfg": NOISE},
    "critic": NETWORK,
    "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
    "num_steps_per_env": 24,
    "save_interval": 1000,
}


class Joints(VecEnv):
    """Joints of inertia 1 that a PD law drives to its target, relative to the default pose."""

    def __init__(self, count: int) -> None:
        self.num_envs, self.num_actions, self.max_episode_length = count, 2, 100
        self.device, self.cfg = "cpu", {}
        self.episode_length_buf = torch.randint(0, 100, (count,))
        self._position, self._velocity = torch.zeros(count, 2), torch.zeros(count, 2)
        self._target, self._action = torch.randn(count, 2) * 0.3, torch.zeros(count, 2)

    def get_observations(self) -> TensorDict:
        parts = [self._position, VELOCITY_SCALE * self._velocity, self._target, self._action]
        return TensorDict({"policy": torch.cat(parts, 1)}, batch_size=[self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Tensor]]:
        self._action = actions.clone()
        pull = STIFFNESS * (ACTION_SCALE * actions - self._position) - DAMPING * self._velocity
        self._velocity = self._velocity + DT * pull
        self._position = self._position + DT * self._velocity
        away = (self._position - self._target).pow(2).sum(1)
        reward = torch.exp(-away / 0.05) - 0.01 * self._velocity.pow(2).sum(1)
        self.episode_length_buf += 1
        done = self.episode_length_buf >= self.max_episode_length
        self.episode_length_buf[done] = 0
        for state in (self._position, self._velocity, self._action):
            state[done] = 0.0
        self._target[done] = torch.randn(int(done.sum()), 2) * 0.3
        return self.get_observations(), reward, done.float(), {"time_outs": done.float()}


def train(folder: Path, iterations: int, environments: int, seed: int = 1) -> None:
    """Write `model.pt`, and `recorded.npz` with observations and the trainer's own answers."""
    torch.manual_seed(seed)
    environment = Joints(environments)
    runner = OnPolicyRunner(environment, CONFIG, log_dir=None)
    with shown_progress() as progress:
        for k in range(iterations):
            progress("train", k, iterations)
            runner.learn(1)
    runner.save(str(folder / "model.pt"))
    policy = runner.get_inference_policy()
    given, answers = [], []
    with torch.inference_mode():
        for _ in range(100):
            observed = environment.get_observations()
            action = policy(observed)
            given.append(observed["policy"][0].numpy().copy())
            answers.append(action[0].numpy().copy())
            environment.step(action)
    np.savez(folder / "recorded.npz", **{"observation/obs": given, "action/actions": answers})
    away = (environment._position - environment._target).norm(dim=1).mean()
    print(f"mean distance to the target after 2 s at most: {away:.3f} rad")


def main() -> int:
    """Run every step; the exit status of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150, help="iterations of training")
    parser.add_argument("--environments", type=int, default=256)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    train(folder, arguments.steps, arguments.environments)
    model, policy = str(folder / "model.pt"), str(folder / "policy")
    recorded = str(folder / "recorded.npz")
    activation = ["--activation", "elu"]  # a checkpoint does not say it
    for words in (
        ["export", model, "-o", policy, "--contract", str(HERE / "contract.yaml"), *activation,
         "--force"],
        ["check", policy],
        ["verify", policy, "--against", recorded],
        ["verify", policy, "--against", model, *activation, "--recorded", recorded],
    ):  # fmt: skip
        status = policy_runner(words)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
