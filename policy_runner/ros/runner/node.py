"""The lifecycle node: configure loads and checks, activate starts the loop, deactivate ends it.

The node serves; the control thread (`control_loop`) works. Nothing here runs in a tick.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from policy_runner.core.errors import Refusal
from policy_runner.core.safety.operator_requests import Operator
from policy_runner.robot.parameters.runner import TABLE
from policy_runner.ros.black_box.keeper import BlackBox
from policy_runner.ros.inputs.estop import EstopInput
from policy_runner.ros.inputs.texts import say
from policy_runner.ros.parameters.declared import DeclaredParameters
from policy_runner.ros.parameters.of_policy import live_values
from policy_runner.ros.process.executor import ExecutorPulse
from policy_runner.ros.process.lifetime import ENDED_WELL, LOOP_FAILED, START_REFUSED
from policy_runner.ros.process.realtime import Granted, prepare_control_thread
from policy_runner.ros.runner.configure import ConnectedPolicy, configure
from policy_runner.ros.runner.control_loop import ControlLoop
from policy_runner.ros.runner.engine_wait import EngineWait
from policy_runner.ros.runner.guard_link import GuardLink
from policy_runner.ros.runner.interface import RunnerNode
from policy_runner.ros.runner.reload import Reload
from policy_runner.ros.runner.reports import RunnerReports
from policy_runner.ros.runner.services import RunnerServices

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_STOP_TIMEOUT_S = 1.5
_SILENCE_PERIOD_S = 1.0
_LOOK_PERIOD_S = 0.25


class PolicyRunner(RunnerNode):
    """`policy_runner`: docs/reference has its topics, services and parameters."""

    def __init__(
        self, granted: Granted | None = None, arguments: list[str] | None = None, **options: Any
    ) -> None:
        """Declare the parameters and create services, timers and the emergency stop's inputs.

        Args:
            granted: what the operating system granted this process; None: nothing was requested.
            arguments: of the process; they name the parameter files.
            options: passed to rclpy's node.
        """
        super().__init__("policy_runner", **options)
        self.ask_for_end: Callable[[], None] = lambda: None  # set by the process
        self._granted = granted or Granted()
        self._arguments = arguments or []
        self._configured: ConnectedPolicy | None = None
        self._loop: ControlLoop | None = None
        self._problems: list[str] = []
        self.parameters = DeclaredParameters(
            self, TABLE, may_change=lambda: self._configured is None, check=self._take_live
        )
        self.engine_wait = EngineWait(self)
        self._reports = RunnerReports(self, self.parameters, self._granted)
        # Steady time: diagnostics continue with use_sim_time and a paused simulator.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period = self.parameters.value("diagnostics.period")
        self.create_timer(period, self._report, clock=steady)
        explain = lambda: self._reports.explain_silence(self._configured)  # noqa: E731
        self.create_timer(_SILENCE_PERIOD_S, explain, clock=steady)
        self.pulse = ExecutorPulse(self)
        self.guard = GuardLink(self)
        # Independent of the policy.
        loop_error = lambda: self._loop.error if self._loop is not None else None  # noqa: E731
        self.black_box = BlackBox(self, self.parameters.value, loop_error)
        self.estop = EstopInput(self, self.parameters.value("estop.topics"))
        self.operator = Operator(self.estop.sources)
        self.create_timer(_LOOK_PERIOD_S, self._look_around, clock=steady)
        RunnerServices(self, self._reports.story.answered)
        self.reload = Reload(self, self._arguments)
        self._ending = False
        self._starting = threading.Lock()  # held while the loop starts, or by `end`
        self._exit_code = ENDED_WELL
        self._refused = False  # autostart was refused, and no activation has succeeded since
        self._start_timer = None
        if self.parameters.value("autostart"):
            self._start_timer = self.create_timer(0.0, self._autostart, clock=steady)
        else:
            self._tell_unconfigured()

    def _tell_unconfigured(self) -> None:
        name = self.get_fully_qualified_name()
        policy = self.parameters.value("policy")
        first = "" if policy else f"`ros2 param set {name} policy FOLDER`, then "
        self.get_logger().info(
            f"unconfigured, {f'policy {policy}' if policy else 'no policy'}: "
            f"{first}`ros2 lifecycle set {name} configure` and activate, or start with "
            "autostart:=true"
        )

    @property
    def configured(self) -> ConnectedPolicy | None:
        """The policy that configure connected; None before it, and after cleanup."""
        return self._configured

    @property
    def loop(self) -> ControlLoop | None:
        """The control loop; None while the node is not active."""
        return self._loop

    def adopt(self, connected: ConnectedPolicy) -> None:
        """Use this policy from now on: it was configured, or has replaced the present one."""
        connected.pipeline.operator = self.operator
        self._configured = connected
        self.black_box.use(connected.policy)

    # --- lifecycle: every callback catches all errors, logs one sentence each, and frees ---

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Load, check and warm up; refuse with all problems at once."""
        return self._guarded("configure", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the control loop."""

        def activate() -> None:
            super(PolicyRunner, self).on_activate(state)
            self._activate()

        return self._guarded("activate", activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Send the defined last command and stop the loop."""

        def deactivate() -> None:
            self._stop_loop(_STOP_TIMEOUT_S)
            self.reload.stopped()
            super(PolicyRunner, self).on_deactivate(state)

        return self._guarded("deactivate", deactivate)

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the topics."""
        return self._guarded("clean up", self.free)

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from any state."""
        return self._guarded("shut down", self.free)

    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything: the node is unconfigured again."""
        return self._guarded("recover from an error", self.free)

    def _guarded(self, verb: str, work: Callable[[], object]) -> TransitionCallbackReturn:
        try:
            work()
        except Refusal as refusal:
            self._problems = [str(problem) for problem in refusal.problems]
            for problem in self._problems:
                self.get_logger().error(problem)
            self.get_logger().error(f"could not {verb}: {len(self._problems)} problem(s), above")
        except Exception as error:  # noqa: BLE001 - rclpy would swallow an exception silently
            self._problems = [f"could not {verb}: {type(error).__name__}: {error}"]
            self.get_logger().error(self._problems[0])
        else:
            return SUCCESS
        # Free what is incomplete, unless a running thread still uses it.
        try:
            if verb == "activate":
                self._stop_loop(_STOP_TIMEOUT_S)
            elif verb == "configure":
                self.free()
        except Exception as error:  # noqa: BLE001 - as above
            self.get_logger().error(f"could not free what it made: {error}")
        return FAILURE

    def _configure(self) -> None:
        self.free()
        self._problems = []
        made = configure(
            self,
            self.parameters,
            self.engine_wait,
            self.estop,
            self.guard,
            self._arguments,
            self.black_box,
        )
        self.adopt(made)
        for warning in made.policy.warnings:
            self.get_logger().warning(warning)
        rate = 1e9 / made.pipeline.settings.period_ns
        self.get_logger().info(
            f"configured: {made.spec.name} at {rate:g} Hz on {made.policy.model.provider} "
            f"({made.policy.model.facts.get('chosen', 'as asked')}), "
            f"inputs {', '.join(made.spec.inputs)}, commands {made.command_topic}"
        )

    def _activate(self) -> None:
        made = self._configured
        if made is None:
            raise Refusal(["activate: expected a configured node, got none; configure first"])
        made.pipeline.settings = made.policy.settings_with(
            live_values(self.parameters, made.values)
        )
        priority = self.parameters.value("realtime.priority")
        loop = made.make_loop(
            lambda: prepare_control_thread(priority, self._granted), self.pulse.watch
        )
        self._reports.begin(made)
        self.estop.loss_is_press = not made.config.loop.simulated
        # The objects of configure stay alive: the garbage collector must not scan them in a tick.
        gc.collect()
        gc.freeze()
        with self._starting:
            if self._ending:
                raise Refusal(["activate: expected a process that continues, got one that ends"])
            self._loop = loop
            loop.start()
        self._refused = False

    def _stop_loop(self, timeout_s: float) -> bool:
        loop = self._loop
        if loop is None:
            return True
        if not loop.stop(timeout_s):
            # The thread still polls and publishes, so nothing that it uses may be freed.
            raise Refusal([f"the control thread did not end within {timeout_s:g} s"])
        gc.unfreeze()  # otherwise the frozen objects, such as the model, would never be freed
        # Report the final figures before the loop is forgotten.
        self._report()
        made = self._configured
        self._reports.story.tell(made.pipeline.safety if made else None, self.operator)
        if loop.last_command_acknowledged is False:
            self.get_logger().warning("the last command was not acknowledged by every receiver")
        self._loop = None
        return True

    def free(self) -> None:
        """Stop the loop if it runs, and release what configure created."""
        self._stop_loop(_STOP_TIMEOUT_S)
        self.reload.stopped()
        made, self._configured = self._configured, None
        if made is not None:
            self.black_box.drop()
            made.destroy()

    def end(self, timeout_s: float) -> bool:
        """Send the last command and stop the loop before the process ends; True if in time.

        The caller frees what configure created after the executor has ended (`free`).
        """
        with self._starting:  # from here on no loop can start, and `_loop` has a running one
            self._ending = True
        self.engine_wait.cancel()
        loop = self._loop
        if loop is not None and loop.error is not None:
            self._exit_code = LOOP_FAILED
        try:
            self.black_box.end()
            self._stop_loop(timeout_s)
        except Refusal as refusal:
            self.get_logger().error(str(refusal))
            return False
        return True

    @property
    def exit_code(self) -> int:
        """The exit code of the process, valid after `end` has returned True."""
        return START_REFUSED if self._refused else self._exit_code

    def _autostart(self) -> None:
        if self._start_timer is not None:
            self.destroy_timer(self._start_timer)
            self._start_timer = None
        started = self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS
        self._refused = not (started or self._ending)
        if self._refused and self.parameters.value("end_if_refused"):
            self.get_logger().error("autostart was refused: the process ends (end_if_refused)")
            self.ask_for_end()

    # --- live parameters, reports ---

    def _take_live(self, changed: Mapping[str, Any]) -> str:
        """Check a change and pass the new settings to the loop; returns '' or the refusal."""
        made, loop = self._configured, self._loop
        if made is None or not changed:
            return ""
        if "policy" in changed:
            if len(changed) > 1:
                return "parameter policy: once the node is configured, set it by itself"
            return self.reload.take(changed["policy"])
        try:
            settings = made.policy.settings_with(live_values(self.parameters, made.values, changed))
        except Refusal as refusal:
            return "; ".join(str(problem) for problem in refusal.problems)
        for name, slot in made.pipeline.slots.items():
            if settings.inputs[name].strict_stamp and not slot.stamped:
                expected = f"false, since a {slot.spec.type} has no header"
                return f"parameter inputs.{name}.strict_stamp: expected {expected}, got true"
        if loop is not None:  # otherwise the next activation uses them
            loop.swap_settings(settings, made.pipeline)
            made.tell_guard(settings=settings)
        if "prompt" in changed:

            def give() -> None:  # the control thread calls it, so the time is that of its tick
                say(made.inputs, changed["prompt"], made.loop_clock_ns)

            give() if loop is None else loop.call(give)
        return ""

    def _report(self) -> None:
        self._reports.publish(self._configured, self._loop, self._problems)

    def _look_around(self) -> None:
        running = self._loop is not None and self._loop.running
        self._reports.look_around(
            self._configured, running, self.estop, self.operator, self.pulse.watch
        )
