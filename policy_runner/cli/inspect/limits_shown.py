"""The limits in force, from wherever they come, as `inspect` shows them."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy_runner.core.spec.elements import limit_names
from policy_runner.robot.load import Bound


def limits_in_force(bound: Bound) -> list[dict[str, Any]]:
    """Per limited element: name, kind, lower, upper, max_rate (per second); null is none."""
    settings, elements = bound.pipeline.settings, bound.pipeline.elements
    limits, period_s = settings.limits, settings.period_ns / 1e9
    found = []
    for k, (name, element) in enumerate(zip(limit_names(elements), elements, strict=True)):
        numbers = (limits.low[k], limits.high[k], limits.max_step[k] / period_s)
        known = [float(value) if math.isfinite(value) else None for value in numbers]
        if known != [None] * 3:
            values = dict(zip(("lower", "upper", "max_rate"), known, strict=True))
            found.append({"name": name, "kind": element.kind, **values})
    return found


def print_limits(console: Console, found: list[dict[str, Any]]) -> None:
    """A table, or nothing where there are none."""
    if not found:
        return
    table = Table(title="limits in force", title_justify="left")
    for column in ("command", "kind", "lower", "upper", "max rate [1/s]"):
        side: Any = "left" if column in ("command", "kind") else "right"
        table.add_column(column, justify=side, overflow="fold")
    for one in found:
        numbers = [one[key] for key in ("lower", "upper", "max_rate")]
        texts = ["" if value is None else f"{value:g}" for value in numbers]
        table.add_row(escape(one["name"]), one["kind"], *texts)
    console.print(table)
