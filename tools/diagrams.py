"""The two diagrams of the documentation as SVG text: one tick, and the decision states.

`tools/pictures.py` writes them. They have a background and a frame of their own, so that they
can be read on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from policy_runner.cli.drawing.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SKY,
    duration_text,
)

FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
WIDTH = 960
GREY = "#5b6673"
# Part of a tick: (key in the measured figures, name, what happens, colour).
PARTS = (
    ("wake_up", "wake up", "later than the deadline", GREY),
    ("take", "take", "newest message of every input, ~/estop", SKY),
    ("observation", "may we?", "ages, checks, the observation by name", GREEN),
    ("inference", "policy", "history, normalization, network, decoding", BLUE),
    ("command", "command", "limits, or the stop", PURPLE),
    ("publish", "publish", "to the middleware", ORANGE),
)
# Arrows of the decision: (from, to) and the lines of their label.
ARROWS: dict[tuple[str, str], tuple[str, ...]] = {
    ("STARTING", "RUN"): ("armed, and no fault", "(start pose reached)"),
    ("STARTING", "SAFE_STOP"): ("~/estop;", "armed: a severe fault"),
    ("RUN", "HOLD"): ("a fault that can pass:", "input too old, NaN,", "late ticks in a row"),
    ("HOLD", "RUN"): ("no fault for", "safety.hold_recover"),
    ("RUN", "SAFE_STOP"): ("~/estop, ~/disarm; a severe fault:", "tipped, action not finite, ..."),
    ("HOLD", "SAFE_STOP"): (
        "~/estop, ~/disarm; a severe fault;",
        "longer than safety.safe_stop_after",
    ),
    ("SAFE_STOP", "RUN"): ("~/arm, then no fault for", "safety.hold_recover"),
    ("SAFE_STOP", "STARTING"): ("~/arm, with a", "start_pose.duration"),
}
BOXES = {  # left, top, colour, what is commanded
    "STARTING": (50, 80, SKY, "no command yet, or the", "move to the start pose"),
    "RUN": (660, 80, GREEN, "the policy's command,", "within the limits"),
    "HOLD": (660, 370, ORANGE, "the stop;", "ends by itself"),
    "SAFE_STOP": (50, 370, RED, "the stop;", "latched until ~/arm"),
}
BOX = (250, 96)  # width, height


def text(
    x: float, y: float, words: str, size: float = 13, anchor: str = "start", **more: str
) -> str:
    """One line of text; `y` is its base line."""
    style = {"fill": INK, **{key.replace("_", "-"): value for key, value in more.items()}}
    attributes = "".join(f' {key}="{value}"' for key, value in style.items())
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}"'
        f"{attributes}>{escape(words)}</text>"
    )


def rectangle(x: float, y: float, wide: float, high: float, fill: str, **more: str) -> str:
    """A rectangle."""
    attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{fill}"'
        f"{attributes}/>"
    )


def line(points: Sequence[tuple[float, float]], colour: str = INK, **more: str) -> str:
    """A line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<polyline points="{path}" fill="none" stroke="{colour}"{attributes}/>'


