"""`policy-runner demo --remote`: it balances through a server, and outlives the server's end."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import wait_until

from policy_runner.cli.serve.command import NEEDED

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco", *NEEDED)),
    reason="the demo needs rclpy, mujoco and the extra [serve]",
)
CLI = ["python", "-m", "policy_runner.cli.main"]
HINT = re.compile(r"process (\d+); .* `policy-runner (serve \S+ --port \d+)`")
SAFETY, INFERENCE = "policy_runner: safety", "policy_runner: inference"


def test_in_lockstep_the_server_gives_the_run_of_the_model_here(spawn: Any, tmp_path: Path) -> None:
    reports = []
    for words in ([], ["--remote"]):
        out = tmp_path / f"out{len(reports)}.json"
        run = ["--lockstep", "--duration", "3", "--seed", "7", "--headless", "--json", str(out)]
        child = spawn([*CLI, "demo", *run, *words])
        assert child.wait(60.0) == 0, child.quote()
        reports.append(json.loads(out.read_text("utf-8")))
    here, there = reports
    assert there["commands"] == here["commands"] == 300
    assert there["falls"] == 0
    assert there["velocity_rmse"] == here["velocity_rmse"]  # each number of it
    assert there["round_trip_ms"]["p50"] > 0.0


class Log:
    """The runner's lines on /rosout, each with its arrival on the monotonic clock [s]."""

    def __init__(self) -> None:
        import rclpy
        from rcl_interfaces.msg import Log as Line
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile

        self.lines: list[tuple[float, str]] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("reader", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

        def take(line: Any) -> None:
            if line.name == "policy_runner":
                self.lines.append((time.monotonic(), line.msg))

        qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(Line, "/rosout", take, qos)

    def says(self, begin: str, since_s: float = 0.0) -> float | None:
        """When a line first began so; read for a moment."""
        self._executor.spin_once(timeout_sec=0.02)
        found = [at for at, text in self.lines if at >= since_s and text.startswith(begin)]
        return found[0] if found else None

    def close(self) -> None:
        self._executor.shutdown(1.0)
        self._node.destroy_node()
        self._context.try_shutdown()


def test_the_runner_holds_without_the_server_and_runs_with_the_next_one(spawn: Any) -> None:
    """The robot cannot stand still, so it falls after the HOLD; then it stands up again."""
    from policy_runner.ros.diagnostics.listener import Watch

    child = spawn([*CLI, "demo", "--remote", "--headless"])
    watch, log = Watch(), Log()

    def runs() -> bool:
        return watch.message.get(SAFETY) == "RUN" and INFERENCE in watch.values

    def connections() -> int:
        return int(watch.values[INFERENCE]["connections"])

    try:
        hint = wait_until(lambda: HINT.search(child.stdout), 40.0)
        wait_until(runs, 40.0)
        before = watch.values[INFERENCE]
        assert re.fullmatch(r"remote http://127\.0\.0\.1:\d+", before["provider"])
        assert before["lane"] == "process"
        os.kill(int(hint[1]), signal.SIGKILL)
        killed_s = time.monotonic()
        held_s = wait_until(lambda: log.says("HOLD: no fresh action: 127.0.0.1", killed_s), 20.0)
        assert held_s - killed_s < 5.0  # the log follows 4 times a second
        wait_until(lambda: watch.message[INFERENCE].startswith("127.0.0.1:"))
        assert watch.values[INFERENCE]["server"] == "failed"
        spawn([*CLI, *hint[2].split()])
        # Not exactly one more: on a busy machine an answer may have been too late before.
        wait_until(lambda: connections() > int(before["connections"]), 40.0)
        wait_until(runs, 40.0)
        assert watch.values[INFERENCE]["lane process"] == before["lane process"]  # it never ended
        assert watch.values[INFERENCE]["lane failures"] == "0"
    finally:
        watch.close()
        log.close()
    child.send(signal.SIGINT)
    assert child.wait(20.0) == 0, child.quote()


def test_another_backend_is_refused(spawn: Any) -> None:
    child = spawn([*CLI, "demo", "--remote", "--backend", "onnxruntime"])
    assert child.wait(20.0) == 1
    assert "--backend: expected nothing, or remote, next to --remote" in child.stderr
