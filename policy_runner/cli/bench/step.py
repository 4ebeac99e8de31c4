"""`policy-runner bench step`: measures each part of the step without ROS, and the model alone."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from policy_runner.backends.load import load_models
from policy_runner.cli.bench.machine import check_outputs, machine, print_machine
from policy_runner.cli.command_parser import table_width
from policy_runner.core.errors import Refusal
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import read_spec
from policy_runner.core.spec.elements import action_elements
from policy_runner.package_files import share_path

Told = Callable[[str, int, int], object]  # text of a step, its done parts, all of them
PARTS = ("observation", "inference", "command", "whole step", "bare run of the model")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC and the options of `bench step`."""
    parser.add_argument("spec", nargs="?", type=Path, metavar="SPEC",
                        help="policy.yaml or its folder; default: the shipped policy")  # fmt: skip
    parser.add_argument("--backend", default="auto", help="what runs the model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def run(options: argparse.Namespace) -> int:
    """Measure, print and write the figures."""
    check_outputs(options.json)
    facts = machine()
    print_machine(facts)
    spec = options.spec or share_path("models", "balancer")
    step = measure(spec, options.backend)
    if options.json:
        content = {"machine": facts, "spec": str(spec), "step_us": step}
        options.json.write_text(json.dumps(content, indent=2, default=float) + "\n")
    return 0


def measure(spec: Path, backend: str) -> dict[str, float]:
    """Time the step, and print the figures.

    Raises:
        Refusal: see `time_step`.
    """
    from rich.console import Console
    from rich.table import Table

    from policy_runner.cli.drawing.progress import shown_progress

    with shown_progress() as progress:
        step = time_step(spec, backend, progress=progress)
    table = Table("part", r"p50 \[us]", title="step without ROS")
    for part, figure in step.items():
        table.add_row(part, f"{figure:.1f}")
    Console(width=table_width()).print(table)
    return step


def time_step(
    spec_path: Path, backend: str = "auto", steps: int = 20_000, progress: Told = lambda *_: None
) -> dict[str, float]:
    """Return the p50 of every part [us], in a tight loop (warm caches).

    `observation` contains ages, checks and terms. `inference` contains history, normalization,
    the model and decoding. `command` contains limits and the decision.

    Args:
        spec_path: a policy.yaml, or its folder.
        backend: value of the parameter `backend`.
        steps: number of measured steps.
        progress: is told every hundredth of them.

    Raises:
        Refusal: the policy cannot be loaded, or does not run on plausible inputs.
    """
    spec_file = read_spec(spec_path)
    spec = spec_file.spec
    model = load_models(backend, spec_file)
    size = len(action_elements(spec, str(spec_file.path)))
    wide = np.full(size, 1e3)
    settings = Settings(
        period_ns=round(spec.control_dt * 1e9),
        decimation=1,
        inputs={name: InputRule(max_age_ns=10**15) for name in spec.inputs},
        limits=CommandLimits(-wide, wide, wide),
    )
    pipeline = build_pipeline(spec_file, model, settings, {}, time.perf_counter_ns)
    _stand_still(pipeline)
    samples = np.zeros((len(PARTS), steps), dtype=np.int64)
    for k in range(-100, steps):
        if k % max(1, steps // 100) == 0:
            progress("run the step", k, steps)
        step = pipeline.step(k + 1000)
        if step.decision is not Decision.RUN:
            raise Refusal([f"{spec_path}: the policy did not run: {pipeline.safety.detail}"])
        begun = time.perf_counter_ns()
        model.run()
        ended = time.perf_counter_ns()
        if k >= 0:
            samples[:, k] = (
                step.observed_ns - step.started_ns,
                step.inferred_ns - step.observed_ns,
                step.decided_ns - step.inferred_ns,
                step.decided_ns - step.started_ns,
                ended - begun,
            )
    return dict(zip(PARTS, (np.median(samples, axis=1) / 1e3).tolist(), strict=True))


def _stand_still(pipeline: Pipeline) -> None:
    """Fill every input with the values of a robot that stands upright and still."""
    for slot in pipeline.slots.values():
        for path, array in slot.arrays.items():
            array.fill(0.0)
            if slot.paths[path][-1].endswith(".w"):
                array[-1] = 1.0  # a quaternion x, y, z, w
        if slot.text is not None:
            slot.text("go")
        if slot.joints is not None:
            names = list(slot.joints.joint_names)
            zeros = [0.0] * len(names)
            values = dict.fromkeys(("position", "velocity", "effort"), zeros)
            slot.joints.merge(names, values, 0)
        slot.received(0, 0)
