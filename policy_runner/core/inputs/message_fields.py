"""Which numbers a message field holds, known without ROS: paths of its leaves, in order.

Only the messages that policies commonly read are listed; a spec that reads another type
says the `size` of the field, and the node checks path and size against the real type.
"""

from __future__ import annotations

import re

_INTEGERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
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
    "geometry_msgs/msg/PoseWithCovariance": {
        "pose": "geometry_msgs/msg/Pose",
        "covariance": "sequence",
    },
    "geometry_msgs/msg/Twist": {
        "linear": "geometry_msgs/msg/Vector3",
        "angular": "geometry_msgs/msg/Vector3",
    },
    "geometry_msgs/msg/TwistStamped": {"twist": "geometry_msgs/msg/Twist"},
    "geometry_msgs/msg/TwistWithCovariance": {
        "twist": "geometry_msgs/msg/Twist",
        "covariance": "sequence",
    },
    "geometry_msgs/msg/TwistWithCovarianceStamped": {
        "twist": "geometry_msgs/msg/TwistWithCovariance"
    },
    "geometry_msgs/msg/Vector3Stamped": {"vector": "geometry_msgs/msg/Vector3"},
    "sensor_msgs/msg/Imu": {
        "orientation": "geometry_msgs/msg/Quaternion",
        "angular_velocity": "geometry_msgs/msg/Vector3",
        "linear_acceleration": "geometry_msgs/msg/Vector3",
        **{
            f"{name}_covariance": "sequence"
            for name in ("orientation", "angular_velocity", "linear_acceleration")
        },
    },
    "nav_msgs/msg/Odometry": {
        "pose": "geometry_msgs/msg/PoseWithCovariance",
        "twist": "geometry_msgs/msg/TwistWithCovariance",
    },
    "geometry_msgs/msg/PoseWithCovarianceStamped": {"pose": "geometry_msgs/msg/PoseWithCovariance"},
    "geometry_msgs/msg/PointStamped": {"point": "geometry_msgs/msg/Point"},
    "geometry_msgs/msg/QuaternionStamped": {"quaternion": "geometry_msgs/msg/Quaternion"},
    "geometry_msgs/msg/Transform": {
        "translation": "geometry_msgs/msg/Vector3",
        "rotation": "geometry_msgs/msg/Quaternion",
    },
    "geometry_msgs/msg/TransformStamped": {"transform": "geometry_msgs/msg/Transform"},
    "geometry_msgs/msg/Accel": {
        "linear": "geometry_msgs/msg/Vector3",
        "angular": "geometry_msgs/msg/Vector3",
    },
    "geometry_msgs/msg/AccelStamped": {"accel": "geometry_msgs/msg/Accel"},
    "geometry_msgs/msg/Wrench": {
        "force": "geometry_msgs/msg/Vector3",
        "torque": "geometry_msgs/msg/Vector3",
    },
    "geometry_msgs/msg/WrenchStamped": {"wrench": "geometry_msgs/msg/Wrench"},
    "sensor_msgs/msg/LaserScan": {
        **dict.fromkeys(("angle_min", "angle_max", "angle_increment"), "number"),
        **dict.fromkeys(("time_increment", "scan_time", "range_min", "range_max"), "number"),
        **dict.fromkeys(("ranges", "intensities"), "sequence"),
    },
    "sensor_msgs/msg/Range": dict.fromkeys(
        ("radiation_type", "field_of_view", "min_range", "max_range", "range", "variance"), "number"
    ),
    "sensor_msgs/msg/FluidPressure": dict.fromkeys(("fluid_pressure", "variance"), "number"),
    "sensor_msgs/msg/MagneticField": {
        "magnetic_field": "geometry_msgs/msg/Vector3",
        "magnetic_field_covariance": "sequence",
    },
    "sensor_msgs/msg/Joy": dict.fromkeys(("axes", "buttons"), "sequence"),
    **{
        f"std_msgs/msg/{name}": {"data": "number"}
        for name in ("Bool", "Byte", "Float32", "Float64", *_INTEGERS)
    },
    **{
        f"std_msgs/msg/{name}MultiArray": {"data": "sequence"}
        for name in ("Float32", "Float64", *_INTEGERS)
    },
}
MOST_LEAVES = 1_000_000
_SLICE = re.compile(r"^(?P<path>[\w.]+)\[(?P<first>\d+):(?P<last>\d+)\]$")


def leaves(message_type: str, path: str, size: int | None = None) -> tuple[str, ...]:
    """Leaf paths of `path` in a message, in the order of the definition.

    `orientation` of an Imu gives ('orientation.x', ..., 'orientation.w'); `data[3:7]` gives
    itself once per element: ('data[3]', ..., 'data[6]'). Sequences, covariances among them, are
    there when they are named.

    Raises:
        KeyError: the type is known and has no such field (args: the field names it has), or
            the type is not known and no size was given.
    """
    match = _SLICE.match(path)
    if match:
        first, last = int(match["first"]), int(match["last"])
        if first >= last:
            raise KeyError("a slice [first:last] with first < last")
        if last - first > MOST_LEAVES:
            raise KeyError(f"a slice of at most {MOST_LEAVES} elements")
        field_kind(message_type, match["path"], "sequence")
        return tuple(f"{match['path']}[{k}]" for k in range(first, last))
    if size is not None and size > MOST_LEAVES:
        raise KeyError(f"a `size` of at most {MOST_LEAVES}")
    kind = message_type
    if kind not in _MESSAGES:
        if size is None:
            raise KeyError("the key `size` beside `field`, since this message type is not known")
        return (path,) if size == 1 else tuple(f"{path}[{k}]" for k in range(size))
    kind = field_kind(message_type, path, "")
    if kind == "sequence":
        if size is None:
            raise KeyError(
                f"a slice such as {path}[0:8], `size`, or `pool` for the sequence '{path}'"
            )
        return tuple(f"{path}[{k}]" for k in range(size))
    return tuple(_expand(kind, path))


def field_kind(message_type: str, path: str, wanted: str) -> str:
    """The kind of a field: a message type, number or sequence; `wanted` for an unknown type."""
    kind = message_type
    if kind not in _MESSAGES:
        return wanted
    for part in path.split("."):
        fields = _MESSAGES.get(kind, {})
        if part not in fields:
            raise KeyError(f"one of {', '.join(fields) or 'no further field'} for '{part}'")
        kind = fields[part]
    if wanted and kind != wanted:
        raise KeyError(f"a {wanted}, which '{path}' is not, but a {kind},")
    return kind


def _expand(kind: str, path: str) -> list[str]:
    if kind == "number":
        return [path]
    # A covariance beside a pose is no part of what `pose` means.
    parts = [(name, sub) for name, sub in _MESSAGES[kind].items() if sub != "sequence"]
    return [leaf for name, sub in parts for leaf in _expand(sub, f"{path}.{name}")]
