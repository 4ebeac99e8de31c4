"""Chunk players side by side in a simulated world: starvation, steps, error, jerk.

The world, the policy and the latencies are simulated, so the figures are the same on every
machine. The players of other systems are written after their source, see chunk_play/peers.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from chunk_play.demands import Demand, demands, demands_of_events, played
from chunk_play.measure import PLAYERS, SETTLED_S
from chunk_play.world import STEPS_PER_S, Case, World

from policy_runner.cli.drawing.style import BLUE, INK, RED, drawing

HORIZONS = ((50, 30), (20, 50))
SHOWN = (("LeRobot queue x3, tuned", RED), ("ours, cross-fade", BLUE))


def table(task: str, horizon: int, hz: int, latencies: Sequence[int], seeds: int) -> str:
    """A Markdown table: ms starved / largest step / RMS error / peak jerk in 1000 rad/s^3."""
    head = [f"{task}, H = {horizon} at {hz} Hz", *(f"L = {one}" for one in latencies)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for player in PLAYERS:
        cells = [player]
        for latency in latencies:
            results = [
                played(Case(task, horizon, hz, latency, seed), player) for seed in range(seeds)
            ]
            starved = max(one.starved_ms for one in results)
            step = max(one.step for one in results)
            error = float(np.mean([one.error for one in results]))
            jerk = max(one.jerk for one in results) / 1000.0
            cells.append(f"{starved:.0f} / {step:.3f} / {error:.3f} / {jerk:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(path: Path) -> None:
    """Draw what two players command for the same moving target."""
    case = Case("P3", latency=10, seed=1)
    world = World(case)
    pyplot = drawing()
    figure, axes = pyplot.subplots(2, 1, figsize=(8, 5.2), sharex=True)
    first, last = 4.0, 7.0
    steps = np.arange(int(first * STEPS_PER_S), int(last * STEPS_PER_S))
    axes[0].plot(
        steps / STEPS_PER_S, world.position[steps, 0], color=INK, linestyle=":", label="target"
    )
    for player, colour in SHOWN:
        result = played(case, player)
        sent = [(at / STEPS_PER_S, one[0]) for at, one in result.commands]
        shown = np.array([one for one in sent if first <= one[0] <= last])
        axes[0].step(shown[:, 0], shown[:, 1], color=colour, where="post", label=player)
        jerk = np.diff(result.joints[:, 0], 3) * 1e6
        at = np.arange(len(jerk)) / 100.0
        inside = (at >= first) & (at <= last)
        axes[1].plot(at[inside], jerk[inside] / 1000.0, color=colour, label=player)
    axes[0].set(title="commands, with 0.1 s of inference (P3)", ylabel="rad")
    axes[1].set(title="jerk of the joint", ylabel="1000 rad/s³", xlabel="s")
    axes[0].legend(loc="best")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print the tables and the demands; exit 1 if a demand is not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--latency", type=int, nargs="+", default=[3, 10, 25])
    parser.add_argument("--task", nargs="+", default=["P1", "P2", "P3"])
    parser.add_argument("--picture", type=Path, help="draw commands and jerk into this PNG")
    options = parser.parse_args()
    if options.picture is not None:
        draw(options.picture)
        return 0
    print(f"ms starved / largest step [rad] / RMS error [rad] / peak jerk [1000 rad/s^3]; after "
          f"{SETTLED_S:g} s, {options.seeds} seeds, 100 Hz\n")  # fmt: skip
    found: list[Demand] = []
    for horizon, hz in HORIZONS:
        for task in options.task:
            print(table(task, horizon, hz, options.latency, options.seeds) + "\n", flush=True)
            for latency in options.latency:
                case = Case(task, horizon, hz, latency)
                found += demands(case, range(options.seeds))
                if task == "P2" and 4 * latency * 10 * hz <= 1000 * horizon * 2:
                    found += demands_of_events(case)
    print("| demand | reached | at most | |\n|---|---|---|---|")
    for one in found:
        mark = "yes" if one.reached else "NO"
        print(f"| {one.what} | {one.value:.3f} | {one.most:g} | {mark} |")
    return 0 if all(one.reached for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
