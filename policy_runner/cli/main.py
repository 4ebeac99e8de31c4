"""The command `policy-runner`: one subcommand a module, each imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from policy_runner import __version__
from policy_runner.core.errors import Refusal

# Subcommand, module, one line. A module has add_arguments(parser) and run(arguments) -> int.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("import", "import_policy", "read a trainer's files into a policy spec to correct"),
    ("inspect", "inspect.command", "print what a policy is fed and what it commands, resolved"),
    ("check", "check", "say everything that keeps the node from running a policy"),
    ("replay", "replay.command", "run a policy offline on a recording or on arrays, and compare"),
    ("schema", "schema", "print the JSON Schema of policy.yaml, for editors"),
    ("convert-stats", "convert_stats", "turn an SB3 VecNormalize pickle into .npz"),
    ("demo", "demo.command", "balance the simulated robot with the shipped policy"),
    ("monitor", "monitor", "watch /diagnostics in the terminal"),
    ("report", "report", "draw power, heat, clocks and latency of a recording"),
    ("power", "power", "list or set a Jetson's power mode and clocks (privileged)"),
    ("doctor", "doctor", "say what this machine has for running policies, and what would help"),
    ("build-engine", "build_engine", "build a policy's TensorRT engine on this machine"),
    ("engines", "engines", "list or remove built engines"),
    ("selftest", "bench.selftest", "run a policy on a backend, compare with the CPU, measure"),
    ("bench", "bench.command", "measure the step, and how well the node keeps its rate here"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; its exit status, 2 for a wrong command line."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="policy-runner", description="Run a trained policy on a ROS 2 robot."
    )
    parser.add_argument("--version", action="version", version=__version__)
    below = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), "")
    for name, module, text in COMMANDS:
        sub = below.add_parser(name, help=text, description=text)
        if name == chosen:
            loaded = importlib.import_module(f"policy_runner.cli.{module}")
            loaded.add_arguments(sub)
            sub.set_defaults(run=loaded.run)
    arguments = parser.parse_args(words)
    try:
        return int(arguments.run(arguments))
    except Refusal as refusal:
        for problem in refusal.problems:
            print(f"policy-runner {chosen}: {problem}", file=sys.stderr)
    except FileNotFoundError as error:
        print(f"policy-runner {chosen}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
