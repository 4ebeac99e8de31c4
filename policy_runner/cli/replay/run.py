"""Runs the node's pipeline on recorded inputs, tick by tick, on the recording's time.

Tick k is at t0 + k * period. It uses the newest message of every input that was received at or
before this time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from policy_runner.cli.replay.arrays import SWITCH, observed_tensors, output_tensors
from policy_runner.cli.replay.chunks import ChunkTrace
from policy_runner.cli.replay.signals import MOST_GAP_S, Event
from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.pipeline.interface import AnyPolicy
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.pipeline.switched import SwitchedPolicy
from policy_runner.core.safety.decision import Fault
from policy_runner.robot.load import LoadedPolicy
from policy_runner.ros.messages.message_reader import Reader, build_reader, stamp_ns

Arrays = dict[str, np.ndarray]
Progress = Callable[[int], None]  # called with the number of messages or samples since last time


class Trace:
    """The results of every tick, one row for each; ticks without a result have rows of NaN."""

    def __init__(self, loaded: LoadedPolicy) -> None:
        self._loaded = loaded
        self._rows: dict[str, list[Any]] = {}
        # Of every array of a row, the model that it is of.
        self._observed, self._outputs = observed_tensors(loaded), output_tensors(loaded)
        tensors = loaded.pipeline.policy.every_tensor
        self._names = {one.name: one.tensor_elements for one, _ in tensors}
        chunk = loaded.spec.chunk
        self._chunks = ChunkTrace(loaded.pipeline.policy, chunk.dt if chunk is not None else 0.0)
        self.ticks = 0

    def add(self, t_ns: int, decision: str, inferred: bool, command: Any) -> None:
        """Add one tick; the inputs and outputs of an inference come from model and decoder.

        Args:
            t_ns: time since the first message [ns].
            decision: name of the decision.
            inferred: whether this tick ran an inference.
            command: limited command, float64 [elements]; None: no command.
        """
        policy = self._loaded.pipeline.policy
        decoder, model = policy.decoder, self._loaded.model
        row: dict[str, Any] = {"t": t_ns / 1e9, "decision": decision, "inferred": inferred}
        if policy.active:
            row["policy"] = policy.active
        elements = len(self._loaded.pipeline.elements)
        row["limited"] = np.full(elements, np.nan) if command is None else command.copy()
        parts: dict[str, tuple[np.ndarray, bool]] = {
            **{
                f"observation/{name}": (model.inputs[name], policy.runs(part))
                for name, part in self._observed.items()
            },
            **{
                f"output/{name}": (model.outputs[name], policy.runs(part))
                for name, part in self._outputs.items()
            },
            "raw": (decoder.raw, True),
            "clipped": (decoder.clipped, True),
            "target": (decoder.target, True),
        }
        for name, (value, ran) in parts.items():
            flat = value.reshape(-1)
            kind = np.float64 if value.dtype == np.float64 else np.float32
            known = inferred and ran
            row[name] = flat.astype(kind) if known else np.full(flat.size, np.nan, kind)
        for name, value in row.items():
            self._rows.setdefault(name, []).append(value)
        self.ticks += 1
        self._chunks.look(t_ns)

    def arrays(self) -> Arrays:
        """Return all results, stacked: [ticks, ...]."""
        found = {name: np.array(rows) for name, rows in self._rows.items()}
        found["joint_names"] = np.array([one.joint for one in self._loaded.pipeline.elements])
        found["kinds"] = np.array([one.kind for one in self._loaded.pipeline.elements])
        for name, elements in self._names.items():
            found[f"names/{name}"] = np.array(elements)
        return {**found, **self._chunks.arrays()}


def _select(policy: AnyPolicy, arrays: Mapping[str, np.ndarray], k: int) -> None:
    """Select the policy of a switch by the recorded value of sample k."""
    if isinstance(policy, SwitchedPolicy):
        fault = policy.select_by(float(arrays[SWITCH].reshape(-1)[k]))
        if fault is not None:
            raise refuse("", f"sample {k}", "a number that selects a policy", fault.detail)


def replay_messages(
    loaded: LoadedPolicy, events: Iterator[Event], start_s: float, duration_s: float, done: Progress
) -> Arrays:
    """Run the ticks from `start_s` after the first message to the last message.

    Args:
        loaded: the policy.
        events: messages in the order of their reception.
        start_s: time to skip after the first message [s].
        duration_s: longest replayed time [s]; 0: up to the last message.
        done: called with the number of messages that each tick took.

    Raises:
        Refusal: there are no messages, two are more than a day apart, or a message lacks a field
            that the policy reads.
    """
    pipeline = loaded.pipeline
    # Nothing moves in a replay, so the move to the start pose would never end.
    pipeline.settings = replace(pipeline.settings, start_pose_ns=0)
    pipeline.activate()
    readers: dict[str, Reader] = {}
    trace = Trace(loaded)
    following = next(events, None)
    if following is None:
        raise refuse("", "the recording", "messages of the policy's inputs", "none")
    first_ns = following.t_ns
    tick_ns = first_ns + round(start_s * 1e9)
    end_ns = tick_ns + round(duration_s * 1e9) if duration_s else None
    while following is not None and (end_ns is None or tick_ns <= end_ns):
        taken = 0
        while following is not None and following.t_ns <= tick_ns:
            _receive(pipeline.slots[following.input], following, readers)
            following = next(events, None)
            taken += 1
        if following is not None and following.t_ns - tick_ns > MOST_GAP_S * 1e9:
            hours = (following.t_ns - tick_ns) / 3.6e12
            expected = f"messages at most {MOST_GAP_S / 3600:.0f} h apart"
            raise refuse("", "the recording", expected, f"{hours:g} h before '{following.input}'")
        # The pipeline judges inf and NaN itself, as in the node's control thread.
        with np.errstate(all="ignore"):
            step = pipeline.step(tick_ns)
        trace.add(tick_ns - first_ns, step.decision.name, step.inferred, step.command)
        done(taken)
        tick_ns += pipeline.settings.period_ns
    return trace.arrays()


def _receive(slot: InputSlot, event: Event, readers: dict[str, Reader]) -> None:
    """Take one message, like the node's control thread."""
    read = readers.get(event.input)
    if read is None:
        read = readers[event.input] = build_reader(slot, _type_of(event.message))
    slot.arriving_ns = event.t_ns
    try:
        fault = read(event.message)
    except Refusal:
        raise
    except Exception as error:  # noqa: BLE001 - a bad message must not end the run
        fault = f"{type(error).__name__}: {error}"
    if fault:
        slot.refused(fault)
    else:
        slot.received(event.t_ns, stamp_ns(event.message))


