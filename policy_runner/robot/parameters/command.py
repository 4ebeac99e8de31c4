"""The runner's rows about commands: messages, joints, limits, stops."""

from __future__ import annotations

from collections.abc import Sequence

from policy_runner.core.spec.elements import UNIT, ActionElement, limit_names
from policy_runner.ros.parameters.parameter_table import Parameter

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
    Parameter("joint_prefix", "", "what the robot puts before every joint's name"),
    Parameter(
        "command.joint_names",
        (),
        "the receiver's joint order (robot names); empty: the policy's order",
        kind="str[]",
    ),
)


STOP_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "stop.position",
        "hold",
        "what HOLD and SAFE_STOP do with positions: hold the last, move to default_joint_pos, or"
        " stiffness 0 with the damping of training, where the message carries gains",
        choices=("hold", "default_pose", "damping"),
        live=True,
    ),
    *(
        Parameter(
            f"stop.{kind}",
            "zero",
            f"what HOLD and SAFE_STOP do with {plural}: 0, or hold the last (allow_runaway_hold)",
            choices=("zero", "hold"),
            live=True,
        )
        for kind, plural in (
            ("velocity", "velocities"),
            ("effort", "efforts, computed ones too"),
            ("twist", "twists"),
            ("value", "values"),
        )
    ),
    Parameter(
        "stop.ramp_s",
        0.0,
        "time in which a stop reaches 0 or the default pose, linearly; 0: in one tick, and the"
        " pose at max_rate",
        unit="s",
        low=0.0,
        high=60.0,
        live=True,
    ),
    Parameter(
        "allow_runaway_hold",
        False,
        "let stop.* hold a velocity, effort, twist or value: the robot goes on moving",
    ),
    Parameter(
        "limits.urdf",
        "",
        "limits that neither parameters nor policy spec say: from the topic robot_description"
        " (topic), or from a URDF file (its path); empty: none",
    ),
    Parameter(
        "start_pose.duration",
        0.0,
        "time of the move to default_joint_pos that goes before the policy; 0: none",
        unit="s",
        low=0.0,
        high=60.0,
    ),
    Parameter(
        "start_pose.tolerance",
        0.1,
        "how near every joint must be measured to end the move",
        unit="rad",
        low=1e-4,
        high=3.2,
        live=True,
    ),
    Parameter(
        "blend_in",
        0.0,
        "time in which positions pass over from the pose at the start to the policy's; 0: at once",
        unit="s",
        low=0.0,
        high=60.0,
        live=True,
    ),
)


def limit_prefix(name: str, kind: str) -> str:
    """Where the limits of a command stand among the parameters."""
    return {"twist": "twist.", "value": "values."}.get(kind, "joints.") + name


def limit_rows(prefix: str, name: str, unit: str) -> tuple[Parameter, ...]:
    """Rows of the limits of one element of the command, in its unit."""
    return (
        Parameter(
            f"{prefix}.lower",
            None,
            f"least command of {name}, in the policy's sense of it; not set: the policy spec's",
            unit=unit,
            kind="float",
            live=True,
        ),
        Parameter(
            f"{prefix}.upper",
            None,
            f"largest command of {name}, in the policy's sense of it; not set: the policy spec's",
            unit=unit,
            kind="float",
            live=True,
        ),
        Parameter(
            f"{prefix}.max_rate",
            None,
            f"largest change of the command of {name} per second; not set: the policy spec's",
            unit=f"{unit}/s",
            low=1e-6,
            kind="float",
            live=True,
        ),
    )


def joint_rows(name: str, kind: str, limited: bool = True) -> tuple[Parameter, ...]:
    """Rows of one joint of the policy; limits are in the unit of its command."""
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
        *(limit_rows(f"joints.{name}", name, UNIT[kind]) if limited else ()),
        Parameter(
            f"joints.{name}.max_velocity",
            None,
            f"measured speed of {name} that means SAFE_STOP; not set: not watched",
            unit="rad/s",
            low=1e-6,
            kind="float",
        ),
    )


def limit_rows_of(elements: Sequence[ActionElement]) -> tuple[Parameter, ...]:
    """Limits of what is no joint with one kind of command: axes, values, joints with several."""
    rows: list[Parameter] = []
    for name, element in zip(limit_names(elements), elements, strict=True):
        if element.kind in ("twist", "value") or name != element.joint:
            rows += limit_rows(limit_prefix(name, element.kind), name, UNIT[element.kind])
    return tuple(rows)
