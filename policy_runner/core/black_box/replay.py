"""Runs a pipeline on the records of a black box, and compares every command to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from policy_runner.core.black_box.pipeline_recorder import same
from policy_runner.core.black_box.recorded_lane import RecordedLane
from policy_runner.core.black_box.records import (
    Answered,
    Call,
    Last,
    NotKept,
    Received,
    Record,
    Refused,
    State,
    Tick,
    tensor_names,
)
from policy_runner.core.black_box.state import EDITED, PipelineState, slot_states
from policy_runner.core.errors import refuse
from policy_runner.core.lane.interface import LaneEvent
from policy_runner.core.model import Array
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.pipeline.pipeline import Pipeline, Step
from policy_runner.core.safety.decision import Fault, Safety
from policy_runner.core.safety.operator_requests import Operator

Hear = Callable[[Received], None]  # reads one message into its input, as the node does


class Replayed(NamedTuple):
    """One command: as recorded, and as computed again."""

    now_ns: int
    step: Step | None  # None: not of a step, but in place of one, or the last command
    recorded: Array | None
    command: Array | None
    decided_alike: bool

    @property
    def equal(self) -> bool:
        """Whether decision and command are the same, to the bit."""
        return self.decided_alike and same(self.recorded, self.command)


class _Given(Operator):
    """Answers with recorded faults."""

    def __init__(self) -> None:
        super().__init__()
        self.tick: Tick | None = None
        self._at = 0

    def use(self, tick: Tick) -> None:
        self.tick, self._at = tick, 0

    @property
    def asks(self) -> bool:
        return self.tick is not None and self.tick.asked

    def answer(self, safety: Safety, fault: Fault | None, outside: str) -> None:
        if self.tick is not None and self.tick.armed:
            safety.arm()

    def fault(self) -> Fault | None:
        tick = self.tick
        self._at += 1
        # A press before the inference prevents it, so only one of the two questions has a fault.
        return tick.operator if tick is not None and self._at == 1 + tick.inferred else None


class Replay:
    """Replays the records of one file with one pipeline, which must be of the same policy."""

    def __init__(
        self, pipeline: Pipeline, hear: Hear, paths: list[str], partial: bool, file: str
    ) -> None:
        """Prepare.

        Args:
            pipeline: just built; nothing else may step it.
            hear: reads one message into its input.
            paths: the paths of the state's values.
            partial: some messages were not kept, so recorded tensors replace the built ones.
            file: the file of the records, for errors.
        """
        self._state = PipelineState(pipeline)
        self._slots = slot_states(pipeline)
        self._pipeline = pipeline
        self._hear = hear
        self._paths = paths
        self._file = file
        self._times: list[int] = []
        self._operator = _Given()
        self._safe = False  # a state was restored
        policy = pipeline.policy
        self._lane: RecordedLane | None = None
        if isinstance(policy, ChunkedPolicy):
            requests = policy.requests
            requests.lane = self._lane = RecordedLane(lambda: requests.newest)
            partial = False
        pipeline.operator = self._operator
        pipeline.use_clock(self._clock)
        if partial:
            self._use_tensors()

    def run(self, records: Iterable[Record]) -> Iterator[Replayed]:
        """Replay; records before the first state are skipped.

        Raises:
            Refusal: the records do not fit the pipeline: of another version, or edited.
        """
        for record in records:
            if isinstance(record, State):
                if len(record.values) != len(self._paths):
                    got = f"{len(record.values)} values for {len(self._paths)} places"
                    raise refuse(self._file, "state", EDITED, got)
                values = dict(zip(self._paths, record.values, strict=True))
                self._state.restore(values, self._file)
                self._safe = True
            elif self._safe:
                yield from self._checked(record)

    def _checked(self, record: Record) -> list[Replayed]:
        try:
            return list(self._replay(record))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            what = "a tick" if isinstance(record, Tick) else type(record).__name__
            text = f"{type(error).__name__}: {error}"
            raise refuse(self._file, what, "a record as the node wrote it", text) from error

    def _replay(self, record: Record) -> Iterator[Replayed]:
        pipeline = self._pipeline
        if isinstance(record, Tick):
            yield self._tick(record)
        elif isinstance(record, Received):
            self._hear(record)
        elif isinstance(record, Answered):
            if self._lane is not None:
                self._lane.events.append(LaneEvent(*record))  # type: ignore[arg-type]
        elif isinstance(record, NotKept):
            slot = pipeline.slots[record.input]
            if record.fault:
                slot.refused(record.fault)
            else:
                slot.received(record.arrived_ns, record.stamp_ns, record.clock_ns)
            state = self._slots[record.input]
            state.restore(dict(zip(state.paths, record.values, strict=True)), self._file)
        elif isinstance(record, Refused):
            command = pipeline.refuse(record.now_ns, record.fault)
            yield Replayed(record.now_ns, None, record.command, command, True)
        elif isinstance(record, Call):
            {"reset": pipeline.reset, "stopped_by_guard": pipeline.stopped_by_guard}[
                record.method
            ]()
        elif isinstance(record, Last):
            yield Replayed(0, None, record.command, pipeline.stop_command(), True)

    def _tick(self, tick: Tick) -> Replayed:
        self._operator.use(tick)
        # Begin, observation, inference; the last one is also the end of the step. With a lane the
        # pipeline reads no clock between the first two.
        self._times = [0, 0, tick.took_ns] if self._lane is None else [0, tick.took_ns]
        then_ns = tick.now_ns if tick.looked_ns is None else tick.looked_ns
        step = self._pipeline.step(tick.now_ns, tick.outer, lambda _late: then_ns)
        alike = step.decision is tick.decision and step.inferred == tick.inferred
        alike = alike and self._pipeline.safety.reason is tick.reason
        return Replayed(tick.now_ns, step, tick.command, step.command, alike)

    def _clock(self) -> int:
        return self._times.pop(0) if len(self._times) > 1 else self._times[0]

    def _use_tensors(self) -> None:
        policy: Any = self._pipeline.policy
        observe, names = policy.observe, tensor_names(policy)

        def observed() -> Fault | None:
            observe()  # for what else reads the frames, such as the tilt
            tick = self._operator.tick
            return None if tick is None or tick.inferred else tick.observed

        def infer(now_ns: int) -> Fault | None:
            tick = self._operator.tick
            tensors: Mapping[str, Any] = tick.tensors if tick is not None else {}
            for name, (_, buffer) in zip(names, policy.every_tensor, strict=True):
                np.copyto(buffer, tensors[name])
            fault: Fault | None = policy.run_given(now_ns)
            return fault

        policy.observe, policy.infer = observed, infer
