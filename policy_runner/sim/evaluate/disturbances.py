"""Acts on a loop during an episode: commands, pushes, noise, lost messages, errors of joints.

Every kind has a random generator of its own, so one does not change the draws of another. The
draws depend on the seeds only: the values of a sweep meet the same commands and pushes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from policy_runner.core.model import Array
from policy_runner.sim.evaluate.plan import AXES, Plan, Span
from policy_runner.sim.loop.policy_in_loop import PolicyInLoop
from policy_runner.sim.loop.sensor_numbers import JointOrder
from policy_runner.sim.robot_file.sensor_keys import JointStatesSensor
from policy_runner.sim.sensors import turned
from policy_runner.sim.variation import NOMINAL, Variation

COMMAND_HOLD_S = (3.0, 6.0)
PUSH_PAUSE_S = (4.0, 8.0)
PUSH_DURATION_S = 0.1
SETTLING_S = 1.5  # after a push or a change of command no velocity error is counted
# Shares of the gyro's noise [rad/s], as of usual Imus: orientation [rad], acceleration [m/s^2].
ORIENTATION_SHARE, ACCELERATION_SHARE = 0.25, 5.0
IMU = "sensor_msgs/msg/Imu"


class Disturbances:
    """The disturbances of one loop; `begin` starts an episode, `before_tick` acts.

    Attributes:
        settled_from: tick from which velocity errors count.
        commands: number of commands that were drawn.
    """

    def __init__(self, loop: PolicyInLoop, plan: Plan) -> None:
        """Find the inputs.

        Args:
            loop: policy and robot.
            plan: what is drawn.
        """
        self._loop, self._plan = loop, plan
        self._places = [list(AXES).index(axis) for axis in plan.commands]
        slots = loop.loaded.pipeline.slots
        self._imus = {name for name, slot in slots.items() if slot.spec.type == IMU}
        sensors = loop.plant.robot.spec.sensors
        known = list(loop.plant.joint_names)
        self._orders: dict[str, list[int]] = {}
        for name, slot in slots.items():
            sensor = sensors.get(slot.spec.topic)
            if isinstance(sensor, JointStatesSensor):
                names = JointOrder(sensor, loop.plant).names
                self._orders[name] = [known.index(one) for one in names]
        self._sensed = [name for name, slot in slots.items() if slot.spec.topic in sensors]
        self._number_of = {name: k for k, name in enumerate(known)}
        self.settled_from = 0
        self.commands = 0

    def begin(self, number: int) -> None:
        """Begin an episode: reset the loop, and draw its conditions.

        Args:
            number: of the episode.
        """
        plan, loop, seed = self._plan, self._loop, self._plan.seed
        streams = np.random.SeedSequence((seed, number)).spawn(8)
        rngs = [np.random.default_rng(stream) for stream in streams]
        self._rng_commands, self._rng_pushes, self._rng_noise, self._rng_loss = rngs[:4]
        given, draws = plan.conditions, rngs[4].random(6)
        delay, mass, friction, self._noise, offset, self._loss = (
            low + (high - low) * float(share)
            for (low, high), share in zip(
                (given.command_delay, given.mass, given.friction, given.imu_noise,
                 given.joint_offset, given.packet_loss),
                draws,
            )
        )  # fmt: skip
        signs = rngs[5].choice((-1.0, 1.0), len(self._number_of))
        self._offsets = offset * signs
        nominal = mass == friction == 1.0
        variation = NOMINAL if nominal else Variation(body_mass=mass, friction=friction)
        start = int(rngs[6].integers(1 << 31))
        loop.begin(start, variation)
        loop.plant.set_delay(delay)
        loop.inputs.command[:] = 0.0
        loop.inputs.skipped = set()
        loop.inputs.change = self._changed if self._noise or offset else None
        loop.output.change = self._sent if offset else None
        self.settled_from = self.commands = 0
        self._next_command = 0
        self._next_push = self._in_ticks(self._rng_pushes.uniform(*PUSH_PAUSE_S))

    def before_tick(self) -> None:
        """Draw what is due before the next tick."""
        loop = self._loop
        if self._places and loop.ticks >= self._next_command:
            rng, spans = self._rng_commands, self._plan.commands.values()
            loop.inputs.command[self._places] = [rng.uniform(*span) for span in spans]
            self._next_command = loop.ticks + self._in_ticks(rng.uniform(*COMMAND_HOLD_S))
            self.commands += 1
            self._settle(0.0)
        if loop.ticks >= self._next_push:
            self._push(self._plan.conditions.push)
        if self._loss:
            lost = self._rng_loss.random(len(self._sensed)) < self._loss
            loop.inputs.skipped = {name for name, gone in zip(self._sensed, lost) if gone}

    def _push(self, span: Span) -> None:
        rng, loop = self._rng_pushes, self._loop
        force, angle = rng.uniform(*span), rng.uniform(-math.pi, math.pi)
        self._next_push = loop.ticks + self._in_ticks(rng.uniform(*PUSH_PAUSE_S))
        if force:
            direction = (force * math.cos(angle), force * math.sin(angle), 0.0)
            loop.plant.push(direction, PUSH_DURATION_S)
            self._settle(PUSH_DURATION_S)

    def _settle(self, after_s: float) -> None:
        tick = self._loop.ticks + self._in_ticks(after_s + SETTLING_S)
        self.settled_from = max(self.settled_from, tick)

    def _in_ticks(self, seconds: float) -> int:
        return max(1, round(seconds / self._loop.period_s))

    def _changed(self, name: str, kind: str, numbers: Array) -> Array:
        """Noise of an Imu, and the wrong zero of measured positions."""
        if kind == "position":
            return numbers + self._offsets[self._orders[name]]
        if self._noise and name in self._imus:
            rng, noise, out = self._rng_noise, self._noise, numbers.copy()
            out[:4] = turned(numbers[:4], rng.normal(0.0, noise * ORIENTATION_SHARE / 2, 3))
            out[4:7] += rng.normal(0.0, noise, 3)
            out[7:] += rng.normal(0.0, noise * ACCELERATION_SHARE, 3)
            return out
        return numbers

    def _sent(self, kind: str, names: Sequence[str], values: Array) -> Array:
        """The motors have the same wrong zero as the encoders."""
        if kind != "position":
            return values
        return values - self._offsets[[self._number_of[name] for name in names]]
