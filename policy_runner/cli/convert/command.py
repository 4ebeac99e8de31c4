"""`policy-runner convert`: converts a trainer's files into files that are safe to read."""

from __future__ import annotations

from policy_runner.cli.command_parser import CommandParser

COMMANDS = (
    ("stats", "convert.stats", "turn an SB3 VecNormalize pickle into .npz"),
    (
        "motion", "convert.motion_file",
        "turn a headerless CSV or a model's outputs into a motion's .npz",
    ),
)  # fmt: skip


def add_arguments(parser: CommandParser) -> None:
    """Add the commands of `convert`."""
    parser.add_commands()
    for name, module, text in COMMANDS:
        parser.add_command(name, text, module)
