"""Serializes the messages of a simulated robot (CDR, little endian), without ROS.

The layout is that of OMG's CDR 1.2: each number is aligned to its size, counted from the end of
the four bytes at the start. `DEFINITIONS` are the message types for readers without ROS.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_START = b"\0\1\0\0"  # CDR, little endian
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
    "std_msgs/Float64MultiArray": "std_msgs/MultiArrayLayout layout\nfloat64[] data\n",
}
TYPES = (
    *("sensor_msgs/msg/Imu", "sensor_msgs/msg/JointState", "nav_msgs/msg/Odometry"),
    *("geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"),
    "std_msgs/msg/Float64MultiArray",
)


class CdrBytes:
    """Appends fields to a message."""

    def __init__(self) -> None:
        self._out = bytearray()

    def number(self, form: str, value: int) -> None:
        """Append an integer of four bytes; `form` is that of `struct`."""
        self._align(4)
        self._out += struct.pack(f"<{form}", value)

    def text(self, value: str) -> None:
        """Append a string."""
        data = value.encode() + b"\0"
        self.number("I", len(data))
        self._out += data

    def header(self, stamp_ns: int, frame_id: str) -> None:
        """Append a std_msgs/Header."""
        self.number("i", stamp_ns // 1_000_000_000)
        self.number("I", stamp_ns % 1_000_000_000)
        self.text(frame_id)

    def floats(self, values: Array | Sequence[float]) -> None:
        """Append float64 numbers of a fixed count."""
        array = np.asarray(values, dtype="<f8")
        if array.size:
            self._align(8)
            self._out += array.tobytes()

    def sequence(self, values: Array | Sequence[float]) -> None:
        """Append a sequence of float64 numbers."""
        self.number("I", len(values))
        self.floats(values)

    def finish(self) -> bytes:
        """The whole message."""
        return _START + bytes(self._out)

    def _align(self, size: int) -> None:
        self._out += bytes(-len(self._out) % size)


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


def array_bytes(numbers: Array) -> bytes:
    """A std_msgs/Float64MultiArray without a layout."""
    out = CdrBytes()
    out.number("I", 0)
    out.number("I", 0)
    out.sequence(numbers)
    return out.finish()


def definition(message_type: str) -> str:
    """The text of a type of `TYPES` and of all types in it, as in rosbag2's MCAP files."""
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
