"""A row of a parameter table as ROS describes it: what rqt and `ros2 param describe` show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policy_runner.ros.parameters.parameter_table import Parameter

ROS_TYPES = {  # kind of a row -> name in rclpy's Parameter.Type
    "bool": "BOOL",
    "int": "INTEGER",
    "float": "DOUBLE",
    "str": "STRING",
    "int[]": "INTEGER_ARRAY",
    "float[]": "DOUBLE_ARRAY",
    "str[]": "STRING_ARRAY",
}


def descriptor(row: Parameter) -> Any:
    """The ParameterDescriptor: text, range, choices, and when the value is read."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    constraints = []
    if row.choices:
        constraints.append(f"one of {', '.join(row.choices)}")
    if row.at_start:
        constraints.append("read at the start")
    elif not row.live:
        constraints.append("read while configuring")
    made = ParameterDescriptor(
        name=row.name, description=row.text, additional_constraints="; ".join(constraints)
    )
    low = -math.inf if row.low is None else row.low
    high = math.inf if row.high is None else row.high
    if row.kind == "float" and (row.low is not None or row.high is not None):
        low, high = max(low, -1.7e308), min(high, 1.7e308)
        made.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    if row.kind == "int" and (row.low is not None or row.high is not None):
        ends = int(max(low, -(2**63))), int(min(high, 2**63 - 1))
        made.integer_range = [IntegerRange(from_value=ends[0], to_value=ends[1])]
    return made
