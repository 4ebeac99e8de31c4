"""Commands out: values placed by name, in the receiver's order, into bytes made beforehand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.model import Array
from policy_runner.core.settings import RUNNING, Manner
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.parameters.command import JOINT_KINDS
from policy_runner.ros.messages.guard_contract import Output
from policy_runner.ros.messages.serialized import SerializedCommand
from policy_runner.ros.messages.topics import Publishers
from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

_Part = tuple[Publisher, SerializedCommand, npt.NDArray[np.intp]]


class CommandPublisher:
    """Publishes one message per kind of command (position, velocity, effort, twist) each tick.

    Robot value = sign * policy value, plus the joint's offset for a position. Topic `name`;
    with several kinds in one policy `name/<kind>` for each; a Float64 per joint goes to
    `.../<joint>`.

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
        self._position = np.array([e.kind == "position" for e in elements], dtype=bool)
        self._robot_values = np.zeros(len(elements))
        self._parts: list[_Part] = []
        self._damped = False
        for kind in kinds:
            index = [k for k, element in enumerate(elements) if element.kind == kind]
            names = [joints[k].name for k in index]
            if kind == kinds[0] and kind in JOINT_KINDS:
                names += [held for held in form.held if held not in names]
            if receiver_order and kind in JOINT_KINDS:
                index.sort(key=lambda k: receiver_order.index(joints[k].name))
                names.sort(key=list(receiver_order).index)
            topic = name if len(kinds) == 1 else f"{name}/{kind}"
            for suffix, message_class, serialized, which in command_messages(form, kind, names):
                publisher = topics.create_publisher(
                    message_class,
                    topic + suffix,
                    QoSProfile(depth=1),  # reliable: ros2_control matches nothing less
                    # Its own, since a group keeps dead references to what was destroyed.
                    callback_group=MutuallyExclusiveCallbackGroup(),
                    qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                )
                part = np.array([index[k] for k in which], dtype=np.intp)
                self._parts.append((publisher, serialized, part))

    def publish(self, command: Array, stamp_ns: int, manner: Manner = RUNNING) -> None:
        """Publish the command, float64 [elements] in policy order, stamped on the node's clock.

        `manner`: of a command that stops no effort is computed, and stiffness may go to 0.
        """
        if self._pd is not None:
            share = manner.effort_share
            command = self._pd.compute(command) if share is None else self._pd.stop(share)
        if manner.damped is not self._damped:
            self._damped = manner.damped
            for _, serialized, _ in self._parts:
                serialized.damp(manner.damped)
        values = self._robot_values
        np.multiply(command, self._sign, out=values)
        np.add(values, self._offset, out=values)
        for publisher, serialized, index in self._parts:
            publisher.publish(serialized.filled(values[index], stamp_ns))

    def continue_from(self, before: CommandPublisher) -> None:
        """Take over from another policy's, between two ticks."""
        if self._pd is not None and before._pd is not None:
            self._pd.continue_from(before._pd)

    def stopped_by_guard(self) -> None:
        """The guard has sent 0 for all but the positions."""
        if self._pd is not None:
            self._pd.stopped_by_guard()

    def outputs(self) -> list[Output]:
        """Every topic with the message that stops it; positions need none."""
        found = []
        for publisher, serialized, index in self._parts:
            held = self._position[index].any()
            stop = None if held else serialized.filled(np.zeros(len(index)), 0)
            found.append(
                Output(
                    topic=publisher.topic_name,
                    type=serialized.type_name,
                    size=len(index),
                    stop=stop,
                    stamp_at=serialized.stamp_at if stop is not None else None,
                )
            )
        return found

    @property
    def unusable_measurements(self) -> int | None:
        """How often efforts were 0 since joints measured no numbers; None: not computed here."""
        return self._pd.not_finite if self._pd is not None else None

    @property
    def publishers(self) -> list[Publisher]:
        """One for each topic."""
        return [publisher for publisher, _, _ in self._parts]

    def wait_for_acknowledgement(self, timeout_s: float) -> bool:
        """Whether every receiver confirmed the last command; returns at the timeout at latest."""
        deadline = time.monotonic() + timeout_s
        acknowledged = True
        for publisher, _, _ in self._parts:
            rest = max(0.0, deadline - time.monotonic())
            acknowledged &= bool(publisher.wait_for_all_acked(Duration(seconds=rest)))
        return acknowledged


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
