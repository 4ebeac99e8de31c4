"""`policy-runner sim`: the runner next to a simulated robot from a file, or a draft of the file."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from policy_runner.backends.onnxruntime.libraries import check_importable
from policy_runner.cli.command_parser import (
    check_ros,
    check_written,
    not_with,
    number_from_0,
    only_with,
    seconds_above_0,
    table_width,
)
from policy_runner.cli.evaluate.options import SHIPPED, robot_path
from policy_runner.cli.operate.children import Children
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.spec import Input
from policy_runner.package_files import share_path
from policy_runner.robot.load import LoadedPolicy, load_policy
from policy_runner.ros.process.lifetime import (
    EndRequest,
    end_on_signal,
    ignore_further_signals,
)
from policy_runner.ros.processes import Arguments, Process, processes
from policy_runner.sim.with_mujoco import need_mujoco

_ROBOT, _RUNNER = "simulated_robot", "policy_runner"
_TWIST, _TWIST_STAMPED = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
_STILL = (0.0, 0.0, 0.0)
_UNSTAMPED = ("std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float32MultiArray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC, the robot and the options."""
    parser.add_argument("spec", nargs="?", metavar="SPEC", help="policy.yaml or its folder")
    parser.add_argument(
        "--robot", metavar="FILE", help=f"robot.yaml, MJCF or URDF, or the word {SHIPPED}"
    )
    parser.add_argument(
        "--params", metavar="FILE", help="parameters of the runner; default: those for simulation"
    )
    parser.add_argument("--draft", metavar="MODEL", help="write a robot.yaml for an MJCF or URDF")
    parser.add_argument(
        "--out", metavar="FILE", help="where --draft writes; default: robot.yaml next to the model"
    )
    parser.add_argument(
        "--lockstep", action="store_true", help="on simulated time, each tick waits for the other"
    )
    parser.add_argument(
        "--duration", type=seconds_above_0, metavar="S", help="simulated seconds to run"
    )
    parser.add_argument(
        "--command",
        type=_twist,
        metavar="VX,VY,WZ",
        help="velocity on the policy's twist input [m/s, rad/s]; default 0,0,0",
    )
    parser.add_argument(
        "--no-command", action="store_true", help="send the velocity command yourself"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the start and the noise")
    parser.add_argument("--noise", action="store_true", help="add the noise of robot.yaml")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="shuffle the joints' order")
    parser.add_argument(
        "--command-delay", type=number_from_0, default=0.0, metavar="S", help="delay of the motors"
    )
    parser.add_argument("--no-meshes", action="store_true", help="load the model without meshes")
    parser.add_argument("--viewer", action="store_true", help="show the robot in a window")
    parser.add_argument("--backend", default="", help="what runs the model")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here")
    only_with(parser, "--draft", lambda given: given.draft, "--out")
    not_with(parser, "--draft", lambda given: given.draft, "SPEC", "--robot", "--params",
             "--lockstep", "--duration", "--command", "--no-command", "--seed", "--noise",
             "--shuffle", "--command-delay", "--viewer", "--backend", "--json")  # fmt: skip
    not_with(parser, "--no-command", lambda given: given.no_command, "--command")


def _twist(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"expected three numbers VX,VY,WZ, got {text}")
    return numbers


def run(options: argparse.Namespace) -> int:
    """Run the simulation, or write a draft; returns 0 if all processes ended well."""
    need_mujoco("sim")
    if options.draft:
        return _draft(options)
    if not options.spec or not options.robot:
        expected = "SPEC and --robot FILE, or --draft MODEL"
        raise refuse("", "sim", expected, options.spec or options.robot or "none of them")
    check_written("--json", options.json)
    ended = end_on_signal(at_once=True)
    try:
        check_ros()
        check_importable()
        return _prepare_and_run(options, ended)
    finally:
        ignore_further_signals()


def _draft(options: argparse.Namespace) -> int:
    from policy_runner.sim.robot_draft import draft_robot

    model = Path(options.draft)
    out = Path(options.out) if options.out else model.with_name("robot.yaml")
    if out.exists():
        raise refuse(str(out), "--out", "a file that does not exist yet", "one that exists")
    text, warnings = draft_robot(model, meshes=not options.no_meshes)
    if out.absolute().parent != model.absolute().parent:
        expected = f"a file in the folder of the model ({model.absolute().parent})"
        raise refuse(str(out), "--out", expected, str(out.absolute().parent))
    out.write_text(text, encoding="utf-8")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{out}: read every line, then run: policy-runner sim SPEC --robot {out}")
    return 0


def _prepare_and_run(options: argparse.Namespace, ended: EndRequest) -> int:
    params = Path(options.params) if options.params else share_path("config", "simulation.yaml")
    with tempfile.TemporaryDirectory(prefix="policy_runner_sim_") as folder:
        report = Path(folder) / "report.json"
        rows = _rows(options, params, report)
        ended.at_once = False
        if ended.is_set():
            return 0
        children = Children(rows, Path(folder))
        try:
            while children.running(_ROBOT) and children.running(_RUNNER) and not ended.is_set():
                ended.wait(0.05)
            if not options.duration or children.running(_ROBOT):
                # End the runner first: the robot must still receive its last command.
                children.end(_RUNNER)
        finally:
            children.end()
        score = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
        if options.json is not None:
            options.json.write_text(json.dumps(score, indent=2) + "\n", encoding="utf-8")
        _print(score)
        failed = children.tell_failures()
        silent = not score.get("commands") and not ended.is_set()
        if silent and not failed:
            children.tell_end(_RUNNER, "the runner commanded nothing")
        return 1 if failed or silent else 0


