"""The tables of docs/reference/commands.md, from the parsers, the launch file and the Makefile.

`python tools/command_tables.py` rewrites them; a test compares.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from policy_runner.cli.command_parser import FOLDER, CommandParser
from policy_runner.cli.main import GROUPS
from policy_runner.cli.old_names import OLD_NAMES
from policy_runner.ros.processes import LAUNCH_ARGUMENTS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "commands.md"
PROGRAM = "policy-runner"


def load(name: str, text: str, module: str) -> CommandParser:
    """The parser of a command with its arguments.

    Args:
        name: Its words after `policy-runner`.
        text: Its line in the help.
        module: Module in `policy_runner.cli`.
    """
    parser = CommandParser(prog=f"{PROGRAM} {name}", description=text)
    importlib.import_module(f"{FOLDER}.{module}").add_arguments(parser)
    return parser


def below(parser: CommandParser) -> Iterator[tuple[str, CommandParser]]:
    """The commands of a group, with their arguments; the one without a name is the default."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for name, command in action.choices.items():
            if command.module:
                importlib.import_module(f"{FOLDER}.{command.module}").add_arguments(command)
                command.module = ""
            yield name, command


def every_command() -> dict[str, CommandParser]:
    """Each command by its words after `policy-runner`, in the order of the help."""
    found = {}
    for commands in GROUPS.values():
        for name, module, text in commands:
            parser = load(name, text, module)
            inner = list(below(parser))
            default = next((one for word, one in inner if not word), None)
            if default is not None:
                default.description = text
            found[name] = default or parser
            found |= {f"{name} {word}": one for word, one in inner if word}
    return found


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Each option that a command takes, such as `--params`."""
    return {option for action in parser._actions for option in action.option_strings}


def argument_table(parser: argparse.ArgumentParser) -> str:
    """Markdown: argument, default, meaning; "" for a command without arguments."""
    rows = []
    formatter = parser._get_formatter()
    for action in _shown(parser):
        meaning = formatter._expand_help(action) if action.help else ""
        default = "" if "default" in meaning or action.nargs == 0 else _default(action)
        rows.append(f"| {_signature(action, formatter)} | {default} | {_cell(meaning)} |")
    if not rows:
        return ""
    return "\n".join(["| argument | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
        and action.help != argparse.SUPPRESS
        and action.dest != "help"
    ]


def _signature(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    value = formatter._format_args(action, _metavar(action))
    value = "" if action.nargs == 0 else value
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{option} {value}`".replace(" `", "`") for option in action.option_strings)


def _metavar(action: argparse.Action) -> str:
    return action.dest.upper() if action.option_strings else action.dest


def _default(action: argparse.Action) -> str:
    if not action.option_strings and action.nargs not in ("?", "*"):
        return "needed"
    if action.required:
        return "needed"
    empty = action.default is None or action.default in ("", [], ())
    value = action.default
    if isinstance(value, (list, tuple)):
        value = " ".join(map(str, value))
    return "" if empty or value == argparse.SUPPRESS else f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def command_tables() -> str:
    """Every command with its description and its arguments, group by group."""
    parsers, parts = every_command(), []
    for group, commands in GROUPS.items():
        parts.append(f"### {group}\n")
        for name, _, _ in commands:
            for words, parser in parsers.items():
                if words == name or words.startswith(f"{name} "):
                    parts.append(_section(words, parser))
    return "\n".join(parts)


def _section(words: str, parser: CommandParser) -> str:
    lines = [f"#### {PROGRAM} {words}\n", f"{_sentence(parser.description or '')}\n"]
    if table := argument_table(parser):
        lines += ["```text", synopsis(words, parser), "```\n", table]
    if parser.epilog:
        lines.append(f"{_sentence(parser.epilog)}\n")
    return "\n".join(lines)


def synopsis(words: str, parser: argparse.ArgumentParser) -> str:
    """The command with what it needs, and `[OPTIONS]` for the rest."""
    parts, rest = [f"{PROGRAM} {words}"], False
    formatter = parser._get_formatter()
    for action in _shown(parser):
        value = formatter._format_args(action, _metavar(action))
        if not action.option_strings:
            parts.append(value)
        elif action.required:
            parts.append(f"{action.option_strings[0]} {value}")
        else:
            rest = True
    return " ".join([*parts, "[OPTIONS]"] if rest else parts)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def summary_table() -> str:
    """One line a command."""
    rows = [
        f"| {group} | [`{name}`](#{PROGRAM}-{name}) | {text} |"
        for group, commands in GROUPS.items()
        for name, _, text in commands
    ]
    return "\n".join(["| group | command | what it does |", "|---|---|---|", *rows]) + "\n"


def old_names_table() -> str:
    """Former names of commands."""
    rows = [f"| `{old}` | `{PROGRAM} {new}` |" for old, new in OLD_NAMES.items()]
    return "\n".join(["| former name | present name |", "|---|---|", *rows]) + "\n"


def launch_table() -> str:
    """The arguments of the launch file."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {text} |"
        for name, default, text in LAUNCH_ARGUMENTS
    ]
    return "\n".join(["| argument | default | meaning |", "|---|---|---|", *rows]) + "\n"


def make_targets() -> dict[str, str]:
    """What `make help` lists: each target with its text."""
    text = (ROOT / "Makefile").read_text("utf-8")
    return dict(re.findall(r"^([a-z-]+):.*## (.*)$", text, re.MULTILINE))


def make_table() -> str:
    """The targets of the Makefile."""
    rows = [f"| `make {name}` | {text} |" for name, text in make_targets().items()]
    return "\n".join(["| command | what it does |", "|---|---|", *rows]) + "\n"


def tables() -> dict[str, str]:
    """Markdown by the name that marks its place in the page."""
    return {
        "summary": summary_table(),
        "commands": command_tables(),
        "old names": old_names_table(),
        "launch arguments": launch_table(),
        "make": make_table(),
    }


def with_tables(text: str) -> str:
    """The page with every marked table replaced by the present one.

    Raises:
        ValueError: A table has no place in the page.
    """
    for name, table in tables().items():
        begin, end = f"<!-- {name}: written by tools/command_tables.py -->\n", "<!-- end -->"
        before, mark, after = text.partition(begin)
        if not mark:
            raise ValueError(f"expected the mark '{begin.strip()}' in the page, got none")
        text = before + begin + table + end + after.partition(end)[2]
    return text


def main() -> int:
    """Rewrite the tables of the page."""
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
