"""`policy-runner bench compare`: a trained network in torch against its policy folder.

Both run one thread, in blocks of shuffled order. ONNX Runtime runs twice: if it differs from itself
by more than 5 %, the machine is too restless for a verdict.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.backends.onnx_file.check import checked_model
from policy_runner.cli.bench.machine import check_outputs, machine, print_machine
from policy_runner.cli.command_parser import count_above_0, table_width
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.export.source_options import add_source_options, source_options
from policy_runner.core.model import Array
from policy_runner.core.spec import read_spec
from policy_runner.export.graph.network_export import session_of
from policy_runner.export.graph.torch_calls import torch_call
from policy_runner.export.optimize.latency import (
    BLOCK,
    CONTROL,
    ROUNDS,
    TRUSTED,
    ratios,
    shuffled_times,
)
from policy_runner.export.sources.open_source import open_source

RUNTIME, TORCH = "ONNX Runtime", "torch"
BATCHES = (1, 4, 16, 64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add DIR, --against, --rounds and --json, and the options of a source."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the policy's folder")
    parser.add_argument("--against", required=True, metavar="SOURCE", help="what was exported")
    parser.add_argument("--rounds", type=count_above_0, default=ROUNDS,
                        help=f"of {BLOCK} runs each; default {ROUNDS}")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    add_source_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print; 0 also without a verdict.

    Raises:
        Refusal: a folder or a source that cannot be read.
    """
    check_outputs(options.json)
    facts = machine()
    print_machine(facts)
    spec_file = read_spec(options.folder)
    path = checked_model(spec_file)
    throughput = {}
    times: Mapping[str, Array] = {}
    with shown_progress() as progress:
        progress("open the source")
        policy = open_source(options.against, source_options(options))
        progress("open the model")
        session, second = (session_of(str(path), str(path)) for _ in range(2))
        names = [one.name for one in session.get_inputs()]
        is_open = all(not isinstance(one.shape[0], int) for one in session.get_inputs())
        for rows in BATCHES if is_open else BATCHES[:1]:
            in_torch, given = torch_call(policy, rows, batch_first=is_open)
            feed = dict(zip(names, given, strict=True))
            calls: dict[str, Callable[[], object]] = {
                RUNTIME: partial(session.run, None, feed),
                CONTROL: partial(second.run, None, feed),
                TORCH: in_torch,
            }
            found = shuffled_times(calls, options.rounds if rows == 1 else 5, progress=progress)
            times = times or found
            medians = {name: float(np.median(found[name])) for name in (RUNTIME, TORCH)}
            throughput[rows] = {name: rows / median for name, median in medians.items()}
    content = {"machine": facts, **figures(times), "inferences_per_s": throughput}
    report(content)
    if options.json:
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def figures(times: Mapping[str, Array]) -> dict[str, Any]:
    """Percentiles in microseconds, the ratio and the control; no ratio if A/A is off."""
    found = ratios(times, RUNTIME)
    trusted = abs(found[CONTROL] - 1.0) <= TRUSTED
    percentiles = {
        name: dict(zip(("p50", "p95", "p99"), np.percentile(one * 1e6, (50, 95, 99)).tolist()))
        for name, one in times.items()
    }
    return {
        "us": percentiles,
        CONTROL: found[CONTROL],
        "torch / ONNX Runtime": found[TORCH] if trusted else None,
    }


def report(content: Mapping[str, Any]) -> None:
    """Print the figures, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=table_width())
    table = Table("", r"p50 \[us]", "p95", "p99", title="one inference, batch 1")
    for name, one in content["us"].items():
        table.add_row(name, *(f"{value:.1f}" for value in one.values()))
    console.print(table)
    table = Table("batch", f"{RUNTIME} [1/s]", f"{TORCH} [1/s]", title="throughput")
    for rows, one in content["inferences_per_s"].items():
        table.add_row(f"{rows}", f"{one[RUNTIME]:.0f}", f"{one[TORCH]:.0f}")
    console.print(table)
    ratio = content["torch / ONNX Runtime"]
    control = f"{CONTROL} {content[CONTROL]:.2f}"
    if ratio is None:
        console.print(f"{control}: no verdict, beyond {TRUSTED:.0%}", soft_wrap=True)
    else:
        console.print(f"torch takes {ratio:.1f} times as long as {RUNTIME}; {control}",
                      soft_wrap=True)  # fmt: skip
