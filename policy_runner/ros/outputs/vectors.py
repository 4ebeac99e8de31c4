"""Publishes the model's input and output vectors with the elements' names, if enabled."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from policy_runner.ros.messages.serialized import SerializedCommand
from policy_runner.ros.messages.topics import Publishers

_Part = tuple[Publisher, SerializedCommand, Callable[[], npt.NDArray[Any]]]


class VectorPublisher:
    """Publishes `~/observation` and `~/action` as Float64MultiArray.

    The label of the dimension lists the names of the elements. The control thread publishes once
    for each inference.
    """

    def __init__(
        self,
        topics: Publishers,
        observation: Mapping[str, tuple[npt.NDArray[Any], Sequence[str]]],
        action: Callable[[], npt.NDArray[Any]],
        action_names: Sequence[str],
    ) -> None:
        """Create the publishers.

        Args:
            topics: creates the publishers.
            observation: tensor name -> its buffer and the names of its elements. With several
                tensors the topics are `~/observation/<tensor>`.
            action: returns the present action. Called for each publish, because the decoder
                alternates between two buffers.
            action_names: names of the action's elements.
        """
        self._topics = topics
        self._parts: list[_Part] = []
        for name, (buffer, names) in observation.items():
            topic = "~/observation" if len(observation) == 1 else f"~/observation/{name}"
            self._parts.append(self._part(topic, partial(buffer.reshape, -1), names))
        self._parts.append(self._part("~/action", action, action_names))

    def _part(
        self, topic: str, vector: Callable[[], npt.NDArray[Any]], names: Sequence[str]
    ) -> _Part:
        size = len(names)
        message = Float64MultiArray(data=array.array("d", bytes(8 * size)))
        label = ",".join(names)
        message.layout.dim = [MultiArrayDimension(label=label, size=size, stride=size)]
        paths = [f"data[{k}]" for k in range(size)]
        serialized = SerializedCommand(message, "std_msgs/msg/Float64MultiArray", paths)
        publisher = self._topics.create_publisher(Float64MultiArray, topic, QoSProfile(depth=10))
        return publisher, serialized, vector

    def publish(self) -> None:
        """Publish the present content of the buffers."""
        for publisher, serialized, vector in self._parts:
            publisher.publish(serialized.filled(vector().astype(np.float64), 0))
