"""The control thread: wait, take, step, publish, account; at the end the defined last command.

It never logs: it counts, and the executor reports. It waits for another thread only at its end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_runner.core.pipeline.pipeline import Pipeline, Step
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.safety.loop_watch import LoopWatch
from policy_runner.core.settings import SHORTEST_SILENCE_NS, Settings
from policy_runner.core.timing import Window
from policy_runner.ros.inputs.estop import EstopInput
from policy_runner.ros.inputs.guard_report import GuardReport
from policy_runner.ros.inputs.polling import PolledInput
from policy_runner.ros.outputs.command_publisher import CommandPublisher
from policy_runner.ros.outputs.heartbeat import StatusPublisher
from policy_runner.ros.outputs.vectors import VectorPublisher
from policy_runner.ros.runner.ticker import Ticker

_WINDOWS = (
    *("wake_up", "period", "observation", "inference", "publish", "step"),
    "input_to_action",  # age of the oldest input used, when its command was published
)
_ACKNOWLEDGED_WITHIN_S = 0.4
_GUARD_MISSING = Fault(
    Decision.HOLD,
    Reason.GUARD_MISSING,
    "policy_runner_guard is not heard: start it, or set safety.require_guard: false",
)
_PUBLISHED_WITHIN_S = 0.1


@dataclass(frozen=True)
class LoopPorts:
    """Sources and destinations of a loop's ticks and messages, for one policy."""

    ticker: Ticker  # sleeps until the next tick
    inputs: Sequence[PolledInput]  # drained before each step
    commands: CommandPublisher
    status: StatusPublisher  # the heartbeat ~/status
    vectors: VectorPublisher | None = None  # the model's inputs and outputs; None: not published
    estop: EstopInput | None = None  # ~/estop, drained before each step; None: no emergency stop
    guard: GuardReport | None = None  # read with every heartbeat; None: no guard


@dataclass(frozen=True)
class LoopOptions:
    """How a loop runs. Independent of the policy, and fixed while the loop runs."""

    dry_run: bool  # commands go to ~/dry_run, and no last command is sent
    lockstep: bool  # every tick is answered: by a command, or by a status if it has no command
    window: int  # number of newest ticks that `windows` keeps durations of


