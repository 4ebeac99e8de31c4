"""`policy-runner bench` without a name: `bench step`, then `bench node`."""

from __future__ import annotations

import argparse
import json
import sys

from policy_runner.cli.bench import node, step
from policy_runner.cli.bench.machine import check_outputs, machine, print_machine
from policy_runner.cli.old_names import now_called
from policy_runner.package_files import share_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench node`, and --backend for the step."""
    node.add_arguments(parser)
    parser.add_argument("--backend", default="auto", help="what runs the model in the step")
    parser.add_argument("--no-graph", action="store_true", help=argparse.SUPPRESS)  # former name


def run(options: argparse.Namespace) -> int:
    """Measure, print and write the figures."""
    if options.no_graph:
        print(now_called("bench --no-graph", "bench step"), file=sys.stderr)
    check_outputs(options.json, options.picture)
    facts = machine()
    print_machine(facts)
    spec = options.spec or share_path("models", "balancer")
    step_us = step.measure(spec, options.backend)
    rows = [] if options.no_graph else node.measure(spec, options)
    if options.json:
        content = {"machine": facts, "spec": str(spec), "step_us": step_us,
                   "graph": node.plain(rows)}  # fmt: skip
        options.json.write_text(json.dumps(content, indent=2, default=float) + "\n")
    return 0
