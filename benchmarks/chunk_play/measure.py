"""Runs a player in the world and measures what the robot does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from chunk_play.ours import MAX_RATE, Oracle, Ours
from chunk_play.peers import LeRobotAsync, LeRobotQueue, OpenpiBroker
from chunk_play.world import LAG_S, PERIOD, STEPS_PER_S, Array, Case, World

SETTLED_S = 2.0  # the start is measured by itself


class Player(Protocol):
    """Decides which command is sent at a step."""

    starved_steps: int

    def tick(self, step: int, q: Array) -> Array | None:
        """The command to send now, [2]; None: none is sent."""


@dataclass(frozen=True)
class Result:
    """What a run shows, after the start.

    Attributes:
        starved_ms: time without a valid action [ms].
        step: largest change from one command to the next [rad].
        error: RMS of the joints' distance to the target [rad].
        jerk: largest third difference of the joints at 100 Hz [rad/s^3].
        limited: ticks in which the rate limit changed the action.
        commands: (step, command) of every send.
        joints: the joints at 100 Hz [ticks, 2].
    """

    starved_ms: float
    step: float
    error: float
    jerk: float
    limited: int
    commands: list[tuple[int, Array]]
    joints: Array


def run(case: Case, make: Callable[[World], Player], settled_s: float = SETTLED_S) -> Result:
    """Simulate one player.

    Args:
        case: the case.
        make: makes the player for a world.
        settled_s: from when on steps, error and jerk are measured [s].
    """
    world = World(case)
    player = make(world)
    alpha = 1.0 - np.exp(-1.0 / (STEPS_PER_S * LAG_S))
    q = world.start.copy()
    command = world.start.copy()
    joints, commands = [], []
    for step in range(world.steps):
        if step % PERIOD == 0:
            joints.append(q.copy())
        sent = player.tick(step, q)
        if sent is not None:
            command = np.array(sent)
            commands.append((step, command))
        q += alpha * (command - q)
    path = np.array(joints)
    first = int(settled_s * STEPS_PER_S)
    late = path[first // PERIOD :]
    target = world.position[first : world.steps : PERIOD][: len(late)]
    sent_late = np.array([one for at, one in commands if at >= first])
    limited = player.player.report.limited if isinstance(player, Ours) else 0
    return Result(
        starved_ms=player.starved_steps * 1000.0 / STEPS_PER_S,
        step=float(np.abs(np.diff(sent_late, axis=0)).max(initial=0.0)),
        error=float(np.sqrt(np.mean((late - target) ** 2))),
        jerk=float(np.abs(np.diff(late, 3, axis=0)).max() * 1e6),
        limited=limited,
        commands=commands,
        joints=path,
    )


PLAYERS: dict[str, Callable[[World], Player]] = {
    "oracle": Oracle,
    "information baseline": lambda w: Ours(w, None, seam="replace"),
    "ours, replace": lambda w: Ours(w, MAX_RATE, seam="replace"),
    "ours, cross-fade": Ours,
    "ours, guided": lambda w: Ours(w, guided=True),
    "openpi broker": OpenpiBroker,
    "LeRobot async": LeRobotAsync,
    "LeRobot async, filter in rad": lambda w: LeRobotAsync(w, filtered=True),
    "LeRobot queue x1": lambda w: LeRobotQueue(w, 1, guided=True),
    "LeRobot queue x3": lambda w: LeRobotQueue(w, 3, guided=True),
    "LeRobot queue x1, tuned": lambda w: LeRobotQueue(w, 1, w.case.horizon),
    "LeRobot queue x3, tuned": lambda w: LeRobotQueue(w, 3, w.case.horizon),
    "LeRobot queue x3, tuned, guided": lambda w: LeRobotQueue(w, 3, w.case.horizon, True),
}
