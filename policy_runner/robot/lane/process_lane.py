"""The lane in a process of its own: it has its own interpreter, cores and priority.

Requests and results lie in shared memory; one byte through a pipe says that there is a new one.
The control thread writes and reads these pipes without waiting. A keeper thread starts the
process, hears how it ends, and starts it again, each time later. It waits for nothing that the
control thread has.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy_runner.core.errors import Refusal
from policy_runner.core.lane.interface import NOT_HERE, LaneEvent, LaneRequest, Tensors
from policy_runner.core.lane.snapshot import SnapshotLayout
from policy_runner.core.safety.decision import Fault
from policy_runner.robot.lane.frames import FrameKeeper, RequestMemory
from policy_runner.robot.lane.result import ResultMemory

MODULE = "policy_runner.robot.lane_process"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_WELL_AFTER_S = 30.0  # a process that lived for so long did not fail at its start
_STARTED_WITHIN_S = 120.0
_END, _AGAIN, _NOW = b"e", b"a", b"n"  # what the keeper is told


@dataclass(frozen=True)
class ProcessFacts:
    """What the process says about its model, once it is ready."""

    inputs: Mapping[str, tuple[str, tuple[int, ...]]]  # name -> type, shape
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]
    names: tuple[str, ...]  # of the snapshot's parts
    depth: int
    shape: tuple[int, int]  # most rows and elements of a result
    provider: str
    sha256: str
    facts: Mapping[str, str]

    @staticmethod
    def of(said: Mapping[str, Any]) -> ProcessFacts:
        """Return the facts from the process's line."""
        tensors = {
            side: {name: (kind, tuple(shape)) for name, (kind, shape) in said[side].items()}
            for side in ("inputs", "outputs")
        }
        rows, elements = said["shape"]
        return ProcessFacts(
            tensors["inputs"], tensors["outputs"], tuple(said["names"]), int(said["depth"]),
            (int(rows), int(elements)), str(said["provider"]), str(said["sha256"]), said["facts"],
        )  # fmt: skip


