"""An argument parser that imports a command's module only when the command is called."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse

FOLDER = "policy_runner.cli"
Run = Callable[[argparse.Namespace], int]
Fits = Callable[[argparse.Namespace], object]
_RULES = "option_rules"
_NO_WRAPPING = 10_000  # columns; rich makes a table as wide as what is in it


class OptionRule(NamedTuple):
    """Options that the command ignores unless `fits` is true of the command line."""

    expected: str
    fits: Fits
    defaults: Mapping[str, object]


def only_with(parser: argparse.ArgumentParser, needed: str, fits: Fits, *options: str) -> None:
    """Let `check_options` refuse options that mean something only next to another one.

    Args:
        needed: the other option, as the refusal names it, such as `--live`.
        fits: whether the parsed command line has it.
        options: of `parser`, such as `--wait`. Their arguments are added already.
    """
    _add_rule(parser, f"{needed} with it", fits, options)


def not_with(parser: argparse.ArgumentParser, other: str, given: Fits, *options: str) -> None:
    """Let `check_options` refuse options that mean nothing next to another one.

    Args:
        other: the other option, as the refusal names it, such as `--as triton`.
        given: whether the parsed command line has it.
        options: of `parser`. Their arguments are added already.
    """
    _add_rule(parser, f"not with {other}", lambda arguments: not given(arguments), options)


def _add_rule(
    parser: argparse.ArgumentParser, expected: str, fits: Fits, options: Sequence[str]
) -> None:
    defaults = {option: parser.get_default(_attribute(option)) for option in options}
    rules = parser.get_default(_RULES) or []
    parser.set_defaults(**{_RULES: [*rules, OptionRule(expected, fits, defaults)]})


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse every option that the command line gives and the command would ignore.

    Raises:
        Refusal: one sentence for each.
    """
    problems: list[Problem | str] = []
    for rule in getattr(arguments, _RULES, None) or []:
        values = {option: getattr(arguments, _attribute(option)) for option in rule.defaults}
        given = {one: value for one, value in values.items() if value != rule.defaults[one]}
        if not given or rule.fits(arguments):
            continue
        for option, value in given.items():
            got = option if value is True else f"{option} {_as_given(value)}"
            problems.append(Problem("", option, rule.expected, got))
    if problems:
        raise Refusal(problems)


