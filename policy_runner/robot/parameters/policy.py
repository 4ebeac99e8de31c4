"""Rows that a policy adds: for its inputs, joints and commanded elements."""

from __future__ import annotations

from collections.abc import Sequence

from policy_runner.core.inputs.text import STRING
from policy_runner.core.spec import Input, PolicySpec
from policy_runner.core.spec.elements import KINDS, ActionElement, limit_names
from policy_runner.robot.parameters.parameter import Parameter

PREFIXES = ("inputs.", "joints.", "twist.", "values.")
# The spec does not say which joints are prismatic. A URDF is read after these rows are declared.
_SLIDING = {"rad": "m", "rad/s": "m/s", "rad/s/s": "m/s/s", "N m": "N", "N m/s": "N/s"}


def joint_unit(unit: str) -> str:
    """Return the unit of a joint's number: of a revolute one, and of a prismatic one."""
    return f"{unit}; {_SLIDING[unit]} if prismatic" if unit in _SLIDING else unit


def input_rows(name: str, given: Input) -> tuple[Parameter, ...]:
    """Return the rows of one input; by default a stale velocity command counts as zero.

    A text has none: it has no age, and its type is fixed.
    """
    if given.type == STRING:
        return ()
    is_command = given.type.endswith(("/Twist", "/TwistStamped"))
    return (
        Parameter(
            f"inputs.{name}.type",
            given.type,
            f"message type of {name}, if the robot's type differs from the policy spec's",
        ),
        Parameter(
            f"inputs.{name}.mounting",
            (0.0, 0.0, 0.0),
            f"roll, pitch, yaw of the sensor of {name} relative to the body; Imu only",
            unit="rad",
            low=-6.3,
            high=6.3,
            kind="float[]",
        ),
        Parameter(
            f"inputs.{name}.max_age",
            0.5 if is_command else 0.1,
            f"age at which {name} is stale",
            unit="s",
            low=0.001,
            high=60.0,
            live=True,
        ),
        Parameter(
            f"inputs.{name}.on_stale",
            "zero" if is_command else "hold",
            f"reaction to a stale {name}",
            choices=("hold", "safe_stop", "zero"),
            live=True,
        ),
        Parameter(
            f"inputs.{name}.strict_stamp",
            False,
            f"a wrong header stamp of {name}, from any publisher, has the effect of on_stale, not"
            " only a warning",
            live=True,
        ),
    )


def policy_rows(spec: PolicySpec, elements: Sequence[ActionElement]) -> tuple[Parameter, ...]:
    """Return the rows that this policy adds, for its inputs, joints and axes."""
    kinds = {element.joint: element.kind for element in elements}
    single = set(limit_names(elements)) | (set(spec.joint_names) - set(kinds))
    rows: list[Parameter] = []
    for name, given in spec.inputs.items():
        rows += input_rows(name, given)
    for joint in spec.joint_names:
        rows += joint_rows(joint, kinds.get(joint, "position"), joint in single)
    return (*rows, *limit_rows_of(elements))


def limit_prefix(name: str, kind: str) -> str:
    """Return the prefix of the parameters with an element's limits, such as `joints.knee`."""
    return KINDS[kind].limits + name


def limit_rows(prefix: str, name: str, kind: str) -> tuple[Parameter, ...]:
    """Return the rows of the limits of one element.

    Args:
        prefix: of the parameters, see `limit_prefix`.
        name: the element, for the descriptions.
        kind: kind of its command.
    """
    unit = KINDS[kind].unit
    shown, rate = unit, f"{unit}/s"
    if KINDS[kind].of_joints:
        shown, rate = joint_unit(shown), joint_unit(rate)
    return (
        Parameter(
            f"{prefix}.lower",
            None,
            f"smallest command of {name}, with the policy's sign; not set: the policy spec's",
            unit=shown,
            kind="float",
            live=True,
        ),
        Parameter(
            f"{prefix}.upper",
            None,
            f"largest command of {name}, with the policy's sign; not set: the policy spec's",
            unit=shown,
            kind="float",
            live=True,
        ),
        Parameter(
            f"{prefix}.max_rate",
            None,
            f"largest change of the command of {name} per second; not set: the policy spec's",
            unit=rate,
            low=1e-6,
            kind="float",
            live=True,
        ),
    )


def joint_rows(name: str, kind: str, limited: bool = True) -> tuple[Parameter, ...]:
    """Return the rows of one joint of the policy.

    Args:
        name: the policy's name of the joint.
        kind: kind of its command, which gives the unit of the limits.
        limited: add the rows of the limits.
    """
    return (
        Parameter(
            f"joints.{name}.name",
            "",
            f"the robot's name of {name}; empty: joint_prefix and {name}",
        ),
        Parameter(
            f"joints.{name}.sign",
            1.0,
            f"robot value of {name} = sign * policy value + offset; 1.0 or -1.0",
            low=-1.0,
            high=1.0,
        ),
        Parameter(f"joints.{name}.offset", 0.0, f"see joints.{name}.sign", unit=joint_unit("rad")),
        *(limit_rows(f"joints.{name}", name, kind) if limited else ()),
        Parameter(
            f"joints.{name}.max_velocity",
            None,
            f"measured speed of {name} that causes SAFE_STOP; not set: not checked",
            unit=joint_unit("rad/s"),
            low=1e-6,
            kind="float",
        ),
    )


def limit_rows_of(elements: Sequence[ActionElement]) -> tuple[Parameter, ...]:
    """Return the rows of limits for axes, values, and joints with several kinds of command."""
    rows: list[Parameter] = []
    for name, element in zip(limit_names(elements), elements, strict=True):
        if not KINDS[element.kind].of_joints or name != element.joint:
            rows += limit_rows(limit_prefix(name, element.kind), name, element.kind)
    return tuple(rows)
