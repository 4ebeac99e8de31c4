"""Numbers of the trainer's own call against the runner's: random, recorded, and in sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.model import Array
from policy_runner.export.graph.network_export import BATCHES, Progress, difference, session_of
from policy_runner.export.sources.trained_policy import TensorShape, Truth
from policy_runner.export.verify.our_side import OurSide
from policy_runner.export.verify.rows import NOT_RUN, Row, within

# Standard deviations of the inputs, and the tolerance of |difference| / (1 + |y|). In float32
# 1.2e-6 is reached at 1 and 3, and 1e-5 at 10 and 30 (a GRU, torch 2.13).
WIDTHS = ((1.0, 1e-5), (3.0, 1e-5), (10.0, 1e-4), (30.0, 1e-4))
RECORDED_TOLERANCE = 1e-5
STEPS = 60  # of a sequence: what a recurrent state forgets adds up
SAMPLES, SEQUENCES = 64, 2
LARGE_SAMPLES, LARGE_SEQUENCES = 8, 1  # of a network whose inference takes a tenth of a second
_SEED = 23
Samples = list[dict[str, Array]]


def samples(tensors: Sequence[TensorShape], width: float, count: int) -> Samples:
    """Seeded observations N(mean, width spread), each float64 [size], as float32 holds them."""
    random = np.random.default_rng(_SEED + int(width))
    found: Samples = []
    for _ in range(count):
        one = {}
        for tensor in tensors:
            values = random.normal(0.0, width, tensor.size)
            if tensor.mean is not None and tensor.spread is not None:
                values = tensor.mean + values * tensor.spread
            if tensor.pixels:
                values = np.clip(np.round(127.5 + 50.0 * values), 0.0, 255.0)
            if tensor.dtype != "float32":
                values = (values > 0).astype(np.float64)
            one[tensor.name] = values.astype(np.float32).astype(np.float64)
        found.append(one)
    return found


def largest_difference(
    ours: OurSide, truth: Truth, given: Samples, restart: int, progress: Progress, text: str
) -> tuple[float, str]:
    """The largest difference over these observations, and where it was.

    Args:
        restart: both begin a new episode after so many observations.
        progress: is told `text` and the number of observations.
    """
    largest, where = 0.0, ""
    for k, observation in enumerate(given):
        progress(text, k, len(given))
        if k % restart == 0:
            ours.start()
            truth.start()
        got, wanted = ours.act(observation), truth.act(observation)
        for name, values in got.items():
            apart = difference(values, np.asarray(wanted[name]).reshape(-1))
            if apart > largest or not np.isfinite(apart):
                largest = apart
                where = f"{name}, observation {k}" + (
                    f", step {k % restart}" if restart > 1 else ""
                )
                if not np.isfinite(apart):
                    where += f": {_short(values)} for {_short(wanted[name])}"
    return largest, where


def random_rows(
    ours: OurSide,
    truth: Truth,
    tensors: Sequence[TensorShape],
    progress: Progress,
    large: bool = False,
    remembers: bool = False,
) -> list[Row]:
    """Single observations of every width, and sequences of `STEPS` where there is a memory.

    Args:
        large: compare fewer of them; the text of each row says how many.
        remembers: the source has a memory, also where the folder has none.
    """
    rows = []
    count = LARGE_SAMPLES if large else SAMPLES
    sequences = LARGE_SEQUENCES if large else SEQUENCES
    remembers = remembers or bool(ours.loaded.spec.state)
    for width, tolerance in WIDTHS:
        text = f"compare at {width:g} standard deviations"
        given = samples(tensors, width, count)
        figure, where = largest_difference(ours, truth, given, 1, progress, text)
        where += f" (of {count})" if large else ""
        rows.append(within(f"random, {width:g} sigma", figure, tolerance, where.strip()))
        if remembers:
            given = samples(tensors, width, sequences * STEPS)
            figure, where = largest_difference(
                ours, truth, given, STEPS, progress, f"{text}, {STEPS} steps"
            )
            rows.append(within(f"{STEPS} steps, {width:g} sigma", figure, tolerance, where))
    return rows


def recorded_row(ours: OurSide, truth: Truth, given: Samples, name: str, progress: Progress) -> Row:
    """Recorded observations, in their order, as one episode."""
    figure, where = largest_difference(
        ours, truth, given, len(given), progress, f"compare at {name}"
    )
    return within(f"recorded ({name}, {len(given)})", figure, RECORDED_TOLERANCE, where)


def determinism_rows(ours: OurSide, truth: Truth, tensors: Sequence[TensorShape]) -> list[Row]:
    """Whether each side answers the same twice, bit by bit."""
    observation = samples(tensors, 1.0, 1)[0]
    rows = []
    for name, side in (("the folder answers the same twice", ours),
                       ("the source answers the same twice", truth)):  # fmt: skip
        answers = []
        for _ in range(2):
            side.start()
            answers.append(side.act(observation))
        apart = max(
            float(np.max(np.abs(np.asarray(first) - np.asarray(answers[1][key]))))
            for key, first in answers[0].items()
        )
        rows.append(within(name, apart, 0.0))
    return rows


def batch_row(path: str, open_axes: Mapping[str, int | None]) -> Row:
    """Rows of a batch of 1, 3 and 16 against the same rows one by one.

    Args:
        path: of the model.
        open_axes: per input the axis that is open; None: none is.
    """
    if all(axis is None for axis in open_axes.values()):
        return Row("batch", NOT_RUN, text="the file says a batch of 1")
    session = session_of(path, path)
    random = np.random.default_rng(_SEED)
    worst = 0.0
    for rows in BATCHES:
        feed = {}
        for one in session.get_inputs():
            axis = open_axes.get(one.name)
            shape = [size if isinstance(size, int) else 1 for size in one.shape]
            if axis is not None:
                shape[axis] = rows
            kind = np.float32 if "float" in one.type else np.int64
            feed[one.name] = random.normal(0.0, 1.0, shape).astype(kind)
        try:
            whole = session.run(None, feed)
            for k in range(rows):
                single = {
                    name: np.take(values, [k], axis=open_axes[name] or 0)
                    if open_axes.get(name) is not None else values
                    for name, values in feed.items()
                }  # fmt: skip
                for got, wanted in zip(whole, session.run(None, single), strict=True):
                    axis = next(
                        (a for a in range(got.ndim) if got.shape[a] == rows
                         and wanted.shape[a] == 1), 0,
                    )  # fmt: skip
                    worst = max(worst, difference(np.take(got, [k], axis=axis), wanted))
        except Exception as error:  # noqa: BLE001 - ORT raises its own pybind types
            text = " ".join(str(error).split())[:200]
            return within("batch", float("inf"), 1e-5, f"a batch of {rows}: {text}")
    return within("batch of 1, 3 and 16", worst, 1e-5)


def _short(values: object) -> str:
    return np.array2string(np.asarray(values), precision=4, threshold=4)
