"""`policy-runner replay` of a black box: every command is computed again and must be the same."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from policy_runner.cli.replay.run import Trace
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.ros.black_box.content import is_black_box

__all__ = ["is_black_box", "replay_black_box"]
_NOT_HERE = ("params", "topic", "start", "duration", "reference", "plot")


def replay_black_box(arguments: argparse.Namespace, console: Console) -> int:
    """Replay and compare; return 1 if a decision or a bit of a command differs.

    Raises:
        Refusal: an option does not fit, ROS is missing, or the file is of another policy.
    """
    _check_options(arguments)
    try:
        from policy_runner.ros.black_box.opened import open_box
    except ImportError as error:
        expected = "ROS 2, which reads the messages of a black box as the node did"
        raise refuse(str(arguments.input), "", expected, f"{error}", "source its setup") from error
    box = open_box(arguments.input, arguments.spec)
    for warning in box.warnings:
        console.print(f"[yellow]{escape(warning)}[/]")
    trace = Trace(box.loaded)
    differ: list[int] = []
    commands = first_ns = now_ns = 0
    for one in box.replay():
        if one.step is not None:
            now_ns = one.now_ns
            first_ns = first_ns or now_ns
            trace.add(
                now_ns - first_ns, one.step.decision.name, one.step.inferred, one.step.command
            )
        commands += one.recorded is not None
        if not one.equal:
            differ.append(now_ns)
    if not trace.ticks:
        raise refuse(str(arguments.input), "", "ticks after a saved state", "none")
    console.print(f"{trace.ticks} ticks, {commands} commands; written because: {box.facts.why}")
    _write(arguments.output, trace, console)
    if differ:
        at = (differ[0] - first_ns) / 1e9
        console.print(f"[red]FAIL[/] {len(differ)} differ, the first one at {at:.3f} s")
        return 1
    console.print("[green]ok[/] every decision and command is the same, to the bit")
    return 0


def _write(output: Path | None, trace: Trace, console: Console) -> None:
    if output is None:
        return
    with output.open("wb") as file:
        np.savez_compressed(file, **trace.arrays())  # type: ignore[arg-type,unused-ignore]
    console.print(f"written: {escape(str(output))}")


def _check_options(arguments: argparse.Namespace) -> None:
    """A black box has its own parameters, topics and reference."""
    problems = [
        Problem("", f"--{name}", "not with a black box, which has its own", str(value))
        for name in _NOT_HERE
        if (value := getattr(arguments, name, None))
    ]
    if problems:
        raise Refusal(problems)