def _as_given(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _attribute(option: str) -> str:
    return option.lstrip("-").replace("-", "_").lower()


def add_params(
    parser: argparse.ArgumentParser,
    text: str = "the node's parameters",
    also: str = "",
    given_too: Fits = lambda _given: False,
) -> None:
    """Add --params, and --name and --namespace, which select the sections of its file.

    Args:
        also: what else has a use for the node's name, such as `--live`.
        given_too: whether the parsed command line has it.
    """
    parser.add_argument("--params", type=Path, metavar="FILE", help=text)
    parser.add_argument("--name", default="policy_runner",
                        help="name of the node in FILE; default policy_runner")  # fmt: skip
    parser.add_argument("--namespace", default="", help="of that node; default none")
    needed = f"--params or {also}" if also else "--params"
    only_with(parser, needed, lambda given: given.params or given_too(given),
              "--name", "--namespace")  # fmt: skip


def node_of(arguments: argparse.Namespace) -> str:
    """Return the fully qualified node name from --name and --namespace."""
    parts = [part for part in str(arguments.namespace).split("/") if part]
    return "/".join(["", *parts, str(arguments.name)])


def topic_of(topic: str, node: str) -> str:
    """Return a topic as a node resolves it: `~` is its fully qualified name."""
    return f"{node}{topic[1:]}" if topic.startswith("~/") else topic


def check_ros() -> None:
    """Refuse a command that needs rclpy where it is not installed.

    Raises:
        Refusal: rclpy is not installed.
    """
    if find_spec("rclpy") is None:
        remedy = "source a ROS 2 environment, or install the wheels of requirements/ros-wheels.txt"
        raise refuse("", "ROS 2", "the Python module rclpy", "none", remedy)


def seconds_above_0(text: str) -> float:
    """Read the argument of an option."""
    return _number(text, "seconds above 0", lambda value: value > 0.0)


def number_from_0(text: str) -> float:
    """Read a number of 0 or more, as the argument of an option."""
    return _number(text, "a number of 0 or more", lambda value: value >= 0.0)


def number_above_0(text: str) -> float:
    """Read a number above 0, as the argument of an option."""
    return _number(text, "a number above 0", lambda value: value > 0.0)


def count_above_0(text: str) -> int:
    """Read a whole number of 1 or more, as the argument of an option."""
    return int(_number(text, "a whole number above 0", lambda value: value >= 1, int))


def _number(
    text: str,
    expected: str,
    fits: Callable[[float], bool],
    read: Callable[[str], float] = float,
) -> float:
    try:
        value = read(text)
    except ValueError:
        value = math.nan
    if not (fits(value) and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")
    return value


def check_written(option: str, path: Path | None) -> None:
    """Check that a file can be written, before anything long begins.

    Args:
        option: of the command line, with its dashes.
        path: of the file; None: the option is not given.

    Raises:
        Refusal: its folder does not exist.
    """
    if path is not None and not path.absolute().parent.is_dir():
        raise refuse("", option, "a file in a folder that exists", str(path))


def table_width() -> int | None:
    """Columns for rich's Console: None in a terminal, whose width it finds; else no wrapping.

    Without a terminal rich would wrap at 80 columns, and `grep` would find half of a line.
    """
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else _NO_WRAPPING


class CommandParser(argparse.ArgumentParser):
    """Parse one command, or a group of commands.

    Attributes:
        module: Module in `policy_runner.cli` with `add_arguments(parser)` and, unless that makes
            a group, `run(arguments) -> int`. It is imported when this parser parses. Empty: the
            caller adds the arguments.
        old_names: Former name and present name of commands, for suggestions only.
    """

    module: str = ""
    old_names: Mapping[str, str] = {}
    _commands: Any = None
    _default: str | None = None

    def add_commands(self, **options: Any) -> None:
        """Make this parser a group. `options` are those of `add_subparsers`."""
        self._commands = self.add_subparsers(metavar="COMMAND", required=True, **options)

    def add_command(
        self, name: str, text: str, module: str = "", run: Run | None = None
    ) -> CommandParser:
        """Add a command to the group: a module, or a function with arguments that the caller adds.

        Args:
            text: Its line in the help of the group.
        """
        command: CommandParser = self._commands.add_parser(name, help=text, description=text)
        command.module = module
        command.set_defaults(run=run)
        return command

    def add_default(self, module: str) -> None:
        """Add the command that runs when the first word is not a command of this group."""
        self._default = ""
        command: CommandParser = self._commands.add_parser(self._default, prog=self.prog)
        command.module = module

    @property
    def names(self) -> list[str]:
        """The commands of this group."""
        return [name for name in self._commands.choices if name] if self._commands else []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Import the command's module, add its arguments, and parse.

        The result has `run`, the command's function, and `called`, such as
        "policy-runner engine build".
        """
        self.set_defaults(called=self.prog)
        if self.module:
            loaded = importlib.import_module(f"{FOLDER}.{self.module}")
            self.module = ""
            loaded.add_arguments(self)
            if not self.names:
                self.set_defaults(run=loaded.run)
        if self._default is not None and args is not None:
            args = self._with_default(args)
        return super().parse_known_args(args, namespace)

    def _with_default(self, args: Sequence[str]) -> list[str]:
        first = args[0] if args else ""
        if first in (*self.names, "-h", "--help"):
            return list(args)
        is_option_or_path = first.startswith("-") or Path(first).exists()
        if not is_option_or_path and did_you_mean(first, self.names):
            self._refuse(first)
        return [str(self._default), *args]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Report an unknown command in one sentence; argparse would list all commands."""
        if action is self._commands and value not in (*self.names, self._default):
            self._refuse(str(value))
        super()._check_value(action, value)

    def _refuse(self, word: str) -> NoReturn:
        hint = did_you_mean(word, [*self.names, *self.old_names])
        for old, new in self.old_names.items():
            hint = hint.replace(f"'{old}'", f"'{new}'")
        hint = hint or f"`{self.prog} --help` lists the commands"
        self.exit(2, f"{self.prog}: there is no command {word!r}; {hint}\n")
