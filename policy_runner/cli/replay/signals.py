"""Reads signals from an .npz as messages in time, as if they had been received.

Keys, with N samples each, for every input of the policy spec by its name INPUT:

    INPUT/FIELD       [N, ...]  a field by its path: imu/orientation [N, 4] (x, y, z, w),
                                imu/angular_velocity [N, 3], cmd_vel/twist.linear.x [N]
    INPUT/name        [J] text  for a JointState; INPUT/position, /velocity, /effort are [N, J]
    INPUT/t           [N]       time of reception of each sample [s]
    INPUT/data        [N, rows, columns] or [N, rows, columns, channels]: the pixels of an Image;
                                encoding, height, width and step follow from it, or are given as
                                INPUT/encoding (text), ... For a CompressedImage [N, bytes] and
                                INPUT/format (text)
    INPUT/data        [N] text  of a String, such as a prompt
    INPUT/data        [N, rows x columns]: the cells of an OccupancyGrid; header.frame_id,
                                info.width, ... [N], or one value for every sample
    t                 [N]       the same, for every input without INPUT/t
    control_dt        scalar    without any time: time between two samples [s]

A second layout uses message types instead of input names: `joint_state_names`,
`joint_position`, `joint_velocity`, `joint_effort` (JointState); `imu_orientation_xyzw`,
`imu_angular_velocity`, `imu_linear_acceleration` (Imu, or Odometry if there is no Imu);
`base_linear_velocity` (Odometry); `command` [N, 3] of vx, vy, wz (Twist, TwistStamped).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.inputs.message_fields import leaves
from policy_runner.core.inputs.text import STRING
from policy_runner.core.spec import Input

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
# (type of the pixels, channels) -> encoding of sensor_msgs/Image
ENCODINGS = {("uint8", 1): "mono8", ("uint8", 3): "rgb8", ("uint8", 4): "rgba8",
             ("uint16", 1): "16UC1", ("float32", 1): "32FC1"}  # fmt: skip
GRID = "nav_msgs/msg/OccupancyGrid"
JOINT_STATE, IMU = "sensor_msgs/msg/JointState", "sensor_msgs/msg/Imu"
ODOMETRY = "nav_msgs/msg/Odometry"
Arrays = Mapping[str, np.ndarray]
MOST_TIME_S = 9e9  # int64 holds 9.2e18 ns
MOST_GAP_S = 86400.0  # between two messages: every tick in between is replayed
# Second layout: key -> (message type, field path) in the order of preference.
BY_TYPE: dict[str, tuple[tuple[str, str], ...]] = {
    "joint_state_names": ((JOINT_STATE, "name"),),
    "joint_position": ((JOINT_STATE, "position"),),
    "joint_velocity": ((JOINT_STATE, "velocity"),),
    "joint_effort": ((JOINT_STATE, "effort"),),
    "imu_orientation_xyzw": ((IMU, "orientation"), (ODOMETRY, "pose.pose.orientation")),
    "imu_angular_velocity": ((IMU, "angular_velocity"), (ODOMETRY, "twist.twist.angular")),
    "imu_linear_acceleration": ((IMU, "linear_acceleration"),),
    "base_linear_velocity": ((ODOMETRY, "twist.twist.linear"),),
    "command": (
        ("geometry_msgs/msg/Twist", "linear.x,linear.y,angular.z"),
        ("geometry_msgs/msg/TwistStamped", "twist.linear.x,twist.linear.y,twist.angular.z"),
    ),
}


class Event(NamedTuple):
    """One message of one input, received at `t_ns` [ns]."""

    t_ns: int
    input: str
    message: Any


def is_signals(keys: Mapping[str, Any] | list[str], inputs: Mapping[str, Input]) -> bool:
    """Return whether an .npz with these keys contains signals."""
    return any(key in BY_TYPE or key.split("/")[0] in inputs for key in keys)


def signal_events(arrays: Arrays, inputs: Mapping[str, Input], file: str) -> list[Event]:
    """Return every sample of every input as a message, in the order of time.

    `file` is the path of the .npz, for errors.

    Raises:
        Refusal: an input has no signals, or the lengths of arrays differ.
    """
    for key, array in arrays.items():
        if array.dtype.kind not in "biufUS":
            raise refuse(file, key, "real numbers or text", array.dtype.name)
    fields: dict[str, dict[str, np.ndarray]] = {name: {} for name in inputs}
    for key, array in arrays.items():
        name, _, path = key.partition("/")
        if path and name in fields:
            fields[name][path] = array
        elif key in BY_TYPE:
            for name, path, part in _by_type(key, array, inputs):
                fields[name].setdefault(path, part)
    problems = [
        Problem(file, f"{name}/...", f"signals of input '{name}' ({inputs[name].type})", "none")
        for name, found in fields.items()
        if not found and inputs[name].type != STRING  # the parameter `prompt` may be the only text
    ]
    if problems:
        raise Refusal(problems)
    events: list[Event] = []
    for name, found in fields.items():
        if found:
            events += _events(name, found, arrays, inputs[name], file)
    return sorted(events, key=lambda event: event.t_ns)


def _by_type(
    key: str, array: np.ndarray, inputs: Mapping[str, Input]
) -> list[tuple[str, str, np.ndarray]]:
    for kind, path in BY_TYPE[key]:
        names = [name for name, given in inputs.items() if given.type == kind]
        if names:
            parts = path.split(",")
            if len(parts) == 1:
                return [(name, path, array) for name in names]
            return [(name, one, array[:, k]) for name in names for k, one in enumerate(parts)]
    return []


def _events(
    name: str, fields: dict[str, np.ndarray], arrays: Arrays, given: Input, file: str
) -> list[Event]:
    times = fields.pop("t", arrays.get("t"))
    names = _names(fields.pop("name", None), file, name)
    if given.type == JOINT_STATE:
        _check_joints(fields, names, file, name)
    fixed: dict[str, Any] = {}  # fields that are equal in every message
    if given.type in (IMAGE, COMPRESSED):
        fixed = {path: array.item() for path, array in fields.items() if array.ndim == 0}
        fields = {path: array for path, array in fields.items() if path not in fixed}
        if given.type == IMAGE:
            fields["data"], fixed = _pixels(fields.get("data"), fixed, fields, file, name)
    if given.type == GRID and np.ndim(fields.get("data", 0)):
        count = len(fields["data"])
        fields = {
            path: array if array.ndim else np.full(count, array[()])
            for path, array in fields.items()
        }
    single = [path for path, array in fields.items() if array.ndim == 0]
    if single:
        raise refuse(file, f"{name}/{single[0]}", "an array with a value per sample", "one value")
    counts = {path: len(array) for path, array in fields.items()}
    if times is not None:
        counts["t"] = len(times)
    if len(set(counts.values())) != 1:
        got = ", ".join(f"{path} {count}" for path, count in counts.items()) or "none"
        raise refuse(file, f"{name}/...", "as many samples in every array", got)
    count = next(iter(counts.values()))
    if times is None:
        if "control_dt" not in arrays:
            raise refuse(file, f"{name}/t", "a time per sample, or control_dt", "neither")
        # Round to ns before the multiplication, like the loop's deadlines.
        times_ns = np.arange(count) * round(_period(arrays["control_dt"], file) * 1e9)
    else:
        times_ns = _times_ns(times, file, f"{name}/t" if "t" not in arrays else "t")
    writers = [_writer(path, array, given, file, name) for path, array in fields.items()]
    events = []
    for k, t_ns in enumerate(times_ns.tolist()):
        message = SimpleNamespace(orientation_covariance=[0.0] * 9, name=names, **fixed)
        for write in writers:
            write(message, k)
        events.append(Event(t_ns, name, message))
    return events


def _names(given: np.ndarray | None, file: str, name: str) -> list[str]:
    if given is None:
        return []
    if given.ndim != 1 or given.dtype.kind not in "US":
        expected = "the joints' names [J], which are the same in every sample"
        raise refuse(file, f"{name}/name", expected, f"{given.dtype.name} {list(given.shape)}")
    return [str(one) for one in given.astype(np.str_)]


def _check_joints(
    fields: Mapping[str, np.ndarray], names: Sequence[str], file: str, name: str
) -> None:
    for path, array in fields.items():
        if path == "t" or array.ndim == 0:
            continue
        if array.dtype.kind not in "biuf" or array.shape[1:] != (len(names),):
            expected = f"numbers [N, {len(names)}], one per name of {name}/name"
            got = f"{array.dtype.name} {list(array.shape)}"
            raise refuse(file, f"{name}/{path}", expected, got)


def _period(given: np.ndarray, file: str) -> float:
    """The time between two samples [s]."""
    single = given.size == 1 and given.dtype.kind in "iuf"
    if not single or not 1e-6 <= float(given.reshape(-1)[0]) <= MOST_GAP_S:
        got = f"{given.reshape(-1)[0]}" if given.size == 1 else f"{list(given.shape)}"
        raise refuse(file, "control_dt", "one number, the time between two samples [s]", got)
    return float(given.reshape(-1)[0])


def _times_ns(given: np.ndarray, file: str, key: str) -> np.ndarray:
    """The times of reception, int64 [N] [ns]."""
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        got = f"{given.dtype.name} {list(given.shape)}"
        raise refuse(file, key, "a time per sample [N], in seconds", got)
    seconds = given.astype(np.float64)
    wrong = np.flatnonzero(~(np.abs(seconds) < MOST_TIME_S))
    if wrong.size:
        raise refuse(file, f"{key}[{wrong[0]}]", "a time in seconds", f"{seconds[wrong[0]]:g}")
    falls = np.flatnonzero(np.diff(seconds) < 0.0)
    if falls.size:
        at = int(falls[0]) + 1
        expected = f"times that do not fall, so at least {seconds[at - 1]:g}"
        raise refuse(file, f"{key}[{at}]", expected, f"{seconds[at]:g}")
    return np.round(seconds * 1e9).astype(np.int64)


def _pixels(
    data: np.ndarray | None,
    fixed: dict[str, Any],
    others: Mapping[str, np.ndarray],
    file: str,
    name: str,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return an Image's bytes [N, bytes] and its other fields, which follow from the pixels."""
    if data is None:
        raise refuse(file, f"{name}/data", "the pixels [N, rows, columns, channels]", "none")
    known = {**fixed, **others}
    if data.ndim not in (3, 4):
        missing = [key for key in ("height", "width", "encoding", "step") if key not in known]
        if missing or data.ndim != 2:
            expected = "[N, rows, columns(, channels)], or bytes with height, width, encoding, step"
            got = f"shape {data.shape} without {', '.join(missing)}"
            raise refuse(file, f"{name}/data", expected, got)
        return data.astype(np.uint8), {"is_bigendian": 0, **fixed}
    channels = data.shape[3] if data.ndim == 4 else 1
    encoding = fixed.get("encoding", ENCODINGS.get((data.dtype.name, channels)))
    if encoding is None and "encoding" not in known:
        expected = f"{name}/encoding, or pixels of " + ", ".join(
            f"{dtype} with {count} channels" for dtype, count in ENCODINGS
        )
        got = f"{data.dtype.name} with {channels} channels"
        raise refuse(file, f"{name}/data", expected, got)
    little = np.ascontiguousarray(data.astype(data.dtype.newbyteorder("<")))
    rows = little.view(np.uint8).reshape(len(data), -1)
    step = data.shape[2] * channels * data.dtype.itemsize
    found = {"height": data.shape[1], "width": data.shape[2], "step": step, "is_bigendian": 0,
             **({"encoding": encoding} if encoding is not None else {}), **fixed}  # fmt: skip
    return rows, {key: value for key, value in found.items() if key not in others}


def _writer(path: str, array: np.ndarray, given: Input, file: str, name: str) -> Any:
    if given.type in (JOINT_STATE, IMAGE, COMPRESSED):
        return lambda message, k: setattr(message, path, array[k])
    try:
        paths = leaves(given.type, path)
    except KeyError:  # unknown message type: the array is the whole field
        return lambda message, k: _set(message, path, array[k])
    if any("[" in leaf for leaf in paths):  # the field is an array, such as a covariance
        return lambda message, k: _set(message, path, array[k])
    flat = np.asarray(array, dtype=np.float64).reshape(len(array), -1)
    if flat.shape[1] != len(paths):
        expected = f"{len(paths)} numbers per sample ({', '.join(paths)})"
        raise refuse(file, f"{name}/{path}", expected, f"{flat.shape[1]}")

    def write(message: Any, k: int) -> None:
        for leaf, value in zip(paths, flat[k].tolist(), strict=True):
            _set(message, leaf, value)

    return write


def _set(message: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        if not hasattr(message, part):
            setattr(message, part, SimpleNamespace())
        message = getattr(message, part)
    setattr(message, last, value)
