"""Waits in `configure` until an engine is built, and serves the node during that time.

A lifecycle transition runs in the executor thread, which serves no request until it ends.
While the child process builds, this module takes the requests of the node's services and runs
its timers, in that same thread. So get_state, parameters and diagnostics still work, and no
callback runs in parallel that did not before. Transitions are refused until the build has ended;
a shutdown request ends the build.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.service import Service

from policy_runner.backends.engine_process import EngineBuild
from policy_runner.backends.onnx_file.check import check_model_file, data_files
from policy_runner.backends.tensorrt.engine_store import cached_engine
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import SpecFile
from policy_runner.core.spec.parts import model_files
from policy_runner.robot.config import RobotConfig
from policy_runner.ros.diagnostics.status import LEVEL_ERROR, LEVEL_OK, LEVEL_WARN, make_status

_SERVE_EVERY_S = 0.02
_SAY_EVERY_S = 5.0
_SHUTDOWNS = (
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    Transition.TRANSITION_INACTIVE_SHUTDOWN,
    Transition.TRANSITION_ACTIVE_SHUTDOWN,
)


class EngineWait:
    """Builds a missing engine and waits for it; one per node.

    `cancel` may be called from any thread.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._cancelled = threading.Event()
        self._asked_to_end = False
        self._publisher: Publisher | None = None

    def cancel(self) -> None:
        """End the present build and refuse later ones, because the process is about to end."""
        self._cancelled.set()

    def build_if_missing(self, config: RobotConfig, spec_file: SpecFile) -> None:
        """Build the engine with `backend: tensorrt` and `build_in_configure`, if it is not cached.

        Builds nothing if the backend's settings or the model's files are wrong: loading the policy
        reports this, together with all other problems.

        Args:
            config: has the backend's settings.
            spec_file: names the model file.

        Raises:
            Refusal: the build was refused, failed, or was cancelled.
        """
        choice = config.backend
        if choice.backend != "tensorrt" or not config.build_in_configure:
            return
        paths = []
        try:
            choice.check()
            for one in model_files(spec_file.spec):
                path = spec_file.next_to(one.model.file, one.file_key)
                check_model_file(path, one.model.sha256, spec_file.path)
                data_files(path)
                paths.append(path)
        except Refusal:
            return
        if all(cached_engine(choice, path) for path in paths):
            return
        build = EngineBuild(choice, spec_file.path, self._node.get_logger().info)
        self._node.add_on_set_parameters_callback(_refuse_policy)
        try:
            self._wait(build, config.loop.diagnostics_period_s)
        finally:
            self._node.remove_on_set_parameters_callback(_refuse_policy)
            build.cancel()
        self._report(build, ended=True)
        if build.problems:
            raise Refusal(build.problems)
        built = ", ".join(one["path"] for one in build.result["engines"])
        self._node.get_logger().info(f"built an engine in {build.seconds:.0f} s: {built}")

    def _wait(self, build: EngineBuild, period_s: float) -> None:
        begun = said = reported = time.monotonic()
        self._asked_to_end = False
        while not build.poll():
            if self._cancelled.is_set() or self._asked_to_end or not self._node.context.ok():
                build.cancel()
                return
            now = time.monotonic()
            if now - said >= _SAY_EVERY_S or (said == begun and now > said):
                said = now
                self._node.get_logger().info(build.text())
            if now - reported >= period_s or reported == begun:
                reported = now
                self._report(build)
            self._serve()
            time.sleep(_SERVE_EVERY_S)

    def _serve(self) -> None:
        """Run the timers that are due and answer the waiting service requests."""
        for timer in list(self._node.timers):
            if timer.is_ready() and not timer.is_canceled():
                with timer.handle:
                    # The name in Kilted, and the name in older versions.
                    called = getattr(timer.handle, "call_timer_with_info", None)
                    (called or timer.handle.call_timer)()
                self._call(timer.callback)
        for service in list(self._node.services):
            self._call(self._answer, service)

    def _answer(self, service: Service) -> None:
        """Answer one request of this service, if one waits."""
        kind: Any = service.srv_type  # generated classes have Request and Response
        with service.handle:
            request, header = service.handle.service_take_request(kind.Request)
        if header is None:
            return
        response = kind.Response()
        if kind is ChangeState:
            # The state machine is in a transition and would raise.
            response.success = False
            self._asked_to_end |= request.transition.id in _SHUTDOWNS
            self._node.get_logger().warning("a transition was refused: an engine is being built")
        elif inspect.iscoroutinefunction(service.callback):
            # Its callback would wait for the executor, which waits here. Only ~/reload is such.
            response.success, response.message = False, "the node is not configured"
        else:
            response = self._call(service.callback, request, response) or response
        service.send_response(response, header)

    def _call(self, callback: Any, *given: Any) -> Any:
        try:
            return callback(*given)
        except Exception as error:  # noqa: BLE001 - a failed callback must not end the build
            self._node.get_logger().error(
                f"a callback failed ({type(error).__name__}: {error}); the build continues",
                throttle_duration_sec=1.0,
            )
            return None

    def _report(self, build: EngineBuild, ended: bool = False) -> None:
        if self._publisher is None:
            self._publisher = self._node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        level, text = LEVEL_WARN, build.text()
        if ended:
            level = LEVEL_ERROR if build.problems else LEVEL_OK
            text = build.problems[0] if build.problems else "the engine is built"
        status = make_status(
            f"{self._node.get_name()}: engine",
            level,
            text,
            {
                "phase": build.phase,
                "share": build.share,
                "time [s]": build.seconds,
                "estimate [s]": build.estimate_s or None,
                "engine": build.result.get("path"),
            },
            self._node.get_fully_qualified_name(),
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _refuse_policy(parameters: Sequence[Parameter]) -> SetParametersResult:
    """Refuse a new value of `policy` during a build.

    Otherwise the parameter would name a policy other than the one that is configured.
    """
    if any(parameter.name == "policy" for parameter in parameters):
        reason = "parameter policy: an engine is being built for it; set it when that has ended"
        return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)
