"""The runner's rows about commands: messages, joints, limits, stops."""

from __future__ import annotations

from policy_runner.core.action import UNIT
from policy_runner.ros.parameter_table import Parameter

# Parameter command.type -> what it can carry. A twist has message types of its own.
JOINT_KINDS = ("position", "velocity", "effort")
COMMAND_TYPES = {
    "joint_state": JOINT_KINDS,
    "joint_trajectory": JOINT_KINDS,
    "float64_multi_array": (*JOINT_KINDS, "value"),
    "float64": (*JOINT_KINDS, "value"),
    "message": (*JOINT_KINDS, "twist", "value"),
}
TWIST_TYPES = ("twist_stamped", "twist")

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
        "joints nobody drives, `name=value` each, that the command holds at a value",
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
        "command.type message: path of each value, in the receiver's order",
        kind="str[]",
    ),
    Parameter(
        "command.constants",
        (),
        "command.type message: `path=value` of fields that never change",
        kind="str[]",
    ),
    Parameter("joint_prefix", "", "what the robot puts before every joint's name"),
    Parameter(
        "command.joint_names",
        (),
        "the receiver's joint order (robot names); empty: the policy's order",
        kind="str[]",
    ),
)


def joint_rows(name: str, kind: str) -> tuple[Parameter, ...]:
    """Rows of one joint of the policy; limits are in the unit of its command."""
    unit = UNIT[kind]
    return (
        Parameter(
            f"joints.{name}.name",
            "",
            f"what the robot calls {name}; empty: joint_prefix and {name}",
        ),
        Parameter(
            f"joints.{name}.sign",
            1.0,
            f"robot value of {name} = sign * policy value + offset; 1.0 or -1.0",
            low=-1.0,
            high=1.0,
        ),
        Parameter(f"joints.{name}.offset", 0.0, f"see joints.{name}.sign", unit="rad"),
        Parameter(
            f"joints.{name}.lower",
            None,
            f"least command of {name}, in the policy's sense of the joint; not set: none",
            unit=unit,
            kind="float",
            live=True,
        ),
        Parameter(
            f"joints.{name}.upper",
            None,
            f"largest command of {name}, in the policy's sense of the joint; not set: none",
            unit=unit,
            kind="float",
            live=True,
        ),
        Parameter(
            f"joints.{name}.max_rate",
            None,
            f"largest change of the command of {name} per second; not set: none",
            unit=f"{unit}/s",
            low=1e-6,
            kind="float",
            live=True,
        ),
        Parameter(
            f"joints.{name}.max_velocity",
            None,
            f"measured speed of {name} that means SAFE_STOP; not set: not watched",
            unit="rad/s",
            low=1e-6,
            kind="float",
        ),
    )
