"""The simulated robot stops by itself when the runner's heartbeat falls silent."""

from __future__ import annotations

import time

import pytest

from policy_runner.ros.simulated_robot.heartbeat import Heartbeat


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A monotonic clock that the test sets [ns]."""
    at = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: at[0])
    return at


def test_without_a_first_heartbeat_nothing_is_watched(now: list[int]) -> None:
    heartbeat = Heartbeat(0.3)
    now[0] = 10**12
    assert not heartbeat.silent_now(heard=False)


def test_silence_is_lost_once_and_ends_with_the_next_heartbeat(now: list[int]) -> None:
    heartbeat = Heartbeat(0.3)
    assert not heartbeat.silent_now(heard=True)
    now[0] = 299_000_000
    assert not heartbeat.silent_now(heard=False)
    for now[0] in (301_000_000, 400_000_000):
        assert heartbeat.silent_now(heard=False)
    assert heartbeat.lost == 1
    assert not heartbeat.silent_now(heard=True)
    now[0] += 500_000_000
    assert heartbeat.silent_now(heard=False)
    assert heartbeat.lost == 2


def test_a_timeout_of_zero_watches_nothing(now: list[int]) -> None:
    heartbeat = Heartbeat(0.0)
    heartbeat.silent_now(heard=True)
    now[0] = 10**12
    assert not heartbeat.silent_now(heard=False)
