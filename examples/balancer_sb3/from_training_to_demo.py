"""The balancer from training to the robot: train, export, verify, optimize.

    python examples/balancer_sb3/from_training_to_demo.py -o out

Needs the extras [sim], [train] and [export]. 2 million steps take about 11 minutes of one core and
give a policy that stands and follows its command. `--steps 4096` shows the way in seconds, with a
policy that falls. Then:

    policy-runner demo --policy out/policy/policy.yaml
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.main import main as policy_runner
from policy_runner.export.graph.network_export import Progress

HERE = Path(__file__).resolve().parent
EXPLORATION = (0.2, 0.05)  # standard deviation of the action, first to last, geometric
sys.path.insert(0, str(HERE.parents[1] / "models" / "balancer"))

from environment import BalancerEnvironment  # noqa: E402


class _Course(BaseCallback):
    """Sets how much is explored, and tells how many steps are done.

    The standard deviation of the action follows a schedule. Left to PPO it is gone before the robot
    follows its command: the reward asks for quiet wheels (0 falls, 0.78 m/s off the command).
    """

    def __init__(self, progress: Progress, steps: int) -> None:
        super().__init__()
        self._progress, self._steps = progress, steps

    def _on_rollout_start(self) -> None:
        done = min(1.0, self.num_timesteps / self._steps)
        first, last = np.log(EXPLORATION)
        spread = self.model.policy.log_std
        spread.requires_grad_(False)
        spread.fill_(first + done * (last - first))

    def _on_step(self) -> bool:
        self._progress("train", self.num_timesteps, self._steps)
        return True


def train(folder: Path, steps: int, environments: int, seed: int = 1) -> None:
    """Write `model.zip` and `vecnormalize.pkl`."""
    training = VecNormalize(DummyVecEnv([BalancerEnvironment] * environments), gamma=0.99)
    model = PPO(
        "MlpPolicy", training, learning_rate=LinearSchedule(5e-4, 1e-5, 1.0),
        n_steps=max(64, 4096 // environments), batch_size=512, n_epochs=5, target_kl=0.02,
        policy_kwargs={"net_arch": [64, 64]}, seed=seed, device="cpu",
    )  # fmt: skip
    with shown_progress() as progress:
        model.learn(steps, callback=_Course(progress, steps))
    model.save(folder / "model.zip")
    training.save(str(folder / "vecnormalize.pkl"))


def main() -> int:
    """Run every step; the exit status of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2_000_000)
    parser.add_argument("--environments", type=int, default=16)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    train(folder, arguments.steps, arguments.environments)
    model, policy = str(folder / "model.zip"), str(folder / "policy")
    statistics = ["--normalizer", str(folder / "vecnormalize.pkl")]
    contract = ["--contract", str(HERE / "contract.yaml")]
    for words in (
        ["export", model, "-o", policy, *contract, *statistics],
        ["check", policy],
        ["verify", policy, "--against", model, *statistics, "--closed-loop", "balancer",
         "--seeds", "2"],
        ["optimize", policy, "--calibration", "closed-loop", "--seeds", "1", "--seconds", "5",
         "--variant", "fp16"],
    ):  # fmt: skip
        status = policy_runner(words)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
