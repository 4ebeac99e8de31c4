"""The list of rclpy's names is that of the code; the comparison finds what is missing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import rclpy_names

LISTED = rclpy_names.LIST.read_text("utf-8").splitlines()


def test_the_list_has_every_import() -> None:
    """`python tools/rclpy_names.py` writes it; after a change compare it with the sources again."""
    written = {name for name in LISTED if not name.startswith("method: ")}
    assert written == rclpy_names.imported() | {f"compiled: {one}" for one in rclpy_names.COMPILED}


@pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
def test_every_listed_method_is_used_and_is_there() -> None:
    """On any distribution: the installed rclpy has every method of the list."""
    import rclpy

    package = Path(rclpy.__file__).parent
    methods = {name for name in LISTED if name.startswith("method: ")}
    assert len(methods) > 50
    assert methods == {one for one in rclpy_names.names_of(package) if one.startswith("method: ")}


def test_a_name_that_is_missing_is_found(tmp_path: Path) -> None:
    package, compiled = tmp_path / "rclpy" / "rclpy", tmp_path / "rclpy" / "src"
    package.mkdir(parents=True)
    compiled.mkdir()
    (compiled / "subscription.cpp").write_text('.def("take_message", take_message)')
    (package / "node.py").write_text("class Node:\n    def create_timer(self): ...\n")
    (package / "qos.py").write_text("from other import QoSProfile\n")
    found = set(rclpy_names.missing(tmp_path))
    there = {"compiled: take_message", "method: Node.create_timer", "rclpy.qos.QoSProfile"}
    assert not there & found
    assert {"method: Node.create_publisher", "rclpy.init", "compiled: WaitSet"} <= found
