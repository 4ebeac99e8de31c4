"""Turns at the model: one request at a time, and a bounded wait for the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from policy_runner.serving.server.serve_settings import Bounds

Result = TypeVar("Result")
# A request to a model that runs for less is computed in the event loop. A change of threads costs
# 50 to 100 us, which is more than most control policies take.
FAST_NS = 1_000_000


class Overloaded(Exception):
    """The model did not become free in time; the text says what to do."""


class Turns:
    """Computes requests one by one.

    A fast model runs in the event loop itself. A slow one runs in a thread, so that the loop still
    answers health checks and refuses what it cannot do in time.
    """

    def __init__(self, bounds: Bounds, takes_ns: int) -> None:
        """Choose between loop and thread.

        Args:
            bounds: `wait_s` and `most_waiting`.
            takes_ns: duration of one run [ns].
        """
        self._bounds = bounds
        self._free = asyncio.Lock()
        self.waiting = 0
        self._thread = None if takes_ns < FAST_NS else ThreadPoolExecutor(1, "model")

    @property
    def at_once(self) -> bool:
        """Whether requests are computed in the event loop, without turns."""
        return self._thread is None

    @property
    def busy(self) -> bool:
        """Whether a slow model runs at this time."""
        return self._free.locked()

    async def take(self, compute: Callable[[], Result]) -> tuple[Result, int]:
        """Return the result of `compute`, and the wait before it [ns].

        Raises:
            Overloaded: too many others wait, or the wait took too long.
            Exception: whatever `compute` raises.
        """
        if self._thread is None:
            return compute(), 0
        began = time.perf_counter_ns()
        bounds = self._bounds
        if self.waiting >= bounds.most_waiting:
            raise Overloaded(f"{self.waiting} requests wait for the model; try again later")
        self.waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), bounds.wait_s)
        except asyncio.TimeoutError as error:
            text = f"the model was not free within {bounds.wait_s:g} s; try again later"
            raise Overloaded(text) from error
        finally:
            self.waiting -= 1
        waited = time.perf_counter_ns() - began
        running = asyncio.get_running_loop().run_in_executor(self._thread, compute)
        # A client that leaves must not free the model while it still runs.
        running.add_done_callback(lambda _done: self._free.release())
        return await asyncio.shield(running), waited

    def close(self) -> None:
        """End the thread after the run in progress."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