class _Child:
    """One process. The control thread uses `ask` and `answer`, the keeper everything else."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        asked, ask = os.pipe()
        answer, answered = os.pipe()
        os.set_blocking(ask, False)
        os.set_blocking(answer, False)
        # File objects: closed when the last thread that uses them has let go.
        self.ask, self.answer = open(ask, "wb", 0), open(answer, "rb", 0)  # noqa: SIM115
        # Without a name in the file system, so nothing stays behind. It gets its size later.
        self._file = os.memfd_create("policy_runner lane")
        self.request: RequestMemory | None = None
        self.result: ResultMemory | None = None
        given = (asked, answered, self._file)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(os.getpid()), *map(str, given)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=given,
                start_new_session=True,  # a Ctrl-C of the terminal reaches only the parent
            )
        finally:
            os.close(asked)
            os.close(answered)
        self._said = b""
        with contextlib.suppress(BrokenPipeError):
            self._write(json.dumps(request).encode() + b"\n")

    def _write(self, text: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    @property
    def said_fd(self) -> int:
        """The descriptor on which the process says lines; its end is the process's end."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def hear(self) -> Mapping[str, Any] | None:
        """Return the next line as JSON, {} if it is not whole yet; None: the process has ended."""
        piece = os.read(self.said_fd, 65536)
        self._said += piece
        return self.more() or ({} if piece else None)

    def more(self) -> Mapping[str, Any]:
        """Return the next line that has already arrived as JSON; {}: there is none."""
        if b"\n" not in self._said:
            return {}
        line, self._said = self._said.split(b"\n", 1)
        found: Mapping[str, Any] = json.loads(line)
        return found

    def share(self, layout: SnapshotLayout, facts: ProcessFacts) -> None:
        """Make the memory, and tell the process where it is."""
        first = RequestMemory.bytes_of(layout, facts.depth)
        size = first + ResultMemory.bytes_of(facts.shape)
        os.ftruncate(self._file, size)  # pages are used when they are written
        memory = mmap.mmap(self._file, size)
        self.request = RequestMemory(layout, facts.depth, memory)
        self.result = ResultMemory(facts.shape, memory, first)
        with contextlib.suppress(BrokenPipeError):
            self._write(json.dumps({"size": size}).encode() + b"\n")
        self._hear_until_mapped()

    def _hear_until_mapped(self) -> None:
        """Wait until the process has mapped the memory."""
        until_s = time.monotonic() + _STARTED_WITHIN_S
        while time.monotonic() < until_s:
            if select.select([self.said_fd], [], [], 0.5)[0]:
                said = self.hear()
                if said is None or "mapped" in said:
                    return

    def end(self) -> int:
        """End the process now; return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        code = self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        return code


class ProcessLane:
    """Runs inferences in another process, and starts it again if it ends or hangs.

    `facts` is set once the constructor returns. `connect` must follow before the first request.
    """

    kind = "process"

    def __init__(self, request: Mapping[str, Any]) -> None:
        """Start the process and wait until its model is loaded.

        Args:
            request: plain values, for `lane_process`.

        Raises:
            Refusal: the process refused the policy, or ended.
        """
        self._given = dict(request)
        self._events: deque[LaneEvent] = deque()
        self._child: _Child | None = None  # the one that is ready; the control thread reads it
        self._layout: SnapshotLayout | None = None
        self._frames: FrameKeeper | None = None
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        self._problems: list[str] = []
        self._loaded = threading.Event()
        self._connected = threading.Event()
        self._found: ProcessFacts | None = None
        self.pid = 0  # of the process; 0: there is none
        self.starts = 0  # how often a process was started
        self._live: Mapping[str, str] = {}  # as the process told it last
        self._ended = False
        self._keeper = threading.Thread(target=self._keep, name="lane keeper", daemon=True)
        self._keeper.start()
        self._loaded.wait()
        if self._problems or self._found is None:
            self.close()
            raise Refusal(list(self._problems or ["the inference process ended"]))
        self.facts: ProcessFacts = self._found

    def connect(self, layout: SnapshotLayout) -> None:
        """Share the memory for snapshots of this layout.

        Raises:
            Refusal: the process reads other values of the inputs.
        """
        if tuple(layout.names) != self.facts.names:
            got = sorted(set(layout.names) ^ set(self.facts.names))
            raise Refusal([f"inference.lane: expected the same inputs in the process, got {got}"])
        self._layout = layout
        self._frames = FrameKeeper(layout, self.facts.depth)
        self._connected.set()
        self.wait(_STARTED_WITHIN_S)

    def live_facts(self) -> Mapping[str, str]:
        """See `ModelAbilities.live_facts`."""
        return self._live

    # --- the control thread ---

    @property
    def tensors(self) -> Tensors:
        """None: the process has them."""
        return ()

    def sample(self, now_ns: int) -> None:
        """See `Lane.sample`."""
        if self._frames is not None:
            self._frames.sample()

    def start(self, request: LaneRequest) -> None:
        """See `Lane.start`. If the process has just ended, the keeper reports it."""
        child = self._child
        if child is None or child.request is None or self._frames is None:
            return
        self._frames.write(request, child.request)
        with contextlib.suppress(BrokenPipeError):
            child.ask.write(b"r")

    def given(self, now_ns: int, built: bool) -> Fault | None:
        """Nothing: this lane has its own inputs."""
        return NOT_HERE

    def poll(self) -> LaneEvent | None:
        """See `Lane.poll`."""
        if self._events:
            return self._events.popleft()
        child = self._child
        if child is None or child.result is None or not child.answer.read(1):
            return None
        return child.result.read()

    def wait(self, timeout_s: float) -> None:
        """See `Lane.wait`."""
        until_s = time.monotonic() + timeout_s
        while not self._events and time.monotonic() < until_s:
            child = self._child
            if child is None:
                time.sleep(0.005)
            elif select.select([child.answer], [], [], 0.05)[0]:
                return

    def forget(self) -> None:
        """See `Lane.forget`."""
        if self._frames is not None:
            self._frames.forget()

    def give_up(self, why: str) -> None:
        """Let the keeper end the process and start another one."""
        self._child = None
        self._say(_AGAIN)

    def retry(self) -> None:
        """Do not wait any longer before the next start."""
        if self._child is None:
            self._say(_NOW)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._tell, word)

    def close(self) -> None:
        """End the process and its keeper."""
        if self._ended:
            return
        self._ended = True
        self._say(_END)
        self._connected.set()
        self._keeper.join(2.0)

    # --- the keeper ---

    def _keep(self) -> None:
        pause_s = 0.0
        try:
            while not self._ended:
                begun_s = time.monotonic()
                why = self._run_one()
                self._child, self.pid = None, 0
                if not self._loaded.is_set():
                    self._problems = self._problems or [f"inference.lane: the process {why}"]
                    return
                if self._ended:
                    return
                if why:  # a process that was given up has been reported
                    self._events.append(LaneEvent("failed", why=why))
                lived_s = time.monotonic() - begun_s
                if lived_s > _WELL_AFTER_S:
                    pause_s = 0.0
                pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                self._hear_word(pause_s)
        except Exception as error:  # noqa: BLE001 - reported in place of a result
            why = f"{type(error).__name__}: {error}"
            self._problems = [f"inference.lane: {why}"]
            self._events.append(LaneEvent("failed", why=f"cannot be started: {why}"))
        finally:
            self._loaded.set()

    def _run_one(self) -> str:
        """Run one process until it ends; return why in words, '' if it was given up."""
        self.starts += 1
        child = _Child(self._given)
        self.pid = child.process.pid
        why = ""
        try:
            why = self._start(child)
            if why:
                return why
            return self._watch(child)
        finally:
            self._child = None
            child.end()

    def _start(self, child: _Child) -> str:
        said = self._await_line(child)
        if said is None:
            return self._how_it_ended(child)
        if "problems" in said:
            problems = [str(one) for one in said["problems"]]
            self._problems = problems
            return f"was refused: {problems[0]}"
        facts, self._live = ProcessFacts.of(said), said["live"]
        found = self._found or facts
        if (facts.names, facts.sha256) != (found.names, found.sha256):
            return "was refused: the policy's files have changed; reload it"
        self._found = found
        self._loaded.set()
        self._connected.wait()
        if self._ended or self._layout is None:
            return "ended"
        child.share(self._layout, self._found)
        self._child = child
        self._events.append(LaneEvent("ready"))
        return ""

    def _await_line(self, child: _Child) -> Mapping[str, Any] | None:
        """The process's next line; None if it has ended, or has to end."""
        until_s = time.monotonic() + _STARTED_WITHIN_S
        while time.monotonic() < until_s:
            ready = select.select([child.said_fd, self._told], [], [], 1.0)[0]
            if self._told in ready and os.read(self._told, 1) == _END:
                return None
            if child.said_fd in ready:
                said = child.hear()
                if said is None or said:
                    return said
        return None

    def _watch(self, child: _Child) -> str:
        """Wait until the process ends or is given up; return as `_run_one`."""
        while True:
            ready = select.select([child.said_fd, self._told], [], [])[0]
            if self._told in ready:
                word = os.read(self._told, 1)
                if word == _END:
                    return "ended"
                if word == _AGAIN:
                    return ""
            if child.said_fd in ready:
                said = child.hear()
                if said is None:
                    return self._how_it_ended(child)
                while said:
                    self._live = said.get("live", self._live)
                    said = child.more()

    def _hear_word(self, pause_s: float) -> None:
        """Wait before the next start; a word of the control thread ends the pause."""
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0 and not self._ended:
            if not select.select([self._told], [], [], left_s)[0]:
                return
            if os.read(self._told, 1) in (_END, _NOW):
                return

    @staticmethod
    def _how_it_ended(child: _Child) -> str:
        code = child.end()
        how = f"status {code}"
        if code < 0:
            how = signal.Signals(-code).name
        return f"process ended with {how}; it starts again"
