"""The diagrams are what their tool draws, and valid SVG without anything from elsewhere."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from draw_flow import HEIGHT, PICTURES, Drawing, pictures


@pytest.mark.parametrize("name", pictures())
def test_the_picture_is_the_drawing(name: str) -> None:
    text = (PICTURES / name).read_text("utf-8")
    assert text == pictures()[name], "run `python tools/draw_flow.py`"
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_row_has_an_arrow_between_two_boxes() -> None:
    drawing = Drawing(100, 50, "a & b")
    drawing.row(0, 0, (40, 40), ("a < b", "two\nlines"))
    root = ElementTree.fromstring(drawing.svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title") == "a & b"
    assert [one.text for one in root.iter(f"{space}text")] == ["a < b", "two", "lines"]
    (line,) = root.iter(f"{space}polyline")
    assert line.get("points") == f"40,{HEIGHT // 2} 54,{HEIGHT // 2}"
