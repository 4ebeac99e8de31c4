"""Serializes the messages of a simulated robot (CDR, little endian), without ROS.

`definition` gives the message types for readers without ROS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.model import Array
from policy_runner.sim.camera import RenderedImage
from policy_runner.telemetry.recording.cdr_bytes import CdrBytes

_LINE = "=" * 80
_XYZ = "float64 x\nfloat64 y\nfloat64 z\n"
_PARTS = {
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id\n",
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec\n",
    "geometry_msgs/Vector3": _XYZ,
    "geometry_msgs/Point": _XYZ,
    "geometry_msgs/Quaternion": f"{_XYZ}float64 w\n",
    "geometry_msgs/Pose": "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation\n",
    "geometry_msgs/Twist": "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular\n",
    "geometry_msgs/PoseWithCovariance": "geometry_msgs/Pose pose\nfloat64[36] covariance\n",
    "geometry_msgs/TwistWithCovariance": "geometry_msgs/Twist twist\nfloat64[36] covariance\n",
    "std_msgs/MultiArrayLayout": "std_msgs/MultiArrayDimension[] dim\nuint32 data_offset\n",
    "std_msgs/MultiArrayDimension": "string label\nuint32 size\nuint32 stride\n",
    "sensor_msgs/Imu": "std_msgs/Header header\ngeometry_msgs/Quaternion orientation\n"
    "float64[9] orientation_covariance\ngeometry_msgs/Vector3 angular_velocity\n"
    "float64[9] angular_velocity_covariance\ngeometry_msgs/Vector3 linear_acceleration\n"
    "float64[9] linear_acceleration_covariance\n",
    "sensor_msgs/JointState": "std_msgs/Header header\nstring[] name\nfloat64[] position\n"
    "float64[] velocity\nfloat64[] effort\n",
    "geometry_msgs/TwistStamped": "std_msgs/Header header\ngeometry_msgs/Twist twist\n",
    "nav_msgs/Odometry": "std_msgs/Header header\nstring child_frame_id\n"
    "geometry_msgs/PoseWithCovariance pose\ngeometry_msgs/TwistWithCovariance twist\n",
    "sensor_msgs/Image": "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n"
    "uint8 is_bigendian\nuint32 step\nuint8[] data\n",
    "std_msgs/Float64MultiArray": "std_msgs/MultiArrayLayout layout\nfloat64[] data\n",
}


def imu_bytes(stamp_ns: int, frame_id: str, numbers: Array) -> bytes:
    """A sensor_msgs/Imu.

    Args:
        stamp_ns: of the header.
        frame_id: of the header.
        numbers: orientation x, y, z, w; angular velocity [rad/s]; acceleration [m/s^2], (10,).
    """
    out = CdrBytes()
    out.header(stamp_ns, frame_id)
    unknown = np.zeros(9)
    for part in (numbers[:4], numbers[4:7], numbers[7:10]):
        out.floats(part)
        out.floats(unknown)
    return out.finish()


def joint_state_bytes(
    stamp_ns: int, names: Sequence[str], values: Mapping[str, Array | Sequence[float]]
) -> bytes:
    """A sensor_msgs/JointState.

    Args:
        stamp_ns: of the header.
        names: joints.
        values: by position, velocity and effort, [names] each; absent ones are empty.
    """
    out = CdrBytes()
    out.header(stamp_ns, "")
    out.number("I", len(names))
    for name in names:
        out.text(name)
    for kind in ("position", "velocity", "effort"):
        out.sequence(values.get(kind, ()))
    return out.finish()


def twist_bytes(stamp_ns: int | None, numbers: Array) -> bytes:
    """A geometry_msgs/Twist, or a TwistStamped with a stamp; `numbers`: linear, angular, (6,)."""
    out = CdrBytes()
    if stamp_ns is not None:
        out.header(stamp_ns, "")
    out.floats(numbers)
    return out.finish()


def odometry_bytes(stamp_ns: int, frame_id: str, child_frame_id: str, numbers: Array) -> bytes:
    """A nav_msgs/Odometry; `numbers`: position, orientation x, y, z, w, linear, angular, (13,)."""
    out = CdrBytes()
    out.header(stamp_ns, frame_id)
    out.text(child_frame_id)
    for part in (numbers[:7], numbers[7:13]):
        out.floats(part)
        out.floats(np.zeros(36))
    return out.finish()


def image_bytes(stamp_ns: int, frame_id: str, image: RenderedImage) -> bytes:
    """A sensor_msgs/Image."""
    out = CdrBytes()
    out.header(stamp_ns, frame_id)
    out.number("I", image.height)
    out.number("I", image.width)
    out.text(image.encoding)
    out.byte(image.is_bigendian)
    out.number("I", image.step)
    out.blob(image.data.tobytes())
    return out.finish()


def array_bytes(numbers: Array) -> bytes:
    """A std_msgs/Float64MultiArray without a layout."""
    out = CdrBytes()
    out.number("I", 0)
    out.number("I", 0)
    out.sequence(numbers)
    return out.finish()


def definition(message_type: str) -> str:
    """The text of a type that is written here, and of all types in it, as in rosbag2's files."""
    first = message_type.replace("/msg/", "/")
    waiting, seen, texts = [first], {first}, []
    while waiting:
        name = waiting.pop(0)
        texts.append(_PARTS[name] if name == first else f"{_LINE}\nMSG: {name}\n{_PARTS[name]}")
        for line in _PARTS[name].splitlines():
            base = line.split()[0].removesuffix("[]")
            if base in _PARTS and base not in seen:
                seen.add(base)
                waiting.append(base)
    return "".join(texts)
