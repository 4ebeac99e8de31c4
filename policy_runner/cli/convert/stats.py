"""`policy-runner convert stats`: an SB3 VecNormalize pickle becomes an .npz."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.formats.sb3_statistics import read_pickle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add PICKLE and the output."""
    parser.add_argument("pickle", type=Path, metavar="PICKLE", help="vecnormalize.pkl")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz",
                        help="new file for the statistics")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Write the statistics, and print the keys that go into the policy spec.

    Raises:
        Refusal: the pickle does not contain a VecNormalize, or its numbers are wrong.
    """
    if not arguments.pickle.is_file():
        raise refuse(str(arguments.pickle), "", "a VecNormalize pickle", "no such file")
    if arguments.output.suffix != ".npz":
        raise refuse(str(arguments.output), "", "a file ending in .npz", arguments.output.suffix)
    found = read_pickle(arguments.pickle)
    epsilon, clip = float(found.pop("epsilon")), float(found.pop("clip_obs"))
    _check(arguments.pickle, found)
    with arguments.output.open("wb") as file:
        np.savez(file, **found)  # type: ignore[arg-type,unused-ignore]
    for name, values in found.items():
        print(f"{name}: {values.size} numbers, {values.min():g} to {values.max():g}")
    keys = f"preset: sb3, statistics: {arguments.output.name}"
    if epsilon != 1e-8:
        keys += f", eps: {epsilon!r}"
    if clip != 10.0:
        keys += f", clip: [{-clip}, {clip}]"
    for group in sorted({name.rpartition(".")[0] for name in found}):
        print(f"normalization: {{{keys}{f', group: {group}' if group else ''}}}")
    return 0


def _check(path: Path, found: dict[str, np.ndarray]) -> None:
    problems = []
    for name, values in found.items():
        if values.ndim != 1:
            got = f"shape {values.shape}"
            problems.append(Problem(str(path), name, "one number per observation", got))
        elif not np.isfinite(values).all():
            problems.append(Problem(str(path), name, "finite numbers", "NaN or infinity"))
        elif name.endswith("var") and (values < 0).any():
            problems.append(Problem(str(path), name, "0 or more", f"{values.min():g}"))
    if problems:
        raise Refusal(problems)
