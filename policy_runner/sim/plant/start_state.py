"""The state of a plant after a reset."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.sim.plant.model_edits import BuiltModel
from policy_runner.sim.robot_file.robot_reader import RobotFile, some_by_name


class StartState:
    """Writes the start state of `robot.yaml` into a simulation."""

    def __init__(self, robot: RobotFile, built: BuiltModel, pose: Mapping[str, float]) -> None:
        """Settle the nominal start.

        Args:
            robot: its keys `start`.
            built: the compiled model.
            pose: default positions of the policy's joints, by robot joint name.

        Raises:
            Refusal: a joint is unknown, or the base of a robot that does not float is placed.
        """
        self._given, model, file = robot.spec.start, built.model, str(robot.path)
        given = self._given
        self._names = built.joint_names
        joints = [model.joint(name) for name in built.joint_names]
        self._places = np.array([joint.qposadr[0] for joint in joints], dtype=np.intp)
        self._free = -1
        if built.floats:
            self._free = int(model.jnt_qposadr[model.body_jntadr[model.body(built.base).id]])
        elif given.position is not None or given.height is not None or given.tilt_spread:
            expected = "no `position`, `height` and `tilt_spread`, since the base does not float"
            raise refuse(file, "start", expected, "one of them")
        qpos = np.array(model.qpos0)
        if given.keyframe is not None:
            qpos = np.array(model.key(given.keyframe).qpos)
        names = list(built.joint_names)
        if given.joints is not None:
            values = some_by_name(given.joints, names, file, "start.joints")
        elif given.keyframe is None:
            values = np.array([pose.get(name, np.nan) for name in names])
        else:
            values = np.full(len(names), np.nan)
        known = ~np.isnan(values)
        qpos[self._places[known]] = values[known]
        if given.position is not None:
            qpos[self._free : self._free + 3] = given.position
        elif given.height is not None:
            qpos[self._free + 2] = given.height
        self._qpos = qpos

    def apply(self, data: mujoco.MjData, rng: np.random.Generator) -> dict[str, float]:
        """Set positions and velocities.

        Args:
            data: just reset.
            rng: draws the random part.

        Returns:
            The position of every joint.
        """
        data.qpos[:] = self._qpos
        data.qvel[:] = 0.0
        if self._given.joint_spread:
            spread = self._given.joint_spread
            data.qpos[self._places] += rng.uniform(-spread, spread, len(self._places))
        if self._given.tilt_spread:
            half = rng.uniform(-self._given.tilt_spread, self._given.tilt_spread, 2) / 2
            (cr, cp), (sr, sp) = np.cos(half), np.sin(half)
            tilt = np.array([cr * cp, sr * cp, cr * sp, -sr * sp])  # roll, then pitch
            turned = np.zeros(4)
            mujoco.mju_mulQuat(turned, data.qpos[self._free + 3 : self._free + 7], tilt)
            data.qpos[self._free + 3 : self._free + 7] = turned
        return dict(zip(self._names, data.qpos[self._places].tolist()))
