"""The executor's heartbeat: failures count for a minute, and silence is detected."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from core_rig import MS

from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import CommandLimits, Settings

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
SECOND = 1000 * MS
SETTINGS = Settings(
    10 * MS, 1, {}, CommandLimits.none(0), callback_failures=3, executor_timeout_ns=2 * SECOND
)


class Rig:
    """A pulse with a simulated time; the test calls its timer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from policy_runner.ros.process import executor

        self.now_ns = 1000 * SECOND
        self.timers: list[Callable[[], None]] = []
        monkeypatch.setattr(executor.time, "monotonic_ns", lambda: self.now_ns)
        node: Any = self
        self.pulse = executor.ExecutorPulse(node)
        (self.beat,) = self.timers
        self.pulse.watch.begin(self.now_ns)

    def create_timer(self, _period_s: float, callback: Callable[[], None], **_how: Any) -> None:
        """Replace the node's method."""
        self.timers.append(callback)

    def runs(self, seconds: float) -> Fault | None:
        """Let time pass with a living executor; return the fault that the loop then finds."""
        for _ in range(round(seconds * 4)):
            self.now_ns += SECOND // 4
            self.beat()
        return self.pulse.watch.fault(self.now_ns, 0, SETTINGS)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_failures_are_forgotten_after_a_minute(rig: Rig) -> None:
    for _ in range(3):
        rig.pulse.failed()
    fault = rig.runs(0.25)
    assert fault is not None
    assert (fault.decision, fault.reason) == (Decision.SAFE_STOP, Reason.CALLBACKS_FAILING)
    assert rig.pulse.watch.failures == 3
    assert rig.runs(59.0) is not None
    assert rig.runs(1.0) is None
    assert rig.pulse.watch.failures == 0


def test_failures_that_are_rarer_than_the_limit_never_stop(rig: Rig) -> None:
    for _ in range(20):
        rig.pulse.failed()
        assert rig.runs(31.0) is None
        assert rig.pulse.watch.failures <= 2
    rig.pulse.failed()
    rig.pulse.failed()
    assert rig.runs(0.25) is not None  # three failures within a minute


def test_a_failure_counts_at_once_and_without_a_beat(rig: Rig) -> None:
    for _ in range(3):
        rig.pulse.failed()
    assert rig.pulse.watch.fault(rig.now_ns, 0, SETTINGS) is not None


def test_an_executor_that_no_longer_beats_is_silent(rig: Rig) -> None:
    assert rig.runs(1.0) is None
    begin = rig.now_ns
    while (fault := rig.pulse.watch.fault(rig.now_ns, 0, SETTINGS)) is None:
        rig.now_ns += 10 * MS
        assert rig.now_ns - begin < 3 * SECOND
    assert fault.reason is Reason.EXECUTOR_SILENT
    assert rig.now_ns - begin == 2 * SECOND + 10 * MS
    assert rig.runs(0.25) is None
