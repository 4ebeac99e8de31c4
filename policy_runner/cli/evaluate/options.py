"""Options that say which robot is simulated, and with what; also for other commands."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from policy_runner.cli.command_parser import node_of
from policy_runner.core.errors import refuse
from policy_runner.core.spec import read_spec
from policy_runner.sim.evaluate.plan import (
    CONDITIONS,
    Plan,
    default_commands,
    read_commands,
    read_conditions,
)
from policy_runner.sim.with_mujoco import need_mujoco

if TYPE_CHECKING:  # importing a simulation needs MuJoCo, and --help does not
    from policy_runner.sim.evaluate.subject import Subject

SHIPPED = "balancer"  # the word for the robot of this package
_EPISODES, _SECONDS = 20, 20.0


def add_robot(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --robot, --no-meshes and --noise."""
    parser.add_argument("--robot", required=required, metavar="FILE",
                        help="robot.yaml, its folder, an MJCF or a URDF; or the word"
                        f" {SHIPPED}: the robot of this package")  # fmt: skip
    parser.add_argument("--no-meshes", action="store_true",
                        help="without the meshes of the model")  # fmt: skip
    parser.add_argument("--noise", action="store_true",
                        help="the sensors have the noise of robot.yaml")  # fmt: skip


def add_episodes(parser: argparse.ArgumentParser) -> None:
    """Add what the episodes draw."""
    names = ", ".join(f"{name} [{one.unit or '1'}]" for name, one in CONDITIONS.items())
    parser.add_argument("--episodes", type=int, default=_EPISODES, help="default 20")
    parser.add_argument("--seconds", type=float, default=_SECONDS,
                        help="simulated, for each episode; default 20")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--command", action="append", default=[], metavar="AXIS=LOW:HIGH",
                        help="range of a commanded velocity, vx, vy or wz [m/s, rad/s]; default:"
                        " 0.6 of the trained range, else +-0.5")  # fmt: skip
    parser.add_argument("--with", action="append", default=[], dest="conditions",
                        metavar="NAME=LOW:HIGH",
                        help=f"a condition that every episode draws: {names}")  # fmt: skip
    parser.add_argument("--fall-tilt", type=float, default=Plan.fall_tilt, metavar="RAD",
                        help="a base that tilts by more has fallen; default 0.8")  # fmt: skip
    parser.add_argument("--fall-height", type=float, default=Plan.fall_height, metavar="SHARE",
                        help="a base below this share of its start height has fallen; 0: never;"
                        " default 0.5")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=0, metavar="N",
                        help="processes; default: one for each core")  # fmt: skip


def robot_path(text: str) -> Path:
    """The path of --robot; the word `balancer` is the robot of this package."""
    need_mujoco()
    if text == SHIPPED and not Path(text).exists():
        from policy_runner.sim.balancer import ROBOT_FILE

        return ROBOT_FILE
    return Path(text)


def subject_of(arguments: argparse.Namespace) -> Subject:
    """The policy and the robot of the command line."""
    robot = robot_path(arguments.robot)
    from policy_runner.sim.evaluate.subject import Subject

    return Subject(
        arguments.spec, robot, arguments.params, node_of(arguments), not arguments.no_meshes,
        arguments.noise,
    )  # fmt: skip


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan of the command line.

    Raises:
        Refusal: an unknown name, a number out of its range, or a command that no input takes.
    """
    for option, value, least in (
        ("--episodes", arguments.episodes, 1),
        ("--seed", arguments.seed, 0),
        ("--jobs", arguments.jobs, 0),
    ):
        if value < least:
            raise refuse("", option, f"{least} or more", str(value))
    for option, number in (("--seconds", arguments.seconds), ("--fall-tilt", arguments.fall_tilt)):
        if not 0.0 < number < float("inf"):
            raise refuse("", option, "a positive number", f"{number:g}")
    if not 0.0 <= arguments.fall_height < 1.0:
        raise refuse("", "--fall-height", "0 to 1", f"{arguments.fall_height:g}")
    from policy_runner.sim.loop.input_feed import TWISTS

    commands, spec = read_commands(arguments.command), read_spec(arguments.spec).spec
    if commands and not any(given.type in TWISTS for given in spec.inputs.values()):
        expected = "a policy with a twist input"
        raise refuse(str(arguments.spec), "--command", expected, "none", "leave it out")
    commands = commands or default_commands(spec)
    return Plan(
        arguments.episodes, arguments.seconds, arguments.seed, commands,
        read_conditions(arguments.conditions), arguments.fall_tilt, arguments.fall_height,
    )  # fmt: skip


def processes_of(arguments: argparse.Namespace) -> int:
    """The number of processes."""
    if arguments.jobs:
        return int(arguments.jobs)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
