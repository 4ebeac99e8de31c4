"""Links, anchors, the index and the beginning of every page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_pages import DOCS, DOCUMENTS, PAGES, PARTS, ROOT, anchors, broken, links


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_and_anchor_exists(path: Path) -> None:
    assert broken(path) == []


def test_every_page_is_in_a_part_and_in_the_index() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    parts = "|".join(PARTS)
    listed = set(re.findall(rf"^(?:.*<)?((?:{parts})/\w+)>?$", index, re.MULTILINE))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES}
    assert listed == pages
    linked = {target.removesuffix(".md") for target in links(index) if target.endswith(".md")}
    assert pages <= linked, "the index has no sentence about them"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_page_begins_with_who_needs_it(path: Path) -> None:
    title, _, body = path.read_text("utf-8").partition("\n\n")
    assert title.startswith("# ")
    assert body.startswith("For you if "), path


def test_the_readme_is_read_in_five_minutes() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 150


def test_every_picture_is_shown() -> None:
    shown = {
        (path.parent / target).resolve()
        for path in DOCUMENTS
        if path.parent.name != "pictures"  # whose page lists all of them
        for target in links(path.read_text("utf-8"))
        if "://" not in target
    }
    pictures = {path for path in (DOCS / "pictures").iterdir() if path.suffix in (".png", ".svg")}
    assert pictures
    assert not [path.name for path in sorted(pictures - shown)]


# --- the checks find what they look for ---


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other\n\n## A `key`: twice\n\n## A key twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#a-key-twice) [b](other.md#a-key-twice-1) [c](none.md) `[d](none.md)`\n"
        "![e](none.png) [f](other.md#gone) [g](#here) <https://h.example/none.md>\n"
        "```\n[i](none.md)\n```\n"
    )
    assert broken(page) == [
        "page.md: none.md: no such file",
        "page.md: none.png: no such file",
        "page.md: other.md#gone: no such heading",
        "page.md: #here: no such heading",
    ]


def test_anchors_are_those_of_github() -> None:
    assert anchors("# policy-runner `bench`\n\n## What is it? Yes, *this*\n") == {
        "policy-runner-bench",
        "what-is-it-yes-this",
    }