def _type_of(message: Any) -> Any:
    """Return a substitute for the ROS message class, made from one recorded message."""
    fields = [name for name in vars(message) if not name.startswith("_")]

    class Recorded:
        def __new__(cls) -> Any:
            return message

        @staticmethod
        def get_fields_and_field_types() -> dict[str, str]:
            return dict.fromkeys(fields, "")

    return Recorded


def replay_frames(loaded: LoadedPolicy, frames: Mapping[str, np.ndarray], done: Progress) -> Arrays:
    """Run one inference for each frame; each tensor's terms are given as float [N, frame].

    The pipeline adds histories, clips, normalization and state. Last actions come from the file.
    """
    pipeline, policy = loaded.pipeline, loaded.pipeline.policy
    pipeline.activate()
    trace = Trace(loaded)
    count = len(next(iter(frames.values())))
    for k in range(count):
        _select(policy, frames, k)
        for builder, _ in policy.every_tensor:
            if builder.name in frames:
                builder.frame[:] = frames[builder.name][k].reshape(-1)
        _sample(policy.infer_frames, pipeline, k, trace)
        done(1)
    return trace.arrays()


def _sample(infer: Callable[[int], Fault | None], pipeline: Pipeline, k: int, trace: Trace) -> None:
    """Run the inference of sample k, with the policy's `infer` or `run`."""
    now_ns = k * pipeline.settings.period_ns
    fault = infer(now_ns)
    if fault is not None:
        raise refuse("", f"sample {k}", "a finite action", fault.detail)
    trace.add(now_ns, "RUN", True, pipeline.policy.decoder.target)


def replay_tensors(
    loaded: LoadedPolicy, tensors: Mapping[str, np.ndarray], done: Progress
) -> Arrays:
    """Run one inference for each row of tensors, which go into the model unchanged.

    An input that is not given keeps its value. For recurrent state this is the model's last
    output, for other inputs it is 0 or their constant.
    """
    pipeline, model = loaded.pipeline, loaded.model
    pipeline.activate()
    trace = Trace(loaded)
    for k in range(len(next(iter(tensors.values())))):
        _select(pipeline.policy, tensors, k)
        for name, rows in tensors.items():
            if name == SWITCH:
                continue
            model.inputs[name][...] = rows[k].reshape(model.inputs[name].shape)
        # Run only the model and the decoder: the given tensors are complete.
        _sample(pipeline.policy.run_given, pipeline, k, trace)
        done(1)
    return trace.arrays()
