"""Measures how reloads disturb the control loop: the node at 500 Hz, with and without `~/reload`.

    python benchmarks/reloads.py --seconds 45 --reloads 100 [--no-fifo] [--megabytes 20]

For each reload: the worst |period - nominal| from its call to 20 ms after its answer, and the
missed deadlines in that time. Periods in which a witness saw its core stopped are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from quadruped import write_policy
from side_by_side import HERE, end, errors_us
from witness import lost, undisturbed

AFTER_NS = 20_000_000


def call(count: int, every_s: float, out: Path) -> int:
    """Call reloads; write the times of each call and answer [ns, monotonic].

    Args:
        count: number of reloads.
        every_s: time between two calls [s].
        out: the .npy file, [count, 2].
    """
    import rclpy
    from std_srvs.srv import Trigger

    rclpy.init()
    node = rclpy.create_node("reloads")
    client = node.create_client(Trigger, "/policy_runner/reload")
    if not client.wait_for_service(30.0):
        return 1
    time.sleep(3.0)
    times, refused = [], 0
    for _ in range(count):
        begun = time.monotonic_ns()
        future = client.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(node, future, timeout_sec=10.0)
        times.append((begun, time.monotonic_ns()))
        refused += not (future.done() and future.result().success)
        time.sleep(max(0.0, every_s - (times[-1][1] - begun) / 1e9))
    np.save(out, np.array(times))
    print(f"{count} reloads, {refused} refused", flush=True)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def enlarge(model: Path, megabytes: int) -> None:
    """Add a tensor of this size to the model file; no node uses it."""
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load(model)
    idle = np.random.default_rng(1).standard_normal(megabytes * 250_000).astype(np.float32)
    loaded.graph.initializer.append(numpy_helper.from_array(idle, "idle"))
    onnx.save(loaded, model)


def run(folder: Path, reloads: int, options: argparse.Namespace) -> None:
    """Run the node once and print its figures."""
    priority = [] if options.no_fifo else ["--priority", "40"]
    ours = [] if options.no_fifo else ["--priority", "80", "--lock-memory"]
    module = [sys.executable, "-m"]
    common = [str(folder), "--rate", "500"]
    robot = [*module, "policy_runner.ros.bench.publisher", *common, *priority]
    children = [subprocess.Popen(robot)]
    times = folder / "reloads.npy"
    if reloads:
        every = (options.seconds - 5.0) / reloads
        asking = [sys.executable, __file__, "--call", str(reloads), str(every), str(times)]
        children.append(subprocess.Popen(asking))
    for core in range(os.cpu_count() or 1) if not options.no_fifo else ():
        witness = [sys.executable, str(HERE / "witness.py"), "--core", str(core)]
        children.append(subprocess.Popen([*witness, "--out", str(folder)]))
    out = folder / "run.npz"
    try:
        node = [*module, "policy_runner.ros.bench.runner", *common, *ours]
        seconds = ["--seconds", str(options.seconds), "--out", str(out)]
        subprocess.run([*node, *seconds], check=True, stderr=subprocess.DEVNULL)
        if reloads:
            children[1].wait(30.0)
    finally:
        for child in children:
            end(child)
    with np.load(out) as stored:
        ticks, facts = stored["ticks_ns"], json.loads(str(stored["facts"]))
    own = undisturbed(ticks, lost(folder)) if not options.no_fifo else np.ones(len(ticks) - 1, bool)
    for old in folder.glob("core*.npy"):
        old.unlink()
    errors = errors_us(ticks, 2e6)
    skipped = np.clip(np.round(np.diff(ticks) / 2e6).astype(int) - 1, 0, None)
    p50, p99, p999 = np.percentile(errors[own], (50, 99, 99.9))
    print(
        f"{reloads} reloads: p50 {p50:.0f}, p99 {p99:.0f}, p99.9 {p999:.0f}, "
        f"max {errors[own].max():.0f} us; missed {skipped[own].sum()}; resident "
        f"{facts['resident_mib']:.0f} MiB; {1 - own.mean():.1%} of the periods left out"
    )
    if reloads:
        _per_reload(np.load(times), ticks, errors, skipped, own)


def _per_reload(times: Any, ticks: Any, errors: Any, skipped: Any, own: Any) -> None:
    inside = [(ticks[1:] >= a) & (ticks[:-1] <= b + AFTER_NS) & own for a, b in times]
    worst = [errors[one].max() for one in inside if one.any()]
    missed = [int(skipped[one].sum()) for one in inside]
    took = np.diff(times, axis=1) / 1e6
    print(
        f"  per reload: answered after {np.median(took):.0f} ms (at most {took.max():.0f}); worst "
        f"period p50 {np.median(worst):.0f}, p90 {np.percentile(worst, 90):.0f}, max "
        f"{max(worst):.0f} us; missed at most {max(missed)}"
    )


def main() -> int:
    """Alternate runs without and with reloads."""
    if sys.argv[1:2] == ["--call"]:
        return call(int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=45.0)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-fifo", action="store_true")
    parser.add_argument("--megabytes", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with tempfile.TemporaryDirectory() as name:
        folder = write_policy(Path(name), 500.0)
        if options.megabytes:
            enlarge(folder / "policy.onnx", options.megabytes)
        for _ in range(options.rounds):
            for reloads in (0, options.reloads):
                run(folder, reloads, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
