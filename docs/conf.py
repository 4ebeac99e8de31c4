"""The site of these pages: `make docs`. Sphinx with MyST, theme furo; warnings are errors."""

from __future__ import annotations

import posixpath
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
project = "policy_runner"
author = "policy_runner maintainers"
project_copyright = "policy_runner maintainers, Apache-2.0"
version = release = str(ElementTree.parse(DOCS.parent / "package.xml").findtext("version"))

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["**/examples", "pictures"]
myst_heading_anchors = 4
nitpicky = True
highlight_language = "bash"  # of a block that names none

html_theme = "furo"
html_title = f"policy_runner {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
_BLUE_ON_LIGHT, _BLUE_ON_DARK = "#0b5cad", "#6cb4ff"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": _BLUE_ON_LIGHT,
        "color-brand-content": _BLUE_ON_LIGHT,
    },
    "dark_css_variables": {
        "color-brand-primary": _BLUE_ON_DARK,
        "color-brand-content": _BLUE_ON_DARK,
    },
}

# [text](target), not an image's.
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def without_links_out(text: str, docname: str) -> str:
    """The page with the names of repository files outside docs/ instead of links to them.

    The site has only these pages; where it is published the repository is not next to it.
    """

    def replaced(match: re.Match[str]) -> str:
        name, target = match[1], match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        place = posixpath.normpath(posixpath.join("docs", posixpath.dirname(docname), target))
        if place.startswith("docs/"):
            return match[0]
        return name if place in name else f"{name} (`{place}`)"

    return _LINK.sub(replaced, text)


def _read(_app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = without_links_out(source[0], docname)


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("source-read", _read)
