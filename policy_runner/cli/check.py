"""`policy-runner check`: reports every reason why the node would refuse a policy, at once."""

from __future__ import annotations

import argparse
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from policy_runner.cli.command_parser import (
    add_params,
    node_of,
    number_from_0,
    only_with,
    topic_of,
)
from policy_runner.cli.state_wiring import state_problems
from policy_runner.cli.suspicions import all_suspicions, read_all_facts
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.spec.parts import model_files
from policy_runner.robot.load import LoadedPolicy, load_policy
from policy_runner.robot.values import sections_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC, --params, --live and its options."""
    parser.add_argument("spec", type=Path, metavar="SPEC", help="policy.yaml or its folder")
    add_params(parser, "the node's parameters, too", "--live", lambda given: given.live)
    parser.add_argument("--live", action="store_true", help="compare with the running ROS graph")
    parser.add_argument("--wait", type=number_from_0, default=3.0, metavar="S",
                        help="how long --live listens; default 3 s")  # fmt: skip
    parser.add_argument("--topic", action="append", default=[], metavar="INPUT=TOPIC",
                        help="with --live: where an input is published, as the node's remapping"
                        " says it")  # fmt: skip
    only_with(parser, "--live", lambda given: given.live, "--wait", "--topic")


def run(arguments: argparse.Namespace) -> int:
    """Check the policy; return 0 if there is no problem.

    Suspicious numbers are printed as warnings; they are no reason to refuse.
    """
    node = node_of(arguments)
    ros = find_spec("rclpy") is not None
    further = partial(_ros_problems, arguments.params is not None) if ros else None
    loaded = load_policy(arguments.spec, arguments.params, further=further, node=node)
    if arguments.params is not None and not ros:
        loaded.warnings.append("the parameters command.* were not checked: rclpy is not here")
    if arguments.params is not None:
        loaded.warnings += _unbounded(loaded)
    facts = read_all_facts(loaded.spec_file)
    problems = state_problems(loaded.spec_file, facts)
    if problems:
        raise Refusal(problems)
    warnings = [*loaded.warnings, *all_suspicions(loaded.spec_file, facts)]
    said = [f"{len(loaded.pipeline.elements)} commands", f"{_observed(loaded)} observed numbers"]
    models = model_files(loaded.spec)
    if len(models) > 1:
        said.append(f"{len(models)} models ({', '.join(one.name or 'model' for one in models)})")
    if arguments.live:
        said += _live(loaded, arguments, warnings)
    console = Console(soft_wrap=True, highlight=False)
    if arguments.params is not None:
        console.print(escape(_sections(arguments.params, node)))
    for warning in warnings:
        console.print(f"[yellow]look at[/] {escape(warning)}")
    path = escape(str(loaded.spec_file.path))
    period = loaded.pipeline.settings.period_ns / 1e9
    console.print(f"[green]ok[/] {path}: {', '.join(said)}, a tick every {period:g} s")
    return 0


def _ros_problems(with_commands: bool, loaded: LoadedPolicy) -> list[Problem | str]:
    """Return the problems that need the message types; commands are checked with --params only."""
    from policy_runner.ros.inputs.checked_reader import input_problems
    from policy_runner.ros.outputs.command_format import command_problems

    # Commands first: efforts from positions (`command.effort_from_pd`) read more input fields.
    problems = command_problems(loaded) if with_commands else []
    return [*problems, *input_problems(loaded)]


def _sections(path: Path, node: str) -> str:
    """Return one line about the sections of the parameter file that the node reads."""
    fitting, others = sections_of(path, node, [])
    names = ", ".join(section.name for section in fitting) or "none"
    rest = ", ".join(section.name for section in others)
    return f"{path}: {node} takes {names}" + (f"; not for it: {rest}" if rest else "")


def _unbounded(loaded: LoadedPolicy) -> list[str]:
    """Return one warning that names the commands without any bound.

    A policy that observes its own raw action can excite itself: one of the published policies
    reached 6e37 within 10 s of inputs that it had never seen.
    """
    groups = [group for tensor in loaded.spec.action for group in tensor.groups]
    clipped = {
        (group.kind, name)
        for group in groups
        if group.clip is not None or group.clip_raw is not None
        for name in group.names
    }
    limits = loaded.pipeline.settings.limits
    names = [
        element.joint
        for element, low, high in zip(
            loaded.pipeline.elements, limits.low, limits.high, strict=True
        )
        if not (np.isfinite(low) and np.isfinite(high))
        and (element.kind, element.joint) not in clipped
    ]
    if not names or loaded.config.command.effort_from_pd:
        return []  # `effort_from_pd` needs a bound for every effort
    return [
        f"no bounds for {', '.join(names)}: set joints.<joint>.lower and upper, limits.urdf, "
        "or clip in the policy spec"
    ]


def _observed(loaded: LoadedPolicy) -> int:
    return sum(builder.size for builder, _ in loaded.pipeline.policy.every_tensor)


def _live(loaded: LoadedPolicy, arguments: argparse.Namespace, warnings: list[str]) -> list[str]:
    if find_spec("rclpy") is None:
        remedy = "source a ROS 2 installation"
        raise refuse("", "--live", "rclpy", "none", remedy)
    from policy_runner.cli.replay.command import topic_option
    from policy_runner.ros.inputs.live_check import compare_with_graph
    from policy_runner.ros.outputs.command_format import command_topics

    given, node = dict(topic_option(one) for one in arguments.topic), node_of(arguments)
    # A topic such as ~/prompt is the node's, not that of the node which listens here.
    topics = {
        name: topic_of(given.get(name, slot.spec.topic), node)
        for name, slot in loaded.pipeline.slots.items()
    }
    found = compare_with_graph(
        loaded.pipeline,
        loaded.config.loop.lockstep,
        {**given, **topics},
        command_topics(loaded),
        arguments.namespace,
        arguments.wait,
    )
    warnings += found.warnings
    return found.rates
