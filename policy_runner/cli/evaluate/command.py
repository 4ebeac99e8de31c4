"""`policy-runner evaluate`: judges a policy on a simulated robot, as fast as the machine allows."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from policy_runner.cli.command_parser import add_params, check_written, only_with, table_width
from policy_runner.cli.drawing.progress import counted_progress
from policy_runner.cli.drawing.style import check_drawable
from policy_runner.cli.evaluate.options import (
    add_episodes,
    add_robot,
    plan_of,
    processes_of,
    subject_of,
)
from policy_runner.core.errors import refuse
from policy_runner.robot.reload_gate import verdict_path
from policy_runner.sim.evaluate.measured import (
    Measured,
    comparisons,
    from_black_box,
    from_diagnostics,
)
from policy_runner.sim.evaluate.requirement import read_requirements
from policy_runner.sim.evaluate.summary import FIGURES
from policy_runner.sim.evaluate.sweep import read_sweep
from policy_runner.sim.with_mujoco import need_mujoco
from policy_runner.telemetry.recording.mcap import Unrecordable, read_recording

INTERRUPTED = 130  # exit status of a command that Ctrl-C ended


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC, --robot, what the episodes draw, and the outputs."""
    parser.epilog = "See docs/guides/evaluate_a_policy.md."
    parser.add_argument("spec", type=Path, metavar="SPEC", help="policy.yaml or its folder")
    add_robot(parser)
    add_params(parser, "the node's parameters: the same limits and stops as on the robot")
    add_episodes(parser)
    parser.add_argument("--sweep", action="append", default=[], metavar="NAME=START:STOP:STEP",
                        help="find the margin of a condition of --with, or of rate [Hz]; all"
                        " episodes for every value")  # fmt: skip
    parser.add_argument("--measured", type=Path, metavar="FILE.mcap",
                        help="compare the margins with a recording of /diagnostics or a black"
                        " box of the robot")  # fmt: skip
    parser.add_argument("--mutate", action="store_true",
                        help="make integration faults on purpose; report which of them the"
                        " closed loop notices, and when")  # fmt: skip
    parser.add_argument("--require", default="", metavar="TEXT",
                        help="such as 'falls == 0, vx_rmse < 0.15'; exit status 1 if a figure"
                        " does not fulfil it")  # fmt: skip
    group = parser.add_argument_group("output")
    group.add_argument("--json", type=Path, metavar="FILE", help="the whole report")
    group.add_argument("--verdict", action="store_true",
                       help="write the report next to policy.yaml, too, where a reload with"
                       " reload.require_verdict looks for it; needs --require")  # fmt: skip
    group.add_argument("--picture", type=Path, metavar="PNG", help="figures, margins, what-ifs")
    group.add_argument("--frames", type=Path, metavar="PNG",
                       help="images of one episode, rendered off screen")  # fmt: skip
    group.add_argument("--record", type=Path, metavar="FILE.mcap",
                       help="inputs and commands of one episode, for `replay` and"
                       " Foxglove")  # fmt: skip
    group.add_argument("--card", action="store_true",
                       help="write verdict and picture into the policy's README.md")  # fmt: skip
    group.add_argument("--shown-episode", type=int, default=0, metavar="K",
                       help="which episode --frames and --record show; default 0")  # fmt: skip
    only_with(parser, "--frames or --record", lambda given: given.frames or given.record,
              "--shown-episode")  # fmt: skip
    only_with(parser, "--sweep", lambda given: given.sweep, "--measured")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print, write the outputs; return 1 if a requirement is not fulfilled."""
    need_mujoco()
    from policy_runner.cli.evaluate.tables import print_report
    from policy_runner.sim.evaluate.evaluation import Evaluator

    requirements = read_requirements(arguments.require, list(FIGURES)) if arguments.require else []
    sweeps = [read_sweep(text) for text in arguments.sweep]
    _check_outputs(arguments)
    measured = None if arguments.measured is None else read_measured(arguments.measured)
    subject, plan = subject_of(arguments), plan_of(arguments)
    evaluator = Evaluator(subject, plan, sweeps, arguments.mutate)
    began = time.monotonic()
    processes = processes_of(arguments)
    try:
        with counted_progress("run the episodes", len(evaluator.jobs)) as progress:
            found = evaluator.run(processes, progress)
    except KeyboardInterrupt:
        print(f"{arguments.called}: interrupted, nothing is written", file=sys.stderr)
        return INTERRUPTED
    took_s = time.monotonic() - began
    found.requirements = [(one, one.fulfilled(found.figures)) for one in requirements]
    if measured is not None:
        found.comparisons = comparisons([one.margin for one in found.sweeps], measured)
    console = Console(highlight=False, width=table_width())
    print_report(console, found)
    console.print(
        f"{found.simulated_s:.0f} s simulated in {took_s:.1f} s, {processes} processes,"
        f" {found.simulated_s / found.cpu_s:.0f} x real time for each",
        soft_wrap=True,
    )
    report = json.dumps(found.as_json(), indent=2, allow_nan=False) + "\n"
    if arguments.json is not None:
        arguments.json.write_text(report, encoding="utf-8")
    if arguments.verdict:
        path = _verdict_of(arguments.spec)
        part = path.with_name(f"{path.name}.part")
        part.write_text(report, encoding="utf-8")
        part.replace(path)  # a reload that looks now reads the old report or the new one
    if arguments.picture is not None:
        from policy_runner.cli.evaluate.picture import draw

        draw(found, arguments.picture, measured)
    if arguments.card:
        from policy_runner.cli.evaluate.card_section import write_section

        write_section(found, arguments.spec, measured)
    if arguments.frames is not None or arguments.record is not None:
        from policy_runner.cli.evaluate.shown_episode import show_episode

        show_episode(subject, plan, arguments.shown_episode, arguments.frames, arguments.record)
    return 0 if found.passed else 1


def _verdict_of(spec: Path) -> Path:
    return verdict_path(spec / "policy.yaml" if spec.is_dir() else spec)


def read_measured(path: Path) -> Measured:
    """Read the figures of a robot.

    Raises:
        Refusal: the file is no recording, or has no figure to compare.
    """
    from policy_runner.ros.black_box.content import is_black_box, read_facts, read_records

    if is_black_box(path):
        found = from_black_box(read_records(path, read_facts(path)))
    else:
        try:
            found = from_diagnostics(read_recording(path))
        except Unrecordable as error:
            raise refuse("", "--measured", "a readable recording", str(error)) from None
    if found.delay_s is None and found.rate_hz is None:
        expected = "the status `loop` of a runner, or ticks"
        raise refuse(str(path), "--measured", expected, "none")
    return found


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse what could not be written, before the episodes run.

    Raises:
        Refusal: a folder is missing, a recording exists, or a package is missing.
    """
    for option in ("json", "picture", "frames", "record"):
        check_written(f"--{option}", getattr(arguments, option))
    if arguments.verdict:
        if not arguments.require:
            raise refuse("", "--verdict", "--require, since a verdict needs one", "none")
        check_written("--verdict", _verdict_of(arguments.spec))
    for option in ("picture", "frames"):
        check_drawable(f"--{option}", getattr(arguments, option))
    if arguments.card:
        check_drawable("--card", arguments.spec)
    if arguments.record is not None and arguments.record.exists():
        raise refuse(str(arguments.record), "--record", "no such file yet", "a file")
    if not 0 <= arguments.shown_episode < max(1, arguments.episodes):
        expected = f"0 to {arguments.episodes - 1}"
        raise refuse("", "--shown-episode", expected, str(arguments.shown_episode))
