"""`policy-runner bench backends`: measures every way to run a model here, at the control rate.

In a tight loop a GPU keeps its clocks high and looks faster than in the node, where it idles
between two ticks. So each inference waits for its deadline, as in the node. Only the run itself is
measured, from host arrays to host arrays.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_runner.backends.interface import PRECISIONS, BackendChoice, LoadedModel
from policy_runner.backends.load import CANDIDATES, candidate, load_model, load_models
from policy_runner.backends.measurements import Measured, best_of, machine_name, remember
from policy_runner.backends.onnx_file.check import check_model_file
from policy_runner.backends.onnxruntime.libraries import check_importable
from policy_runner.backends.onnxruntime.proof import samples_for
from policy_runner.cli.bench.machine import check_outputs, machine
from policy_runner.cli.command_parser import number_above_0, seconds_above_0, table_width
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.core.spec.parts import has_several
from policy_runner.export.graph.network_export import Progress, no_progress
from policy_runner.package_files import share_path

RAW_RATES = (50.0, 500.0)  # rates for a model without a policy spec
_FEWEST = 100  # least number of inferences: the p99 of fewer samples is their maximum


@dataclass(frozen=True)
class Subject:
    """A model to measure."""

    model: Path
    sha256: str
    spec: Path
    rates: tuple[float, ...]
    several: SpecFile | None = None  # of a policy with several models, which run one by one

    def load(self, choice: BackendChoice) -> LoadedModel:
        """Load the model, or all models of the policy."""
        if self.several is not None:
            return load_models(choice, self.several)
        return load_model(choice, self.model, self.sha256, self.spec)


@dataclass(frozen=True)
class Row:
    """One candidate at one rate; `refused` says why there are no figures."""

    name: str
    rate: float
    us: dict[str, float] = field(default_factory=dict)  # p50, p99, p99.9, max, back to back
    provider: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    refused: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC and the options of `bench backends`."""
    parser.add_argument("spec", nargs="?", type=Path, metavar="SPEC",
                        help="policy.yaml, its folder, or an .onnx file; default: the shipped"
                        " policy")  # fmt: skip
    parser.add_argument("--only", default="all", metavar="NAME,...",
                        help=f"some of {', '.join(CANDIDATES)}; default: all")  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, or gpu:N")
    parser.add_argument("--precision", default="as_exported", choices=PRECISIONS,
                        help="numbers the model computes with")  # fmt: skip
    parser.add_argument("--rates", nargs="+", type=number_above_0, metavar="HZ",
                        help="default: the policy's own")  # fmt: skip
    parser.add_argument("--seconds", type=seconds_above_0, default=10.0, help="per rate")
    parser.add_argument("--priority", type=int, default=80, help="SCHED_FIFO; 0: none")
    parser.add_argument(
        "--remember", action="store_true", help="let `backend: auto` take the fastest from now on"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def subject(given: Path, rates: Sequence[float] | None) -> Subject:
    """Return the model to measure: a policy's model at the policy's rate, or an .onnx file.

    Args:
        given: a policy.yaml, its folder, or an .onnx file.
        rates: rates to measure at [Hz]; None: the policy's rate, or `RAW_RATES`.

    Raises:
        Refusal: there is no such policy or model.
    """
    if given.suffix == ".onnx":
        sha256 = check_model_file(given, None, given)
        return Subject(given, sha256, given, tuple(rates or RAW_RATES))
    spec_file = read_spec(given)
    path = spec_file.next_to(spec_file.spec.model.file, "model.file")
    sha256 = check_model_file(path, spec_file.spec.model.sha256, spec_file.path)
    several = spec_file if has_several(spec_file.spec) else None
    at = tuple(rates or (1 / spec_file.spec.control_dt,))
    return Subject(path, sha256, spec_file.path, at, several)


def names_of(words: str) -> list[str]:
    """Return the candidates named in a comma-separated list; `all` means every candidate.

    Raises:
        Refusal: a name is not a candidate.
    """
    asked = [word.strip() for word in words.split(",")]
    names = list(CANDIDATES) if "all" in asked else list(dict.fromkeys(asked))
    wrong = [name for name in names if name not in CANDIDATES]
    if wrong:
        expected = f"all, or some of {', '.join(CANDIDATES)}"
        raise refuse("", "--only", expected, ", ".join(wrong))
    return names


def measure(
    what: Subject,
    names: Sequence[str],
    choice: BackendChoice,
    seconds: float,
    progress: Progress = no_progress,
) -> list[Row]:
    """Measure each candidate at each rate; the row of an unavailable candidate gives the reason."""
    every = len(names) * len(what.rates)
    # Build the engines here, since otherwise configure would have to wait for them.
    choice = replace(choice, options={**choice.options, "onnxruntime.build": True})
    rows: list[Row] = []
    for name in names:
        progress(f"load {name}", len(rows), every)
        try:
            model = what.load(candidate(choice, name))
        except Refusal as refusal:
            text = "; ".join(str(problem) for problem in refusal.problems)
            rows += [Row(name, rate, refused=text) for rate in what.rates]
            continue
        try:
            for rate in what.rates:
                progress(f"measure {name} at {rate:g} Hz", len(rows), every)
                figures = summary(time_at(model, rate, seconds), time_tightly(model))
                rows.append(Row(name, rate, figures, model.provider, dict(model.facts)))
        finally:
            model.close()
    return rows


def time_at(model: LoadedModel, rate: float, seconds: float) -> npt.NDArray[np.int64]:
    """Return the durations [ns] of inferences; each waits for its deadline at `rate` [Hz]."""
    count = max(_FEWEST, round(rate * seconds))
    taken = np.zeros(count, dtype=np.int64)
    samples = samples_for(model.inputs, 8)
    period_ns = round(1e9 / rate)
    gc.collect()
    gc.disable()
    try:
        deadline = time.monotonic_ns() + period_ns
        for k in range(-10, count):
            for name, array in samples[k % 8].items():
                np.copyto(model.inputs[name], array)
            time.sleep(max(0, deadline - time.monotonic_ns()) / 1e9)
            deadline += period_ns
            begun = time.perf_counter_ns()
            model.run()
            if k >= 0:
                taken[k] = time.perf_counter_ns() - begun
    finally:
        gc.enable()
    return taken


def time_tightly(model: LoadedModel, limit_s: float = 1.0) -> float:
    """Return the median duration [us] in a tight loop of at most `limit_s`.

    Other benchmarks show this figure.
    """
    taken: list[int] = []
    end = time.perf_counter_ns() + round(limit_s * 1e9)
    while len(taken) < 1000 and (begun := time.perf_counter_ns()) < end:
        model.run()
        taken.append(time.perf_counter_ns() - begun)
    return float(np.median(taken)) / 1e3


def summary(taken_ns: npt.NDArray[np.int64], tight_us: float) -> dict[str, float]:
    """Return the percentiles [us] for the table."""
    p50, p99, p999 = np.percentile(taken_ns / 1e3, (50, 99, 99.9)).tolist()
    largest = float(taken_ns.max()) / 1e3
    return {"p50": p50, "p99": p99, "p99.9": p999, "max": largest, "back to back": tight_us}


@contextmanager
def priority(wanted: int) -> Iterator[str]:
    """Give this thread SCHED_FIFO, like the node's control thread, if the system permits it.

    Yields the resulting priority as text, for the output.
    """
    if wanted <= 0:
        yield "none"
        return
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(wanted))
    except PermissionError:
        yield "none (not granted)"
        return
    try:
        yield f"SCHED_FIFO {wanted}"
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def run(options: argparse.Namespace) -> int:
    """Measure, print, write the figures, and remember the fastest backend.

    Raises:
        Refusal: no candidate runs, or a requested file or candidate does not exist.
    """
    check_outputs(options.json)
    check_importable()
    names = names_of(options.only)
    what = subject(options.spec or share_path("models", "balancer"), options.rates)
    if options.remember and what.several is not None:
        expected = "one model, since it is kept by the model's sha256"
        remedy = "measure every .onnx file of the policy by itself"
        raise refuse("", "--remember", expected, "a policy with several models", remedy)
    choice = BackendChoice(device=options.device, precision=options.precision)
    choice.check()
    with shown_progress() as progress, priority(options.priority) as granted:
        rows = measure(what, names, choice, options.seconds, progress)
    facts = {**machine(), "priority": granted}
    _print(what, rows, facts)
    if options.json:
        content = {
            "machine": facts, "model": str(what.model), "sha256": what.sha256,
            "rows": [asdict(row) for row in rows],
        }  # fmt: skip
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    p99 = {row.name: row.us["p99"] for row in rows if row.us and row.rate == what.rates[0]}
    if not p99:
        raise Refusal([f"{row.name}: {row.refused}" for row in rows if row.rate == what.rates[0]])
    if options.remember:
        today = datetime.now(timezone.utc).date().isoformat()
        found = Measured(best_of(p99), p99, what.rates[0], today, machine_name())
        where = remember(choice, what.sha256, found)
        _say(f"backend: auto takes {found.best} for this model from now on ({where})")
    return 0


def _print(what: Subject, rows: Sequence[Row], facts: dict[str, str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=table_width())
    console.print(", ".join(f"{key} {value}" for key, value in facts.items()))
    figures = ("p50", "p99", "p99.9", "max", "back to back")
    name = "all models" if what.several is not None else what.model.name
    title = f"one inference of {escape(name)}, waiting for each deadline"
    heads = ("rate [Hz]", *(f"{figure} [us]" for figure in figures))
    table = Table("backend", *(escape(head) for head in heads), title=title)
    for row in rows:
        if row.us:
            cells = (f"{row.us[key]:.0f}" for key in figures)
            table.add_row(row.name, f"{row.rate:g}", *cells)
    console.print(table)
    for name, text in {row.name: row.refused for row in rows if row.refused}.items():
        console.print(f"not here: {name}: {text}", markup=False, highlight=False)


def _say(text: str) -> None:
    from rich.console import Console

    Console().print(text, markup=False, highlight=False)
