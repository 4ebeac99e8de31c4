"""The runner's process with callbacks that fail when a test requests it.

Services of type Trigger: ~/fault/service raises, ~/fault/timer lets a timer raise, ~/fault/block
blocks the executor for 2.5 s, ~/fault/loop raises in the control thread, ~/fault/recorder in the
black box. ~/fault/threads returns the threads' ids. ~/fault/wall_2040 sets the wall clock of the
stamps (not the clock of Fast DDS, which sends nothing by then). Setting safety.hold_recover to
1.23 raises in a parameter callback.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

BLOCKED_S = 2.5
RAISING_VALUE = 1.23
YEARS_14_NS = 14 * 366 * 86_400 * 10**9


def add_faults(node: Any) -> None:
    """Add those services to a node."""
    from rcl_interfaces.msg import SetParametersResult
    from std_srvs.srv import Trigger

    def odd(what: str) -> None:
        raise RuntimeError(f"odd {what}")

    def service(_request: Any, _response: Any) -> None:
        odd("service")

    def timer(_request: Any, response: Any) -> Any:
        def once() -> None:
            node.destroy_timer(started)
            odd("timer")

        started = node.create_timer(0.01, once)
        return response

    def block(_request: Any, response: Any) -> Any:
        time.sleep(BLOCKED_S)
        return response

    def loop(_request: Any, response: Any) -> Any:
        node.loop.call(lambda: odd("loop"))
        return response

    def recorder(_request: Any, response: Any) -> Any:
        node.configured.recorder._record = lambda *given: odd("recorder")
        return response

    def threads(_request: Any, response: Any) -> Any:
        found = {thread.name: thread.native_id for thread in threading.enumerate()}
        response.message = json.dumps(found)
        return response

    def wall_2040(_request: Any, response: Any) -> Any:
        node.loop._stamp_clock = lambda: time.time_ns() + YEARS_14_NS
        return response

    def check(parameters: Any) -> Any:
        if any(one.value == RAISING_VALUE for one in parameters):
            odd("parameter")
        return SetParametersResult(successful=True)

    for one in (service, timer, block, loop, recorder, threads, wall_2040):
        node.create_service(Trigger, f"~/fault/{one.__name__}", one)
    node.add_on_set_parameters_callback(check)


def main() -> int:
    """Run the runner with those services."""
    from policy_runner.ros.runner import main as policy_runner_main
    from policy_runner.ros.runner.node import PolicyRunner

    made = PolicyRunner.__init__

    def make(self: Any, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        add_faults(self)

    PolicyRunner.__init__ = make  # type: ignore[method-assign]
    return policy_runner_main.main()


if __name__ == "__main__":
    sys.exit(main())
