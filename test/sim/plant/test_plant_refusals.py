"""Bad robots are refused in one sentence that names the file, the key, and what is there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim_rig import TOY_JOINTS, plant, robot_file

from policy_runner.core.errors import Refusal

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

INERTIAL = (
    '<inertial><mass value="1"/><inertia ixx=".1" iyy=".1" izz=".1" ixy="0" ixz="0" iyz="0"/>'
    "</inertial>"
)
URDF = """<robot name="u"><link name="base">%s</link><link name="arm">%s<collision><geometry>
<mesh filename="hand.stl"/></geometry></collision></link><joint name="j" type="revolute">
<parent link="base"/><child link="arm"/><axis xyz="0 0 1"/><limit effort="5" velocity="1"
 lower="-1" upper="1"/></joint></robot>"""
BODY = '<worldbody><body name="b"><freejoint/><geom size="0.1"%s/></body></worldbody>'
MESH = """<mujoco><asset><mesh name="hand" file="hand.stl"/></asset><worldbody><body>
<joint name="j"/><geom size="0.1"/><geom type="mesh" mesh="hand"/></body></worldbody></mujoco>"""


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"fysics": {}}, r"fysics: expected a known key, got 'fysics'; did you mean 'physics'\?"),
        ({"physics": {"integrator": "euler"}}, r"physics.integrator: expected 'Euler', .*'euler'"),
        ({"physics": {"timestep": 0}}, r"physics.timestep: expected greater than 0, got 0"),
        ({"joints": {"armature": {"FX.*": 1.0}}}, r"joints.armature: expected a name or pattern"),
        ({"joints": {"armature": {".*": 1.0, "F.*": 2.0}}}, r"one pattern for 'FL_hip'"),
        ({"contacts": [{"geoms": ["toe"]}]}, r"contacts\[0\].geoms: .*FL_foot.*got 'toe'"),
        ({"base": "chest"}, r"base: expected a body of the model \(trunk, .*got chest"),
        ({"start": {"keyframe": "hme"}}, r"keyframe of the model \(home\), got hme; did you mean"),
        ({"start": {"height": 1.0, "position": [0, 0, 1]}}, r"`height` or `position`, got both"),
        ({"start": {"joints": {"knee": 1.0}}}, r"start.joints: expected a name or pattern"),
        ({"sensors": {"a": {"type": "lidar"}}}, r"sensors.a: expected one of imu, .*'lidar'"),
        ({"sensors": {"a": {"body": "x"}}}, r"sensors.a: expected the key 'type', got nothing"),
        (
            {"sensors": {"a": {"type": "imu", "gyro": "attitude"}}},
            r"sensors.a.gyro: expected a gyro sensor of the model \(rates\), got attitude",
        ),
        ({"sensors": {"a": {"type": "sensors", "names": ["x"]}}}, r"a.names: expected a sensor"),
        ({"sensors": {"a": {"type": "contacts", "of": ["toe"]}}}, r"a.of: expected a geom or"),
        ({"sensors": {"a": {"type": "camera", "camera": "eye"}}}, r"it has none\), got eye"),
        ({"twist": {"drive": "tank"}}, r"twist: expected one of differential, base, got 'tank'"),
        ({"model": {"floating": False}}, r"model.floating: expected true, since body trunk"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal, match=rf"robot.yaml: .*{sentence}"):
        plant(tmp_path, "toy.xml", **keys)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    sensors = {"a": {"type": "imu", "gyro": "x", "accelerometer": "y"}}
    with pytest.raises(Refusal) as caught:
        plant(tmp_path, "toy.xml", sensors=sensors, joints={"damping": {"z": 1.0}})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("r.xml", "<mujoco><worldbody>", "an MJCF or a URDF, got no XML"),
        ("r.xml", "<sdf/>", r"an MJCF \(<mujoco>\) or a URDF \(<robot>\), got <sdf>"),
        ("r.xml", "<mujoco><wheel/></mujoco>", "a model that MuJoCo loads, got .*wheel"),
        ("r.xml", "<!DOCTYPE a><mujoco/>", "without a document type or entities"),
        ("r.xml", "\ufeff<?xml version='1.0' encoding='UTF-7'?><mujoco/>", "at least one body"),
        ("r.xml", "<mujoco/>", "at least one body, got none"),
        ("r.xml", '<mujoco><include file="../o.xml"/></mujoco>', r"include: .*got \.\./o.xml"),
        (
            "r.xml",
            '<mujoco><asset><model file="../o.xml"/></asset></mujoco>',
            r"model: expected a file inside .*got \.\./o.xml",
        ),
        (
            "r.xml",
            f'<mujoco><asset><texture type="2d" file="no.png"/></asset>{BODY % ""}</mujoco>',
            "file: expected the file 'no.png', got no such file; correct the path$",
        ),
        (
            "r.xml",
            f'<mujoco><option timestep="0"/>{BODY % ""}</mujoco>',
            "option timestep: expected a positive number, got 0; set physics.timestep",
        ),
        (
            "r.xml",
            "<mujoco>" + BODY % ' mass="inf"' + "</mujoco>",
            "body_mass: expected finite numbers, got NaN or infinity",
        ),
        ("r.xml", '<mujoco><include file="o.xml"/></mujoco>', "the file 'o.xml', got no such"),
        ("r.xml", MESH, r"mesh: expected the file '.*hand.stl', got no such file; .*--no-meshes"),
        ("r.urdf", URDF % (INERTIAL, ""), "in every moving link, got none in arm"),
        ("r.urdf", URDF % (INERTIAL, INERTIAL), "the file '.*hand.stl'.*--no-meshes"),
        (
            "r.xml",
            "<mujoco><worldbody><body><joint/></body></worldbody></mujoco>",
            "a mass and an inertia of every moving body",
        ),
    ],
)
def test_a_wrong_model_is_refused(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / "o.xml").write_text("<mujoco/>", "utf-8")
    with pytest.raises(Refusal, match=sentence) as caught:
        plant(tmp_path / "robot", name, text)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_in_an_included_file_is_refused_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "robot").mkdir()
    (tmp_path / "o.xml").write_text("<mujoco/>", "utf-8")
    inner = '<mujocoinclude><model name="o" file="../o.xml"/></mujocoinclude>'
    (tmp_path / "robot" / "i.xml").write_text(inner, "utf-8")
    text = '<mujoco><asset><include file="i.xml"/></asset>' + BODY % "" + "</mujoco>"
    with pytest.raises(Refusal, match=r"i.xml: model: expected a file inside .*got \.\./o.xml"):
        plant(tmp_path / "robot", "r.xml", text)


def test_no_meshes_loads_what_a_missing_mesh_does_not_need(tmp_path: Path) -> None:
    robot = plant(tmp_path / "a", "r.xml", MESH, model={"meshes": False})
    assert robot.joint_names == ("j",)
    robot = plant(tmp_path / "b", "r.urdf", URDF % (INERTIAL, INERTIAL), model={"meshes": False})
    robot.command("effort", ["j"], np.array([50.0]))
    robot.advance(1)
    assert robot.read.joint_efforts[0] == pytest.approx(5.0)  # the limit of the URDF


def test_a_urdf_floats_on_request_and_keeps_its_fixed_links(tmp_path: Path) -> None:
    text = URDF % (INERTIAL, INERTIAL)
    text = text.replace("</robot>", '<link name="imu"/><joint name="f" type="fixed"><parent '
                        'link="base"/><child link="imu"/></joint></robot>')  # fmt: skip
    keys = {"floating": True, "meshes": False}
    sensors = {"imu/data": {"type": "imu", "body": "imu"}}
    robot = plant(tmp_path, "r.urdf", text, model=keys, sensors=sensors, start={"height": 1.0})
    robot.advance(10)
    assert robot.floats
    assert robot.read.position("base")[2] < 1.0
    assert robot.read.imu("imu")[7:] == pytest.approx([0, 0, 0], abs=1e-9)  # it falls


def test_a_model_outside_the_folder_is_refused(tmp_path: Path) -> None:
    robot = robot_file(tmp_path / "robot", "toy.xml", model={"file": "../toy.xml"})
    with pytest.raises(Refusal, match=r"model.file: expected a file inside"):
        robot.model_path  # noqa: B018


def test_a_simulation_that_diverges_ends_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    robot = plant(
        tmp_path / "r",
        "toy.xml",
        physics={"timestep": 0.01, "integrator": "Euler"},
        joints={"armature": 0.0, "damping": 0.0},
        actuators={"source": "own", "stiffness": 5000, "damping": 50},
        start={"keyframe": "home"},
    )
    robot.command("position", TOY_JOINTS, np.zeros(8))
    with pytest.raises(Refusal, match=r"finite, bounded numbers, got an invalid .* of joint \w+"):
        robot.advance(1000)
    assert not list(tmp_path.glob("MUJOCO_LOG*"))


def test_a_mesh_lies_relative_to_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], dtype="<f4")
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    triangles = [
        bytes(12) + b"".join(corners[k].tobytes() for k in face) + bytes(2) for face in faces
    ]
    stl = bytes(80) + len(faces).to_bytes(4, "little") + b"".join(triangles)
    monkeypatch.chdir("/")
    for name, text in (("r.xml", MESH), ("r.urdf", URDF % (INERTIAL, INERTIAL))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "hand.stl").write_bytes(stl)
        assert plant(folder, name, text).model.nmesh == 1
