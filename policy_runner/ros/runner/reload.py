"""Replaces the running policy. `Attempt` is one try; `Reload` serves the operator's requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from rclpy.task import Future
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from policy_runner.core.errors import Refusal
from policy_runner.robot.load import LoadedPolicy, bind_policy, read_policy
from policy_runner.robot.reload_gate import gate_problems
from policy_runner.ros.inputs.polling import PolledInput
from policy_runner.ros.inputs.texts import keep_texts
from policy_runner.ros.parameters.of_policy import PolicyParameters, policy_parameters
from policy_runner.ros.process.realtime import prepare_working_thread
from policy_runner.ros.runner.configure import ConnectedPolicy, connect
from policy_runner.ros.runner.handover import Handover, swap
from policy_runner.ros.runner.interface import RunnerNode
from policy_runner.ros.runner.kept_topics import Left, wait_for

_HEARD_WITHIN_S = 1.0
_SWAPPED_WITHIN_S = 0.5
_LOADED_WITHIN_S = 0.5  # after the attempt was cancelled
_LEFT_WITHIN_S = 0.2  # when the node stops
_LOOK_AGAIN_S = 0.005
# Setting `policy` blocks the executor, and so diagnostics, for at most this long.
_CHECKED_WITHIN_S = 1.0


class Attempt:
    """One reload: load the policy in a thread of its own, wait for its inputs, swap.

    The executor calls `advance` repeatedly. It never waits for long, and raises Refusal if the
    old policy continues. `leaving` has pairs: whether objects may be destroyed, and how.
    """

    def __init__(
        self, node: RunnerNode, before: ConnectedPolicy, path: str, arguments: list[str]
    ) -> None:
        """Begin to load the policy at `path`; `arguments` are those of the process."""
        self.path = path
        self.loaded_in_s = 0.0
        self.leaving: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        self._node = node
        self._before = before
        self._loop = node.loop
        self._present: dict[str, Any] = node.parameters.values()
        self._simulated = self._before.config.loop.simulated
        self._overrides = list(node.parameters.overrides)
        self._arguments = arguments
        self._plan: PolicyParameters | None = None
        self._loaded: LoadedPolicy | None = None
        self._refusal: Refusal | None = None
        self._ready = threading.Event()
        self._connected: ConnectedPolicy | None = None
        self._hear_until_s = 0.0
        self._given_up = False
        self._thread = threading.Thread(target=self._load, name="reload", daemon=True)
        self._thread.start()

    def wait_for_load(self, timeout_s: float) -> bool:
        """Wait until the policy is loaded or refused; False after the timeout."""
        return self._ready.wait(timeout_s)

    def _load(self) -> None:
        prepare_working_thread()
        begun_s = time.monotonic()
        try:
            problems: list[Any] = []
            spec_file = read_policy(self.path, problems)
            if spec_file is None:
                raise Refusal(problems)
            parameters = self._node.parameters
            plan = policy_parameters(
                parameters, self._present, spec_file, self._overrides, self._arguments
            )
            plan.values["policy"] = self.path
            # The description received in configure, if the limits come from a topic.
            plan.values["robot_description"] = self._before.values.get("robot_description")
            gate = partial(gate_problems, plan.values, spec_file)
            if closed := gate():  # then it is not even loaded next to the running policy
                raise Refusal([*plan.problems, *closed])
            found = plan.problems, plan.warnings
            loaded = bind_policy(spec_file, plan.values, self._simulated, *found, gate)
            loaded.pipeline.activate()
            self._plan, self._loaded = plan, loaded
            if self._given_up:
                loaded.model.close()
        except Refusal as refusal:
            self._refusal = refusal
        except Exception as error:  # noqa: BLE001 - after any error the old policy continues
            self._refusal = Refusal([f"{type(error).__name__}: {error}"])
        self.loaded_in_s = time.monotonic() - begun_s
        self._ready.set()

    def advance(self) -> ConnectedPolicy | None:
        """Do the next step if it is possible; return the new policy once it runs, else None.

        Raises:
            Refusal: the reason why the old policy continues.
        """
        if not self._ready.is_set():
            return None
        if self._node.loop is not self._loop or self._node.configured is not self._before:
            raise Refusal(["reload: expected the node to stay as it was, got another transition"])
        if self._loop is not None and not self._loop.running:
            raise Refusal([f"reload: the control thread has ended: {self._loop.error}"])
        if self._connected is None:
            if self._refusal is not None or self._loaded is None:
                raise self._refusal or Refusal(["reload: nothing was loaded"])
            loaded, self._loaded = self._loaded, None
            self._connected = connect(
                self._node,
                loaded,
                self._node.estop,
                self._node.guard,
                self._before,
                self._node.black_box,
            )
            self._connected.tell_guard(keep=True)
            self._begin_to_hear(self._connected)
        if not self._heard(self._connected):
            return None
        return self._swap(self._connected)

    def _begin_to_hear(self, connected: ConnectedPolicy) -> None:
        """Let the loop fill the new inputs in addition to the old ones: no tick misses an input."""
        self._hear_until_s = time.monotonic() + _HEARD_WITHIN_S
        old = {one.polled.subscription: one for one in self._before.inputs}
        pairs = [(old.get(one.polled.subscription), one) for one in connected.inputs]
        give_texts = keep_texts(pairs)
        loop = self._loop
        if loop is None:
            give_texts()
            return

        def hear() -> None:
            give_texts()
            for before, one in pairs:
                if before is not None:
                    before.also = one
            loop.hear([one for before, one in pairs if before is None])

        loop.call(hear)

    def _heard(self, connected: ConnectedPolicy) -> bool:
        if self._loop is None:
            return True
        late = time.monotonic() > self._hear_until_s
        fed = {one.also: one for one in self._before.inputs if one.also is not None}
        silent = []
        for one in connected.inputs:
            name = one.slot.name
            if one.slot.missing() and not self._is_silent_anyway(connected, name, fed.get(one)):
                silent.append(f"input {name} ({one.slot.spec.topic}): expected a message within "
                              f"{_HEARD_WITHIN_S:g} s, got {one.slot.missing()}")  # fmt: skip
        if silent and late:
            raise Refusal(silent)
        return not silent

    def _is_silent_anyway(
        self, connected: ConnectedPolicy, name: str, fed_by: PolledInput | None
    ) -> bool:
        """Whether a silent input does not prevent the swap.

        It may be silent by its `on_stale: zero`, or it is silent for the running policy, too.
        """
        rule = connected.pipeline.settings.inputs[name]
        if fed_by is None:
            return rule.on_stale == "zero"
        age_ns = self._before.loop_clock_ns - fed_by.slot.oldest_ns
        return bool(fed_by.slot.missing()) or age_ns > rule.max_age_ns

    def _swap(self, connected: ConnectedPolicy) -> ConnectedPolicy:
        self._take_live_changes(connected)
        loop, before = self._loop, self._before
        may_go = Left(lambda: True, lambda: True)
        if loop is not None:
            connected.prepare_ticker(loop)
            handover = Handover(loop)
            swap(handover, lambda: connected.take_over(loop, before), _SWAPPED_WITHIN_S)
            may_go = Left(handover.has_ticked, lambda: before.acknowledged(but=connected))
        elif connected.status is not None:
            connected.status.set_period(connected.pipeline.settings.period_ns)
        # The new policy runs: errors from here on become warnings, and nothing is undone.
        self._connected = None
        for what, do in (
            ("~/joint_gains", connected.tell_gains),
            ("~/outputs", connected.tell_guard),
            ("parameters", self._commit),
        ):
            try:
                do()
            except Exception as error:  # noqa: BLE001 - see above
                connected.policy.warnings.append(
                    f"reload: {what} failed: {type(error).__name__}: {error}"
                )
        # After publishing the gains: their publisher may be one that is kept.
        self.leaving.append((may_go, lambda: before.destroy(but=connected)))
        return connected

    def _commit(self) -> None:
        if self._plan is not None:
            self._plan.commit(self._node.parameters)

    def _take_live_changes(self, connected: ConnectedPolicy) -> None:
        """Apply to the new policy the parameters that were set during the load."""
        parameters = self._node.parameters
        changed = {
            name: value
            for name, value in parameters.values().items()
            if name in connected.values
            and name != "policy"
            and parameters.row(name).live
            and value != self._present.get(name, value)
        }
        if changed:
            connected.policy.change(changed)

    def give_up(self) -> None:
        """Undo this attempt; the old policy continues."""
        connected, loop, before = self._connected, self._loop, self._before
        self._connected, self._given_up = None, True
        # A process that ends while a model runtime is loading may crash.
        self._thread.join(_LOADED_WITHIN_S)
        if self._loaded is not None:
            self._loaded.model.close()
        if connected is None:
            return
        before.tell_guard()
        undone = threading.Event()

        def undo() -> None:
            for one in before.inputs:
                one.also = None
            if loop is not None:
                loop.hear_only(before.inputs)
            undone.set()

        if loop is not None and loop.running:
            loop.call(undo)
            over = lambda: undone.is_set() or not loop.running  # noqa: E731
            self.leaving.append((over, lambda: connected.destroy(but=before)))
        else:
            undo()
            connected.destroy(but=before)


class Reload:
    """Serves `~/reload` and a new value of `policy`, one attempt at a time."""

    def __init__(self, node: RunnerNode, arguments: list[str]) -> None:
        self.count = 0  # number of policies that were swapped in
        self._node = node
        self._arguments = arguments
        self._attempt: Attempt | None = None
        self._leaving: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        self._timer: Timer | None = None
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._asked: list[Future] = []
        self._restore: str | None = None  # old value of `policy`, set again if the new one fails
        self._answer = (False, "")
        # Its own group: other callbacks run while this service waits for its answer.
        node.create_service(
            Trigger, "~/reload", self._serve, callback_group=ReentrantCallbackGroup()
        )

    async def _serve(self, _request: Any, response: Trigger.Response) -> Trigger.Response:
        if self._attempt is not None:
            response.success, response.message = False, "a reload is already in progress"
            return response
        if self._node.configured is None:
            response.success, response.message = False, "the node is not configured"
            return response
        self._begin(self._node.parameters.value("policy"))
        done: Future = Future()
        self._asked.append(done)
        response.success, response.message = await done
        return response

    def take(self, path: str) -> str:
        """Check a new value of `policy` and begin to reload it; returns '' or the refusal.

        If loading takes longer than 1 s, this returns '' and the load continues. If it fails
        later, the parameter gets its old value back.
        """
        if self._restore is not None and path == self._restore:
            return ""
        if self._attempt is not None:
            return "parameter policy: a reload is in progress; set it again when it has ended"
        attempt = self._begin(path)
        if attempt.wait_for_load(_CHECKED_WITHIN_S):
            self._look()
            if self._attempt is None and not self._answer[0]:
                return self._answer[1]
        self._restore = self._node.parameters.value("policy") if self._attempt else None
        return ""

    def stopped(self) -> None:
        """End a running attempt and release what reloads left behind; the loop has ended."""
        if self._attempt is not None:
            self._end(False, "the node was deactivated during the reload")
        leaving, self._leaving = self._leaving, []
        for may_go, destroy in leaving:
            wait_for(may_go, _LEFT_WITHIN_S)
            self._try(destroy)
        self._rest()

    def _begin(self, path: str) -> Attempt:
        before = self._node.configured
        assert before is not None
        self._restore = None
        self._attempt = Attempt(self._node, before, path, self._arguments)
        if self._timer is None:
            self._timer = self._node.create_timer(
                _LOOK_AGAIN_S,
                self._look,
                # Its own group, because a group keeps dead references to destroyed timers.
                callback_group=MutuallyExclusiveCallbackGroup(),
                clock=self._clock,
            )
        return self._attempt

    def _look(self) -> None:
        attempt = self._attempt
        if attempt is not None:
            try:
                connected = attempt.advance()
            except Refusal as refusal:
                self._end(False, "; ".join(str(problem) for problem in refusal.problems))
            except Exception as error:  # noqa: BLE001 - after any error the old policy continues
                self._end(False, f"{type(error).__name__}: {error}")
            else:
                if connected is not None:
                    self.count += 1
                    self._node.adopt(connected)
                    text = f"{connected.spec.name} runs, loaded in {attempt.loaded_in_s:.2f} s"
                    self._end(True, text, connected.policy.warnings)
        leaving, self._leaving = self._leaving, []
        for may_go, destroy in leaving:
            if may_go():
                self._try(destroy)
            else:
                self._leaving.append((may_go, destroy))
        self._rest()

    def _try(self, destroy: Callable[[], None]) -> None:
        """Call `destroy` and log its error. No retry, because a later try would fail as well."""
        try:
            destroy()
        except Exception as error:  # noqa: BLE001 - the other objects must still be released
            text = f"{type(error).__name__}: {error}"
            self._node.get_logger().error(f"reload: could not release everything: {text}")

    def _rest(self) -> None:
        if self._attempt is None and not self._leaving and self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _end(self, success: bool, text: str, warnings: list[str] | None = None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        asked, self._asked = self._asked, []
        restore, self._restore = self._restore, None
        self._answer = (success, text)
        try:
            if not success:
                self._try(attempt.give_up)
            self._leaving += attempt.leaving
            self._say(success, text, attempt.path, warnings or [])
            if restore is not None and not success:
                self._restore = restore  # `take` accepts this value
                self._node.set_parameters([Parameter("policy", value=restore)])
        finally:
            self._restore = None
            for future in asked:
                future.set_result((success, text))

    def _say(self, success: bool, text: str, path: str, warnings: list[str]) -> None:
        connected = self._node.configured
        if connected is not None:
            connected.policy.description["reloads"] = self.count
            connected.policy.description["last reload"] = text
        logger = self._node.get_logger()
        for warning in warnings:
            logger.warning(warning)
        if success:
            logger.info(f"reloaded: {text}")
        else:
            logger.error(f"could not reload {path}, the running policy continues: {text}")
