"""Any number of signals, in any order and spacing: the last command is sent, the process ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import leftovers
import pytest
from children import Nursery, wait_until
from ending_rig import RUNNER, SIGNALS, STOPPED, Robot, end_by_pairs, pairs, send

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
PAIRS = 16  # each ordered pair of the four signals
MODULES = ("runner", "guard", "sidecar", "simulated_robot")


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp("signals")
    nursery = Nursery(folder)
    yield Robot(nursery, folder, PAIRS + 2)
    nursery.close()


def test_pairs_of_signals(robot: Robot) -> None:
    got = end_by_pairs(robot, 0, pairs(PAIRS, seed=1))
    bad = [one for one in got if (one[1].code, one[1].last) != (0, STOPPED)]
    assert not bad, bad
    assert max(end.seconds for _, end in got) < 2.0, sorted(end.seconds for _, end in got)


def test_a_hail_of_signals(robot: Robot) -> None:
    hail = [random.Random(2).choice(SIGNALS) for _ in range(200)]
    end = robot.end(PAIRS, RUNNER, *hail, apart_s=1e-4)
    assert (end.code, end.last) == (0, STOPPED), end
    assert end.seconds < 2.0


@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.4, 0.6, 0.8, 1.1])
def test_signals_while_it_starts(robot: Robot, spawn: Nursery, after_s: float) -> None:
    """Also during configure and activate, where the loop was once stopped before it began."""
    child = spawn(["python", *RUNNER, "--ros-args", "--params-file", str(robot.parameters)])
    time.sleep(after_s)
    begin = time.monotonic()
    send(child, (signal.SIGINT, signal.SIGHUP, signal.SIGTERM), 1e-4, group=False)
    code = child.wait(10.0)
    # Before its first line of Python the process cannot handle a signal, and nothing has begun.
    first_line = after_s < 0.3 and code in (-signal.SIGINT, -signal.SIGHUP, -signal.SIGTERM, 1)
    assert code == 0 or first_line, child.quote()
    assert time.monotonic() - begin < 2.5  # on a busy machine, where imports take long
    assert "NoneType" not in child.stderr
    leftovers.remove_segments_of(child.pid)


@pytest.mark.parametrize("module", MODULES)
def test_every_process_ends_by_a_pair(spawn: Nursery, module: str) -> None:
    if module == "simulated_robot" and find_spec("mujoco") is None:
        pytest.skip("needs mujoco")
    for both in ((signal.SIGHUP, signal.SIGQUIT), (signal.SIGINT, signal.SIGINT)):
        child = spawn(["python", "-m", f"policy_runner.ros.{module}.main"])
        # The node exists when the process has this many threads.
        wait_until(lambda pid=child.pid: len(os.listdir(f"/proc/{pid}/task")) > 8, 20.0)
        time.sleep(0.5)
        begin = time.monotonic()
        send(child, both, 2e-5, group=True)
        assert child.wait(10.0) == 0, child.quote()
        assert time.monotonic() - begin < 2.0


# Prints its state, so that the test knows when it waits.
WAITING = """
import sys, time
from policy_runner.ros.process.lifetime import end_on_signal, ignore_further_signals
ended = end_on_signal()
print("ready", flush=True)
print(ended.wait(20.0), ended.is_set(), flush=True)
ignore_further_signals()
time.sleep(0.3)  # signals of the interpreter's last moments
sys.exit(7)
"""


def waiting(**options: object) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[3])
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        **options,  # type: ignore[call-overload]
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def rest(child: subprocess.Popen[str]) -> str:
    """Read to the end. `communicate` would lose what came together with the first line."""
    assert child.stdout is not None
    return child.stdout.read()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_never_lost_and_never_deadlocks(number: signal.Signals) -> None:
    child = waiting()
    try:
        for _ in range(300):
            child.send_signal(number)
        assert rest(child) == "True True\n"
        assert child.wait(10.0) == 7
    finally:
        child.kill()


def test_what_a_parent_blocks_or_ignores_is_heard() -> None:
    def before_exec() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    child = waiting(preexec_fn=before_exec)
    try:
        child.send_signal(signal.SIGINT)
        assert child.wait(10.0) == 7
    finally:
        child.kill()


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    child = waiting(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    try:
        child.send_signal(signal.SIGHUP)
        time.sleep(1.5)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait(10.0) == 7
    finally:
        child.kill()


def test_what_came_before_the_first_line_ends_it_in_order() -> None:
    """Like the demo's children: held signals arrive when the child can handle them."""
    from policy_runner.ros.process.lifetime import hold_signals_until_heard

    def before_exec() -> None:
        hold_signals_until_heard()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    child = waiting(preexec_fn=before_exec)
    try:
        assert rest(child) == "True True\n"
        assert child.wait(10.0) == 7
    finally:
        child.kill()
