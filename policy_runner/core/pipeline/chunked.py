"""A policy whose inferences run in a lane, next to the control thread.

Each tick takes what the lane reports, offers chunks to the player, starts the next inference, and
asks the player for the action of this tick. Limits and decisions come afterwards, as for every
policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from policy_runner.core.chunks.player import ChunkReport
from policy_runner.core.chunks.trajectory_player import TrajectoryPlayer
from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.lane.interface import Tensors
from policy_runner.core.lane.requests import LaneRequests, LaneResult
from policy_runner.core.model import Array
from policy_runner.core.pipeline.policy import PolicyFacts
from policy_runner.core.safety.decision import Decision, Fault, Reason


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


class ChunkedPolicy(PolicyFacts):
    """A policy in a lane. `Policy` explains the methods that both have.

    The pipeline calls `prepare` in every tick that may run, also before the first RUN and during
    HOLD. So the next action is there when RUN begins. `decided` ends every tick.

    A result is outdated after a reset, an arming, a SAFE_STOP, a jump of the clock, or a reload.

    Attributes:
        requests: the lane's requests and results.
        inferences: number of usable results.
        unusable: number of results without a usable action.
        limited: ticks in which the robot's limits changed the action.
        seen_rows: the newest chunk, float64 [T, elements], for a picture.
        seen_ns: time of its observation [ns].
    """

    def __init__(
        self,
        decoder: ActionDecoder,
        requests: LaneRequests,
        player: Player,
        measured: MeasuredPositions,
        last_action: tuple[str, Array],
        gravities: Sequence[Callable[[], str]],
        rows: int,
        single: bool,
    ) -> None:
        """Join the parts; `build_pipeline` makes them from a spec.

        Args:
            decoder: has the newest action in its arrays; it decodes nothing here. A lane returns
                decoded actions, so its raw action is one, too.
            requests: runs the inferences.
            player: plays their actions.
            measured: the positions from which a robot at rest starts.
            last_action: as of `Policy`.
            gravities: refresh what the tilt is judged by.
            rows: most rows of a result.
            single: the rows of a result are raw, clipped and target of one action; otherwise they
                are the actions of a chunk.
        """
        self.requests = requests
        self.inferences = self.unusable = self.limited = 0
        self.seen_rows: Array | None = None
        self.seen_ns = NEVER
        self.decoder = decoder
        size = len(decoder.elements)
        self.most_event_bytes = 8 * rows * size + 1024
        self._player = player
        self._measured = measured
        self._gravities = gravities
        self._last_action_kind, self._last_action = last_action
        self._action = np.zeros(size)
        self._standing = np.zeros(size)
        self._stages = np.zeros((3, size)) if single else None
        self._armed = self._stopped = self._outdated = self._commanded = False
        self._prepared_ns = NEVER
        self._action_of_now = False  # `prepare` found an action
        self._fault = ""  # why the newest inference gave no action

    # --- called by the pipeline ---

    def prepare(self, now_ns: int, armed: bool) -> Fault | None:
        """Take results, start an inference, and find the action of this tick.

        Args:
            now_ns: time of this tick.
            armed: whether RUN is possible without another ~/arm.
        """
        requests, before_ns = self.requests, self._prepared_ns
        requests.took.clear()
        interrupted = before_ns != NEVER and now_ns - before_ns > requests.reset_after_ns
        if self._outdated or interrupted or (armed and not self._armed):
            self._start_over(now_ns)
        self._armed, self._prepared_ns = armed, now_ns
        self._action_of_now = False
        fault = self._use(requests.take(now_ns), now_ns)
        if not armed:
            return None
        apart = requests.advance(now_ns, lambda: self._player.report.left_ns)
        if requests.answers_at_once:
            fault = self._use(requests.take(now_ns), now_ns) or fault
        if fault is not None:
            return fault
        if not self._commanded:
            self._player.hold(self._standing_now())
        action = self._player.action_at(now_ns)
        if action is None:
            return self._no_action(now_ns, apart)
        np.copyto(self._action, action)
        self._action_of_now = True
        return None

    def _use(self, results: Sequence[LaneResult], now_ns: int) -> Fault | None:
        """Offer results to the player; return the fault of an unusable action."""
        fault = None
        for (_, _, rows, why, of_action, _), observed_ns in results:
            if rows is None:
                self.unusable += 1
                self._fault = why
                if of_action:
                    fault = Fault(Decision.SAFE_STOP, Reason.ACTION_NOT_FINITE, why)
                continue
            self.inferences += 1
            if self._stages is not None:  # raw, clipped and target of a single action
                np.copyto(self._stages, rows)
                rows = rows[2:]
            self._fault = self._player.offer(rows, observed_ns, now_ns)
            self.seen_rows, self.seen_ns = rows, observed_ns
        return fault

    def _no_action(self, now_ns: int, why: str = "") -> Fault:
        """HOLD, with the reason why there is no action."""
        running_ns = self.requests.running_ns(now_ns)
        why = why or self._fault
        if not why and running_ns is not None:
            why = f"the inference has been running for {running_ns / 1e9:.2f} s"
        why = why or "no inference has begun"
        return self.unfit or Fault(Decision.HOLD, Reason.NO_ACTION, why)

    def decided(self, command: Array | None, decision: Decision) -> None:
        """Learn the command of this tick; None: there is none.

        A chunk from before a SAFE_STOP is not played after it.
        """
        self._commanded = command is not None
        if decision is Decision.RUN:
            self._stopped = False
            if command is not None:
                self.limited += command.tobytes() != self._action.tobytes()
            return
        if decision is Decision.SAFE_STOP and not self._stopped:
            self._outdate()
        self._stopped = decision is Decision.SAFE_STOP
        self._player.hold(self._standing_now() if command is None else command)

    def _standing_now(self) -> Array:
        """Where a robot without a command stands [elements]: its first action fades from there."""
        standing = self._measured.read(self._standing)
        unknown = np.isnan(standing)
        standing[unknown] = self.decoder.start[unknown]
        return standing

    def _outdate(self) -> None:
        """Let the next `prepare` start over; until then there is no action."""
        self._outdated, self._action_of_now = True, False
        self.requests.outdate()

    def _start_over(self, now_ns: int) -> None:
        """Forget every observation before now: its action is not played any more."""
        self.requests.start_over(now_ns)
        self._player.reset(now_ns)
        self._outdated = self._action_of_now = False
        self._fault = ""

    @property
    def unfit(self) -> Fault | None:
        """The fault of a lane that cannot infer now; None: it can."""
        why = self.requests.why_failed
        if not why:
            return None
        return Fault(Decision.HOLD, Reason.INFERENCE_FAILED, f"the inference {why}")

    @property
    def trajectories(self) -> TrajectoryPlayer | None:
        """The player, if it plans trajectories."""
        return self._player if isinstance(self._player, TrajectoryPlayer) else None

    @property
    def report(self) -> ChunkReport:
        """The player's state and counts."""
        return self._player.report

    # --- as of `Policy` ---

    @property
    def inferred_at_ns(self) -> int:
        """NEVER: this policy itself starts over after an interruption."""
        return NEVER

    def observe(self) -> Fault | None:
        """Refresh the gravity, by which the tilt is judged. The lane reads everything else."""
        for refresh in self._gravities:
            refresh()
        return None

    def infer(self, now_ns: int) -> Fault | None:
        """Take the action that `prepare` has found."""
        if not self._action_of_now:
            return self._no_action(now_ns)
        decoder = self.decoder
        stages = (decoder.raw, decoder.clipped, decoder.target)
        for k, stage in enumerate(stages):
            np.copyto(stage, self._action if self._stages is None else self._stages[k])
        if self._last_action_kind != "limited":
            np.copyto(self._last_action, getattr(decoder, self._last_action_kind))
        return None

    def infer_frames(self, now_ns: int) -> Fault | None:
        """See `Policy.infer_frames`. The action is the one of the observation's time."""
        return self._given(now_ns, built=False)

    def run_given(self, now_ns: int) -> Fault | None:
        """See `Policy.run_given`. The action is the one of the observation's time."""
        return self._given(now_ns, built=True)

    def _given(self, now_ns: int, built: bool) -> Fault | None:
        fault = self.requests.lane.given(now_ns, built)
        self.inferences += fault is None
        return fault

    def commanded(self, command: Array) -> None:
        """See `Policy.commanded`."""
        if self._last_action_kind == "limited":
            np.copyto(self._last_action, command)

    def reset(self) -> None:
        """Drop every action. A lane that has failed is tried again at once."""
        self._outdate()
        self._last_action.fill(0.0)
        self.decoder.reset()
        self.requests.lane.retry()

    @property
    def every_tensor(self) -> Tensors:
        """The built tensors, if the lane has them in this thread."""
        return self.requests.lane.tensors
