"""Publishers that record their messages, and the commands in them; no graph is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.spec.elements import ActionElement

_FIELDS = {"position": "positions", "velocity": "velocities", "effort": "effort"}


class FakePublisher:
    """One topic: every published message, decoded."""

    def __init__(self, message_type: Any, topic: str, heard: list[tuple[str, Any]]) -> None:
        self.message_type, self.topic = message_type, topic
        self.heard = heard  # messages of all topics, in order
        self.fails = False
        self.acknowledged = True

    def publish(self, raw: bytes) -> None:
        from rclpy.serialization import deserialize_message

        if self.fails:
            raise RuntimeError(f"{self.topic} is gone")
        self.heard.append((self.topic, deserialize_message(raw, self.message_type)))

    def wait_for_all_acked(self, _timeout: Any) -> bool:
        return self.acknowledged


class FakeTopics:
    """Creates publishers; one for each topic and type, like a reload does."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.publishers: dict[tuple[str, str], FakePublisher] = {}

    def create_publisher(self, message_type: Any, topic: str, *_: Any, **__: Any) -> Any:
        key = topic, message_type.__name__
        if key not in self.publishers:
            self.publishers[key] = FakePublisher(message_type, topic, self.heard)
        return self.publishers[key]


def elements_of(**kinds: str) -> list[ActionElement]:
    """`elements_of(a="velocity", grip="value")`"""
    return [ActionElement(name.replace("__", "."), kind) for name, kind in kinds.items()]


def make_commands(
    topics: FakeTopics,
    elements: Sequence[ActionElement],
    form: Any = None,
    robot: dict[str, RobotJoint] | None = None,
    order: Sequence[str] = (),
    pd: Any = None,
) -> Any:
    """Return a CommandPublisher on these topics."""
    from policy_runner.ros.outputs.command_messages import CommandFormat
    from policy_runner.ros.outputs.command_publisher import CommandPublisher

    robot = robot or {}
    joints = {e.joint: robot.get(e.joint, RobotJoint(e.joint)) for e in elements}
    form = form or CommandFormat("joint_state")
    return CommandPublisher(topics, "cmd", form, elements, joints, list(order), pd)


def numbers_of(message: Any) -> dict[tuple[str, str], float]:
    """(kind, name) -> value of a JointState, JointTrajectory, Float64MultiArray or TwistStamped."""
    kind = type(message).__name__
    found: dict[tuple[str, str], float] = {}
    if kind == "JointState":
        for field in _FIELDS:
            values = getattr(message, field)
            found |= {(field, n): v for n, v in zip(message.name, values, strict=False)}
    elif kind == "JointTrajectory":
        for field, many in _FIELDS.items():
            values = getattr(message.points[0], many)
            found |= {(field, n): v for n, v in zip(message.joint_names, values, strict=False)}
    elif kind == "Float64MultiArray":
        names = message.layout.dim[0].label.split(",")
        found |= {("", n): v for n, v in zip(names, message.data, strict=True)}
    elif kind == "TwistStamped":
        for part in ("linear", "angular"):
            for axis in "xyz":
                value = getattr(getattr(message.twist, part), axis)
                found["twist", f"{part}.{axis}"] = value
    else:
        found["", ""] = message.data
    return found


class Receiver:
    """The newest value of every output: by topic, kind and name."""

    def __init__(self, topics: FakeTopics) -> None:
        self._topics = topics
        self._taken = 0
        self.last: dict[tuple[str, str, str], float] = {}
        self.check: Callable[[tuple[str, str, str], float], None] | None = None

    def take(self) -> None:
        """Take the messages published since the last call."""
        heard = self._topics.heard
        for topic, message in heard[self._taken :]:
            for (kind, name), value in numbers_of(message).items():
                assert np.isfinite(value), f"{topic} {kind} {name}: {value}"
                if self.check is not None:
                    self.check((topic, kind, name), value)
                self.last[topic, kind, name] = value
        self._taken = len(heard)
