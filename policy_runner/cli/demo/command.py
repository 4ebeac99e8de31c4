"""`policy-runner demo`: runs the simulated robot, the runner and the sidecar, with a live view."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_runner.backends.onnxruntime.libraries import check_importable
from policy_runner.cli.command_parser import (
    check_written,
    number_from_0,
    seconds_above_0,
    table_width,
)
from policy_runner.cli.demo import policy_server
from policy_runner.cli.demo.reach import NAME as REACH
from policy_runner.cli.demo.reach import reach_figures, reach_rows, refuse_options
from policy_runner.cli.operate.children import Children
from policy_runner.core.errors import refuse
from policy_runner.ros.process.lifetime import (
    EndRequest,
    end_on_signal,
    ignore_further_signals,
)
from policy_runner.ros.processes import Arguments, Process, processes

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.listener import Watch

_BALANCE = ("falls", "first_fall_s", "upright_share", "velocity_rmse")
_ROUNDED_S = 0.06  # a time in a status has at least one decimal
_LAST_STATUS_S = 2.5  # the runner publishes its statuses once a second
_ROBOT, _RUNNER, _SIDECAR = "simulated_robot", "policy_runner", "jetson_diagnostics"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options."""
    parser.add_argument(
        "--duration", type=seconds_above_0, metavar="S", help="simulated seconds to run"
    )
    parser.add_argument("--headless", action="store_true", help="no live view, only the summary")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here")
    parser.add_argument(
        "--lockstep", action="store_true", help="on simulated time, each tick waits for the other"
    )
    parser.add_argument("--seed", type=int, default=0, help="of commands, pushes and balls")
    parser.add_argument("--viewer", action="store_true", help="show the robot in a window")
    parser.add_argument("--no-pushes", action="store_true", help="leave the robot alone")
    parser.add_argument("--no-commands", action="store_true", help="send cmd_vel yourself")
    parser.add_argument(
        "--command-delay", type=number_from_0, default=0.0, metavar="S", help="delay of the motors"
    )
    parser.add_argument(
        "--policy", default="", help="reach (an arm with a camera); or a policy.yaml or folder"
    )
    parser.add_argument(
        "--synchronous", action="store_true", help="with reach: wait during every inference"
    )
    parser.add_argument("--params-file", default="", help="another parameter file")
    parser.add_argument("--backend", default="", help="what runs the model")
    parser.add_argument(
        "--remote", action="store_true", help="run the model in a server process, over the network"
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo; return 0 if all processes ended well and the runner commanded, else 1."""
    try:
        return _prepare_and_run(options, end_on_signal(at_once=True))
    finally:
        ignore_further_signals()


def _prepare_and_run(options: argparse.Namespace, ended: EndRequest) -> int:
    refuse_options(options)
    for module, remedy in (
        ("rclpy", "source a ROS 2 environment, or use `make demo`"),
        ("mujoco", "pip install 'policy_runner[sim]'"),
    ):
        if find_spec(module) is None:
            raise refuse("", "demo", f"the Python module {module}", "none", remedy)
    check_importable()
    if options.remote:
        policy_server.check_possible(options.backend)
    check_written("--json", options.json)
    # The demo commands joints by name, so its messages must never reach a real robot on the net.
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    import policy_runner.ros.diagnostics.listener  # noqa: F401 - imports rclpy, which is slow

    ended.at_once = False
    with tempfile.TemporaryDirectory(prefix="policy_runner_demo_") as folder:
        return _run(options, Path(folder), ended)


def _run(options: argparse.Namespace, folder: Path, ended: EndRequest) -> int:
    from policy_runner.ros.diagnostics.listener import Watch

    if ended.is_set():
        return 0
    report = folder / "report.json"
    reach = options.policy == REACH
    rows = reach_rows(options, report) if reach else _balancer_rows(options, report)
    watch = Watch()
    children = Children((), folder)
    hint = ""
    try:
        if options.remote:
            server = policy_server.start_server(children, policy_server.policy_of(rows), ended)
            if server is None:
                return int(children.tell_failures() or not ended.is_set())
            rows, hint = policy_server.with_server(rows, server), server.hint
            print(hint, flush=True)
        for row in rows:
            children.start(row)
        watch_until_the_end(options, watch, children, ended, hint)
        watch.freeze(keep_known=not options.lockstep)
        if options.lockstep:
            wait_for_last_status(watch, children, ended)
        # End the runner first: the robot must still receive its last command.
        if not options.duration or children.running(_ROBOT):
            children.end(_RUNNER, _SIDECAR)
        children.end()
        time.sleep(0.2)  # wait for the runner's last figures
    finally:
        children.end()
        watch.close()
    score = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    figures = summary(score, watch, options.lockstep, reach)
    if options.remote:
        figures["round_trip_ms"] = policy_server.server_figures(watch)
        policy_server.forgive_the_user(children)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    _print(figures)
    failed = children.tell_failures()
    silent = not figures["commands"] and not ended.is_set()
    if silent:
        children.tell_end(_RUNNER, "the runner commanded nothing")
    return 1 if failed or silent else 0


def _balancer_rows(options: argparse.Namespace, report: Path) -> list[Process]:
    return processes(
        Arguments(
            params_file=options.params_file,
            policy=options.policy,
            backend=options.backend,
            simulated_robot=True,
            lockstep=options.lockstep,
            robot={
                "seed": options.seed,
                "duration": options.duration or 0.0,
                "pushes": not options.no_pushes,
                "commands": "none" if options.no_commands else "random",
                "command_delay": options.command_delay,
                "viewer": options.viewer,
                "report": str(report),
            },
        )
    )


def watch_until_the_end(
    options: argparse.Namespace,
    watch: Watch,
    children: Children,
    ended: EndRequest,
    hint: str = "",
) -> None:
    """Watch until Ctrl-C, until the robot or the runner has ended, or the runner has refused.

    After the robot's end the runner's inputs become stale; this is not part of the run. The robot
    reports the whole duration first, and its process ends up to 1 s later.
    """

    def going_on() -> bool:
        simulated_s = watch.number("simulated_robot: balance", "simulated [s]") or 0.0
        if options.duration and simulated_s >= options.duration - _ROUNDED_S:
            watch.freeze(keep_known=not options.lockstep)
        # A runner that refused its policy keeps running, so that the user can correct it. In the
        # demo the robot would wait for it without end.
        refused = watch.level.get("policy_runner: model") == "ERROR"
        running = children.running(_ROBOT) and children.running(_RUNNER)
        return running and not refused and not ended.is_set()

    if options.headless:
        while going_on():
            ended.wait(0.05)
        return
    from rich.console import Console
    from rich.live import Live

    from policy_runner.cli.demo.view import view

    with Live(view(watch, hint), console=Console(), refresh_per_second=4, screen=False) as live:
        while going_on():
            ended.wait(0.05)
            live.update(view(watch, hint))


def wait_for_last_status(watch: Watch, children: Children, ended: EndRequest) -> None:
    """After a run in lockstep, wait for the next status of the loop, which has all its ticks.

    A short run in lockstep takes less than the second between two statuses. The loop then stands
    still, so a later status has the same figures.
    """
    end = time.monotonic()
    while children.running(_RUNNER) and not ended.is_set():
        if watch.last_ticks is not None and watch.last_ticks[0] > end:
            return
        if time.monotonic() - end > _LAST_STATUS_S:
            return
        ended.wait(0.05)


def summary(
    score: Mapping[str, Any], watch: Watch, lockstep: bool, reach: bool = False
) -> dict[str, Any]:
    """Return the figures of a run; None for missing figures, such as periods in lockstep.

    Args:
        score: the simulated robot's report.
        watch: the newest statuses of /diagnostics.
        lockstep: the run was in lockstep.
        reach: the robot is the arm of `--policy reach`.
    """
    loop, inputs = "policy_runner: loop", "policy_runner: inputs"

    def figures(status: str, key: str, *names: str) -> dict[str, float | None]:
        return {name: watch.number(status, f"{key} {name} [us]") for name in names}

    period = figures(loop, "period error", "p50", "p99", "p99.9", "max")
    rate = None
    if watch.first_ticks and watch.last_ticks and watch.last_ticks[0] > watch.first_ticks[0]:
        (t0, n0), (t1, n1) = watch.first_ticks, watch.last_ticks
        rate = (n1 - n0) / (t1 - t0)
    if lockstep and score.get("simulated_s"):
        # In lockstep the rate is per simulated second, and a period cannot have an error.
        rate = score["commands"] / score["simulated_s"]
        period = dict.fromkeys(period)
    robot = {name: score.get(name) for name in _BALANCE}
    if reach:
        ticks = watch.number(loop, "ticks")
        real_s = ticks / rate if ticks is not None and rate else None
        robot = reach_figures(score, watch, score.get("simulated_s") if lockstep else real_s)
    return {
        "simulated_s": score.get("simulated_s", 0.0),
        "commands": score.get("commands", 0),
        **robot,
        "rate_hz": rate,
        "period_error_us": period,
        "missed_deadlines": watch.number(loop, "missed deadlines"),
        "step_us": figures(loop, "step", "p50", "p99"),
        "inference_us": figures("policy_runner: inference", "inference", "p50", "p99"),
        "input_age_p99_ms": watch.number(inputs, "input age p99 [ms]"),
        "diagnostics_levels": dict(sorted(watch.levels_seen.items())),
    }


def _print(figures: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    def text(value: object) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{key} {text(below)}" for key, below in value.items())
        if isinstance(value, float):
            return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
        return "-" if value is None else str(value)

    table = Table.grid(padding=(0, 2))
    for key, value in figures.items():
        if key != "diagnostics_levels":
            table.add_row(key, text(value))
    for name, seen in figures["diagnostics_levels"].items():
        table.add_row(name, ", ".join(seen))
    Console(width=table_width()).print(table)
