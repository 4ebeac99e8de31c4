"""`policy-runner replay`: runs the node's pipeline offline, on a recording or on arrays."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy_runner.cli.command_parser import (
    add_params,
    check_written,
    node_of,
    number_from_0,
    only_with,
)
from policy_runner.cli.drawing.progress import counted_progress
from policy_runner.cli.drawing.style import check_drawable
from policy_runner.cli.replay.arrays import frames_of, read_arrays, tensors_of
from policy_runner.cli.replay.compare import Comparison, compare, pairs
from policy_runner.cli.replay.plot import plot
from policy_runner.cli.replay.recorded_pipeline import is_black_box, replay_black_box
from policy_runner.cli.replay.recordings import is_recording, open_recording
from policy_runner.cli.replay.run import Arrays, replay_frames, replay_messages, replay_tensors
from policy_runner.cli.replay.signals import MOST_TIME_S, is_signals, signal_events
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.spec import Input, read_spec
from policy_runner.robot.load import LoadedPolicy, load_policy

WORST = 5
# What numpy and the readers of signals raise for text, wrong axes and missing fields.
UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError),
    ArithmeticError,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC, INPUT, --reference, -o, --plot and the other options."""
    parser.add_argument("spec", type=Path, metavar="SPEC", help="policy.yaml or its folder")
    parser.add_argument("input", type=Path, metavar="INPUT",
                        help="rosbag2 recording, or .npz of signals, observations or tensors"
                        " (layouts: docs/guides/replay.md)")  # fmt: skip
    add_params(parser, also="a recording", given_too=_has_topics)
    parser.add_argument("--topic", action="append", default=[], metavar="INPUT=TOPIC",
                        help="topic of an input of the spec in the recording")  # fmt: skip
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="skip the first S s")
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="default: all")
    parser.add_argument("--reference", type=Path, metavar="FILE",
                        help=".npz to compare with; exit status 1 beyond tolerance")  # fmt: skip
    parser.add_argument("--atol", type=number_from_0, default=1e-4, help="default 1e-4")
    parser.add_argument("--rtol", type=number_from_0, default=1e-5,
                        help="relative tolerance; default 1e-5")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.npz", help="what came out")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="observation, action and error")
    only_with(parser, "--reference", lambda given: given.reference, "--atol", "--rtol")


def _has_topics(arguments: argparse.Namespace) -> bool:
    """Whether INPUT has topics, of which `~/prompt` is the node's; a black box has its own name."""
    return is_recording(arguments.input) and not is_black_box(arguments.input)


def run(arguments: argparse.Namespace) -> int:
    """Replay, print a summary, compare; return 1 if the result differs from the reference."""
    check_drawable("--plot", arguments.plot)
    for option in ("start", "duration"):
        value = getattr(arguments, option)
        if not 0.0 <= value < MOST_TIME_S:
            raise refuse("", f"--{option}", "a time of 0 s or more", f"{value:g}")
    for option in ("output", "plot"):
        check_written(f"--{option}", getattr(arguments, option))
    reference = read_arrays(arguments.reference) if arguments.reference else None
    empty = [key for key, array in (reference or {}).items() if array.ndim and not len(array)]
    if empty:
        raise refuse(str(arguments.reference), empty[0], "at least one row", "none")
    console = Console(highlight=False, soft_wrap=True)
    if is_black_box(arguments.input):
        return replay_black_box(arguments, console)
    loaded, result = _replay(arguments)
    if not len(result.get("t", ())):
        raise refuse(str(arguments.input), "", "at least one tick", "none", "see --duration")
    _summary(console, loaded, result)
    if arguments.output:
        with arguments.output.open("wb") as file:
            np.savez_compressed(file, **result)  # type: ignore[arg-type,unused-ignore]
        console.print(f"written: {escape(str(arguments.output))}")
    comparisons: list[Comparison] = []
    wanted = {}
    if reference is not None:
        with _readable(str(arguments.reference)):
            comparisons = compare(result, reference, arguments.atol, arguments.rtol)
            wanted = pairs(result, reference)
        _table(console, comparisons, arguments)
    if arguments.plot:
        plot(result, wanted, comparisons, arguments.atol, arguments.plot)
        console.print(f"written: {escape(str(arguments.plot))}")
    return 1 if any(one.failed for one in comparisons) else 0


def _replay(arguments: argparse.Namespace) -> tuple[LoadedPolicy, Arrays]:
    inputs = read_spec(arguments.spec).spec.inputs
    if is_recording(arguments.input):
        topics = dict(topic_option(one) for one in arguments.topic)
        node = node_of(arguments)
        with open_recording(arguments.input, inputs, topics, node) as recording:
            loaded = load_policy(arguments.spec, arguments.params, recording.types, node=node)
            with counted_progress("messages", recording.count) as done:
                return loaded, replay_messages(
                    loaded, recording.events, arguments.start, arguments.duration, done
                )
    arrays = read_arrays(arguments.input)
    loaded = load_policy(arguments.spec, arguments.params, node=node_of(arguments))
    with _readable(str(arguments.input)):
        return loaded, _replay_arrays(arguments, arrays, loaded, inputs)


