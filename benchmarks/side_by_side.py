"""Compares the runner with the hand-written node on the same machine: a table, JSON, a picture.

    python benchmarks/side_by_side.py --rate 500 --seconds 60 --rounds 5 [--busy]

Columns: the hand-written node, the same under `chrt -f 50`, ours (the runner), a bare FIFO sleep
loop. Their runs alternate. Every run has its own publisher process (JointState and Imu at the
loop's rate, FIFO 40 if granted). `--busy N` keeps N cores busy with another program. `--no-fifo`
runs all processes without a real-time priority. A witness on every core (`witness.py`) marks the
ticks during which the host had stopped the core; figures are given with and without these ticks.
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
from witness import lost, undisturbed

from policy_runner.cli.bench.machine import machine
from policy_runner.cli.bench.node import draw_tails

HERE = Path(__file__).parent
SERVICES = "ours, service calls"  # 85 a second, diagnostics, one reload in the middle
EXECUTOR = "ours, executor load"  # 3 ms of Python every 10 ms in the executor
SIDECAR = "ours, sidecar"
KILLED = "ours, sidecar killed"  # by SIGKILL, and restarted, every 5 s
EXTRA = (SERVICES, EXECUTOR, SIDECAR, KILLED)
BUSY = "import signal\nsignal.signal(2, signal.SIG_DFL)\nwhile True: pass"


def columns(fifo: bool) -> dict[str, list[str]]:
    """Return the command of each column, without the common arguments.

    Args:
        fifo: whether real-time priorities are used.
    """
    python = sys.executable
    hand = [python, str(HERE / "hand_written.py")]
    ours = [python, "-m", "policy_runner.ros.bench.runner"]
    bare = [python, str(HERE / "bare_loop.py")]
    if not fifo:
        return {"hand-written": hand, "ours": ours}
    ours += ["--priority", "80", "--lock-memory"]
    return {
        "hand-written": hand,
        "hand-written, chrt -f 50": ["chrt", "-f", "50", *hand],
        "ours": ours,
        "bare loop": [*bare, "--priority", "80"],
        SERVICES: ours,
        EXECUTOR: [*ours, "--executor-load"],
        SIDECAR: ours,
        KILLED: ours,
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


def begin(common: list[str], folder: Path, fifo: bool) -> list[subprocess.Popen[bytes]]:
    """Begin what every column runs next to: the robot, and with `fifo` a witness on each core."""
    for old in folder.glob("core*.npy"):
        old.unlink()
    priority = ["--priority", "40"] if fifo else []
    robot = [sys.executable, "-m", "policy_runner.ros.bench.publisher", *common, *priority]
    children = [subprocess.Popen(robot)]
    for core in range(os.cpu_count() or 1) if fifo else ():
        witness = [sys.executable, str(HERE / "witness.py"), "--core", str(core)]
        children.append(subprocess.Popen([*witness, "--out", str(folder)]))
    return children


def finish(
    command: list[str],
    children: list[subprocess.Popen[bytes]],
    folder: Path,
    options: argparse.Namespace,
    spare_s: float = 60.0,
) -> dict[str, Any]:
    """Run a column next to its children, and end them; return its figures and facts.

    Args:
        command: of the column, without the duration.
        children: from `begin`, and others.
        folder: gets the run's files.
        options: of the command line.
        spare_s: how much longer than the run the command may take [s].
    """
    out = folder / "run.npz"
    out.unlink(missing_ok=True)
    try:
        time.sleep(1.0)
        subprocess.run(
            [*command, "--seconds", str(options.seconds), "--out", str(out)],
            check=True,
            cwd=HERE,
            timeout=options.seconds + spare_s,
        )
    finally:
        for child in children:
            end(child)
    with np.load(out) as stored:
        ticks, ages = stored["ticks_ns"], stored["ages_ns"]
        facts = json.loads(str(stored["facts"]))
    return {**figures(ticks, ages, 1e9 / options.rate, lost(folder)), **facts}


def measure(
    column: str, command: list[str], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Run one column once.

    Args:
        column: its name.
        command: its command, without the common arguments.
        folder: has the policy; gets the run's files.
        options: of the command line.

    Returns:
        The figures and facts of the run.
    """
    common = [str(folder), "--rate", str(options.rate)]
    children = begin(common, folder, not options.no_fifo)
    children += [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(options.busy)]
    if column == SERVICES:
        asking = [sys.executable, str(HERE / "service_load.py")]
        children.append(subprocess.Popen([*asking, "--reload-after", str(options.seconds / 2)]))
    if column in (SIDECAR, KILLED):
        every = "5" if column == KILLED else "0"
        killer = [sys.executable, str(HERE / "sidecar_killer.py"), "--every", every]
        children.append(subprocess.Popen(killer))
    return finish([*command, *common], children, folder, options)


