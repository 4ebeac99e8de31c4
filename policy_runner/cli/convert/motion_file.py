"""`policy-runner convert motion`: a trainer's motion becomes the .npz of a policy's motion."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.backends.load import load_model
from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.command_parser import count_above_0, not_with, only_with
from policy_runner.core.errors import refuse
from policy_runner.core.spec import read_spec
from policy_runner.formats.motions.chains import read_chains, with_bodies
from policy_runner.formats.motions.motion_sources import from_model, read_headerless_csv
from policy_runner.formats.motions.raw_motion import Array, RawMotion
from policy_runner.formats.motions.resample import VELOCITIES, resampled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SOURCE, the output and the options."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a .csv or .onnx file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz",
                        help="new file for the motion")  # fmt: skip
    parser.add_argument("--control-dt", type=float, metavar="S", help="s between two rows wanted")
    parser.add_argument("--joints", metavar="A,B,...", help="joint names, in the source's order")
    parser.add_argument(
        "--spec", type=Path, metavar="POLICY.yaml", help="joint names and control_dt from a spec"
    )
    parser.add_argument(
        "--fps", type=float, metavar="HZ",
        help="rows per second of the source; needed for .csv, default 1 / control_dt for .onnx",
    )  # fmt: skip
    parser.add_argument(
        "--quaternion",
        choices=("xyzw", "wxyz"),
        default="xyzw",
        help="order in a .csv, and of an output ref_quat",
    )
    parser.add_argument("--base", default="base", metavar="NAME", help="body of a .csv's pose")
    parser.add_argument(
        "--chains", type=Path, metavar="FILE.yaml",
        help="further bodies: {body: [{joint, axis, origin}, ...]}, from the base",
    )  # fmt: skip
    parser.add_argument(
        "--velocities", choices=VELOCITIES, metavar="HOW",
        help="central, forward or backward differences, or kept; default: kept where the source"
        " has them, otherwise central",
    )  # fmt: skip
    parser.add_argument(
        "--rows", type=count_above_0, metavar="N", help="rows to take from an .onnx"
    )
    not_with(parser, "--joints and --control-dt",
             lambda given: given.joints and given.control_dt is not None, "--spec")  # fmt: skip
    only_with(parser, "an .onnx", lambda given: given.source.suffix != ".csv", "--rows")
    only_with(parser, "a .csv or --chains",
              lambda given: given.source.suffix != ".onnx" or given.chains, "--base")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Write the motion, and print the keys that go into the policy spec.

    Raises:
        Refusal: the source is no motion, or an argument is missing or does not fit.
    """
    if arguments.output.suffix != ".npz":
        raise refuse(str(arguments.output), "", "a file ending in .npz", arguments.output.suffix)
    joints = [one.strip() for one in arguments.joints.split(",")] if arguments.joints else None
    dt = arguments.control_dt
    if arguments.spec is not None:
        spec = read_spec(arguments.spec).spec
        joints = list(spec.joint_names) if joints is None else joints
        dt = spec.control_dt if dt is None else dt
    if dt is None or not dt > 0.0:
        got = "nothing" if dt is None else f"{dt:g}"
        raise refuse("", "--control-dt", "a time above 0 s, or a spec (--spec)", got)
    if arguments.fps is not None and not arguments.fps > 0.0:
        raise refuse("", "--fps", "a rate above 0 Hz", f"{arguments.fps:g}")
    motion = _read(arguments, joints, dt)
    how = arguments.velocities
    if how is None:
        how = "kept" if motion.joint_vel is not None else "central"
    if how == "kept" and motion.joint_vel is None:
        expected = "central, forward or backward, since the source has no velocities"
        raise refuse(str(arguments.source), "--velocities", expected, "kept")
    source_rows, source_dt = motion.rows, motion.dt
    motion = resampled(motion, dt, how, str(arguments.source))
    if arguments.chains is not None:
        chains = read_chains(arguments.chains)
        base = arguments.base if arguments.base in motion.body_quat else ""
        if not base:
            known = ", ".join(motion.body_quat) or "none"
            raise refuse("", "--base", f"a body of the motion ({known})", arguments.base)
        motion = with_bodies(motion, base, chains, str(arguments.chains))
    motion.save(arguments.output)
    print(f"{source_rows} rows at {1 / source_dt:g} Hz -> {motion.rows} rows at {1 / dt:g} Hz")
    print(f"joints: {', '.join(motion.joint_names)}; velocities: {how}")
    print(f"bodies: {', '.join(motion.body_quat) or 'none'}")
    print(f"motions: {{{arguments.output.stem}: {{file: {arguments.output.name}, end: hold}}}}")
    return 0


def _read(arguments: argparse.Namespace, joints: list[str] | None, dt: float) -> RawMotion:
    source: Path = arguments.source
    if not source.is_file():
        raise refuse(str(source), "", "a .csv or .onnx file", "no such file")
    if source.suffix == ".csv":
        if joints is None:
            raise refuse("", "--joints", "the joints of the .csv, or a spec (--spec)", "nothing")
        if arguments.fps is None:
            raise refuse("", "--fps", "the rows per second of the .csv, such as 30", "nothing")
        return read_headerless_csv(
            source, joints, 1.0 / arguments.fps, arguments.quaternion, arguments.base
        )
    if source.suffix != ".onnx":
        raise refuse(str(source), "", "a .csv or .onnx file", f"'{source.suffix}'")
    metadata = read_model_facts(source).metadata
    model = load_model("onnxruntime", source, None, source)
    try:
        rate = 1.0 / arguments.fps if arguments.fps is not None else dt
        return from_model(_Outputs(model, source), metadata, joints, arguments.rows, rate,
                          arguments.quaternion, str(source))  # fmt: skip
    finally:
        model.close()


class _Outputs:
    """Runs a model at a time_step; all other inputs stay 0."""

    def __init__(self, model: Any, source: Path) -> None:
        self._model = model
        if "time_step" not in model.inputs:
            got = ", ".join(model.inputs)
            raise refuse(str(source), "", "an input time_step", f"inputs {got}")
        for array in model.inputs.values():
            array[...] = 0

    def __call__(self, step: int) -> Mapping[str, Array]:
        self._model.inputs["time_step"][...] = step
        self._model.run()
        return {
            name: np.array(array, dtype=np.float64).reshape(-1)
            for name, array in self._model.outputs.items()
        }
