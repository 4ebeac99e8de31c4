"""Records a pipeline into memory, from the control thread, which calls `step` in its place."""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from policy_runner.core.black_box.records import (
    ARRIVALS,
    CALL,
    CALLS,
    COMMANDED,
    DECISIONS,
    INFERRED,
    LANE,
    LARGE,
    LAST,
    MESSAGE,
    MESSAGE_STRUCT,
    MORE,
    REASONS,
    REFUSED,
    STATE,
    STATE_STRUCT,
    TICK,
    TICK_STRUCT,
    Layout,
    Record,
    fault_to_plain,
    plain_answer,
    tensor_names,
)
from policy_runner.core.black_box.ring import HEAD_BYTES, Memory
from policy_runner.core.black_box.state import PipelineState, slot_states
from policy_runner.core.model import Array
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.pipeline.pipeline import Pipeline, Step
from policy_runner.core.safety.decision import Decision, Fault, Reason

LARGEST_MESSAGE = 65_536  # larger inputs are kept as built tensors
_RARE_BYTES = 16_384  # room for the rare facts of a tick
_PACK = TICK_STRUCT.pack
_USUAL = COMMANDED | INFERRED
_PACK_MESSAGE = MESSAGE_STRUCT.pack
_MESSAGE_SIZE = MESSAGE_STRUCT.size - HEAD_BYTES
_TICK_SIZE = TICK_STRUCT.size - HEAD_BYTES
_ARRIVAL = {one: k for k, one in enumerate(ARRIVALS)}
_Look = Callable[[bool], int]


