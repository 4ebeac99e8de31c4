"""Compares a policy's inputs with the running graph: publishers, types, QoS, joints, rates."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.ros.inputs.graph import explain_silence, full_name, publishers_of
from policy_runner.ros.inputs.joint_sources import TYPE as JOINT_STATE
from policy_runner.ros.inputs.joint_sources import JointListener
from policy_runner.ros.inputs.participants import (
    another_type,
    has_one_source,
    joints_sentence,
    slow_sentence,
    sources_sentence,
)
from policy_runner.ros.inputs.polling import input_qos
from policy_runner.ros.inputs.texts import LATCHED, text_reader
from policy_runner.ros.messages.raw_reader import SlotReader
from policy_runner.ros.messages.types import message_class

_LOOK_EVERY_S = 0.1


@dataclass
class LiveFindings:
    """Findings that are no reason to refuse: warnings, and the rate of each input."""

    warnings: list[str] = field(default_factory=list)
    rates: list[str] = field(default_factory=list)


@dataclass
class _Listener:
    """One input: its subscription, the arrivals of its messages [ns] and its joints' sources."""

    slot: InputSlot
    subscription: Subscription
    arrivals: list[int]
    joints: JointListener | None  # None: the input is no JointState
    shared: list[str] = field(default_factory=list)  # joints that two publishers send
    _looked_s: float = 0.0

    def look(self) -> None:
        """Take the waiting messages of `joints`, at most every `_LOOK_EVERY_S`."""
        if self.joints is not None and time.monotonic() - self._looked_s > _LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            self.shared = self.joints.look()


def compare_with_graph(
    pipeline: Pipeline,
    lockstep: bool,
    topics: Mapping[str, str],
    commands: Sequence[str],
    namespace: str,
    wait_s: float,
) -> LiveFindings:
    """Listen to every input for `wait_s`, with the same subscriptions as the node.

    Args:
        pipeline: its slots are the inputs; its settings give their `max_age` and `on_stale`.
        lockstep: subscribe as in lockstep (reliable).
        topics: input name -> topic, in place of the topic of the policy spec.
        commands: relative topics of the commands.
        namespace: of the node, for relative topics; may be empty.
        wait_s: how long to listen [s].

    Raises:
        Refusal: names every input that would prevent the node from running.
    """
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node(
            f"policy_runner_check_{os.getpid()}", context=context, namespace=namespace or None,
            start_parameter_services=False, enable_rosout=False,
        )  # fmt: skip
        try:
            return _listen(node, context, pipeline, lockstep, topics, commands, wait_s)
        finally:
            node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def _listen(
    node: Node,
    context: Context,
    pipeline: Pipeline,
    lockstep: bool,
    topics: Mapping[str, str],
    commands: Sequence[str],
    wait_s: float,
) -> LiveFindings:
    unknown = [name for name in topics if name not in pipeline.slots]
    problems: list[Problem | str] = [
        Problem("", f"--topic {name}", f"an input ({', '.join(pipeline.slots)})", f"'{name}'")
        for name in unknown
    ]
    listeners: dict[str, _Listener] = {}
    for name, slot in pipeline.slots.items():
        try:
            topic = topics.get(name, slot.spec.topic)
            listeners[name] = _subscribe(node, slot, name, topic, lockstep)
        except Refusal as refusal:
            problems += refusal.problems
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=min(left, _LOOK_EVERY_S))
        for listener in listeners.values():
            listener.look()
    executor.shutdown()
    found = LiveFindings()
    for name, listener in listeners.items():
        problems += _judge(node, name, listener, pipeline, wait_s, found)
    for name in commands:
        _look_at_command(node, name, found)
    if problems:
        raise Refusal(problems)
    return found


def _subscribe(node: Node, slot: InputSlot, name: str, topic: str, lockstep: bool) -> _Listener:
    message_type = message_class(slot.spec.type, f"parameter inputs.{name}.type")
    is_text = slot.text is not None
    read = text_reader(slot) if is_text else SlotReader(slot, message_type)
    arrivals: list[int] = []

    def take(raw: bytes) -> None:
        now = slot.arriving_ns = time.monotonic_ns()
        arrivals.append(now)
        try:
            fault, stamp = read(raw)
        except Exception as error:  # noqa: BLE001 - a bad message ends nothing, as in the node
            fault, stamp = f"{type(error).__name__}: {error}", 0
        if fault:
            slot.refused(fault)
        else:
            slot.received(now, stamp)

    qos = LATCHED if is_text else input_qos(lockstep)
    subscription = node.create_subscription(message_type, topic, take, qos, raw=True)
    joints = JointListener(node, topic) if slot.spec.type == JOINT_STATE else None
    return _Listener(slot, subscription, arrivals, joints)


