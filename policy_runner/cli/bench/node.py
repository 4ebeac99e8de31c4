"""`policy-runner bench node`: measures how well the node keeps its rate in a ROS graph."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.cli.bench.machine import check_outputs, machine, print_machine
from policy_runner.cli.command_parser import number_above_0, seconds_above_0, table_width
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.drawing.style import drawing, log_durations
from policy_runner.core.errors import refuse
from policy_runner.package_files import share_path

RATES = (50.0, 100.0, 200.0, 500.0, 1000.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC and the options of `bench node`."""
    parser.add_argument("spec", nargs="?", type=Path, metavar="SPEC",
                        help="policy.yaml or its folder; default: the shipped policy")  # fmt: skip
    rates = " ".join(f"{rate:g}" for rate in RATES)
    parser.add_argument("--rates", nargs="+", type=number_above_0, metavar="HZ",
                        help=f"control rates; default {rates}")  # fmt: skip
    parser.add_argument("--seconds", type=seconds_above_0, default=10.0, help="per rate")
    parser.add_argument("--priority", type=int, default=80, help="SCHED_FIFO; 0: none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="period errors (matplotlib)")


def run(options: argparse.Namespace) -> int:
    """Measure, print and write the figures."""
    check_outputs(options.json, options.picture)
    facts = machine()
    print_machine(facts)
    spec = options.spec or share_path("models", "balancer")
    rows = measure(spec, options)
    if options.json:
        content = {"machine": facts, "spec": str(spec), "graph": plain(rows)}
        options.json.write_text(json.dumps(content, indent=2, default=float) + "\n")
    return 0


def measure(spec: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the node at each rate, print the figures, and draw them if requested.

    Raises:
        Refusal: rclpy is missing, or the node did not run to its end.
    """
    if find_spec("rclpy") is None:
        remedy = "source a ROS 2 environment; `policy-runner bench step` needs none"
        raise refuse("", "bench", "the Python module rclpy", "none", remedy)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with tempfile.TemporaryDirectory(prefix="policy_runner_bench_") as folder:
        rates = options.rates or RATES
        rows: list[dict[str, Any]] = []
        with shown_progress() as progress:
            for rate in rates:
                progress(f"run the node at {rate:g} Hz", len(rows), len(rates))
                rows.append(_graph(spec, rate, options.seconds, options.priority, Path(folder)))
    _print_graph(rows)
    if options.picture:
        errors = {f"{row['rate_hz']:g} Hz": row["errors_us"] for row in rows}
        draw_tails(errors, "policy_runner", options.picture)
    return rows


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows for JSON, without the error of each tick."""
    return [{key: value for key, value in row.items() if key != "errors_us"} for row in rows]


def _graph(spec: Path, rate: float, seconds: float, priority: int, folder: Path) -> dict[str, Any]:
    """Run the node at one rate in a real graph, with a publisher in another process."""
    out = folder / f"{rate:g}.npz"
    common = [str(spec), "--rate", str(rate), "--priority"]
    robot = subprocess.Popen(
        [sys.executable, "-m", "policy_runner.ros.bench.publisher", *common, str(priority // 2)]
    )
    runner = [sys.executable, "-m", "policy_runner.ros.bench.runner", *common, str(priority)]
    try:
        time.sleep(1.0)
        done = subprocess.run(
            [*runner, "--seconds", str(seconds), "--out", str(out)],
            timeout=seconds + 60.0,
            check=False,
            stderr=subprocess.PIPE,
        )
    finally:
        robot.send_signal(signal.SIGINT)
        robot.wait(10.0)
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace")[-500:]
        raise refuse("", f"bench at {rate:g} Hz", "a run to its end", text)
    with np.load(out) as stored:
        ticks, ages = stored["ticks_ns"], stored["ages_ns"]
        facts: dict[str, Any] = json.loads(str(stored["facts"]))
    errors = np.abs(np.diff(ticks) - 1e9 / rate) / 1e3
    p50, p99, p999 = np.percentile(errors, (50, 99, 99.9))
    return {
        "rate_hz": rate,
        "ticks": len(ticks),
        "period_error_us": {"p50": p50, "p99": p99, "p99.9": p999, "max": errors.max()},
        "within_0.2_ms": float(np.mean(errors <= 200.0)),
        "missed": facts["missed_by_loop"],
        "input_age_p99.9_us": float(np.percentile(ages, 99.9)) / 1e3,
        "errors_us": errors,
        **facts,
    }


def _print_graph(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    errors_of = ("p50", "p99", "p99.9", "max")
    heads = ("rate [Hz]", *(f"error {key} [us]" for key in errors_of), "missed deadlines",
             "input age p99.9 [us]", "step p50 [us]", "CPU [%]")  # fmt: skip
    title = "node in a graph; error: |period - nominal|"
    table = Table(*(escape(head) for head in heads), title=title)
    for row in rows:
        errors = row["period_error_us"]
        table.add_row(
            f"{row['rate_hz']:g}",
            *(f"{errors[key]:.0f}" for key in errors_of),
            str(row["missed"]),
            f"{row['input_age_p99.9_us']:.0f}",
            f"{row['parts_us']['step'][0]:.0f}",
            f"{100 * row['cpu_share']:.0f}",
        )
    console = Console(width=table_width())
    console.print(table)
    priorities = sorted({row["priority"] for row in rows})
    console.print(f"priority: {', '.join(priorities)}")


def draw_tails(errors_us: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """Draw, for each label, the share of ticks with a period error above x.

    The tail of this distribution matters: large errors shake a robot.

    Args:
        errors_us: label -> |period - nominal| of each tick [us].
        title: of the plot.
        path: the picture to write.
    """
    pyplot = drawing()
    figure, axes = pyplot.subplots(figsize=(8.0, 4.5), layout="constrained")
    for label, errors in errors_us.items():
        ordered = np.sort(errors)
        share = 1.0 - np.arange(ordered.size) / ordered.size
        axes.semilogy(np.maximum(ordered, 0.1), share, label=label)
    log_durations(axes, "x")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100.0 * share:g} %")
    axes.set(xlabel="|period − nominal|", ylabel="share of ticks that err by more", title=title)
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
