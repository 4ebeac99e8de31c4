"""Changes a model as `robot.yaml` says, before MuJoCo compiles it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from policy_runner.core.errors import Problem, Refusal, collect, did_you_mean, refuse
from policy_runner.core.spec.named_numbers import matching_names
from policy_runner.sim.plant.model_text import model_refusal
from policy_runner.sim.robot_file.robot_keys import RobotSpec
from policy_runner.sim.robot_file.robot_reader import RobotFile, some_by_name
from policy_runner.sim.robot_file.sensor_keys import CameraSensor, ImuSensor

OWN = "policy_runner/"  # first part of the names of everything that is added to a model
_INTEGRATORS = {
    "Euler": mujoco.mjtIntegrator.mjINT_EULER,
    "RK4": mujoco.mjtIntegrator.mjINT_RK4,
    "implicit": mujoco.mjtIntegrator.mjINT_IMPLICIT,
    "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
}
_CONES = {
    "pyramidal": mujoco.mjtCone.mjCONE_PYRAMIDAL,
    "elliptic": mujoco.mjtCone.mjCONE_ELLIPTIC,
}
_HINGES = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
Problems = list[Problem | str]


@dataclass(frozen=True)
class BuiltModel:
    """A compiled model, and the names that the plant needs."""

    model: mujoco.MjModel
    base: str  # body
    floats: bool  # the base has a free joint
    joint_names: tuple[str, ...]  # hinges and slides with a name, in the order of the file
    own: tuple[str, ...]  # the joints with an added actuator


def build_model(robot: RobotFile, model: mujoco.MjSpec) -> BuiltModel:
    """Apply the keys of `robot.yaml` and compile.

    Args:
        robot: the robot.
        model: see `read_model`; this function changes it.

    Raises:
        Refusal: names every joint, geom, body, keyframe, sensor and camera that is not there.
    """
    spec, file = robot.spec, str(robot.path)
    problems: Problems = []
    base = _base(spec, model, file)
    floats = _let_float(spec, model, base, file)
    _set_options(spec, model)
    names = [joint.name for joint in model.joints if joint.type in _HINGES and joint.name]
    _set_joints(spec, model, names, file, problems)
    _set_contacts(spec, model, file, problems)
    own = _add_actuators(spec, model, names, file, problems)
    _add_ground(spec, model, floats)
    _check_sources(spec, model, file, problems)
    if problems:
        raise Refusal(problems)
    _add_imus(spec, model, base, floats)
    _prepare_rendering(spec, model)
    try:
        with warnings.catch_warnings():  # of deprecated keys in the model
            warnings.simplefilter("ignore")
            compiled = model.compile()
    except Exception as error:  # the bindings raise ValueError, and others by mistake
        raise model_refusal(robot.model_path, error) from error
    _check_numbers(compiled, robot.model_path)
    return BuiltModel(compiled, base.name, floats, tuple(names), tuple(own))


def _check_numbers(model: mujoco.MjModel, path: Path) -> None:
    """Refuse what MuJoCo compiles and cannot simulate.

    Raises:
        Refusal: the time step is not positive, or a mass is no number.
    """
    step = float(model.opt.timestep)
    if not 0.0 < step < np.inf:
        remedy = "set physics.timestep"
        raise refuse(str(path), "option timestep", "a positive number", f"{step:g}", remedy)
    for key in ("body_mass", "body_inertia", "body_pos", "dof_damping", "dof_armature"):
        if not np.isfinite(getattr(model, key)).all():
            raise refuse(str(path), key, "finite numbers", "NaN or infinity")


def _base(spec: RobotSpec, model: mujoco.MjSpec, file: str) -> mujoco.MjsBody:
    bodies = [body for body in model.bodies if body.name != "world"]
    if not bodies:
        raise refuse(file, "model", "at least one body", "none")
    for k, body in enumerate(bodies):
        body.name = body.name or f"{OWN}body{k}"
    if spec.base is None:
        free = [
            body
            for body in bodies
            if any(joint.type == mujoco.mjtJoint.mjJNT_FREE for joint in body.joints)
        ]
        return (free or bodies)[0]
    found = [body for body in bodies if body.name == spec.base]
    if not found:
        names = [body.name for body in bodies]
        raise _absent(file, "base", spec.base, names, "body")
    return found[0]


def _let_float(spec: RobotSpec, model: mujoco.MjSpec, base: mujoco.MjsBody, file: str) -> bool:
    floats = any(joint.type == mujoco.mjtJoint.mjJNT_FREE for joint in base.joints)
    wanted = spec.model.floating
    if wanted is None or wanted == floats:
        return floats
    if not wanted:
        raise refuse(
            file, "model.floating", f"true, since body {base.name} has a free joint", "false"
        )
    if base.parent.name != "world" or list(base.joints):
        expected = "a base that the world carries and that has no joint"
        raise refuse(file, "model.floating", expected, f"body {base.name}")
    base.add_freejoint()
    return True


def _set_options(spec: RobotSpec, model: mujoco.MjSpec) -> None:
    given = spec.physics
    for key in ("timestep", "iterations", "ls_iterations", "impratio"):
        value = getattr(given, key)
        if value is not None:
            setattr(model.option, key, value)
    if given.integrator is not None:
        model.option.integrator = _INTEGRATORS[given.integrator]
    if given.cone is not None:
        model.option.cone = _CONES[given.cone]
    if given.gravity is not None:
        model.option.gravity = given.gravity


def _set_joints(
    spec: RobotSpec, model: mujoco.MjSpec, names: Sequence[str], file: str, problems: Problems
) -> None:
    joints = {joint.name: joint for joint in model.joints}
    for key in ("armature", "damping", "frictionloss"):
        with collect(problems):
            values = some_by_name(getattr(spec.joints, key), names, file, f"joints.{key}")
            for name, value in zip(names, values.tolist()):
                if not np.isnan(value):
                    # Since MuJoCo 4 a damping has a coefficient of each power of the speed.
                    size = np.size(getattr(joints[name], key))
                    number = value if size == 1 else [value] + [0.0] * (size - 1)
                    setattr(joints[name], key, number)


def _set_contacts(spec: RobotSpec, model: mujoco.MjSpec, file: str, problems: Problems) -> None:
    geoms = {geom.name: geom for geom in model.geoms if geom.name}
    for k, contact in enumerate(spec.contacts):
        for pattern in contact.geoms:
            with collect(problems):
                for name in matching_names(pattern, list(geoms), file, f"contacts[{k}].geoms"):
                    geom = geoms[name]
                    if contact.friction is not None:
                        geom.friction = [contact.friction, *geom.friction[1:]]
                    if contact.condim is not None:
                        geom.condim = contact.condim
                    if contact.priority is not None:
                        geom.priority = contact.priority


def _add_actuators(
    spec: RobotSpec,
    model: mujoco.MjSpec,
    names: Sequence[str],
    file: str,
    problems: Problems,
) -> list[str]:
    """Add an actuator for each joint if `actuators.source` says so; return those joints."""
    source = spec.actuators.source
    limits = np.full(len(names), np.nan)
    with collect(problems):
        limits = some_by_name(spec.joints.effort_limit, names, file, "joints.effort_limit")
    joints = {joint.name: joint for joint in model.joints}
    if source == "file" or (source == "auto" and list(model.actuators)):
        if not list(model.actuators):
            problems.append(Problem(file, "actuators.source", "own: the model has none", "file"))
        for name, limit in zip(names, limits.tolist()):
            if not np.isnan(limit):
                joints[name].actfrcrange = [-limit, limit]
                joints[name].actfrclimited = True
        return []
    for actuator in list(model.actuators):
        model.delete(actuator)
    for key in list(model.keys):
        key.ctrl = []  # of the deleted actuators
    for name, limit in zip(names, limits.tolist()):
        actuator = model.add_actuator(name=name)
        actuator.trntype = mujoco.mjtTrn.mjTRN_JOINT
        actuator.target = name
        actuator.gaintype = mujoco.mjtGain.mjGAIN_FIXED
        actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        actuator.ctrllimited = False
        if not np.isnan(limit):
            actuator.forcelimited = True
            actuator.forcerange = [-limit, limit]
    return list(names)


def _add_ground(spec: RobotSpec, model: mujoco.MjSpec, floats: bool) -> None:
    wanted = spec.ground.add
    if wanted is None:
        wanted = floats and not list(model.worldbody.geoms)
    if wanted:
        geom = model.worldbody.add_geom(
            name=f"{OWN}ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0.0, 0.0, 1.0]
        )
        geom.friction = [spec.ground.friction, 0.005, 0.0001]
        geom.rgba = [0.7, 0.7, 0.7, 1.0]
    # Only of a model that is no scene of its own: policies know the brightness of their training.
    if wanted and not list(model.lights):
        model.worldbody.add_light(pos=[0.0, 0.0, 4.0], dir=[0.0, 0.0, -1.0])


def _check_sources(spec: RobotSpec, model: mujoco.MjSpec, file: str, problems: Problems) -> None:
    """Find the keyframe, bodies, geoms, sensors and cameras that are named but not there."""
    bodies = [body.name for body in model.bodies]
    geoms = [geom.name for geom in model.geoms if geom.name]
    sensors = {sensor.name: sensor.type for sensor in model.sensors}
    cameras = [camera.name for camera in model.cameras]

    def must_be(key: str, name: str | None, known: Sequence[str], what: str) -> None:
        if name is not None and name not in known:
            problems.extend(_absent(file, key, name, known, what).problems)

    must_be("start.keyframe", spec.start.keyframe, [key.name for key in model.keys], "keyframe")
    kinds = {
        "gyro": mujoco.mjtSensor.mjSENS_GYRO,
        "accelerometer": mujoco.mjtSensor.mjSENS_ACCELEROMETER,
        "orientation": mujoco.mjtSensor.mjSENS_FRAMEQUAT,
    }
    for topic, sensor in spec.sensors.items():
        where = f"sensors.{topic}"
        must_be(f"{where}.body", getattr(sensor, "body", None), bodies, "body")
        must_be(f"{where}.camera", getattr(sensor, "camera", None), cameras, "camera")
        for name in getattr(sensor, "of", ()):
            must_be(f"{where}.of", name, [*geoms, *bodies], "geom or body")
        for name in getattr(sensor, "names", ()):
            must_be(f"{where}.names", name, list(sensors), "sensor")
        for part, kind in kinds.items():
            known = [name for name, other in sensors.items() if other == kind]
            must_be(f"{where}.{part}", getattr(sensor, part, None), known, f"{part} sensor")


def _absent(file: str, key: str, name: str, known: Sequence[str], what: str) -> Refusal:
    listed = ", ".join(one for one in known if one) or "it has none"
    return refuse(file, key, f"a {what} of the model ({listed})", name, did_you_mean(name, known))


def imu_body(sensor: ImuSensor, base: str) -> str:
    """The body whose orientation and rates an Imu measures."""
    return sensor.body or base


def _add_imus(spec: RobotSpec, model: mujoco.MjSpec, base: mujoco.MjsBody, floats: bool) -> None:
    """Add the sensors of an Imu that names a body, except what the free base's state has."""
    bodies = {body.name: body for body in model.bodies}
    added = set()
    for sensor in spec.sensors.values():
        if not isinstance(sensor, ImuSensor):
            continue
        name = imu_body(sensor, base.name)
        from_state = floats and name == base.name
        parts = {
            "accelerometer": (mujoco.mjtSensor.mjSENS_ACCELEROMETER, sensor.accelerometer, False),
            "gyro": (mujoco.mjtSensor.mjSENS_GYRO, sensor.gyro, from_state),
            "orientation": (mujoco.mjtSensor.mjSENS_FRAMEQUAT, sensor.orientation, from_state),
        }
        for part, (kind, given, known) in parts.items():
            called = f"{OWN}{name}/{part}"
            if given is not None or known or called in added:
                continue
            site = f"{OWN}{name}"
            if site not in added:
                bodies[name].add_site(name=site)
                added.add(site)
            model.add_sensor(name=called, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=site)
            added.add(called)


def _prepare_rendering(spec: RobotSpec, model: mujoco.MjSpec) -> None:
    cameras = [one for one in spec.sensors.values() if isinstance(one, CameraSensor)]
    screen = model.visual.global_
    screen.offwidth = max([screen.offwidth, *(one.width for one in cameras)])
    screen.offheight = max([screen.offheight, *(one.height for one in cameras)])
    if cameras and not any(one.shadows for one in cameras):
        # On a CPU multisampling takes most of the time of an image.
        model.visual.quality.offsamples = 0
