"""Runners in processes of their own that are ended by signals, heard by a robot in another."""

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
# Announce often at the start: two processes then find each other in tenths of a second.
QUICK_DISCOVERY = """<?xml version="1.0" encoding="UTF-8" ?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="quick" is_default_profile="true"><rtps><builtin><discovery_config>
    <initialAnnouncements><count>20</count><period><nanosec>100000000</nanosec></period>
    </initialAnnouncements>
  </discovery_config></builtin></rtps></participant>
</profiles>
"""


@dataclass
class End:
    """What became of one run."""

    code: int
    seconds: float
    last: tuple[float, float] | None
    stderr: str


class Robot:
    """The listener's process, and runners that are ended under its eyes."""

    def __init__(self, spawn: Nursery, folder: Path, topics: int) -> None:
        """`topics`: how many runs the listener hears, /run0, /run1 and so on."""
        self._topics = topics
        write_policy(folder / "policy")
        self._spawn = spawn
        self._lock = threading.Lock()
        self.hung: list[int] = []  # which could not tidy up behind a thread that hangs
        self.parameters = write_parameters(
            folder / "parameters.yaml", policy=str(folder / "policy"), autostart=True
        )
        profile = folder / "quick.xml"
        profile.write_text(QUICK_DISCOVERY, encoding="utf-8")
        self._env = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(profile)}
        self.listen()

    def listen(self) -> None:
        """Start the listener's process."""
        program = str(PROGRAMS / "last_command_listener.py")
        self.listener = self._spawn(["python", program, str(self._topics)], env=self._env)
        wait_until(lambda: "ready" in self.listener.stdout, 20.0)

    def listen_again(self, hung: int) -> None:
        """Start another listener after a runner that could not tidy up.

        The first one still sends into that runner's memory: on a busy machine it then does not
        find the next runner, which has the same ports, within 30 s.
        """
        self.listener.stop()
        self.hung.append(hung)
        leftovers.remove_segments_of(hung)
        self.listen()

    def last(self, number: int) -> tuple[float, float] | None:
        """The newest command that run's listener heard."""
        for line in reversed(self.listener.stdout.splitlines()):
            words = line.split()
            if len(words) == 3 and words[0] == str(number):
                return float(words[1]), float(words[2])
        return None

    def lines(self, number: int) -> int:
        """How many lines about a run the listener has printed."""
        return sum(line.startswith(f"{number} ") for line in self.listener.stdout.splitlines())

    def start(self, number: int, program: list[str]) -> Child:
        """A runner, once its commands arrive and are not zero."""
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
        """Start run `number`, send it the signals so far apart, and see what becomes of it.

        `group`: to its process group, as a terminal does.
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
    """Pairs of signals of every kind, half of them back to back."""
    rng = random.Random(seed)
    kinds = list(itertools.product(SIGNALS, SIGNALS))
    rng.shuffle(kinds)
    return [
        Pair(*kinds[k % len(kinds)], rng.choice((0.0, rng.uniform(0.0, 200.0))), k % 3 == 0)
        for k in range(count)
    ]


def end_by_pairs(robot: Robot, first: int, given: list[Pair]) -> list[tuple[Pair, End]]:
    """End a run by each pair, two at a time; runs are numbered from `first` on."""

    def one(k: int) -> tuple[Pair, End]:
        pair = given[k]
        both, apart_s = (pair.first, pair.second), pair.apart_us * 1e-6
        return pair, robot.end(first + k, RUNNER, *both, apart_s=apart_s, group=pair.group)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(len(given))))


def send(child: Child, signals: Sequence[signal.Signals], apart_s: float, group: bool) -> None:
    """Send signals so far apart; a child that has ended stays to be waited for."""
    for k, number in enumerate(signals):
        if k:
            pause(apart_s)
        (os.killpg if group else os.kill)(child.pid, number)


def pause(seconds: float) -> None:
    """Wait, precisely where a sleep would take longer."""
    end = time.perf_counter() + seconds
    if seconds > 1e-3:
        time.sleep(seconds)
    while time.perf_counter() < end:
        pass
