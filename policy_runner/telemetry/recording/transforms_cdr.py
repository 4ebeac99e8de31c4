"""Serializes a tf2_msgs/TFMessage (CDR) without ROS, for recordings without that package.

No wheel on PyPI has tf2_msgs, so the types are written here. `rosbags` and every ROS reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from policy_runner.telemetry.recording.cdr_bytes import CdrBytes

TF_TYPE = "tf2_msgs/msg/TFMessage"
LINE = "=" * 80  # between the types of a schema
HEADER_SCHEMA = f"""\
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{LINE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
TF_SCHEMA = f"""\
geometry_msgs/TransformStamped[] transforms
{LINE}
MSG: geometry_msgs/TransformStamped
std_msgs/Header header
string child_frame_id
geometry_msgs/Transform transform
{LINE}
{HEADER_SCHEMA}{LINE}
MSG: geometry_msgs/Transform
geometry_msgs/Vector3 translation
geometry_msgs/Quaternion rotation
{LINE}
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
{LINE}
MSG: geometry_msgs/Quaternion
float64 x 0
float64 y 0
float64 z 0
float64 w 1
"""
STRING_TYPE, STRING_SCHEMA = "std_msgs/msg/String", "string data\n"
Pose = tuple[str, str, Sequence[float], Sequence[float]]


def write_transforms(stamp_ns: int, poses: Sequence[Pose]) -> bytes:
    """Return a serialized TFMessage.

    Args:
        stamp_ns: of every transform [ns].
        poses: parent, child, translation x, y, z [m], rotation x, y, z, w.
    """
    out = CdrBytes()
    out.number("I", len(poses))
    for parent, child, translation, rotation in poses:
        out.header(stamp_ns, parent)
        out.text(child)
        out.floats((*translation, *rotation))
    return out.finish()
