"""The monitor's screen fits the terminal: 80x24, smaller, and as large as it is."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import Any

import pytest
from rich.console import Console

from policy_runner.cli.monitor.screen import fitted

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
PARTS = {
    "policy_runner": ("inference", "inputs", "loop", "model", "safety"),
    "jetson_diagnostics": ("board", "cpu", "disk", "engines", "fan", "gpu", "memory", "policy",
                           "power", "temperature", "throttling"),
    "simulated_robot": ("balance",),
}  # fmt: skip
LONG = "the sentence of a status that explains what to do in as many words as it takes, " * 2


def rows(**levels: int) -> dict[str, Any]:
    from policy_runner.ros.diagnostics.listener import Row

    return {
        f"{node}: {part}": Row(levels.get(part, 0), f"{part} says {LONG}", {"load [%]": "7.0"},
                               "host", 0)
        for node, parts in PARTS.items()
        for part in parts
    }  # fmt: skip


def screen(width: int, height: int, given: dict[str, Any], values: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    console.print(fitted(given, values, console, now_ns=0))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("size", [(80, 24), (80, 12), (60, 20), (40, 8), (20, 3), (120, 30)])
@pytest.mark.parametrize("values", [True, False])
def test_it_fits_and_shows_the_most_severe(size: tuple[int, int], values: bool) -> None:
    width, height = size
    shown = screen(width, height, rows(gpu=1, safety=2), values)
    assert 0 < len(shown) < height
    assert all(len(line) <= width for line in shown)
    text = "\n".join(shown)
    assert "ERROR" in text
    assert width < 40 or "safety" in text


def test_it_grows_with_the_terminal() -> None:
    given = rows(gpu=1)
    counts = [len(screen(100, height, given, True)) for height in (6, 12, 24, 40, 80, 200)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2] < counts[-1]
    tall = "\n".join(screen(100, 200, given, True))
    assert tall.count("load [%]") == len(given)
    small = "\n".join(screen(80, 24, given))
    assert "load [%]" not in small
    assert all(part in small for parts in PARTS.values() for part in parts)


def test_what_does_not_fit_is_counted() -> None:
    shown = screen(80, 6, rows(gpu=1, fan=1, cpu=2, loop=3, model=1, inputs=1))
    assert shown[0].startswith("ERROR jetson_diagnostics: cpu")
    assert shown[1].startswith("STALE policy_runner: loop")
    assert shown[-1] == "and 13 more, 2 of them not OK: make the terminal higher"


def test_a_line_at_80x24() -> None:
    shown = screen(80, 24, rows(gpu=1))
    assert shown[0].split() == ["jetson_diagnostics"]
    line = next(line for line in shown if line.startswith("WARN gpu "))
    assert line.split()[:5] == ["WARN", "gpu", "gpu", "says", "the"]
    assert line.endswith("…")
