"""A planner with four inputs, from training to a policy folder that the node runs at 20 Hz.

    python examples/planner/train_and_export.py -o out
    policy-runner run out/policy --params examples/planner/robot.yaml

Needs the extra [export]. The network imitates a small planner: straight to the goal, pushed aside
by what the map shows.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.main import main as policy_runner
from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.open_source import SourceOptions
from policy_runner.export.sources.trained_policy import TensorShape

HERE = Path(__file__).resolve().parent
CELLS, RESOLUTION = 50, 0.1  # m
POSES, HORIZON_S = 20, 2.0
OPTIONS = SourceOptions(
    inputs=[
        TensorShape("costmap", (1, 1, CELLS, CELLS)),
        TensorShape("robot", (1, 9)),
        TensorShape("goal", (1, 3)),
        TensorShape("metadata", (1, 2)),
    ],
    outputs=["poses"],
)


class Planner(nn.Module):
    """Poses [batch, 60]: x [m], y [m] and yaw [rad] of 20 poses, 0.1 s apart, in base_link.

    costmap [batch, 1, 50, 50], 0 free to 1 occupied; robot [batch, 9]: linear and angular velocity,
    gravity; goal [batch, 3]: x, y, yaw; metadata [batch, 2]: largest speed [m/s], clearance [m].
    """

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(800, 128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Linear(128 + 14, 256), nn.ELU(), nn.Linear(256, 128), nn.ELU(),
            nn.Linear(128, 3 * POSES),
        )  # fmt: skip

    def forward(self, costmap: Tensor, robot: Tensor, goal: Tensor, metadata: Tensor) -> Tensor:
        return self.head(torch.cat([self.map(costmap), robot, goal, metadata], 1))


def scenes(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random maps with discs on them, and random states, goals and bounds."""
    axis = (torch.arange(CELLS) + 0.5) * RESOLUTION - CELLS * RESOLUTION / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    centers, radii = torch.rand(count, 4, 2, 1, 1) * 5 - 2.5, torch.rand(count, 4, 1, 1) * 0.5
    away = torch.hypot(x - centers[:, :, 0], y - centers[:, :, 1]) - radii
    occupied = (away.amin(1, keepdim=True) < 0).float()
    robot = torch.randn(count, 9) * 0.3
    robot[:, 6:] = torch.tensor([0.0, 0.0, -1.0]) + 0.02 * torch.randn(count, 3)
    goal = torch.cat([torch.rand(count, 2) * 8 - 4, torch.rand(count, 1) * 6.28 - 3.14], 1)
    return occupied, robot, goal, torch.rand(count, 2) * torch.tensor([1.0, 0.5])


def planned(costmap: Tensor, goal: Tensor, metadata: Tensor) -> Tensor:
    """The poses of the imitated planner: along the line to the goal, away from occupied cells."""
    count = goal.shape[0]
    axis = (torch.arange(CELLS) + 0.5) * RESOLUTION - CELLS * RESOLUTION / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    speed, clearance = metadata[:, :1], metadata[:, 1:]
    at, found = torch.zeros(count, 2), []
    for _ in range(POSES):
        left = goal[:, :2] - at
        far = left.norm(dim=1, keepdim=True).clamp(min=1e-6)
        step = left / far * torch.minimum(speed * HORIZON_S / POSES, far)
        off = torch.stack([at[:, :1, None] - x, at[:, 1:, None] - y], 1)
        near = torch.exp(-(off.pow(2).sum(1, keepdim=True)) / (clearance[:, :, None, None] + 0.1))
        step = step + 0.05 * speed * (off * near * costmap).mean((2, 3)) * 10
        at = at + step
        found.append(torch.cat([at, torch.atan2(step[:, 1:], step[:, :1] + 1e-6)], 1))
    return torch.cat(found, 1)


def train(rounds: int, seed: int = 1) -> Planner:
    """Imitate the planner on fresh scenes in every round."""
    torch.manual_seed(seed)
    network = Planner()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    with shown_progress() as progress:
        for k in range(rounds):
            progress("train", k, rounds)
            costmap, robot, goal, metadata = scenes(64)
            wanted = planned(costmap, goal, metadata)
            loss = nn.functional.mse_loss(network(costmap, robot, goal, metadata), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"mean squared error of the last round: {loss.item():.3f}")
    return network


def main() -> int:
    """Train, export, check and verify; the exit status of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400, help="rounds of training")
    arguments = parser.parse_args()
    started = time.monotonic()
    network = train(arguments.steps)
    folder = arguments.folder / "policy"
    export_policy(network, folder, HERE / "contract.yaml", options=OPTIONS, force=True)
    torch.jit.trace(network.eval(), scenes(1)).save(str(arguments.folder / "planner.ts"))
    print(f"trained and exported in {time.monotonic() - started:.0f} s")
    named = [word for one in OPTIONS.inputs for word in ("--input", _written(one))]
    source = [str(arguments.folder / "planner.ts"), *named, "--output", "poses"]
    for words in (["check", str(folder)], ["verify", str(folder), "--against", *source]):
        status = policy_runner(words)
        if status:
            return status
    return 0


def _written(one: TensorShape) -> str:
    return f"{one.name}={'x'.join(map(str, one.shape))}"


if __name__ == "__main__":
    sys.exit(main())
