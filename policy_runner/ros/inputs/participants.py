"""Finds other nodes that publish a topic which this node publishes or reads.

The executor calls it. It first counts the publishers of each topic, which is cheap. The query for
the nodes' names holds the interpreter for 0.05 to 0.3 ms. So it follows only if the count has
changed, and rarely otherwise.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.settings import InputRule
from policy_runner.ros.inputs.graph import (
    UNKNOWN_NAME,
    full_name,
    other_publishers,
    publishers_of,
)
from policy_runner.ros.inputs.joint_sources import TYPE as JOINT_STATE
from policy_runner.ros.inputs.joint_sources import JointListener
from policy_runner.ros.inputs.polling import PolledInput

_REFRESH_EVERY = 20  # looks; a publisher that replaces another one does not change the count
_NAMED_WITHIN = 3  # looks to wait for a node's name
_GAPS = 3  # gaps between messages that are needed to judge the rate of an input
_SILENT = 40  # looks without a message after which the earlier rate is forgotten
_SEVERAL = {JOINT_STATE, "sensor_msgs/msg/MultiDOFJointState", "sensor_msgs/msg/Joy"}


def has_one_source(type_name: str) -> bool:
    """Return whether two publishers of an input of this type would contradict each other.

    Joints and commands of a robot may have several publishers.
    """
    if type_name == "nav_msgs/msg/Odometry":
        return True
    return type_name.startswith("sensor_msgs/msg/") and type_name not in _SEVERAL


def another_type(input_name: str, topic: str, wanted: str, types: Mapping[str, str]) -> str:
    """Describe a publisher whose message type is not the input's; '' if there is none.

    Args:
        input_name: name of the input in the policy spec.
        topic: name of the topic in the graph.
        wanted: message type of the input.
        types: full name of each publisher's node -> its message type.
    """
    others = {node: kind for node, kind in types.items() if kind != wanted}
    if not others:
        return ""
    node, kind = next(iter(sorted(others.items())))
    text = f"inputs.{input_name}: {node} publishes {kind} on {topic}, expected {wanted}"
    if _family(kind) == _family(wanted):
        return f"{text}; set inputs.{input_name}.type: {kind}"
    return (
        f"{text}; remap the input, or set inputs.{input_name}.type where that type has its fields"
    )


def sources_sentence(input_name: str, topic: str, nodes: Sequence[str]) -> str:
    """Describe a topic that should have one source and has several publishers.

    Args:
        input_name: name of the input in the policy spec.
        topic: name of the topic in the graph.
        nodes: the node of each publisher.
    """
    names = ", ".join(dict.fromkeys(nodes))
    return f"inputs.{input_name}: {topic} has {len(nodes)} publishers ({names}), expected one"


def joints_sentence(
    input_name: str, topic: str, joints: Sequence[str], nodes: Sequence[str]
) -> str:
    """Describe joints that two publishers send.

    Args:
        input_name: name of the input in the policy spec.
        topic: name of the topic in the graph.
        joints: these joints.
        nodes: the node of each publisher of the topic.
    """
    several = ", ".join(joints[:4]) + (" and others" if len(joints) > 4 else "")
    names = ", ".join(dict.fromkeys(nodes))
    return f"inputs.{input_name}: two publishers of {topic} send {several} ({names})"


def slow_sentence(input_name: str, gap_s: float, max_age_ns: int) -> str:
    """Describe an input whose messages arrive too rarely.

    The gap has two digits, so that jitter does not give a new sentence each time.
    """
    return (
        f"inputs.{input_name}: a message every {gap_s:.2g} s, more slowly than its max_age of "
        f"{max_age_ns / 1e9:g} s"
    )


def _family(type_name: str) -> str:
    return re.sub(r"(Stamped|WithCovariance)", "", type_name)


@dataclass
class _Topic:
    """Publishers of one topic at the last query of the graph."""

    count: int = -1
    age: int = 0  # looks since that query
    unnamed: int = 0  # consecutive looks in which a node's name was missing
    infos: Sequence[Any] = ()

    def look(self, node: Node, name: str) -> bool:
        """Query the graph if the publishers may have changed.

        Returns:
            Whether the names of all publishers' nodes are known, or were waited for long enough.
        """
        count = node.count_publishers(name)
        self.age += 1
        if count != self.count or self.unnamed or self.age >= _REFRESH_EVERY:
            self.count, self.age = count, 0
            self.infos = publishers_of(node, name)
            missing = any(info.node_name == UNKNOWN_NAME for info in self.infos)
            self.unnamed = self.unnamed + 1 if missing else 0
        return not self.unnamed or self.unnamed > _NAMED_WITHIN


class SlowInput:
    """Detects an input whose messages arrive more rarely than its `max_age` allows."""

    def __init__(self) -> None:
        self._came: deque[tuple[int, int]] = deque(maxlen=_GAPS + 1)  # arrival [ns], count
        self._silent = 0  # consecutive looks without a message

    def look(self, slot: InputSlot, max_age_ns: int) -> str:
        """Return a sentence about a slow input, or ''; the executor calls it regularly."""
        came, count, arrived_ns = self._came, slot.count, slot.arrived_ns
        self._silent = self._silent + 1 if came and count == came[-1][1] else 0
        restarted = bool(came) and (count < came[-1][1] or arrived_ns < came[-1][0])
        if arrived_ns == NEVER or restarted or self._silent > _SILENT:
            came.clear()
        if arrived_ns != NEVER and not self._silent:
            came.append((arrived_ns, count))
        if len(came) <= _GAPS:
            return ""
        gaps_ns = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(came)]
        if min(gaps_ns) <= 1.05 * max_age_ns:
            return ""
        return slow_sentence(slot.name, sum(gaps_ns) / len(gaps_ns) / 1e9, max_age_ns)


@dataclass
class Participants:
    """Findings of the last look at the other participants."""

    node: Node
    commanders: str = ""  # sentence about other publishers of a command topic, or ''
    of_inputs: list[str] = field(default_factory=list)  # one sentence for each finding
    _topics: dict[str, _Topic] = field(default_factory=dict)
    _listeners: dict[str, tuple[frozenset[bytes], JointListener | None]] = field(
        default_factory=dict
    )
    _slow: dict[str, SlowInput] = field(default_factory=dict)

    def look(
        self,
        publishers: Sequence[Publisher],
        inputs: Sequence[PolledInput],
        rules: Mapping[str, InputRule],
        on_error: Callable[[str], object] = lambda _text: None,
    ) -> None:
        """Look at every topic once.

        Called twice a second, it finds each change within 2 s.

        Args:
            publishers: publishers of this node's commands.
            inputs: inputs of its policy.
            rules: rule of each input, by input name.
            on_error: called with a sentence if the look failed.
        """
        names = {one.topic_name for one in publishers}
        names |= {one.polled.subscription.topic_name for one in inputs}
        for name in set(self._topics) - names:
            del self._topics[name]
            self._forget(name)
        try:
            self._look(publishers, inputs, rules)
        except Exception as error:  # noqa: BLE001 - a look that fails must not stop the robot
            on_error(f"could not look at the other participants: {type(error).__name__}: {error}")

    def _look(
        self,
        publishers: Sequence[Publisher],
        inputs: Sequence[PolledInput],
        rules: Mapping[str, InputRule],
    ) -> None:
        found = []
        for publisher in publishers:
            topic = self._topic(publisher.topic_name)
            if topic is None:
                return  # a name is still missing: keep the last findings
            own = [i for i in topic.infos if full_name(i) == self.node.get_fully_qualified_name()]
            same = [i for i in topic.infos if not own or i.topic_type == own[0].topic_type]
            others = other_publishers(self.node, publisher.topic_name, same)
            if others:
                found.append(f"{publisher.topic_name} is published by {', '.join(others)}, too")
        sentences = []
        for one in inputs:
            slot, name = one.slot, one.polled.subscription.topic_name
            topic = self._topic(name)
            if topic is None:
                return
            sentences.append(self._of_input(slot, name, topic))
            slow = self._slow.setdefault(slot.name, SlowInput())
            sentences.append(slow.look(slot, rules[slot.name].max_age_ns))
        self.commanders = "; ".join(found)
        self.of_inputs = [sentence for sentence in sentences if sentence]

    def _topic(self, name: str) -> _Topic | None:
        topic = self._topics.setdefault(name, _Topic())
        return topic if topic.look(self.node, name) else None

    def _of_input(self, slot: InputSlot, name: str, topic: _Topic) -> str:
        wanted = slot.spec.type
        types = {full_name(info): info.topic_type for info in topic.infos}
        if text := another_type(slot.name, name, wanted, types):
            return text
        same = [info for info in topic.infos if info.topic_type == wanted]
        if len(same) < 2:
            self._forget(name)
            return ""
        nodes = sorted(full_name(info) for info in same)
        if has_one_source(wanted):
            return sources_sentence(slot.name, name, nodes)
        if wanted != JOINT_STATE:
            return ""
        shared = self._shared_joints(name, frozenset(bytes(info.endpoint_gid) for info in same))
        return joints_sentence(slot.name, name, shared, nodes) if shared else ""

    def _shared_joints(self, name: str, present: frozenset[bytes]) -> list[str]:
        before, listener = self._listeners.get(name, (frozenset(), None))
        if listener is None or before != present:
            self._forget(name)
            listener = JointListener(self.node, name)
            self._listeners[name] = (present, listener)
        return listener.look()

    def _forget(self, name: str) -> None:
        _, listener = self._listeners.pop(name, (frozenset(), None))
        if listener is not None:
            listener.close()

    def close(self) -> None:
        """Stop looking and forget all findings; called when the policy is unloaded."""
        for name in list(self._listeners):
            self._forget(name)
        self._topics.clear()
        self._slow.clear()
        self.commanders, self.of_inputs = "", []
