"""The look of every picture of this package: colours, fonts, and axes for durations.

Pictures bring their own light background, so that a page may be light or dark. The line colours
differ for people who see red and green alike (Okabe and Ito, "Color Universal Design", 2008).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse

PAPER, INK, FAINT = "#f7f8fa", "#1f2933", "#c3cad3"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#aa4499", "#56b4e9",
)  # fmt: skip
LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)


def check_drawable(option: str, picture: Path | None) -> None:
    """Check that a picture can be drawn, before the work that it shows.

    Args:
        option: that asks for the picture, such as `--picture`.
        picture: the file to write; None: no picture is asked for.

    Raises:
        Refusal: matplotlib is missing.
    """
    if picture is not None and find_spec("matplotlib") is None:
        remedy = "pip install 'policy_runner[plots]'"
        raise refuse(str(picture), option, "the package matplotlib", "none", remedy)


def drawing() -> Any:
    """`matplotlib.pyplot`, which needs no screen and draws in this style."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcdefaults()
    colours: dict[str, Any] = dict.fromkeys(
        ("figure.facecolor", "savefig.facecolor", "legend.facecolor"), PAPER
    )
    colours |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    style: Any = {
        **colours,
        "axes.edgecolor": FAINT,
        "axes.facecolor": "white",
        "axes.grid": True,
        "axes.prop_cycle": pyplot.cycler(color=LINES),
        "axes.titlelocation": "left",
        "axes.titlesize": "medium",
        "font.size": 9.5,
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "legend.edgecolor": FAINT,
        "lines.linewidth": 1.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "policy_runner",
    }
    pyplot.rcParams.update(style)
    return pyplot


def duration_text(microseconds: float) -> str:
    """Such as `20 µs`, `1 ms` or `3 s`."""
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= size:
            return f"{microseconds / size:g} {unit}"
    return f"{microseconds:g} µs"


def log_durations(axes: Any, which: str) -> None:
    """Make the axis `x` or `y` of matplotlib axes logarithmic; its numbers are µs."""
    from matplotlib.ticker import FuncFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis

    def between(value: float, _: int) -> str:
        low, high = sorted(axis.get_view_interval())
        is_labelled = high < _FEW * low and f"{value:e}"[:2] in ("2.", "5.")
        return duration_text(value) if is_labelled else ""

    axis.set_major_formatter(FuncFormatter(lambda value, _: duration_text(value)))
    axis.set_minor_formatter(FuncFormatter(between))


_FEW = 100.0  # an axis of less than two powers of ten has labels at 20 and 50, too
