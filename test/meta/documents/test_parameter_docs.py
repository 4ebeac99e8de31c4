"""docs/reference/parameters.md has the tables that the nodes declare."""

from __future__ import annotations

from parameter_tables import PAGE, tables, with_tables


def test_the_parameter_tables_are_those_of_the_nodes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `python tools/parameter_tables.py`"


def test_every_row_says_what_it_means() -> None:
    for name, table in tables().items():
        for line in table.splitlines()[2:]:
            assert line.split("|")[-2].strip(), f"{name}: {line}"
