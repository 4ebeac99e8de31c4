"""`~/reload`, and a changed parameter `policy` while active: another policy, or none of it.

The new policy is loaded, checked and warmed up beside the running one, its inputs are heard
before it runs, and it takes over between two ticks; on any error the old one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Trigger

from policy_runner.core.errors import Refusal
from policy_runner.ros.runner.reload_attempt import Attempt

_LOOK_AGAIN_S = 0.005
# The executor is busy for so long at most when `policy` is set; diagnostics come later then.
_CHECKED_WITHIN_S = 1.0


class Reload:
    """Serves one attempt at a time for a node with `configured`, `loop`, `parameters`, `adopt`."""

    def __init__(self, node: Any, arguments: list[str]) -> None:
        self.count = 0  # of policies that were swapped in
        self._node = node
        self._arguments = arguments
        self._attempt: Attempt | None = None
        self._leaving: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        self._timer: Any = None
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._asked: list[Future] = []
        self._restore: str | None = None  # of `policy`, if what was set turns out to be wrong
        self._answer = (False, "")
        # Its own group: the answer comes when it is ready, and the others go on meanwhile.
        node.create_service(
            Trigger, "~/reload", self._serve, callback_group=ReentrantCallbackGroup()
        )

    async def _serve(self, _request: Any, response: Any) -> Any:
        if self._attempt is not None:
            response.success, response.message = False, "a reload is going on already"
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
        """Check a new value of `policy` and begin to reload it; '' or why it is refused.

        What takes longer than a second to load goes on beside; if it fails then, the parameter
        gets its old value back.
        """
        if self._restore is not None and path == self._restore:
            return ""
        if self._attempt is not None:
            return "parameter policy: a reload is going on; set it again when it has ended"
        attempt = self._begin(path)
        if attempt.wait_for_load(_CHECKED_WITHIN_S):
            self._look()
            if self._attempt is None and not self._answer[0]:
                return self._answer[1]
        self._restore = self._node.parameters.value("policy") if self._attempt else None
        return ""

    def stopped(self) -> None:
        """The loop has ended: nothing is polled any more, and no attempt goes on."""
        if self._attempt is not None:
            self._end(False, "the node was deactivated meanwhile")
        leaving, self._leaving = self._leaving, []
        for _, destroy in leaving:
            self._try(destroy)
        self._rest()

    def _begin(self, path: str) -> Attempt:
        self._restore = None
        self._attempt = Attempt(self._node, path, self._arguments)
        if self._timer is None:
            self._timer = self._node.create_timer(
                _LOOK_AGAIN_S,
                self._look,
                # Its own, since a group keeps dead references to what was destroyed.
                callback_group=MutuallyExclusiveCallbackGroup(),
                clock=self._clock,
            )
        return self._attempt

    def _look(self) -> None:
        attempt = self._attempt
        if attempt is not None:
            try:
                made = attempt.advance()
            except Refusal as refusal:
                self._end(False, "; ".join(str(problem) for problem in refusal.problems))
            except Exception as error:  # noqa: BLE001 - the old policy goes on whatever it was
                self._end(False, f"{type(error).__name__}: {error}")
            else:
                if made is not None:
                    self.count += 1
                    self._node.adopt(made)
                    text = f"{made.spec.name} runs, loaded in {attempt.loaded_in_s:.2f} s"
                    self._end(True, text, made.warnings)
        leaving, self._leaving = self._leaving, []
        for may_go, destroy in leaving:
            if may_go():
                self._try(destroy)
            else:
                self._leaving.append((may_go, destroy))
        self._rest()

    def _try(self, destroy: Callable[[], None]) -> None:
        """Give something back, once: what cannot be given back now could not be later either."""
        try:
            destroy()
        except Exception as error:  # noqa: BLE001 - the rest must be given back all the same
            text = f"{type(error).__name__}: {error}"
            self._node.get_logger().error(f"reload: could not give everything back: {text}")

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
                self._restore = restore  # what `take` lets through
                self._node.set_parameters([Parameter("policy", value=restore)])
        finally:
            self._restore = None
            for future in asked:
                future.set_result((success, text))

    def _say(self, success: bool, text: str, path: str, warnings: list[str]) -> None:
        made = self._node.configured
        if made is not None:
            made.description["reloads"] = self.count
            made.description["last reload"] = text
        logger = self._node.get_logger()
        for warning in warnings:
            logger.warning(warning)
        if success:
            logger.info(f"reloaded: {text}")
        else:
            logger.error(f"could not reload {path}, the running policy goes on: {text}")
