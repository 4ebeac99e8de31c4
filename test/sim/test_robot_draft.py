"""The drafted robot.yaml loads as it is, and warns of what makes a robot explode."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from sim_rig import MODELS

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

BARE = """<mujoco><option timestep="0.01" integrator="Euler"/><worldbody><body name="b" pos="0 0 1">
<freejoint/><geom size="0.1"/><body><joint name="j" damping="1"/><geom size="0.1"/>
<body><joint/><geom size="0.1"/></body></body></body></worldbody></mujoco>"""


@pytest.mark.parametrize("name", ["arm.xml", "toy.xml"])
def test_a_draft_is_a_robot(tmp_path: Path, name: str) -> None:
    from policy_runner.sim.plant.plant import Plant
    from policy_runner.sim.robot_draft import draft_robot
    from policy_runner.sim.robot_file.robot_reader import read_robot

    shutil.copy(MODELS[name], tmp_path / name)
    text, warnings = draft_robot(tmp_path / name)
    (tmp_path / "robot.yaml").write_text(text, "utf-8")
    robot = read_robot(tmp_path)
    Plant(robot)
    sensors = robot.spec.sensors
    if name == "toy.xml":
        assert robot.spec.start.keyframe == "home"
        imu = sensors["imu/data"]
        found = (imu.gyro, imu.accelerometer, imu.orientation)
        assert found == ("rates", "acceleration", "attitude")
        assert warnings == []
    else:
        assert sensors["wrist/image"].camera == "wrist"
        assert sensors["sensors"].names == ["tip_position"]


def test_a_draft_warns(tmp_path: Path) -> None:
    from policy_runner.sim.robot_draft import draft_robot

    (tmp_path / "bare.xml").write_text(BARE, "utf-8")
    text, warnings = draft_robot(tmp_path / "bare.xml")
    for part in (
        "1 joints have no name",
        "the armature is 0 at j:",
        "the integrator is Euler, which treats gains explicitly",
        "the timestep is 0.01 s",
        "no effort limit at j:",
    ):
        assert sum(part in one for one in warnings) == 1, part
        assert f"# Warning: {part}" in text
    assert "height: 1.0" in text


def test_a_draft_of_something_else_is_refused(tmp_path: Path) -> None:
    from policy_runner.core.errors import Refusal
    from policy_runner.sim.robot_draft import draft_robot

    with pytest.raises(Refusal, match=r"--draft: expected an MJCF or a URDF .*got policy.yaml"):
        draft_robot(tmp_path / "policy.yaml")
