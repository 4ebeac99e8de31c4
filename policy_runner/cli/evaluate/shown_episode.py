"""Runs one episode again, to record its messages as MCAP and to show its frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policy_runner.cli.drawing.style import drawing
from policy_runner.core.model import Array
from policy_runner.core.pipeline.pipeline import Step
from policy_runner.ros.black_box.mcap_file import McapWriter
from policy_runner.sim.camera import Cameras, Pixels, RenderedImage
from policy_runner.sim.evaluate.episode import run_episode
from policy_runner.sim.evaluate.plan import Plan
from policy_runner.sim.evaluate.sensor_cdr import (
    array_bytes,
    definition,
    image_bytes,
    imu_bytes,
    joint_state_bytes,
    odometry_bytes,
    twist_bytes,
)
from policy_runner.sim.evaluate.subject import Subject, bind
from policy_runner.sim.loop.policy_in_loop import PolicyInLoop
from policy_runner.sim.loop.sensor_numbers import JointOrder
from policy_runner.sim.robot_file.sensor_keys import (
    CameraSensor,
    ImuSensor,
    JointStatesSensor,
    OdometrySensor,
)

LIBRARY = "policy_runner simulation 1"
COMMANDS, BASE = "commands", "simulation/base"
_FRAMES, _COLUMNS = 12, 4
_WIDTH, _HEIGHT = 320, 240
_OF_RADIUS = 2.6  # 1 / tan(half of the 45 degrees of the view), and a margin
_ODOMETRY, _TWIST = "nav_msgs/msg/Odometry", "geometry_msgs/msg/Twist"
Serialize = Callable[[int], bytes]  # stamp [ns] -> message


class Shot(NamedTuple):
    """One frame, and its time [s]."""

    time_s: float
    pixels: Pixels


class EpisodeRecorder:
    """Writes the messages of an episode: inputs, commands, and the true motion of the base."""

    def __init__(self, loop: PolicyInLoop, stream: Any) -> None:
        """Connect to a loop, after its episode has begun.

        Args:
            loop: policy and robot.
            stream: a new binary file.
        """
        self._loop, self._writer = loop, McapWriter(stream, LIBRARY)
        self._channels: dict[str, int] = {}
        self._waiting: list[tuple[str, str, Serialize]] = []
        self._joints: dict[str, dict[str, Array]] = {}
        self._topics = {n: slot.spec.topic for n, slot in loop.loaded.pipeline.slots.items()}
        self._types = {n: slot.spec.type for n, slot in loop.loaded.pipeline.slots.items()}
        self._sensors = loop.plant.robot.spec.sensors
        self._before = loop.inputs.change, loop.output.change
        loop.inputs.change, loop.output.change = self._read, self._sent
        loop.inputs.on_image = self._see

    def _read(self, name: str, kind: str, numbers: Array) -> Array:
        """Note the numbers of an input, as the policy gets them."""
        change = self._before[0]
        if change is not None:
            numbers = change(name, kind, numbers)
        topic, of_type, kept = self._topics[name], self._types[name], numbers.copy()
        sensor = self._sensors.get(topic)
        if isinstance(sensor, JointStatesSensor):
            first = not self._joints.get(name)
            values = self._joints.setdefault(name, {})
            values[kind] = kept
            names = JointOrder(sensor, self._loop.plant).names if first else []
            if first:
                self._waiting.append((topic, of_type, _joints(names, values)))
        elif isinstance(sensor, ImuSensor):
            self._waiting.append((topic, of_type, _imu(sensor.frame_id, kept)))
        elif isinstance(sensor, OdometrySensor):
            frames = sensor.frame_id, sensor.child_frame_id
            self._waiting.append((topic, of_type, _odometry(*frames, kept)))
        elif sensor is None:
            self._waiting.append((topic, of_type, _twist(of_type, kept)))
        else:
            self._waiting.append((topic, of_type, lambda _stamp: array_bytes(kept)))
        return numbers

    def _see(self, name: str, image: RenderedImage) -> None:
        """Note an image."""
        topic, sensor = self._topics[name], self._sensors[self._topics[name]]
        assert isinstance(sensor, CameraSensor)
        frame = sensor.frame_id
        self._waiting.append(
            (topic, self._types[name], lambda stamp_ns: image_bytes(stamp_ns, frame, image))
        )

    def _sent(self, kind: str, names: Sequence[str], values: Array) -> Array:
        """Note a command, before the errors that the evaluation adds."""
        kept = values.copy()
        if kind == "twist":
            self._waiting.append((COMMANDS, _TWIST, lambda _stamp: _axes(names, kept)))
        else:
            serialize = _joints(list(names), {kind: kept})
            self._waiting.append((f"{COMMANDS}/{kind}", "sensor_msgs/msg/JointState", serialize))
        change = self._before[1]
        return values if change is None else change(kind, names, values)

    def after_tick(self) -> None:
        """Write what the tick read and sent, stamped with its time."""
        loop, plant = self._loop, self._loop.plant
        stamp_ns = round(loop.ticks * loop.period_s * 1e9)
        read, base = plant.read, plant.base
        numbers = np.concatenate(
            (read.position(base), read.orientation(base), *read.velocity(base))
        )
        self._waiting.append((BASE, _ODOMETRY, _odometry("world", base, numbers)))
        for topic, of_type, serialize in self._waiting:
            if topic not in self._channels:
                schema = (of_type, "ros2msg", definition(of_type))
                self._channels[topic] = self._writer.channel(f"/{topic}", schema, "cdr")
            self._writer.message(self._channels[topic], stamp_ns, serialize(stamp_ns))
        self._waiting.clear()
        for values in self._joints.values():
            values.clear()

    def finish(self) -> None:
        """End the file."""
        self._writer.finish()


def show_episode(
    subject: Subject, plan: Plan, number: int, frames: Path | None, record: Path | None
) -> None:
    """Run an episode, and write its frames and its messages.

    Args:
        subject: policy and robot.
        plan: what is drawn.
        number: of the episode.
        frames: a PNG; None: no frames.
        record: an MCAP file that does not exist; None: no recording.

    Raises:
        Refusal: there is no OpenGL without a screen.
    """
    loop = bind(subject)
    cameras = None if frames is None else Cameras(loop.plant)
    stream = None if record is None else record.open("xb")
    recorder: EpisodeRecorder | None = None
    shots: list[Shot] = []
    every = max(1, round(plan.seconds / loop.period_s / _FRAMES))

    def begun() -> None:
        nonlocal recorder
        if stream is not None:
            recorder = EpisodeRecorder(loop, stream)

    def after(_loop: PolicyInLoop, _step: Step) -> None:
        if recorder is not None:
            recorder.after_tick()
        if cameras is not None and loop.ticks % every == 0:
            shots.append(_shot(cameras, loop))

    try:
        episode = run_episode(loop, plan, number, after, begun)
        if cameras is not None and frames is not None:
            if episode.fell_s is not None and not episode.diverged:
                shots.append(_shot(cameras, loop))
            draw_frames(shots, frames, f"episode {number} of {loop.loaded.spec.name}")
        if recorder is not None:
            recorder.finish()
    finally:
        if stream is not None:
            stream.close()
        if cameras is not None:
            cameras.close()
        loop.close()


def draw_frames(shots: Sequence[Shot], path: Path, title: str) -> None:
    """Draw frames as a sheet, each with its time.

    Args:
        shots: in order.
        path: the PNG.
        title: above the sheet.
    """
    pyplot = drawing()
    columns = min(_COLUMNS, max(1, len(shots)))
    rows = max(1, -(-len(shots) // columns))
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(2.6 * columns, 2.2 * rows + 0.4), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for one in axes.flat:
        one.set_axis_off()
    for one, shot in zip(axes.flat, shots):
        one.imshow(shot.pixels)
        one.set_title(f"{shot.time_s:.2f} s")
    figure.suptitle(title, x=0.01, ha="left")
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _shot(cameras: Cameras, loop: PolicyInLoop) -> Shot:
    return Shot(loop.plant.time_s, cameras.view(_WIDTH, _HEIGHT, _distance(loop)))


def _distance(loop: PolicyInLoop) -> float:
    """A distance [m] from which the whole robot is in view, around its base."""
    model, data = loop.plant.model, loop.plant.data
    moving = (model.body_weldid[model.geom_bodyid] != 0) & np.isfinite(model.geom_rbound)
    if not moving.any():
        return 2.5
    base = loop.plant.read.position(loop.plant.base)
    away = np.linalg.norm(data.geom_xpos[moving] - base, axis=1) + model.geom_rbound[moving]
    return float(np.clip(_OF_RADIUS * away.max(), 0.5, 12.0))


def _imu(frame_id: str, numbers: Array) -> Serialize:
    return lambda stamp_ns: imu_bytes(stamp_ns, frame_id, numbers)


def _joints(names: list[str], values: dict[str, Array]) -> Serialize:
    return lambda stamp_ns: joint_state_bytes(stamp_ns, names, values)


def _odometry(frame_id: str, child: str, numbers: Array) -> Serialize:
    return lambda stamp_ns: odometry_bytes(stamp_ns, frame_id, child, numbers)


def _twist(of_type: str, numbers: Array) -> Serialize:
    stamped = of_type.endswith("Stamped")
    return lambda stamp_ns: twist_bytes(stamp_ns if stamped else None, numbers)


def _axes(names: Sequence[str], values: Array) -> bytes:
    """A Twist of the axes that a policy commands."""
    order = [f"{part}.{axis}" for part in ("linear", "angular") for axis in "xyz"]
    numbers = np.zeros(6)
    numbers[[order.index(name) for name in names]] = values
    return twist_bytes(None, numbers)
