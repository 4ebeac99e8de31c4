"""What a twist command does: it turns wheels, or moves the floating base."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.sim.plant.model_edits import BuiltModel
from policy_runner.sim.robot_file.robot_keys import BaseDrive, DifferentialDrive


class TwistDrive:
    """Turns twists into wheel velocities, or into the velocity of the base."""

    def __init__(self, given: DifferentialDrive | BaseDrive, built: BuiltModel, file: str) -> None:
        self._file = file
        self.moves_base = isinstance(given, BaseDrive)
        self._axes: tuple[str, ...] = ("linear.x", "linear.y", "angular.z")
        self._base_twist: Array | None = None  # vx, vy [m/s], wz [rad/s], heading frame
        self._dof = self._qpos = 0
        if isinstance(given, DifferentialDrive):
            self._axes = ("linear.x", "angular.z")
            self._joints = [*given.left, *given.right]
            half = given.track / 2
            sides = [-half] * len(given.left) + [half] * len(given.right)
            signs = np.array([*given.left.values(), *given.right.values()], dtype=np.float64)
            # Wheel velocity = sign * (v + side * w) / radius.
            self._forward = signs / given.wheel_radius
            self._turn = signs * np.array(sides) / given.wheel_radius
            return
        if not built.floats:
            raise refuse(file, "twist.drive", "a base with a free joint for `base`", "none")
        joint = built.model.body_jntadr[built.model.body(built.base).id]
        self._dof, self._qpos = (
            int(built.model.jnt_dofadr[joint]),
            int(built.model.jnt_qposadr[joint]),
        )

    def wheels(self, axes: Sequence[str], values: Array) -> tuple[list[str], Array]:
        """Convert a twist.

        Args:
            axes: such as linear.x.
            values: [axes], m/s and rad/s.

        Returns:
            Wheel joints and their velocities [rad/s]; or no joints and vx, vy, wz for `use`.

        Raises:
            Refusal: an axis that is not zero has no effect on this robot.
        """
        by_axis = dict(zip(axes, values.tolist(), strict=True))
        for axis, value in by_axis.items():
            if axis not in self._axes and value != 0.0:
                expected = f"0 for every axis except {', '.join(self._axes)}"
                raise refuse(self._file, "twist", expected, f"{value:g} for {axis}")
        forward, turn = by_axis.get("linear.x", 0.0), by_axis.get("angular.z", 0.0)
        if self.moves_base:
            return [], np.array([forward, by_axis.get("linear.y", 0.0), turn])
        return self._joints, self._forward * forward + self._turn * turn

    def use(self, values: Array) -> None:
        """Use vx, vy, wz from now on."""
        self._base_twist = values

    def stop(self) -> None:
        """Leave the base to the physics, until the next command."""
        self._base_twist = None

    def step(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Do one physics step in which the base moves as commanded.

        Its horizontal velocity and its yaw rate are set before the step. Contacts change them
        within the step, so place and heading are set after it. Roll, pitch and height are free.
        """
        if self._base_twist is None:
            mujoco.mj_step(model, data)
            return
        vx, vy, wz = self._base_twist.tolist()
        at, dof = self._qpos, self._dof
        yaw, place = self._yaw(data), data.qpos[at : at + 2].copy()
        velocity = np.array(
            [np.cos(yaw) * vx - np.sin(yaw) * vy, np.sin(yaw) * vx + np.cos(yaw) * vy]
        )
        data.qvel[dof : dof + 2] = velocity
        data.qvel[dof + 5] = wz
        mujoco.mj_step(model, data)
        dt = float(model.opt.timestep)
        data.qpos[at : at + 2] = place + velocity * dt
        half = (yaw + wz * dt - self._yaw(data)) / 2
        turn, turned = np.array([np.cos(half), 0.0, 0.0, np.sin(half)]), np.zeros(4)
        mujoco.mju_mulQuat(turned, turn, data.qpos[at + 3 : at + 7])
        data.qpos[at + 3 : at + 7] = turned
        data.qvel[dof : dof + 2] = velocity

    def _yaw(self, data: mujoco.MjData) -> float:
        w, x, y, z = data.qpos[self._qpos + 3 : self._qpos + 7].tolist()
        return float(np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))


def twist_drive(
    given: DifferentialDrive | BaseDrive | None, built: BuiltModel, file: str
) -> TwistDrive | None:
    """The drive of `robot.yaml`, or None.

    Raises:
        Refusal: the base does not float, or a wheel is no joint of the model.
    """
    if given is None:
        return None
    if isinstance(given, DifferentialDrive):
        for name in (*given.left, *given.right):
            if name not in built.joint_names:
                expected = f"a joint of the model ({', '.join(built.joint_names)})"
                raise refuse(file, "twist", expected, name)
    return TwistDrive(given, built, file)
