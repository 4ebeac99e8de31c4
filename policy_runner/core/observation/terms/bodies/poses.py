"""Read the pose of a body: message, offsets on both sides, and a chain of joints.

pose = world_offset * measured * chain * offset. Orientations are unit quaternions x, y, z, w,
body -> world; positions are in m.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.motions.table import motion_table
from policy_runner.core.observation.terms.orientation import attitude
from policy_runner.core.observation.terms.rotation import (
    Quaternion,
    Vector,
    about_axis,
    from_euler,
    multiply,
    rotated,
    unit,
)
from policy_runner.core.observation.terms.sources import JOINT_STATE, Sources, joint_index
from policy_runner.core.spec import ChainLink, Offset, PoseSource

NO_TURN: Quaternion = (0.0, 0.0, 0.0, 1.0)
NO_STEP: Vector = (0.0, 0.0, 0.0)
Pose = tuple[Vector, Quaternion]
ReadPose = Callable[[], Pose | str]  # the pose, or why it is unusable
# The word for what a term needs of a pose, and how many numbers have it.
NEEDS = {
    "pose": (7,),
    "orientation": (4, 7),
    "position": (3, 7),
}


def times(a: Pose, b: Pose) -> Pose:
    """The product of two poses: b is seen from a."""
    x, y, z = rotated(a[1], b[0])
    return (a[0][0] + x, a[0][1] + y, a[0][2] + z), multiply(a[1], b[1])


def constant_pose(offset: Offset, file: str, key: str) -> Pose:
    """The pose of an offset.

    Raises:
        Refusal: both `rpy` and `quaternion`, or a quaternion that is no rotation.
    """
    if offset.rpy is not None and offset.quaternion is not None:
        raise refuse(file, key, "one of `rpy` and `quaternion`", "both")
    x, y, z = offset.position
    if offset.quaternion is not None:
        qx, qy, qz, qw = offset.quaternion
        q = unit((qx, qy, qz, qw))
        if isinstance(q, str):
            raise refuse(file, f"{key}.quaternion", "a quaternion of length 1", q)
        return (x, y, z), q
    roll, pitch, yaw = offset.rpy or (0.0, 0.0, 0.0)
    return (x, y, z), from_euler(roll, pitch, yaw)


def pose_reader(source: PoseSource, sources: Sources, key: str, needs: str) -> ReadPose:
    """Make a function that reads a pose.

    Args:
        source: the pose in the spec.
        sources: the data that terms read.
        key: the pose's key in the spec, for error messages.
        needs: a key of `NEEDS`. What is not needed and not known is 0, or no rotation.

    Raises:
        Refusal: an input, field or joint does not exist, or has not what is needed.
    """
    read = _measured(source, sources, key, needs)
    before = after = None
    if source.world_offset is not None:
        before = constant_pose(source.world_offset, sources.file, f"{key}.world_offset")
    if source.offset is not None:
        after = constant_pose(source.offset, sources.file, f"{key}.offset")
    chain = chain_reader(source.chain, source.joints_input, sources, key)
    if before is None and after is None and chain is None:
        return read

    def moved() -> Pose | str:
        pose = read()
        if isinstance(pose, str):
            return pose
        if before is not None:
            pose = times(before, pose)
        if chain is not None:
            pose = times(pose, chain())
        return pose if after is None else times(pose, after)

    return moved


def _measured(source: PoseSource, sources: Sources, key: str, needs: str) -> ReadPose:
    if source.motion is not None:
        return _of_motion(source, source.motion, sources, key, needs)
    if source.input is None or source.body is not None or source.row:
        expected = "`input`, or `motion` with `body` (and `row`)"
        raise refuse(sources.file, key, expected, "neither" if source.input is None else "both")
    slot = sources.slot(source.input, key)
    # An offset moves the position by the orientation, so a position needs both then.
    moved = bool(source.chain) or source.offset is not None
    if needs == "position" and moved and source.orientation is None:
        needs = "pose"
    sizes = NEEDS[needs] if source.orientation is None else (3, 7)
    numbers = sources.numbers(slot, source.field, sizes[0], f"{key}.field")
    if numbers.size not in sizes:
        expected = {
            3: "a position x, y, z",
            4: "a quaternion x, y, z, w",
            7: "a Pose: position x, y, z and orientation x, y, z, w",
        }[sizes[0]]
        raise refuse(sources.file, f"{key}.field", expected, f"{numbers.size} numbers")
    turned: Callable[[], Quaternion | str] | None = None
    if source.orientation is not None:
        other = source.orientation
        turned = attitude(other.input, other.field, sources, f"{key}.orientation")
    elif numbers.size == 4:
        turned = attitude(source.input, source.field, sources, key)
    only_turn, only_step = numbers.size == 4, numbers.size == 3 and turned is None

    def read() -> Pose | str:
        if only_step:
            x, y, z = numbers.tolist()
            return (x, y, z), NO_TURN
        if turned is not None:
            q = turned()
            if isinstance(q, str):
                return q
            return (NO_STEP if only_turn else _first_three(numbers)), q
        x, y, z, qx, qy, qz, qw = numbers.tolist()
        q = unit((qx, qy, qz, qw))
        return q if isinstance(q, str) else ((x, y, z), q)

    return read


def _of_motion(source: PoseSource, motion: str, sources: Sources, key: str, needs: str) -> ReadPose:
    if source.input is not None or source.orientation is not None or source.body is None:
        expected = "`motion` with `body`, without `input` and `orientation`"
        got = "no body" if source.body is None else "both"
        raise refuse(sources.file, key, expected, got)
    table, ahead = motion_table(motion, sources, key), source.row
    if needs == "position" and source.offset is not None:
        needs = "pose"
    turns = table.column("quaternion", source.body) if needs != "position" else None
    places = table.column("position", source.body) if needs != "orientation" else None

    def read() -> Pose | str:
        if table.fault:
            return table.fault
        q = NO_TURN if turns is None else table.rotation(turns, ahead)
        if isinstance(q, str):
            return q
        return NO_STEP if places is None else _first_three(table.numbers(places, ahead)), q

    return read


def _first_three(numbers: Array) -> Vector:
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


_AXES: dict[str, Vector] = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def chain_reader(
    chain: Sequence[ChainLink], joints_input: str | None, sources: Sources, key: str
) -> Callable[[], Pose] | None:
    """Make a function of the pose at the end of a chain of joints, or None without a chain.

    Args:
        chain: the joints, in order from the measured body.
        joints_input: the JointState with their positions.
        sources: the data that terms read.
        key: the key in the spec that has `chain`, for error messages.

    Raises:
        Refusal: no JointState, an unknown joint, or an axis of length 0.
    """
    file = sources.file
    if not chain:
        if joints_input is not None:
            expected = "this key only with `chain`"
            raise refuse(file, f"{key}.joints_input", expected, joints_input)
        return None
    if joints_input is None:
        raise refuse(file, f"{key}.joints_input", "the JointState for `chain`", "none")
    slot = sources.slot(joints_input, key)
    if slot.spec.type != JOINT_STATE:
        expected = f"an input of type {JOINT_STATE}"
        raise refuse(file, f"{key}.joints_input", expected, slot.spec.type)
    names = sources.spec.joint_names
    index = joint_index(names, [link.joint for link in chain], file, f"{key}.chain")
    positions = slot.joint_values("position", names, sources.robot_joints, index)
    links = []
    for k, (joint, link) in enumerate(zip(index, chain, strict=True)):
        where = f"{key}.chain[{k}]"
        origin = (NO_STEP, NO_TURN)
        if link.origin is not None:
            origin = constant_pose(link.origin, file, f"{where}.origin")
        links.append((joint, joint_axis(link, file, where), origin))

    def read() -> Pose:
        pose = (NO_STEP, NO_TURN)
        for joint, axis, origin in links:
            turn = about_axis(axis, float(positions[joint]))
            pose = times(times(pose, origin), (NO_STEP, turn))
        return pose

    return read


def joint_axis(link: ChainLink, file: str, key: str) -> Vector:
    """The rotation axis of a joint, of length 1.

    Raises:
        Refusal: its length is 0.
    """
    if isinstance(link.axis, str):
        return _AXES[link.axis]
    x, y, z = link.axis
    length = math.sqrt(x * x + y * y + z * z)
    if length < 1e-6:
        raise refuse(file, f"{key}.axis", "a vector that is not 0", f"{np.array(link.axis)}")
    return x / length, y / length, z / length
