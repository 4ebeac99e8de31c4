"""Play chunks as trajectories: what a controller does with them is the action of now."""

from __future__ import annotations

import numpy as np

from policy_runner.core.chunks.player import ChunkPlayer, ChunkReport
from policy_runner.core.chunks.rules import ChunkRules
from policy_runner.core.chunks.trajectory import Trajectory, TrajectoryPlanner
from policy_runner.core.model import Array


class TrajectoryPlayer:
    """Plans one trajectory per chunk. It has the methods of `ChunkPlayer`.

    A new trajectory begins `lead_ns` after it was planned; until then the older one counts. The
    action of now is where the controller is by its own interpolation. So the decision and the
    limits judge what the robot really follows.

    Attributes:
        newest: the newest trajectory; None: nothing is played.
        number: counts the trajectories.
        now_ns: time of the newest `action_at` [ns].
        period_ns: the control period [ns].
        steps: the most actions of a chunk.
    """

    def __init__(self, rules: ChunkRules, size: int, period_ns: int, lead_ns: int) -> None:
        """Allocate; see `ChunkPlayer` and `TrajectoryPlanner`."""
        # Judges chunks, knows how long they are valid, and counts.
        self._judge = ChunkPlayer(rules, size, period_ns)
        self._planner = TrajectoryPlanner(rules, size, period_ns, lead_ns)
        self._rows = np.zeros((0, size))
        self._observed_ns = 0
        self._out = np.zeros(size)
        self._held = np.zeros(size)
        self._has_held = False
        self._active: Trajectory | None = None  # the one that counts until `newest` begins
        self.newest: Trajectory | None = None
        self.number = 0
        self.now_ns = 0
        self.period_ns, self.steps = period_ns, rules.steps

    def offer(self, actions: Array, observed_ns: int, now_ns: int) -> str:
        """Take a chunk and plan its trajectory; return '' or why it is refused."""
        why = self._judge.offer(actions, observed_ns, now_ns)
        if not why:
            self._rows, self._observed_ns = actions.copy(), observed_ns
            if self.newest is not None:
                self._plan(now_ns)
        return why

    def _plan(self, now_ns: int) -> None:
        made = self._planner.plan(self._rows, self._observed_ns, now_ns)
        if made is not None:
            self._active, self.newest = self.newest, made
            self.number += 1

    def action_at(self, now_ns: int) -> Array | None:
        """Where the controller is now, float64 [A]. None: no chunk is valid."""
        self.now_ns = now_ns
        judged = self._judge.action_at(now_ns)
        if judged is None:
            self._active = self.newest = None
            return None
        if self.newest is None:
            if not self._has_held:
                np.copyto(self._held, judged)
            self._planner.hold(self._held)
            self._plan(now_ns)
            if self.newest is None:
                return None
        if now_ns >= self.newest.stamp_ns:
            np.copyto(self._out, self.newest.position_at(now_ns))
        elif self._active is not None:
            np.copyto(self._out, self._active.position_at(now_ns))
        else:
            np.copyto(self._out, self._held)
        return self._out

    def hold(self, command: Array) -> None:
        """Tell what is commanded while nothing is played, float64 [A]."""
        np.copyto(self._held, command)
        self._has_held = True
        self._active = self.newest = None
        self._judge.hold(command)

    def reset(self, now_ns: int | None = None) -> None:
        """Drop everything; see `ChunkPlayer.reset`."""
        if self.newest is not None:
            np.copyto(self._held, self._out)
            self._has_held = True
        self._active = self.newest = None
        self._judge.reset(now_ns)

    @property
    def action(self) -> Array:
        """The newest result of `action_at`, float64 [A]."""
        return self._out

    @property
    def report(self) -> ChunkReport:
        """The state now, and counts since the start."""
        return self._judge.report._replace(gap=self._planner.gap, limited=0)
