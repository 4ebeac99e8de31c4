"""`policy-runner bench operators`: where the time of an inference goes, operator by operator."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from policy_runner.backends.onnx_file.check import checked_model
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.backends.onnxruntime.operator_times import (
    RUNS,
    WARM_UP,
    OperatorTime,
    operator_times,
)
from policy_runner.backends.sample_inputs import generated
from policy_runner.cli.bench.machine import check_outputs, machine, print_machine
from policy_runner.cli.command_parser import count_above_0, table_width
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.core.model import Buffer
from policy_runner.core.spec import read_spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL_OR_SPEC, --runs, --picture and --json."""
    parser.add_argument("path", type=Path, metavar="MODEL_OR_SPEC",
                        help="an .onnx model, or a policy.yaml or its folder")  # fmt: skip
    parser.add_argument("--runs", type=count_above_0, default=RUNS, help=f"default {RUNS}")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw them as bars")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def run(options: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for."""
    check_outputs(options.json, options.picture)
    facts = machine()
    print_machine(facts)
    with shown_progress() as progress:
        progress("open the model")
        path, feed = model_and_inputs(options.path)
        every = WARM_UP + options.runs
        text = "run with the profiler"
        found = operator_times(
            path, feed, options.runs, lambda done: progress(text, done, every)
        )  # fmt: skip
    report(found, path)
    if options.json:
        content = {"machine": facts, "model": path.name, "operators": [asdict(o) for o in found]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    if options.picture:
        draw(found, path.name, options.picture)
    return 0


def model_and_inputs(path: Path) -> tuple[Path, dict[str, Buffer]]:
    """The model's file, and plausible inputs: those that the spec describes, else N(0, 1).

    Raises:
        Refusal: a spec or a model that cannot be read.
    """
    spec_file = None if path.suffix == ".onnx" else read_spec(path)
    if spec_file is not None:
        path = checked_model(spec_file)
    model = OnnxRuntimeModel(path)
    feed = {name: array.copy() for name, array in model.inputs.items()}
    if spec_file is not None:
        return path, {**feed, **generated(model.inputs, spec_file, path, 1)[0]}
    draw_from = np.random.default_rng(1)
    for name, array in feed.items():
        if array.dtype.kind == "f":
            feed[name] = draw_from.standard_normal(array.shape).astype(array.dtype)
    return path, feed


def report(found: list[OperatorTime], path: Path) -> None:
    """Print the operators as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("operator", "nodes", r"\[us]", "share", title=f"{path.name}, one thread")
    for one in found:
        table.add_row(one.operator, f"{one.nodes}", f"{one.us:.1f}", f"{one.share:.0%}")
    Console(width=table_width()).print(table)


def draw(found: list[OperatorTime], title: str, path: Path) -> None:
    """Write the bars as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 1.0 + 0.3 * len(found)), layout="constrained")
    axes = figure.subplots()
    names = [f"{one.operator} ({one.nodes})" for one in reversed(found)]
    axes.barh(names, [one.us for one in reversed(found)])
    axes.set_xlabel("us of one inference")
    axes.set_title(title)
    figure.savefig(path, dpi=120)