@contextmanager
def _readable(file: str) -> Iterator[None]:
    """Refuse arrays that cannot be read as the numbers of their keys, in place of a traceback."""
    try:
        yield
    except UNREADABLE as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())}"
        expected = "arrays of numbers in a layout of docs/guides/replay.md"
        raise refuse(file, "", expected, got) from error


def _replay_arrays(
    arguments: argparse.Namespace,
    arrays: dict[str, np.ndarray],
    loaded: LoadedPolicy,
    inputs: Mapping[str, Input],
) -> Arrays:
    file = str(arguments.input)
    _not_used(arguments, "a recording", "topic")
    frames = frames_of(arrays, loaded, file)
    tensors = {} if frames else tensors_of(arrays, loaded, file)
    if frames or tensors:
        _not_used(arguments, "messages with times", "start", "duration")
    if frames:
        with counted_progress("observations", len(next(iter(frames.values())))) as done:
            return replay_frames(loaded, frames, done)
    if tensors:
        with counted_progress("tensors", len(next(iter(tensors.values())))) as done:
            return replay_tensors(loaded, tensors, done)
    if not is_signals(list(arrays), inputs):
        expected = f"signals of {', '.join(inputs)}, observations or tensors"
        expected += " (docs/guides/replay.md)"
        raise refuse(file, "", expected, ", ".join(arrays) or "nothing")
    events = signal_events(arrays, loaded.spec_file.spec.inputs, file)
    with counted_progress("messages", len(events)) as done:
        return replay_messages(loaded, iter(events), arguments.start, arguments.duration, done)


def _not_used(arguments: argparse.Namespace, needed: str, *names: str) -> None:
    """Refuse options that this INPUT has no use for.

    Raises:
        Refusal: one of them is given.
    """
    problems: list[Problem | str] = [
        Problem(str(arguments.input), f"--{name}", f"{needed} with it", "arrays")
        for name in names
        if getattr(arguments, name)
    ]
    if problems:
        raise Refusal(problems)


def topic_option(text: str) -> tuple[str, str]:
    """Split a --topic option into INPUT and TOPIC."""
    name, separator, topic = text.partition("=")
    if not separator or not topic:
        raise refuse("", "--topic", "INPUT=TOPIC", text)
    return name, topic


def _summary(console: Console, loaded: LoadedPolicy, result: Arrays) -> None:
    decisions, counts = np.unique(result["decision"], return_counts=True)
    said = ", ".join(f"{name} {count}" for name, count in zip(decisions, counts, strict=True))
    ticks, inferences = len(result["t"]), int(result["inferred"].sum())
    period = loaded.pipeline.settings.period_ns / 1e6
    console.print(f"{ticks} ticks of {period:g} ms, {inferences} inferences: {said}")
    for name, slot in loaded.pipeline.slots.items():
        if slot.faults:
            console.print(f"[yellow]{escape(name)}: {slot.faults} unusable messages[/], the last: "
                          f"{escape(slot.fault or 'used again since')}")  # fmt: skip
    if result["decision"][-1] != "RUN":
        safety = loaded.pipeline.safety
        console.print(f"last decision: {safety.decision.name} ({safety.reason.value}"
                      f"{': ' + escape(safety.detail) if safety.detail else ''})")  # fmt: skip


def _table(console: Console, found: list[Comparison], arguments: argparse.Namespace) -> None:
    table = Table(title=f"against the reference, tolerance {arguments.atol:g} + "
                  f"{arguments.rtol:g} |reference|", title_justify="left")  # fmt: skip
    for column in ("", "element", "largest error", "p99 error", "beyond"):
        side: Any = "left" if column in ("", "element") else "right"
        table.add_column(column, justify=side, overflow="fold")
    for one in found:
        beyond = (one.excess > 0).sum(axis=0)
        mark = "[red]FAIL[/]" if one.failed else "[green]ok[/]"
        table.add_row(f"{mark} {escape(one.key)}", f"all {len(one.names)}",
                      f"{one.largest.max():.3g}", f"{one.p99.max():.3g}",
                      f"{int(beyond.sum())} of {one.error.size}")  # fmt: skip
        for k in one.worst(WORST):
            table.add_row("", escape(one.names[k]), f"{one.largest[k]:.3g}", f"{one.p99[k]:.3g}",
                          str(int(beyond[k])))  # fmt: skip
        table.add_section()
    console.print(table)
