"""The site replaces links to repository files outside docs/ with their names."""

from __future__ import annotations

import runpy
from collections.abc import Callable

import pytest
from doc_pages import DOCS


@pytest.fixture(scope="module")
def without_links_out() -> Callable[[str, str], str]:
    """The function of docs/conf.py that Sphinx calls for every page."""
    found: Callable[[str, str], str] = runpy.run_path(str(DOCS / "conf.py"))["without_links_out"]
    return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[`config/a.yaml`](../../config/a.yaml)", "`config/a.yaml`"),
        ("[the card](../../models/balancer/README.md)", "the card (`models/balancer/README.md`)"),
        ("[CONTRIBUTING.md](../../CONTRIBUTING.md#tests)", "CONTRIBUTING.md"),
        ("[a page](../reference/faults.md#time)", "[a page](../reference/faults.md#time)"),
        ("[a site](https://a.example/../../b)", "[a site](https://a.example/../../b)"),
        ("![a picture](../pictures/a.svg)", "![a picture](../pictures/a.svg)"),
    ],
)
def test_only_links_out_of_the_documentation_are_replaced(
    text: str, shown: str, without_links_out: Callable[[str, str], str]
) -> None:
    assert without_links_out(text, "guides/page") == shown
