"""The diagrams overview.svg and order_of_operations.svg in docs/pictures, as plain SVG.

`python tools/draw_flow.py` writes them; a test compares. No colour of the page is assumed:
boxes carry their own fill, lines and labels are readable on white and on black.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
BLUE, GREEN, GREY, RED = "#2866a8", "#2f7d4f", "#5d6875", "#b0413e"
LINE = "#7d8794"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
HEIGHT = 40  # of a box with one or two lines


@dataclass
class Drawing:
    """Boxes, frames and arrows in pixels; `svg` is the picture."""

    width: int
    height: int
    title: str
    _frames: list[str] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)
    _boxes: list[str] = field(default_factory=list)

    def box(self, x: int, y: int, width: int, text: str, fill: str = BLUE) -> None:
        """A filled box; a newline in the text makes a second line."""
        self._boxes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="6" fill="{fill}"/>'
        )
        rows = text.split("\n")
        for number, row in enumerate(rows):
            at = y + HEIGHT / 2 + 5 + (number - (len(rows) - 1) / 2) * 16
            self._boxes.append(_text(x + width / 2, at, row, "#ffffff", "middle"))

    def frame(self, x: int, y: int, width: int, height: int, label: str) -> None:
        """A thin frame with its label inside, at the top right."""
        self._frames.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="none"'
            f' stroke="{LINE}"/>'
        )
        self._frames.append(_text(x + width - 12, y + 19, label, LINE, "end", bold=True))

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """A line through the points, with a head at the last one."""
        path = " ".join(f"{x},{y}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._lines.append(
            f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.6"{dash}'
            ' marker-end="url(#head)"/>'
        )

    def label(self, x: int, y: int, text: str, anchor: str = "start") -> None:
        """A text without a box."""
        self._lines.append(_text(x, y, text, LINE, anchor))

    def row(
        self, x: int, y: int, widths: Sequence[int], texts: Sequence[str], gap: int = 16
    ) -> None:
        """Boxes side by side, with an arrow from each to the next."""
        for number, (width, text) in enumerate(zip(widths, texts, strict=True)):
            self.box(x, y, width, text)
            if number + 1 < len(texts):
                self.arrow((x + width, y + HEIGHT // 2), (x + width + gap - 2, y + HEIGHT // 2))
            x += width + gap

    @property
    def svg(self) -> str:
        """The picture as text."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' width="{self.width}" height="{self.height}" role="img" font-size="14"'
            f' font-family="{FONT}">'
        )
        marker = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
            f' markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{LINE}"/>'
            "</marker></defs>"
        )
        title = f"<title>{escape(self.title)}</title>"
        parts = [head, title, marker, *self._frames, *self._lines, *self._boxes, "</svg>"]
        return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, fill: str, anchor: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )


def overview() -> Drawing:
    """From the robot's topics through the control thread to the commands."""
    to = Drawing(520, 500, "policy_runner: from the robot's topics to its commands")
    to.frame(10, 8, 500, 78, "robot")
    for x, topic in ((24, "imu/data"), (188, "joint_states"), (352, "cmd_vel")):
        to.box(x, 36, 144, topic, GREEN)
        to.arrow((x + 72, 76), (x + 72, 103), (96, 103), (96, 146))
    to.frame(10, 120, 500, 222, "policy_runner: control thread, one tick")
    to.row(24, 148, (144, 144, 152), ("take the newest", "observation\nby joint name", "normalize"))
    to.arrow((420, 188), (420, 198), (96, 198), (96, 210))
    to.row(24, 212, (144, 144, 152), ("infer\nONNX, TensorRT", "decode", "limits"))
    to.arrow((420, 252), (420, 262), (260, 262), (260, 276))
    to.box(130, 278, 260, "decision: RUN, HOLD, SAFE_STOP", RED)
    to.arrow((190, 318), (190, 370), (96, 370), (96, 388))
    to.label(24, 358, "command, or stop")
    to.arrow((260, 318), (260, 388))
    to.arrow((330, 318), (330, 370), (424, 370), (424, 388))
    to.label(500, 358, "once a second", "end")
    to.box(24, 390, 144, "joint_commands", GREEN)
    to.box(188, 390, 144, "~/status\n20 Hz", GREY)
    to.box(352, 390, 144, "/diagnostics", GREY)
    to.box(188, 452, 144, "guard")
    to.arrow((260, 430), (260, 450))
    to.arrow((188, 472), (96, 472), (96, 432), dashed=True)
    to.label(24, 490, "stops, if silent")
    to.box(352, 452, 144, "monitor, rqt")
    to.arrow((424, 430), (424, 450))
    return to


def order_of_operations() -> Drawing:
    """Each observation term, each input tensor, the model, each action group."""
    to = Drawing(520, 696, "policy spec: order of operations")
    to.frame(10, 8, 500, 150, "each observation term")
    to.row(
        24,
        36,
        (104, 104, 104, 104),
        ("read\nby name", "− relative_to", "wrap", "replace\nnonfinite"),
    )
    to.arrow((436, 76), (436, 86), (76, 86), (76, 98))
    to.row(24, 100, (104, 104, 104, 104), ("finite?", "clip", "× scale", "+ offset"))
    to.frame(10, 176, 500, 150, "each input tensor")
    to.arrow((436, 140), (436, 167), (76, 167), (76, 202))
    to.row(
        24, 204, (104, 104, 104, 104),
        ("terms\nside by side", "normalize\non: frame", "history", "clip"),
    )  # fmt: skip
    to.arrow((436, 244), (436, 254), (76, 254), (76, 266))
    to.row(
        24,
        268,
        (124, 124, 124),
        ("normalize\non: stacked", "its clip", "cast to the\ntensor's type"),
    )
    to.arrow((366, 308), (366, 335), (260, 335), (260, 346))
    to.box(188, 348, 144, "model", GREEN)
    to.arrow((260, 388), (260, 399), (76, 399), (76, 432))
    to.frame(10, 406, 500, 214, "each action group")
    to.row(
        24, 434, (104, 104, 104, 104),
        ("output, or\nargmax's row", "squash", "clip_raw", "round\nof: raw"),
    )  # fmt: skip
    to.arrow((436, 474), (436, 484), (76, 484), (76, 496))
    to.row(
        24, 498, (104, 104, 148, 60),
        ("limit_torque", "denormalize", "× scale + offset\n+ relative_to", "rotate"),
    )  # fmt: skip
    to.arrow((458, 538), (458, 548), (76, 548), (76, 560))
    to.row(
        24, 562, (104, 104, 104, 104), ("clip", "ema", "round\nof: target", "the robot's\nlimits")
    )
    to.label(260, 644, "last_action feeds one of these back to the terms:", "middle")
    to.label(260, 664, "raw (the output), clipped (after limit_torque),", "middle")
    to.label(260, 684, "target (after round), limited (after the limits)", "middle")
    return to


def pictures() -> dict[str, str]:
    """SVG by the file's name."""
    made = {"overview": overview(), "order_of_operations": order_of_operations()}
    return {f"{name}.svg": one.svg for name, one in made.items()}


def main() -> int:
    """Write the pictures."""
    for name, text in pictures().items():
        (PICTURES / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