def picture(title: str, height: int, parts: Sequence[str]) -> str:
    """A whole SVG file; `title` is what a screen reader says."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="{FONT}" role="img">'
    )
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{INK}"/>'
        "</marker></defs>"
    )
    ground = rectangle(0.5, 0.5, WIDTH - 1, height - 1, PAPER, stroke=FAINT, rx="8")
    return "\n".join([head, f"<title>{escape(title)}</title>", arrow, ground, *parts, "</svg>\n"])


def tick(measured: Mapping[str, Any]) -> str:
    """One period on a scale, and its busy part enlarged.

    Args:
        measured: `rate_hz`, `parts_us` (p50 and p99 by part), `source` (one sentence).
    """
    rate, times = float(measured["rate_hz"]), measured["parts_us"]
    period = 1e6 / rate
    busy = sum(times[key]["p50"] for key, *_ in PARTS)
    left, wide = 50.0, WIDTH - 100.0
    share = wide * busy / period
    title = f"One tick of the control thread at {rate:g} Hz: busy for {busy:.0f} of {period:.0f} µs"
    parts = [text(left, 40, title, 17, font_weight="bold")]
    # The period.
    top, high = 78.0, 26.0
    parts.append(rectangle(left, top, wide, high, "white", stroke=FAINT))
    parts.append(rectangle(left, top, share, high, BLUE))
    parts.append(text(left + share + 10, top + 17, "sleeps until the next deadline", 12.5))
    for quarter in range(5):
        x = left + wide * quarter / 4
        parts.append(line([(x, top + high), (x, top + high + 5)], GREY))
        label = "deadline" if quarter == 0 else duration_text(period * quarter / 4)
        anchor = "start" if quarter == 0 else "end" if quarter == 4 else "middle"
        parts.append(text(x, top + high + 20, label, 11.5, anchor, fill=GREY))
    # The busy part.
    below, tall = 172.0, 54.0
    for at, to in ((left, left), (left + share, left + wide)):
        parts.append(line([(at, top + high), (to, below)], FAINT, stroke_dasharray="4 3"))
    x = left
    for number, (key, _, _, colour) in enumerate(PARTS, 1):
        part = wide * times[key]["p50"] / busy
        parts.append(rectangle(x, below, part, tall, colour, stroke=PAPER))
        if part > 14:
            parts.append(
                text(x + part / 2, below + 34, str(number), 17, "middle", fill="white",
                     font_weight="bold")
            )  # fmt: skip
        x += part
    parts.append(text(left, below + tall + 18, "0", 11.5, "start", fill=GREY))
    parts.append(text(left + wide, below + tall + 18, f"{busy:.0f} µs", 11.5, "end", fill=GREY))
    # The list.
    y = below + tall + 52
    for x, head, anchor in ((780.0, "p50", "end"), (880.0, "p99", "end")):
        parts.append(text(x, y - 4, head, 12, anchor, fill=GREY))
    for number, (key, name, what, colour) in enumerate(PARTS, 1):
        y += 26
        parts.append(rectangle(left, y - 14, 20, 19, colour, rx="3"))
        parts.append(text(left + 10, y, str(number), 12.5, "middle", fill="white",
                          font_weight="bold"))  # fmt: skip
        parts.append(text(left + 32, y, name, 13.5, font_weight="bold"))
        parts.append(text(left + 130, y, what, 13.5))
        for x, figure in ((780.0, "p50"), (880.0, "p99")):
            parts.append(text(x, y, f"{times[key][figure]:.0f} µs", 13.5, "end"))
    y += 40
    for words in measured["source"]:
        parts.append(text(left, y, words, 11.5, fill=GREY))
        y += 17
    return picture(title, round(y + 4), parts)


def _label(x: float, y: float, lines: Sequence[str], anchor: str) -> list[str]:
    return [text(x, y + 16 * k, words, 12.5, anchor) for k, words in enumerate(lines)]


def decision() -> str:
    """Four states, what each commands, and what leads from one to another."""
    title = "The decision of every tick"
    wide, high = BOX
    parts = [text(50, 44, title, 17, font_weight="bold")]
    for name, (x, y, colour, *what) in BOXES.items():
        parts.append(
            rectangle(x, y, wide, high, "white", stroke=colour, stroke_width="2.5", rx="10")
        )
        parts.append(rectangle(x, y, 12, high, colour, rx="6"))
        parts.append(text(x + 28, y + 32, name, 17, font_weight="bold"))
        parts += _label(x + 28, y + 58, what, "start")
    left, right = 50 + wide, 660.0
    above, below = 80 + high, 370.0
    # (from, to): the ends of its arrow, and where its label stands.
    course = {
        ("STARTING", "RUN"): ((left, 112), (right, 112), (480, 92), "middle"),
        ("STARTING", "SAFE_STOP"): ((90, above), (90, below), (100, 222), "start"),
        ("SAFE_STOP", "STARTING"): ((260, below), (260, above), (250, 312), "end"),
        ("RUN", "HOLD"): ((870, above), (870, below), (860, 256), "end"),
        ("HOLD", "RUN"): ((700, below), (700, above), (710, 326), "start"),
        ("HOLD", "SAFE_STOP"): ((right, 430), (left, 430), (480, 450), "middle"),
        ("RUN", "SAFE_STOP"): ((right, 150), (left - 20, below), (0, 0), "start"),
        ("SAFE_STOP", "RUN"): ((left, 395), (right + 25, above), (0, 0), "start"),
    }
    for pair, (begin, end, at, anchor) in course.items():
        parts.append(line([begin, end], INK, stroke_width="1.6", marker_end="url(#arrow)"))
        if any(at):
            parts += _label(*at, ARROWS[pair], anchor)
    parts += _label(290, 206, ARROWS["RUN", "SAFE_STOP"], "start")
    parts += _label(520, 330, ARROWS["SAFE_STOP", "RUN"], "start")
    notes = (
        "The most severe fault of a tick decides. Every change is in the log, with its reason.",
        "safety.recover: auto leaves SAFE_STOP without ~/arm, except after ~/estop and ~/disarm.",
        "When simulation time jumps: STARTING, except from SAFE_STOP. When the control thread "
        "fails: SAFE_STOP until the next activation.",
    )
    for k, words in enumerate(notes):
        parts.append(text(50, 510 + 18 * k, words, 11.5, fill=GREY))
    return picture(title, 564, parts)
