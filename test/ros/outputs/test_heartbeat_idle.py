"""The heartbeat while simulation time gives few ticks or no ticks."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import pytest

from policy_runner.core.safety.decision import Safety

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")


class _Node:
    """Replaces the node that creates the publisher."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def get_name(self) -> str:
        return "runner"

    def create_publisher(self, *_arguments: object, **_named: object) -> Any:
        return self

    def publish(self, message: Any) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.sent.append(values["commanding"])


def test_a_slow_simulator_is_neither_silent_nor_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    from policy_runner.ros.outputs.heartbeat import StatusPublisher

    now = [10**12]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    node: Any = _Node()
    status, safety = StatusPublisher(node, 20_000_000, "s"), Safety()
    status.commanding = True
    assert status.tick(safety, 0, 0)
    for _ in range(10):  # a tick every half second, and still a heartbeat every 50 ms
        now[0] += 50_000_000
        status.idle(safety, 0, 0)
        assert now[0] - status.told_ns == 0
    assert set(node.sent) == {"true"}
    now[0] += 600_000_000  # no tick for more than a second: time is paused, so nothing is commanded
    status.idle(safety, 0, 0)
    assert node.sent[-1] == "false"
