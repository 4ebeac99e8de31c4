"""The README's parameter tables match the parameters that the nodes declare."""

from __future__ import annotations

from pathlib import Path

from parameter_tables import tables, with_tables

README = Path(__file__).parents[2] / "README.md"


def test_the_parameter_tables_are_those_of_the_nodes() -> None:
    text = README.read_text(encoding="utf-8")
    hint = "run `python tools/parameter_tables.py README.md`"
    assert with_tables(text) == text, hint


def test_every_row_says_what_it_means() -> None:
    for name, table in tables().items():
        for line in table.splitlines()[2:]:
            assert line.split("|")[-2].strip(), f"{name}: {line}"
