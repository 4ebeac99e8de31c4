"""The lane in a thread of the same process. It shares the interpreter with the control thread."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from queue import SimpleQueue

from policy_runner.core.lane.interface import NOT_HERE, LaneEvent, LaneRequest, Tensors
from policy_runner.core.lane.snapshot import SnapshotLayout
from policy_runner.core.lane.worker import LaneWorker
from policy_runner.core.safety.decision import Fault
from policy_runner.robot.lane.frames import FrameKeeper, RequestMemory

_NICE = 5
_LOOK_EVERY_S = 0.0002  # in lockstep, while the simulator waits


class ThreadLane:
    """Runs inferences in a thread of its own.

    A hanging inference cannot be ended in the same process. The lane is ready again if it returns;
    otherwise a reload replaces it.
    """

    kind = "thread"

    def __init__(self, worker: LaneWorker, layout: SnapshotLayout) -> None:
        """Start the thread.

        Args:
            worker: runs the inferences, with inputs of its own.
            layout: of the control thread's inputs.
        """
        self._worker = worker
        depth = worker.depth
        self._frames = FrameKeeper(layout, depth)
        memory = bytearray(RequestMemory.bytes_of(layout, depth))
        self._request = RequestMemory(layout, depth, memory)
        self._asked: SimpleQueue[bool] = SimpleQueue()  # its `put` never waits; False: end
        self._events: deque[LaneEvent] = deque([LaneEvent("ready")])
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def tensors(self) -> Tensors:
        """None: the thread has them."""
        return ()

    def _run(self) -> None:
        _lower_priority()
        while self._asked.get():
            request, frames = self._request.read()
            begun_ns = time.perf_counter_ns()
            try:
                event = self._worker.run(request, frames)
            except Exception as error:  # noqa: BLE001 - reported; the lane stays usable
                why = f"failed: {type(error).__name__}: {error}"
                event = LaneEvent("result", request.sequence, None, why)
            self._events.append(event._replace(took_ns=time.perf_counter_ns() - begun_ns))

    def sample(self, now_ns: int) -> None:
        """See `Lane.sample`."""
        self._frames.sample()

    def start(self, request: LaneRequest) -> None:
        """See `Lane.start`."""
        self._frames.write(request, self._request)
        self._asked.put(True)

    def given(self, now_ns: int, built: bool) -> Fault | None:
        """Nothing: this lane has its own inputs."""
        return NOT_HERE

    def poll(self) -> LaneEvent | None:
        """See `Lane.poll`."""
        if not self._events:
            return None
        event = self._events.popleft()
        if self._given_up:  # it has returned after all
            self._given_up = False
            return LaneEvent("ready")
        return event

    def wait(self, timeout_s: float) -> None:
        """See `Lane.wait`."""
        until_s = time.monotonic() + timeout_s
        while not self._events and time.monotonic() < until_s:
            time.sleep(_LOOK_EVERY_S)

    def forget(self) -> None:
        """See `Lane.forget`."""
        self._frames.forget()

    def give_up(self, why: str) -> None:
        """Wait for the inference to return; its result is dropped."""
        self._given_up = True

    def retry(self) -> None:
        """Nothing: only the inference itself can end."""

    def close(self) -> None:
        """End the thread after the inference under way; do not wait for longer than 0.2 s."""
        self._asked.put(False)
        self._thread.join(0.2)


def leave_realtime() -> None:
    """Give the calling thread, and all threads that it will start, ordinary scheduling."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _nicer())


def _lower_priority() -> None:
    """Let all other threads of the process come first.

    In a real-time process it stays real-time, with priority 1. Otherwise another program could
    take its core while it holds the interpreter, and the control thread would wait for it.
    """
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    else:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _nicer())


def _nicer() -> int:
    return min(19, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + _NICE)
