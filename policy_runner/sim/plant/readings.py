"""The numbers of a plant's sensors, without noise.

The state (joints, the free base) and sensors of positions and velocities belong to the present
time. Accelerations and contact forces belong to the last physics step: MuJoCo computes them while
it steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import Array
from policy_runner.sim.plant.model_edits import OWN, BuiltModel

IMU_SIZE = 10  # orientation x, y, z, w; angular velocity 3 [rad/s]; specific force 3 [m/s^2]


class Readings:
    """Reads the state and the sensors of one simulation."""

    def __init__(self, built: BuiltModel, data: mujoco.MjData, file: str) -> None:
        """Find the addresses.

        Args:
            built: the compiled model.
            data: its state.
            file: the robot's file, for errors.
        """
        model = built.model
        self._model, self._data, self._file = model, data, file
        self._fresh = False
        joints = [model.joint(name) for name in built.joint_names]
        self.position_places = np.array([j.qposadr[0] for j in joints], dtype=np.intp)
        self.velocity_places = np.array([j.dofadr[0] for j in joints], dtype=np.intp)
        self._base = model.body(built.base).id
        self._free = -1  # address of the base's pose in qpos
        self._free_dof = -1
        if built.floats:
            joint = model.body_jntadr[self._base]
            self._free = int(model.jnt_qposadr[joint])
            self._free_dof = int(model.jnt_dofadr[joint])
        self._sensors = {
            model.sensor(k).name: slice(
                int(model.sensor_adr[k]), int(model.sensor_adr[k] + model.sensor_dim[k])
            )
            for k in range(model.nsensor)
        }
        self._force = np.zeros(6)
        self._velocity = np.zeros(6)

    def moved(self) -> None:
        """Note that the state has changed."""
        self._fresh = False

    def refresh(self) -> None:
        """Compute poses, velocities and their sensors for the present state, once."""
        if self._fresh:
            return
        self._fresh = True
        model, data = self._model, self._data
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        mujoco.mj_comVel(model, data)
        # The sensors of tendons and actuators need these too.
        mujoco.mj_tendon(model, data)
        mujoco.mj_transmission(model, data)
        mujoco.mj_sensorPos(model, data)
        mujoco.mj_sensorVel(model, data)

    @property
    def joint_positions(self) -> Array:
        """Positions of all joints [joints], rad or m."""
        return np.array(self._data.qpos[self.position_places])

    @property
    def joint_velocities(self) -> Array:
        """Velocities of all joints [joints], rad/s or m/s."""
        return np.array(self._data.qvel[self.velocity_places])

    @property
    def joint_efforts(self) -> Array:
        """Efforts of the actuators at all joints [joints], N m or N, of the last physics step."""
        return np.array(self._data.qfrc_actuator[self.velocity_places])

    def sensor(self, name: str) -> Array:
        """The numbers of a sensor of the model, float64 [its size].

        Raises:
            Refusal: the model has no such sensor.
        """
        if name not in self._sensors:
            known = [one for one in self._sensors if not one.startswith(OWN)]
            listed = ", ".join(known) or "it has none"
            hint = did_you_mean(name, known)
            raise refuse(self._file, "sensors", f"a sensor of the model ({listed})", name, hint)
        self.refresh()
        return np.array(self._data.sensordata[self._sensors[name]])

    def orientation(self, body: str) -> Array:
        """Orientation of a body, unit quaternion x, y, z, w (4,), body to world."""
        if self._is_free(body):
            at = self._free
            return np.array(self._data.qpos[[at + 4, at + 5, at + 6, at + 3]])
        self.refresh()
        return np.array(self._data.xquat[self._model.body(body).id][[1, 2, 3, 0]])

    def position(self, body: str) -> Array:
        """Position of a body's origin in the world (3,) [m]."""
        if self._is_free(body):
            return np.array(self._data.qpos[self._free : self._free + 3])
        self.refresh()
        return np.array(self._data.xpos[self._model.body(body).id])

    def world_velocity(self, body: str) -> tuple[Array, Array]:
        """Linear [m/s] and angular [rad/s] velocity of a body's origin, world axes, (3,) each."""
        if self._is_free(body):
            dof = self._free_dof
            angular = np.zeros(3)
            turn = self._data.qpos[self._free + 3 : self._free + 7]
            mujoco.mju_rotVecQuat(angular, self._data.qvel[dof + 3 : dof + 6], turn)
            return np.array(self._data.qvel[dof : dof + 3]), angular
        self.refresh()
        kind, number = mujoco.mjtObj.mjOBJ_XBODY, self._model.body(body).id
        mujoco.mj_objectVelocity(self._model, self._data, kind, number, self._velocity, 0)
        return self._velocity[3:].copy(), self._velocity[:3].copy()

    def velocity(self, body: str) -> tuple[Array, Array]:
        """Linear [m/s] and angular [rad/s] velocity of a body's origin, body frame, (3,) each."""
        if self._is_free(body):
            at, dof = self._free, self._free_dof
            w, x, y, z = self._data.qpos[at + 3 : at + 7]
            linear = np.zeros(3)
            conjugate = np.array([w, -x, -y, -z])
            mujoco.mju_rotVecQuat(linear, self._data.qvel[dof : dof + 3], conjugate)
            return linear, np.array(self._data.qvel[dof + 3 : dof + 6])
        self.refresh()
        kind, number = mujoco.mjtObj.mjOBJ_XBODY, self._model.body(body).id
        mujoco.mj_objectVelocity(self._model, self._data, kind, number, self._velocity, 1)
        return self._velocity[3:].copy(), self._velocity[:3].copy()

    def relative_pose(self, body: str, parent: str) -> tuple[Array, Array]:
        """Position (3,) [m] and orientation x, y, z, w (4,) of a body in another body's frame."""
        self.refresh()
        data, k, p = self._data, self._model.body(body).id, self._model.body(parent).id
        inverse, turn, place = np.zeros(4), np.zeros(4), np.zeros(3)
        mujoco.mju_negQuat(inverse, data.xquat[p])
        mujoco.mju_mulQuat(turn, inverse, data.xquat[k])
        mujoco.mju_rotVecQuat(place, data.xpos[k] - data.xpos[p], inverse)
        return place, turn[[1, 2, 3, 0]]

    def imu(
        self,
        body: str,
        gyro: str | None = None,
        accelerometer: str | None = None,
        orientation: str | None = None,
    ) -> Array:
        """Orientation, angular velocity and specific force, float64 [10], see `IMU_SIZE`.

        Args:
            body: gives what no sensor is named for.
            gyro: sensor of the model.
            accelerometer: sensor of the model; None: the one that was added to the body.
            orientation: sensor of the model (w, x, y, z).
        """
        out = np.empty(IMU_SIZE)
        if orientation is not None:
            out[:4] = self.sensor(orientation)[[1, 2, 3, 0]]
        else:
            out[:4] = self.orientation(body)
        if gyro is not None:
            out[4:7] = self.sensor(gyro)
        elif self._is_free(body):
            out[4:7] = self._data.qvel[self._free_dof + 3 : self._free_dof + 6]
        else:
            out[4:7] = self.sensor(f"{OWN}{body}/gyro")
        # An acceleration belongs to the last step: no need to compute the sensors again.
        place = self._sensors[accelerometer or f"{OWN}{body}/accelerometer"]
        out[7:] = self._data.sensordata[place]
        return out

    def contact_forces(self, names: Sequence[str]) -> Array:
        """Sum of the normal contact forces of each geom or body, float64 [names], N.

        A force between two geoms of one name counts once.

        Args:
            names: geoms or bodies; a geom comes first.
        """
        model, data = self._model, self._data
        places = [self._geoms_of(name) for name in names]
        found = np.zeros(len(names))
        for k in range(data.ncon):
            contact = data.contact[k]
            pair = {int(contact.geom[0]), int(contact.geom[1])}
            touched = [n for n, geoms in enumerate(places) if pair & geoms]
            if touched:
                mujoco.mj_contactForce(model, data, k, self._force)
                for n in touched:
                    found[n] += self._force[0]
        return found

    def point_velocity(self, name: str) -> Array:
        """Velocity of a geom's or body's centre (3,) [m/s], world frame."""
        self.refresh()
        geom = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_GEOM, name)
        kind, number = mujoco.mjtObj.mjOBJ_GEOM, geom
        if geom < 0:
            kind, number = mujoco.mjtObj.mjOBJ_XBODY, self._model.body(name).id
        mujoco.mj_objectVelocity(self._model, self._data, kind, number, self._velocity, 0)
        return self._velocity[3:].copy()

    def _geoms_of(self, name: str) -> frozenset[int]:
        geom = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_GEOM, name)
        if geom >= 0:
            return frozenset((geom,))
        body = self._model.body(name)
        first = int(body.geomadr[0])
        return frozenset(range(first, first + int(body.geomnum[0])))

    def _is_free(self, body: str) -> bool:
        return self._free >= 0 and self._model.body(body).id == self._base
