"""`policy-runner report FILE.mcap`: summarizes a recorded run as text and as a picture."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from policy_runner.cli.drawing.style import ORANGE, RED, check_drawable, drawing, log_durations
from policy_runner.core.errors import refuse
from policy_runner.telemetry.recording.mcap import Unrecordable, read_recording
from policy_runner.telemetry.recording.report import FROM_ZERO, LATENCY, build_report, text

if TYPE_CHECKING:
    from policy_runner.telemetry.recording.report import RunReport

_TROUBLE = {1: "WARN", 2: "ERROR"}
_BANDS = {"WARN": ORANGE, "ERROR": RED}
_MOST_NOTES = 6  # sentences above the picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    parser.add_argument("file", type=Path, metavar="FILE.mcap", help="from `monitor --record`")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="power, heat, clocks, latency over time"
    )


def run(options: argparse.Namespace) -> int:
    """Print the text; draw the picture if requested."""
    check_drawable("--picture", options.picture)
    try:
        report = build_report(read_recording(options.file))
    except Unrecordable as error:
        raise refuse("", "report", "a readable recording", str(error)) from None
    print(text(report))
    if options.picture is not None:
        draw(report, options.picture)
        print(f"\npicture: {options.picture}")
    return 0


def draw(report: RunReport, path: Path) -> None:
    """Draw one panel for each quantity, over the same time.

    A numbered band marks each time in which a status was not OK.
    """
    pyplot = drawing()
    bands = troubles(report)
    notes = [
        f"{number}   {band.begin:.0f} to {band.end:.0f} s   {band.level}   {band.message}"
        for number, band in enumerate(bands, 1)
    ]
    if len(notes) > _MOST_NOTES:
        notes = [*notes[:_MOST_NOTES], f"and {len(notes) - _MOST_NOTES} more, see the text"]
    count = max(1, len(report.panels))
    height = 0.7 + 1.9 * count + 0.2 * len(notes)
    figure, axes = pyplot.subplots(
        count, 1, sharex=True, figsize=(10.0, height), squeeze=False, layout="constrained"
    )
    for axis, (title, many) in zip(axes[:, 0], report.panels.items(), strict=False):
        for series in many:
            axis.plot(series.times, series.values, label=series.label.removesuffix(_unit(title)))
        for band in bands:
            axis.axvspan(band.begin, band.end, color=_BANDS[band.level], alpha=0.2, zorder=0)
        axis.set_title(title.removesuffix(_unit(title)) if title == LATENCY else title)
        if title == LATENCY and any(max(series.values) > 0.0 for series in many):
            # The longest and the shortest are some powers of ten apart.
            log_durations(axis, "y")
        elif title in FROM_ZERO:
            axis.set_ylim(0.0, 1.1 * axis.get_ylim()[1])
        axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for number, band in enumerate(bands[:_MOST_NOTES], 1):
        where = (band.begin + band.end) / 2.0
        axes[0, 0].text(where, 0.97, str(number), ha="center", va="top", fontweight="bold",
                        transform=axes[0, 0].get_xaxis_transform())  # fmt: skip
    axes[-1, 0].set_xlabel("time [s]")
    if notes:
        title = "bands: the sidecar's joined status was not OK"
        figure.suptitle("\n".join((title, *notes)), x=0.01, ha="left", fontsize="medium", wrap=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _unit(title: str) -> str:
    return f" {title[title.index('[') :]}" if "[" in title else ""


@dataclass(frozen=True)
class Band:
    """A time [s] in which the joined status was WARN or ERROR, with its first message."""

    begin: float
    end: float
    level: str
    message: str


def troubles(report: RunReport) -> list[Band]:
    """Return each time in which the joined status was not OK, one for each level."""
    joined = [change for change in report.changes if change[1].endswith(": policy")]
    ends = [*(at for at, *_ in joined[1:]), report.duration]
    return [
        Band(at, end, _TROUBLE[level], message)
        for (at, _, level, message), end in zip(joined, ends, strict=False)
        if level in _TROUBLE
    ]