class ControlLoop:
    """Runs a pipeline in its own thread, from `start` to `stop`."""

    _inputs: Sequence[PolledInput]  # during a reload also inputs of the next policy

    def __init__(
        self,
        pipeline: Pipeline,
        ports: LoopPorts,
        options: LoopOptions,
        prepare_thread: Callable[[], None],
        stamp_clock: Callable[[], int] | None,
        watch: LoopWatch | None = None,
    ) -> None:
        """Create a loop; `start` starts its thread.

        Args:
            pipeline: steps once in each tick.
            ports: sources and destinations of ticks and messages.
            options: how to run.
            prepare_thread: called first in the control thread: sets priority and exact sleeps.
            stamp_clock: returns the stamps of commands [ns]; None: the stamp is the tick's time,
                which is simulation time.
            watch: checks that this loop and the executor are punctual; None: no check.
        """
        self.pipeline = pipeline
        self.windows = {name: Window(options.window) for name in _WINDOWS}
        self.ticks = 0
        self.error: BaseException | None = None
        self.last_command_acknowledged: bool | None = None
        self._use(ports)
        self._prepare_thread = prepare_thread
        self._stamp_clock = stamp_clock
        self._lockstep = options.lockstep
        self._dry_run = options.dry_run
        self._watch = watch
        self._arrival = "stamp" if options.lockstep else "waited" if stamp_clock else "now"
        self._stopping = threading.Event()
        self._calls: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._last_tick_ns = 0
        self._last: tuple[npt.NDArray[np.float64] | None, int] = (None, 0)
        self._beat = True  # the last tick sent a heartbeat
        self._guard_acted = False  # this tick learned that the guard has stopped the outputs
        self._left: npt.NDArray[np.float64] | None = None  # the command of the newest tick
        self._ended = threading.Lock()  # its holder sends the last command; never released
        self._publishing = threading.Lock()  # held while a command, or the last one, is published

    @property
    def missed(self) -> int:
        """Number of deadlines that were skipped."""
        return self._ticker.missed

    @property
    def running(self) -> bool:
        """Whether the control thread is alive."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ask the control thread to end and wait at most `timeout_s`; True when it has ended.

        If it does not end (an inference hangs), this call sends the last command.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            return True
        self.error = self.error or TimeoutError(f"it did not end within {timeout_s:g} s")
        self._fail(self.error)
        # Not in the calling thread: the control thread may hang in publishing, and this would too.
        finishing = threading.Thread(target=self._finish, name="last command", daemon=True)
        finishing.start()
        finishing.join(_ACKNOWLEDGED_WITHIN_S + 0.1)
        return False

    def swap_settings(self, settings: Settings, pipeline: Pipeline) -> None:
        """Use `settings` from the next tick on, if `pipeline` is still the one that runs then."""

        def use() -> None:
            if self.pipeline is pipeline:
                pipeline.settings = settings

        self.call(use)

    def call(self, function: Callable[[], None]) -> None:
        """Have the control thread call `function` between two ticks, in the order of the calls."""
        self._calls.append(function)

    def hear(self, also: Sequence[PolledInput]) -> None:
        """Also drain these inputs of the next policy. Call it between two ticks, by `call`."""
        self._inputs = [*self._inputs, *also]

    def hear_only(self, inputs: Sequence[PolledInput]) -> None:
        """Drain only these inputs. Call it between two ticks, by `call`."""
        self._inputs = inputs

    def observe(self, observer: Callable[[Step, int], None]) -> None:
        """Call `observer(step, now_ns)` at the end of every tick, for a benchmark.

        Costs nothing if it is not used. Use it once per loop.
        """
        account = self._account

        def observed(step: Step, now_ns: int, published_ns: int, since_tick_ns: int) -> None:
            observer(step, now_ns)
            account(step, now_ns, published_ns, since_tick_ns)

        self._account = observed  # type: ignore[method-assign]

    def take_over(self, pipeline: Pipeline, ports: LoopPorts) -> None:
        """Continue with another policy. Call it between two ticks, by `call`."""
        if pipeline.settings.period_ns != self.pipeline.settings.period_ns:
            self._last_tick_ns = 0
        ports.ticker.continue_from(self._ticker)
        damped = self.pipeline.settings.stops.position == "damping"
        ports.commands.continue_from(self._commands, damped)
        for one in self._inputs:
            one.hand_over()
        self.pipeline = pipeline
        self._use(ports)

    def _use(self, ports: LoopPorts) -> None:
        # Copied to the loop, because a tick reads them faster here than from `ports`.
        self._ticker = ports.ticker
        self._inputs = ports.inputs
        self._commands = ports.commands
        self._status = ports.status
        self._vectors = ports.vectors
        self._estop = ports.estop
        self._guard = ports.guard

    def answer_again(self) -> None:
        """Repeat the answer of the last tick: its command, or the status."""
        command, stamp_ns = self._last
        if command is not None:
            now_ns = self._ticker.now_ns
            self._publish(command, stamp_ns, now_ns, time.monotonic_ns())
        else:
            self._status.publish(self.pipeline.safety, self.ticks, self._ticker.now_ns)

    def _run(self) -> None:
        try:
            # numpy would warn on stderr about inf and NaN; the pipeline checks for them itself.
            np.seterr(all="ignore")
            self._prepare_thread()
            self.pipeline.activate()
            self._commands.begin()
            self._ticker.start()
            if self._watch is not None:
                self._watch.begin(time.monotonic_ns())
            stopping = self._stopping.is_set
            while not stopping():
                now_ns = self._ticker.wait()
                if now_ns is not None and not stopping():
                    self._tick(now_ns)
                elif now_ns is None and self._arrival == "now":
                    self._status.idle(self.pipeline.safety, self.ticks, self._last[1])
        except BaseException as error:  # noqa: BLE001 - kept for the executor, which reports it
            self.error = error
        finally:
            self._finish()

    def _tick(self, now_ns: int) -> None:
        began_ns = time.monotonic_ns()
        while self._calls:
            self._calls.pop(0)()
        if self._ticker.jumped:
            self._ticker.jumped = False
            # In lockstep the inputs with stamps of the new time have already arrived.
            self.pipeline.time_jumped(forget_inputs=self._arrival == "now")
        for one in self._inputs:
            one.drain(now_ns, self._arrival)
        if self._estop is not None:
            self._estop.drain(self.pipeline.operator)
        outer = None
        if self._watch is not None:
            settings = self.pipeline.settings
            outer = self._watch.fault(time.monotonic_ns(), self._ticker.missed, settings)
        outer = self._hear_guard() or outer
        step = self.pipeline.stepper(now_ns, outer, self._look_again)
        stamp_ns = self._stamp_clock() if self._stamp_clock is not None else now_ns
        if not self._publish(step.command, stamp_ns, now_ns, began_ns):
            return  # the last command was sent or is requested: nothing may follow it
        published_ns, since_tick_ns = time.perf_counter_ns(), time.monotonic_ns() - now_ns
        if step.inferred and self._vectors is not None:
            self._vectors.publish()
        quiet = self._left is None or self._dry_run
        self._last = (None if quiet else self._left, stamp_ns)
        self._status.commanding = not quiet
        if not self._lockstep:
            self._beat = self._status.tick(self.pipeline.safety, self.ticks, stamp_ns)
        elif quiet:
            # In lockstep a status means "no command for this stamp", so send it only then.
            self._status.publish(self.pipeline.safety, self.ticks, stamp_ns)
        self._account(step, now_ns, published_ns, since_tick_ns)

    def _is_silent(self) -> bool:
        """Whether the guard must have stopped the outputs: no heartbeat for too long."""
        guard, status = self._guard, self._status
        if guard is None or not status.commanding or not guard.is_watching():
            return False
        return time.monotonic_ns() - status.told_ns > guard.silence_ns

    def _hear_guard(self) -> Fault | None:
        """HOLD if the guard has stopped the outputs; it starts at the zeros that it commanded.

        After a silence above its limit the guard has acted, even before its report arrives: in a
        process that was suspended, the middleware wakes up no earlier than this thread.
        """
        guard = self._guard
        if guard is None:
            return None
        reason = ""
        if self._beat and guard.drain():
            reason = guard.reason
            if self._estop is not None:
                self._estop.hear_guard(guard.unanswered, self.pipeline.operator)
        elif self._is_silent():
            reason = f"no heartbeat for {(time.monotonic_ns() - self._status.told_ns) / 1e9:.2f} s"
        self._guard_acted = bool(reason)
        if reason:
            self.pipeline.stopped_by_guard()
            self._commands.stopped_by_guard()
            return Fault(Decision.HOLD, Reason.GUARD_ACTED, reason)
        required = self.pipeline.settings.require_guard and not self.pipeline.safety.is_armed
        return _GUARD_MISSING if required and not guard.is_present() else None

    def _look_again(self, late: bool) -> int:
        """After an inference: read ~/estop again; return the loop's time, updated if `late`."""
        if self._estop is not None:
            self._estop.drain(self.pipeline.operator)
        return self._ticker.look() if late else self._ticker.now_ns

    def _publish(
        self, command: npt.NDArray[np.float64] | None, stamp_ns: int, now_ns: int, began_ns: int
    ) -> bool:
        """Publish the command of the tick at `now_ns`, or the stop; False: nothing may be sent.

        The stop replaces a command that is not finite, exceeds its bounds, or is too old: its tick
        began (`began_ns`, monotonic) before the robot had to be stopped from outside this process.
        """
        # Another thread holds it only while it sends the last command; this thread never waits.
        if not self._publishing.acquire(blocking=False):
            return False
        try:
            if self._ended.locked() or self._stopping.is_set():
                return False
            self._left = command
            if command is None:
                self._commands.publish_owed(stamp_ns)
                return True
            pipeline = self.pipeline
            limits = pipeline.settings.limits
            age_ns = time.monotonic_ns() - began_ns
            if (self._is_silent() and not self._guard_acted) or (
                age_ns > SHORTEST_SILENCE_NS and self._is_too_old(age_ns, now_ns)
            ):
                self._left = pipeline.refuse_old(now_ns, age_ns)
            else:
                why = self._commands.publish(command, stamp_ns, pipeline.manner, limits)
                if not why:
                    return True
                fault = Fault(Decision.SAFE_STOP, Reason.COMMAND_REFUSED, why)
                self._left = pipeline.refuse(now_ns, fault)
            self._commands.end(self._left, stamp_ns, pipeline.manner, limits)
            return True
        finally:
            self._publishing.release()

    def _is_too_old(self, age_ns: int, now_ns: int) -> bool:
        """Whether the tick is too old: by the monotonic clock, and in simulation also by /clock."""
        longest_ns = self.pipeline.settings.longest_silence_ns
        return age_ns > longest_ns and self._ticker.look() - now_ns > longest_ns

    def _account(self, step: Step, now_ns: int, published_ns: int, since_tick_ns: int) -> None:
        windows = self.windows
        windows["wake_up"].add(self._ticker.wake_up_error_ns)
        if self._last_tick_ns:
            error = now_ns - self._last_tick_ns - self.pipeline.settings.period_ns
            windows["period"].add(error)
        self._last_tick_ns = now_ns
        windows["observation"].add(step.observed_ns - step.started_ns)
        if step.inferred:
            windows["inference"].add(step.inferred_ns - step.observed_ns)
        windows["publish"].add(published_ns - step.decided_ns)
        windows["step"].add(step.decided_ns - step.started_ns)
        if self._left is not None and self._arrival == "waited":
            windows["input_to_action"].add(self.pipeline.worst_age_ns + since_tick_ns)
        self.ticks += 1

    def _finish(self) -> None:
        """Send the defined last command, exempt from the rate limit; wait for acknowledgement.

        A final heartbeat reports it. The guard then knows why the heartbeat ends.
        """
        if not self._ended.acquire(blocking=False):
            return
        if self.error is not None:
            self._fail(self.error)
        stamp_ns = self._stamp_clock() if self._stamp_clock is not None else self._last[1]
        # A tick that is publishing now finishes soon, or hangs there.
        alone = self._publishing.acquire(timeout=_PUBLISHED_WITHIN_S)
        try:
            if not self._dry_run:
                self._publish_last(stamp_ns)
        except BaseException as error:  # noqa: BLE001 - the thread ends either way
            self.error = self.error or error
        finally:
            if alone:
                self._publishing.release()
        if self.error is not None:
            self._fail(self.error)
        self._status.commanding = False
        if self.error is not None or not self._lockstep:
            with contextlib.suppress(BaseException):
                self._status.publish(self.pipeline.safety, self.ticks, stamp_ns)

    def _fail(self, error: BaseException) -> None:
        self.pipeline.safety.fail(f"{type(error).__name__}: {error}")

    def _publish_last(self, stamp_ns: int) -> None:
        command = None
        try:
            command = self.pipeline.stop_command()
        except BaseException as error:  # noqa: BLE001 - send the last command without it
            self.error = self.error or error
        self._commands.end(command, stamp_ns, self.pipeline.manner, self.pipeline.settings.limits)
        self.last_command_acknowledged = self._commands.wait_for_acknowledgement(
            _ACKNOWLEDGED_WITHIN_S
        )
