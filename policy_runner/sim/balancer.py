"""The physics of the two-wheeled balancing robot: MuJoCo and numpy, no ROS.

Wheels are ordered left, right everywhere here. Positions, velocities and targets are in joint
convention: the right wheel's axis is mirrored, so forward is left +, right -.
Frames: base has x forward, y left, z up (REP-103), its origin on the axle between the wheels;
world is the base frame of the start, on the floor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from policy_runner.core.model import Array
from policy_runner.sim.sensors import Reading
from policy_runner.sim.variation import NOMINAL, Variation

MODEL_FILE = Path(__file__).with_name("balancer.xml")
WHEEL_RADIUS_M = 0.1
TRACK_M = 0.4
JOINT_NAMES = ("left_wheel_joint", "right_wheel_joint")
FALLEN_TILT_RAD = 0.8  # beyond what the wheels can catch


class Balancer:
    """One robot on one floor; time advances only in `advance`.

    `delay_s`: how long a target is on its way to the servos, rounded to physics steps.
    """

    def __init__(self, variation: Variation = NOMINAL, delay_s: float = 0.0) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(MODEL_FILE))
        self.data = mujoco.MjData(self.model)
        self.timestep_s = float(self.model.opt.timestep)
        model = self.model
        self._base = model.body("base").id
        joints = [model.joint(name) for name in JOINT_NAMES]
        self._wheel_qpos = np.array([joint.qposadr[0] for joint in joints])
        self._wheel_qvel = np.array([joint.dofadr[0] for joint in joints])
        self._nominal_body = (
            float(model.body_mass[self._base]),
            model.body_inertia[self._base].copy(),
            model.body_ipos[self._base].copy(),
        )
        self._nominal_rest = tuple(
            a.copy()
            for a in (
                model.geom_friction,
                model.actuator_gainprm,
                model.actuator_biasprm,
                model.actuator_forcerange,
                model.dof_damping,
            )
        )
        self._target = np.zeros(2)
        self._under_way: deque[tuple[int, Array]] = deque()
        self._steps = 0
        self._push_ends = 0
        self.set_delay(delay_s)
        self.vary(variation)
        self.stand()

    # -- setting up --------------------------------------------------------------------------

    def vary(self, variation: Variation) -> None:
        """Make the model the nominal one times `variation`."""
        model, base = self.model, self._base
        mass, inertia, com = self._nominal_body
        model.body_mass[base] = mass * variation.body_mass
        model.body_inertia[base] = inertia * variation.body_mass
        model.body_ipos[base] = com * [1.0, 1.0, variation.com_height]
        friction, gain, bias, force, damping = self._nominal_rest
        model.geom_friction[:] = friction
        model.geom_friction[:, 0] *= variation.friction
        model.actuator_gainprm[:] = gain * variation.servo_gain
        model.actuator_biasprm[:] = bias * variation.servo_gain
        model.actuator_forcerange[:] = force * variation.servo_torque
        model.dof_damping[:] = damping * variation.joint_damping
        position = self.data.qpos.copy()
        mujoco.mj_setConst(model, self.data)  # masses enter constants; it moves qpos to qpos0
        self.data.qpos[:] = position

    def set_delay(self, delay_s: float) -> None:
        """Delay of the targets that are given from now on, in seconds."""
        self._delay_steps = round(delay_s / self.timestep_s)

    def stand(
        self,
        pitch_rad: float = 0.0,
        pitch_rate: float = 0.0,
        x: float = 0,
        y: float = 0,
        yaw: float = 0,
    ) -> None:
        """Put the robot on its wheels at a pitch (positive leans forward), all else at rest.

        Targets under way and a push under way are forgotten; the clock goes on.
        """
        mujoco.mj_resetData(self.model, self.data)
        half_pitch, half_yaw = pitch_rad / 2, yaw / 2
        cp, sp, cy, sy = np.cos(half_pitch), np.sin(half_pitch), np.cos(half_yaw), np.sin(half_yaw)
        self.data.qpos[:3] = x, y, WHEEL_RADIUS_M
        self.data.qpos[3:7] = cy * cp, -sy * sp, cy * sp, sy * cp  # yaw, then pitch
        self.data.qvel[4] = pitch_rate
        # The wheels stand still on the floor, so their joints turn back against the body.
        self.data.qvel[self._wheel_qvel] = np.array([-1.0, 1.0]) * pitch_rate
        self._target[:] = 0.0
        self._under_way.clear()
        self._push_ends = 0
        mujoco.mj_forward(self.model, self.data)

    def reset(self, rng: np.random.Generator, tilt_rad: tuple[float, float] = (0.03, 0.08)) -> None:
        """Stand at the origin with a drawn tilt, forward or backward: staying up is no luck."""
        self.stand(pitch_rad=float(rng.choice((-1.0, 1.0)) * rng.uniform(*tilt_rad)))

    def stand_up(self, rng: np.random.Generator) -> None:
        """Stand up where the robot lies, facing where it faced, with a drawn tilt as at reset."""
        x, y, yaw = self.pose
        pitch = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.03, 0.08))
        self.stand(pitch_rad=pitch, x=x, y=y, yaw=yaw)

    # -- acting ------------------------------------------------------------------------------

    def advance(self, target: Sequence[float] | Array, steps: int) -> None:
        """Give wheel velocity targets (left, right; rad/s) and let `steps` physics steps pass.

        The target reaches the servos after the delay and holds until the next one does.
        """
        wanted = np.array(target, dtype=np.float64)
        if wanted.shape != (2,) or not np.isfinite(wanted).all():
            raise ValueError(f"expected 2 finite wheel velocity targets, got {target!r}")
        self._under_way.append((self._steps + self._delay_steps, wanted))
        for _ in range(steps):
            while self._under_way and self._under_way[0][0] <= self._steps:
                self._target = self._under_way.popleft()[1]
            self.data.ctrl[:] = self._target
            if self._steps >= self._push_ends:
                self.data.xfrc_applied[self._base] = 0.0
            mujoco.mj_step(self.model, self.data)
            self._steps += 1

    def push(self, force_n: float, duration_s: float, direction_rad: float) -> None:
        """Push at the body's centre of mass, horizontally, from now on for `duration_s`.

        `direction_rad` is counted from the robot's present heading, towards its left.
        """
        angle = self.pose[2] + direction_rad
        self.data.xfrc_applied[self._base] = 0.0
        self.data.xfrc_applied[self._base, :2] = (force_n * np.cos(angle), force_n * np.sin(angle))
        self._push_ends = self._steps + round(duration_s / self.timestep_s)

    # -- observing ---------------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        """Simulated time since construction; goes on through falls and standing up."""
        return self._steps * self.timestep_s

    @property
    def gyro(self) -> Array:
        """(3,) rad/s, base frame."""
        return np.array(self.data.qvel[3:6])

    @property
    def orientation_xyzw(self) -> Array:
        """(4,) unit quaternion, base to world."""
        return np.array(self.data.qpos[[4, 5, 6, 3]])

    @property
    def linear_acceleration(self) -> Array:
        """(3,) m/s^2, base frame: specific force, so about (0, 0, 9.81) at rest and upright."""
        return np.array(self.data.sensordata[:3])

    @property
    def wheel_position(self) -> Array:
        """(2,) rad, left and right, joint convention."""
        return np.array(self.data.qpos[self._wheel_qpos])

    @property
    def wheel_velocity(self) -> Array:
        """(2,) rad/s, left and right, joint convention."""
        return np.array(self.data.qvel[self._wheel_qvel])

    @property
    def projected_gravity(self) -> Array:
        """(3,) R^T (0, 0, -1): the direction of gravity, base frame; unit length."""
        return -np.array(self.data.xmat[self._base].reshape(3, 3)[2])

    @property
    def base_velocity(self) -> Array:
        """(3,) m/s, linear velocity of the base origin, in base axes."""
        w, x, y, z = self.data.qpos[3:7]
        out, conjugate = np.zeros(3), np.array([w, -x, -y, -z])
        mujoco.mju_rotVecQuat(out, self.data.qvel[:3], conjugate)
        return out

    @property
    def forward_velocity(self) -> float:
        """m/s, instantaneous velocity of the axle's midpoint along the horizontal heading."""
        yaw = self.pose[2]
        return float(np.cos(yaw) * self.data.qvel[0] + np.sin(yaw) * self.data.qvel[1])

    @property
    def yaw_rate(self) -> float:
        """rad/s, instantaneous angular velocity of the base about the world's vertical."""
        w, x, y, z = self.data.qpos[3:7]
        up = (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
        return float(np.dot(up, self.data.qvel[3:6]))

    @property
    def pose(self) -> tuple[float, float, float]:
        """x m, y m, yaw rad of the base in the world."""
        w, x, y, z = (float(q) for q in self.data.qpos[3:7])
        yaw = np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))
        return float(self.data.qpos[0]), float(self.data.qpos[1]), float(yaw)

    @property
    def tilt(self) -> float:
        """Angle between the body's axis and the vertical, rad, 0 to pi."""
        _, x, y, _ = self.data.qpos[3:7]
        return float(np.arccos(np.clip(1 - 2 * (x * x + y * y), -1.0, 1.0)))

    @property
    def fallen(self) -> bool:
        """Whether the tilt is beyond `FALLEN_TILT_RAD`."""
        return self.tilt > FALLEN_TILT_RAD

    def read(self) -> Reading:
        """All sensors at the present time, without noise."""
        return Reading(
            self.gyro,
            self.orientation_xyzw,
            self.linear_acceleration,
            self.wheel_position,
            self.wheel_velocity,
        )
