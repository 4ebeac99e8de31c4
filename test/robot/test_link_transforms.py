"""Where the links of a URDF are; the balancer's description agrees with its simulation."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import refused

from policy_runner.robot.transforms import LinkTree, Transform

SIM = Path(__file__).resolve().parents[2] / "policy_runner" / "sim"
ARM = """<robot name="arm">
  <joint name="turn" type="revolute"><parent link="base"/><child link="upper"/>
    <origin xyz="1 2 3" rpy="0 0 1.5707963267948966"/><axis xyz="0 0 2"/></joint>
  <joint name="slide" type="prismatic"><parent link="upper"/><child link="lower"/>
    <origin rpy="0 1.5707963267948966 0"/><axis xyz="1 0 0"/></joint>
  <joint name="fixed" type="fixed"><parent link="lower"/><child link="tool"/>
    <origin xyz="0 0 0.1"/></joint>
</robot>"""


def matrix(one: Transform) -> np.ndarray:
    x, y, z, w = one.rotation
    turn = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = turn, one.translation
    return made


def test_a_chain_of_joints() -> None:
    turn, slide, fixed = LinkTree(ARM, "arm").transforms({"turn": math.pi / 2, "slide": 0.5})
    assert (turn.parent, turn.child) == ("base", "upper")
    # Turned by 180 degrees about z in all; the slide moves along -z of the upper link.
    tool = matrix(turn) @ matrix(slide) @ matrix(fixed)
    assert tool[:3, 3] == pytest.approx([1 - 0.1, 2.0, 3 - 0.5])
    assert LinkTree(ARM, "arm").transforms({})[1].translation == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<robot", "expected a URDF, got unclosed token"),
        ("<!DOCTYPE a><robot/>", "a URDF without a document type"),
        ('<robot><joint name="a"/></robot>', "joint 'a': expected a name, a parent and a child"),
        (ARM.replace("1 2 3", "1 nan 3"), "joint turn: expected three numbers, got '1 nan 3'"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    (problem,) = refused(LinkTree, text, "/robot_description")
    assert problem.startswith("/robot_description")
    assert says in problem


def test_the_balancers_description_is_its_simulation() -> None:
    robot = ElementTree.parse(SIM / "balancer.urdf").getroot()
    world = ElementTree.parse(SIM / "balancer.xml").getroot()
    bodies = {one.get("name"): one for one in world.iter("body")}
    for side in ("left", "right"):
        joint = next(one for one in robot.iter("joint") if one.get("name") == f"{side}_wheel_joint")
        body = bodies[f"{side}_wheel"]
        assert numbers(joint.find("origin"), "xyz") == numbers(body, "pos")
        assert numbers(joint.find("axis"), "xyz") == numbers(body.find("joint"), "axis")
    shapes = {one.get("name"): one for one in robot.iter("visual")}
    for geom in world.iter("geom"):
        name = geom.get("name")
        if name not in shapes:
            continue
        shape = shapes.pop(name)
        half = numbers(geom, "size")
        box, tube = shape.find("geometry/box"), shape.find("geometry/cylinder")
        if box is not None:
            assert numbers(box, "size") == pytest.approx([2 * one for one in half])
            assert numbers(shape.find("origin"), "xyz") == numbers(geom, "pos")
        else:
            assert tube is not None
            assert [float(tube.get(key, "")) for key in ("radius", "length")] == pytest.approx(
                [half[0], 2 * half[1]]
            )
            assert numbers(shape.find("origin"), "rpy") == numbers(geom, "euler")
    assert set(shapes) == {"left_mark", "right_mark"}


def numbers(element: Any, key: str) -> list[float]:
    return [float(word) for word in element.get(key).split()]


def test_the_wheels_turn_as_in_the_simulation() -> None:
    pytest.importorskip("mujoco")
    from policy_runner.sim.balancer import JOINT_NAMES, Balancer

    balancer = Balancer()
    names = {"left_wheel_joint": 0.7, "right_wheel_joint": -1.1}
    import mujoco

    for name, angle in names.items():
        balancer.data.joint(name).qpos[0] = angle
    mujoco.mj_kinematics(balancer.model, balancer.data)
    tree = LinkTree((SIM / "balancer.urdf").read_text(), "balancer.urdf")
    base = np.eye(4)
    base[:3, :3] = balancer.data.body("base").xmat.reshape(3, 3)
    base[:3, 3] = balancer.data.body("base").xpos
    found = {one.child: base @ matrix(one) for one in tree.transforms(names)}
    for name in JOINT_NAMES:
        link = name.removesuffix("_joint")
        body = balancer.data.body(link)
        assert found[link][:3, 3] == pytest.approx(body.xpos)
        assert found[link][:3, :3] == pytest.approx(body.xmat.reshape(3, 3))
