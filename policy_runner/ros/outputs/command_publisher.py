"""Publishes commands: writes values by name, in the receiver's order, into prepared bytes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from policy_runner.core.chunks.trajectory_player import TrajectoryPlayer
from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.model import Array
from policy_runner.core.settings import RUNNING, STOPPED, CommandLimits, Manner
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.parameters.command import JOINT_KINDS
from policy_runner.ros.messages.guard_contract import GuardedOutput
from policy_runner.ros.messages.topics import Publishers
from policy_runner.ros.outputs.command_messages import CommandFormat, check_order, command_messages
from policy_runner.ros.outputs.ledger import (
    Leaving,
    Output,
    OutputMessage,
    carry_over,
    leaving,
)
from policy_runner.ros.outputs.trajectory_messages import TrajectoryMessages

_HUGE = float(np.finfo(np.float64).max)


class CommandPublisher:
    """Publishes one message per kind of command (position, velocity, effort, twist) each tick.

    Robot value = sign * policy value, plus the joint's offset for a position. The topic is `name`.
    If one policy has several kinds, the topics are `name/<kind>`. Messages of type Float64, one
    for each joint, go to `.../<joint>`.

    This is the last gate. It refuses numbers that are not finite, or that are outside their bounds
    or the range of their type, no matter which code computed them. It stores the last sent
    numbers, so it can stop the robot without any other part of the node.
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
            topics: creates the publishers.
            name: the topic; see the class.
            form: the receiver's format.
            elements: elements of the policy's command, in the policy's order.
            robot: policy joint name -> joint of the robot.
            receiver_order: robot names of all commanded and held joints, in the receiver's order;
                empty: the policy's order.
            pd: if given, the elements are positions, and the efforts of this PD law are published.

        Raises:
            Refusal: the message type cannot carry the command, or `receiver_order` does not name
                exactly the commanded and held joints.
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
            check_order(list(receiver_order), sorted({*commanded, *form.held}))
        self._sign = np.array([joint.sign for joint in joints])
        self._offset = np.array(
            [j.offset if e.kind == "position" else 0.0 for j, e in zip(joints, elements)]
        )
        self._turned = bool(np.any(self._sign != 1.0))
        self._shifted = bool(np.any(self._offset))
        # All numbers of the command: first the elements, then the held joints. The message of the
        # first kind carries the held joints.
        self._size = len(elements)
        held = list(form.held) if kinds[0] in JOINT_KINDS else []
        self._held = np.array([form.held[one] for one in held])
        self._names = [joint.name for joint in joints] + held
        self._kinds = [element.kind for element in elements] + [kinds[0]] * len(held)
        self._moving = np.flatnonzero([kind != "position" for kind in self._kinds])
        # The numbers of the next and of the last message; the two buffers alternate. NaN: never
        # sent.
        self._next, self._sent = (np.zeros(len(self._names)) for _ in range(2))
        self._next_own, self._sent_own = self._next[: self._size], self._sent[: self._size]
        self._holds = bool(held)
        self._checked = np.zeros(len(self._names))
        self._messages: list[OutputMessage] = []
        self._leaving: list[Leaving] = []
        self._damped = False
        self.commanded = False  # whether a command was sent, by this or by an earlier policy
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
                    QoSProfile(depth=1),  # reliable: ros2_control requires it
                    # Its own group: a group keeps dead references to destroyed entities.
                    callback_group=MutuallyExclusiveCallbackGroup(),
                    qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                )
                place = topic + suffix, f"{message_class.__module__}.{message_class.__name__}"
                outputs = [Output(*place, kind, names[k]) for k in which]
                at = np.array([index[k] for k in which], dtype=np.intp)
                self._messages.append(OutputMessage(publisher, serialized, at, outputs))
        # True if one message has all numbers in their order, so that no selection is needed.
        self._one_whole = len(self._messages) == 1 and np.array_equal(
            self._messages[0].places, np.arange(len(self._names))
        )
        self._trajectories: TrajectoryMessages | None = None
        self._limits: CommandLimits | None = None
        # The bounds of the robot's numbers. They are finite, so that infinities are outside.
        self._low, self._high = (np.zeros(len(self._names)) for _ in range(2))
        self._use(None)
        self.begin()

    def begin(self) -> None:
        """Forget the sent numbers at the start of a loop.

        The loop before it has already sent its last command.
        """
        self._sent.fill(0.0)
        self._sent[[kind == "position" for kind in self._kinds]] = np.nan
        self._leaving = []
        self.commanded = False
        self._interrupt()

    def _interrupt(self) -> None:
        if self._trajectories is not None:
            self._trajectories.interrupt()

    def _use(self, limits: CommandLimits | None) -> None:
        """Set the bounds from these limits and from the ranges of the messages' types."""
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
        """Publish the command, or return why it must not be published.

        Args:
            command: float64 [elements], in policy order and units.
            stamp_ns: time on the node's clock [ns].
            manner: a stopping command gets no new effort from the PD law, and its stiffness may
                go to 0.
            limits: limits of the elements.

        Returns:
            "" if the command was published. Otherwise the number that is not finite or outside
            its bounds; then nothing was published.
        """
        why = self._make(command, manner, limits)
        if why:
            return why
        values = self._next
        if self._leaving:
            self._send_with_leaving(values, stamp_ns)
        elif self._trajectories is None or not self._trajectories.send(
            command, stamp_ns, manner is RUNNING, limits
        ):
            for publisher, serialized, places, _ in self._messages:
                chosen = values if self._one_whole else values[places]
                publisher.publish(serialized.filled(chosen, stamp_ns))
        self._next, self._sent = self._sent, values
        self._next_own, self._sent_own = self._sent_own, self._next_own
        self.commanded = True
        return ""

    def send_trajectories(self, player: TrajectoryPlayer, lead_ns: int) -> None:
        """Send the trajectories of a policy with chunks while the robot can follow them.

        Args:
            player: plans them.
            lead_ns: time between the sending and the first point [ns].
        """
        ((publisher, _, places, outputs),) = self._messages
        names = [output.name for output in outputs]
        robot = (self._sign, self._offset)
        self._trajectories = TrajectoryMessages(player, names, places, robot, lead_ns, publisher)

    def _make(self, command: Array, manner: Manner, limits: CommandLimits | None) -> str:
        """Compute the robot's numbers; return '' or why they must not be published."""
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
        # `fmax` and `fmin` change NaN and every number outside its bounds. Comparing bytes takes a
        # third of the time of comparing numbers. Two zeros may differ in their sign.
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
        """Set the held joints; held velocities and efforts stop like the other joints' do."""
        share = 1.0
        if self._kinds[-1] != "position":
            share = manner.held_effort if self._kinds[-1] == "effort" else manner.held_velocity
        np.multiply(self._held, share, out=self._next[self._size :])

    def _damp(self, damped: bool) -> None:
        self._damped = damped
        for message in self._messages:
            message.serialized.damp(damped)

    def _send_with_leaving(self, values: Array, stamp_ns: int) -> None:
        """Send the owed last commands of the previous policy, then this policy's messages.

        Each topic gets one message in a tick: a receiver may miss the older one of two. So on such
        a topic this policy's first message follows in the next tick.
        """
        owed, self._leaving = self._leaving, []
        busy = {id(one.publisher) for one in owed}
        mine = [one for one in self._messages if id(one.publisher) not in busy]
        _send_all([*owed, *mine], values, stamp_ns)

    def publish_owed(self, stamp_ns: int) -> None:
        """Send the owed last commands of the previous policy while this policy has no command."""
        owed, self._leaving = self._leaving, []
        _send_all(owed, self._sent, stamp_ns)

    def end(
        self,
        command: Array | None,
        stamp_ns: int,
        manner: Manner = STOPPED,
        limits: CommandLimits | None = None,
    ) -> None:
        """Publish the last command of every output that was ever commanded.

        If there is no command, or it must not be published, the last sent numbers are used:
        positions stay, everything else is zero. A failing topic does not block the others. The
        arguments are those of `publish`.
        """
        if command is None or self._make(command, manner, limits):
            if not self.commanded:
                return
            np.copyto(self._next, self._sent)
            self._next[self._moving] = 0.0
        self._interrupt()
        values, owed = self._next, self._leaving
        self._leaving = []
        mine = [one for one in self._messages if np.isfinite(values[one.places]).all()]
        _send_all([*owed, *mine], values, stamp_ns)

    def continue_from(self, before: CommandPublisher, damped: bool = False) -> None:
        """Take over from the previous policy's publisher between two ticks, without publishing.

        Args:
            before: the previous policy's publisher, which publishes no more.
            damped: end its positions with stiffness 0, if its message carries gains.
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
        """Note that the guard has sent the last command: 0 for everything except positions."""
        self._interrupt()
        if self._pd is not None:
            self._pd.stopped_by_guard()
        if self.commanded:
            self._sent[self._moving] = 0.0

    def guarded_outputs(self) -> list[GuardedOutput]:
        """Return every topic with the message that stops it; positions need no message."""
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
                    stamps_at=message.serialized.stamps_at if stop is not None else (),
                )
            )
        return found

    @property
    def unusable_measurements(self) -> int | None:
        """Count of ticks without an effort because a measurement was not finite.

        None: this publisher computes no efforts.
        """
        return self._pd.not_finite if self._pd is not None else None

    @property
    def publishers(self) -> list[Publisher]:
        """The publishers, one for each topic."""
        return [message.publisher for message in self._messages]

    def wait_for_acknowledgement(self, timeout_s: float, but: Sequence[Publisher] = ()) -> bool:
        """Wait until every receiver has confirmed the last command; return whether all did.

        Args:
            timeout_s: longest total time to wait [s].
            but: publishers to leave out.
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
    """Send every message, even after a failure; then raise the first error."""
    errors: list[Exception] = []
    for one in messages:
        try:
            one.send(values, stamp_ns)
        except Exception as error:  # noqa: BLE001 - the other topics must get their messages
            errors.append(error)
    if errors:
        raise errors[0]
