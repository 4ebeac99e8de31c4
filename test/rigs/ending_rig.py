"""Runners in child processes that signals end, and a robot process that receives commands."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import leftovers
from children import Child, Nursery, wait_until
from runner_rig import write_parameters, write_policy

PROGRAMS = Path(__file__).resolve().parent / "programs"
RUNNER = ["-m", "policy_runner.ros.runner.main"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
MOVING, STOPPED = (2.0, -4.0), (0.0, 0.0)
# Announce often at the start: then two processes find each other within tenths of a second.
QUICK_DISCOVERY = """<?xml version="1.0" encoding="UTF-8" ?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="quick" is_default_profile="true"><rtps><builtin><discovery_config>
    <initialAnnouncements><count>20</count><period><nanosec>100000000</nanosec></period>
    </initialAnnouncements>
  </discovery_config></builtin></rtps></participant>
</profiles>
"""


def quick_discovery(folder: Path) -> dict[str, str]:
    """Return the environment in which a child is discovered soon."""
    profile = folder / "quick.xml"
    profile.write_text(QUICK_DISCOVERY, encoding="utf-8")
    return {"FASTRTPS_DEFAULT_PROFILES_FILE": str(profile)}


@dataclass
class End:
    """The result of one run."""

    code: int
    seconds: float
    last: tuple[float, float] | None
    stderr: str


class Robot:
    """The listener's process, and the runners whose end it observes."""

    def __init__(self, spawn: Nursery, folder: Path, topics: int) -> None:
        """`topics`: number of runs that the listener can receive: /run0, /run1 and so on."""
        self._topics = topics
        write_policy(folder / "policy")
        self._spawn = spawn
        self._lock = threading.Lock()
        self.hung: list[int] = []  # process ids that could not clean up because a thread hung
        self.parameters = write_parameters(
            folder / "parameters.yaml", policy=str(folder / "policy"), autostart=True
        )
        self._env = quick_discovery(folder)
        self.listen()

    def listen(self) -> None:
        """Start the listener's process."""
        program = str(PROGRAMS / "last_command_listener.py")
        self.listener = self._spawn(["python", program, str(self._topics)], env=self._env)
        wait_until(lambda: "ready" in self.listener.stdout, 20.0)

    def listen_again(self, hung: int) -> None:
        """Start another listener after a runner that could not clean up.

        The first listener still sends into that runner's memory. On a busy machine it then does
        not find the next runner, which has the same ports, within 30 s.
        """
        self.listener.stop()
        self.hung.append(hung)
        leftovers.remove_segments_of(hung)
        self.listen()

    def last(self, number: int) -> tuple[float, float] | None:
        """Return the newest command of this run that the listener received."""
        for line in reversed(self.listener.stdout.splitlines()):
            words = line.split()
            if len(words) == 3 and words[0] == str(number):
                return float(words[1]), float(words[2])
        return None

    def lines(self, number: int) -> int:
        """Return the number of lines that the listener has printed about this run."""
        return sum(line.startswith(f"{number} ") for line in self.listener.stdout.splitlines())

    def start(self, number: int, program: list[str]) -> Child:
        """Start a runner; return once its commands arrive and are not zero."""
        argv = ["python", *program, "--ros-args", "--params-file", str(self.parameters)]
        argv += ["-r", f"__ns:=/run{number}", "-r", "joint_states:=/joint_states"]
        with self._lock:
            child = self._spawn(argv, env=self._env)
        wait_until(lambda: self.last(number) == MOVING, 30.0, "commands")
        return child

    def end(
        self,
        number: int,
        program: list[str],
        *signals: signal.Signals,
        apart_s: float = 0.01,
        group: bool = False,
    ) -> End:
        """Start run `number`, send it the signals with `apart_s` [s] between them, and observe it.

        `group`: send them to its process group, as a terminal does.
        """
        child = self.start(number, program)
        leftovers.note_segments(child.pid)
        begin = time.monotonic()
        send(child, signals, apart_s, group)
        code = child.wait(10.0)
        seconds = time.monotonic() - begin
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.last(number) == STOPPED, 1.0)
        return End(code, seconds, self.last(number), child.stderr)


@dataclass(frozen=True)
class Pair:
    """Two signals, one after the other."""

    first: signal.Signals
    second: signal.Signals
    apart_us: float
    group: bool


def pairs(count: int, seed: int) -> list[Pair]:
    """Return pairs of signals of every kind; half of them without a pause."""
    rng = random.Random(seed)
    kinds = list(itertools.product(SIGNALS, SIGNALS))
    rng.shuffle(kinds)
    return [
        Pair(*kinds[k % len(kinds)], rng.choice((0.0, rng.uniform(0.0, 200.0))), k % 3 == 0)
        for k in range(count)
    ]


def end_by_pairs(robot: Robot, first: int, given: list[Pair]) -> list[tuple[Pair, End]]:
    """End one run with each pair, two runs at a time; run numbers start with `first`."""

    def one(k: int) -> tuple[Pair, End]:
        pair = given[k]
        both, apart_s = (pair.first, pair.second), pair.apart_us * 1e-6
        return pair, robot.end(first + k, RUNNER, *both, apart_s=apart_s, group=pair.group)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(len(given))))


def send(child: Child, signals: Sequence[signal.Signals], apart_s: float, group: bool) -> None:
    """Send signals with `apart_s` [s] between them; also works if the child has ended."""
    for k, number in enumerate(signals):
        if k:
            pause(apart_s)
        (os.killpg if group else os.kill)(child.pid, number)


def pause(seconds: float) -> None:
    """Wait precisely; a sleep may take longer."""
    end = time.perf_counter() + seconds
    if seconds > 1e-3:
        time.sleep(seconds)
    while time.perf_counter() < end:
        pass
