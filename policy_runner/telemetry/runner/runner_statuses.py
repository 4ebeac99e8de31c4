"""Keeps the newest statuses of all runners, by node and part. This module uses no ROS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_runner.telemetry.runner.slowdown import SlowdownWatch
from policy_runner.telemetry.verdict import OK

# What follows the beginning of a runner's name in the bytes of a message.
PARTS = rb"[^:\0]*: (loop|inputs|inference|safety|model)\0"
_STATUS_NAME = re.compile(r"(?P<node>[^:]*): (?P<part>loop|inputs|inference|safety|model)")
# A loop counts as late from this share of missed deadlines between two messages.
_MISSED_SHARE = 0.01


@dataclass(frozen=True)
class Part:
    """One received status of a runner."""

    level: int
    message: str
    values: Mapping[str, str]

    def number(self, key: str) -> float | None:
        """Return a value as a number; None if it is not one."""
        try:
            return float(self.values.get(key, ""))
        except ValueError:
            return None


@dataclass
class Runner:
    """The newest statuses of one runner; times are monotonic [ns]."""

    node: str
    heard_ns: int = 0  # time of the newest status
    parts: dict[str, Part] = field(default_factory=dict)
    ticked_ns: int = 0  # time when `ticks` last changed
    steady: int = 0  # messages in a row with more ticks; the rate is valid after some
    missed_ns: int | None = None  # time when too many deadlines were last missed
    missed: int = 0  # number of deadlines missed at that time
    watch: SlowdownWatch = field(default_factory=SlowdownWatch)

    def part(self, name: str) -> Part:
        """Return a part; an empty one if it was not received."""
        return self.parts.get(name, Part(OK, "", {}))

    def note_loop(self, part: Part, now_ns: int) -> None:
        """Store a loop status; note whether the loop made ticks and missed deadlines."""
        last, self.parts["loop"] = self.part("loop"), part
        ticks, ticks_before = part.number("ticks"), last.number("ticks")
        if ticks != ticks_before:
            self.ticked_ns = now_ns
        if ticks is None or ticks_before is None or ticks <= ticks_before:
            self.steady = 0
            return
        self.steady += 1
        before, after = last.number("missed deadlines"), part.number("missed deadlines")
        if before is None or after is None:
            return
        missed = after - before
        if missed > _MISSED_SHARE * (missed + ticks - ticks_before):
            self.missed_ns, self.missed = now_ns, int(missed)


class RunnerStatuses:
    """Collects the statuses of the runners of one robot, or of all robots."""

    def __init__(self, prefix: str = "policy_runner", namespace: str = "") -> None:
        """Collect nothing yet.

        Args:
            prefix: beginning of the runners' node names; with a "/" first, one full name.
            namespace: of the runners, such as "/robot1"; then names without a namespace do not
                count, since they are another robot's. "" or "/": any.
        """
        self.prefix = prefix
        self._namespace = "" if namespace == "/" else namespace
        self.runners: dict[str, Runner] = {}

    def take(
        self, name: str, level: int, message: str, values: Mapping[str, str], now_ns: int
    ) -> bool:
        """Store one status; returns False if it is not from a runner.

        Args:
            name: `NODE: PART`.
            level: of diagnostics.
            message: of diagnostics.
            values: of diagnostics.
            now_ns: present time [ns, monotonic].
        """
        found = _STATUS_NAME.fullmatch(name)
        if found is None:
            return False
        node = found["node"]
        if not self._is_ours(node):
            return False
        runner = self.runners.setdefault(node, Runner(node, ticked_ns=now_ns))
        part = Part(level, message, dict(values))
        if found["part"] == "loop":
            runner.note_loop(part, now_ns)
        runner.parts[found["part"]] = part
        runner.heard_ns = now_ns
        return True

    def _is_ours(self, node: str) -> bool:
        if self.prefix.startswith("/"):
            return f"/{node.lstrip('/')}" == self.prefix
        space, _, name = node.rpartition("/")
        if self._namespace and space != self._namespace:
            return False
        return name.strip().startswith(self.prefix)
