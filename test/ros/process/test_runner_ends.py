"""The end of the process: after any signal the last command is delivered, and soon."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import leftovers
import pytest
from children import Nursery, wait_until
from ending_rig import PROGRAMS, RUNNER, STOPPED, End, Robot

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
TIMES = 10
USUAL_TIMES = 4
OTHERS = 8
USUAL = [str(PROGRAMS / "default_handlers_runner.py")]
# Runs Python with a pipe as stderr that is already full and has no reader.
WITH_A_FULL_STDERR = """
import os, sys
reading, writing = os.pipe()
os.set_inheritable(reading, True)
os.set_blocking(writing, False)
try:
    while True:
        os.write(writing, bytes(4096))
except BlockingIOError:
    os.set_blocking(writing, True)
os.dup2(writing, 2)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp("ends")
    nursery = Nursery(folder)
    robot = Robot(nursery, folder, 2 * TIMES + USUAL_TIMES + OTHERS)
    yield robot
    nursery.close()
    for pid in robot.hung:
        leftovers.remove_segments_of(pid)


def ends(robot: Robot, first: int, count: int, *how: Any) -> list[End]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda number: robot.end(number, *how), range(first, first + count)))


@pytest.mark.parametrize(("first", "number"), [(0, signal.SIGINT), (TIMES, signal.SIGTERM)])
def test_the_last_command_arrives_and_the_process_ends_soon(
    robot: Robot, first: int, number: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    got = ends(robot, first, TIMES, RUNNER, number)
    arrived = sum(one.last == STOPPED for one in got)
    slowest = max(one.seconds for one in got)
    record_property("arrived", f"{arrived}/{TIMES}")
    record_property("slowest [s]", round(slowest, 3))
    assert [one.code for one in got] == [0] * TIMES
    assert arrived == TIMES, [one.last for one in got]
    assert slowest < 2.0, sorted(one.seconds for one in got)
    assert not any("terminate called" in one.stderr for one in got)


def test_with_the_usual_signal_handlers_it_would_not(robot: Robot) -> None:
    """Check the test itself: the same runner with rclpy's default handlers fails it."""
    got = ends(robot, 2 * TIMES, USUAL_TIMES, USUAL, signal.SIGINT)
    bad = [one for one in got if one.code != 0 or one.last != STOPPED or one.seconds >= 2.0]
    assert bad, got


def test_a_second_signal_changes_nothing(robot: Robot) -> None:
    """Launch escalates with a second signal, and so may an impatient operator."""
    first = 2 * TIMES + USUAL_TIMES
    twice = robot.end(first, RUNNER, signal.SIGINT, signal.SIGINT)
    mixed = robot.end(first + 1, RUNNER, signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    for end in (twice, mixed):
        assert (end.code, end.last) == (0, STOPPED), end
        assert end.seconds < 2.0


def test_a_subscriber_that_hangs_does_not_hold_up_the_end(robot: Robot) -> None:
    child = robot.start(2 * TIMES + USUAL_TIMES + 2, RUNNER)
    try:
        robot.listener.send(signal.SIGSTOP)
        time.sleep(0.3)
        begin = time.monotonic()
        child.send(signal.SIGINT)
        assert child.wait(10.0) == 0, child.stderr
        assert time.monotonic() - begin < 2.0
    finally:
        robot.listener.send(signal.SIGCONT)


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.4, 0.8])
def test_a_signal_while_it_starts(robot: Robot, spawn: Nursery, after_s: float) -> None:
    child = spawn(["python", *RUNNER, "--ros-args", "--params-file", str(robot.parameters)])
    time.sleep(after_s)
    begin = time.monotonic()
    child.send(signal.SIGTERM)
    code = child.wait(10.0)
    # Before its first line of Python runs, the process cannot handle a signal.
    assert code == 0 or (after_s < 0.5 and code == -signal.SIGTERM), child.quote()
    assert time.monotonic() - begin < 4.0  # includes imports and start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_a_node_that_was_never_configured(
    spawn: Nursery, number: signal.Signals
) -> None:
    child = spawn(["python", *RUNNER, "--ros-args", "-p", "autostart:=true"])
    wait_until(lambda: "could not configure" in child.stderr, 20.0)
    begin = time.monotonic()
    child.send(number)
    assert child.wait(10.0) == 2  # the start was refused
    assert time.monotonic() - begin < 2.0


def test_a_refused_start_ends_the_process_where_that_is_set(spawn: Nursery) -> None:
    words = ["-p", "autostart:=true", "-p", "end_if_refused:=true"]
    child = spawn(["python", *RUNNER, "--ros-args", *words])
    assert child.wait(20.0) == 2
    assert "the process ends (end_if_refused)" in child.stderr


# Runs the runner; one of its functions fails as soon as a file exists.
WITH_SOMETHING_BAD = """
import os, sys, time
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.ros.process.executor import ExecutorPulse
from policy_runner.ros.runner.main import main
good = %(where)s
def bad(*arguments):
    if os.path.exists(%(flag)r):
        %(what)s
    return good(*arguments)
%(where)s = bad
sys.exit(main(sys.argv[1:]))
"""
TICK, EXECUTOR = "Pipeline.step", "ExecutorPulse._beat"


@pytest.mark.parametrize(
    ("where", "what", "code", "after_s"),
    [
        (TICK, "raise OSError('odd')", 1, 0.1),
        (TICK, "time.sleep(60.0)", 3, 0.1),
        (EXECUTOR, "time.sleep(60.0)", 3, 0.4),  # the pulse beats 4 times a second
    ],
)
def test_the_exit_code_says_why_and_the_last_command_still_arrives(
    robot: Robot, tmp_path: Path, where: str, what: str, code: int, after_s: float
) -> None:
    number = 2 * TIMES + USUAL_TIMES + 4 + code - (where == EXECUTOR)
    flag = tmp_path / "bad"
    script = WITH_SOMETHING_BAD % {"where": where, "flag": str(flag), "what": what}
    child = robot.start(number, ["-c", script])
    flag.touch()
    time.sleep(after_s)
    begin = time.monotonic()
    child.send(signal.SIGINT)
    assert child.wait(10.0) == code
    assert time.monotonic() - begin < 2.0
    wait_until(lambda: robot.last(number) == STOPPED)
    if code == 3:
        robot.listen_again(child.pid)


def test_a_stderr_that_nobody_reads_stops_neither_loop_nor_end(robot: Robot) -> None:
    """The pipe is full from the start: without a fix the first log line blocks forever."""
    number = 2 * TIMES + USUAL_TIMES + 3
    child = robot.start(number, ["-c", WITH_A_FULL_STDERR, *RUNNER])
    begin, lines = time.monotonic(), robot.lines(number)
    wait_until(lambda: robot.lines(number) > lines + 4, what="commands at the rate")
    assert time.monotonic() - begin < 5.0  # 25 commands a line, 50 a second
    begin = time.monotonic()
    child.send(signal.SIGINT)
    assert child.wait(10.0) == 0
    assert time.monotonic() - begin < 2.0
    wait_until(lambda: robot.last(number) == STOPPED)
