"""Ours and the hand-written node, alternately on the same machine: a table, JSON, a picture.

    python benchmarks/side_by_side.py --rate 500 --seconds 60 --rounds 5 [--busy]

Columns: the hand-written node, the same under `chrt -f 50`, ours, a bare FIFO sleep loop. Every
run has its own publisher process (JointState and Imu at the loop's rate, FIFO 40 where granted).
`--busy` keeps one core busy with another program. `--no-fifo` grants nobody a priority.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from quadruped import write_policy

from policy_runner.cli.bench import draw_tails, machine

HERE = Path(__file__).parent
BUSY = "import signal\nsignal.signal(2, signal.SIG_DFL)\nwhile True: pass"


def columns(fifo: bool) -> dict[str, list[str]]:
    """Command of each column, without the common arguments."""
    python = sys.executable
    hand = [python, str(HERE / "hand_written.py")]
    ours = [python, "-m", "policy_runner.ros.bench_runner"]
    bare = [python, str(HERE / "bare_loop.py")]
    if not fifo:
        return {"hand-written": hand, "ours": ours}
    return {
        "hand-written": hand,
        "hand-written, chrt -f 50": ["chrt", "-f", "50", *hand],
        "ours": [*ours, "--priority", "80", "--lock-memory"],
        "bare loop": [*bare, "--priority", "80"],
    }


def end(child: subprocess.Popen[bytes]) -> None:
    """End a process that this program started."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(5.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def measure(
    command: list[str], folder: Path, rate: float, seconds: float, fifo: bool, busy: bool
) -> dict[str, Any]:
    """One run of one column."""
    out = folder / "run.npz"
    out.unlink(missing_ok=True)
    common = [str(folder), "--rate", str(rate)]
    priority = ["--priority", "40"] if fifo else []
    robot = subprocess.Popen(
        [sys.executable, "-m", "policy_runner.ros.bench_publisher", *common, *priority]
    )
    load = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        time.sleep(1.0)
        subprocess.run(
            [*command, *common, "--seconds", str(seconds), "--out", str(out)],
            check=True,
            cwd=HERE,
            timeout=seconds + 60.0,
        )
    finally:
        for child in (robot, load):
            if child is not None:
                end(child)
    with np.load(out) as stored:
        ticks, ages = stored["ticks_ns"], stored["ages_ns"]
        facts = json.loads(str(stored["facts"]))
    return {**figures(ticks, ages, 1e9 / rate), **facts, "errors_us": errors_us(ticks, 1e9 / rate)}


def errors_us(ticks: np.ndarray, period_ns: float) -> np.ndarray:
    """|period - nominal| of every tick [us]."""
    return np.abs(np.diff(ticks) - period_ns) / 1e3


def figures(ticks: np.ndarray, ages: np.ndarray, period_ns: float) -> dict[str, float]:
    """Figures of one run, computed from the tick times alone, in the same way for all."""
    errors = errors_us(ticks, period_ns)
    p50, p99, p999 = np.percentile(errors, (50, 99, 99.9))
    skipped = np.round(np.diff(ticks) / period_ns).astype(int) - 1
    return {
        "ticks": len(ticks),
        "p50": p50,
        "p99": p99,
        "p99.9": p999,
        "max": errors.max(),
        "missed": int(np.clip(skipped, 0, None).sum()),
        "within 0.2 ms": float(np.mean(errors <= 200.0)),
        "age p99.9": float(np.percentile(ages, 99.9)) / 1e3,
    }


def main() -> int:
    """Alternate the columns, print medians and spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--no-fifo", action="store_true")
    parser.add_argument("--only", nargs="*", help="columns whose name begins so")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", "77")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["PYTHONPATH"] = f"{HERE.parent}:{os.environ.get('PYTHONPATH', '')}"
    fifo = not options.no_fifo
    chosen = columns(fifo)
    if options.only:
        chosen = {n: c for n, c in chosen.items() if n.startswith(tuple(options.only))}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as name:
        folder = write_policy(Path(name), options.rate)
        for turn in range(options.rounds):
            for column, command in chosen.items():
                run = measure(command, folder, options.rate, options.seconds, fifo, options.busy)
                runs[column].append(run)
                print(f"round {turn + 1}, {column}: p99.9 {run['p99.9']:.0f} us", flush=True)
    report(runs, options, machine())
    return 0


KEYS = ("p50", "p99", "p99.9", "max", "missed", "within 0.2 ms", "age p99.9", "cpu_share")


def report(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace, facts: Any) -> None:
    """Print the table; write JSON and the picture where asked for."""
    load = "one core busy" if options.busy else "quiet"
    title = f"{options.rate:g} Hz, {load}, {options.rounds} x {options.seconds:g} s"
    print(f"\n{title}; {facts}")
    header = ["column", *KEYS]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    medians: dict[str, dict[str, float]] = {}
    for column, several in runs.items():
        cells = [column]
        medians[column] = {}
        for key in KEYS:
            values = [run[key] for run in several]
            medians[column][key] = float(np.median(values))
            cells.append(f"{np.median(values):.4g} ({min(values):.4g} to {max(values):.4g})")
        print("| " + " | ".join(cells) + " |")
    if "ours" in medians and "hand-written" in medians:
        ratios = {
            f"{key}: ours / {column}": medians["ours"][key] / medians[column][key]
            for column in medians
            if column != "ours"
            for key in ("p99.9", "cpu_share")
            if medians[column][key]
        }
        for name, ratio in ratios.items():
            print(f"{name}: {ratio:.3f}")
    if options.picture:
        errors = {
            column: np.concatenate([run["errors_us"] for run in several])
            for column, several in runs.items()
        }
        draw_tails(errors, title, options.picture)
    if options.json:
        plain = {
            column: [{k: v for k, v in run.items() if k != "errors_us"} for run in several]
            for column, several in runs.items()
        }
        content = {"title": title, "machine": facts, "medians": medians, "runs": plain}
        options.json.write_text(json.dumps(content, indent=1, default=float) + "\n")


if __name__ == "__main__":
    sys.exit(main())
