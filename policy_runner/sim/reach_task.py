"""The task of the demo's arm: balls appear one after another, and the fingertip has to reach them.

Pure simulation, without a clock and without ROS. The model has a site `fingertip`, a body `ball`
that is moved from outside (`mocap="true"`), and two joints about the vertical: `models/reach`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.sim.plant.plant import Plant

BALL_S = 4.0  # time for each ball
NEAR_M = 0.02  # reached: within this distance ...
STAYS_S = 0.5  # ... for the last part of the time
# Balls like those of the training, see models/reach/arm.py.
RADIUS_M = (0.16, 0.39)  # from the shoulder
ANGLE_RAD = 1.9  # +-, from the shoulder
POSE_RAD = np.array([2.1, 2.3])  # +-, the pose that reaches it
AWAY_M = 0.1  # least distance of a new ball from the fingertip
MOVES, STANDS = 0.1, 0.05  # rad/s, the fastest joint: moves above, stands below ...
STOPPED_S = 0.1  # ... for this time
_TRIES = 10_000


class ReachTask:
    """Places the balls and judges the motion. Call `account` after every tick of the plant.

    Attributes:
        reached: for each ball whose time is over, whether it was reached.
        seconds: for each of these that the fingertip came near, the time until then [s].
        stops: how often it stopped on the way to a ball.
        distance_m: from the fingertip to the ball, at the newest tick.
    """

    def __init__(self, plant: Plant, seed: int, tick_s: float) -> None:
        """Place the first ball.

        Args:
            plant: the robot, after its reset.
            seed: of the balls.
            tick_s: time between two calls of `account` [s].

        Raises:
            Refusal: the model is no arm that reaches a ball.
        """
        self._plant, self._tick_s = plant, tick_s
        model = plant.model
        site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, "fingertip")
        body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, "ball")
        self._ball = int(model.body_mocapid[body]) if body >= 0 else -1
        if site < 0 or self._ball < 0 or len(plant.joint_names) != len(POSE_RAD):
            expected = "a site fingertip, a mocap body ball and two joints, for the task reach"
            raise refuse(plant.file, "model.file", expected, "a model without them")
        self._site = site
        self._elsewhere = mujoco.MjData(model)
        self._rng = np.random.default_rng(seed)
        self.reached: list[bool] = []
        self.seconds: list[float] = []
        self.stops, self._moves, self._stands = 0, False, 0
        self._commands: list[Array] = []  # newest last, at most 4
        self._velocities: list[Array] = []  # newest last, at most 3
        self._motion, self._commanded = _MeanSquare(), _MeanSquare()
        self._ticks = round(BALL_S / tick_s)  # of each ball
        self._place()

    def _place(self) -> None:
        """Move the ball to a new place, on the side of the arm where the elbow is."""
        model, data = self._plant.model, self._elsewhere
        side = -1.0 if self._plant.read.joint_positions[1] < 0.0 else 1.0
        tip = self._tip()
        for _ in range(_TRIES):
            pose = self._rng.uniform(-POSE_RAD, POSE_RAD)
            pose[1] = side * abs(pose[1])
            data.qpos[self._plant.read.position_places] = pose
            mujoco.mj_kinematics(model, data)
            x, y = data.site_xpos[self._site, :2].tolist()
            inside = RADIUS_M[0] <= math.hypot(x, y) <= RADIUS_M[1]
            away = math.hypot(x - tip[0], y - tip[1]) >= AWAY_M
            if inside and away and abs(math.atan2(y, x)) <= ANGLE_RAD:
                break
        else:
            expected = f"places {RADIUS_M[0]} to {RADIUS_M[1]} m from the shoulder within reach"
            raise refuse(self._plant.file, "model.file", expected, "none")
        self._plant.data.mocap_pos[self._ball, :2] = x, y
        self._plant.read.moved()
        self._since = 0  # ticks
        self._near_since = -1  # -1: it is not near
        self._first_near = -1  # -1: it has not been near
        self.distance_m = math.hypot(x - tip[0], y - tip[1])

    def _tip(self) -> Array:
        self._plant.read.refresh()
        return np.array(self._plant.data.site_xpos[self._site, :2])

    def account(self, command: Mapping[str, float] | None) -> None:
        """Judge one tick; place the next ball when the time is over.

        Args:
            command: joint -> commanded position [rad]; None: no command arrived.
        """
        plant, dt = self._plant, self._tick_s
        if command is not None and all(name in command for name in plant.joint_names):
            self._commands.append(np.array([command[name] for name in plant.joint_names]))
            del self._commands[:-4]
            if len(self._commands) == 4:
                self._commanded.add(np.diff(self._commands, 3, axis=0) / dt**3)
        self._velocities.append(plant.read.joint_velocities)
        del self._velocities[:-3]
        if len(self._velocities) == 3:
            self._motion.add(np.diff(self._velocities, 2, axis=0) / dt**2)
        to_ball = self._tip() - plant.data.mocap_pos[self._ball, :2]
        self.distance_m = float(np.linalg.norm(to_ball))
        self._since += 1
        speed = float(np.abs(self._velocities[-1]).max())
        self._stands = self._stands + 1 if speed < STANDS else 0
        if self._moves and self._stands >= round(STOPPED_S / dt):
            self._moves = False
            self.stops += int(self.distance_m >= NEAR_M)
        self._moves = self._moves or speed > MOVES
        if self.distance_m >= NEAR_M:
            self._near_since = -1
        elif self._near_since < 0:
            self._near_since = self._since
            if self._first_near < 0:
                self._first_near = self._since
        if self._since >= self._ticks:
            stays = self._since - self._near_since + 1 >= round(STAYS_S / dt)
            self.reached.append(self._near_since >= 0 and stays)
            if self._first_near >= 0:
                self.seconds.append(self._first_near * dt)
            self._place()

    def score(self) -> dict[str, Any]:
        """Figures of the run, ready for JSON; None where nothing was counted.

        `near_after_s` is the median. Both jerks are root mean squares over the run and the joints
        [rad/s^3]: of the joints' motion, and of the commands, one a tick.
        """
        return {
            "balls": len(self.reached),
            "reached": sum(self.reached),
            "reached_share": sum(self.reached) / len(self.reached) if self.reached else None,
            "near_after_s": float(np.median(self.seconds)) if self.seconds else None,
            "stops": self.stops,
            "joint_jerk": self._motion.root,
            "command_jerk": self._commanded.root,
        }


class _MeanSquare:
    """The root mean square of all numbers."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, values: Array) -> None:
        self._sum += float(np.sum(values**2))
        self._count += values.size

    @property
    def root(self) -> float | None:
        return math.sqrt(self._sum / self._count) if self._count else None
