"""Players of other systems, as their source says (read in November 2026).

openpi: openpi_client/action_chunk_broker.py. LeRobot: async_inference/robot_client.py and
policy_server.py; rollout/inference/rtc.py, policies/rtc/action_queue.py,
utils/action_interpolator.py. Each is written here from its behaviour. LeRobot's own queues,
interpolator and admission (7427f31) gave the same commands to the bit in 648 runs of this world.
"""

from __future__ import annotations

import math

import numpy as np
from chunk_play.world import STEPS_PER_S, Array, World

from policy_runner.core.chunks.denoising import Guidance


class OpenpiBroker:
    """Plays the first half of a chunk, then waits for the next inference."""

    def __init__(self, world: World) -> None:
        self.world, self.starved_steps = world, 0
        self._chunk: Array | None = None
        self._next, self._due = 0, 0
        self._ready: int | None = None
        self._count = world.case.horizon // 2
        self._played = False

    def tick(self, step: int, q: Array) -> Array | None:
        """See `Ours.tick`."""
        if step < self._due:
            return None
        if self._ready is None and (self._chunk is None or self._next == self._count):
            self._chunk = self.world.chunk(step, q)
            self._next = 0
            self._ready = step + self.world.duration(step)
        if self._ready is not None:
            if step < self._ready:
                self.starved_steps += self._played
                return None
            self._ready = None
        assert self._chunk is not None
        action = self._chunk[self._next]
        self._next += 1
        self._due = step + self.world.case.dt
        self._played = True
        return action


class LeRobotAsync:
    """A queue by time step; overlapping actions are mixed, 0.3 old and 0.7 new."""

    def __init__(self, world: World, threshold: float = 0.5, filtered: bool = False) -> None:
        """`filtered`: the server drops observations that differ by less than 1 (L2), in radians."""
        self.world, self.starved_steps = world, 0
        self._threshold, self._filtered = threshold, filtered
        self._queue: dict[int, Array] = {}
        self._latest, self._size = -1, -1
        self._must_go = True
        self._server: tuple[int, int, Array] | None = None  # ready, time step, chunk
        self._predicted: set[int] = set()
        self._processed: Array | None = None
        self._waiting: tuple[int, Array] | None = None  # admitted, not processed yet
        self._played = False

    def tick(self, step: int, q: Array) -> Array | None:
        """See `Ours.tick`."""
        self._serve(step)
        case = self.world.case
        if step % case.dt:
            return None
        action = None
        if self._queue:
            self._latest = min(self._queue)
            action = self._queue.pop(self._latest)
            self._played = True
        else:
            self.starved_steps += case.dt * self._played
        if self._size < 0 or len(self._queue) / self._size <= self._threshold:
            must_go = self._must_go and not self._queue
            if must_go:
                self._must_go = False
            # The server decides when it arrives, also during an inference.
            first = max(self._latest, 0)
            if must_go or self._processed is None or self._is_new(first, q):
                self._waiting = (first, q.copy())
            self._serve(step)
        return action

    def _serve(self, step: int) -> None:
        if self._server is not None and step >= self._server[0]:
            _, first, chunk = self._server
            self._server = None
            self._receive(first, chunk)
        if self._server is None and self._waiting is not None:
            first, q = self._waiting
            self._waiting = None
            self._predicted.add(first)
            self._processed = q
            took = max(self.world.duration(step), STEPS_PER_S // 30)
            self._server = (step + took, first, self.world.chunk(step, q))

    def _is_new(self, first: int, q: Array) -> bool:
        if first in self._predicted:
            return False
        assert self._processed is not None
        return not (self._filtered and float(np.linalg.norm(q - self._processed)) < 1.0)

    def _receive(self, first: int, chunk: Array) -> None:
        new: dict[int, Array] = {}
        for k, action in enumerate(chunk, first):
            if k <= self._latest:
                continue
            old = self._queue.get(k)
            new[k] = action if old is None else 0.3 * old + 0.7 * action
        self._queue = new
        self._size = max(self._size, len(chunk))
        self._must_go = True


class LeRobotQueue:
    """The queue of the real-time chunking engine: a new chunk replaces the rest of the old one."""

    def __init__(
        self,
        world: World,
        times: int = 1,
        threshold: int = 30,
        guided: bool = False,
        horizon: int = 10,
    ) -> None:
        """`times`: commands per action; `threshold`: length of the queue that starts inference."""
        self.world, self.starved_steps = world, 0
        self._times, self._threshold, self._guided = times, threshold, guided
        self._horizon = horizon
        self._queue: list[Array] = []
        self._running: tuple[int, int, Array] | None = None  # ready, start, chunk
        self._longest = 0  # the largest latency ever [steps]
        self._before: Array | None = None
        self._points: list[Array] = []
        self._played = False

    def tick(self, step: int, q: Array) -> Array | None:
        """See `Ours.tick`."""
        self._infer(step, q)
        every = self.world.case.dt // self._times
        if step % every:
            return None
        if not self._points:
            if not self._queue:
                self.starved_steps += every * self._played
                return None
            self._played = True
            action = self._queue.pop(0)
            before, self._before = self._before, action
            if before is None:
                self._points = [action]
            else:
                shares = [k / self._times for k in range(1, self._times)]
                self._points = [*(before + s * (action - before) for s in shares), action]
        return self._points.pop(0)

    def _infer(self, step: int, q: Array) -> None:
        dt = self.world.case.dt
        if self._running is not None and step >= self._running[0]:
            _, started, chunk = self._running
            self._running = None
            took = step - started
            self._longest = max(self._longest, took)
            self._queue = list(chunk[math.ceil(took / dt) :])
        if self._running is None and len(self._queue) <= self._threshold:
            guidance = None
            if self._guided and self._queue and self._longest:
                rest = np.array(self._queue[: self._horizon])
                delay = math.ceil(self._longest / dt)
                guidance = Guidance(rest, min(delay, len(rest)), self._horizon)
            chunk = self.world.chunk(step, q, guidance)
            self._running = (step + self.world.duration(step), step, chunk)
