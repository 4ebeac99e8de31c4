"""The operator's services. Each gives its work to the control thread and waits at most 0.5 s."""

from __future__ import annotations

import time
from collections.abc import Callable

from std_srvs.srv import Trigger

from policy_runner.ros.runner.control_loop import ControlLoop
from policy_runner.ros.runner.handover import Handover
from policy_runner.ros.runner.interface import RunnerNode

_ANSWER_WITHIN_S = 0.5
_Work = Callable[[ControlLoop, Handover], None]  # called by the control thread
Told = Callable[[str, bool, str], None]  # the service, whether it was accepted, the answer
_Serve = Callable[[Trigger.Request, Trigger.Response], Trigger.Response]


class RunnerServices:
    """`~/arm`, `~/disarm`, `~/reset` of the node."""

    def __init__(self, node: RunnerNode, told: Told) -> None:
        """Create the services; `told` is called with every answer, for the log."""
        self._node = node
        self._told = told
        for name, work in (("arm", _arm), ("disarm", _disarm), ("reset", _reset)):
            node.create_service(Trigger, f"~/{name}", self._serving(f"~/{name}", work))

    def _serving(self, name: str, work: _Work) -> _Serve:
        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            loop = self._node.loop
            if loop is None:
                response.success, response.message = False, "the node is not active"
            elif not loop.running:
                response.success = False
                response.message = f"the control thread has ended: {loop.error or 'as asked'}"
            else:
                handover = Handover(loop)
                if handover.ask(lambda: work(loop, handover), _ANSWER_WITHIN_S):
                    response.success, response.message = handover.accepted, handover.message
                else:
                    response.success = False
                    response.message = (
                        f"no answer within {_ANSWER_WITHIN_S:g} s, withdrawn: the control loop "
                        "does not tick (is the simulator paused?)"
                    )
            self._told(name, response.success, response.message)
            return response

        return serve


def _arm(loop: ControlLoop, handover: Handover) -> None:
    # The next step answers, because it knows the reasons against arming.
    pipeline = loop.pipeline
    quiet_ns = pipeline.settings.estop_quiet_ns
    pipeline.operator.ask_to_arm(handover.answer, time.monotonic_ns(), quiet_ns)


def _disarm(loop: ControlLoop, handover: Handover) -> None:
    # Disarm even if the request was withdrawn: a late stop is better than none.
    loop.pipeline.operator.disarm(loop.pipeline.safety)
    handover.answer(True, "disarmed: call ~/arm to continue")


def _reset(loop: ControlLoop, handover: Handover) -> None:
    if handover.answer(True, "histories, recurrent state and the last action are reset"):
        loop.pipeline.reset()
