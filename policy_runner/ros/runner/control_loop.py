"""The control thread: wait, take, step, publish, account; at the end the defined last command.

It never logs, and waits for another thread at its end at most: it counts, the executor reports.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.pipeline.pipeline import Pipeline, Step
from policy_runner.core.safety.loop_watch import LoopWatch
from policy_runner.core.settings import Settings
from policy_runner.core.timing import Window
from policy_runner.ros.inputs.estop import EstopInput
from policy_runner.ros.inputs.polling import PolledInput
from policy_runner.ros.outputs.command_publisher import CommandPublisher
from policy_runner.ros.outputs.heartbeat import StatusPublisher
from policy_runner.ros.outputs.vectors import VectorPublisher
from policy_runner.ros.runner.ticker import Ticker

_WINDOWS = (
    *("wake_up", "period", "observation", "inference", "publish", "step"),
    "input_to_action",  # age of the oldest input used, until its command was published
)
_ACKNOWLEDGED_WITHIN_S = 0.4


class ControlLoop:
    """Runs a pipeline in its own thread, from `start` to `stop`."""

    def __init__(
        self,
        pipeline: Pipeline,
        ticker: Ticker,
        inputs: Sequence[PolledInput],
        commands: CommandPublisher,
        status: StatusPublisher,
        prepare_thread: Callable[[], None],
        stamp_clock: Callable[[], int] | None,
        answers: bool,
        window: int,
        dry_run: bool,
        vectors: VectorPublisher | None = None,
        estop: EstopInput | None = None,
        watch: LoopWatch | None = None,
    ) -> None:
        """`stamp_clock` gives stamps [ns]; None: the tick's own time (simulation time).

        `answers`: say something in every tick, a status where there is no command (lockstep).
        `dry_run`: the commands go to nobody, so there is no last one to send either.
        `watch`: judges this loop and the executor that beats in it; None: nobody does.
        """
        self.pipeline = pipeline
        self.windows = {name: Window(window) for name in _WINDOWS}
        self.ticks = 0
        self.error: BaseException | None = None
        self.last_command_acknowledged: bool | None = None
        self._ticker = ticker
        self._inputs = inputs
        self._commands = commands
        self._status = status
        self._prepare_thread = prepare_thread
        self._stamp_clock = stamp_clock
        self._answers = answers
        self._dry_run = dry_run
        self._vectors = vectors
        self._estop = estop
        self._watch = watch
        self._arrival = "stamp" if answers else "waited" if stamp_clock else "now"
        self._stopping = threading.Event()
        self._calls: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._last_tick_ns = 0
        self._last: tuple[npt.NDArray[np.float64] | None, int] = (None, 0)
        self._ended = threading.Lock()  # taken by who sends the last command, never given back

    @property
    def missed(self) -> int:
        """Deadlines that were skipped."""
        return self._ticker.missed

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ask for the end and wait for it, at most so long; True when the thread is gone.

        If it does not come (an inference that hangs), the last command goes out from here.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            return True
        # Not in this thread: what it hangs in may be the publishing.
        finishing = threading.Thread(target=self._finish, name="last command", daemon=True)
        finishing.start()
        finishing.join(_ACKNOWLEDGED_WITHIN_S + 0.1)
        return False

    def swap_settings(self, settings: Settings, pipeline: Pipeline) -> None:
        """Use these from the next tick on, unless another policy has taken over by then."""

        def use() -> None:
            if self.pipeline is pipeline:
                pipeline.settings = settings

        self.call(use)

    def call(self, function: Callable[[], None]) -> None:
        """Have the control thread call this between two ticks, in this order."""
        self._calls.append(function)

    def hear(self, also: Sequence[PolledInput]) -> None:
        """Take these inputs' messages too, for a policy to come; between two ticks, by `call`."""
        self._inputs = [*self._inputs, *also]

    def hear_only(self, inputs: Sequence[PolledInput]) -> None:
        """Take the messages of these only; between two ticks, by `call`."""
        self._inputs = inputs

    def take_over(
        self,
        pipeline: Pipeline,
        ticker: Ticker,
        inputs: Sequence[PolledInput],
        commands: CommandPublisher,
        vectors: VectorPublisher | None,
    ) -> None:
        """Go on with another policy; between two ticks, by `call`."""
        if pipeline.settings.period_ns != self.pipeline.settings.period_ns:
            self._last_tick_ns = 0
        ticker.continue_from(self._ticker)
        commands.continue_from(self._commands)
        for one in self._inputs:
            one.hand_over()
        self.pipeline, self._ticker, self._inputs = pipeline, ticker, inputs
        self._commands, self._vectors = commands, vectors

    def answer_again(self) -> None:
        """Say once more what the last tick said."""
        command, stamp_ns = self._last
        if command is not None:
            self._commands.publish(command, stamp_ns, self.pipeline.manner)
        else:
            self._status.publish(self.pipeline.safety, self.ticks, self._ticker.now_ns)

    def _run(self) -> None:
        try:
            # numpy would warn on stderr about inf and NaN, which the pipeline judges itself.
            np.seterr(all="ignore")
            self._prepare_thread()
            self.pipeline.activate()
            self._ticker.start()
            if self._watch is not None:
                self._watch.begin(time.monotonic_ns())
            stopping = self._stopping.is_set
            while not stopping():
                now_ns = self._ticker.wait()
                if now_ns is not None and not stopping():
                    self._tick(now_ns)
        except BaseException as error:  # noqa: BLE001 - kept for the executor, which reports it
            self.error = error
        finally:
            self._finish()

    def _tick(self, now_ns: int) -> None:
        while self._calls:
            self._calls.pop(0)()
        if self._ticker.jumped:
            self._ticker.jumped = False
            # In lockstep the inputs of the new time are there already, by their stamps.
            self.pipeline.time_jumped(forget_inputs=self._arrival == "now")
        for one in self._inputs:
            one.drain(now_ns, self._arrival)
        if self._estop is not None:
            self._estop.drain(self.pipeline.operator)
        outer = None
        if self._watch is not None:
            settings = self.pipeline.settings
            outer = self._watch.fault(time.monotonic_ns(), self._ticker.missed, settings)
        step = self.pipeline.step(now_ns, outer)
        if self._ended.locked():
            return  # the last command is out: nothing may follow it
        stamp_ns = self._stamp_clock() if self._stamp_clock is not None else now_ns
        if step.command is not None:
            self._commands.publish(step.command, stamp_ns, self.pipeline.manner)
        published_ns, since_tick_ns = time.perf_counter_ns(), time.monotonic_ns() - now_ns
        if step.inferred and self._vectors is not None:
            self._vectors.publish()
        quiet = step.command is None or self._dry_run
        self._last = (None if quiet else step.command, stamp_ns)
        if not self._answers:
            self._status.tick(self.pipeline.safety, self.ticks, stamp_ns)
        elif quiet:
            # In lockstep a status says "no command for this stamp", so it stays away otherwise.
            self._status.publish(self.pipeline.safety, self.ticks, stamp_ns)
        self._account(step, now_ns, published_ns, since_tick_ns)

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
        if step.command is not None and self._arrival == "waited":
            windows["input_to_action"].add(self.pipeline.worst_age_ns + since_tick_ns)
        self.ticks += 1

    def _finish(self) -> None:
        """The defined last command: exempt from the rate limit, waited for until it has left.

        After a failure the heartbeat says so as well, once; then it falls silent.
        """
        if not self._ended.acquire(blocking=False):
            return
        stamp_ns = self._stamp_clock() if self._stamp_clock is not None else self._last[1]
        try:
            command = self.pipeline.stop_command()
            if command is not None and not self._dry_run:
                self._commands.publish(command, stamp_ns, self.pipeline.manner)
                self.last_command_acknowledged = self._commands.wait_for_acknowledgement(
                    _ACKNOWLEDGED_WITHIN_S
                )
        except BaseException as error:  # noqa: BLE001 - the thread ends either way
            self.error = self.error or error
        if self.error is not None:
            self.pipeline.safety.fail(f"{type(self.error).__name__}: {self.error}")
            with contextlib.suppress(BaseException):
                self._status.publish(self.pipeline.safety, self.ticks, stamp_ns)
