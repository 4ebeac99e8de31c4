"""One tick, from the newest inputs to a limited command. Read `Pipeline.step` first.

The pipeline changes only its own state. The time and the clock are arguments; nothing logs or
sleeps. The pipeline counts events for the operator, and the node reads and reports the counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from policy_runner.core.command.command import Command
from policy_runner.core.command.start_pose import StartPoseMove
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Array, Buffer
from policy_runner.core.pipeline.interface import AnyPolicy, LanedPolicy, PipelineRecorder
from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety
from policy_runner.core.safety.freshness import Freshness
from policy_runner.core.safety.operator_requests import Operator
from policy_runner.core.safety.robot_watch import RobotWatch
from policy_runner.core.settings import Manner, Settings
from policy_runner.core.spec.elements import ActionElement


class Step(NamedTuple):
    """The result of one tick, and the times at which its parts ended, on `clock_ns` [ns]."""

    decision: Decision
    command: Array | None  # float64 [elements], in policy joints and units; None: publish nothing
    inferred: bool
    started_ns: int
    observed_ns: int
    inferred_ns: int
    decided_ns: int


class Pipeline:
    """A policy, the robot's rules for it, and the decision of every tick."""

    def __init__(
        self,
        policy: AnyPolicy,
        slots: Mapping[str, InputSlot],
        robot_watch: RobotWatch,
        measured: MeasuredPositions,
        settings: Settings,
        clock_ns: Callable[[], int],
        laned: LanedPolicy | None = None,
    ) -> None:
        """Join the parts; `build_pipeline` makes them from a spec.

        Args:
            policy: runs the inferences; no other pipeline may use it.
            slots: by input name, the newest values; the policy's terms read the same slots.
            robot_watch: checks tilt, joint positions and joint speeds.
            measured: the measured positions of the commanded joints.
            settings: the robot's rules; assign to `settings` to change them.
            clock_ns: a monotonic clock [ns]; it only measures how long the parts of a tick take.
            laned: `policy`, if its inferences run in a lane.
        """
        self.laned = laned
        self.looked_ns: int | None = None  # the newest look after a late inference; for a record
        self.recorder: PipelineRecorder | None = None  # set before the loop starts; None: no record
        self.policy = policy
        self.slots = slots
        self.safety = Safety()
        self.operator = Operator()
        self.late_inferences = 0
        self._late_in_a_row = 0
        self._phase = 0  # ticks since the last inference; one is due at 0
        self._robot_watch = robot_watch
        self._clock_ns = clock_ns
        self._further: Callable[[], Fault | None] | None = None
        self._command = Command(policy.decoder.start, measured)
        self._start_pose = StartPoseMove(policy.decoder.start, measured, self._command)
        self.settings = settings

    @property
    def elements(self) -> Sequence[ActionElement]:
        """The elements of a command, in the order of every array [elements]."""
        return self.policy.elements

    @property
    def inferences(self) -> int:
        """Number of inferences, including those of the policies before this one."""
        return self.policy.inferences

    @property
    def observations(self) -> dict[str, tuple[Buffer, list[str]]]:
        """See `Policy.observations`."""
        return self.policy.observations

    @property
    def raw_action(self) -> Array:
        """See `Policy.raw_action`."""
        return self.policy.raw_action

    @property
    def settings(self) -> Settings:
        """The robot's rules for the policy; assign between two ticks to change them."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self._tell("settings")
        self._freshness = Freshness(self.slots, settings)
        self._robot_watch.use(settings)

    @property
    def worst_age_ns(self) -> int:
        """Age [ns] of the oldest value that the last step used."""
        return self._freshness.worst_age_ns

    @property
    def limit_hits(self) -> npt.NDArray[np.int64]:
        """Per element: how often a limit changed its command, int64 [elements]."""
        return self._command.limit_hits

    @property
    def exempt_steps(self) -> npt.NDArray[np.int64]:
        """Per element: how often its command exceeded the rate limit, int64 [elements]."""
        return self._command.exempt_steps

    @property
    def manner(self) -> Manner:
        """How to publish the newest command."""
        return self._command.manner

    def watch(self, further: Callable[[], Fault | None]) -> None:
        """Let every tick also call `further`, after all inputs are present and recent.

        Args:
            further: returns a fault, or None.
        """
        self._further = further

    @property
    def stepper(self) -> Callable[..., Step]:
        """The method that a loop calls every tick: `step`, or the recorder's."""
        return self.step if self.recorder is None else self.recorder.step

    def _tell(self, method: str) -> None:
        if self.recorder is not None:
            self.recorder.called(method)

    def use_clock(self, clock_ns: Callable[[], int]) -> None:
        """Measure durations with this clock [ns]; for a replay with recorded times."""
        self._clock_ns = clock_ns

    def step(
        self,
        now_ns: int,
        outer: Fault | None = None,
        look_again: Callable[[bool], int] | None = None,
    ) -> Step:
        """Compute one tick. `docs/explanation/architecture.md` explains it step by step.

        Args:
            now_ns: the time of this tick on the loop's clock.
            outer: a fault found outside the pipeline, for example a silent executor.
            look_again: called after an inference; its argument is True if the inference took
                longer than its period. It reads the emergency stop again and returns the current
                time on the loop's clock. After a late inference, the ages of the inputs are
                judged at that time. None: an inference takes no time.
        """
        clock = self._clock_ns
        started = clock()
        settings = self._settings
        due = self._phase == 0
        # 1. Is RUN allowed? No stop by the operator, all inputs present and recent, the robot
        # within its limits, the observation finite.
        fault = self._judge_inputs(now_ns, outer, due)
        if self.operator.asks:
            unfit = None if self.laned is None else self.laned.unfit
            self.operator.answer(self.safety, fault or unfit, self._robot_watch.pose_outside())
        before = self.safety.decision
        if fault is None and before is Decision.STARTING and self.safety.armed:
            fault = self._start_pose.fault(settings)
        if self.laned is not None and fault is None:
            fault = self.laned.prepare(now_ns, self.safety.is_armed)
        decision = self.safety.judge(now_ns, fault, settings)
        if decision is Decision.RUN and before is Decision.SAFE_STOP and settings.start_pose_ns:
            decision = self._start_over(now_ns)
        # What a lane does in this thread counts as the inference.
        observed = inferred = clock() if self.laned is None else started
        # 2. The inference, once every `decimation` ticks. Only here the policy's state advances.
        infer = decision is Decision.RUN and due
        if infer:
            stopped = before is Decision.SAFE_STOP and self.laned is None
            if stopped or self._gap_since_inference(now_ns):
                self._restart()
                # The frame still holds the last action from before the reset, and a term may be
                # unusable now.
                fault = self.policy.observe()
                infer = fault is None
            if infer:
                fault = self.policy.infer(now_ns)
                inferred = clock()
                fault = self._judge_again(inferred - observed, fault, look_again)
            if fault is not None:
                decision = self.safety.judge(now_ns, fault, settings)
        # After any interruption RUN begins with an inference, never with an old target.
        self._phase = (self._phase + 1) % settings.decimation if decision is Decision.RUN else 0
        # 3. The command: the limited target, or the stop for the kind of command.
        command = self._decide(decision, infer)
        if self.laned is not None:
            self.laned.decided(command, decision)
        return Step(decision, command, infer, started, observed, inferred, clock())

    def _judge_inputs(self, now_ns: int, outer: Fault | None, due: bool) -> Fault | None:
        """The most severe reason not to run.

        If several are equally severe, the first in this order.
        """
        stale = self._freshness.fault(now_ns)
        fault = self.operator.fault() or outer
        if stale is not None and (fault is None or stale.more_severe_than(fault)):
            fault = stale
        unusable = None
        if due and stale is None:
            unusable = self.policy.observe()
        if self._robot_watch.watches and (fault is None or fault.decision is Decision.HOLD):
            observed = due and stale is None and unusable is None
            fault = self._robot_watch.fault(observed) or fault
        if fault is None and stale is None and self._further is not None:
            fault = self._further()
        return fault or unusable

    def _judge_again(
        self, took_ns: int, fault: Fault | None, look_again: Callable[[bool], int] | None
    ) -> Fault | None:
        """Return the fault that forbids the command of this inference: `fault` or a newer one.

        Args:
            took_ns: duration of the inference.
            fault: the fault of the inference itself.
            look_again: see `step`.
        """
        fault = fault or self._late(took_ns)
        if look_again is None:
            return fault
        settings = self._settings
        late = took_ns > settings.period_ns * settings.decimation
        then_ns = look_again(late)
        if late:
            self.looked_ns = then_ns
        stop = self.operator.fault()
        if late and stop is None and fault is None:
            return self._freshness.fault(then_ns)
        return stop or fault

    def _late(self, took_ns: int) -> Fault | None:
        """Count an inference that took longer than its period; many in a row are a fault."""
        settings = self._settings
        if took_ns <= settings.period_ns * settings.decimation:
            self._late_in_a_row = 0
            return None
        self.late_inferences += 1
        self._late_in_a_row += 1
        if not settings.late_inferences or self._late_in_a_row < settings.late_inferences:
            return None
        text = f"{self._late_in_a_row} in a row, the last one {took_ns / 1e6:.1f} ms"
        self._late_in_a_row = 0
        return Fault(Decision.SAFE_STOP, Reason.INFERENCE_LATE, text)

    def _gap_since_inference(self, now_ns: int) -> bool:
        last = self.policy.inferred_at_ns
        return last != NEVER and now_ns - last > self._settings.reset_after_ns

    def _decide(self, decision: Decision, inferred: bool) -> Array | None:
        if decision is Decision.RUN:
            command = self._command.follow(self.policy.decoder.target_now(), self._settings)
            if inferred:
                self.policy.commanded(command)
            return command
        if decision is not Decision.STARTING:
            return self._command.stop(self._settings, decision is Decision.SAFE_STOP)
        if self.safety.reason is Reason.MOVING:
            return self._command.move(self._start_pose.target, self._settings)
        self._start_pose.interrupt()
        # An earlier command must not continue: a move, or a run that a clock jump ended.
        return self._command.stop(self._settings) if self._command.commanded else None

    def _start_over(self, now_ns: int) -> Decision:
        """Move to the start pose before the policy again, after a SAFE_STOP was armed."""
        self._restart()
        self.safety.reset()
        self._start_pose.restart()
        return self.safety.judge(now_ns, self._start_pose.fault(self._settings), self._settings)

    def stopped_by_guard(self) -> None:
        """Continue from the guard's command after it stopped the outputs: limits and blends."""
        self._tell("stopped_by_guard")
        self._command.stopped_by_guard()

    def refuse(self, now_ns: int, fault: Fault) -> Array | None:
        """Replace this tick's command, which must not be sent, with a stop; see `Command.last`.

        Args:
            now_ns: on the loop's clock.
            fault: why the command must not be sent.
        """
        self._command.take_back()
        self.safety.judge(now_ns, fault, self._settings)
        self._start_pose.interrupt()
        self._phase = 0
        command = self._command.last(self._settings)
        if self.recorder is not None:
            self.recorder.refused(now_ns, fault, command)
        return command

    def refuse_old(self, now_ns: int, age_ns: int) -> Array | None:
        """Call `refuse` because the tick began `age_ns` ago."""
        text = f"its tick began {age_ns / 1e9:.3f} s ago"
        return self.refuse(now_ns, Fault(Decision.HOLD, Reason.COMMAND_TOO_OLD, text))

    def stop_command(self) -> Array | None:
        """The final command before shutdown, see `Command.last`. None: no position to hold."""
        command = self._command.last(self._settings)
        if self.recorder is not None:
            self.recorder.ended(command)
        return command

    def reset(self) -> None:
        """Reset the policy, see `Policy.reset`. The next RUN begins with an inference."""
        self._tell("reset")
        self._restart()

    def _restart(self) -> None:
        self.policy.reset()
        self._phase = 0

    def time_jumped(self, forget_inputs: bool) -> None:
        """Reset after a jump of simulation time: phase, histories and ages are invalid.

        A latched SAFE_STOP stays.

        Args:
            forget_inputs: the next RUN waits for new messages.
        """
        self._tell("time_jumped")
        self._restart()
        self.safety.time_jumped()
        self._command.start_fresh()
        if self.safety.decision is not Decision.SAFE_STOP:
            self._start_pose.restart()
        if forget_inputs:
            self._forget_inputs()

    def _forget_inputs(self) -> None:
        for slot in self.slots.values():
            slot.forget()
        self._robot_watch.forget()

    def continue_from(self, before: Pipeline) -> None:
        """Take over from another policy between two ticks.

        This pipeline takes over the decision, everything latched, the operator, the counts and
        the last command. So the rate limit continues from that command. It does not take over
        histories and recurrent states.

        Args:
            before: the pipeline of the other policy.
        """
        self._tell("continue_from")
        self.safety, self.operator = before.safety, before.operator
        self.policy.inferences = before.policy.inferences
        self.late_inferences = before.late_inferences
        for name in self.slots.keys() & before.slots.keys():
            self.slots[name].count += before.slots[name].count
            self.slots[name].faults += before.slots[name].faults
        self._command.continue_from(before._command, self._settings)
        self._start_pose.continue_from(before._start_pose)

    def activate(self) -> None:
        """Return to the state after configure: nothing seen, nothing commanded, nothing latched.

        Exception: an emergency stop survives. While it is pressed the decision is SAFE_STOP;
        after that, nothing is commanded until ~/arm is called.
        """
        self._tell("activate")
        self._restart()
        armed = not (self._settings.require_arming or self.operator.latched)
        self.safety.activate(armed)
        self._late_in_a_row = 0
        self._forget_inputs()
        for slot in self.slots.values():
            slot.ages.clear()
        self._command.forget()
        self._start_pose.restart()
