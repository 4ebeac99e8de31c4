"""Damaged and hostile URDFs give limits or a Refusal."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzzing import fuzz, mutated_bytes

from policy_runner.core.errors import Refusal
from policy_runner.robot.urdf import read_urdf, read_urdf_file

pytestmark = pytest.mark.skipif(
    find_spec("urdf_parser_py") is None, reason="urdf_parser_py is not installed"
)
URDF = b"""<?xml version="1.0"?>
<robot name="r">
  <link name="base"/><link name="a"/><link name="b"/>
  <joint name="hip" type="revolute"><parent link="base"/><child link="a"/>
    <limit lower="-1.0" upper="1" velocity="3" effort="10"/></joint>
  <joint name="wheel" type="continuous"><parent link="a"/><child link="b"/>
    <limit velocity="20" effort="2"/></joint>
</robot>
"""


def test_urdfs(tmp_path: Path) -> None:
    path = tmp_path / "robot.urdf"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_urdf_file(path)

    def make(rng: random.Random) -> bytes:
        return mutated_bytes(rng, URDF, [URDF])

    read(URDF)
    found = fuzz("urdf", tmp_path, make, read, Refusal)
    assert found["read"]
    assert found["refused"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-7"])
def test_entities_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "secret").write_text("7")
    text = URDF.decode().replace(
        '<?xml version="1.0"?>',
        f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE r [<!ENTITY x SYSTEM '
        f'"file://{tmp_path}/secret"><!ENTITY a "{"9" * 100}">]>',
    )
    path = tmp_path / "robot.urdf"
    path.write_bytes(text.replace('upper="1"', 'upper="&a;"').encode(encoding))
    with pytest.raises(Refusal):
        read_urdf_file(path)


def test_another_encoding_hides_no_entities(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("7")
    head = '<?xml version="1.0" encoding="UTF-7"?>'
    body = f'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>' + URDF.decode()[21:]
    hidden = body.replace('upper="1"', 'upper="&x;"').replace("<", "+ADw-").replace("&", "+ACY-")
    with pytest.raises(Refusal):
        read_urdf(head + hidden, "topic")


def test_depth_and_attributes_without_end() -> None:
    for text in ("<robot name='r'>" + "<a>" * 100_000, "<robot name='r' " + "a='1' " * 50_000):
        with pytest.raises(Refusal):
            read_urdf(text, "topic")