def _judge(
    node: Node,
    name: str,
    listener: _Listener,
    pipeline: Pipeline,
    wait_s: float,
    found: LiveFindings,
) -> list[Problem]:
    slot, arrivals = listener.slot, listener.arrivals
    rule = pipeline.settings.inputs[name]
    key = f"inputs.{name}"
    topic = listener.subscription.topic_name
    infos = publishers_of(node, topic)
    types = {full_name(info): info.topic_type for info in infos}
    other_type = another_type(name, topic, slot.spec.type, types)
    if slot.text is not None and not slot.faults and not slot.missing():
        return []  # it comes once, or is the parameter `prompt`
    if not arrivals:
        got = explain_silence(node, listener.subscription, slot.spec.type)
        remedy = other_type.partition("; ")[2]
        problem = Problem(
            "",
            key,
            f"messages of {slot.spec.type} on {topic}",
            got or f"none in {wait_s:g} s",
            remedy,
        )
        if rule.on_stale == "zero" and (not got or got.startswith("no publisher")):
            found.warnings.append(f"{problem}; until one comes it counts as zero")
            return []
        return [problem]
    if other_type:
        found.warnings.append(other_type)
    nodes = sorted(full_name(info) for info in infos if info.topic_type == slot.spec.type)
    if len(nodes) > 1 and has_one_source(slot.spec.type):
        found.warnings.append(sources_sentence(name, topic, nodes))
    if len(nodes) > 1 and listener.shared:
        found.warnings.append(joints_sentence(name, topic, listener.shared, nodes))
    problems = []
    if slot.faults:
        got = f"{slot.faults} of {len(arrivals)} messages with: {slot.fault or 'a fault'}"
        problems.append(Problem("", key, "usable messages", got))
    if slot.attitude is not None and slot.attitude.text:
        found.warnings.append(f"{key}: {slot.attitude.text}")
    missing = _never_seen(slot)
    if missing and slot.faults < len(arrivals):
        expected = f"every joint of the policy on {topic}"
        got = f"never seen: {', '.join(missing)}"
        remedy = "map the names with joints.<policy name>.name"
        problems.append(Problem("", key, expected, got, remedy))
    if len(arrivals) > 1:
        gap_s = (arrivals[-1] - arrivals[0]) / 1e9 / (len(arrivals) - 1)
        rate = 1.0 / max(gap_s, 1e-6)
        found.rates.append(f"{name} {rate:.1f} Hz")
        needed = 1e9 / pipeline.settings.period_ns / pipeline.settings.decimation
        if gap_s * 1e9 > rule.max_age_ns and rule.on_stale == "zero":
            found.warnings.append(slow_sentence(name, gap_s, rule.max_age_ns))
        elif gap_s * 1e9 > rule.max_age_ns:
            expected = f"a message at least every {rule.max_age_ns / 1e9:g} s (max_age)"
            problems.append(Problem("", key, expected, f"one every {gap_s:.3f} s"))
        elif rate < 0.9 * needed and rule.on_stale != "zero":
            found.warnings.append(f"{key}: {rate:.1f} Hz, and the policy infers at {needed:g} Hz")
    return problems


def _never_seen(slot: InputSlot) -> list[str]:
    if slot.joints is None:
        return []
    return [
        f"{kind} of {slot.joints.joint_names[k]}"
        for kind in slot.joint_kinds
        for k in slot.used(kind)
        if slot.joints.seen_ns[kind][k] == NEVER
    ]


def _look_at_command(node: Node, name: str, found: LiveFindings) -> None:
    topic = node.resolve_topic_name(name)
    others = sorted({full_name(info) for info in publishers_of(node, topic)})
    if others:
        found.warnings.append(
            f"{topic}: already commanded by {', '.join(others)}; ~/arm is refused as long as "
            "another node than the runner and its guard publishes it"
        )
    if not node.get_subscriptions_info_by_topic(topic):
        found.warnings.append(f"{topic}: no node subscribes to it")
