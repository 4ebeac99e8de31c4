"""One table of parameters: the single source for declaring, checking, documenting.

A row says name, default, meaning, unit and range; from it come the descriptor that
`ros2 param describe` shows, the checks of every set, and the table in the README.
Declaring never raises: a bad value from YAML is remembered as a sentence, the default
stands in, and `configure` refuses with all sentences at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy_runner.ros.parameters.declared import ROS_TYPES, descriptor

KINDS = ("bool", "int", "float", "str", "int[]", "float[]", "str[]")


@dataclass(frozen=True)
class Parameter:
    """One row. `default` None means: not set unless somebody sets it (then `kind` is required)."""

    name: str
    default: Any
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False  # may change while the node is active
    kind: str = ""
    at_start: bool = False  # read once, when the process starts

    def __post_init__(self) -> None:
        if not self.kind:
            kind = {bool: "bool", int: "int", float: "float", str: "str"}[type(self.default)]
            object.__setattr__(self, "kind", kind)

    @property
    def text(self) -> str:
        """Description with the unit, one sentence, as rqt and `ros2 param describe` show it."""
        return f"{self.description} [{self.unit}]" if self.unit else self.description


def expected(row: Parameter) -> str:
    """What a value of this row must be, in words."""
    words = {"bool": "true or false", "int": "an integer", "float": "a float", "str": "a string"}
    base = row.kind.removesuffix("[]")
    text = words[base] if base == row.kind else f"a list ({words[base]} each)"
    if row.choices:
        return f"one of {', '.join(row.choices)}"
    if row.low is not None or row.high is not None:
        low = "" if row.low is None else f"{row.low:g}"
        high = "" if row.high is None else f"{row.high:g}"
        text += f" in {low}..{high}"
    return f"{text} ({row.unit})" if row.unit else text


def _element_problem(row: Parameter, value: Any) -> str:
    base = row.kind.removesuffix("[]")
    types: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
    if type(value) is not types[base]:
        if base == "float" and type(value) is int:
            return _element_problem(row, float(value)) or f"the integer {value} (write {value}.0)"
        return f"{value!r}"
    if row.choices and value not in row.choices:
        return f"{value!r}"
    if isinstance(value, (int, float)) and base in ("int", "float"):
        if not math.isfinite(value):
            return f"{value}"
        if (row.low is not None and value < row.low) or (row.high is not None and value > row.high):
            return f"{value:g}" if base == "float" else f"{value}"
    return ""


def problem(row: Parameter, value: Any) -> str:
    """The sentence that refuses `value` for this row, or '' when it is fine."""
    if row.kind.endswith("[]"):
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            got = f"{value!r}"
        else:
            # An empty YAML list has no type of its own; it is a legal value of every array row.
            got = next((g for g in (_element_problem(row, v) for v in list(value)) if g), "")
    else:
        got = _element_problem(row, value)
    return f"parameter {row.name}: expected {expected(row)}, got {got}" if got else ""


class DeclaredParameters:
    """The rows declared on one node: their values, their problems, their checks of every set.

    `may_change` says whether a row that is not live may be set now; the node gives it
    (false while active), so a refusal comes with its reason instead of a silent no-effect. A row
    that was read at the start takes its present value only, which mends a bad one from YAML.
    """

    def __init__(
        self,
        node: Any,
        table: Sequence[Parameter],
        may_change: Callable[[], bool] = lambda: True,
        check: Callable[[Mapping[str, Any]], str] = lambda _values: "",
    ) -> None:
        self._node = node
        self._rows: dict[str, Parameter] = {}
        self._problems: dict[str, str] = {}
        self._may_change = may_change
        self._check = check
        self._declaring = False
        self.declare(table)
        node.add_on_set_parameters_callback(self._on_set)

    def declare(self, table: Sequence[Parameter], keep: Mapping[str, Any] | None = None) -> None:
        """Declare rows that are not declared yet; a bad override is remembered, never raised.

        `keep` has values by name that go before what YAML says: somebody set them since.
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
            if declared and row.kind.endswith("[]"):
                declared = list(declared)
            elif declared is None or row.kind.endswith("[]"):
                # By type: rclpy would infer BYTE_ARRAY from an empty list.
                declared = getattr(RosParameter.Type, ROS_TYPES[row.kind])
            self._declaring = True
            try:
                self._node.declare_parameter(
                    row.name, declared, descriptor(row), ignore_override=bool(bad) or given is None
                )
            finally:
                self._declaring = False
            if bad:
                # After declaring, which sets the default: that set would count as mending.
                self._problems[row.name] = bad

    def override(self, row: Parameter) -> tuple[Any, str]:
        """What YAML or the command line give for a row, None for nothing; and why not, or ''."""
        overrides = self._node._parameter_overrides
        if row.name not in overrides:
            return None, ""
        # rcl gives an empty YAML list, which has no type, as no value at all.
        given = overrides[row.name].value
        empty = given is None or (not isinstance(given, str) and given in ([], ()))
        bad = problem(row, [] if empty else given)
        return (None if empty or bad else given), bad

    def row(self, name: str) -> Parameter:
        """The declared row of this name."""
        return self._rows[name]

    def forget(self, names: Iterable[str]) -> None:
        """Undeclare rows, such as those of an input that the newly loaded policy does not have."""
        for name in names:
            if self._node.has_parameter(name):  # not where declaring it has failed
                self._node.undeclare_parameter(name)
            del self._rows[name]
            self._problems.pop(name, None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every declared row's name."""
        return tuple(self._rows)

    @property
    def problems(self) -> list[str]:
        """Sentences for the values that YAML or the command line got wrong and nobody mended."""
        return list(self._problems.values())

    def value(self, name: str) -> Any:
        """Present value; arrays as lists; the row's default (maybe None) when nothing is set."""
        row = self._rows[name]
        got = self._node.get_parameter_or(name).value
        if got is None:
            has_list = row.kind.endswith("[]") and row.default is not None
            return list(row.default) if has_list else row.default
        return list(got) if row.kind.endswith("[]") else got

    def values(self) -> dict[str, Any]:
        """All present values by name."""
        return {name: self.value(name) for name in self._rows}

    def _is_present(self, row: Parameter, given: Any) -> bool:
        given = list(given or ()) if row.kind.endswith("[]") else given
        return bool(given == self.value(row.name))

    def _on_set(self, parameters: Sequence[Any]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        changed = {}
        if self._declaring:  # a reload does so while active: nobody sets anything
            return SetParametersResult(successful=True)
        for parameter in parameters:
            row = self._rows.get(parameter.name)
            if row is None:
                if parameter.name == "use_sim_time" and not self._may_change():
                    # rclpy would take it at once, the loop's clock was chosen when configuring.
                    reason = _LATER.format(parameter.name)
                    return SetParametersResult(successful=False, reason=reason)
                continue  # rclpy's own
            may_unset = row.default is None or row.kind.endswith("[]")
            reason = "" if parameter.value is None and may_unset else problem(row, parameter.value)
            if not reason and row.at_start and not self._is_present(row, parameter.value):
                reason = _AT_START.format(row.name)
            if not reason and not row.live and not row.at_start and not self._may_change():
                reason = _LATER.format(row.name)
            if reason:
                return SetParametersResult(successful=False, reason=reason)
            changed[row.name] = parameter.value
        reason = self._check(changed)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        for name in changed:
            self._problems.pop(name, None)
        return SetParametersResult(successful=True)


declare_table = DeclaredParameters  # of a node whose rows may all change at any time
_AT_START = (
    "parameter {}: read at the start of the process; "
    "set it in YAML or on the command line, and start again"
)
_LATER = (
    "parameter {}: read while configuring; "
    "deactivate and clean up the node, set it, configure again"
)
