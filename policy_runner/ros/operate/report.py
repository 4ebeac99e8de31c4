"""Keeps the newest report of one runner: its heartbeat, its statuses and its lifecycle state.

No rclpy here: messages come as serialized bytes, so that a damaged message cannot end the process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_runner.core.errors import refuse
from policy_runner.telemetry.recording.diagnostics_cdr import Status, read_diagnostics

# The slowest heartbeat comes once a second; above this age the runner counts as silent.
SILENT_NS = 3_000_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def full_name(name: str, namespace: str = "") -> str:
    """Return the fully qualified name of a node.

    Args:
        name: of the node; it may contain its namespace, as in `/robot/policy_runner`.
        namespace: of the node, with or without slashes; empty: none.

    Raises:
        Refusal: ROS allows no such name.
    """
    parts = [part for part in f"{namespace}/{name}".split("/") if part]
    if not name.strip("/") or not all(_NAME.fullmatch(part) for part in parts):
        expected = "letters, digits and underscores, not beginning with a digit"
        raise refuse("", "--name and --namespace", expected, f"{namespace!r} and {name!r}")
    return "/" + "/".join(parts)


@dataclass(frozen=True)
class Part:
    """One status of the runner on `/diagnostics`: level 0 (OK) to 3 (STALE), and its values."""

    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunnerReport:
    """The state of a runner as far as it was heard.

    Attributes:
        name: fully qualified name of the node.
        lifecycle: its lifecycle state, such as `active`; empty: it has not answered.
        decision: `STARTING`, `RUN`, `HOLD` or `SAFE_STOP`; empty: no heartbeat was heard.
        reason: why the decision is not RUN; empty with RUN.
        armed: whether an operator has armed it.
        commanding: whether commands leave that may move the robot.
        silent_s: age of the newest heartbeat [s]; None: none was heard.
        parts: statuses on `/diagnostics` by the second part of their names, such as `loop`.
    """

    name: str
    lifecycle: str = ""
    decision: str = ""
    reason: str = ""
    armed: bool = False
    commanding: bool = False
    silent_s: float | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)

    @property
    def is_silent(self) -> bool:
        """Whether an active runner sends no heartbeat any more."""
        heard = self.silent_s is not None and self.silent_s * 1e9 <= SILENT_NS
        return self.lifecycle == "active" and not heard

    @property
    def runs(self) -> bool:
        """Whether the policy commands: an active runner whose newest decision is RUN."""
        return self.lifecycle == "active" and self.decision == "RUN" and not self.is_silent

    @property
    def headline(self) -> str:
        """The state in a few words, such as `active, HOLD: input too old: joints: ...`."""
        silent = f"silent for {self.silent_s or 0.0:.0f} s; the last decision was {self.decision}"
        is_heard = self.silent_s is not None
        if not self.lifecycle:
            return f"no answer, {silent}" if is_heard else "no answer"
        if self.lifecycle != "active":
            return self.lifecycle
        if not is_heard:
            return "active, no heartbeat heard"
        if self.is_silent:
            return f"active, {silent}"
        return f"active, {self.decision}{f': {self.reason}' if self.reason else ''}"


class ReportKeeper:
    """Collects the messages of one runner; any thread may call `report`."""

    def __init__(self, name: str) -> None:
        """Begin without any message; `name` is the fully qualified name of the node."""
        self.name = name
        self.lifecycle = ""  # set by the caller, who asks the node's service
        self._beat: Mapping[str, str] = {}
        self._beat_ns: int | None = None
        self._parts: dict[str, Part] = {}

    def take_heartbeat(self, raw: bytes, now_ns: int) -> None:
        """Take a serialized message of `~/status`; a damaged one changes nothing."""
        for status in _statuses(raw):
            if "decision" in status.values:
                self._beat, self._beat_ns = status.values, now_ns

    def take_diagnostics(self, raw: bytes) -> None:
        """Take a serialized message of `/diagnostics`; only this runner's statuses count."""
        parts = dict(self._parts)
        for status in _statuses(raw):
            node, _, part = status.name.rpartition(": ")
            if part and self._is_mine(node, status.hardware_id):
                parts[part] = Part(status.level, status.message, status.values)
        self._parts = parts

    def _is_mine(self, node: str, hardware_id: str) -> bool:
        # A status name carries the full name of its node, or only the last part of it. A robot in
        # another namespace may have the same last part; then the hardware id tells them apart.
        if node.strip("/") == self.name.strip("/"):
            return not hardware_id.startswith("/") or hardware_id == self.name
        return node == self.name.rpartition("/")[2] and hardware_id == self.name

    def heard_since(self, now_ns: int) -> bool:
        """Whether a heartbeat has come after this time on the monotonic clock."""
        return self._beat_ns is not None and self._beat_ns > now_ns

    def report(self, now_ns: int) -> RunnerReport:
        """Return what is known at this time of the monotonic clock."""
        beat, beat_ns = self._beat, self._beat_ns
        decision, reason = beat.get("decision", ""), beat.get("reason", "")
        detail = beat.get("detail", "")
        why = f"{reason}: {detail}" if detail and reason not in detail else detail or reason
        return RunnerReport(
            self.name,
            self.lifecycle,
            decision,
            "" if decision == "RUN" else why,
            beat.get("armed") == "true",
            beat.get("commanding") == "true",
            None if beat_ns is None else (now_ns - beat_ns) / 1e9,
            self._parts,
        )


def _statuses(raw: bytes) -> list[Status]:
    try:
        return read_diagnostics(raw)[1]
    except ValueError:
        return []