def _rows(options: argparse.Namespace, params: Path, report: Path) -> list[Process]:
    """The processes, after a check that policy, parameters and robot fit each other.

    Raises:
        Refusal: they do not fit.
    """
    from policy_runner.sim.loop.policy_in_loop import PolicyInLoop, plant_for
    from policy_runner.sim.robot_file.robot_reader import read_robot

    loaded = load_policy(options.spec, params)
    try:
        twists = _twist_inputs(options, loaded)
        robot = read_robot(robot_path(options.robot), meshes=not options.no_meshes)
        command = _command_parameters(loaded, options.lockstep)
        PolicyInLoop(loaded, plant_for(robot, loaded), images=_no_image)
        return _with_overrides(options, params, report, loaded, twists, command)
    finally:
        loaded.close()


def _with_overrides(
    options: argparse.Namespace,
    params: Path,
    report: Path,
    loaded: LoadedPolicy,
    twists: dict[str, Input],
    command: dict[str, Any],
) -> list[Process]:
    # Only a message with a stamp can be part of a step in lockstep.
    changed = {
        f"inputs.{name}.type": _TWIST_STAMPED
        for name, given in twists.items()
        if options.lockstep and given.type == _TWIST
    }
    kinds = {changed.get(f"inputs.{name}.type", given.type) for name, given in twists.items()}
    first = next(iter(twists.values()), None)
    rows = processes(
        Arguments(
            params_file=str(params),
            policy=str(loaded.spec_file.path.resolve()),
            backend=options.backend,
            simulated_robot=True,
            lockstep=options.lockstep,
            sidecar=False,
            robot={
                "robot": str(robot_path(options.robot).expanduser().resolve()),
                "policy": str(loaded.spec_file.path.resolve()),
                "policy_parameters": str(params.resolve()),
                "meshes": not options.no_meshes,
                "shuffle_joints": -1 if options.shuffle is None else options.shuffle,
                "period": loaded.pipeline.settings.period_ns / 1e9,
                "seed": options.seed,
                "noise": options.noise,
                "duration": options.duration or 0.0,
                "commands": "none" if options.no_command or first is None else "random",
                "twist": list(options.command or _STILL),
                "twist_type": "twist" if kinds == {_TWIST} else "twist_stamped",
                "twist_topic": first.topic if first is not None else "cmd_vel",
                "command_delay": options.command_delay,
                "viewer": options.viewer,
                "report": str(report),
                **command,
            },
        )
    )
    over = {
        **changed,
        # A simulation has no operator. All other rules are those of the robot.
        "require_arming": False,
        "safety.require_guard": False,
        "end_if_refused": True,
    }
    return [
        replace(row, parameters={**row.parameters, **over}) if row.node_name == _RUNNER else row
        for row in rows
    ]


def _twist_inputs(options: argparse.Namespace, loaded: LoadedPolicy) -> dict[str, Input]:
    """The policy's inputs of a commanded velocity, by name.

    Raises:
        Refusal: --command, and the policy has no such input or several on different topics.
    """
    found = {
        name: given for name, given in loaded.spec.inputs.items()
        if given.type in (_TWIST, _TWIST_STAMPED)
    }  # fmt: skip
    if options.command is not None and len({given.topic for given in found.values()}) != 1:
        remedy = "publish them yourself, with --no-command" if found else "leave it out"
        got = ", ".join(found) or "none"
        expected = "a policy with one twist input"
        raise refuse(str(loaded.spec_file.path), "--command", expected, got, remedy)
    return found


def _command_parameters(loaded: LoadedPolicy, lockstep: bool) -> dict[str, Any]:
    """How the robot receives the commands of this policy.

    Raises:
        Refusal: it has no way to.
    """
    command = loaded.config.command
    kinds = list(dict.fromkeys(element.kind for element in loaded.pipeline.elements))
    if command.effort_from_pd:
        kinds = ["effort"]
    problems: list[Problem | str] = []
    if command.type == "message":
        expected = "joint_state, joint_trajectory, float64_multi_array or float64 in simulation"
        problems.append(Problem("", "parameter command.type", expected, "message"))
    if lockstep:
        for name, given in loaded.spec.inputs.items():
            if given.type in _UNSTAMPED:
                expected = "an input with a header in lockstep, since a step goes by stamp"
                problems.append(Problem("", f"inputs.{name}.type", expected, given.type))
        if "twist" in kinds and command.twist_type == "twist":
            expected = "twist_stamped in lockstep, since the answer needs a stamp"
            problems.append(Problem("", "parameter command.twist_type", expected, "twist"))
    if problems:
        raise Refusal(problems)
    return {
        "command_type": command.type,
        "command_twist_type": command.twist_type,
        "command_kinds": kinds,
    }


def _no_image(_sensor: object) -> None:
    """The check needs no image."""


def _print(score: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    def text(value: object) -> str:
        if isinstance(value, list):
            return ", ".join(text(one) for one in value)
        if isinstance(value, float):
            return f"{value:.4g}"
        return "-" if value is None else str(value)

    table = Table.grid(padding=(0, 2))
    for key, value in score.items():
        if value != "":
            table.add_row(key, text(value))
    Console(width=table_width()).print(table)
