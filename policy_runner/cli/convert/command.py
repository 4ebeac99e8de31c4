"""`policy-runner convert`: converts a trainer's files into files that are safe to read."""

from __future__ import annotations

from pathlib import Path

from policy_runner.cli.command_parser import CommandParser
from policy_runner.cli.convert.motion_file import convert_motion
from policy_runner.cli.convert.stats import convert_stats
from policy_runner.formats.motions.resample import VELOCITIES


def add_arguments(parser: CommandParser) -> None:
    """Add `stats` and `motion`."""
    parser.add_commands()
    stats = parser.add_command(
        "stats", "turn an SB3 VecNormalize pickle into .npz", run=convert_stats
    )
    stats.add_argument("pickle", type=Path, metavar="PICKLE", help="vecnormalize.pkl")
    stats.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz")
    motion = parser.add_command(
        "motion", "turn a headerless CSV or a model's outputs into a motion's .npz",
        run=convert_motion,
    )  # fmt: skip
    motion.add_argument("source", type=Path, metavar="SOURCE", help="a .csv or .onnx file")
    motion.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz")
    motion.add_argument("--control-dt", type=float, metavar="S", help="s between two rows wanted")
    motion.add_argument("--joints", metavar="A,B,...", help="joint names, in the source's order")
    motion.add_argument(
        "--spec", type=Path, metavar="POLICY.yaml", help="joint names and control_dt from a spec"
    )
    motion.add_argument(
        "--fps", type=float, metavar="HZ",
        help="rows per second of the source; needed for .csv, default 1 / control_dt for .onnx",
    )  # fmt: skip
    motion.add_argument(
        "--quaternion", choices=("xyzw", "wxyz"), default="xyzw", help="order in a .csv"
    )
    motion.add_argument("--base", default="base", metavar="NAME", help="body of a .csv's pose")
    motion.add_argument(
        "--chains", type=Path, metavar="FILE.yaml",
        help="further bodies: {body: [{joint, axis, origin}, ...]}, from the base",
    )  # fmt: skip
    motion.add_argument(
        "--velocities", choices=VELOCITIES, metavar="HOW",
        help="central, forward or backward differences, or kept; default: kept where the source"
        " has them, otherwise central",
    )  # fmt: skip
    motion.add_argument("--rows", type=int, metavar="N", help="rows to take from an .onnx")
