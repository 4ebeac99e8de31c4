"""The demo's live view in the terminal: what the robot does, and the timing of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.listener import Watch

_COLOURS = {"OK": "green", "WARN": "yellow", "ERROR": "red", "STALE": "magenta"}
_ROBOT, _LOOP = "simulated_robot: balance", "policy_runner: loop"
_INFERENCE = "policy_runner: inference"


def _figure(value: float | None, digits: int, unit: str) -> str:
    return f"{value:.{digits}f} {unit}" if value is not None else "-"


def _cells(watch: Watch, *asked: tuple[str, str, str, int, str]) -> list[str]:
    """Labels and figures in turn; asked: label, status, key, digits, unit."""
    found = []
    for label, status, key, digits, unit in asked:
        found += [label, _figure(watch.number(status, key), digits, unit)]
    return found


def _balancer(watch: Watch) -> Table:
    robot = Table.grid(padding=(0, 2))
    robot.add_row(
        *_cells(
            watch,
            ("upright", _ROBOT, "upright [s]", 1, "s"),
            ("falls", _ROBOT, "falls", 0, ""),
            ("simulated", _ROBOT, "simulated [s]", 1, "s"),
        )
    )
    robot.add_row("", "command", "", "measured", "", "RMSE")
    for axis, unit, measured in (("forward", "m/s", "forward"), ("yaw", "rad/s", "yaw rate")):
        robot.add_row(
            *_cells(
                watch,
                (axis, _ROBOT, f"command {axis} [{unit}]", 2, unit),
                ("", _ROBOT, f"{measured} [{unit}]", 2, unit),
                ("", _ROBOT, f"velocity rmse {axis} [{unit}]", 3, unit),
            )
        )
    return robot


def _arm(watch: Watch) -> Table:
    robot = Table.grid(padding=(0, 2))
    robot.add_row(
        *_cells(
            watch,
            ("balls", _ROBOT, "balls", 0, ""),
            ("reached", _ROBOT, "reached", 0, ""),
            ("distance", _ROBOT, "distance [m]", 3, "m"),
            ("simulated", _ROBOT, "simulated [s]", 1, "s"),
        )
    )
    robot.add_row(
        *_cells(
            watch,
            ("near after", _ROBOT, "near after [s]", 2, "s"),
            ("inferences", _INFERENCE, "inference rate [Hz]", 1, "Hz"),
            ("jerk", _ROBOT, "joint jerk [rad/s^3]", 0, "rad/s³"),
            ("stops", _ROBOT, "stops", 0, ""),
        )
    )
    return robot


def view(watch: Watch, hint: str = "") -> Group:
    """Build one screen with the present state of the run; `hint` is its last line but one."""
    number = watch.number
    arm = number(_ROBOT, "distance [m]") is not None
    robot = _arm(watch) if arm else _balancer(watch)
    loop = Table.grid(padding=(0, 2))
    loop.add_row(
        *_cells(
            watch,
            ("rate", _LOOP, "rate [Hz]", 1, "Hz"),
            ("missed deadlines", _LOOP, "missed deadlines", 0, ""),
            ("input age p99", "policy_runner: inputs", "input age p99 [ms]", 1, "ms"),
        )
    )
    loop.add_row("µs", "p50", "p99", "p99.9", "max", "")
    for label, status, key in (
        ("period error", _LOOP, "period error"),
        ("inference", _INFERENCE, "inference"),
        ("whole step", _LOOP, "step"),
    ):
        quantiles = (number(status, f"{key} {q} [us]") for q in ("p50", "p99", "p99.9", "max"))
        loop.add_row(label, *(_figure(q, 0, "") for q in quantiles), "")
    levels = Table.grid(padding=(0, 2))
    for name in sorted(watch.level):
        level = watch.level[name]
        levels.add_row(Text(level, _COLOURS.get(level, "")), name, watch.message[name])
    return Group(
        Panel(robot, title="robot", title_align="left"),
        Panel(loop, title="control loop", title_align="left"),
        Panel(levels, title="/diagnostics", title_align="left"),
        *([Text(hint, "dim")] if hint else []),
        Text("Ctrl-C ends the demo", "dim"),
    )
