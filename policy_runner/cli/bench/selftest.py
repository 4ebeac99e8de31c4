"""`policy-runner bench selftest`: does a backend work on this machine, and how fast is it?

It builds an engine if the backend needs one, and runs with and without a CUDA graph. It compares
every action with ONNX Runtime on the CPU. It measures at the policy's rate, because a GPU that
idles between two inferences is slower than a GPU in a tight loop.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from policy_runner.backends.comparison import Comparison
from policy_runner.backends.interface import BackendChoice, LoadedModel
from policy_runner.backends.load import load_models
from policy_runner.backends.onnxruntime.libraries import check_importable
from policy_runner.backends.precision_check import compare_with_cpu, cpu_models
from policy_runner.cli.backend_options import add_choice_options, choice_from
from policy_runner.cli.bench.machine import machine
from policy_runner.cli.command_parser import check_written, seconds_above_0, table_width
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.engine import build_in_child
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.package_files import share_path

WARM = 50
PERCENTILES = (50, 95, 99)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC, --backend, --device and the options of the backend."""
    parser.add_argument("spec", nargs="?", type=Path, metavar="SPEC",
                        help="policy.yaml or its folder; default: the shipped policy")  # fmt: skip
    parser.add_argument("--backend", choices=("tensorrt", "onnxruntime"), required=True,
                        help="what runs the model")  # fmt: skip
    parser.add_argument("--device", default="auto", help="cpu, gpu, gpu:1; default: auto")
    add_choice_options(parser)
    parser.add_argument(
        "--seconds", type=seconds_above_0, default=4.0, help="of measuring, per row"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def run(arguments: argparse.Namespace) -> int:
    """Run the self-test; return 0 if every variant gave the CPU's actions, else 1."""
    check_written("--json", arguments.json)
    spec_file = read_spec(arguments.spec or share_path("models", "balancer"))
    choice = replace(
        choice_from(arguments, spec_file), backend=arguments.backend, device=arguments.device
    )
    choice.check()
    check_importable()
    console = Console(highlight=False, soft_wrap=True, width=table_width())
    said = Console(stderr=True, highlight=False, soft_wrap=True, log_path=False)
    with tempfile.TemporaryDirectory(prefix="policy_runner_selftest_") as folder:
        rows = list(_rows(choice, spec_file, Path(folder) / "engines", said, arguments.seconds))
    facts = machine()
    console.print(", ".join(f"{key} {value}" for key, value in facts.items()), markup=False)
    _print(rows, spec_file, console)
    if arguments.json is not None:
        content = {"machine": facts, "spec": str(spec_file.path), "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["ok"] for row in rows) else 1


def variants(choice: BackendChoice) -> list[tuple[str, BackendChoice]]:
    """Return (name, choice) of every variant: on a GPU without and with a CUDA graph."""
    if choice.backend == "onnxruntime" and choice.gpu is None:
        return [("onnxruntime", choice)]
    key = f"{choice.backend}.cuda_graph"
    return [
        (f"{choice.backend}, {name}", replace(choice, options={**choice.options, key: graph}))
        for name, graph in (("no CUDA graph", False), ("CUDA graph", True))
    ]


def _rows(
    choice: BackendChoice, spec_file: SpecFile, folder: Path, said: Console, seconds: float
) -> Iterator[dict[str, Any]]:
    with shown_progress() as progress:
        progress("measure the CPU")
        cpu = cpu_models(spec_file)
        latency = _latency(cpu, spec_file.spec.control_dt, seconds)
        cpu.close()
    name = "CPU, the reference"
    yield {"name": name, "ok": True, "facts": {}, "problems": [], "latency_us": latency}
    if choice.backend == "tensorrt":
        # Build a new engine instead of a cached one: the self-test also tests the build.
        choice = replace(choice, options={**choice.options, "engines.folder": str(folder)})
        row: dict[str, Any] = {"name": "build", "ok": False, "facts": {}, "problems": []}
        try:
            facts = dict(build_in_child(choice, spec_file.path, said)["facts"])
            row.update(ok=True, facts=facts, seconds=facts.get("seconds", math.nan))
        except Refusal as refusal:
            row["problems"] = [str(problem) for problem in refusal.problems]
        yield row
        if not row["ok"]:
            return
    for name, variant in variants(choice):
        with shown_progress() as progress:  # none during the build, which shows its own
            progress(f"measure {name}")
            row = _row(name, variant, spec_file, seconds)
        yield row


def _row(name: str, choice: BackendChoice, spec_file: SpecFile, seconds: float) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "ok": False, "facts": {}, "problems": []}
    try:
        model = load_models(choice, spec_file)
    except Refusal as refusal:
        row["problems"] = [str(problem) for problem in refusal.problems]
        return row
    try:
        found = compare_with_cpu(model, choice, spec_file, kept=True)
        row.update(
            ok=found.accepted,
            facts={"provider": model.provider, **model.facts},
            comparison=found.facts(),
            latency_us=_latency(model, spec_file.spec.control_dt, seconds),
        )
    except Refusal as refusal:
        row["problems"] = [str(problem) for problem in refusal.problems]
    finally:
        model.close()
    return row


def _latency(model: LoadedModel, period: float, seconds: float) -> dict[str, dict[str, float]]:
    """Return percentiles of one inference [us], at the policy's rate and in a tight loop."""
    random = np.random.default_rng(1)
    given = {name: random.standard_normal(a.shape).astype(a.dtype) if a.dtype.kind == "f"
             else np.zeros_like(a) for name, a in model.inputs.items()}  # fmt: skip

    def once() -> int:
        for name, array in given.items():
            np.copyto(model.inputs[name], array)
        begun = time.perf_counter_ns()
        model.run()
        return time.perf_counter_ns() - begun

    for _ in range(WARM):
        once()
    times: dict[str, list[int]] = {"at rate": [], "back to back": []}
    deadline = time.monotonic()
    for _ in range(max(1, round(seconds / 2.0 / period))):
        deadline += period
        time.sleep(max(0.0, deadline - time.monotonic()))
        times["at rate"].append(once())
    until = time.monotonic() + seconds / 2.0
    while time.monotonic() < until or not times["back to back"]:
        times["back to back"].append(once())
    return {
        kind: {
            "samples": len(taken),
            **{f"p{p}": float(np.percentile(taken, p)) / 1e3 for p in PERCENTILES},
        }
        for kind, taken in times.items()
    }


def _print(rows: list[dict[str, Any]], spec_file: SpecFile, console: Console) -> None:
    rate = f"at {1.0 / spec_file.spec.control_dt:g} Hz"
    shown = " / ".join(f"p{p}" for p in PERCENTILES)
    table = Table(
        "", "result", "off by", *(f"{kind}, {shown} \\[us]" for kind in (rate, "back to back"))
    )
    for row in rows:
        latency = row.get("latency_us", {})
        compared = row.get("comparison")
        off = f"{compared['largest']:.2g}" if compared else ""
        figures = [
            " / ".join(f"{latency[kind][f'p{p}']:.1f}" for p in PERCENTILES) if latency else ""
            for kind in ("at rate", "back to back")
        ]
        result = "[green]ok[/]" if row["ok"] else "[red]failed[/]"
        name = f"{row['name']} ({row['seconds']:.1f} s)" if "seconds" in row else row["name"]
        table.add_row(name, result, off, *figures)
    console.print("one inference; off by: most that an action differs, in the action's own unit")
    console.print(table)
    for row in rows:
        facts = {key: value for key, value in row["facts"].items() if isinstance(value, str)}
        if facts:
            text = ", ".join(f"{key}: {value}" for key, value in facts.items())
            console.print(f"{row['name']}: {text}", markup=False)
        if "comparison" in row:
            console.print(f"{row['name']}: {Comparison(**row['comparison'])}", markup=False)
        for problem in row["problems"]:
            console.print(f"{row['name']}: {problem}", markup=False)
