"""The arm in MuJoCo: images, motion, and a teacher that knows where the ball is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np

HERE = Path(__file__).parent
PIXELS = 64
DT = 0.05  # s between two actions of a chunk
STEPS = 20  # actions of a chunk
UPPER, LOWER = 0.22, 0.20  # m
FASTEST = 1.5  # rad/s
SHARE = 0.22  # of the remaining way, per step
POSE = np.array([[-2.0, 2.0], [-2.2, 2.2]])  # rad, where episodes begin


class Arm:
    """Physics at 500 Hz, and the camera above the arm."""

    def __init__(self, camera: bool = True) -> None:
        self.model: Any = mujoco.MjModel.from_xml_path(str(HERE / "arm.xml"))
        self.data: Any = mujoco.MjData(self.model)
        self._renderer = mujoco.Renderer(self.model, PIXELS, PIXELS) if camera else None
        self._site = self.data.site("fingertip")

    def place(self, pose: np.ndarray, ball: np.ndarray) -> None:
        """Begin at rest in a pose [rad], with the ball at (x, y) [m]."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.data.ctrl[:] = pose
        self.data.mocap_pos[0, :2] = ball
        mujoco.mj_forward(self.model, self.data)

    def run(self, command: np.ndarray, seconds: float) -> None:
        """Move to a commanded pose [rad] for this time."""
        self.data.ctrl[:] = command
        for _ in range(round(seconds / self.model.opt.timestep)):
            mujoco.mj_step(self.model, self.data)

    @property
    def pose(self) -> np.ndarray:
        """The measured joint positions [rad]."""
        return np.array(self.data.qpos)

    @property
    def distance(self) -> float:
        """From the fingertip to the ball, in the plane [m]."""
        return float(np.linalg.norm(self._site.xpos[:2] - self.data.mocap_pos[0, :2]))

    def image(self) -> np.ndarray:
        """What the camera sees, uint8 [PIXELS, PIXELS, 3], red, green, blue."""
        assert self._renderer is not None
        self._renderer.update_scene(self.data, "above")
        return np.array(self._renderer.render())


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A pose [rad], and a ball (x, y) [m] that is within reach without turning the elbow over."""
    while True:
        pose = rng.uniform(POSE[:, 0], POSE[:, 1])
        radius, angle = rng.uniform(0.16, 0.39), rng.uniform(-1.9, 1.9)
        ball = radius * np.array([np.cos(angle), np.sin(angle)])
        if np.all(np.abs(goal(pose, ball)) <= POSE[:, 1] + 0.1):
            return pose, ball


def goal(pose: np.ndarray, ball: np.ndarray) -> np.ndarray:
    """The pose whose fingertip is at the ball, with the elbow on the side where it is [rad]."""
    x, y = ball
    cosine = (x * x + y * y - UPPER**2 - LOWER**2) / (2 * UPPER * LOWER)
    bend = np.arccos(np.clip(cosine, -1.0, 1.0))
    side = 1.0 if pose[1] >= 0.0 else -1.0
    elbow = side * bend
    shoulder = np.arctan2(y, x) - np.arctan2(LOWER * np.sin(elbow), UPPER + LOWER * np.cos(elbow))
    return np.array([np.arctan2(np.sin(shoulder), np.cos(shoulder)), elbow])


def teach(pose: np.ndarray, ball: np.ndarray) -> np.ndarray:
    """The teacher's chunk, relative to the pose: [STEPS, 2], action 0 is the pose itself."""
    wanted, now = goal(pose, ball), pose.copy()
    chunk = np.zeros((STEPS, 2))
    for k in range(STEPS):
        chunk[k] = now - pose
        now = now + np.clip(SHARE * (wanted - now), -FASTEST * DT, FASTEST * DT)
    return chunk
