"""The services that people call: each hands a question to the control thread and waits, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from std_srvs.srv import Trigger

from policy_runner.ros.runner.control_loop import ControlLoop
from policy_runner.ros.runner.handover import Question

_ANSWER_WITHIN_S = 0.5
Ask = Callable[[ControlLoop, "Question"], None]


class RunnerServices:
    """`~/arm`, `~/disarm`, `~/reset` of a node with a `loop`."""

    def __init__(self, node: Any) -> None:
        self._node = node
        for name, ask in (("arm", _arm), ("disarm", _disarm), ("reset", _reset)):
            node.create_service(Trigger, f"~/{name}", self._asking(ask))

    def _asking(self, ask: Ask) -> Callable[[Any, Any], Any]:
        def serve(_request: Any, response: Any) -> Any:
            loop: ControlLoop | None = self._node.loop
            if loop is None:
                response.success, response.message = False, "the node is not active"
            elif not loop.running:
                response.success = False
                response.message = f"the control thread has ended: {loop.error or 'as asked'}"
            else:
                question = Question()
                loop.call(lambda: ask(loop, question))
                if question.wait(_ANSWER_WITHIN_S):
                    response.success, response.message = question.accepted, question.message
                else:
                    response.success = False
                    response.message = (
                        f"no answer within {_ANSWER_WITHIN_S:g} s, withdrawn: the control loop "
                        "does not tick (is the simulator paused?)"
                    )
            return response

        return serve


def _arm(loop: ControlLoop, question: Question) -> None:
    loop.pipeline.operator.ask_to_arm(question.answer)


def _disarm(loop: ControlLoop, question: Question) -> None:
    # Also when nobody waits for the answer any more: stopping late is better than not at all.
    loop.pipeline.safety.disarm()
    question.answer(True, "disarmed: call ~/arm to go on")


def _reset(loop: ControlLoop, question: Question) -> None:
    if question.answer(True, "histories, recurrent state and the last action start anew"):
        loop.pipeline.reset()
