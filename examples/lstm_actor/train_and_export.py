"""An LSTM actor from training to a policy folder, with its state as input and output of the graph.

    python examples/lstm_actor/train_and_export.py -o out

Needs the extra [export]. The network learns by imitation what a PD controller does that sees the
velocity, from positions alone: 300 rounds take about 10 s of one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.open_source import SourceOptions
from policy_runner.export.sources.trained_policy import TensorShape
from policy_runner.export.verify.verify_policy import verify_policy

HERE = Path(__file__).resolve().parent
DT, STIFFNESS, DAMPING = 0.02, 2.0, 0.3
HIDDEN = 32


class Actor(nn.Module):
    """obs [batch, 4], h and c [1, batch, 32] -> actions [batch, 2] and the next h and c.

    The state is an argument and a result. Kept in the module it would be frozen by the export,
    which refuses that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(4, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, obs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, (h, c) = self.memory(obs.unsqueeze(0), (h, c))
        return self.head(out.squeeze(0)), h, c


def train(rounds: int, seed: int = 1) -> Actor:
    """Imitate the PD controller on random motions of 50 steps."""
    torch.manual_seed(seed)
    actor = Actor()
    optimizer = torch.optim.Adam(actor.parameters(), lr=3e-3)
    with shown_progress() as progress:
        for k in range(rounds):
            progress("train", k, rounds)
            velocity = torch.cumsum(torch.randn(50, 64, 2) * 0.3, 0)
            position = torch.cumsum(velocity * DT, 0)
            target = torch.randn(1, 64, 2).expand(50, -1, -1) * 0.5
            wanted = (STIFFNESS * (target - position) - DAMPING * velocity).clamp(-1.0, 1.0)
            out, _ = actor.memory(torch.cat([position, target], 2))
            loss = nn.functional.mse_loss(actor.head(out), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return actor


def main() -> int:
    """Train, export and verify; 1 where the folder is not what the network computes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300, help="rounds of training")
    arguments = parser.parse_args()
    actor = train(arguments.steps)
    state = (1, 1, HIDDEN)
    options = SourceOptions(
        inputs=[TensorShape("obs", (1, 4)), TensorShape("h_in", state), TensorShape("c_in", state)],
        outputs=["actions", "h_out", "c_out"],
        states=["h_in:h_out", "c_in:c_out"],
    )
    folder = arguments.folder / "policy"
    done = export_policy(actor, folder, HERE / "contract.yaml", options=options, force=True)
    found = verify_policy(folder, actor, options=options)
    for row in found.rows:
        figure = "" if row.figure is None else f"{row.figure:.2g}"
        print(f"{row.outcome:8} {row.name} {figure}")
    for note in done.notes:
        print(f"look at  {note}")
    verdict = "is" if found.passed else "is not"
    print(f"{folder} {verdict} what the source computes")
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())
