"""What the pictures of `tools/pictures.py` show: the real commands, run and written down."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.cli.bench.machine import machine

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "from policy_runner.cli.main import main; main()"]
RATE_HZ, SECONDS = 500.0, 60.0
EDGES_US = np.round(np.geomspace(0.1, 1e4, 126), 3)


def _environment() -> dict[str, str]:
    """Of this process and its children: this tree, and a graph of their own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault("ROS_DOMAIN_ID", "78")
    return {**os.environ, "PYTHONPATH": path}


@contextmanager
def _running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child process, which is ended by a signal of its own."""
    child = subprocess.Popen(words, env=_environment(), stdout=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def measure() -> dict[str, Any]:
    """Figures of `RATE_HZ` for `SECONDS`: of a node, with its inputs from another process."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from quadruped import write_policy

    with tempfile.TemporaryDirectory() as name:
        folder = write_policy(Path(name), RATE_HZ)
        out = Path(name) / "out.json"
        words = [sys.executable, "-m", "policy_runner.ros.bench.publisher", str(folder)]
        with _running(*words, "--rate", str(RATE_HZ), "--priority", "40"):
            time.sleep(1.0)
            runner = [sys.executable, str(Path(__file__)), str(folder), str(out)]
            subprocess.run(runner, env=_environment(), check=True, timeout=SECONDS + 60.0)
        found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    load = os.getloadavg()[0]  # of the last minute: the node and its inputs alone make about 1
    facts = machine()
    found["source"] = [
        f"Measured on a virtual machine: {facts['cpu']}, Linux {facts['kernel'].split('-')[0]}, "
        f"{found.pop('priority')}, ONNX Runtime {facts['onnxruntime']}, Python {facts['python']};",
        "48 inputs, layers of 512, 256, 128, 12 outputs; JointState and Imu from another process; "
        f"load average {load:.0f}.",
    ]
    return found


def _write_node(folder: Path, out: Path) -> None:
    """The node at work: each tick's parts, written to `out`."""
    from policy_runner.ros.process.realtime import prepare_process

    granted = prepare_process(80, [], lock_memory=True)
    import rclpy
    from rclpy.parameter import Parameter
    from rclpy.signals import SignalHandlerOptions

    from policy_runner.ros.process.executor import ExecutorThread
    from policy_runner.ros.runner.node import PolicyRunner

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    values = {"policy": str(folder), "require_arming": False, "realtime.priority": 80,
              "realtime.lock_memory": True}  # fmt: skip
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = PolicyRunner(granted, parameter_overrides=overrides)
    node.trigger_configure()
    node.trigger_activate()
    loop = node.loop
    assert loop is not None, "the node did not become active"
    rows = np.zeros((int(RATE_HZ * SECONDS * 1.1), 6), dtype=np.int64)
    count = 0
    begin = time.monotonic() + 2.0

    def note(step: Any, now_ns: int) -> None:
        nonlocal count
        ended_ns = time.monotonic_ns()
        if count < len(rows) and time.monotonic() > begin and step.inferred:
            rows[count] = (now_ns, step.started_ns, step.observed_ns, step.inferred_ns,
                           step.decided_ns, ended_ns)  # fmt: skip
            count += 1

    loop.observe(note)
    executor = ExecutorThread(node)
    executor.start()
    time.sleep(SECONDS + 2.0)
    waking, publishing = (loop.windows[name].samples() / 1e3 for name in ("wake_up", "publish"))
    node.end(1.0)
    out.write_text(json.dumps(_figures(rows[:count] / 1e3, waking, publishing) | {
        "priority": granted.priority}))  # fmt: skip
    if executor.stop(0.5):
        node.free()
        node.destroy_node()
    rclpy.try_shutdown()


def _figures(rows: np.ndarray, waking: np.ndarray, publishing: np.ndarray) -> dict[str, Any]:
    """Percentiles and histograms [us]. Linux has one clock for all times of a tick."""
    now, started, observed, inferred, decided, ended = rows.T
    parts = {"wake_up": waking, "take": started - now, "observation": observed - started,
             "inference": inferred - observed, "command": decided - inferred,
             "publish": publishing}  # fmt: skip
    shown = {"inference": inferred - observed, "busy": ended - now,
             "period": np.abs(np.diff(now) - 1e6 / RATE_HZ)}  # fmt: skip
    return {
        "rate_hz": RATE_HZ,
        "ticks": len(rows),
        "parts_us": {name: _percentiles(values) for name, values in parts.items()},
        "edges_us": EDGES_US.tolist(),
        "histograms": {
            name: {**_percentiles(values), "max": round(float(values.max()), 1),
                   "counts": np.histogram(np.clip(values, EDGES_US[0], EDGES_US[-1]),
                                          EDGES_US)[0].tolist()}
            for name, values in shown.items()
        },
    }  # fmt: skip


def _percentiles(values: np.ndarray) -> dict[str, float]:
    p50, p99, p999 = np.percentile(values, (50, 99, 99.9))
    return {
        "p50": round(float(p50), 1),
        "p99": round(float(p99), 1),
        "p99.9": round(float(p999), 1),
    }


def monitor(path: Path) -> None:
    """What `policy-runner monitor` shows of the running demo."""
    from rich.console import CONSOLE_SVG_FORMAT, Console

    from policy_runner.cli.monitor.screen import chosen, view

    with _running(*_first(), *COMMAND, "demo", "--headless"):
        from policy_runner.ros.diagnostics.listener import DiagnosticsListener

        listener = DiagnosticsListener()
        time.sleep(25.0)
        rows = chosen(listener.rows(), "")
        listener.close()
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
    console.print(view(rows, with_values=False))
    # rich would fetch its font from the web; letters keep their places with any other one.
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    frame = frame.replace("Fira Code,", "DejaVu Sans Mono, Menlo, Consolas,")
    text = console.export_svg(title="policy-runner monitor", code_format=frame, unique_id="m")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def report(path: Path) -> None:
    """What `policy-runner report` draws of the demo, whose robot is suspended for a time."""
    with tempfile.TemporaryDirectory() as name:
        recording = Path(name) / "run.mcap"
        with (
            _running(*COMMAND, "monitor", "--record", str(recording)),
            _running(*_first(), *COMMAND, "demo", "--headless") as demo,
        ):
            time.sleep(30.0)
            robot = _child(demo.pid, "simulated_robot")
            os.kill(robot, signal.SIGSTOP)
            time.sleep(8.0)
            os.kill(robot, signal.SIGCONT)
            time.sleep(22.0)
        words = [*COMMAND, "report", str(recording), "--picture", str(path)]
        subprocess.run(words, env=_environment(), check=True)


def _first() -> list[str]:
    """A priority where it is granted: no other program of the machine belongs into a picture."""
    words = ["chrt", "-f", "30"]
    granted = shutil.which(words[0]) and subprocess.run([*words, "true"], check=False)
    return words if granted and granted.returncode == 0 else []


def _child(parent: int, word: str) -> int:
    """The process id of the child whose command line has this word."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
    for child in children:
        if word in Path(f"/proc/{child}/cmdline").read_text("utf-8"):
            return int(child)
    raise RuntimeError(f"{word} does not run")


if __name__ == "__main__":
    _write_node(Path(sys.argv[1]), Path(sys.argv[2]))
