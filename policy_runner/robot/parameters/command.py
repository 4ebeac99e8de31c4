"""The runner's rows about commands: messages, fields and joint names."""

from __future__ import annotations

from policy_runner.core.spec.elements import KINDS
from policy_runner.robot.parameters.parameter import Parameter

# Parameter command.type -> kinds that it can carry. A twist also has its own message types.
JOINT_KINDS = tuple(name for name, kind in KINDS.items() if kind.of_joints)
COMMAND_TYPES = {
    "joint_state": JOINT_KINDS,
    "joint_trajectory": JOINT_KINDS,
    "float64_multi_array": (*JOINT_KINDS, "value"),
    "float64": (*JOINT_KINDS, "value"),
    "message": (*JOINT_KINDS, "twist", "value"),
}
TWIST_TYPES = ("twist_stamped", "twist")
# Parameters that only one command.type reads; with another type they must keep their default.
READ_FOR = {
    "command.layout": "float64_multi_array",
    "command.trajectory_lead": "joint_trajectory",
    "command.message_type": "message",
    "command.fields": "message",
    "command.stiffness_fields": "message",
    "command.damping_fields": "message",
    "command.constants": "message",
}
COMMAND_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "command.type", "joint_state", "message of the command", choices=tuple(COMMAND_TYPES)
    ),
    Parameter(
        "command.twist_type",
        "twist_stamped",
        "message of a twist command",
        choices=TWIST_TYPES,
    ),
    Parameter(
        "command.effort_from_pd",
        False,
        "publish kp (target - q) - kd dq, with the policy spec's gains, instead of positions",
    ),
    Parameter(
        "command.held_joints",
        (),
        "joints that the policy does not drive, `name=value` each; the command holds these values",
        kind="str[]",
    ),
    Parameter(
        "command.layout",
        (),
        "float64_multi_array: numbers per joint, joint by joint; empty: the value alone",
        choices=("position", "velocity", "effort", "stiffness", "damping"),
        kind="str[]",
    ),
    Parameter("command.message_type", "", "command.type message: its type, as pkg/msg/Name"),
    Parameter(
        "command.fields",
        (),
        "command.type message: path of each value, in the receiver's order; [0:20] and {x,y} stand"
        " for several, `orientation.yaw` for a rotation about z",
        kind="str[]",
    ),
    Parameter(
        "command.stiffness_fields",
        (),
        "command.type message: path of each joint's stiffness, in the order of command.fields",
        kind="str[]",
    ),
    Parameter(
        "command.damping_fields",
        (),
        "command.type message: path of each joint's damping, in the order of command.fields",
        kind="str[]",
    ),
    Parameter(
        "command.constants",
        (),
        "command.type message: `path=value` of fields that never change",
        kind="str[]",
    ),
    Parameter(
        "command.stamp",
        "now",
        "joint_trajectory: stamp of its header; zero means start at once (a controller drops"
        " trajectories that have already ended by its own clock)",
        choices=("now", "zero"),
    ),
    Parameter(
        "command.trajectory_lead",
        0.0,
        "joint_trajectory of a policy with chunks: send every chunk as one trajectory whose first"
        " point is this far ahead; 0: one command per tick",
        "s",
        low=0.0,
        high=1.0,
    ),
    Parameter("joint_prefix", "", "prefix of every joint name on the robot"),
    Parameter(
        "command.joint_names",
        (),
        "the receiver's joint order (robot names); empty: the policy's order",
        kind="str[]",
    ),
)
