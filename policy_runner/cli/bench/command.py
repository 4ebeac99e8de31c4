"""`policy-runner bench`: the group of measurements. Without a name: the step, then the node."""

from __future__ import annotations

from policy_runner.cli.command_parser import CommandParser

COMMANDS = (
    ("step", "bench.step", "how long a step takes without ROS, part by part"),
    ("node", "bench.node", "how well the node keeps its rate, in a graph of processes"),
    ("backends", "bench.backends", "what runs a model fastest here, at the control rate"),
    ("compare", "bench.against_torch", "torch against ONNX Runtime, in shuffled order"),
    ("operators", "bench.operators", "where the time of an inference goes, by operator"),
    ("selftest", "bench.selftest", "run a policy on a backend, compare with the CPU, measure"),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the commands of `bench`, and the default command."""
    parser.usage = f"{parser.prog} [COMMAND] [SPEC] [options]"
    parser.epilog = "Without COMMAND: step, then node, with the options of node and of step."
    parser.add_commands(prog=parser.prog)
    for name, module, text in COMMANDS:
        parser.add_command(name, text, module)
    parser.add_default("bench.step_and_node")
