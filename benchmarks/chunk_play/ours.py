"""The product's `ChunkPlayer` in the simulated world, and two bounds made of the same parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from chunk_play.world import PERIOD, Array, World, nanoseconds

from policy_runner.core.chunks.denoising import Guidance
from policy_runner.core.chunks.player import ChunkPlayer
from policy_runner.core.chunks.prefix import leftover
from policy_runner.core.chunks.rules import ChunkRules

MAX_RATE = 3.0  # rad/s, the robot's rate limit


class Ours:
    """Inference when the lane is free, the action of now from `ChunkPlayer`."""

    def __init__(
        self, world: World, max_rate: float | None = MAX_RATE, guided: bool = False, **rules: Any
    ) -> None:
        case = world.case
        self.world, self._guided = world, guided
        given: dict[str, Any] = {
            "steps": case.horizon, "dt_ns": round(1e9 / case.hz), **rules,
        }  # fmt: skip
        limit = None if max_rate is None else np.full(2, max_rate)
        self.player = ChunkPlayer(ChunkRules(**given), 2, nanoseconds(PERIOD), limit)
        self.player.hold(world.start)
        self._ready: int | None = None
        self._result = np.zeros((case.horizon, 2))
        self._observed = 0
        self._older: tuple[int, Array] | None = None
        self._latencies: list[int] = []
        self.starved_steps = 0
        self._held = world.start
        self._played = False

    def tick(self, step: int, q: Array) -> Array | None:
        """The command to send now, [2]; None: none is sent at this step."""
        if step % PERIOD:
            return None
        now = nanoseconds(step)
        if self._ready is not None and step >= self._ready:
            self.player.offer(self._result, nanoseconds(self._observed), now)
            self._latencies = [*self._latencies[-19:], step - self._observed]
            self._ready = None
        if self._ready is None:
            self._observed = step
            guidance = self._guidance(step) if self._guided else None
            self._result = self.world.chunk(step, q, guidance)
            self._older = (step, self._result)
            self._ready = step + self.world.duration(step)
        action = self.player.action_at(now)
        if action is None:
            self.starved_steps += PERIOD * self._played
            self.player.hold(self._held)
            return None
        self._played = True
        self._held = action.copy()
        return self._held

    def _guidance(self, step: int) -> Guidance | None:
        if self._older is None or not self._latencies:
            return None
        dt = self.world.case.dt
        shift = (step - self._older[0]) / dt
        rest = leftover(self._older[1], shift)
        delay = min(math.ceil(max(self._latencies) / dt), len(rest))
        return Guidance(rest, delay, delay + math.ceil(shift))


class Oracle:
    """A policy that takes no time: the first action of a new chunk at every tick."""

    starved_steps = 0

    def __init__(self, world: World) -> None:
        self.world = world

    def tick(self, step: int, q: Array) -> Array | None:
        """See `Ours.tick`."""
        return None if step % PERIOD else self.world.chunk(step, q)[0]