class Recorder:
    """Keeps the last seconds of one pipeline: a `PipelineRecorder`, called by the control thread.

    Exceptions: another thread reads `stops` and `error`, and calls `read`. An error in the recorder
    ends the record and nothing else: the pipeline steps as without a recorder.

    Attributes:
        error: why the record ended; None: it has not ended.
        stops: number of SAFE_STOPs so far; another thread compares it.
        lost: number of records that were lost because a file was being written.
        partial: some messages were too large to be kept, so the built tensors matter.
        state: the places of the pipeline's state.
        layout: reads the records.
    """

    def __init__(self, pipeline: Pipeline, memory: Memory, seconds: float) -> None:
        """Prepare; the first `step` begins.

        Args:
            pipeline: will be recorded.
            memory: gets the records; only one recorder may use it at a time.
            seconds: the time that must be kept, if the memory is large enough.
        """
        self.error: Exception | None = None
        self.stops = 0
        self.lost = 0
        self.state = PipelineState(pipeline)
        self._pipeline = pipeline
        self._memory = memory
        self._inputs = {name: k for k, name in enumerate(pipeline.slots)}
        self._policy = policy = pipeline.policy
        self._buffers = [buffer for _, buffer in policy.every_tensor]
        names = tensor_names(policy)
        self.tensors = [
            (name, buffer.dtype.str, buffer.size)
            for name, buffer in zip(names, self._buffers, strict=True)
        ]
        elements = len(pipeline.elements)
        self.layout = Layout(list(self._inputs), elements, self.tensors)
        built = sum(buffer.nbytes for buffer in self._buffers)
        chunked = policy if isinstance(policy, ChunkedPolicy) else None
        self._lane = chunked.requests if chunked is not None else None
        events = chunked.most_event_bytes if chunked is not None else 0
        self._usual_bytes = _TICK_SIZE + 16 * elements + built
        self._tick_bytes = TICK_STRUCT.size + 16 * elements + built + _RARE_BYTES + events
        # Four segments cover the time; the memory has more of them.
        self._segment_ns = round(seconds * 1e9 / 4)
        self._until_ns = self._newest_ns = 0
        self._changed = True  # the state changed outside a step, so it must be saved
        self._begun = False
        self._large: list[tuple[str, int, int | None, int]] = []
        self._slots = slot_states(pipeline)
        self._observed: Fault | None = None
        self.partial = False
        self._codes = 0, 0
        self._decision, self._armed = Decision.STARTING, False
        self._know()
        self._coded: Decision | None = None
        self._reason: Reason | None = None  # the codes are of no reason yet

    def hear(self, name: str, raw: bytes, arrived_ns: int, clock: int | None, arrival: str) -> None:
        """Record a message before its input reads it."""
        if not self._begun:
            return
        try:
            if len(raw) > LARGEST_MESSAGE:
                self._large.append((name, arrived_ns, clock, self._pipeline.slots[name].faults))
                if not self.partial:
                    self._keep_observed()
                return
            size, memory = len(raw) + _MESSAGE_SIZE, self._memory
            if memory.at + HEAD_BYTES + size > memory.end:
                self._lose()
                return
            head = _PACK_MESSAGE(
                MESSAGE, size, self._inputs[name], _ARRIVAL[arrival], clock is not None,
                arrived_ns, clock or 0,
            )  # fmt: skip
            memory.put(head + raw)
        except Exception as error:  # noqa: BLE001 - the control thread must go on
            self._fail(error)

    def _keep_observed(self) -> None:
        """Some messages are not kept, so record also what the policy said about its frames."""
        self.partial = True
        self.state.leave_out_tensors()
        policy: Any = self._pipeline.policy
        observe = policy.observe

        def observed() -> Fault | None:
            self._observed = observe()
            return self._observed

        policy.observe = observed

    def _fail(self, error: Exception) -> None:
        """End the record. What was recorded before can still be read."""
        self.error = error
        self._begun = False
        if self._pipeline.recorder is self:
            self._pipeline.recorder = None

    def read(self) -> Iterator[Record]:
        """Return the records, oldest first; for one other thread, see `Memory.read`."""
        for kind, data, objects in self._memory.read():
            yield self.layout.read(kind, data, objects)

    # --- the interface of `PipelineRecorder` ---

    def step(
        self, now_ns: int, outer: Fault | None = None, look_again: _Look | None = None
    ) -> Step:
        """Step the pipeline and record it; see `Pipeline.step`."""
        pipeline, memory = self._pipeline, self._memory
        safety = pipeline.safety
        try:
            if self._large:
                self._add_large()
            if (
                self._changed
                or not self._newest_ns <= now_ns < self._until_ns
                or memory.at + self._tick_bytes > memory.end
                or safety.decision is not self._decision
                or safety.armed is not self._armed
            ):
                self._save(now_ns)
                self._know()
            self._newest_ns = now_ns
        except Exception as error:  # noqa: BLE001 - the control thread must go on
            self._fail(error)
        step = pipeline.step(now_ns, outer, look_again)
        if self.error is None:
            try:
                self._record(now_ns, outer, step)
            except Exception as error:  # noqa: BLE001 - the step's command must be sent
                self._fail(error)
        return step

    def _record(self, now_ns: int, outer: Fault | None, step: Step) -> None:
        pipeline, memory = self._pipeline, self._memory
        if self._lane is not None and self._lane.took:
            for event in self._lane.took:  # before their tick, which took them
                self._add(LANE, marshal.dumps(plain_answer(event)))
            self._lane.took.clear()  # a tick with a fault of the inputs takes none
        decision, command, inferred, _, observed_ns, inferred_ns, _ = step
        safety = pipeline.safety
        self._decision, self._armed, reason = decision, safety.armed, safety.reason
        if decision is not self._coded or reason is not self._reason:
            self._code(decision, reason)
        code, why = self._codes
        operator = pipeline.operator
        took_ns = inferred_ns - observed_ns
        if (
            inferred
            and command is not None
            and outer is None
            and operator.told is None
            and operator.granted is None
            and pipeline.looked_ns is None
            and not self.partial
            and memory.end  # 0: paused
        ):
            # The frequent case, for which there is room; spelled out, because it is faster.
            head = _PACK(TICK, self._usual_bytes, now_ns, took_ns, code, why, _USUAL)
            numbers = command.tobytes() + self._policy.decoder.raw.tobytes()
            memory.put(head + numbers + b"".join([one.tobytes() for one in self._buffers]))
            return
        more = self._rare_facts(outer)
        parts = [command.tobytes()] if command is not None else []
        if inferred:
            parts += [self._policy.decoder.raw.tobytes(), *[one.tobytes() for one in self._buffers]]
        data = b"".join([*parts, more])
        flags = MORE | (COMMANDED if command is not None else 0) | (INFERRED if inferred else 0)
        size = _TICK_SIZE + len(data)
        if memory.at + HEAD_BYTES + size > memory.end:
            self._lose()
            return
        memory.put(_PACK(TICK, size, now_ns, took_ns, code, why, flags) + data)

    def _code(self, decision: Decision, reason: Reason) -> None:
        """Look up the numbers of decision and reason, only when they change: it is slow."""
        self.stops += decision is Decision.SAFE_STOP is not self._coded
        self._coded, self._reason = decision, reason
        self._codes = DECISIONS.index(decision), REASONS.index(reason)

    def _rare_facts(self, outer: Fault | None) -> bytes:
        pipeline = self._pipeline
        operator = pipeline.operator
        facts = {
            "outer": fault_to_plain(outer),
            "operator": fault_to_plain(operator.told),
            "asked": operator.granted is not None,
            "armed": bool(operator.granted),
            "looked_ns": pipeline.looked_ns,
            "observed": fault_to_plain(self._observed),
        }
        operator.told = operator.granted = pipeline.looked_ns = None
        return json.dumps(facts).encode()

    def called(self, method: str) -> None:
        """Record a call that the replay repeats; any other call changes the whole state."""
        if method in CALLS:
            self._try(lambda: self._add(CALL, marshal.dumps(method)))
        else:
            self._changed = True

    def refused(self, now_ns: int, fault: Fault, command: Array | None) -> None:
        """Record the command in place of that of the newest tick."""

        def add() -> None:
            data = None if command is None else command.tobytes()
            self._add(REFUSED, marshal.dumps((now_ns, fault_to_plain(fault), data)))
            self._know()
            self._code(self._pipeline.safety.decision, self._pipeline.safety.reason)

        self._try(add)

    def ended(self, command: Array | None) -> None:
        """Record the last command."""
        data = None if command is None else command.tobytes()
        self._try(lambda: self._add(LAST, marshal.dumps(data)))

    def _try(self, add: Callable[[], None]) -> None:
        try:
            add()
        except Exception as error:  # noqa: BLE001 - the control thread must go on
            self._fail(error)

    def _know(self) -> None:
        safety = self._pipeline.safety
        self._decision = safety.decision
        self._armed = safety.armed

    # --- into the memory ---

    def _add(self, kind: int, data: bytes) -> None:
        if self._begun and self._memory.has_room(len(data)):
            self._memory.add(kind, data)
        else:
            self._lose()

    def _lose(self) -> None:
        self._changed = True  # the next step begins a segment with the whole state
        self.lost += self._begun

    def _add_large(self) -> None:
        for name, arrived_ns, clock_ns, faults in self._large:
            slot = self._pipeline.slots[name]
            fault = slot.fault or "unusable" if slot.faults > faults else ""
            copied, parts = self._slots[name].take()
            values = copied.encode(b"".join(parts))
            entry = (self._inputs[name], arrived_ns, clock_ns, slot.stamp_ns, fault, values)
            self._add(LARGE, marshal.dumps(entry))
        self._large.clear()

    def _save(self, now_ns: int) -> None:
        """Save the whole state, in a segment of its own unless this one is young enough."""
        memory = self._memory
        if not self._begun:  # from here on the memory is this recorder's
            memory.clear()
            self._begun = True
        copied, parts = self.state.take()
        size = STATE_STRUCT.size + copied.form.size
        fits = memory.has_room(size + self._tick_bytes)
        if not fits or not self._newest_ns <= now_ns < self._until_ns:
            if not memory.begin():
                self.lost += 1
                return
            self._until_ns = now_ns + self._segment_ns
            fits = memory.has_room(size + self._tick_bytes)
        self._newest_ns = now_ns
        self._changed = not fits
        if fits:
            head = STATE_STRUCT.pack(now_ns, memory.keep(copied))
            memory.add(STATE, b"".join([head, *parts]))

    @property
    def fits(self) -> bool:
        """Whether a state and some ticks fit into a segment, as far as it can be known."""
        copied, _ = self.state.take()
        need = STATE_STRUCT.size + copied.form.size + 4 * self._tick_bytes
        return need <= self._memory.segment_bytes


def same(one: Array | None, other: Array | None) -> bool:
    """Whether two commands are equal to the bit."""
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and np.array_equal(one.view(np.uint8), other.view(np.uint8))
