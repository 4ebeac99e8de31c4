"""Judge the exported policy as the tests do, and write the figures into the card (README.md).

`python models/balancer/card.py` prints them again for the files that are there.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from policy_runner.sim.handwritten_loop import Policy, Sabotage, run
from policy_runner.sim.scenario import Score
from policy_runner.sim.sensors import Noise

BEGIN, END = "<!-- figures: written by train.py -->", "<!-- end of figures -->"
SEEDS = range(20)
SABOTAGED_SEEDS = range(4)


def load(folder: Path) -> tuple[Policy, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The exported policy, mean and variance."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(folder / "policy.onnx"), options, providers=["CPUExecutionProvider"]
    )

    def policy(normalized: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        action: npt.NDArray[np.float32] = session.run(["actions"], {"obs": normalized})[0]
        return action

    with np.load(folder / "statistics.npz", allow_pickle=False) as file:
        return policy, file["mean"], file["var"]


def measure(folder: Path) -> list[str]:
    """Lines of Markdown: success over seeds, with lateness, noise, and sabotaged."""
    policy, mean, var = load(folder)
    lines = [
        "| 60 s each, 20 seeds | falls | forward RMSE mean / worst [m/s] | yaw RMSE mean / worst "
        "[rad/s] |",
        "|---|---|---|---|",
    ]
    for delay_ms in (0, 10, 20, 30, 40, 60):
        scores = [run(policy, mean, var, seed, 60.0, delay_ms / 1000) for seed in SEEDS]
        lines.append(_row(f"commands {delay_ms} ms late", scores))
    scores = [run(policy, mean, var, seed, 60.0, 0.01, Noise()) for seed in SEEDS]
    lines.append(_row("10 ms late, noise in every reading", scores))
    scores = [run(policy, mean, var, seed, 60.0, every=2) for seed in SEEDS]
    lines.append(_row("asked every second tick only", scores))
    lines += ["", "| sabotaged, seeds 0 to 3 | first fall [s] |", "|---|---|"]
    sabotages: dict[str, tuple[Sabotage, float]] = {
        "statistics of mean 0 and variance 1": (Sabotage(plain_statistics=True), 0.0),
        "wheel names swapped": (Sabotage(wheels_swapped=True), 0.0),
        "gyro and gravity exchanged": (Sabotage(gyro_and_gravity_swapped=True), 0.0),
        "commands 200 ms late": (Sabotage(), 0.2),
        "output zero": (Sabotage(zero_output=True), 0.0),
    }
    for name, (sabotage, delay_s) in sabotages.items():
        falls = [
            run(policy, mean, var, seed, 10.0, delay_s, sabotage=sabotage).first_fall_s
            for seed in SABOTAGED_SEEDS
        ]
        texts = ("none" if fall is None else f"{fall:.2f}" for fall in falls)
        lines.append(f"| {name} | {', '.join(texts)} |")
    return lines


def _row(name: str, scores: list[Score]) -> str:
    forward = [s.velocity_rmse_forward or 0.0 for s in scores]
    yaw = [s.velocity_rmse_yaw or 0.0 for s in scores]
    falls = sum(s.falls for s in scores)
    return (
        f"| {name} | {falls} | {statistics.mean(forward):.3f} / {max(forward):.3f} | "
        f"{statistics.mean(yaw):.3f} / {max(yaw):.3f} |"
    )


def write_card(folder: Path, facts: Mapping[str, str], lines: list[str]) -> None:
    """Replace what stands between the two marks in `folder`/README.md; print it as well."""
    text = [BEGIN, "", *(f"- {key}: {value}" for key, value in facts.items()), "", *lines, "", END]
    print("\n".join(text))
    path = folder / "README.md"
    if path.exists():
        old = path.read_text(encoding="utf-8")
        head, found, rest = old.partition(BEGIN)
        if found:
            path.write_text(head + "\n".join(text) + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    print("\n".join(measure(Path(__file__).parent)))
