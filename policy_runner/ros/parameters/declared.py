"""Parameter rows on a node: their ROS descriptions, values, problems and checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from policy_runner.robot.parameters.parameter import Parameter, expected, problem

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter as RosParameter

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
    """Build a row's ParameterDescriptor: text, range, choices, and when the value is read.

    rqt and `ros2 param describe` show it.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    constraints = []
    if row.may_be_unset:
        # In words: rclpy refuses NaN under a floating_point_range. `DeclaredParameters` checks it.
        constraints.append(f"{expected(row)}, or .nan: not set")
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
    ranged = row.low is not None or row.high is not None
    if row.kind == "float" and ranged and not row.may_be_unset:
        low, high = max(low, -1.7e308), min(high, 1.7e308)
        made.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    if row.kind == "int" and ranged:
        ends = int(max(low, -(2**63))), int(min(high, 2**63 - 1))
        made.integer_range = [IntegerRange(from_value=ends[0], to_value=ends[1])]
    return made


class DeclaredParameters:
    """The rows declared on one node: their values, their problems, and a check of every set.

    A row that is read at the start accepts only its present value. Setting it to that value
    corrects a wrong value from YAML.
    """

    def __init__(
        self,
        node: Node,
        table: Sequence[Parameter],
        may_change: Callable[[], bool] = lambda: True,
        check: Callable[[Mapping[str, Any]], str] = lambda _values: "",
    ) -> None:
        """Declare the rows of `table` on `node`.

        Args:
            node: declares the parameters.
            table: the rows.
            may_change: whether a row that is not live may be set now (no while configured). The
                refusal gives its reason; otherwise the set would silently have no effect.
            check: called with the values of a valid set; returns '' or the reason to refuse it.
        """
        self._node = node
        self._rows: dict[str, Parameter] = {}
        self._problems: dict[str, str] = {}
        self._may_change = may_change
        self._check = check
        self._declaring = False
        self.declare(table)
        node.add_on_set_parameters_callback(self._on_set)

    def declare(self, table: Sequence[Parameter], keep: Mapping[str, Any] | None = None) -> None:
        """Declare the rows that are not declared yet. Wrong overrides are stored, never raised.

        Args:
            table: the rows.
            keep: values by name that were set later and so replace the values of YAML.
        """
        from rclpy.parameter import Parameter as RosParameter

        for row in table:
            if row.name in self._rows and self._node.has_parameter(row.name):
                continue
            self._rows[row.name] = row
            given, bad = self.override(row)
            declared: Any = row.default
            if keep is not None and row.name in keep:
                declared, given, bad = keep[row.name], None, ""
            ros_type = getattr(RosParameter.Type, ROS_TYPES[row.kind])
            is_empty = row.kind.endswith("[]") and not declared
            if is_empty:
                # Give the type: rclpy would infer BYTE_ARRAY from an empty list.
                declared = ros_type
            elif row.kind.endswith("[]"):
                declared = list(declared)
            elif declared is None:
                declared = math.nan
            self._declaring = True
            try:
                self._node.declare_parameter(
                    row.name, declared, descriptor(row), ignore_override=bool(bad) or given is None
                )
                if is_empty and given is None:
                    # Every parameter has a value, or reads of several are answered with nothing.
                    self._node.set_parameters([RosParameter(row.name, ros_type, [])])
            finally:
                self._declaring = False
            if bad:
                # After declaring: it sets the default, which would count as a correction.
                self._problems[row.name] = bad

    def override(self, row: Parameter) -> tuple[Any, str]:
        """Return a row's value from YAML or the command line, and its problem or ''.

        The value is None if there is none, or if it is wrong.
        """
        overrides = self.overrides
        if row.name not in overrides:
            return None, ""
        # An empty YAML list has no type, so rcl gives no value for it.
        given = overrides[row.name].value
        empty = given is None or (not isinstance(given, str) and given in ([], ()))
        bad = problem(row, [] if empty else given)
        return (None if empty or bad else row.given(given)), bad

    @property
    def overrides(self) -> Mapping[str, RosParameter]:
        """Values of YAML and the command line for this node, by name, declared or not.

        Uses a private member of rclpy, present in Humble to Kilted. There is no public way: a node
        does not return undeclared keys, such as misspelt ones. A declared row has only the value
        that it was declared with.
        """
        overrides: Mapping[str, RosParameter] = self._node._parameter_overrides
        return overrides

    @property
    def node_name(self) -> str:
        """The node's fully qualified name."""
        return self._node.get_fully_qualified_name()

    def row(self, name: str) -> Parameter:
        """The declared row of this name."""
        return self._rows[name]

    def forget(self, names: Iterable[str]) -> None:
        """Undeclare rows, such as those of an input that the newly loaded policy does not have."""
        for name in names:
            if self._node.has_parameter(name):  # False if declaring it failed
                self._node.undeclare_parameter(name)
            del self._rows[name]
            self._problems.pop(name, None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every declared row's name."""
        return tuple(self._rows)

    @property
    def problems(self) -> list[str]:
        """Sentences about wrong values of YAML or the command line, until they are corrected."""
        return list(self._problems.values())

    def value(self, name: str) -> Any:
        """Return the present value, arrays as lists; None if the row is not set."""
        row = self._rows[name]
        got = self._node.get_parameter_or(name).value
        if got is None:
            has_list = row.kind.endswith("[]") and row.default is not None
            return list(row.default) if has_list else row.default
        return list(got) if row.kind.endswith("[]") else row.given(got)

    def values(self) -> dict[str, Any]:
        """Return all present values by name."""
        return {name: self.value(name) for name in self._rows}

    def _is_present(self, row: Parameter, given: Any) -> bool:
        given = list(given or ()) if row.kind.endswith("[]") else row.given(given)
        return bool(given == self.value(row.name))

    def _on_set(self, parameters: Sequence[Any]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        changed = {}
        if self._declaring:  # a reload declares while the node is active; this sets no value
            return SetParametersResult(successful=True)
        for parameter in parameters:
            row = self._rows.get(parameter.name)
            if row is None:
                changes = parameter.value != self._node.get_parameter_or(parameter.name).value
                if parameter.name == "use_sim_time" and changes and not self._may_change():
                    # rclpy would use it at once, but configure has already chosen the loop's clock.
                    reason = _LATER.format(parameter.name)
                    return SetParametersResult(successful=False, reason=reason)
                continue  # a parameter of rclpy itself
            may_unset = row.may_be_unset or row.kind.endswith("[]")
            reason = "" if parameter.value is None and may_unset else problem(row, parameter.value)
            if not reason and row.at_start and not self._is_present(row, parameter.value):
                reason = _AT_START.format(row.name)
            if not reason and not row.live and not row.at_start and not self._may_change():
                # Setting the present value again is allowed.
                same = self._is_present(row, parameter.value)
                reason = "" if same else _LATER.format(row.name)
            if reason:
                return SetParametersResult(successful=False, reason=reason)
            changed[row.name] = row.given(parameter.value)
        reason = self._check(changed)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        for name in changed:
            self._problems.pop(name, None)
        return SetParametersResult(successful=True)


def declare_table(node: Node, table: Sequence[Parameter]) -> DeclaredParameters:
    """Declare the rows of a node without a lifecycle: rows that are not live are read at its start.

    Such a row accepts only its present value afterwards.
    """
    return DeclaredParameters(
        node, [row if row.live else replace(row, at_start=True) for row in table]
    )


_AT_START = (
    "parameter {}: read at the start of the process; "
    "set it in YAML or on the command line, and start again"
)
_LATER = (
    "parameter {}: read while configuring; "
    "deactivate and clean up the node, set it, configure again"
)
