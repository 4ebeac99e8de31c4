"""The messages of a simulated robot as numbers: what each topic of `robot.yaml` carries.

The ROS node fills its messages from the same numbers, so both ways give identical floats.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import Array
from policy_runner.sim.plant.model_edits import imu_body
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.sensor_keys import (
    ContactsSensor,
    ImuSensor,
    JointStatesSensor,
    NamedSensors,
    OdometrySensor,
    Sensor,
)
from policy_runner.sim.sensors import turned

_XYZ = ("x", "y", "z")
TWIST_AXES = tuple(f"{part}.{axis}" for part in ("linear", "angular") for axis in _XYZ)
IMU_LEAVES = (
    *(f"orientation.{axis}" for axis in (*_XYZ, "w")),
    *(f"angular_velocity.{axis}" for axis in _XYZ),
    *(f"linear_acceleration.{axis}" for axis in _XYZ),
)
ODOMETRY_LEAVES = (
    *(f"pose.pose.position.{axis}" for axis in _XYZ),
    *(f"pose.pose.orientation.{axis}" for axis in (*_XYZ, "w")),
    *(f"twist.twist.{axis}" for axis in TWIST_AXES),
)


class JointOrder:
    """The joints of a JointState message, in its order."""

    def __init__(self, sensor: JointStatesSensor, plant: Plant) -> None:
        """Settle names and order.

        Args:
            sensor: its keys `joints` and `shuffle`.
            plant: the robot.

        Raises:
            Refusal: a joint is unknown.
        """
        known = list(plant.joint_names)
        names = list(sensor.joints) if sensor.joints is not None else known
        for name in names:
            if name not in known:
                expected = f"joints of the model ({', '.join(known)})"
                hint = did_you_mean(name, known)
                raise refuse(plant.file, "sensors: joints", expected, name, hint)
        if sensor.shuffle is not None:
            order = np.random.default_rng(sensor.shuffle).permutation(len(names))
            names = [names[k] for k in order]
        self.names = names
        self.index: npt.NDArray[np.intp] = np.array(
            [known.index(name) for name in names], dtype=np.intp
        )

    def values(self, plant: Plant) -> dict[str, Array]:
        """Position, velocity and effort, float64 [names] each."""
        read, index = plant.read, self.index
        return {
            "position": read.joint_positions[index],
            "velocity": read.joint_velocities[index],
            "effort": read.joint_efforts[index],
        }


def numbers_of(sensor: Sensor, plant: Plant) -> Array:
    """The numbers of a sensor without joints and images, float64.

    Imu: `IMU_LEAVES`. Odometry: `ODOMETRY_LEAVES`. Contacts and named sensors: their sequence.
    """
    read = plant.read
    if isinstance(sensor, ImuSensor):
        body = imu_body(sensor, plant.base)
        return read.imu(body, sensor.gyro, sensor.accelerometer, sensor.orientation)
    if isinstance(sensor, OdometrySensor):
        body = sensor.body or plant.base
        pose = (read.position(body), read.orientation(body))
        in_body = sensor.twist_axes == "body"
        twist = read.velocity(body) if in_body else read.world_velocity(body)
        return np.concatenate((*pose, *twist))
    if isinstance(sensor, ContactsSensor):
        return read.contact_forces(sensor.of)
    assert isinstance(sensor, NamedSensors)
    return np.concatenate([read.sensor(name) for name in sensor.names])


def leaves_of(sensor: Sensor, size: int) -> tuple[str, ...]:
    """The field paths of `numbers_of`, in its order; `size` numbers of a sequence."""
    if isinstance(sensor, ImuSensor):
        return IMU_LEAVES
    if isinstance(sensor, OdometrySensor):
        return ODOMETRY_LEAVES
    return tuple(f"data[{k}]" for k in range(size))


class ImageTimes:
    """When a camera has a new image: at first, then once in each of its periods."""

    def __init__(self, rate: float) -> None:
        """Count from time 0; `rate` in images a second."""
        self._period_ns = round(1e9 / rate)
        self._due_ns = 0

    def due(self, now_ns: int) -> bool:
        """Whether there is a new image at this time [ns]; call it once for each time."""
        if now_ns < self._due_ns:
            return False
        self._due_ns = now_ns - now_ns % self._period_ns + self._period_ns
        return True

    def restart(self) -> None:
        """Count from time 0 again."""
        self._due_ns = 0


class SensorNoise:
    """White noise on the numbers of all sensors of `robot.yaml`, from one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = np.random.default_rng(seed)

    def restart(self, seed: int) -> None:
        """Begin an episode: its noise depends on both seeds, not on the episodes before it."""
        self._rng = np.random.default_rng((self._seed, seed))

    def on_imu(self, numbers: Array, sensor: ImuSensor) -> Array:
        """Return the ten numbers of an Imu with noise."""
        sigmas = (
            sensor.noise_orientation,
            sensor.noise_angular_velocity,
            sensor.noise_linear_acceleration,
        )
        if not any(sigmas):
            return numbers
        out = numbers.copy()
        if sensor.noise_orientation:
            out[:4] = turned(numbers[:4], self._rng.normal(0.0, sensor.noise_orientation / 2, 3))
        for at, sigma in ((4, sigmas[1]), (7, sigmas[2])):
            if sigma:
                out[at : at + 3] += self._rng.normal(0.0, sigma, 3)
        return out

    def on_joints(self, values: dict[str, Array], sensor: JointStatesSensor) -> dict[str, Array]:
        """Return the values of a JointState with noise."""
        sigmas = {"position": sensor.noise_position, "velocity": sensor.noise_velocity}
        return {
            kind: one + self._rng.normal(0.0, sigmas[kind], len(one)) if sigmas.get(kind) else one
            for kind, one in values.items()
        }
