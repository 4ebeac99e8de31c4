"""The documents as their tests read them: prose, code blocks, links, anchors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("models/*/README.md")]
    + [*DOCS.rglob("*.md")]
)
PARTS = ("tutorials", "guides", "reference", "explanation")
PAGES = [path for path in DOCUMENTS if path.parent in [DOCS / part for part in PARTS]]
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})([^\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *#*$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced code block."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    """Every fenced block of a document."""
    return [Block(match[3].strip(), match[4]) for match in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """The document without its fenced blocks."""
    return _FENCE.sub("", text)


def inline_code(text: str) -> list[str]:
    """Every `code` of the prose."""
    return [" ".join(match[2].split()) for match in _INLINE.finditer(prose(text))]


def links(text: str) -> list[str]:
    """The target of every link and image of the prose."""
    return _LINK.findall(_INLINE.sub("`code`", prose(text)))


def slug(heading: str) -> str:
    """The anchor that GitHub and MyST give to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    kept = re.sub(r"[^\w\- ]", "", plain.strip().lower())
    return kept.replace(" ", "-")


def anchors(text: str) -> set[str]:
    """The anchors of a document; a second heading of the same text gets -1."""
    found: set[str] = set()
    for match in _HEADING.finditer(prose(text)):
        name, number = slug(match[2]), 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(anchor)
    return found


def broken(path: Path) -> list[str]:
    """The relative links of a document whose file or anchor does not exist."""
    wrong = []
    for target in links(path.read_text("utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            wrong.append(f"{path.name}: {target}: no such file")
        elif anchor and anchor not in anchors(file.read_text("utf-8")):
            wrong.append(f"{path.name}: {target}: no such heading")
    return wrong
