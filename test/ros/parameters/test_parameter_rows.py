"""The parameter table: declaring never raises, refusals are sentences, descriptors are complete."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import parameter_tables
import pytest
import yaml

from policy_runner.core.spec import Input
from policy_runner.robot.parameters.parameter import KINDS, Parameter
from policy_runner.robot.parameters.policy import input_rows, joint_rows
from policy_runner.robot.parameters.runner import TABLE
from policy_runner.ros.parameters import declared as parameter_table

needs_rclpy = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")
ROWS = (
    *TABLE,
    *input_rows("imu", Input(type="sensor_msgs/msg/Imu", topic="imu")),
    *joint_rows("knee", "position"),
    *joint_rows("wheel", "velocity"),
)
KINDS_TABLE = (
    Parameter("flag", True, "a flag"),
    Parameter("count", 3, "a count", low=1, high=9),
    Parameter("share", 0.5, "a share", unit="m", low=0.0, high=1.0),
    Parameter("word", "one", "a word", choices=("one", "two"), live=True),
    Parameter("counts", (), "counts", kind="int[]", low=0, high=9),
    Parameter("shares", (0.5,), "shares", kind="float[]", low=0.0, high=1.0),
    Parameter("words", (), "words", kind="str[]", live=True),
    Parameter("flags", (), "flags", kind="bool[]") if "bool[]" in KINDS else Parameter("f", 1, "f"),
    Parameter("free", None, "not set by default", kind="float", low=0.0),
)
# Values of every YAML type, and values that no range may accept.
ODD = [True, 1, -1, 10**12, 0.5, -1e300, math.nan, math.inf, "odd", "", [], [1], [0.5], ["a"]]
ODD += [[True], [math.nan]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_of_the_runner_is_documented_and_its_default_is_legal(row: Parameter) -> None:
    assert len(row.description) > 8
    assert not row.description.endswith(".")
    if row.default is not None:
        assert parameter_table.problem(row, row.default) == ""
    if row.kind == "float" and row.low is not None and row.high is not None:
        assert row.unit or row.name.endswith(("sign", "missed_warn"))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("flag", 1, "parameter flag: expected true or false, got 1"),
        ("flag", "yes", "parameter flag: expected true or false, got 'yes'"),
        ("count", 0, "parameter count: expected an integer in 1..9, got 0"),
        ("count", 2.0, "parameter count: expected an integer in 1..9, got 2.0"),
        ("count", True, "parameter count: expected an integer in 1..9, got True"),
        ("share", 2.0, "parameter share: expected a float in 0..1 (m), got 2"),
        ("share", math.nan, "parameter share: expected a float in 0..1 (m), got nan"),
        (
            "share",
            1,
            "parameter share: expected a float in 0..1 (m), got the integer 1 (write 1.0)",
        ),
        ("share", 2, "parameter share: expected a float in 0..1 (m), got 2"),
        ("word", "three", "parameter word: expected one of one, two, got 'three'"),
        ("counts", [1, 10], "parameter counts: expected a list (an integer each) in 0..9, got 10"),
        ("counts", 1, "parameter counts: expected a list (an integer each) in 0..9, got 1"),
        ("shares", [0.5, math.inf], "parameter shares: expected a list (a float each) in 0..1"),
        ("words", "abc", "parameter words: expected a list (a string each), got 'abc'"),
        ("free", -1.0, "parameter free: expected a float in 0.., got -1"),
    ],
)
def test_a_refusal_is_one_sentence(name: str, value: Any, sentence: str) -> None:
    row = next(row for row in KINDS_TABLE if row.name == name)
    assert parameter_table.problem(row, value).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "value"),
    [("share", 1.0), ("count", 9), ("counts", []), ("counts", (1, 2)), ("shares", [0.0, 1.0])],
)
def test_legal_values(name: str, value: Any) -> None:
    row = next(row for row in KINDS_TABLE if row.name == name)
    assert parameter_table.problem(row, value) == ""


def test_the_markdown_has_every_row_once() -> None:
    text = parameter_tables.markdown(KINDS_TABLE)
    lines = text.splitlines()
    assert len(lines) == 2 + len(KINDS_TABLE)
    assert all(line.count("|") == 7 for line in lines)
    assert "| `share` | float | `0.5` | 0 to 1 m |  | a share |" in lines
    assert "| `word` | str | `one` | `one`, `two` | yes | a word |" in lines
    assert "| `free` | float | not set | from 0 |  |" in text


# --- on a node ---


class Declared:
    """A plain node with a table and a params file; `set` works like the service."""

    def __init__(self, context: Any, file: Path, table: Any, **options: Any) -> None:
        import rclpy

        self.node = rclpy.create_node(
            "table",
            context=context,
            cli_args=["--ros-args", "--params-file", str(file)],
            use_global_arguments=False,
        )
        self.rows = parameter_table.DeclaredParameters(self.node, table, **options)

    def set(self, name: str, value: Any, kind: str = "") -> str:
        from rclpy.parameter import Parameter as RosParameter

        kinds = {"type_": getattr(RosParameter.Type, kind)} if kind else {}
        return str(self.node.set_parameters([RosParameter(name, value=value, **kinds)])[0].reason)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    import rclpy

    made = rclpy.Context()
    rclpy.init(context=made)
    yield made
    made.try_shutdown()


@pytest.fixture
def declared(context: Any, tmp_path: Path) -> Iterator[Callable[..., Declared]]:
    made: list[Declared] = []

    def make(given: dict[str, Any], table: Any = KINDS_TABLE, **options: Any) -> Declared:
        file = tmp_path / "parameters.yaml"
        lines = [f"    {name}: {_yaml(value)}" for name, value in {"other": 1, **given}.items()]
        file.write_text("\n".join(["/**:", "  ros__parameters:", *lines, ""]), encoding="utf-8")
        made.append(Declared(context, file, table, **options))
        return made[-1]

    yield make
    for one in made:
        one.node.destroy_node()


@needs_rclpy
@pytest.mark.parametrize("odd", ODD, ids=json.dumps)
def test_declaring_never_kills(declared: Callable[..., Declared], odd: Any) -> None:
    rows = [*ROWS, *KINDS_TABLE]
    made = declared({row.name: odd for row in rows}, rows)
    for row in rows:
        sentence = parameter_table.problem(row, odd)
        assert (sentence in made.rows.problems) == bool(sentence), row.name
        value = made.rows.value(row.name)
        if sentence:  # the default replaces it
            default = row.default
            assert value == (list(default) if row.kind.endswith("[]") else default), row.name
        elif isinstance(odd, float) and math.isnan(odd):
            assert value is None, row.name
        else:
            assert value == odd or odd == [], row.name
    assert len(made.rows.problems) == sum(bool(parameter_table.problem(r, odd)) for r in rows)


@needs_rclpy
def test_describe_shows_description_unit_range_and_choices(
    declared: Callable[..., Declared],
) -> None:
    made = declared({})
    names = [row.name for row in KINDS_TABLE]
    described = dict(zip(names, made.node.describe_parameters(names)))
    share, count, word = described["share"], described["count"], described["word"]
    assert share.description == "a share [m]"
    (span,) = share.floating_point_range
    assert (span.from_value, span.to_value) == (0.0, 1.0)
    (whole,) = count.integer_range
    assert (whole.from_value, whole.to_value) == (1, 9)
    assert word.additional_constraints == "one of one, two"
    assert count.additional_constraints == "read while configuring"
    # NaN means "not set", and rclpy refuses it under a range.
    assert not described["free"].floating_point_range
    assert described["free"].additional_constraints.startswith("a float in 0.., or .nan: not set")


@needs_rclpy
def test_every_row_of_the_runner_can_be_described(declared: Callable[..., Declared]) -> None:
    made = declared({}, ROWS)
    for row in ROWS:
        descriptor = made.node.describe_parameter(row.name)
        assert descriptor.description == row.text
        ranged = row.low is not None or row.high is not None
        spans = [*descriptor.floating_point_range, *descriptor.integer_range]
        expected = ranged and not row.kind.endswith("[]") and not row.may_be_unset
        assert bool(spans) == expected, row.name


@needs_rclpy
def test_a_set_is_checked_and_refused_with_the_sentence(
    declared: Callable[..., Declared],
) -> None:
    made = declared({"share": 0.25, "counts": [3, 4]})
    assert made.rows.value("share") == 0.25
    assert made.rows.value("counts") == [3, 4]
    assert made.set("share", 0.75) == ""
    assert made.rows.value("share") == 0.75
    assert "share" in made.set("share", 7.0)
    assert made.set("word", "three") == "parameter word: expected one of one, two, got 'three'"
    assert "counts" in made.set("counts", [3, 40])
    assert made.set("counts", [], "INTEGER_ARRAY") == ""
    assert made.rows.value("counts") == []
    assert made.rows.value("share") == 0.75
    assert made.set("share", math.nan) != ""


@needs_rclpy
def test_a_row_that_is_not_set_can_be_set_and_unset(declared: Callable[..., Declared]) -> None:
    made = declared({})
    assert made.rows.value("free") is None
    assert made.set("free", 2.0) == ""
    assert made.rows.value("free") == 2.0
    assert "free" in made.set("free", -2.0)
    assert made.set("free", math.nan) == ""
    assert made.rows.value("free") is None


def test_only_a_float_can_be_not_set() -> None:
    with pytest.raises(ValueError, match="only a float can be not set"):
        Parameter("words", None, "a list without a value", kind="str[]")


@needs_rclpy
def test_mending_a_bad_value_takes_its_sentence_away(declared: Callable[..., Declared]) -> None:
    made = declared({"share": 7.0, "word": "three", "counts": "x"})
    assert len(made.rows.problems) == 3
    assert made.set("share", 1.0) == ""
    assert len(made.rows.problems) == 2
    assert made.set("word", "four") != ""
    assert len(made.rows.problems) == 2
    assert made.set("word", "two") == ""
    assert made.set("counts", [1]) == ""
    assert made.rows.problems == []


@needs_rclpy
def test_rows_that_are_not_live_are_refused_while_they_may_not_change(
    declared: Callable[..., Declared],
) -> None:
    active = []
    made = declared({}, may_change=lambda: not active)
    assert made.set("count", 4) == ""
    active.append(True)
    assert "parameter count: read while configuring; deactivate" in made.set("count", 5)
    assert made.set("word", "two") == ""
    assert made.rows.value("count") == 4


@needs_rclpy
def test_rows_that_are_read_at_the_start_keep_their_values(
    declared: Callable[..., Declared],
) -> None:
    table = (
        Parameter("period", 1.0, "a period", low=0.1, high=9.0, at_start=True),
        Parameter("cores", (), "some cores", kind="int[]", at_start=True),
    )
    made = declared({"period": -1.0, "cores": [2]}, table)
    assert made.node.describe_parameter("period").additional_constraints == "read at the start"
    assert "parameter period: read at the start of the process" in made.set("period", 0.5)
    assert "parameter cores: read at the start" in made.set("cores", [3])
    assert made.rows.value("cores") == [2]
    assert len(made.rows.problems) == 1
    # Setting the value that replaced a wrong one confirms it.
    assert made.set("period", 1.0) == ""
    assert made.set("cores", [2]) == ""
    assert made.rows.problems == []


@needs_rclpy
def test_a_declaration_that_fails_does_not_end_the_checks(
    declared: Callable[..., Declared], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = declared({})
    row = Parameter("late", 1, "declared later", low=0, high=9)

    def broken(*_given: Any, **_named: Any) -> None:
        raise RuntimeError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(made.node, "declare_parameter", broken)
        with pytest.raises(RuntimeError, match="not now"):
            made.rows.declare([row])
    # Choices, not a range: ROS would check a range itself.
    assert "expected one of one, two" in made.set("word", "three")
    assert made.rows.value("late") == 1
    made.rows.declare([row])
    assert "late" in made.set("late", 10)
    assert made.set("late", 5) == ""
    made.rows.forget(["late"])
    assert not made.node.has_parameter("late")


@needs_rclpy
def test_the_nodes_own_check_may_refuse_with_a_reason(declared: Callable[..., Declared]) -> None:
    asked = []

    def check(changed: Any) -> str:
        asked.append(dict(changed))
        return "not with this policy" if changed.get("count") == 5 else ""

    made = declared({}, check=check)
    assert made.set("count", 5) == "not with this policy"
    assert made.rows.value("count") == 3
    assert made.set("count", 6) == ""
    assert asked == [{"count": 5}, {"count": 6}]


@needs_rclpy
def test_forgotten_rows_are_gone_and_may_come_again(declared: Callable[..., Declared]) -> None:
    made = declared({"share": 7.0})
    made.rows.forget(["share"])
    assert "share" not in made.rows.names
    assert made.rows.problems == []
    assert not made.node.has_parameter("share")
    made.rows.declare(KINDS_TABLE)
    assert len(made.rows.problems) == 1
