"""The balancer's closed loop, driven by a policy folder and by its source: falls and errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from policy_runner.backends.sample_inputs import Sample
from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.export.graph.network_export import Progress, no_progress
from policy_runner.export.sources.trained_policy import Truth
from policy_runner.export.verify.our_side import OurSide
from policy_runner.export.verify.rows import FAILED, PASSED, Row

SECONDS = 20.0
INPUT, OUTPUT = "obs", "actions"
SIZES = (12, 2)
MOST_SAMPLES = 2048
# More than this of the source's error is no rounding.
MOST_MORE = 0.1
Act = Callable[[Array], Array]


def check_balancer(ours: OurSide) -> None:
    """Refuse a policy that is not the balancer's.

    Raises:
        Refusal: other observations or actions than the loop has.
    """
    outputs = {name: part.stop - part.start for name, part in ours.outputs.items()}
    if ours.sizes == {INPUT: SIZES[0]} and outputs == {OUTPUT: SIZES[1]}:
        return
    where = str(ours.loaded.spec_file.path)
    ours.close()
    got = ", ".join(f"{name} of {size}" for name, size in {**ours.sizes, **outputs}.items())
    expected = f"the balancer's {INPUT} of {SIZES[0]} numbers and {OUTPUT} of {SIZES[1]}"
    raise refuse(where, "the closed loop balancer", expected, got, "name your robot by --robot")


class Driven(NamedTuple):
    """Falls of all seeds, and the mean errors [m/s], [rad/s]."""

    falls: int
    forward: float
    yaw: float


def drive(
    act: Act,
    start: Callable[[], None],
    seeds: Sequence[int],
    seconds: float,
    progress: Progress = no_progress,
    who: str = "the folder",
) -> Driven:
    """Run the demo's scenario in lockstep, 100 times a simulated second.

    Args:
        act: observation float64 [12] before normalization -> action float64 [2] in [-1, 1].
        start: is called before each seed.
        progress: is told the ticks.
        who: drives, for `progress`.
    """
    from policy_runner.sim.balancer import Balancer
    from policy_runner.sim.handwritten_loop import MAX_WHEEL_SPEED, observe
    from policy_runner.sim.scenario import RATE_HZ, Scenario

    falls, forward, yaw = 0, [], []
    ticks = round(seconds * RATE_HZ)
    for n, seed in enumerate(seeds):
        start()
        scenario = Scenario(Balancer(), seed)
        action: Array = np.zeros(2)
        for k in range(ticks):
            progress(f"drive the closed loop with {who}", n * ticks + k, len(seeds) * ticks)
            observation = observe(scenario.balancer.read(), scenario.command, action)
            action = np.nan_to_num(np.clip(act(observation), -1.0, 1.0))
            scenario.tick(action * MAX_WHEEL_SPEED)
        score = scenario.score()
        falls += score.falls
        forward.append(score.velocity_rmse_forward or 0.0)
        yaw.append(score.velocity_rmse_yaw or 0.0)
    return Driven(falls, float(np.mean(forward)), float(np.mean(yaw)))


def compare_in_loop(
    ours: OurSide,
    truth: Truth,
    seeds: int,
    seconds: float = SECONDS,
    progress: Progress = no_progress,
) -> list[Row]:
    """Both in the same scenarios; failed where the folder falls more often, or errs more."""
    check_balancer(ours)
    numbers = range(seeds)
    mine = drive(lambda x: ours.act({INPUT: x})[OUTPUT], ours.start, numbers, seconds, progress)
    theirs = drive(
        lambda x: np.asarray(truth.act({INPUT: x})[OUTPUT]), truth.start, numbers, seconds,
        progress, "the source",
    )  # fmt: skip
    text = (
        f"{seeds} x {seconds:g} s: {mine.falls} falls, RMSE {mine.forward:.4f} m/s and "
        f"{mine.yaw:.4f} rad/s; the source {theirs.falls} falls, {theirs.forward:.4f} and "
        f"{theirs.yaw:.4f}"
    )
    return [Row("closed loop", PASSED if no_worse(mine, theirs) else FAILED, text=text)]


def drive_folder(
    folder: Path, seeds: Sequence[int], seconds: float, progress: Progress = no_progress
) -> Driven:
    """Drive with a policy folder."""
    ours = OurSide(folder)
    try:
        check_balancer(ours)
        return drive(
            lambda x: ours.act({INPUT: x})[OUTPUT], ours.start, seeds, seconds, progress,
            folder.name,
        )  # fmt: skip
    finally:
        ours.close()


def observations_of(
    folder: Path, seeds: Sequence[int], seconds: float, progress: Progress = no_progress
) -> list[Sample]:
    """What the network was given in the closed loop, normalized, shuffled: [1, 12] float32 each."""
    ours = OurSide(folder)
    check_balancer(ours)
    found: list[Sample] = []
    tensor = ours.loaded.model.inputs[INPUT]

    def act(observation: Array) -> Array:
        action = ours.act({INPUT: observation})[OUTPUT]
        found.append({INPUT: tensor.copy()})
        return action

    try:
        drive(act, ours.start, seeds, seconds, progress)
    finally:
        ours.close()
    random.Random(1).shuffle(found)
    return found[:MOST_SAMPLES]


def reason(variant: Driven, original: Driven) -> tuple[str, bool]:
    """What a variant's loop gave, and whether it is worse than the original's."""
    text = f"{variant.falls} falls for {original.falls}, RMSE {variant.forward:.4f} m/s"
    return text, not no_worse(variant, original)


def no_worse(mine: Driven, theirs: Driven) -> bool:
    """Whether a policy drives as well as another: no more falls, errors within a tenth."""
    return mine.falls <= theirs.falls and all(
        a <= b * (1.0 + MOST_MORE) + 1e-3 for a, b in zip(mine[1:], theirs[1:])
    )
