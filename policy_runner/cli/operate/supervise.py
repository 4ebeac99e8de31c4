"""`policy-runner run`: start a runner, its guard and its sidecar, as the launch file does."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml

from policy_runner.backends.onnxruntime.libraries import check_importable
from policy_runner.cli.command_parser import check_ros
from policy_runner.cli.operate.children import Children
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec
from policy_runner.package_files import share_path
from policy_runner.robot.parameter_files import file_problems, section_problems
from policy_runner.ros.operate.report import full_name
from policy_runner.ros.process.lifetime import (
    ENDED_WELL,
    START_REFUSED,
    EndRequest,
    end_on_signal,
    ignore_further_signals,
)
from policy_runner.ros.processes import Arguments, Process, processes, renamed

_OWN_NAME = "policy_runner"
_LOOK_S = 0.1
# After a crash of the runner the guard continues for so long: it waits for the silence (3 s at
# 1 Hz, less at higher rates) and repeats its stops for 1 s.
_GUARD_ACTS_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC and the options."""
    parser.add_argument("spec", type=Path, metavar="SPEC", help="policy.yaml or its folder")
    parser.add_argument("--params", type=Path, metavar="FILE",
                        help="parameters of all nodes; default: the shipped file")  # fmt: skip
    parser.add_argument("--name", default=_OWN_NAME, help="of the node; default policy_runner")
    parser.add_argument("--namespace", default="", help="of all nodes; default none")
    parser.add_argument("--dry-run", action="store_true",
                        help="do not command the robot; commands go to ~/dry_run")  # fmt: skip
    parser.add_argument("--backend", default="", help="auto, onnxruntime, tensorrt, remote")
    parser.add_argument("--use-sim-time", action="store_true", help="take the time from /clock")
    parser.add_argument("--no-guard", action="store_true", help="without policy_runner_guard")
    parser.add_argument("--no-sidecar", action="store_true", help="without jetson_diagnostics")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warn", "error"],
                        help="of all nodes; default info")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until the runner ends; returns the runner's exit code.

    A runner that a signal has killed gives 128 plus the number of the signal.
    """
    ended = end_on_signal(at_once=True)
    try:
        node = full_name(options.name, options.namespace)
        check_ros()
        check_importable()
        spec = read_spec(options.spec).path.resolve()
        with tempfile.TemporaryDirectory(prefix="policy_runner_run_") as folder:
            rows = _rows(options, node, spec, Path(folder))
            return _supervise(options, node, rows, Path(folder), ended)
    finally:
        ignore_further_signals()


def _rows(options: argparse.Namespace, node: str, spec: Path, folder: Path) -> list[Process]:
    """The processes, with parameter files that are valid for them."""
    name = node.rpartition("/")[2]
    params = options.params if options.params is not None else _shipped(name, folder)
    rows = processes(
        Arguments(
            params_file=str(params),
            policy=str(spec),
            backend=options.backend,
            dry_run=options.dry_run,
            use_sim_time=options.use_sim_time,
            guard=not options.no_guard,
            sidecar=not options.no_sidecar,
        )
    )
    words = ["--ros-args", "--params-file", str(params)]
    # The runner checks this, too; here the refusal comes before any process starts.
    problems = [*file_problems(words), *section_problems(words, node)]
    if problems:
        raise Refusal(problems)
    # There is nothing that could configure a refused node later, so the process ends.
    runner = replace(rows[0], parameters={**rows[0].parameters, "end_if_refused": True})
    return renamed([runner, *rows[1:]], name)


def _shipped(name: str, folder: Path) -> Path:
    """The shipped parameter file, with its section for a node of this name."""
    path = share_path("config", "policy_runner.yaml")
    if name == _OWN_NAME:
        return path
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content = {key.replace(f"/{_OWN_NAME}", f"/{name}"): value for key, value in content.items()}
    copy = folder / path.name
    copy.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return copy


def _supervise(
    options: argparse.Namespace, node: str, rows: list[Process], folder: Path, ended: EndRequest
) -> int:
    names = [row.node_name for row in rows]
    runner = names[0]
    extra = ["--log-level", options.log_level]
    namespace = node.rpartition("/")[0]
    extra += ["-r", f"__ns:={namespace}"] if namespace else []
    ended.at_once = False
    if ended.is_set():
        return ENDED_WELL
    children = Children(rows, folder, extra, to_terminal=True)
    try:
        words = f"--name {node}" if node != f"/{_OWN_NAME}" else ""
        hint = f"policy-runner ctl status {words}".strip()
        print(f"{options.called}: started {', '.join(names)}; `{hint}`", flush=True)
        reported: set[str] = set()
        while children.running(runner) and not ended.wait(_LOOK_S):
            _report(options, children, reported)
        crashed = children.status.get(runner, 0) not in (ENDED_WELL, START_REFUSED)
        if crashed and not options.no_guard:
            ended.wait(_GUARD_ACTS_S)
        # The runner first: the guard watches it until it has sent its last command.
        children.end(runner)
    finally:
        children.end()
    code = children.status.get(runner, 1)
    if code != ENDED_WELL:
        print(f"{options.called}: {runner} ended with {_ending(code)}", file=sys.stderr)
    return 128 - code if code < 0 else code


def _report(options: argparse.Namespace, children: Children, reported: set[str]) -> None:
    """Print each other process that has ended, once; the runner continues without it."""
    for name, code in children.status.items():
        if name not in reported:
            reported.add(name)
            text = f"{name} ended with {_ending(code)}; the runner continues without it"
            print(f"{options.called}: {text}", file=sys.stderr, flush=True)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"
