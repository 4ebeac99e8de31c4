"""Joint limits from a URDF: limits by kind of command, signs and offsets, refusals."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.core.errors import Refusal
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.spec.base import NO_LIMIT, Limit
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.urdf import limits_of_urdf, read_urdf, read_urdf_file

pytestmark = pytest.mark.skipif(
    find_spec("urdf_parser_py") is None, reason="urdf-parser-py is not installed"
)


def urdf(*joints: str) -> str:
    links = "".join(f'<link name="l{k}"/>' for k in range(len(joints) + 1))
    return f'<robot name="r">{links}{"".join(joints)}</robot>'


def joint(name: str, limit: str, kind: str = "revolute", k: int = 0) -> str:
    inside = f"<limit {limit}/>" if limit else ""
    return (
        f'<joint name="{name}" type="{kind}"><parent link="l{k}"/><child link="l{k + 1}"/>'
        f'<axis xyz="0 0 1"/>{inside}</joint>'
    )


KNEE = joint("r_knee", 'lower="-1.5" upper="0.5" velocity="12" effort="30"')
WHEEL = joint("r_wheel", 'velocity="20" effort="8"', "continuous", k=1)


def _limits(
    text: str, kind: str, name: str, said: Limit = NO_LIMIT, **robot: Any
) -> dict[str, Limit]:
    joints = {name: RobotJoint(f"r_{name}", **robot)}
    elements = [ActionElement(name, kind)]
    return limits_of_urdf(read_urdf(text, "robot.urdf"), elements, joints, [said], "robot.urdf")


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("position", "knee", Limit(lower=-1.5, upper=0.5, max_rate=12.0)),
        ("velocity", "knee", Limit(lower=-12.0, upper=12.0)),
        ("effort", "knee", Limit(lower=-30.0, upper=30.0)),
        ("position", "wheel", Limit(max_rate=20.0)),
        ("velocity", "wheel", Limit(lower=-20.0, upper=20.0)),
    ],
)
def test_each_kind_takes_its_own(kind: str, name: str, expected: Limit) -> None:
    assert _limits(urdf(KNEE, WHEEL), kind, name) == {name: expected}


def test_ends_in_the_policys_sense_of_the_joint() -> None:
    # robot = -policy + 0.1: robot -1.5 is policy 1.6, robot 0.5 is policy -0.4.
    (limit,) = _limits(urdf(KNEE), "position", "knee", sign=-1.0, offset=0.1).values()
    assert limit.lower == pytest.approx(-0.4)
    assert limit.upper == pytest.approx(1.6)
    (limit,) = _limits(urdf(KNEE), "position", "knee", offset=0.1).values()
    assert (limit.lower, limit.upper) == (pytest.approx(-1.6), pytest.approx(0.4))


def test_a_twist_has_no_joint() -> None:
    elements = [ActionElement("linear.x", "twist")]
    assert limits_of_urdf(read_urdf(urdf(KNEE), "u"), elements, {}, [NO_LIMIT], "u") == {}


def _refused(call: Any, *arguments: Any, **keys: Any) -> str:
    with pytest.raises(Refusal) as caught:
        call(*arguments, **keys)
    (problem,) = caught.value.problems
    return str(problem)


def test_a_joint_that_the_urdf_does_not_have() -> None:
    text = _refused(_limits, urdf(KNEE), "position", "kneee")
    assert text == (
        "robot.urdf: joint: expected every commanded joint, got no 'r_kneee'; "
        "did you mean 'r_knee'?"
    )


@pytest.mark.parametrize(
    ("limit", "key"),
    [
        ('velocity="12" effort="30"', "limit: expected room between its ends, got 0 to 0"),
        ('lower="1" upper="-1" velocity="1" effort="1"', "room between its ends, got 1 to -1"),
        ('lower="-1" upper="1" velocity="0" effort="1"', "limit.velocity: expected more than 0"),
    ],
)
def test_limits_that_leave_no_room_need_somebody_who_says_better(limit: str, key: str) -> None:
    text = urdf(joint("r_knee", limit))
    assert key in _refused(_limits, text, "position", "knee")
    said = Limit(lower=-1.0, upper=1.0, max_rate=2.0)
    found = _limits(text, "position", "knee", said)
    assert said.or_else(found.get("knee", NO_LIMIT)) == said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<robot/>",
        "<robot name='r'><joint name='a'/></robot>",
        "<other/>",
        urdf(joint("r_knee", 'lower="low" velocity="1" effort="1"')),
        urdf(KNEE).replace("</robot>", ""),
    ],
)
def test_no_urdf_is_refused_in_a_sentence(text: str) -> None:
    sentence = _refused(read_urdf, text, "robot.urdf")
    assert sentence.startswith("robot.urdf: expected a URDF, got ")
    assert "\n" not in sentence


@pytest.mark.parametrize("head", ["<!DOCTYPE r [<!ENTITY a 'b'>]>", "<!DOCTYPE r SYSTEM 'x'>"])
def test_entities_are_refused_before_the_library_sees_them(head: str) -> None:
    assert "without a document type" in _refused(read_urdf, head + urdf(KNEE), "robot.urdf")


def test_a_number_that_is_none_is_no_limit() -> None:
    text = urdf(joint("r_knee", 'lower="-inf" upper="nan" velocity="inf" effort="1"'))
    assert _limits(text, "position", "knee") == {}


def test_files(tmp_path: Path) -> None:
    assert "limits.urdf" in _refused(read_urdf_file, tmp_path / "none.urdf")
    (tmp_path / "bad.urdf").write_bytes(b"\xff\xfe\x00")
    assert "expected a readable URDF" in _refused(read_urdf_file, tmp_path / "bad.urdf")
    (tmp_path / "r.urdf").write_text("<?xml version='1.0' encoding='UTF-8'?>" + urdf(KNEE))
    assert set(read_urdf_file(tmp_path / "r.urdf")) == {"r_knee"}


FULL = """<?xml version="1.0" ?>
<robot name="r" xmlns:xacro="http://ros.org/wiki/xacro">
<material name="m"><color rgba="0 0 0 1"/></material>
<gazebo reference="a"><sensor name="x" type="imu"/></gazebo>
<ros2_control name="c" type="system"><hardware><plugin>p</plugin></hardware>
<joint name="j"><command_interface name="effort"/></joint></ros2_control>
<transmission name="t"><type>SimpleTransmission</type><joint name="j"/><actuator name="m"/>
</transmission>
<link name="a"><visual><geometry><mesh filename="package://x/y.dae"/></geometry>
<material name="m"/></visual></link><link name="b"/>
<joint name="j" type="revolute" foo="1"><origin xyz="0 0 0" rpy="0 0 0"/><parent link="a"/>
<child link="b"/><axis xyz="1 0 0"/><dynamics damping="0" friction="0"/>
<limit lower="-1" upper="1" velocity="3" effort="2"/><mimic joint="j"/>
<safety_controller k_velocity="10" k_position="1" soft_lower_limit="-1" soft_upper_limit="1"/>
</joint></robot>"""


def test_what_else_stands_in_robots_descriptions_is_passed_over_silently(
    capfd: pytest.CaptureFixture[str],
) -> None:
    found = read_urdf(FULL, "robot.urdf")
    assert found["j"].upper == 1.0
    assert capfd.readouterr() == ("", "")


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_damaged_one_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(FULL)))
    end = data.draw(st.integers(begin, min(len(FULL), begin + 40)))
    put = data.draw(st.text(max_size=5) | st.sampled_from(["nan", "1e999", '"', "<", "</robot>"]))
    try:
        joints = read_urdf(FULL[:begin] + put + FULL[end:], "robot.urdf")
        limits_of_urdf(
            joints, [ActionElement("j", "position")], {"j": RobotJoint("j")}, [NO_LIMIT], "u"
        )
    except Refusal:
        pass
