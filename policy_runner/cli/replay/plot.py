"""Draws observation, action and error of a replay as one picture; needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.cli.replay.chunks import draw_chunks, draw_seams
from policy_runner.cli.replay.compare import Comparison

MOST_LINES = 12
Arrays = Mapping[str, np.ndarray]


def plot(
    result: Arrays,
    wanted: Mapping[str, tuple[np.ndarray, np.ndarray]],
    comparisons: Sequence[Comparison],
    tolerance: float,
    path: Path,
) -> None:
    """Write the picture: observation as a map, targets as lines, largest error per tick.

    Args:
        result: arrays of the replay.
        wanted: key -> (result, reference), for the lines of the reference.
        comparisons: errors against the reference.
        tolerance: drawn as a line in the plot of errors.
        path: the PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    rows = 3 if comparisons else 2
    figure: Any = Figure(figsize=(12, 2 + 3 * rows), layout="constrained")
    above, middle, *below = figure.subplots(rows, 1, sharex=True, height_ratios=[3, 3, 2][:rows])
    t = result["t"]
    _observation(figure, above, result, t)
    _action(middle, result, wanted, t)
    if below:
        _error(below[0], comparisons, t, tolerance)
    lowest = below[0] if below else middle
    lowest.set_xlabel("time [s]")
    lowest.set_xlim(t[0], t[-1] if len(t) > 1 else t[0] + 1)
    figure.savefig(path, dpi=110)


def _edges(t: np.ndarray) -> tuple[float, float]:
    step = t[1] - t[0] if len(t) > 1 else 1.0
    return float(t[0] - step / 2), float(t[-1] + step / 2)


def _observation(figure: Any, axes: Any, result: Arrays, t: np.ndarray) -> None:
    key = next((name for name in result if name.startswith("observation/")), None)
    if key is None:
        return
    values = result[key].T
    # Choose the range of colors for most values: one large wheel angle must not hide the others.
    finite = values[np.isfinite(values)]
    limit = float(np.percentile(np.abs(finite), 98)) if finite.size else 1.0
    left, right = _edges(t)
    image = axes.imshow(
        values, aspect="auto", cmap="RdBu_r", vmin=-limit or -1, vmax=limit or 1,
        interpolation="nearest", extent=(left, right, len(values) - 0.5, -0.5),
    )  # fmt: skip
    figure.colorbar(image, ax=axes, extend="both", pad=0.01)
    names = [str(name).split("/")[0] for name in result.get(f"names/{key.split('/', 1)[1]}", ())]
    if names and not names[0].startswith("["):
        starts = [k for k, name in enumerate(names) if k == 0 or name != names[k - 1]]
        axes.set_yticks(starts, [names[k] for k in starts], fontsize=7)
        for start in starts[1:]:
            axes.axhline(start - 0.5, color="black", linewidth=0.5)
    axes.set_title(f"{key} as it went into the model ({len(values)} elements)", loc="left")


def _action(
    axes: Any, result: Arrays, wanted: Mapping[str, tuple[np.ndarray, np.ndarray]], t: np.ndarray
) -> None:
    values = result["target"]
    from matplotlib import colormaps

    spread = np.nan_to_num(np.nanmax(values, axis=0) - np.nanmin(values, axis=0))
    shown = sorted(np.argsort(-spread, kind="stable")[:MOST_LINES].tolist())
    draw_seams(axes, result)
    for place, k in enumerate(shown):
        draw_chunks(axes, result, k, colormaps["tab20"](place))
        label = f"{result['joint_names'][k]} ({result['kinds'][k]})"
        axes.plot(t, values[:, k], color=colormaps["tab20"](place), linewidth=1.2, label=label)
        if "target" in wanted:
            have = wanted["target"][1]
            style = {"color": "black", "linestyle": ":", "linewidth": 1.0}
            axes.plot(t[len(t) - len(have) :], have[:, k], **style,
                      label="reference" if place == 0 else None)  # fmt: skip
    more = (
        f", the {len(shown)} that move most of {values.shape[1]}"
        if len(shown) < len(spread)
        else ""
    )
    chunks = ", chunks thin, seams dotted" if "chunk/actions" in result else ""
    axes.set_title(f"target{more}{chunks}", loc="left")
    axes.set_ylabel("rad, rad/s, ...")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(alpha=0.3)


def _error(axes: Any, comparisons: Sequence[Comparison], t: np.ndarray, tolerance: float) -> None:
    floor = 1e-9
    for one in comparisons:
        finite = np.where(np.isfinite(one.error), one.error, 0.0).max(axis=1)
        axes.semilogy(t[len(t) - len(finite) :], np.maximum(finite, floor), label=one.key)
    axes.axhline(tolerance, color="red", linewidth=0.8, linestyle="--", label="tolerance at 0")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title("largest error against the reference in each tick", loc="left")
    axes.set_ylabel("|error|")
    axes.grid(alpha=0.3)
