"""Draws a network's blocks as SVG, without any other program: columns from inputs to outputs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from policy_runner.cli.drawing.style import BLUE, FAINT, GREEN, INK, ORANGE, PAPER, PURPLE, SKY
from policy_runner.cli.inspect.graph_blocks import (
    ENCODER,
    HEAD,
    INPUT,
    NORMALIZER,
    OUTPUT,
    PART,
    Block,
)

WIDTH, HEIGHT, GAP, COLUMN = 196, 40, 14, 270
MARGIN, LEGEND = 24, 34
LONGEST = 30  # characters of a line in a box
COLORS = {
    INPUT: BLUE, NORMALIZER: ORANGE, ENCODER: PURPLE, PART: FAINT, HEAD: GREEN, OUTPUT: SKY,
}  # fmt: skip


def ranks_of(blocks: Sequence[Block]) -> list[int]:
    """The column of each block: one right of the last that feeds it; outputs in the last."""
    ranks: list[int] = []
    for block in blocks:
        ranks.append(1 + max((ranks[one] for one in block.after), default=-1))
    last = max((rank + 1 for rank, block in zip(ranks, blocks) if block.kind != OUTPUT), default=0)
    return [last if b.kind == OUTPUT else rank for rank, b in zip(ranks, blocks)]


def positions_of(blocks: Sequence[Block]) -> list[tuple[float, float]]:
    """Left upper corner of each box; no two boxes lie over each other.

    Each column is sorted by the middle of what feeds it, so that few lines cross.
    """
    ranks = ranks_of(blocks)
    columns: dict[int, list[int]] = {}
    for k, rank in enumerate(ranks):
        columns.setdefault(rank, []).append(k)
    tallest = max(len(one) for one in columns.values())
    middle = tallest * (HEIGHT + GAP) / 2
    y: dict[int, float] = {}
    for rank in sorted(columns):
        wanted = {
            k: sum(y[one] for one in blocks[k].after) / len(blocks[k].after)
            if blocks[k].after
            else float(k) * (HEIGHT + GAP)
            for k in columns[rank]
        }
        order = sorted(columns[rank], key=lambda k: (wanted[k], k))
        top = middle - len(order) * (HEIGHT + GAP) / 2
        for place, k in enumerate(order):
            y[k] = top + place * (HEIGHT + GAP)
    return [(MARGIN + ranks[k] * COLUMN, MARGIN + LEGEND + y[k]) for k in range(len(blocks))]


def svg(blocks: Sequence[Block], title: str) -> str:
    """The picture as text of an SVG file."""
    places = positions_of(blocks)
    width = max(x for x, _ in places) + WIDTH + MARGIN
    height = max(y for _, y in places) + HEIGHT + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        *_legend(blocks),
    ]
    for block, (x, y) in zip(blocks, places):
        for one in block.after:
            lines.append(_line(places[one], (x, y)))
    for block, (x, y) in zip(blocks, places):
        lines += _box(block, x, y)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend(blocks: Sequence[Block]) -> list[str]:
    """The colors of the kinds that are there."""
    lines, x = [], float(MARGIN)
    used = {block.kind for block in blocks}
    for kind, color in COLORS.items():
        if kind in used:
            lines.append(f'<rect x="{x:.0f}" y="16" width="12" height="12" fill="{color}"/>')
            lines.append(f'<text x="{x + 17:.0f}" y="26" fill="{INK}">{kind}</text>')
            x += 36 + 7 * len(kind)
    return lines


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT / 2
    x2, y2 = end[0], end[1] + HEIGHT / 2
    bend = (COLUMN - WIDTH) * 0.6
    return (
        f'<path d="M{x1:.1f} {y1:.1f} C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} '
        f'{x2:.1f} {y2:.1f}" fill="none" stroke="{INK}" stroke-opacity="0.45"/>'
    )


def _box(block: Block, x: float, y: float) -> list[str]:
    lines = [
        f"<g><title>{escape(block.title)} {escape(block.text)}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="white" '
        f'stroke="{COLORS[block.kind]}" stroke-width="2"/>'
    ]
    text_y = y + (17 if block.text else 24)
    lines.append(
        f'<text x="{x + 8:.1f}" y="{text_y:.1f}" fill="{INK}" font-weight="bold">'
        f"{escape(_short(block.title))}</text>"
    )
    if block.text:
        lines.append(
            f'<text x="{x + 8:.1f}" y="{y + 32:.1f}" fill="{INK}">'
            f"{escape(_short(block.text))}</text>"
        )
    return [*lines, "</g>"]


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
