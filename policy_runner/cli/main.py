"""The command line `policy-runner`: groups of commands, each imported only when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from policy_runner import __version__
from policy_runner.cli.command_parser import CommandParser, check_options
from policy_runner.cli.old_names import OLD_NAMES, with_new_names
from policy_runner.core.errors import Refusal

# Group: (command, module, one line). A module has add_arguments(parser) and run(arguments) -> int.
GROUPS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Policy": (
        ("import", "import_policy", "read a trainer's files into a policy spec to correct"),
        ("check", "check", "report everything that prevents the node from running a policy"),
        ("inspect", "inspect.command", "print what a policy reads and commands, resolved"),
        ("replay", "replay.command", "run a policy offline on a recording, and compare"),
        ("convert", "convert.command", "convert a trainer's files: stats, motion"),
        ("schema", "schema", "print the JSON Schema of policy.yaml or robot.yaml"),
        ("export", "export.command", "make a policy folder of a trained network"),
        ("verify", "export.verify_command", "compare a policy folder with its source"),
        ("optimize", "export.optimize_command", "judge smaller and faster variants of a policy"),
    ),
    "Robot": (
        ("run", "operate.supervise", "start a runner, its guard and its sidecar"),
        (
            "ctl",
            "operate.ctl",
            "operate: arm, disarm, reset, reload, estop, prompt, status, dump",
        ),
        ("monitor", "monitor.command", "watch /diagnostics in the terminal"),
        ("report", "report", "draw power, heat, clocks and latency of a recording"),
        ("serve", "serve.command", "offer a policy to simulators and other machines"),
    ),
    "Simulation": (
        ("demo", "demo.command", "balance the simulated robot with the shipped policy"),
        ("sim", "sim.command", "run a policy on a robot from an MJCF or URDF, in MuJoCo"),
        ("evaluate", "evaluate.command", "judge a policy on a simulated robot: falls, margins"),
    ),
    "Machine": (
        ("doctor", "doctor", "report what this machine has, and what is missing"),
        ("bench", "bench.command", "measure: step, node, backends, compare, operators, selftest"),
        ("engine", "engine", "TensorRT engines of this machine: build, list, remove"),
        ("power", "power", "power mode and clocks of a Jetson: list, set, clocks"),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The command's exit status; 1 for a refusal. A wrong command line exits with status 2.
    """
    words, sentence = with_new_names(sys.argv[1:] if argv is None else argv)
    if sentence:
        print(sentence, file=sys.stderr)
    arguments = make_parser().parse_args(words)
    try:
        check_options(arguments)
        return int(arguments.run(arguments))
    except Refusal as refusal:
        for problem in refusal.problems:
            print(f"{arguments.called}: {problem}", file=sys.stderr)
    except FileNotFoundError as error:
        print(f"{arguments.called}: {error}", file=sys.stderr)
    return 1


def make_parser() -> CommandParser:
    """Create the parser of the whole command line; import no command."""
    parser = CommandParser(
        prog="policy-runner",
        usage="policy-runner COMMAND ...",
        description=_description(),
        epilog="`policy-runner COMMAND --help` shows the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    about = parser.add_argument_group("Help")
    about.add_argument("-h", "--help", action="help", help="show this text")
    about.add_argument("--version", action="version", version=__version__, help="show the version")
    parser.old_names = OLD_NAMES
    parser.add_commands(prog="policy-runner", help=argparse.SUPPRESS)
    for commands in GROUPS.values():
        for name, module, text in commands:
            parser.add_command(name, text, module)
    return parser


def _description() -> str:
    """Return the description of the command line, with its commands by group."""
    width = max(len(name) for commands in GROUPS.values() for name, _, _ in commands)
    lines = ["Run a trained policy on a ROS 2 robot."]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:{width}}  {text}" for name, _, text in commands]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
