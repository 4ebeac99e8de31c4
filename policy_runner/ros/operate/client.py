"""A client of one runner: calls its services, presses its emergency stop, hears its reports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.ros.operate.report import ReportKeeper
from policy_runner.ros.process.executor import ExecutorThread
from policy_runner.ros.process.lifetime import NO_FILE, EndRequest

_LOOK_S = 0.02
# The server learns of a new client a moment later than the client learns of the server, and an
# answer before that would be lost.
_SETTLE_S = 0.1
_FURTHER_DISCOVERY_S = 2.0  # all topics and services of a node are found at nearly the same time
_CONFIRMED_WITHIN_S = 2.0
_ASK_EVERY_S = 1.0
_BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
_PRESS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class Unanswered(Refusal):
    """The node is not there, or it has not answered in time."""


class Interrupted(Exception):
    """A signal asked this process to end while it waited."""


class RunnerClient:
    """Operates the runner `name`, in a context and a thread of its own.

    Every call waits for the node first, for `timeout_s` at most.
    """

    def __init__(self, name: str, ended: EndRequest, timeout_s: float = 10.0) -> None:
        """Create the node of this client.

        Args:
            name: fully qualified name of the runner.
            ended: a signal ends every wait with `Interrupted`.
            timeout_s: how long a call waits for the runner to appear.
        """
        self.name = name
        self.keeper = ReportKeeper(name)
        self._ended = ended
        self._timeout_s = timeout_s
        self._context = Context()
        rclpy.init(
            args=["--ros-args", NO_FILE],
            context=self._context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        # The process id, so that two operators have different names.
        self._node = rclpy.create_node(
            f"policy_runner_ctl_{os.getpid()}",
            context=self._context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor = ExecutorThread(self._node)
        self._executor.start()
        self._clients: dict[str, Any] = {}
        self._state: Future | None = None
        self._hears = False

    def close(self) -> None:
        """Leave the graph."""
        if self._executor.stop(1.0):
            self._node.destroy_node()
        self._context.try_shutdown()

    def trigger(self, service: str, answer_s: float) -> tuple[bool, str]:
        """Call a `std_srvs/srv/Trigger` of the node; returns (success, message).

        Args:
            service: its name below the node's, such as `arm`.
            answer_s: how long to wait for the answer.

        Raises:
            Unanswered: there is no such node, or no answer.
            Refusal: the node is there, without this service.
        """
        response = self._call(Trigger, service, Trigger.Request(), answer_s)
        return bool(response.success), str(response.message)

    def set_prompt(self, text: str, answer_s: float = 5.0) -> None:
        """Set the parameter `prompt`: the text of the policy's text input.

        Args:
            text: the instruction; empty: none.
            answer_s: how long to wait for the answer.

        Raises:
            Unanswered: there is no such node, or no answer.
            Refusal: the policy cannot use this text.
        """
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        request = SetParameters.Request(parameters=[Parameter(name="prompt", value=value)])
        (result,) = self._call(SetParameters, "set_parameters", request, answer_s).results
        if not result.successful:
            raise Refusal([f"{self.name} refused: {result.reason}"])

    def lifecycle(self, answer_s: float = 5.0) -> str:
        """Ask for the lifecycle state, and keep it for the report."""
        response = self._call(GetState, "get_state", GetState.Request(), answer_s)
        self.keeper.lifecycle = str(response.current_state.label)
        return self.keeper.lifecycle

    def ask_lifecycle(self) -> None:
        """Ask for the lifecycle state without waiting; `look` takes the answer.

        Call it about once a second. A question without an answer until then is forgotten, and the
        state is unknown again.
        """
        client = self._client(GetState, "get_state")
        if self._state is not None:
            # The node has ended, or the answer was lost.
            client.remove_pending_request(self._state)
            self._state, self.keeper.lifecycle = None, ""
        if client.service_is_ready():
            self._state = client.call_async(GetState.Request())
        else:
            self.keeper.lifecycle = ""

    def look(self) -> None:
        """Take the answer to `ask_lifecycle`, if it has come."""
        if self._state is not None and self._state.done():
            result: Any = self._state.result()
            self._state = None
            self.keeper.lifecycle = str(result.current_state.label)

    def hear(self) -> None:
        """Begin to collect heartbeats and statuses for the report; a second call does nothing."""
        if self._hears:
            return
        self._hears = True
        keeper = self.keeper

        def beat(raw: bytes) -> None:
            keeper.take_heartbeat(raw, time.monotonic_ns())

        node = self._node
        node.create_subscription(
            DiagnosticArray, f"{self.name}/status", beat, _BEST_EFFORT, raw=True
        )
        node.create_subscription(
            DiagnosticArray, "/diagnostics", keeper.take_diagnostics, _BEST_EFFORT, raw=True
        )

    def press_estop(self, topic: str = "") -> str:
        """Press the emergency stop until the node reports it; returns what it reports.

        Args:
            topic: a topic of `estop.topics`; empty: `~/estop` of the node.

        Raises:
            Unanswered: the node was not found, or does not hear the topic.
            Refusal: the node hears the topic, but does not confirm the press.
        """
        full = topic or f"{self.name}/estop"
        publisher = self._node.create_publisher(Bool, full, _PRESS)
        self.hear()
        try:
            return self._press(publisher, full)
        finally:
            # Without its publisher the press stays until ~/arm.
            self._node.destroy_publisher(publisher)

    def _press(self, publisher: Publisher, topic: str) -> str:
        """Publish presses until the node confirms one.

        One press is not enough: the guard may hear the topic earlier than the runner does, and a
        press before the runner was discovered is lost. Each further press changes nothing.
        """
        begin_s = asked_s = time.monotonic()
        found_s: float | None = None  # when the node was found
        heard_s: float | None = None  # since when the node hears the topic
        heard_ns = 0
        state = self._client(GetState, "get_state")
        self.keeper.lifecycle = ""
        while True:
            publisher.publish(Bool(data=True))
            now_s = time.monotonic()
            if heard_s is None and self._is_heard_by_runner(topic):
                heard_s, heard_ns = now_s, time.monotonic_ns()
                publisher.publish(Bool(data=True))
            if found_s is None and state.service_is_ready():
                found_s = now_s
            if now_s >= asked_s:
                self.ask_lifecycle()
                asked_s = now_s + _ASK_EVERY_S
            self.look()
            report = self.keeper.report(time.monotonic_ns())
            if heard_s is not None:
                if self.keeper.heard_since(heard_ns) and report.decision == "SAFE_STOP":
                    return f"SAFE_STOP: {report.reason}"
                waits = report.lifecycle not in ("", "active")
                if waits and publisher.wait_for_all_acked(Duration(seconds=_CONFIRMED_WITHIN_S)):
                    return f"the node is {report.lifecycle}; only ~/arm ends the press"
                if now_s - heard_s > _CONFIRMED_WITHIN_S:
                    expected = f"SAFE_STOP within {_CONFIRMED_WITHIN_S:g} s of the press"
                    remedy = "stop the robot another way"
                    got = report.headline
                    raise Refusal([Problem("", self.name, expected, got, remedy)])
            elif found_s is not None and now_s - found_s > _FURTHER_DISCOVERY_S:
                self._refuse_unheard(topic)
            elif now_s - begin_s > self._timeout_s:
                raise self._not_found()
            if self._ended.wait(_LOOK_S):
                raise Interrupted

    def _is_heard_by_runner(self, topic: str) -> bool:
        """Whether the runner itself, not only its guard, subscribes to the topic."""
        return any(
            f"{info.node_namespace.rstrip('/')}/{info.node_name}" == self.name
            for info in self._node.get_subscriptions_info_by_topic(topic)
        )

    def _refuse_unheard(self, topic: str) -> None:
        """Raise: no subscription on the topic of the emergency stop."""
        request = GetParameters.Request(names=["estop.topics"])
        values = self._call(GetParameters, "get_parameters", request, 2.0).values
        topics = ", ".join(values[0].string_array_value) if values else "unknown"
        expected = f"a node that hears {topic}"
        got = f"none; {self.name} hears {topics}"
        raise Unanswered([Problem("", "estop", expected, got, "name one of them with --topic")])

    def _client(self, type_: Any, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._node.create_client(type_, f"{self.name}/{service}")
        return self._clients[service]

    def _call(self, type_: Any, service: str, request: Any, answer_s: float) -> Any:
        client = self._client(type_, service)
        state = self._client(GetState, "get_state")  # every lifecycle node has it
        there = self._wait(lambda: client.service_is_ready() or state.service_is_ready(),
                           self._timeout_s)  # fmt: skip
        if not there:
            raise self._not_found()
        if not self._wait(client.service_is_ready, _FURTHER_DISCOVERY_S):
            expected, got = f"the service ~/{service}", "a node without it"
            raise Refusal([Problem("", self.name, expected, got, _MISSING.get(service, ""))])
        self._wait(lambda: False, _SETTLE_S)
        future = client.call_async(request)
        if not self._wait(future.done, answer_s):
            expected, got = f"an answer of ~/{service}", f"none within {answer_s:g} s"
            remedy = "it may still be carried out: see `policy-runner ctl status`"
            raise Unanswered([Problem("", self.name, expected, got, remedy)])
        return future.result()

    def _not_found(self) -> Unanswered:
        own = f"{self.name}/arm"  # this client's own question is in the graph, too
        found = [
            name.removesuffix("/arm")
            for name, types in self._node.get_service_names_and_types()
            if name.endswith("/arm") and "std_srvs/srv/Trigger" in types and name != own
        ]
        domain = os.environ.get("ROS_DOMAIN_ID") or "0"
        got = f"none within {self._timeout_s:g} s in ROS domain {domain}"
        remedy = did_you_mean(self.name, found)
        if found and not remedy:
            remedy = f"runners here: {', '.join(sorted(found))} (--name, --namespace)"
        remedy = remedy or "start one with `policy-runner run`, or set ROS_DOMAIN_ID as it has it"
        return Unanswered([Problem("", self.name, "a running node", got, remedy)])

    def _wait(self, predicate: Callable[[], object], timeout_s: float) -> bool:
        """Wait until it is true; False after the timeout.

        Raises:
            Interrupted: a signal came.
        """
        deadline = time.monotonic() + timeout_s
        while not predicate():
            if time.monotonic() > deadline:
                return False
            if self._ended.wait(_LOOK_S):
                raise Interrupted
        return True


_MISSING = {"dump": "this runner keeps no black box"}