def errors_us(ticks: np.ndarray, period_ns: float) -> np.ndarray:
    """Return |period - nominal| of every tick [us]."""
    return np.abs(np.diff(ticks) - period_ns) / 1e3


def figures(
    ticks: np.ndarray, ages: np.ndarray, period_ns: float, lost_ns: np.ndarray
) -> dict[str, Any]:
    """Compute the figures of one run from its tick times, in the same way for all columns.

    Figures named "own ..." leave out the periods in which a witness saw its core stopped.

    Args:
        ticks: times of the ticks [ns], (n,).
        ages: age of the oldest input at each tick [ns], (n,).
        period_ns: the nominal period [ns].
        lost_ns: see `witness.lost`.
    """
    errors = errors_us(ticks, period_ns)
    own = undisturbed(ticks, lost_ns)
    skipped = np.clip(np.round(np.diff(ticks) / period_ns).astype(int) - 1, 0, None)
    found: dict[str, Any] = {"ticks": len(ticks), "left out": 1.0 - float(np.mean(own))}
    for prefix, chosen in (("", np.ones(len(own), dtype=bool)), ("own ", own)):
        p50, p99, p999 = np.percentile(errors[chosen], (50, 99, 99.9))
        found |= {
            f"{prefix}p50": p50,
            f"{prefix}p99": p99,
            f"{prefix}p99.9": p999,
            f"{prefix}max": errors[chosen].max(),
            f"{prefix}missed": int(skipped[chosen].sum()),
            f"{prefix}within 0.2 ms": float(np.mean(errors[chosen] <= 200.0)),
            f"{prefix}age p99.9": float(np.percentile(ages[1:][chosen], 99.9)) / 1e3,
        }
    return {**found, "errors_us": errors, "own_us": errors[own]}


def main() -> int:
    """Alternate the columns; print medians and ranges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", type=int, default=0, help="cores kept busy by another program")
    parser.add_argument("--no-fifo", action="store_true")
    parser.add_argument("--only", nargs="*", help="these columns; default: the first four")
    parser.add_argument("--discovery", default="LOCALHOST", help="ROS_AUTOMATIC_DISCOVERY_RANGE")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", "77")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = options.discovery
    os.environ["PYTHONPATH"] = f"{HERE.parent}:{os.environ.get('PYTHONPATH', '')}"
    fifo = not options.no_fifo
    chosen = columns(fifo)
    wanted = options.only or [name for name in chosen if name not in EXTRA]
    chosen = {name: command for name, command in chosen.items() if name in wanted}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as name:
        folder = write_policy(Path(name), options.rate)
        for turn in range(options.rounds):
            for column, command in chosen.items():
                run = measure(column, command, folder, options)
                runs[column].append(run)
                own = f"own {run['own p99.9']:.0f} us, {run['left out']:.1%} left out"
                print(f"round {turn + 1}, {column}: p99.9 {run['p99.9']:.0f} us, {own}", flush=True)
    report(runs, options, machine())
    return 0


FIGURES = ("p50", "p99", "p99.9", "max", "missed", "within 0.2 ms", "age p99.9")
KEYS = (*FIGURES, "left out", *(f"own {name}" for name in FIGURES), "cpu_share", "resident_mib")


def report(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace, facts: Any) -> None:
    """Print the table; write JSON and the picture if the options name files."""
    load = f"{options.busy} core(s) busy" if options.busy else "quiet"
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
            for key in ("p99.9", "own p99.9", "cpu_share")
            if medians[column][key]
        }
        for name, ratio in ratios.items():
            print(f"{name}: {ratio:.3f}")
    if options.picture:
        errors = {
            column: np.concatenate([run["own_us"] for run in several])
            for column, several in runs.items()
        }
        draw_tails(errors, title, options.picture)
    if options.json:
        plain = {
            column: [
                {k: v for k, v in run.items() if k not in ("errors_us", "own_us")}
                for run in several
            ]
            for column, several in runs.items()
        }
        content = {"title": title, "machine": facts, "medians": medians, "runs": plain}
        options.json.write_text(json.dumps(content, indent=1, default=float) + "\n")


if __name__ == "__main__":
    sys.exit(main())
