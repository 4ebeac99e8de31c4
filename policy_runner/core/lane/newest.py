"""Plays single actions of a slow policy: the newest one, as long as it is fresh."""

from __future__ import annotations

import numpy as np

from policy_runner.core.chunks.player import ChunkReport
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.model import Array


class NewestAction:
    """The newest action of a policy without chunks. It has the methods of `ChunkPlayer`.

    An action is valid from its arrival on, for `valid_ns`. So an inference that takes longer than
    that leads to HOLD between two results.
    """

    def __init__(self, size: int, valid_ns: int) -> None:
        self._valid_ns = valid_ns
        self._action = np.zeros(size)
        self._observed_ns = self._taken_ns = NEVER
        self._oldest_ns = NEVER  # observations up to this time are refused
        self._now_ns = NEVER
        self._has_played = False
        self._taken = self._refused = self._starved = 0

    def offer(self, actions: Array, observed_ns: int, now_ns: int) -> str:
        """Take the one action of `actions`, float64 [1, A]; return '' or why not."""
        why = ""
        if observed_ns <= self._oldest_ns:
            why = "its observation is older than the newest action's, or from before a reset"
        elif not np.isfinite(actions).all():
            why = f"element {int(np.argwhere(~np.isfinite(actions))[0][1])} is not finite"
        if why:
            self._refused += 1
            return why
        np.copyto(self._action, actions[0])
        self._observed_ns = self._oldest_ns = observed_ns
        self._taken_ns = self._now_ns = now_ns
        self._taken += 1
        return ""

    def action_at(self, now_ns: int) -> Array | None:
        """The action of now, float64 [A]; None: there is no fresh one."""
        self._now_ns = now_ns
        if self._taken_ns == NEVER or now_ns - self._taken_ns >= self._valid_ns:
            self._starved += self._has_played
            return None
        self._has_played = True
        return self._action

    def hold(self, command: Array) -> None:
        """Nothing: a single action has no seam; `Command` limits its first step."""

    def reset(self, now_ns: int | None = None) -> None:
        """Drop the action. Observations from before now are refused."""
        self._oldest_ns = self._now_ns if now_ns is None else now_ns - 1
        self._observed_ns = self._taken_ns = NEVER
        self._has_played = False

    @property
    def report(self) -> ChunkReport:
        """The state now, and counts since the start. An action has no index and no seam."""
        known = self._taken_ns != NEVER
        return ChunkReport(
            age_ns=self._now_ns - self._observed_ns if known else 0,
            left_ns=max(0, self._taken_ns + self._valid_ns - self._now_ns) if known else 0,
            at_index=0.0 if known else -1.0,
            gap=0.0,
            fading=False,
            taken=self._taken,
            refused=self._refused,
            starved=self._starved,
            limited=0,
            slow_ensemble=False,
        )
