"""Images show what the camera sees; without OpenGL there is one sentence."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim_rig import plant

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

CAMERA = {"type": "camera", "camera": "wrist", "width": 80, "height": 60}


@pytest.fixture
def arm(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    from policy_runner.core.errors import Refusal
    from policy_runner.sim.camera import Cameras

    robot = plant(tmp_path, "arm.xml", sensors={"wrist/image": CAMERA})
    try:
        cameras = Cameras(robot)
    except Refusal as refusal:
        pytest.skip(f"no OpenGL: {refusal}")
    yield robot, cameras
    cameras.close()


def red(pixels: Any) -> Any:
    r, g, b = (pixels[..., k].astype(int) for k in range(3))
    return (r > 90) & (r > g + 50) & (r > b + 50)


def test_the_camera_sees_the_cube_where_the_arm_points(arm: tuple[Any, Any]) -> None:
    robot, cameras = arm
    sensor = robot.robot.spec.sensors["wrist/image"]
    robot.data.qpos[:] = 0.0, 0.9, -1.2
    robot.read.moved()
    pixels = cameras.render(sensor)
    assert pixels.shape == (60, 80, 3)
    seen = red(pixels)
    assert seen.sum() > 20
    assert cameras.render(sensor).tobytes() == pixels.tobytes()
    robot.data.qpos[0] = -0.15  # turns to the right: the cube moves to the left in the image
    robot.read.moved()
    moved = red(cameras.render(sensor))
    assert np.nonzero(moved)[1].mean() < np.nonzero(seen)[1].mean() - 3
    robot.data.qpos[0] = 2.0
    robot.read.moved()
    assert not red(cameras.render(sensor)).any()


def test_an_image_is_a_message_in_rgb8_with_its_first_row_on_top(arm: tuple[Any, Any]) -> None:
    robot, cameras = arm
    sensor = robot.robot.spec.sensors["wrist/image"]
    image = cameras.image(sensor)
    assert (image.height, image.width, image.encoding, image.step) == (60, 80, "rgb8", 240)
    assert bytes(image.data) == cameras.render(sensor).tobytes()
    outside = cameras.view(80, 60, distance=1.5)
    sky, table = outside[0].mean(axis=0), outside[-1].mean(axis=0)
    assert sky[2] > table[2] + 20  # the sky is blue, and above


def test_the_cheap_settings_render_often(arm: tuple[Any, Any]) -> None:
    robot, cameras = arm
    big = robot.robot.spec.sensors["wrist/image"].model_copy(update={"width": 320, "height": 240})
    cameras.render(big)
    began = time.process_time()
    for _ in range(3):
        cameras.render(big)
    assert time.process_time() - began < 3.0  # 10 images/s are wanted, of a CPU without load


def test_without_opengl_there_is_one_sentence(tmp_path: Path) -> None:
    plant(tmp_path, "arm.xml", sensors={"wrist/image": CAMERA})
    code = (
        "from policy_runner.sim.robot_file.robot_reader import read_robot\n"
        "from policy_runner.sim.plant.plant import Plant\n"
        "from policy_runner.sim.camera import Cameras\n"
        f"Cameras(Plant(read_robot({str(tmp_path)!r})))\n"
    )
    environment = {"PYOPENGL_PLATFORM": "osmesa", "PATH": ""}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = ran.stderr.strip().splitlines()[-1]
    assert "cameras: expected OpenGL off screen (MUJOCO_GL=egl), got" in last, ran.stderr
    assert last.endswith("MUJOCO_GL=osmesa")


@pytest.mark.parametrize("command", ["evaluate", "sim"])
def test_an_opengl_that_mujoco_cannot_load_is_one_sentence(command: str) -> None:
    program = [sys.executable, "-m", "policy_runner.cli.main", command, "models/toy"]
    ran = subprocess.run(
        [*program, "--robot", "models/toy"],
        env={"MUJOCO_GL": "no-such-library", "PATH": ""},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "expected the Python module mujoco with MUJOCO_GL=no-such-library, got " in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
