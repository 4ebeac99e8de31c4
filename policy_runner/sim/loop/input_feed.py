"""Writes the readings of a plant into the inputs of a policy, as the node's readers would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from policy_runner.core.errors import Problem, Refusal, collect, refuse
from policy_runner.core.inputs.slot import InputSlot, SequenceKeeper
from policy_runner.core.model import Array
from policy_runner.robot.feed import feed
from policy_runner.robot.load import LoadedPolicy
from policy_runner.sim.loop.sensor_numbers import (
    TWIST_AXES,
    ImageTimes,
    JointOrder,
    SensorNoise,
    leaves_of,
    numbers_of,
)
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.sensor_keys import (
    MESSAGE_TYPES,
    CameraSensor,
    ImuSensor,
    JointStatesSensor,
    Sensor,
)

TWISTS = ("geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped")
# Returns the fields of a message for `robot.feed.feed`; None: no message in this tick.
Source = Callable[[], Mapping[str, Any] | None]
Writer = Callable[[int], None]  # writes at a time [ns]
# Changes the numbers of an input before they are written: (input name, numbers) -> numbers. The
# numbers of joints are one array for each of position, velocity and effort.
Change = Callable[[str, str, Array], Array]


class InputFeed:
    """The inputs of one policy, fed by one plant.

    An input belongs to the sensor with its topic and message type. A twist input whose topic no
    sensor has is the command: `command` (vx, vy, wz) [m/s, rad/s].

    Attributes:
        command: the commanded velocity, float64 [6], by `TWIST_AXES`.
        skipped: names of inputs that get no message in the next call, for lost packets.
        change: changes numbers before they are written, see `Change`; None: no change.
        on_image: called with the name of an input and every image before it is written.
    """

    def __init__(
        self,
        loaded: LoadedPolicy,
        plant: Plant,
        noise: SensorNoise | None = None,
        sources: Mapping[str, Source] | None = None,
        images: Callable[[CameraSensor], Any] | None = None,
    ) -> None:
        """Match inputs and sensors.

        Args:
            loaded: the policy.
            plant: the robot.
            noise: noise on the sensors; None: none.
            sources: input name -> source of its messages, for inputs that the robot lacks.
            images: renders a camera into an Image message; None: cameras are refused.

        Raises:
            Refusal: an input has no sensor, with the topics of both sides.
        """
        self._plant, self._noise, self._images = plant, noise, images
        self.command = np.zeros(6)
        self.skipped: set[str] = set()
        self.change: Change | None = None
        self.on_image: Callable[[str, Any], None] | None = None
        self._image_times: list[ImageTimes] = []
        self._writers: list[tuple[str, Writer]] = []
        problems: list[Problem | str] = []
        for name, slot in loaded.pipeline.slots.items():
            with collect(problems):
                self._writers.append((name, self._writer(slot, (sources or {}).get(name), loaded)))
        if problems:
            raise Refusal(problems)

    def feed(self, now_ns: int) -> None:
        """Write one message of every input, stamped and arrived at this time [ns]."""
        for name, write in self._writers:
            if name not in self.skipped:
                write(now_ns)

    def _writer(self, slot: InputSlot, source: Source | None, loaded: LoadedPolicy) -> Writer:
        if source is not None:
            return _from_source(slot, source)
        if slot.text is not None:
            return _from_parameter(slot)
        sensors = self._plant.robot.spec.sensors
        topic, kind = slot.spec.topic, slot.spec.type
        sensor = sensors.get(topic)
        if sensor is None and kind in TWISTS:
            return self._from_command(slot)
        if sensor is None or MESSAGE_TYPES[sensor.type] != kind:
            offered = ", ".join(f"{t} ({MESSAGE_TYPES[s.type]})" for t, s in sensors.items())
            raise refuse(
                self._plant.file,
                f"sensors.{topic}",
                f"a sensor for input {slot.name} ({topic}, {kind})",
                f"{offered or 'no sensor'}",
                "add it, or give the input another topic or inputs.<name>.type",
            )
        if isinstance(sensor, JointStatesSensor):
            return self._from_joints(slot, sensor)
        if isinstance(sensor, CameraSensor):
            return self._from_camera(slot, sensor)
        return self._from_numbers(slot, sensor)

    def _from_command(self, slot: InputSlot) -> Writer:
        prefix = "twist." if slot.spec.type.endswith("Stamped") else ""
        copy = self._copier(slot, tuple(prefix + axis for axis in TWIST_AXES))

        def write(now_ns: int) -> None:
            copy(self.command)
            slot.received(now_ns, now_ns)

        return write

    def _from_numbers(self, slot: InputSlot, sensor: Sensor) -> Writer:
        plant, noise = self._plant, self._noise
        copy = self._copier(slot, leaves_of(sensor, len(numbers_of(sensor, plant))))

        def write(now_ns: int) -> None:
            numbers = numbers_of(sensor, plant)
            if noise is not None and isinstance(sensor, ImuSensor):
                numbers = noise.on_imu(numbers, sensor)
            copy(numbers)
            slot.received(now_ns, now_ns)

        return write

    def _copier(self, slot: InputSlot, leaves: tuple[str, ...]) -> Callable[[Array], None]:
        """Return a function that copies numbers in the order of `leaves` into the slot."""
        place = {leaf: k for k, leaf in enumerate(leaves)}
        copies = []
        for path, array in slot.arrays.items():
            missing = [leaf for leaf in slot.paths[path] if leaf not in place]
            if missing:
                expected = f"fields that the simulated robot has ({', '.join(leaves)})"
                raise refuse(self._plant.file, f"input {slot.name}", expected, ", ".join(missing))
            index = np.array([place[leaf] for leaf in slot.paths[path]], dtype=np.intp)
            copies.append((array, index))
        keepers = [keep for keep in slot.keepers.values() if isinstance(keep, SequenceKeeper)]

        def copy(numbers: Array) -> None:
            if self.change is not None:
                numbers = self.change(slot.name, "", numbers)
            for array, index in copies:
                array[:] = numbers[index]
            for keep in keepers:
                keep(numbers)

        return copy

    def _from_joints(self, slot: InputSlot, sensor: JointStatesSensor) -> Writer:
        order = JointOrder(sensor, self._plant)
        plant, noise, joints = self._plant, self._noise, slot.joints
        names = list(order.names)

        def write(now_ns: int) -> None:
            values = order.values(plant)
            if noise is not None:
                values = noise.on_joints(values, sensor)
            if self.change is not None:
                change = self.change
                values = {kind: change(slot.name, kind, one) for kind, one in values.items()}
            if joints is not None:
                read: dict[str, Any] = {kind: values[kind] for kind in slot.joint_kinds}
                joints.merge(names, read, now_ns)
            slot.received(now_ns, now_ns)

        return write

    def _from_camera(self, slot: InputSlot, sensor: CameraSensor) -> Writer:
        images = self._images
        if images is None:
            raise refuse(self._plant.file, f"input {slot.name}", "a renderer of images", "none")
        keep = slot.keepers.get("")
        times = ImageTimes(sensor.rate)
        self._image_times.append(times)
        newest: list[Any] = [None]

        def write(now_ns: int) -> None:
            if times.due(now_ns):
                newest[0] = images(sensor)
            if self.on_image is not None:
                self.on_image(slot.name, newest[0])
            # Between two images the newest one is sent again, as by the node in lockstep.
            if keep is not None:
                keep(newest[0])
            slot.received(now_ns, now_ns)

        return write

    def begin(self) -> None:
        """Start again at time 0."""
        for times in self._image_times:
            times.restart()


def _from_source(slot: InputSlot, source: Source) -> Writer:
    def write(now_ns: int) -> None:
        fields = source()
        if fields is not None:
            feed(slot, fields, now_ns)

    return write


def _from_parameter(slot: InputSlot) -> Writer:
    """No message: the text of the parameter `prompt` stays.

    Raises:
        Refusal: there is no text.
    """
    if slot.missing():
        expected = f"a text for input {slot.name}, which no sensor has"
        raise refuse("", "parameter prompt", expected, "none")
    return lambda _now_ns: None
