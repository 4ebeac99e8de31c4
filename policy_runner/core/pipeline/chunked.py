"""A policy whose inferences run in a lane, next to the control thread.

Each tick takes what the lane reports, offers chunks to the player, starts the next inference, and
asks the player for the action of this tick. Limits and decisions come afterwards, as for every
policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from policy_runner.core.chunks.player import ChunkReport
from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.lane.interface import Lane, LaneEvent, LaneRequest, LaneRules, Tensors
from policy_runner.core.model import Array, Buffer
from policy_runner.core.pipeline.policy import observations_of
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.spec.elements import ActionElement
from policy_runner.core.timing import Window

_KEPT_LATENCIES = 20  # of the newest inferences; one slow inference is forgotten after so many


class Player(Protocol):
    """Plays actions by the clock: `ChunkPlayer`, or `NewestAction` for a policy without chunks."""

    def offer(self, actions: Array, observed_ns: int, now_ns: int) -> str:
        """Take the actions; return '' or why not."""

    def action_at(self, now_ns: int) -> Array | None:
        """The action of now; None: there is no fresh one."""

    def hold(self, command: Array) -> None:
        """Tell what is commanded while nothing is played."""

    def reset(self, now_ns: int | None = None) -> None:
        """Drop everything, also results of observations from before now."""

    @property
    def report(self) -> ChunkReport:
        """The state now, and counts since the start."""


class ChunkedPolicy:
    """A policy in a lane. `Policy` explains the methods that both have.

    The pipeline calls `prepare` in every tick that may run, also before the first RUN and during
    HOLD. So the next action is there when RUN begins. `decided` ends every tick.

    A result counts only if nothing has begun since its request that makes it outdated: a reset,
    an arming, a SAFE_STOP, a jump of the clock, or a reload.

    Attributes:
        lane: runs the inferences.
        took: the events of this tick, for a record.
        latencies: time from the observation to the result's arrival [ns].
        durations: of the inferences in the lane [ns].
    """

    def __init__(
        self,
        decoder: ActionDecoder,
        lane: Lane,
        player: Player,
        rules: LaneRules,
        slots: Sequence[InputSlot],
        measured: MeasuredPositions,
        last_action: tuple[str, Array],
        gravities: Sequence[Callable[[], str]],
        rows: int,
        single: bool,
    ) -> None:
        """Join the parts; `build_pipeline` makes them from a spec.

        Args:
            decoder: has the newest action in its arrays; it decodes nothing here.
            lane: runs the inferences.
            player: plays their actions.
            rules: when an inference starts, and when its result counts.
            slots: the inputs, for the differences of their ages.
            measured: the positions from which a robot at rest starts.
            last_action: as of `Policy`.
            gravities: refresh what the tilt is judged by.
            rows: most rows of a result.
            single: the rows of a result are raw, clipped and target of one action; otherwise they
                are the actions of a chunk.
        """
        self.lane = lane
        self.took: list[LaneEvent] = []
        self.inferences = 0
        self.latencies, self.durations = Window(1000), Window(1000)
        self.seen_rows: Array | None = None  # of the newest result, for a picture
        self.seen_ns = NEVER  # time of its observation
        self.decoder = decoder
        size = len(decoder.elements)
        self.most_event_bytes = 8 * rows * size + 1024
        self._player = player
        self._rules = rules
        self._slots = slots
        self._measured = measured
        self._gravities = gravities
        self._last_action_kind, self._last_action = last_action
        self._action = np.zeros(size)
        self._standing = np.zeros(size)
        self._stages = np.zeros((3, size)) if single else None
        self._ready = False  # the lane can infer
        self._lane_why = "starts"
        self._sequence = 0  # of the newest request
        self._first = 1  # results of requests before this one are outdated
        self._under_way = 0  # the request without a result; 0: none
        self._observed_ns = self._started_ns = NEVER  # of the newest request
        self._early: LaneEvent | None = None  # it arrived before its simulated latency
        self._fresh = True  # the next inference begins with the start state
        self._armed = self._stopped = self._outdated = False
        self._prepared_ns = NEVER
        self._sampled_ns = NEVER
        self._action_of_now = False  # `prepare` found an action
        self._recent: list[int] = []  # latencies of the newest inferences
        self._fault = ""  # why the newest inference gave no action
        self.failures = 0  # of the lane
        self.unusable = 0  # inferences without a usable result
        self.apart = 0  # ticks in which the inputs' ages were too different
        self.limited = 0  # ticks in which the robot's limits changed the action

    def never_wait(self) -> None:
        """Take results when they come, even in lockstep; for a replay of recorded results."""
        self._rules = replace(self._rules, waits_s=0.0)

    # --- called by the pipeline ---

    def prepare(self, now_ns: int, armed: bool) -> Fault | None:
        """Take results, start an inference, and find the action of this tick.

        Args:
            now_ns: time of this tick.
            armed: whether RUN is possible without another ~/arm.
        """
        rules = self._rules
        before_ns = self._prepared_ns
        interrupted = before_ns != NEVER and now_ns - before_ns > rules.reset_after_ns
        if self._outdated or interrupted or (armed and not self._armed):
            self._start_over(now_ns)
        self._armed, self._prepared_ns = armed, now_ns
        self._action_of_now = False
        fault = self._take(now_ns)
        if not armed:
            return None
        self._sample_and_start(now_ns)
        if rules.waits_s and not rules.simulated_latency_ns:
            fault = self._take(now_ns) or fault
        if fault is not None:
            return fault
        return self._find_action(now_ns)

    def _find_action(self, now_ns: int) -> Fault | None:
        action = self._player.action_at(now_ns)
        if action is None:
            return Fault(Decision.HOLD, Reason.NO_ACTION, self._why_not(now_ns))
        np.copyto(self._action, action)
        self._action_of_now = True
        return None

    def decided(self, command: Array | None, decision: Decision) -> None:
        """Learn the command of this tick; None: there is none.

        A chunk from before a SAFE_STOP is not played after it.
        """
        if decision is Decision.RUN:
            self._stopped = False
            if command is not None:
                self.limited += command.tobytes() != self._action.tobytes()
            return
        if decision is Decision.SAFE_STOP and not self._stopped:
            self._outdate()
        self._stopped = decision is Decision.SAFE_STOP
        if command is None:
            # The robot stands where it is: the first action fades from there.
            command = self._measured.read(self._standing)
            unknown = np.isnan(command)
            command[unknown] = self.decoder.start[unknown]
        self._player.hold(command)

    # --- the lane ---

    def _take(self, now_ns: int) -> Fault | None:
        """Take the events of the lane; return the fault of an unusable action."""
        self.took.clear()
        rules = self._rules
        if rules.waits_s and self._under_way and self._early is None and self._is_due(now_ns):
            self.lane.wait(rules.waits_s)
        fault = None
        event = self.lane.poll()
        while event is not None:
            self.took.append(event)
            fault = self._hear(event, now_ns) or fault
            event = self.lane.poll()
        if self._early is not None and self._counts(now_ns):
            early, self._early = self._early, None
            fault = self._use(early, now_ns) or fault
        silent_ns = now_ns - self._started_ns
        if self._under_way and self._early is None and silent_ns > rules.timeout_ns:
            why = f"no result for {silent_ns / 1e9:.1f} s"
            self._failed(f"hangs: {why}")
            self.lane.give_up(why)
        return fault

    def _is_due(self, now_ns: int) -> bool:
        """Whether lockstep waits for the result now.

        For an outdated one, too: its duration must not decide when the next inference starts.
        """
        return self._counts(now_ns) or self._under_way < self._first

    def _counts(self, now_ns: int) -> bool:
        return now_ns - self._observed_ns >= self._rules.simulated_latency_ns

    def _hear(self, event: LaneEvent, now_ns: int) -> Fault | None:
        if event.kind == "ready":
            self._ready, self._lane_why = True, ""
            self._fresh = True  # its recurrent states begin at their start values anyway
        elif event.kind == "failed":
            self._failed(event.why)
        elif event.sequence == self._under_way:
            if event.sequence < self._first:
                self._under_way = 0
            elif self._counts(now_ns):
                return self._use(event, now_ns)
            else:
                self._early = event
        return None

    def _failed(self, why: str) -> None:
        self._ready, self._lane_why = False, why
        self._under_way, self._early = 0, None
        self.failures += 1

    def _use(self, event: LaneEvent, now_ns: int) -> Fault | None:
        """Use a result that counts now."""
        self._under_way = 0
        latency_ns = now_ns - self._observed_ns
        self.latencies.add(latency_ns)
        self.durations.add(event.took_ns)
        self._recent.append(latency_ns)
        del self._recent[:-_KEPT_LATENCIES]
        if event.rows is None:
            self.unusable += 1
            self._fault = event.why
            if event.of_action:
                return Fault(Decision.SAFE_STOP, Reason.ACTION_NOT_FINITE, event.why)
            return None
        self.inferences += 1
        actions = event.rows
        if self._stages is not None:  # raw, clipped and target of a single action
            np.copyto(self._stages, actions)
            actions = actions[2:]
        self._fault = self._player.offer(actions, self._observed_ns, now_ns)
        self.seen_rows, self.seen_ns = actions, self._observed_ns
        return None

    def _sample_and_start(self, now_ns: int) -> None:
        rules = self._rules
        due = not rules.frame_ns or now_ns - self._sampled_ns >= rules.frame_ns
        if self._sampled_ns == NEVER or due:
            if self._may_start(now_ns):
                self._start(now_ns)
            elif rules.frame_ns and self._observed_ns != NEVER:
                self.lane.sample(now_ns)
            else:
                return
            # Frames stay at their times, even if a tick is a little late.
            late = now_ns - self._sampled_ns - rules.frame_ns
            on_time = 0 <= late < rules.frame_ns
            self._sampled_ns = now_ns - late if on_time else now_ns

    def _may_start(self, now_ns: int) -> bool:
        rules = self._rules
        if not self._ready or self._under_way or self._early is not None:
            return False
        if self._started_ns != NEVER and now_ns - self._started_ns < rules.every_ns:
            return False
        if rules.start == "at_remaining" and self._player.report.left_ns > rules.remaining_ns:
            return False
        if rules.tolerance_ns and self._difference_ns() > rules.tolerance_ns:
            self.apart += 1
            self._fault = "the inputs of one observation are of different times"
            return False
        return True

    def _difference_ns(self) -> int:
        """The largest difference between the arrivals of two inputs [ns]."""
        arrivals = [slot.oldest_ns for slot in self._slots]
        known = [one for one in arrivals if one != NEVER]
        return max(known) - min(known) if known else 0

    def _start(self, now_ns: int) -> None:
        self._sequence += 1
        self._under_way = self._sequence
        self._observed_ns = self._started_ns = now_ns
        latency_ns = max(self._recent, default=0)
        self.lane.start(LaneRequest(self._sequence, now_ns, latency_ns, self._fresh))
        self._fresh = False

    def _outdate(self) -> None:
        """Let the next `prepare` start over; until then there is no action."""
        self._outdated, self._action_of_now = True, False
        self._first = self._sequence + 1

    def _start_over(self, now_ns: int) -> None:
        """Forget every observation before now: its action is not played any more."""
        self._outdate()
        self._outdated = False
        self._player.reset(now_ns)
        self._fresh = True
        self._fault = ""
        if self._early is not None:
            self._early, self._under_way = None, 0
        # The clock may have jumped.
        self._started_ns = now_ns if self._under_way else NEVER
        self._sampled_ns = NEVER
        self.lane.forget()

    def _why_not(self, now_ns: int) -> str:
        """Why there is no action, in words."""
        if not self._ready:
            return f"the inference {self._lane_why}"
        if self._fault:
            return self._fault
        if self._under_way:
            return f"the inference has been running for {(now_ns - self._started_ns) / 1e9:.2f} s"
        return "no inference has begun"

    # --- as of `Policy` ---

    @property
    def inferred_at_ns(self) -> int:
        """NEVER: this policy itself starts over after an interruption."""
        return NEVER

    @property
    def report(self) -> ChunkReport:
        """The player's state and counts."""
        return self._player.report

    @property
    def lane_state(self) -> str:
        """What the lane does, in words."""
        if not self._ready:
            return self._lane_why
        return "infers" if self._under_way else "free"

    def observe(self) -> Fault | None:
        """Refresh the gravity, by which the tilt is judged. The lane reads everything else."""
        for refresh in self._gravities:
            refresh()
        return None

    def infer(self, now_ns: int) -> Fault | None:
        """Take the action that `prepare` has found."""
        if not self._action_of_now:
            return Fault(Decision.HOLD, Reason.NO_ACTION, self._why_not(now_ns))
        decoder = self.decoder
        stages = (decoder.raw, decoder.clipped, decoder.target)
        for k, stage in enumerate(stages):
            np.copyto(stage, self._action if self._stages is None else self._stages[k])
        if self._last_action_kind != "limited":
            np.copyto(self._last_action, getattr(decoder, self._last_action_kind))
        return None

    def infer_frames(self, now_ns: int) -> Fault | None:
        """See `Policy.infer_frames`."""
        return self.infer(now_ns)

    def run_given(self, now_ns: int) -> Fault | None:
        """See `Policy.run_given`."""
        return self.infer(now_ns)

    def commanded(self, command: Array) -> None:
        """See `Policy.commanded`."""
        if self._last_action_kind == "limited":
            np.copyto(self._last_action, command)

    def reset(self) -> None:
        """Drop every action. A lane that has failed is tried again at once."""
        self._outdate()
        self._last_action.fill(0.0)
        self.decoder.reset()
        self.lane.retry()

    @property
    def every_tensor(self) -> Tensors:
        """The built tensors, if the lane has them in this thread."""
        return self.lane.tensors

    @property
    def active(self) -> str:
        """See `Policy.active`."""
        return ""

    @property
    def changes(self) -> int:
        """See `Policy.changes`."""
        return 0

    def runs(self, part: str) -> bool:
        """See `Policy.runs`."""
        return True

    @property
    def elements(self) -> Sequence[ActionElement]:
        """See `Policy.elements`."""
        return self.decoder.elements

    @property
    def observations(self) -> dict[str, tuple[Buffer, list[str]]]:
        """See `Policy.observations`."""
        return observations_of(self.every_tensor)

    @property
    def raw_action(self) -> Array:
        """The action of the newest tick, float64 [elements]: a lane returns decoded actions."""
        return self.decoder.raw
