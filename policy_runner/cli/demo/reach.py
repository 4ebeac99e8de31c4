"""The demo `--policy reach`: an arm with a camera, and a policy of chunks in a lane of its own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_runner.core.errors import Problem, Refusal
from policy_runner.package_files import share_path
from policy_runner.ros.processes import Arguments, Process, processes

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.listener import Watch

NAME = "reach"
# The arm waits while it infers: an inference starts when the chunk has been played.
_WAITS = {"inference.start": "at_remaining", "inference.remaining": 0.001}
_OF_BALANCER = ("no_pushes", "no_commands")
_SCORES = (
    "balls",
    "reached",
    "reached_share",
    "near_after_s",
    "stops",
    "joint_jerk",
    "command_jerk",
)
_LANE = {
    "inferences": "inferences",
    "latency_p50_ms": "latency p50 [ms]",
    "starved_ticks": "starved ticks",
    "limited_ticks": "limited ticks",
}


def refuse_options(options: argparse.Namespace) -> None:
    """Refuse options that the chosen demo does not have.

    Raises:
        Refusal: one sentence for each of them.
    """
    problems: list[Problem | str] = []
    if options.policy == NAME:
        for name in _OF_BALANCER:
            if getattr(options, name):
                option = f"--{name.replace('_', '-')}"
                problems.append(Problem("", option, "the demo of the balancer", f"--policy {NAME}"))
    elif options.synchronous:
        got = f"--policy {options.policy}" if options.policy else "the balancer"
        problems.append(Problem("", "--synchronous", f"--policy {NAME}", got))
    if problems:
        raise Refusal(problems)


def reach_rows(options: argparse.Namespace, report: Path) -> list[Process]:
    """The processes of the demo; the arm writes its score to `report`."""
    spec = "synchronous.yaml" if options.synchronous else "policy.yaml"
    policy = str(share_path("models", NAME, spec))
    params = options.params_file or str(share_path("config", "reach.yaml"))
    rows = processes(
        Arguments(
            params_file=params,
            policy=policy,
            backend=options.backend,
            simulated_robot=True,
            lockstep=options.lockstep,
            robot={
                "robot": str(share_path("models", NAME, "robot.yaml")),
                "task": NAME,
                "policy": policy,
                "policy_parameters": str(Path(params).expanduser().resolve()),
                "command_kinds": ["position"],
                "commands": "none",
                "seed": options.seed,
                "duration": options.duration or 0.0,
                "command_delay": options.command_delay,
                "viewer": options.viewer,
                "report": str(report),
            },
        )
    )
    if not options.synchronous:
        return rows
    return [
        replace(row, parameters={**row.parameters, **_WAITS})
        if row.node_name == "policy_runner"
        else row
        for row in rows
    ]


def reach_figures(score: Mapping[str, Any], watch: Watch, seconds: float | None) -> dict[str, Any]:
    """What the arm reached and how smoothly, and what its lane did; None for missing figures.

    Args:
        score: the simulated robot's report, see `ReachTask.score`.
        watch: the newest statuses of /diagnostics.
        seconds: time of all ticks of the runner [s]. The newest status may be from after the
            robot's end, so its own rate of inferences is not used.
    """
    status = "policy_runner: inference"
    figures: dict[str, Any] = {name: score.get(name) for name in _SCORES}
    count = watch.number(status, "inferences")
    rate = count / seconds if count is not None and seconds else None
    figures["inference_rate_hz"] = rate
    return {**figures, **{name: watch.number(status, key) for name, key in _LANE.items()}}
