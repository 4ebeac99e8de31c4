"""Train, export and judge the balancer's policy: `python models/balancer/train.py`.

Needs the extra `[train]`; one core, below 15 minutes. Writes next to itself `policy.onnx` (the mean
action, neither normalized input nor clipped output), `statistics.npz` (what normalizes the input),
`reward_curve.png`, and the figures in README.md.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import torch
from card import measure, write_card
from environment import BalancerEnvironment
from matplotlib import pyplot
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from policy_runner.formats.sb3_statistics import write_statistics
from policy_runner.sim.handwritten_loop import CLIP, EPSILON, OBSERVATION_SIZE

ENVIRONMENTS = 16
OPSET = 17
EXPLORATION = (0.2, 0.05)  # standard deviation of the action, first to last, geometric


class Curve(BaseCallback):
    """Sets how much is explored; keeps mean return and length of the last 100 episodes.

    The action's standard deviation follows a schedule. Left to PPO it is gone before the robot
    has learnt to stand, since the reward asks for quiet wheels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.returns: list[float] = []
        self.lengths: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        done = self.num_timesteps / self.model._total_timesteps
        first, last = np.log(EXPLORATION)
        log_std = self.model.policy.log_std
        log_std.requires_grad_(False)
        log_std.fill_(first + done * (last - first))

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer
        if episodes:
            self.steps.append(self.num_timesteps)
            self.returns.append(float(np.mean([e["r"] for e in episodes])))
            self.lengths.append(float(np.mean([e["l"] for e in episodes])) * 0.01)
            if len(self.steps) % 20 == 0:
                print(
                    f"{self.num_timesteps:>8} steps: return {self.returns[-1]:7.1f}, "
                    f"episode {self.lengths[-1]:5.2f} s, "
                    f"exploration {float(self.model.policy.log_std.exp().mean()):.3f}",
                    flush=True,
                )


class MeanAction(torch.nn.Module):
    """The deterministic policy: normalized observation in, mean of the action out, no clip."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.hidden = policy.mlp_extractor.policy_net
        self.head = policy.action_net

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """(1, 12) to (1, 2)."""
        out: torch.Tensor = self.head(self.hidden(obs))
        return out


def export(policy: Any, path: Path) -> None:
    """Write the network as ONNX: `obs` [1, 12] to `actions` [1, 2], float32, fixed batch."""
    torch.onnx.export(
        MeanAction(policy).eval(),
        (torch.zeros(1, OBSERVATION_SIZE),),
        str(path),
        input_names=["obs"],
        output_names=["actions"],
        opset_version=OPSET,
        dynamo=False,
    )


def draw(curve: Curve, path: Path) -> None:
    """The reward curve as a small picture."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), dpi=100)
    millions = np.array(curve.steps) / 1e6
    axes.plot(millions, curve.returns, color="#1f5a99", label="return of an episode")
    axes.set_xlabel("million steps")
    axes.set_ylabel("return (mean of 100 episodes)")
    axes.grid(alpha=0.3)
    length = axes.twinx()
    length.plot(millions, curve.lengths, color="#d98a2b", label="seconds upright (of 10)")
    length.set_ylabel("episode length [s]")
    length.set_ylim(0, 10.5)
    lines = axes.get_lines() + length.get_lines()
    axes.legend(lines, [line.get_label() for line in lines], loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def train(seed: int, steps: int) -> tuple[PPO, VecNormalize, Curve]:
    """PPO with the observation and the return normalized; the same seed gives the same policy."""
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)
    environments = VecNormalize(
        DummyVecEnv([lambda: Monitor(BalancerEnvironment()) for _ in range(ENVIRONMENTS)]),
        clip_obs=CLIP,
        epsilon=EPSILON,
        gamma=0.99,
    )
    model = PPO(
        "MlpPolicy",
        environments,
        learning_rate=lambda left: 5e-4 * left + 1e-5,
        n_steps=256,
        batch_size=512,
        n_epochs=5,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        target_kl=0.02,
        ent_coef=0.0,
        policy_kwargs={
            "net_arch": [64, 64],
            "activation_fn": torch.nn.Tanh,
        },
        seed=seed,
        device="cpu",
    )
    curve = Curve()
    model.learn(steps, callback=curve)
    return model, environments, curve


def main() -> None:
    """Everything, into the folder given (this one unless told otherwise)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    start, start_cpu = time.monotonic(), time.process_time()
    model, normalizer, curve = train(arguments.seed, arguments.steps)
    minutes = (time.monotonic() - start) / 60
    minutes_cpu = (time.process_time() - start_cpu) / 60
    export(model.policy, arguments.out / "policy.onnx")
    write_statistics(normalizer, arguments.out / "statistics.npz")
    draw(curve, arguments.out / "reward_curve.png")
    packages = ("stable-baselines3", "torch", "gymnasium", "mujoco", "numpy", "onnx")
    facts = {
        "seed": str(arguments.seed),
        "steps": f"{model.num_timesteps:,}",
        "duration": f"{minutes_cpu:.1f} minutes of one core ({minutes:.1f} on the clock)",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
    write_card(arguments.out, facts, measure(arguments.out))


if __name__ == "__main__":
    main()
