"""What happens to a simulated robot besides its physics: the demo's scenario, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from policy_runner.core.model import Array
from policy_runner.ros.simulated_robot.command_reader import SentCommand
from policy_runner.sim.balancer import JOINT_NAMES, Balancer
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.scenario import WATCHDOG_S, Scenario
from policy_runner.sim.variation import NOMINAL

RECENT_FALL_S = 5.0


class World(Protocol):
    """Advances one robot, tick by tick."""

    @property
    def plant(self) -> Plant:
        """The robot."""

    @property
    def ticks(self) -> int:
        """Ticks since the start."""

    @property
    def twist(self) -> Sequence[float]:
        """The commanded velocity: x, y [m/s], yaw [rad/s]."""

    @property
    def lying(self) -> bool:
        """Whether it has fallen and is about to stand up."""

    @property
    def expected(self) -> Sequence[str]:
        """Joints that every command must name."""

    def tick(self, commands: Sequence[SentCommand] | None) -> None:
        """Send the commands and advance by one tick; None: no command arrived."""

    def stop(self) -> None:
        """Switch the motors off, until the next command."""

    def releases(self, commands: Sequence[SentCommand] | None) -> bool:
        """Whether these commands release a robot that is held at the start."""

    def score(self) -> dict[str, Any]:
        """Figures of the run, ready for JSON."""

    def state(self) -> tuple[str, bool, dict[str, Any]]:
        """For diagnostics: what it does, whether that is a warning, and figures."""


class ScenarioWorld:
    """The balancer in the demo's scenario, which also pushes it and lets it stand up."""

    expected = JOINT_NAMES

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Build the robot; `values` are the node's parameters.

        Raises:
            Refusal: a tick is not a whole number of physics steps.
        """
        self.balancer = Balancer(delay_s=values["command_delay"])
        self.scenario = Scenario(
            self.balancer,
            values["seed"],
            commands=values["commands"] == "random",
            pushes=values["pushes"],
            rate_hz=values["rate"],
        )
        self._target = dict.fromkeys(JOINT_NAMES, 0.0)

    @property
    def plant(self) -> Plant:
        """The balancer's physics."""
        return self.balancer.plant

    @property
    def ticks(self) -> int:
        """Ticks since the start."""
        return self.scenario.ticks

    @property
    def twist(self) -> Sequence[float]:
        """The scenario's command."""
        forward, yaw = self.scenario.command
        return forward, 0.0, yaw

    @property
    def lying(self) -> bool:
        """Whether it has fallen."""
        return self.scenario.lying

    def tick(self, commands: Sequence[SentCommand] | None) -> None:
        """Send wheel velocities; a wheel that no command names keeps its target."""
        targets = None
        for command in commands or ():
            if command.after_ns:  # only the first point of a trajectory
                continue
            self._target.update(zip(command.names, command.values, strict=True))
            targets = [self._target[name] for name in JOINT_NAMES]
        self.scenario.tick(targets)

    def stop(self) -> None:
        """Switch the motors off."""
        self.scenario.stop_wheels()

    def releases(self, commands: Sequence[SentCommand] | None) -> bool:
        """Whether a wheel shall turn."""
        return any(any(command.values) for command in commands or ())

    def score(self) -> dict[str, Any]:
        """The scenario's score."""
        return self.scenario.score().as_json()

    def state(self) -> tuple[str, bool, dict[str, Any]]:
        """How the robot balances."""
        scenario, balancer = self.scenario, self.balancer
        score = scenario.score()
        recent = scenario.falls > 0 and scenario.upright_s < RECENT_FALL_S
        does = "balancing"
        if scenario.lying:
            does = "fallen"
        elif recent:
            does = "fell a moment ago"
        figures = {
            "upright [s]": scenario.upright_s,
            "falls": score.falls,
            "simulated [s]": score.simulated_s,
            "commands": score.commands,
            "upright share": score.upright_share,
            "velocity rmse forward [m/s]": score.velocity_rmse_forward,
            "velocity rmse yaw [rad/s]": score.velocity_rmse_yaw,
            "command forward [m/s]": scenario.command[0],
            "command yaw [rad/s]": scenario.command[1],
            "forward [m/s]": balancer.forward_velocity,
            "yaw rate [rad/s]": balancer.yaw_rate,
            "tilt [rad]": balancer.tilt,
        }
        return does, recent, figures


