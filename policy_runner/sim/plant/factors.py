"""Variations of a compiled model: factors on masses, friction, joints and damping.

`Drives.vary` has the factors on the servos.
"""

from __future__ import annotations

import mujoco
import numpy as np

from policy_runner.sim.plant.model_edits import BuiltModel
from policy_runner.sim.variation import Variation


class NominalModel:
    """The nominal numbers of a model, to multiply by factors again and again.

    `body_mass` and `com_height` change the base if it floats, else every moving body. `body_mass`
    also scales the inertia.
    """

    def __init__(self, built: BuiltModel) -> None:
        model = self._model = built.model
        base = model.body(built.base).id
        self._bodies = np.array([base] if built.floats else range(1, model.nbody), dtype=np.intp)
        self._mass = model.body_mass.copy()
        self._inertia = model.body_inertia.copy()
        self._centre = model.body_ipos.copy()
        self._rest = tuple(
            a.copy()
            for a in (
                model.geom_friction,
                model.jnt_actfrcrange,
                model.dof_damping,
            )
        )

    def vary(self, data: mujoco.MjData, variation: Variation) -> None:
        """Set the model to the nominal model times the factors; the state stays.

        Args:
            data: the state of the model.
            variation: the factors.
        """
        model, bodies = self._model, self._bodies
        model.body_mass[bodies] = self._mass[bodies] * variation.body_mass
        model.body_inertia[bodies] = self._inertia[bodies] * variation.body_mass
        model.body_ipos[bodies] = self._centre[bodies] * [1.0, 1.0, variation.com_height]
        friction, joint_force, damping = self._rest
        model.geom_friction[:] = friction
        model.geom_friction[:, 0] *= variation.friction
        model.jnt_actfrcrange[:] = joint_force * variation.servo_torque
        model.dof_damping[:] = damping * variation.joint_damping
        position = data.qpos.copy()
        mujoco.mj_setConst(model, data)  # constants depend on masses; it also resets qpos
        data.qpos[:] = position
