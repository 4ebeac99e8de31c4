"""Judges one episode, tick by tick: falls, stops, tracking, energy, limits, smoothness, slip."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from policy_runner.core.model import Array
from policy_runner.core.pipeline.pipeline import Step
from policy_runner.core.safety.decision import Decision
from policy_runner.sim.evaluate.plan import AXES, Plan
from policy_runner.sim.robot_file.sensor_keys import ContactsSensor

if TYPE_CHECKING:  # the names of the figures are known without MuJoCo
    from policy_runner.sim.loop.policy_in_loop import PolicyInLoop
    from policy_runner.sim.plant.plant import Plant

TRACKED = ("vx", "vy", "wz")
# A joint this close to the end of its range is at it [rad] or [m].
AT_LIMIT = 1e-3
TOUCHING_N = 1.0  # a foot with a smaller normal force stands on nothing


@dataclass
class Episode:
    """What an episode gave. All sums are over its ticks.

    Attributes:
        number: of the episode.
        ticks: control periods until the end or the fall.
        period_s: the control period [s].
        fell_s: time of the fall [s]; None: none. A simulation that diverged fell.
        diverged: why the simulation ended; '' if it did not diverge.
        stopped_s: time of the first SAFE_STOP [s]; None: none.
        stop_reason: its reason.
        ran: ticks in RUN.
        held_s: time of the first HOLD [s]; None: none.
        held: ticks in HOLD.
        commands: number of commanded velocities.
        squares: squared velocity errors by short axis name.
        errors: velocity errors by short axis name.
        counted: ticks over which both were summed.
        distance: length of the base's horizontal path [m].
        progress: horizontal distance of the base from its start, at the end [m].
        energy: sum of |effort x velocity| of all joints [J].
        at_limit: ticks in which a joint was at the end of its range.
        limit_hits: commands that a limit of the robot changed.
        command_steps: sum of the squared changes of the command from tick to tick.
        command_bends: sum of the squared second differences of the command.
        elements: number of elements of a command.
        slid: path of the feet on the ground while they touched it [m].
        touched: time of the feet on the ground [s], summed over feet; None: contacts are not known.
        most_tilt: largest tilt of the base [rad].
    """

    number: int
    period_s: float
    elements: int
    ticks: int = 0
    fell_s: float | None = None
    diverged: str = ""
    stopped_s: float | None = None
    stop_reason: str = ""
    ran: int = 0
    held_s: float | None = None
    held: int = 0
    commands: int = 0
    squares: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    distance: float = 0.0
    progress: float = 0.0
    energy: float = 0.0
    at_limit: int = 0
    limit_hits: int = 0
    command_steps: float = 0.0
    command_bends: float = 0.0
    slid: float = 0.0
    touched: float | None = None
    most_tilt: float = 0.0

    @property
    def simulated_s(self) -> float:
        """Simulated time [s]."""
        return self.ticks * self.period_s


class Scorer:
    """Scores the episodes of one loop; `begin` before, `after_tick` after each tick."""

    def __init__(self, loop: PolicyInLoop, plan: Plan) -> None:
        """Find ranges and feet.

        Args:
            loop: policy and robot.
            plan: its commanded axes are tracked; it says what a fall is.
        """
        self._loop, self._plan = loop, plan
        plant = loop.plant
        model = plant.model
        joints = [model.joint(name) for name in plant.joint_names]
        limited = np.array([bool(model.jnt_limited[joint.id]) for joint in joints], dtype=bool)
        ranges = np.array([model.jnt_range[joint.id] for joint in joints]).reshape(-1, 2)
        self._limited = np.flatnonzero(limited)
        self._low = ranges[self._limited, 0] + AT_LIMIT
        self._high = ranges[self._limited, 1] - AT_LIMIT
        sensors = plant.robot.spec.sensors.values()
        self._feet = [foot for one in sensors if isinstance(one, ContactsSensor) for foot in one.of]
        self._tracked = [axis for axis in TRACKED if axis in plan.commands]
        self._places = [list(AXES).index(axis) for axis in self._tracked]

    def begin(self, number: int) -> None:
        """Begin an episode, after the loop was reset."""
        loop = self._loop
        self.episode = Episode(number, loop.period_s, len(loop.loaded.pipeline.elements))
        self.episode.squares = dict.fromkeys(self._tracked, 0.0)
        self.episode.errors = dict.fromkeys(self._tracked, 0.0)
        if self._feet:
            self.episode.touched = 0.0
        self._hits = int(loop.loaded.pipeline.limit_hits.sum())
        self._start = loop.plant.read.position(loop.plant.base)
        self._before: Array | None = None
        self._change: Array | None = None

    def after_tick(self, step: Step, settled: bool) -> bool:
        """Judge a tick.

        Args:
            step: the pipeline's result.
            settled: a velocity error counts now.

        Returns:
            Whether the robot fell.
        """
        episode, loop, plan = self.episode, self._loop, self._plan
        plant, read = loop.plant, loop.plant.read
        episode.ticks += 1
        now_s = episode.ticks * loop.period_s
        if step.decision is Decision.RUN:
            episode.ran += 1
        elif step.decision is Decision.HOLD:
            episode.held += 1
            if episode.held_s is None:
                episode.held_s = now_s
        elif step.decision is Decision.SAFE_STOP and episode.stopped_s is None:
            episode.stopped_s = now_s
            episode.stop_reason = loop.loaded.pipeline.safety.reason.value
        speed = read.joint_velocities
        episode.energy += float(np.abs(read.joint_efforts * speed).sum()) * loop.period_s
        self._judge_limits(read.joint_positions)
        if step.command is not None:
            self._judge_command(step.command)
        tilt, vx, vy, wz = base_motion(plant)
        episode.most_tilt = max(episode.most_tilt, tilt)
        episode.distance += math.hypot(vx, vy) * loop.period_s
        if settled and step.decision is Decision.RUN:
            measured = {"vx": vx, "vy": vy, "wz": wz}
            command = loop.inputs.command
            for axis, place in zip(self._tracked, self._places):
                error = measured[axis] - float(command[place])
                episode.squares[axis] += error * error
                episode.errors[axis] += error
            episode.counted += 1
        if self._feet:
            self._judge_feet()
        low = plant.floats and plan.fall_height * float(self._start[2])
        if tilt > plan.fall_tilt or (low and float(read.position(plant.base)[2]) < low):
            episode.fell_s = now_s
            return True
        return False

    def end(self, commands: int) -> Episode:
        """Finish the episode and return it."""
        hits = int(self._loop.loaded.pipeline.limit_hits.sum())
        self.episode.limit_hits = hits - self._hits
        plant = self._loop.plant
        x, y, _ = plant.read.position(plant.base) - self._start
        self.episode.progress = math.hypot(x, y) if not self.episode.diverged else 0.0
        self.episode.commands = commands
        return self.episode

    def _judge_limits(self, positions: Array) -> None:
        if self._limited.size:
            there = positions[self._limited]
            if bool(np.any(there <= self._low) or np.any(there >= self._high)):
                self.episode.at_limit += 1

    def _judge_command(self, command: Array) -> None:
        if self._before is not None:
            change = command - self._before
            self.episode.command_steps += float(change @ change)
            if self._change is not None:
                bend = change - self._change
                self.episode.command_bends += float(bend @ bend)
            self._change = change
        self._before = command.copy()

    def _judge_feet(self) -> None:
        episode, read, period_s = self.episode, self._loop.plant.read, self._loop.period_s
        assert episode.touched is not None
        for foot, force in zip(self._feet, read.contact_forces(self._feet).tolist()):
            if force > TOUCHING_N:
                velocity = read.point_velocity(foot)
                episode.slid += math.hypot(velocity[0], velocity[1]) * period_s
                episode.touched += period_s


def base_motion(plant: Plant) -> tuple[float, float, float, float]:
    """How the base moves.

    Returns:
        Tilt [rad]; velocity along the heading and to its left [m/s], horizontal; angular velocity
        about the vertical [rad/s].
    """
    x, y, z, w = (float(one) for one in plant.read.orientation(plant.base))
    linear, angular = plant.read.velocity(plant.base)
    a, b, c = (float(one) for one in linear)
    # The rows of the rotation matrix, body to world.
    east = (1 - 2 * (y * y + z * z)) * a + 2 * (x * y - w * z) * b + 2 * (x * z + w * y) * c
    north = 2 * (x * y + w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z - w * x) * c
    cos_tilt = 1 - 2 * (x * x + y * y)
    p, q, r = (float(one) for one in angular)
    turning = 2 * (x * z - w * y) * p + 2 * (y * z + w * x) * q + cos_tilt * r
    yaw = math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))
    cos, sin = math.cos(yaw), math.sin(yaw)
    tilt = math.acos(max(-1.0, min(1.0, cos_tilt)))
    return tilt, cos * east + sin * north, cos * north - sin * east, turning
