"""Commands out: values placed by name, in the receiver's order, into bytes made beforehand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.model import Array
from policy_runner.core.settings import RUNNING, STOPPED, CommandLimits, Manner
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.parameters.command import JOINT_KINDS
from policy_runner.ros.messages.guard_contract import GuardedOutput
from policy_runner.ros.messages.topics import Publishers
from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages
from policy_runner.ros.outputs.ledger import (
    Leaving,
    Output,
    OutputMessage,
    carry_over,
    leaving,
)

_HUGE = float(np.finfo(np.float64).max)


class CommandPublisher:
    """Publishes one message per kind of command (position, velocity, effort, twist) each tick.

    Robot value = sign * policy value, plus the joint's offset for a position. Topic `name`;
    with several kinds in one policy `name/<kind>` for each; a Float64 per joint goes to
    `.../<joint>`.

    This is the last gate: numbers that are not finite, or beyond their bounds or their type, are
    refused, whatever computed them. It knows what it sent last, so it can stop the robot without
    any other part of the node.

    Raises:
        Refusal: a message type that cannot carry the command, or a receiver's joint order that
            does not name exactly the commanded joints.
    """

    def __init__(
        self,
        topics: Publishers,
        name: str,
        form: CommandFormat,
        elements: Sequence[ActionElement],
        robot: Mapping[str, RobotJoint],
        receiver_order: Sequence[str],
        pd: EffortFromPd | None = None,
    ) -> None:
        """Create the publishers.

        Args:
            topics: creates them.
            name: the topic; see above.
            form: what the receiver wants.
            elements: of the policy's command, in its order.
            robot: the robot's joints by the policy's names.
            receiver_order: the robot's names of every commanded and held joint; empty: the
                policy's order.
            pd: with it the elements are positions, and the efforts that lead there are published.
        """
        self._pd = pd
        if pd is not None:
            elements = [ActionElement(element.joint, "effort") for element in elements]
        kinds = list(dict.fromkeys(element.kind for element in elements))
        joints = [
            robot[e.joint] if e.kind in JOINT_KINDS else RobotJoint(e.joint) for e in elements
        ]
        if receiver_order:
            commanded = {j.name for j, e in zip(joints, elements) if e.kind in JOINT_KINDS}
            _check_order(list(receiver_order), sorted({*commanded, *form.held}))
        self._sign = np.array([joint.sign for joint in joints])
        self._offset = np.array(
            [j.offset if e.kind == "position" else 0.0 for j, e in zip(joints, elements)]
        )
        self._turned = bool(np.any(self._sign != 1.0))
        self._shifted = bool(np.any(self._offset))
        # All numbers of the command: those of the elements, then those of the held joints, which
        # stand in the message of the first kind.
        self._size = len(elements)
        held = list(form.held) if kinds[0] in JOINT_KINDS else []
        self._held = np.array([form.held[one] for one in held])
        self._names = [joint.name for joint in joints] + held
        self._kinds = [element.kind for element in elements] + [kinds[0]] * len(held)
        self._moving = np.flatnonzero([kind != "position" for kind in self._kinds])
        # What is sent next, and what was sent last; they change places. NaN: never.
        self._next, self._sent = (np.zeros(len(self._names)) for _ in range(2))
        self._next_own, self._sent_own = self._next[: self._size], self._sent[: self._size]
        self._holds = bool(held)
        self._checked = np.zeros(len(self._names))
        self._messages: list[OutputMessage] = []
        self._leaving: list[Leaving] = []
        self._damped = False
        self.commanded = False  # whether anything was sent, here or by the policies before
        for kind in kinds:
            index = [k for k, element in enumerate(elements) if element.kind == kind]
            if kind == kinds[0]:
                index += range(self._size, len(self._names))
            if receiver_order and kind in JOINT_KINDS:
                index.sort(key=lambda k: receiver_order.index(self._names[k]))
            topic = name if len(kinds) == 1 else f"{name}/{kind}"
            names = [self._names[k] for k in index]
            for suffix, message_class, serialized, which in command_messages(form, kind, names):
                publisher = topics.create_publisher(
                    message_class,
                    topic + suffix,
                    QoSProfile(depth=1),  # reliable: ros2_control matches nothing less
                    # Its own, since a group keeps dead references to what was destroyed.
                    callback_group=MutuallyExclusiveCallbackGroup(),
                    qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                )
                place = topic + suffix, f"{message_class.__module__}.{message_class.__name__}"
                outputs = [Output(*place, kind, names[k]) for k in which]
                at = np.array([index[k] for k in which], dtype=np.intp)
                self._messages.append(OutputMessage(publisher, serialized, at, outputs))
        # Whether one message has all numbers in their order, so that none need be picked.
        self._one_whole = len(self._messages) == 1 and np.array_equal(
            self._messages[0].places, np.arange(len(self._names))
        )
        self._limits: CommandLimits | None = None
        # The bounds of the robot's numbers; finite, so that infinities are beyond them.
        self._low, self._high = (np.zeros(len(self._names)) for _ in range(2))
        self._use(None)
        self.begin()

    def begin(self) -> None:
        """Nothing was sent yet: a loop starts, and the one before it has sent the last command."""
        self._sent.fill(0.0)
        self._sent[[kind == "position" for kind in self._kinds]] = np.nan
        self._leaving = []
        self.commanded = False

    def _use(self, limits: CommandLimits | None) -> None:
        """Refuse what is beyond these limits, or beyond what the messages' types hold."""
        self._limits = limits
        self._low.fill(-_HUGE)
        self._high.fill(_HUGE)
        for message in self._messages:
            self._low[message.places] = message.serialized.low
            self._high[message.places] = message.serialized.high
        least = np.full(self._size, -np.inf)
        most = np.full(self._size, np.inf)
        if self._pd is not None:
            least, most = -self._pd.limit, self._pd.limit
        elif limits is not None:
            least, most = limits.low, limits.high
        ends = [end * self._sign + self._offset for end in (least, most)]
        size = self._size
        np.maximum(self._low[:size], np.minimum(*ends), out=self._low[:size])
        np.minimum(self._high[:size], np.maximum(*ends), out=self._high[:size])

    def publish(
        self,
        command: Array,
        stamp_ns: int,
        manner: Manner = RUNNING,
        limits: CommandLimits | None = None,
    ) -> str:
        """Publish the command, or say why it must not leave.

        Args:
            command: float64 [elements], in policy order and units.
            stamp_ns: on the node's clock.
            manner: of a command that stops no effort is computed, and stiffness may go to 0.
            limits: of the elements.

        Returns:
            "" when it was published; else which number is not finite or beyond its bounds, and
            then nothing was published.
        """
        why = self._make(command, manner, limits)
        if why:
            return why
        values = self._next
        if self._leaving:
            self._send_with_leaving(values, stamp_ns)
        else:
            for publisher, serialized, places, _ in self._messages:
                chosen = values if self._one_whole else values[places]
                publisher.publish(serialized.filled(chosen, stamp_ns))
        self._next, self._sent = self._sent, values
        self._next_own, self._sent_own = self._sent_own, self._next_own
        self.commanded = True
        return ""

    def _make(self, command: Array, manner: Manner, limits: CommandLimits | None) -> str:
        """Compute the robot's numbers; '' or why they must not leave."""
        if self._pd is not None:
            share = manner.effort_share
            command = self._pd.compute(command) if share is None else self._pd.stop(share)
        if limits is not self._limits:
            self._use(limits)
        values, own = self._next, self._next_own
        if self._turned:
            np.multiply(command, self._sign, own)
        else:
            own[:] = command
        if self._shifted:
            np.add(own, self._offset, own)
        if self._holds:
            self._hold(manner)
        # `fmax` and `fmin` change NaN and whatever is beyond its bounds, and bytes are compared
        # in a third of the time of numbers; two zeros may differ in their sign.
        checked = self._checked
        np.fmax(values, self._low, checked)
        np.fmin(checked, self._high, checked)
        if checked.tobytes() != values.tobytes():
            why = self._beyond(values)
            if why:
                return why
        if manner.damped is not self._damped:
            self._damp(manner.damped)
        return ""

    def _beyond(self, values: Array) -> str:
        inside = (values >= self._low) & (values <= self._high)  # false for NaN
        if inside.all():
            return ""
        bad = int(np.flatnonzero(~inside)[0])
        bounds = f"{self._low[bad]:g} to {self._high[bad]:g}"
        return f"{self._kinds[bad]} of {self._names[bad]}: {values[bad]:g}, within {bounds}"

    def _hold(self, manner: Manner) -> None:
        """Held velocities and efforts follow the stops, as all others of their kind do."""
        share = 1.0
        if self._kinds[-1] != "position":
            share = manner.held_effort if self._kinds[-1] == "effort" else manner.held_velocity
        np.multiply(self._held, share, out=self._next[self._size :])

    def _damp(self, damped: bool) -> None:
        self._damped = damped
        for message in self._messages:
            message.serialized.damp(damped)

    def _send_with_leaving(self, values: Array, stamp_ns: int) -> None:
        """Send what is owed to the outputs of the policy before, then this one's messages.

        A topic gets one message in a tick: of two at once a receiver may see the newer one only.
        So what this policy has on such a topic follows in the next tick.
        """
        owed, self._leaving = self._leaving, []
        busy = {id(one.publisher) for one in owed}
        mine = [one for one in self._messages if id(one.publisher) not in busy]
        _send_all([*owed, *mine], values, stamp_ns)

    def publish_owed(self, stamp_ns: int) -> None:
        """Send what is owed to the outputs of the policy before, where this one has no command."""
        owed, self._leaving = self._leaving, []
        _send_all(owed, self._sent, stamp_ns)

    def end(
        self,
        command: Array | None,
        stamp_ns: int,
        manner: Manner = STOPPED,
        limits: CommandLimits | None = None,
    ) -> None:
        """Publish the last command of every output that was ever commanded; arguments as above.

        Where the command is none, or must not leave, it is made from what was sent last:
        positions stay, all else is zero. A topic that fails does not keep others from theirs.
        """
        if command is None or self._make(command, manner, limits):
            if not self.commanded:
                return
            np.copyto(self._next, self._sent)
            self._next[self._moving] = 0.0
        values, owed = self._next, self._leaving
        self._leaving = []
        mine = [one for one in self._messages if np.isfinite(values[one.places]).all()]
        _send_all([*owed, *mine], values, stamp_ns)

    def continue_from(self, before: CommandPublisher, damped: bool = False) -> None:
        """Take over from another policy's, between two ticks; nothing is published yet.

        Args:
            before: publishes no more.
            damped: its positions end with stiffness 0, where its message carries gains.
        """
        if self._pd is not None and before._pd is not None:
            self._pd.continue_from(before._pd)
        owed = list(before._leaving)
        if before.commanded:
            owed += leaving(before._messages, before._sent, self._messages, damped)
            carry_over(before._messages, before._sent, self._messages, self._sent)
            self.commanded = True
        self._leaving = owed

    def stopped_by_guard(self) -> None:
        """The guard has sent 0 for all but the positions: that was sent last."""
        if self._pd is not None:
            self._pd.stopped_by_guard()
        if self.commanded:
            self._sent[self._moving] = 0.0

    def guarded_outputs(self) -> list[GuardedOutput]:
        """Every topic with the message that stops it; positions need none."""
        found = []
        for message in self._messages:
            holds = any(output.kind == "position" for output in message.outputs)
            zeros = np.zeros(len(message.places))
            stop = None if holds else message.serialized.filled(zeros, 0)
            found.append(
                GuardedOutput(
                    topic=message.publisher.topic_name,
                    type=message.serialized.type_name,
                    size=len(message.places),
                    stop=stop,
                    stamp_at=message.serialized.stamp_at if stop is not None else None,
                )
            )
        return found

    @property
    def unusable_measurements(self) -> int | None:
        """How many ticks had no effort since a measurement was no number; None: no efforts."""
        return self._pd.not_finite if self._pd is not None else None

    @property
    def publishers(self) -> list[Publisher]:
        """One for each topic."""
        return [message.publisher for message in self._messages]

    def wait_for_acknowledgement(self, timeout_s: float, but: Sequence[Publisher] = ()) -> bool:
        """Whether every receiver confirmed the last command; returns at the timeout at latest.

        Args:
            timeout_s: how long to wait, all in all.
            but: publishers that need not be asked.
        """
        deadline = time.monotonic() + timeout_s
        acknowledged = True
        for publisher in self.publishers:
            if any(publisher is one for one in but):
                continue
            rest = max(0.0, deadline - time.monotonic())
            acknowledged &= bool(publisher.wait_for_all_acked(Duration(seconds=rest)))
        return acknowledged


def _send_all(messages: Sequence[Leaving | OutputMessage], values: Array, stamp_ns: int) -> None:
    """Send each of them, also after one that failed; then raise what the first one raised."""
    errors: list[Exception] = []
    for one in messages:
        try:
            one.send(values, stamp_ns)
        except Exception as error:  # noqa: BLE001 - the others are owed theirs all the same
            errors.append(error)
    if errors:
        raise errors[0]


def _check_order(order: list[str], commanded: list[str]) -> None:
    key = "parameter command.joint_names"
    for name in order:
        if name not in commanded:
            expected = f"commanded joints ({', '.join(commanded)})"
            raise refuse("", key, expected, f"'{name}'", did_you_mean(name, commanded))
    missing = [name for name in commanded if name not in order]
    if missing or len(set(order)) != len(order):
        got = f"none of {', '.join(missing)}" if missing else "a joint twice"
        raise refuse("", key, f"every commanded joint once ({', '.join(commanded)})", got)
