"""A `Command` with stand-ins for the objects that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from core_rig import MS

from policy_runner.core.command.command import Command
from policy_runner.core.settings import CommandLimits, Settings
from policy_runner.core.spec.elements import ActionElement

PERIOD = 10 * MS


class Measured:
    """Stands in for the robot's joints."""

    def __init__(self, elements: list[ActionElement]) -> None:
        self.elements = elements
        self.positions = np.full(len(elements), np.nan)

    def read(self, out: np.ndarray) -> np.ndarray:
        np.copyto(out, self.positions)
        return out


@dataclass
class Bench:
    """A `Command` and the objects that it needs."""

    command: Command
    measured: Measured
    settings: Settings
    kinds: list[str]

    @property
    def others(self) -> np.ndarray:
        return np.array([kind != "position" for kind in self.kinds])


def bench(kinds: list[str], limits: CommandLimits | None = None, **changes: Any) -> Bench:
    elements = [ActionElement(f"j{k}", kind) for k, kind in enumerate(kinds)]
    measured = Measured(elements)
    given = Settings(PERIOD, 1, {}, limits or CommandLimits.none(len(kinds)), **changes)
    pose = np.array([0.25 if kind == "position" else 0.0 for kind in kinds])
    return Bench(Command(pose, measured), measured, given, kinds)  # type: ignore[arg-type]
