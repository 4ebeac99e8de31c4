"""List the numbers of a message field without ROS: the paths of its leaves, in order.

This file lists only the messages that policies commonly read. A spec that reads another type
states the `size` of the field, and the node checks path and size against the real type.
"""

from __future__ import annotations

import re

from policy_runner.core.inputs.message_types import NoSuchField, steps

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
    "geometry_msgs/msg/PoseArray": {"poses": "geometry_msgs/msg/Pose[]"},
    "nav_msgs/msg/Path": {"poses": "geometry_msgs/msg/PoseStamped[]"},
    "geometry_msgs/msg/PoseWithCovariance": {
        "pose": "geometry_msgs/msg/Pose",
        "covariance": "number[36]",
    },
    "geometry_msgs/msg/Twist": {
        "linear": "geometry_msgs/msg/Vector3",
        "angular": "geometry_msgs/msg/Vector3",
    },
    "geometry_msgs/msg/TwistStamped": {"twist": "geometry_msgs/msg/Twist"},
    "geometry_msgs/msg/TwistWithCovariance": {
        "twist": "geometry_msgs/msg/Twist",
        "covariance": "number[36]",
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
            f"{name}_covariance": "number[9]"
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
        "magnetic_field_covariance": "number[9]",
    },
    "sensor_msgs/msg/Joy": dict.fromkeys(("axes", "buttons"), "sequence"),
    **{
        f"std_msgs/msg/{name}": {"data": "number"}
        for name in ("Bool", "Byte", "Char", "Float32", "Float64", *_INTEGERS)
    },
    **{
        f"std_msgs/msg/{name}MultiArray": {"data": "sequence"}
        for name in ("Byte", "Float32", "Float64", *_INTEGERS)
    },
}
MOST_LEAVES = 1_000_000
_SLICE = re.compile(r"^(?P<path>[\w.\[\]]+)\[(?P<first>\d+):(?P<last>\d+)\]$")
_ELEMENT = re.compile(r"^(?P<path>.+)\[(?P<index>\d+)\]$")
_ARRAY = re.compile(r"^(?P<element>[\w/]+)\[(?P<count>\d*)\]$")


def leaves(message_type: str, path: str, size: int | None = None) -> tuple[str, ...]:
    """Leaf paths of `path` in a message, in the order of the definition.

    `orientation` of an Imu gives ('orientation.x', ..., 'orientation.w'); `data[3:7]` gives one
    path per element: ('data[3]', ..., 'data[6]'); `poses[0].position` of a PoseArray gives
    ('poses[0].position.x', ...). Sequences and covariances are included only if `path` names them.

    Args:
        message_type: such as `sensor_msgs/msg/Imu`.
        path: of the field, with an optional slice at the end.
        size: the field's number of elements; needed for types that this file does not list and
            for sequences.

    Raises:
        KeyError: the type is known and has no such field (args: the field names it has), or
            the type is not known and no size was given, or no type has such a path.
    """
    match = _SLICE.match(path)
    if match:
        first, last = int(match["first"]), int(match["last"])
        if first >= last:
            raise KeyError("a slice [first:last] with first < last")
        if last - first > MOST_LEAVES:
            raise KeyError(f"a slice of at most {MOST_LEAVES} elements")
        length = _length(field_kind(message_type, match["path"], "sequence"))
        if length is not None and last > length:
            raise KeyError(f"a slice within the {length} elements of '{match['path']}'")
        return tuple(f"{match['path']}[{k}]" for k in range(first, last))
    if size is not None and size > MOST_LEAVES:
        raise KeyError(f"a `size` of at most {MOST_LEAVES}")
    if message_type not in _MESSAGES:
        _checked_steps(path)
        if size is None:
            raise KeyError("the key `size` next to `field`, since this message type is not known")
        return (path,) if size == 1 else tuple(f"{path}[{k}]" for k in range(size))
    kind = field_kind(message_type, path, "")
    length = _length(kind)
    if kind == "sequence" and size is None:
        raise KeyError(f"a slice such as {path}[0:8], `size`, or `pool` for the sequence '{path}'")
    if kind == "sequence" or length is not None:
        return tuple(f"{path}[{k}]" for k in range(length or size or 0))
    if kind.endswith("[]"):
        raise KeyError(f"an element, such as {path}[0], of the sequence '{path}'")
    return tuple(_expand(kind, path))


def runs(leaf_paths: tuple[str, ...]) -> list[tuple[str, int | None, int]]:
    """Join leaves to runs (path, first index, count); index None: a single number.

    ('data[3]', 'data[4]', 'gain') gives [('data', 3, 2), ('gain', None, 1)].
    """
    found: list[tuple[str, int | None, int]] = []
    for leaf in leaf_paths:
        match = _ELEMENT.match(leaf)
        if match is None:
            found.append((leaf, None, 1))
            continue
        path, index = match["path"], int(match["index"])
        if found and found[-1][0] == path and found[-1][1] is not None:
            _, first, count = found[-1]
            if first is not None and index == first + count:
                found[-1] = (path, first, count + 1)
                continue
        found.append((path, index, 1))
    return found


def field_kind(message_type: str, path: str, wanted: str) -> str:
    """The kind of a field: a message type, number, sequence or number[9]. Arrays end with ].

    Args:
        message_type: type of the message that has the field.
        path: of the field, with an index for each array on the way.
        wanted: the required kind. For a type that is not known, it is the result. An array of
            fixed length is also a sequence. "": any kind.

    Raises:
        KeyError: there is no such field (args: the expected one).
    """
    parts = _checked_steps(path)
    kind = message_type
    if kind not in _MESSAGES:
        return wanted
    for name, index in parts:
        fields = _MESSAGES.get(kind, {})
        if name not in fields:
            raise KeyError(f"one of {', '.join(fields) or 'no further field'} for '{name}'")
        kind = fields[name]
        if index is not None:
            kind = _element(kind, name, index)
    if wanted and kind != wanted and not (wanted == "sequence" and _length(kind) is not None):
        raise KeyError(f"a {wanted}, which '{path}' is not, but a {kind},")
    return kind


def _checked_steps(path: str) -> list[tuple[str, int | None]]:
    try:
        return steps(path)
    except NoSuchField as error:
        raise KeyError(str(error)) from error


def _element(kind: str, name: str, index: int) -> str:
    if kind == "sequence":
        return "number"
    match = _ARRAY.match(kind)
    if match is None:
        raise KeyError(f"no index, since '{name}' is a single value")
    length = _length(kind)
    if length is not None and index >= length:
        raise KeyError(f"an index below {length}, the length of '{name}'")
    return match["element"]


def _length(kind: str) -> int | None:
    """Number of elements of an array of fixed length; None for other kinds."""
    match = _ARRAY.match(kind)
    return int(match["count"]) if match is not None and match["count"] else None


def _expand(kind: str, path: str) -> list[str]:
    if kind == "number":
        return [path]
    # A covariance next to a pose does not belong to the pose's numbers.
    parts = [(name, sub) for name, sub in _MESSAGES[kind].items() if not _is_array(sub)]
    return [leaf for name, sub in parts for leaf in _expand(sub, f"{path}.{name}")]


def _is_array(kind: str) -> bool:
    return kind == "sequence" or kind.endswith("]")
