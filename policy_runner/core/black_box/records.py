"""The records of the black box: their kinds, and the bytes of the two frequent ones.

A tick is `_TICK`, the command, and if the policy ran: the raw action and the built tensors; then
rare facts as JSON. A message is `_MESSAGE` and the bytes as received. A state is `_STATE` and the
bytes of the arrays; its other values are an object of the segment. Other records are `marshal`.
"""

from __future__ import annotations

import json
import marshal
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from policy_runner.core.black_box.ring import HEAD_BYTES
from policy_runner.core.lane.interface import LaneEvent
from policy_runner.core.model import Array, Buffer
from policy_runner.core.pipeline.interface import AnyPolicy
from policy_runner.core.safety.decision import Decision, Fault, Reason

STATE, TICK, MESSAGE, LARGE, REFUSED, CALL, LAST, LANE = range(1, 9)
CALLS = ("reset", "stopped_by_guard")  # methods that a replay calls, too
ARRIVALS = ("waited", "now", "stamp")  # as in `ros/inputs/polling.py`
# The head (see `memory`); now, duration of the inference [ns]; decision, reason, flags
TICK_STRUCT = struct.Struct("<BIqq3B")
# The head; input, arrival, has a clock; arrived, clock [ns]
MESSAGE_STRUCT = struct.Struct("<BIHBBqq")
STATE_STRUCT = struct.Struct("<qI")  # now [ns], number of the object
COMMANDED, INFERRED, MORE = 1, 2, 4  # flags of a tick
_HEAD = bytes(HEAD_BYTES)  # the memory takes it off
DECISIONS, REASONS = tuple(Decision), tuple(Reason)


class Received(NamedTuple):
    """A message as its input got it."""

    input: str
    raw: bytes
    arrived_ns: int  # on the loop's clock
    clock_ns: int | None
    arrival: str


class NotKept(NamedTuple):
    """A message that was too large for the memory: only what it did to the input's ages."""

    input: str
    arrived_ns: int
    clock_ns: int | None
    stamp_ns: int
    fault: str  # why it was unusable; '' if it was used
    values: Sequence[Any] = ()  # of the input afterwards, encoded, without the message itself


@dataclass(frozen=True)
class Tick:
    """One step: what it was given, and what it did. Times are in ns."""

    now_ns: int
    took_ns: int  # duration of the inference
    decision: Decision
    reason: Reason
    command: Array | None
    raw_action: Array | None = None  # None: no inference
    tensors: Mapping[str, Buffer] = field(default_factory=dict)
    outer: Fault | None = None
    looked_ns: int | None = None  # the time of the look after a late inference
    operator: Fault | None = None  # the emergency stop: before the inference, or after it if any
    asked: bool = False  # a request to arm waited
    armed: bool = False  # and was granted
    observed: Fault | None = None  # only if messages were not kept: why the policy did not run

    @property
    def inferred(self) -> bool:
        """Whether the policy ran."""
        return self.raw_action is not None


class Refused(NamedTuple):
    """The command of the tick before was not sent; this one was sent in its place."""

    now_ns: int
    fault: Fault
    command: Array | None


class Call(NamedTuple):
    """A method of the pipeline that was called between two ticks."""

    method: str


class Last(NamedTuple):
    """The last command before the loop ended."""

    command: Array | None


class State(NamedTuple):
    """The pipeline's whole state; `values` is encoded, see `core.black_box.state`."""

    now_ns: int
    values: Sequence[Any]


class Answered(NamedTuple):
    """An event of the inference lane, which the next tick took."""

    kind: str  # ready, result or failed
    sequence: int
    rows: Array | None  # float64 [rows, elements]
    why: str
    of_action: bool
    took_ns: int


Record = Received | NotKept | Tick | Refused | Call | Last | State | Answered


def fault_to_plain(fault: Fault | None) -> list[str] | None:
    """Return a fault as texts."""
    return None if fault is None else [fault.decision.name, fault.reason.name, fault.detail]


def fault_from_plain(given: Sequence[str] | None) -> Fault | None:
    """Return the fault of `fault_to_plain`."""
    return None if given is None else Fault(Decision[given[0]], Reason[given[1]], given[2])


