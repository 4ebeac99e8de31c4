"""docs/reference/commands.md has every command, option, launch argument and make target."""

from __future__ import annotations

import argparse

from command_tables import PAGE, argument_table, every_command, tables, with_tables


def test_the_page_is_what_the_parsers_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `python tools/command_tables.py`"


def test_every_command_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    words = every_command()
    assert {"import", "check", "bench", "bench step", "engine build", "power set"} <= words.keys()
    assert not [name for name in words if f"#### policy-runner {name}\n" not in text]


def test_every_row_has_a_meaning() -> None:
    for name, table in tables().items():
        for line in table.splitlines():
            if line.startswith(("| `", "| Policy", "| Robot")):
                assert line.split("|")[-2].strip(), f"{name}: {line}"


def test_defaults_and_needed_arguments_are_shown() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", metavar="SPEC", help="a policy spec")
    parser.add_argument("--rate", type=float, default=50.0, metavar="HZ", help="control rate")
    parser.add_argument("--out", required=True, metavar="FILE", help="a|b")
    parser.add_argument("--quiet", action="store_true", help="say nothing")
    assert argument_table(parser).splitlines()[2:] == [
        "| `SPEC` | needed | a policy spec |",
        "| `--rate HZ` | `50.0` | control rate |",
        "| `--out FILE` | needed | a\\|b |",
        "| `--quiet` |  | say nothing |",
    ]
