"""`docs/reference/faults.md` equals the list of faults, and each fault of the list has its test."""

from __future__ import annotations

import ast
from pathlib import Path

import fault_table as table

TESTS = Path(__file__).resolve().parents[2] / "faults"


def _tested() -> set[str]:
    """Every fault name in a test of the fault matrix or in its parameters."""
    found = set()
    for path in TESTS.glob("test_fault_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found |= {
                    one.value
                    for one in ast.walk(node)
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    return found


def test_the_page_is_what_the_list_says() -> None:
    text = table.PAGE.read_text("utf-8")
    assert table.with_tables(text) == text, "run `python tools/fault_table.py`"


def test_every_fault_of_the_list_has_a_test() -> None:
    assert not set(table.FAULTS) - _tested()


def test_every_test_asks_for_a_fault_of_the_list() -> None:
    """A literal in `shows`, `row_of` or FAULTS must be a fault; other values fail at run time."""
    unknown = []
    for path in TESTS.glob("test_fault_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name: ast.expr | None = None
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "shows":
                name = node.args[0]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "FAULTS":
                name = node.slice
            if isinstance(name, ast.Constant) and name.value not in table.FAULTS:
                unknown.append(f"{path.name}:{name.lineno}: {name.value!r}")
    assert not unknown


def test_every_row_is_whole() -> None:
    decisions = ("STARTING", "RUN", "HOLD", "SAFE_STOP")
    for row in table.FAULTS.values():
        assert row.room in table.ROOMS, row.fault
        assert row.command in table.COMMANDS, row.fault
        assert row.decision in (*decisions, *table.DECISIONS), row.fault
        if row.decision in ("HOLD", "SAFE_STOP"):
            assert row.decided_s, row.fault
            assert row.reason != "none", row.fault
            assert row.recovers, row.fault
            # A fault that ends the loop is repaired by a person, so it has no recovery time.
            assert row.recovers_s or row.command == "last", row.fault
