"""`policy-runner report FILE.mcap`: summarizes a recorded run as text and as a picture."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from policy_runner.core.errors import refuse
from policy_runner.telemetry.recording.mcap import Unrecordable, read_recording
from policy_runner.telemetry.recording.report import build_report, text

if TYPE_CHECKING:
    from policy_runner.telemetry.recording.report import RunReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    parser.add_argument("file", type=Path, metavar="FILE.mcap", help="from `monitor --record`")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="power, heat, clocks, latency over time"
    )


def run(options: argparse.Namespace) -> int:
    """Print the text; draw the picture if requested."""
    try:
        report = build_report(read_recording(options.file))
    except Unrecordable as error:
        raise refuse("", "report", "a readable recording", str(error)) from None
    print(text(report))
    if options.picture is not None:
        if find_spec("matplotlib") is None:
            remedy = "pip install matplotlib"
            raise refuse("", "--picture", "the Python module matplotlib", "none", remedy)
        draw(report, options.picture)
        print(f"\npicture: {options.picture}")
    return 0


def draw(report: RunReport, path: Path) -> None:
    """Draw one panel for each quantity, over the same time; grey bars mark statuses not OK."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count = max(1, len(report.panels))
    figure, axes = pyplot.subplots(
        count, 1, sharex=True, figsize=(10.0, 1.0 + 2.0 * count), squeeze=False
    )
    for axis, (title, many) in zip(axes[:, 0], report.panels.items(), strict=False):
        for series in many:
            axis.plot(series.times, series.values, label=series.label, linewidth=1.2)
        for begin, end in _troubles(report):
            axis.axvspan(begin, end, color="0.9", zorder=0)
        axis.set_ylabel(title)
        axis.legend(fontsize="x-small", loc="upper left")
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlabel("time [s]")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _troubles(report: RunReport) -> list[tuple[float, float]]:
    """Return the intervals in which the joined status was WARN or ERROR."""
    spans, begin = [], None
    for at, name, level, _ in report.changes:
        if not name.endswith(": policy"):
            continue
        if level in (1, 2) and begin is None:
            begin = at
        elif level not in (1, 2) and begin is not None:
            spans.append((begin, at))
            begin = None
    if begin is not None:
        spans.append((begin, report.duration))
    return spans