def plain_answer(event: LaneEvent) -> list[Any]:
    """Return an event of a lane as plain values."""
    rows = None if event.rows is None else event.rows.tobytes()
    return [event.kind, event.sequence, rows, *event[3:]]


def answered(content: Sequence[Any], elements: int) -> Answered:
    """Return the event of `plain_answer`."""
    kind, sequence, given, *rest = content
    rows = None if given is None else np.frombuffer(given, np.float64).reshape(-1, elements)
    return Answered(kind, sequence, rows, *rest)


def tensor_names(policy: AnyPolicy) -> list[str]:
    """Return a name for every built tensor; of several models, two may have the same name."""
    names = [builder.name for builder, _ in policy.every_tensor]
    return [f"{name}#{k}" if names.count(name) > 1 else name for k, name in enumerate(names)]


class Layout:
    """Reads records of one pipeline; the sizes are not in every record."""

    def __init__(
        self, inputs: Sequence[str], elements: int, tensors: Sequence[tuple[str, str, int]]
    ) -> None:
        """State what the pipeline has.

        Args:
            inputs: names, in the order of their numbers.
            elements: number of elements of a command.
            tensors: per built tensor its name, numpy's name of its type, and its size.
        """
        self._inputs = inputs
        self._elements = elements
        self._tensors = [(name, np.dtype(kind), size) for name, kind, size in tensors]

    def read(self, kind: int, data: bytes, objects: Sequence[Any]) -> Record:
        """Return one record, of a segment with these objects."""
        if kind == TICK:
            return self._tick(data)
        if kind == MESSAGE:
            _, _, index, arrival, has_clock, arrived_ns, clock_ns = MESSAGE_STRUCT.unpack_from(
                _HEAD + data[: MESSAGE_STRUCT.size]
            )
            raw = data[MESSAGE_STRUCT.size - HEAD_BYTES :]
            clock = clock_ns if has_clock else None
            return Received(self._inputs[index], raw, arrived_ns, clock, ARRIVALS[arrival])
        if kind == STATE:
            now_ns, number = STATE_STRUCT.unpack_from(data)
            return State(now_ns, objects[number].encode(data[STATE_STRUCT.size :]))
        content = marshal.loads(data)
        if kind == LARGE:
            return NotKept(self._inputs[content[0]], *content[1:])
        if kind == REFUSED:
            fault = fault_from_plain(content[1])
            assert fault is not None
            return Refused(content[0], fault, _numbers(content[2]))
        if kind == LANE:
            return answered(content, self._elements)
        return Call(content) if kind == CALL else Last(_numbers(content))

    def _tick(self, data: bytes) -> Tick:
        _, _, now_ns, took_ns, decision, reason, flags = TICK_STRUCT.unpack_from(
            _HEAD + data[: TICK_STRUCT.size]
        )
        at = TICK_STRUCT.size - HEAD_BYTES
        command = raw = None
        tensors: dict[str, Buffer] = {}
        if flags & COMMANDED:
            command = np.frombuffer(data, np.float64, self._elements, at)
            at += command.nbytes
        if flags & INFERRED:
            raw = np.frombuffer(data, np.float64, self._elements, at)
            at += raw.nbytes
            for name, kind, size in self._tensors:
                tensors[name] = np.frombuffer(data, kind, size, at)
                at += tensors[name].nbytes
        more = json.loads(data[at:]) if flags & MORE else {}
        return Tick(
            now_ns,
            took_ns,
            DECISIONS[decision],
            REASONS[reason],
            command,
            raw,
            tensors,
            **tick_facts(more),
        )


def tick_facts(more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rare facts of a tick from JSON."""
    return {
        "outer": fault_from_plain(more.get("outer")),
        "looked_ns": more.get("looked_ns"),
        "operator": fault_from_plain(more.get("operator")),
        "asked": bool(more.get("asked")),
        "armed": bool(more.get("armed")),
        "observed": fault_from_plain(more.get("observed")),
    }


def _numbers(data: bytes | None) -> Array | None:
    return None if data is None else np.frombuffer(data, np.float64)
