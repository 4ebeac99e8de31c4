"""The control thread's side of a lane: when an inference starts, and which result counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.lane.interface import Lane, LaneEvent, LaneRequest, LaneRules
from policy_runner.core.timing import Window

_KEPT_LATENCIES = 20  # of the newest inferences; one slow inference is forgotten after so many


class LaneResult(NamedTuple):
    """A result that counts now."""

    event: LaneEvent
    observed_ns: int


class LaneRequests:
    """Starts inferences and takes their results, without waiting.

    A result counts only if nothing has begun since its request that makes it outdated:
    `start_over` tells so.

    Attributes:
        lane: runs the inferences.
        took: the events of this tick, for a record; the policy and the recorder clear it.
        latencies: time from the observation to the result's arrival [ns].
        durations: of the inferences in the lane [ns].
        failures: how often the lane failed.
        apart: ticks in which the inputs' ages were too different for an observation.
        why_failed: why the lane cannot infer, in words; '' if it can.
    """

    def __init__(self, lane: Lane, rules: LaneRules, slots: Sequence[InputSlot]) -> None:
        """Join the parts.

        Args:
            lane: runs the inferences.
            rules: when an inference starts, and when its result counts.
            slots: the inputs, for the differences of their ages.
        """
        self.lane = lane
        self.took: list[LaneEvent] = []
        self.latencies, self.durations = Window(1000), Window(1000)
        self.failures = self.apart = 0
        self.why_failed = "starts"
        self._rules = rules
        self._slots = slots
        self._sequence = 0  # of the newest request
        self._first = 1  # results of requests before this one are outdated
        self._under_way = 0  # the request without a result; 0: none
        self._observed_ns = self._started_ns = NEVER  # of the newest request
        self._early: LaneEvent | None = None  # it arrived before its simulated latency
        self._fresh = True  # the next inference begins with the start state
        self._failing_ns = NEVER  # observation of the first failure since a usable result
        self._sampled_ns = NEVER  # of the newest frame of the histories
        self._recent: list[int] = []  # latencies of the newest inferences

    @property
    def newest(self) -> int:
        """Sequence of the newest request; 0: there was none."""
        return self._sequence

    @property
    def answers_at_once(self) -> bool:
        """Whether a result counts in the tick of its own observation: lockstep without latency."""
        return self._rules.waits_s > 0.0 and not self._rules.simulated_latency_ns

    @property
    def reset_after_ns(self) -> int:
        """Length of an interruption after which the policy starts over [ns]."""
        return self._rules.reset_after_ns

    @property
    def state(self) -> str:
        """What the lane does, in words."""
        return self.why_failed or ("infers" if self._under_way else "free")

    def running_ns(self, now_ns: int) -> int | None:
        """How long the inference under way has been running [ns]; None: there is none."""
        return now_ns - self._started_ns if self._under_way else None

    def take(self, now_ns: int) -> list[LaneResult]:
        """Take the events of the lane; return the results that count now."""
        rules, found = self._rules, []
        if rules.waits_s and self._under_way and self._early is None and self._is_due(now_ns):
            self.lane.wait(rules.waits_s)
        event = self.lane.poll()
        while event is not None:
            self.took.append(event)
            found += self._hear(event, now_ns)
            event = self.lane.poll()
        if self._early is not None and self._counts(now_ns):
            early, self._early = self._early, None
            found.append(self._use(early, now_ns))
        silent_ns = self.running_ns(now_ns)
        if self._early is None and silent_ns is not None and silent_ns > rules.timeout_ns:
            why = f"no result for {silent_ns / 1e9:.1f} s"
            self._fail(f"hangs: {why}")
            self.lane.give_up(why)
        return found

    def _is_due(self, now_ns: int) -> bool:
        """Whether lockstep waits for the result now.

        For an outdated one, too: its duration must not decide when the next inference starts.
        """
        return self._counts(now_ns) or self._under_way < self._first

    def _counts(self, now_ns: int) -> bool:
        return now_ns - self._observed_ns >= self._rules.simulated_latency_ns

    def _hear(self, event: LaneEvent, now_ns: int) -> list[LaneResult]:
        if event.kind == "ready":
            self.why_failed = ""
            self._fresh = True  # its recurrent states begin at their start values anyway
        elif event.kind == "failed":
            self._fail(event.why)
        elif event.sequence == self._under_way:
            if event.sequence < self._first:
                self._under_way = 0
            elif self._counts(now_ns):
                return [self._use(event, now_ns)]
            else:
                self._early = event
        return []

    def _fail(self, why: str) -> None:
        self.why_failed = why
        self._under_way, self._early = 0, None
        self.failures += 1

    def _use(self, event: LaneEvent, now_ns: int) -> LaneResult:
        self._under_way = 0
        latency_ns = now_ns - self._observed_ns
        if event.rows is not None:
            self._failing_ns = NEVER
        elif self._failing_ns == NEVER:
            self._failing_ns = self._observed_ns
        self.latencies.add(latency_ns)
        self.durations.add(event.took_ns)
        self._recent.append(latency_ns)
        del self._recent[:-_KEPT_LATENCIES]
        return LaneResult(event, self._observed_ns)

    def advance(self, now_ns: int, left_ns: Callable[[], int]) -> str:
        """Start an inference if it is due; otherwise keep a frame of the histories if it is.

        Args:
            now_ns: time of this tick.
            left_ns: returns the rest of the newest chunk [ns].

        Returns:
            '' or why the inputs make no observation.
        """
        frame_ns = self._rules.frame_ns
        late_ns = now_ns - self._sampled_ns - frame_ns
        if frame_ns and self._sampled_ns != NEVER and late_ns < 0:
            return ""
        why = self._apart()
        if not why and self._may_start(now_ns, left_ns):
            self._start(now_ns)
        elif frame_ns and self._sampled_ns != NEVER:
            self.lane.sample(now_ns)
        else:
            return why
        # Frames stay at their times, even if a tick is a little late.
        self._sampled_ns = now_ns - late_ns if 0 <= late_ns < frame_ns else now_ns
        return why

    def _may_start(self, now_ns: int, left_ns: Callable[[], int]) -> bool:
        rules = self._rules
        if self.why_failed or self._under_way:
            return False
        if self._started_ns != NEVER and now_ns - self._started_ns < rules.every_ns:
            return False
        return rules.start != "at_remaining" or left_ns() <= rules.remaining_ns

    def _apart(self) -> str:
        """Why the inputs are no observation: their arrivals differ too much."""
        tolerance_ns = self._rules.tolerance_ns
        if not tolerance_ns:
            return ""
        arrivals = [at for at in (slot.oldest_ns for slot in self._slots) if at != NEVER]
        apart_ns = max(arrivals, default=0) - min(arrivals, default=0)
        if apart_ns <= tolerance_ns:
            return ""
        self.apart += 1
        return f"the inputs of one observation are of different times, {apart_ns / 1e9:.3f} s apart"

    def _start(self, now_ns: int) -> None:
        self._sequence += 1
        self._under_way = self._sequence
        failing_ns = self._failing_ns
        # A recurrent state from before a long interruption is not the state of now.
        self._fresh |= failing_ns != NEVER and now_ns - failing_ns > self._rules.reset_after_ns
        self._observed_ns = self._started_ns = now_ns
        latency_ns = max(self._recent, default=0)
        self.lane.start(LaneRequest(self._sequence, now_ns, latency_ns, self._fresh))
        self._fresh = False

    def outdate(self) -> None:
        """Results of the requests so far do not count any more."""
        self._first = self._sequence + 1

    def start_over(self, now_ns: int) -> None:
        """Forget every observation before now; the clock may have jumped."""
        self.outdate()
        self._fresh = True
        if self._early is not None:
            self._early, self._under_way = None, 0
        self._started_ns = now_ns if self._under_way else NEVER
        self._sampled_ns = NEVER
        self.lane.forget()
