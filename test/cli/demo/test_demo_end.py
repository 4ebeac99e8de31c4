"""The end of `policy-runner demo --duration`: which statuses count."""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace
from typing import Any

import pytest

from policy_runner.cli.demo.command import (
    add_arguments,
    wait_for_last_status,
    watch_until_the_end,
)


@pytest.mark.parametrize(
    ("words", "frozen"),
    [
        (("--duration", "8"), [(8.0, True), (8.0, True)]),
        (("--duration", "8", "--lockstep"), [(8.0, False), (8.0, False)]),
        (("--duration", "9"), []),
        ((), []),
    ],
)
def test_statuses_are_frozen_before_the_process_of_the_robot_ends(
    words: tuple[str, ...], frozen: list[tuple[float, bool]]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args(["--headless", *words])
    # The robot's last status says 8 s; its process is there for one more poll.
    said, running = iter([1.0, 7.0, 8.0, 8.0]), iter([True, True, True, False])
    now, calls = 0.0, []

    def number(status: str, key: str) -> float:
        nonlocal now
        assert (status, key) == ("simulated_robot: balance", "simulated [s]")
        now = next(said)
        return now

    watch: Any = SimpleNamespace(
        number=number, level={}, freeze=lambda keep_known: calls.append((now, keep_known))
    )
    children: Any = SimpleNamespace(
        running=lambda name: next(running) if name == "simulated_robot" else True
    )
    ended: Any = SimpleNamespace(is_set=lambda: False, wait=lambda _seconds: None)
    watch_until_the_end(options, watch, children, ended)
    assert calls == frozen


@pytest.mark.parametrize(("after", "waits"), [(3, 3), (None, 5)])
def test_a_short_run_in_lockstep_waits_for_a_status_after_it(after: int | None, waits: int) -> None:
    # A status from before the end of the run does not have all ticks.
    watch: Any = SimpleNamespace(last_ticks=(time.monotonic() - 0.1, 40))
    waited = 0

    def wait(_seconds: float) -> bool:
        nonlocal waited
        waited += 1
        if waited == after:
            watch.last_ticks = (time.monotonic(), 45)
        return False

    # The runner ends by itself after 5 looks.
    children: Any = SimpleNamespace(running=lambda _name: waited < 5)
    ended: Any = SimpleNamespace(is_set=lambda: False, wait=wait)
    wait_for_last_status(watch, children, ended)
    assert waited == waits
