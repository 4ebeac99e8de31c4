"""Which numbers a message field holds, known without ROS: paths of its leaves, in order.

Only the messages that policies commonly read are listed; a spec that reads another type
says the `size` of the field, and the node checks path and size against the real type.
"""

from __future__ import annotations

import re

_XYZ = {"x": "number", "y": "number", "z": "number"}
_MESSAGES: dict[str, dict[str, str]] = {
    "geometry_msgs/msg/Vector3": _XYZ,
    "geometry_msgs/msg/Point": _XYZ,
    "geometry_msgs/msg/Quaternion": {**_XYZ, "w": "number"},
    "geometry_msgs/msg/Pose": {
        "position": "geometry_msgs/msg/Point",
        "orientation": "geometry_msgs/msg/Quaternion",
    },
    "geometry_msgs/msg/PoseStamped": {"pose": "geometry_msgs/msg/Pose"},
    "geometry_msgs/msg/PoseWithCovariance": {"pose": "geometry_msgs/msg/Pose"},
    "geometry_msgs/msg/Twist": {
        "linear": "geometry_msgs/msg/Vector3",
        "angular": "geometry_msgs/msg/Vector3",
    },
    "geometry_msgs/msg/TwistStamped": {"twist": "geometry_msgs/msg/Twist"},
    "geometry_msgs/msg/TwistWithCovariance": {"twist": "geometry_msgs/msg/Twist"},
    "geometry_msgs/msg/Vector3Stamped": {"vector": "geometry_msgs/msg/Vector3"},
    "sensor_msgs/msg/Imu": {
        "orientation": "geometry_msgs/msg/Quaternion",
        "angular_velocity": "geometry_msgs/msg/Vector3",
        "linear_acceleration": "geometry_msgs/msg/Vector3",
    },
    "nav_msgs/msg/Odometry": {
        "pose": "geometry_msgs/msg/PoseWithCovariance",
        "twist": "geometry_msgs/msg/TwistWithCovariance",
    },
    "std_msgs/msg/Float32": {"data": "number"},
    "std_msgs/msg/Float64": {"data": "number"},
}
_SLICE = re.compile(r"^(?P<path>[\w.]+)\[(?P<first>\d+):(?P<last>\d+)\]$")


def leaves(message_type: str, path: str, size: int | None = None) -> tuple[str, ...]:
    """Leaf paths of `path` in a message, in the order of the definition.

    `orientation` of an Imu gives ('orientation.x', ..., 'orientation.w'); `data[3:7]` gives
    itself once per element: ('data[3]', ..., 'data[6]').

    Raises:
        KeyError: the type is known and has no such field (args: the field names it has), or
            the type is not known and no size was given.
    """
    match = _SLICE.match(path)
    if match:
        first, last = int(match["first"]), int(match["last"])
        if first >= last:
            raise KeyError("a slice [first:last] with first < last")
        return tuple(f"{match['path']}[{k}]" for k in range(first, last))
    kind = message_type
    if kind not in _MESSAGES:
        if size is None:
            raise KeyError("the key `size` beside `field`, since this message type is not known")
        return (path,) if size == 1 else tuple(f"{path}[{k}]" for k in range(size))
    for part in path.split("."):
        fields = _MESSAGES.get(kind, {})
        if part not in fields:
            raise KeyError(f"one of {', '.join(fields) or 'no further field'} for '{part}'")
        kind = fields[part]
    return tuple(_expand(kind, path))


def _expand(kind: str, path: str) -> list[str]:
    if kind == "number":
        return [path]
    return [
        leaf for name, sub in _MESSAGES[kind].items() for leaf in _expand(sub, f"{path}.{name}")
    ]
