"""The two-wheeled balancing robot: a plant, with the poses and the scores of the demo.

The order of wheels is always left, right. Positions, velocities and targets are in joint
convention: the right wheel's axis is mirrored, so forward is left +, right -.
Frames: base has x forward, y left, z up (REP-103), with its origin on the axle between the wheels.
World is the base frame at the start, on the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from policy_runner.core.model import Array
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.robot_reader import read_robot
from policy_runner.sim.sensors import Reading
from policy_runner.sim.variation import NOMINAL, Variation

ROBOT_FILE = Path(__file__).with_name("balancer.yaml")
MODEL_FILE = Path(__file__).with_name("balancer.xml")
WHEEL_RADIUS_M = 0.1
TRACK_M = 0.4
JOINT_NAMES = ("left_wheel_joint", "right_wheel_joint")
FALLEN_TILT_RAD = 0.8  # at larger tilts the wheels cannot balance the robot


class Balancer:
    """One robot on one floor; time advances only in `advance`.

    Attributes:
        plant: its physics.
    """

    def __init__(self, variation: Variation = NOMINAL, delay_s: float = 0.0) -> None:
        """Load the model and stand the robot upright.

        Args:
            variation: factors on the nominal model.
            delay_s: delay of a target until it reaches the servos [s], rounded to physics steps.
        """
        self.plant = Plant(read_robot(ROBOT_FILE))
        self.model, self.data = self.plant.model, self.plant.data
        self.timestep_s = self.plant.timestep_s
        self._base = self.model.body("base").id
        self.set_delay(delay_s)
        self.vary(variation)
        self.stand()

    # -- setting up --------------------------------------------------------------------------

    def vary(self, variation: Variation) -> None:
        """Set the model to the nominal model times the factors of `variation`."""
        self.plant.vary(variation)

    def set_delay(self, delay_s: float) -> None:
        """Set the delay of all later targets [s]."""
        self.plant.set_delay(delay_s)

    def stand(
        self,
        pitch_rad: float = 0.0,
        pitch_rate: float = 0.0,
        x: float = 0,
        y: float = 0,
        yaw: float = 0,
    ) -> None:
        """Put the robot on its wheels; all velocities not given are 0.

        Delayed targets and a running push are discarded. The clock continues.

        Args:
            pitch_rad: a positive pitch leans forward.
            pitch_rate: [rad/s].
            x: position in the world [m].
            y: position in the world [m].
            yaw: heading in the world [rad].
        """
        mujoco.mj_resetData(self.model, self.data)
        half_pitch, half_yaw = pitch_rad / 2, yaw / 2
        cp, sp, cy, sy = np.cos(half_pitch), np.sin(half_pitch), np.cos(half_yaw), np.sin(half_yaw)
        self.data.qpos[:3] = x, y, WHEEL_RADIUS_M
        self.data.qpos[3:7] = cy * cp, -sy * sp, cy * sp, sy * cp  # yaw, then pitch
        self.data.qvel[4] = pitch_rate
        # The wheels do not turn on the floor, so their joints turn against the body.
        self.data.qvel[self.plant.read.velocity_places] = np.array([-1.0, 1.0]) * pitch_rate
        self.plant.drop_commands()
        mujoco.mj_forward(self.model, self.data)

    def reset(self, rng: np.random.Generator, tilt_rad: tuple[float, float] = (0.03, 0.08)) -> None:
        """Stand at the origin with a random tilt, so that an upright start does not help.

        Args:
            rng: draws the tilt.
            tilt_rad: range of the tilt [rad]; its direction is forward or backward.
        """
        self.stand(pitch_rad=float(rng.choice((-1.0, 1.0)) * rng.uniform(*tilt_rad)))

    def stand_up(self, rng: np.random.Generator) -> None:
        """Stand up at the robot's position and heading, with a random tilt as in `reset`."""
        x, y, yaw = self.pose
        pitch = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.03, 0.08))
        self.stand(pitch_rad=pitch, x=x, y=y, yaw=yaw)

    # -- acting ------------------------------------------------------------------------------

    def advance(self, target: Sequence[float] | Array, steps: int) -> None:
        """Send wheel velocity targets and advance the simulation.

        The targets reach the servos after the delay and hold until the next ones.

        Args:
            target: (left, right) [rad/s], joint convention.
            steps: number of physics steps.

        Raises:
            ValueError: not 2 finite targets.
        """
        wanted = np.array(target, dtype=np.float64)
        if wanted.shape != (2,) or not np.isfinite(wanted).all():
            raise ValueError(f"expected 2 finite wheel velocity targets, got {target!r}")
        self.plant.command("velocity", JOINT_NAMES, wanted)
        self.plant.advance(steps)

    def push(self, force_n: float, duration_s: float, direction_rad: float) -> None:
        """Push horizontally at the body's centre of mass, starting now.

        Args:
            force_n: force [N].
            duration_s: duration [s].
            direction_rad: from the robot's present heading, positive to its left [rad].
        """
        angle = self.pose[2] + direction_rad
        self.plant.push((force_n * np.cos(angle), force_n * np.sin(angle), 0.0), duration_s)

    # -- observing ---------------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        """Simulated time since construction [s]; falls and standing up do not reset it."""
        return self.plant.time_s

    @property
    def gyro(self) -> Array:
        """Angular velocity (3,) [rad/s], base frame."""
        return np.array(self.data.qvel[3:6])

    @property
    def orientation_xyzw(self) -> Array:
        """Orientation, unit quaternion (4,), base to world."""
        return self.plant.read.orientation(self.plant.base)

    @property
    def linear_acceleration(self) -> Array:
        """Specific force (3,) [m/s^2], base frame; about (0, 0, 9.81) at rest and upright."""
        return np.array(self.data.sensordata[:3])

    @property
    def wheel_position(self) -> Array:
        """Wheel positions (2,) [rad], left and right, joint convention."""
        return self.plant.read.joint_positions

    @property
    def wheel_velocity(self) -> Array:
        """Wheel velocities (2,) [rad/s], left and right, joint convention."""
        return self.plant.read.joint_velocities

    @property
    def projected_gravity(self) -> Array:
        """Direction of gravity R^T (0, 0, -1), (3,), base frame, unit length."""
        return -np.array(self.data.xmat[self._base].reshape(3, 3)[2])

    @property
    def base_velocity(self) -> Array:
        """Linear velocity of the base origin (3,) [m/s], base frame."""
        return self.plant.read.velocity(self.plant.base)[0]

    @property
    def forward_velocity(self) -> float:
        """Velocity of the axle's midpoint along the horizontal heading [m/s], not filtered."""
        yaw = self.pose[2]
        return float(np.cos(yaw) * self.data.qvel[0] + np.sin(yaw) * self.data.qvel[1])

    @property
    def yaw_rate(self) -> float:
        """Angular velocity of the base about the world's vertical [rad/s], not filtered."""
        w, x, y, z = self.data.qpos[3:7]
        up = (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
        return float(np.dot(up, self.data.qvel[3:6]))

    @property
    def pose(self) -> tuple[float, float, float]:
        """(x [m], y [m], yaw [rad]) of the base in the world."""
        return float(self.data.qpos[0]), float(self.data.qpos[1]), self.plant.yaw

    @property
    def tilt(self) -> float:
        """Angle between the body's axis and the vertical [rad], 0 to pi."""
        return self.plant.tilt

    @property
    def fallen(self) -> bool:
        """Whether the tilt exceeds `FALLEN_TILT_RAD`."""
        return self.tilt > FALLEN_TILT_RAD

    def read(self) -> Reading:
        """Read all sensors at the present time, without noise."""
        return Reading(
            self.gyro,
            self.orientation_xyzw,
            self.linear_acceleration,
            self.wheel_position,
            self.wheel_velocity,
        )