class PlantWorld:
    """Any robot on its own: one constant velocity command, and no judge."""

    expected: Sequence[str] = ()
    lying = False

    def __init__(self, plant: Plant, values: Mapping[str, Any]) -> None:
        """Reset the robot.

        Args:
            plant: the robot.
            values: the node's parameters.

        Raises:
            Refusal: a tick is not a whole number of physics steps.
        """
        self.plant = plant
        self.ticks = 0
        self.twist: Sequence[float] = tuple(values["twist"]) or (0.0, 0.0, 0.0)
        self._tick_s = values["period"] or 1.0 / values["rate"]
        self._steps = plant.steps_of(self._tick_s)
        plant.set_delay(values["command_delay"])
        plant.reset(values["seed"], NOMINAL)
        self._fallen_tilt = float(values["fallen_tilt"])
        self._answered = 0
        self._silent_ticks = 0
        # Kind of command -> joints or axes, while they move. A set: each may have its own message.
        self._names: dict[str, set[str]] = {}
        # Kind -> tick of arrival, and the points of a trajectory.
        self._played: dict[str, tuple[int, list[SentCommand]]] = {}
        self._first_fall_s: float | None = None
        self._tilt = 0.0
        self._velocities = np.zeros(3)  # sum over the ticks, base frame

    def tick(self, commands: Sequence[SentCommand] | None) -> None:
        """Send the commands and advance.

        Raises:
            Refusal: the robot does not take a command, or the simulation diverged.
        """
        plant = self.plant
        if commands:
            self._answered += 1
            self._silent_ticks = 0
            for one in commands:
                if one.gains:
                    plant.set_gains(one.gains)
                if not one.after_ns:
                    self._played.pop(one.kind, None)
                    plant.command(one.kind, one.names, np.array(one.values))
                if one.kind != "position":
                    self._names.setdefault(one.kind, set()).update(one.names)
            self._begin_trajectories(commands)
        if self._played:
            self._play()
        elif not commands:
            self._silent_ticks += 1
            if self._silent_ticks * self._tick_s > WATCHDOG_S:
                self.stop()
        plant.advance(self._steps)
        self.ticks += 1
        self._account()

    def _begin_trajectories(self, commands: Sequence[SentCommand]) -> None:
        for kind in {one.kind for one in commands if one.after_ns}:
            points = [one for one in commands if one.kind == kind]
            if all(one.names == points[0].names for one in points):
                self._played[kind] = self.ticks, points

    def _play(self) -> None:
        """Send the targets of trajectories with several points, linear between the points."""
        for kind, (began, points) in list(self._played.items()):
            if began == self.ticks:
                continue
            elapsed_ns = (self.ticks - began) * self._tick_s * 1e9
            times = [one.after_ns for one in points]
            columns = np.array([one.values for one in points]).T
            target = np.array([np.interp(elapsed_ns, times, column) for column in columns])
            self.plant.command(kind, points[0].names, target)
            if elapsed_ns >= times[-1]:
                del self._played[kind]
        self._silent_ticks = 0

    def _account(self) -> None:
        plant = self.plant
        linear, _ = plant.read.velocity(plant.base)
        self._velocities += linear
        self._tilt = plant.tilt if plant.floats else 0.0
        if self._first_fall_s is None and self._tilt > self._fallen_tilt:
            self._first_fall_s = self.ticks * self._tick_s

    def stop(self) -> None:
        """Set velocities, efforts and twists to 0; positions hold."""
        for kind, names in self._names.items():
            self.plant.command(kind, sorted(names), np.zeros(len(names)))
        self._names.clear()
        self._played.clear()

    def releases(self, commands: Sequence[SentCommand] | None) -> bool:
        """Whether any command arrived."""
        return bool(commands)

    def score(self) -> dict[str, Any]:
        """Where the robot is, and whether its tilt exceeded `fallen_tilt`."""
        mean: Array = self._velocities / max(1, self.ticks)
        return {
            "simulated_s": round(self.ticks * self._tick_s, 6),
            "commands": self._answered,
            "falls": int(self._first_fall_s is not None),
            "first_fall_s": self._first_fall_s,
            "tilt": self._tilt,
            "base_position": self.plant.read.position(self.plant.base).tolist(),
            "mean_velocity": mean.tolist(),
            "state_hash": self.plant.state_hash,
        }

    def state(self) -> tuple[str, bool, dict[str, Any]]:
        """Where the robot is."""
        linear, angular = self.plant.read.velocity(self.plant.base)
        x, y, z = self.plant.read.position(self.plant.base).tolist()
        figures = {
            "simulated [s]": self.ticks * self._tick_s,
            "commands": self._answered,
            "tilt [rad]": self._tilt,
            "x [m]": x,
            "y [m]": y,
            "z [m]": z,
            "forward [m/s]": float(linear[0]),
            "yaw rate [rad/s]": float(angular[2]),
            "command forward [m/s]": float(self.twist[0]),
            "command yaw [rad/s]": float(self.twist[2]),
        }
        fallen = self._first_fall_s is not None
        return ("fallen" if fallen else "running"), fallen, figures
