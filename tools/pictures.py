"""Draws the pictures of the documentation, `docs/pictures`.

    python tools/pictures.py                 tick.svg, decision.svg, latency.svg, in seconds
    python tools/pictures.py demo            demo.png: the shipped policy in MuJoCo, rendered
    python tools/pictures.py measure         measures again what tick.svg and latency.svg show
    python tools/pictures.py monitor report  monitor.svg, report.png: the demo, watched for a minute

Without a name it draws from `docs/pictures/measured.json`. `demo` needs MuJoCo with EGL or
OSMesa (`MUJOCO_GL=osmesa`), the last two need ROS 2.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.cli.drawing.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    drawing,
    duration_text,
    log_durations,
)

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
MEASURED = FOLDER / "measured.json"
# Panels of latency.svg: key in the measured figures, title, colour.
PANELS = (
    ("inference", "the policy: history, normalization, network, decoding", BLUE),
    ("busy", "the whole tick: from waking up to its end", GREEN),
    ("period", "period error: |time between two ticks − 2 ms|", ORANGE),
)


def draw_diagrams() -> None:
    """tick.svg and decision.svg."""
    import diagrams

    measured = json.loads(MEASURED.read_text("utf-8"))
    (FOLDER / "tick.svg").write_text(diagrams.tick(measured), encoding="utf-8")
    (FOLDER / "decision.svg").write_text(diagrams.decision(), encoding="utf-8")


def draw_latency() -> None:
    """latency.svg: the distributions of three times on one logarithmic axis."""
    measured = json.loads(MEASURED.read_text("utf-8"))
    pyplot = drawing()
    edges = np.array(measured["edges_us"])
    period = 1e6 / measured["rate_hz"]
    figure, axes = pyplot.subplots(
        len(PANELS), 1, sharex=True, figsize=(9.0, 5.8), layout="constrained"
    )
    for axis, (key, title, colour) in zip(axes, PANELS, strict=True):
        one = measured["histograms"][key]
        counts = np.array(one["counts"], dtype=float)
        axis.stairs(100.0 * counts / counts.sum(), edges, fill=True, color=colour, alpha=0.75)
        axis.set_title(title)
        axis.set_ylabel("ticks [%]")
        axis.set_ylim(0.0, 1.3 * axis.get_ylim()[1])
        axis.axvline(period, color=INK, linewidth=1.0, linestyle=":")
        for name, height in (("p50", 0.97), ("p99", 0.74), ("p99.9", 0.51)):
            axis.axvline(one[name], color=INK, linewidth=1.0)
            _note(axis, one[name], height, f"{name} {one[name]:.0f} µs")
    _note(axes[0], period, 0.97, f"one period, {duration_text(period)}")
    lowest = axes[-1]
    lowest.set_xlim(edges[0], edges[-1])
    log_durations(lowest, "x")
    facts = f"{measured['rate_hz']:g} Hz, {measured['ticks']} ticks. "
    words = facts + "\n".join(measured["source"])
    figure.suptitle(words, x=0.01, ha="left", fontsize="small")
    figure.savefig(FOLDER / "latency.svg", metadata={"Date": None})
    pyplot.close(figure)


def _note(axis: Any, at: float, height: float, words: str) -> None:
    """Words to the right of a line at `at`, `height` from 0 to 1."""
    axis.annotate(words, (at, height), xycoords=axis.get_xaxis_transform(), xytext=(4, 0),
                  textcoords="offset points", va="top", fontsize="small")  # fmt: skip


def write(measured: dict[str, Any]) -> None:
    """measured.json, each list of numbers on one line."""
    text = json.dumps(measured, indent=1)
    text = re.sub(r"\[[\s\d.,]+\]", lambda found: " ".join(found[0].split()), text)
    MEASURED.write_text(text + "\n", encoding="utf-8")


def _run(name: str) -> Callable[[], None]:
    def run() -> None:
        import picture_demo
        import picture_runs

        made: dict[str, Any] = {
            "demo": lambda: picture_demo.demo(FOLDER / "demo.png"),
            "measure": lambda: write(picture_runs.measure()),
            "monitor": lambda: picture_runs.monitor(FOLDER / "monitor.svg"),
            "report": lambda: picture_runs.report(FOLDER / "report.png"),
        }
        made[name]()

    return run


def main(words: Sequence[str] | None = None) -> int:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    runs = ("demo", "measure", "monitor", "report")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(runs))
    names = parser.parse_args(words).names
    for name in names:
        if name not in runs:
            parser.error(f"expected some of {', '.join(runs)}, got '{name}'")
        _run(name)()
    if not names or "measure" in names:
        draw_diagrams()
        draw_latency()
    return 0


if __name__ == "__main__":
    sys.exit(main())
