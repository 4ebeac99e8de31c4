"""An arm whose task is to reach balls, as a world of the simulated robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policy_runner.ros.simulated_robot.command_reader import SentCommand
from policy_runner.ros.simulated_robot.worlds import PlantWorld
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.reach_task import ReachTask


class ReachWorld(PlantWorld):
    """A robot from a file in the task `reach`: see `ReachTask`."""

    def __init__(self, plant: Plant, values: Mapping[str, Any]) -> None:
        """Reset the robot and place the first ball.

        Args:
            plant: the arm.
            values: the node's parameters.

        Raises:
            Refusal: the model does not fit the task, or a tick is not a whole number of steps.
        """
        super().__init__(plant, values)
        self._task = ReachTask(plant, values["seed"], self._tick_s)
        # In real time a tick may have no command or two, so their differences are no jerk.
        self._one_a_tick = values["mode"] == "lockstep"

    def tick(self, commands: Sequence[SentCommand] | None) -> None:
        """Send the commands, advance, and judge.

        Raises:
            Refusal: the robot does not take a command, or the simulation diverged.
        """
        super().tick(commands)
        sent = None
        if self._one_a_tick and commands:
            firsts = [one for one in commands if one.kind == "position" and not one.after_ns]
            sent = {
                name: value for one in firsts for name, value in zip(one.names, one.values)
            }  # fmt: skip
        self._task.account(sent)

    def score(self) -> dict[str, Any]:
        """How many balls were reached, and how smoothly."""
        whole = super().score()
        kept = {name: whole[name] for name in ("simulated_s", "commands", "state_hash")}
        return {**kept, **self._task.score()}

    def state(self) -> tuple[str, bool, dict[str, Any]]:
        """How it reaches; a warning after a ball that was not reached."""
        score = self.score()
        figures = {
            "simulated [s]": score["simulated_s"],
            "commands": score["commands"],
            "balls": score["balls"],
            "reached": score["reached"],
            "near after [s]": score["near_after_s"],
            "stops": score["stops"],
            "distance [m]": self._task.distance_m,
            "joint jerk [rad/s^3]": score["joint_jerk"],
        }
        missed = bool(self._task.reached) and not self._task.reached[-1]
        return ("did not reach the last ball" if missed else "reaching"), missed, figures
