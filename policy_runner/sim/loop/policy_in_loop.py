"""A policy drives a plant in lockstep, through the pipeline of the node.

One tick: read the plant, step the pipeline, send the command, advance one control period. The node
in lockstep does the same in the same order, so both give identical floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.pipeline.pipeline import Step
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.robot.load import LoadedPolicy, load_policy
from policy_runner.sim.camera import Cameras
from policy_runner.sim.loop.input_feed import InputFeed, Source
from policy_runner.sim.loop.policy_facts import policy_facts
from policy_runner.sim.loop.robot_output import RobotOutput, check_joints
from policy_runner.sim.loop.sensor_numbers import SensorNoise
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.robot_reader import RobotFile
from policy_runner.sim.robot_file.sensor_keys import CameraSensor
from policy_runner.sim.variation import NOMINAL, Variation

IMAGE = "sensor_msgs/msg/Image"


class PolicyInLoop:
    """One policy and one plant.

    Attributes:
        loaded: the policy; `loaded.pipeline` has decisions, limit hits and settings.
        plant: the robot.
        inputs: feeds the policy; set `inputs.command`, `inputs.change` and `inputs.skipped`.
        output: sends the commands; set `output.change`.
        period_s: the control period [s].
        ticks: ticks since the last `begin`.
    """

    def __init__(
        self,
        loaded: LoadedPolicy,
        plant: Plant,
        sources: Mapping[str, Source] | None = None,
        images: Callable[[CameraSensor], Any] | None = None,
        noise_seed: int | None = None,
    ) -> None:
        """Connect both.

        Args:
            loaded: see `load_policy`. Its pipeline gets a clock that stands still: no inference is
                late in simulation.
            plant: built with the facts of the policy, see `plant_for`.
            sources: see `InputFeed`.
            images: see `InputFeed`.
            noise_seed: of the noise of the sensors; None: no noise.

        Raises:
            Refusal: joints, inputs or commands do not match.
        """
        check_joints(loaded, plant)
        self.cameras: Cameras | None = None  # `connect` sets them, `close` releases them
        self.loaded, self.plant = loaded, plant
        self._noise = SensorNoise(noise_seed) if noise_seed is not None else None
        # The order is the node's: an effort from a PD law asks the inputs for its joints.
        self.output = RobotOutput(loaded, plant)
        self.inputs = InputFeed(loaded, plant, self._noise, sources, images)
        self._pipeline = loaded.pipeline
        self._pipeline.use_clock(_no_time)
        self._period_ns = self._pipeline.settings.period_ns
        self.period_s = self._period_ns / 1e9
        self._steps = plant.steps_of(self.period_s)
        self.ticks = 0
        self._pipeline.activate()

    def begin(self, seed: int = 0, variation: Variation = NOMINAL) -> None:
        """Start an episode: reset the plant and the pipeline.

        Args:
            seed: of the plant's start, and with `noise_seed` of the noise.
            variation: factors on the nominal robot.
        """
        self.plant.reset(seed, variation)
        self._pipeline.activate()
        self.inputs.begin()
        if self._noise is not None:
            self._noise.restart(seed)
        self.ticks = 0

    def tick(self) -> Step:
        """Do one control period; return the pipeline's result.

        Raises:
            Refusal: the simulation diverged.
        """
        step = self.decide()
        self.plant.advance(self._steps)
        return step

    def decide(self) -> Step:
        """Do the first half of a tick: read, step, send. The time does not advance."""
        # The first stamp is one period: a stamp of 0 means "not set".
        now_ns = (self.ticks + 1) * self._period_ns
        self.ticks += 1
        with np.errstate(all="ignore"):  # the pipeline checks for NaN itself, as in the node
            return self._decide(now_ns)

    def _decide(self, now_ns: int) -> Step:
        self.inputs.feed(now_ns)
        pipeline = self._pipeline
        step = pipeline.step(now_ns)
        if step.command is not None:
            limits = pipeline.settings.limits
            why = self.output.send(step.command, pipeline.manner, limits)
            if why:
                fault = Fault(Decision.SAFE_STOP, Reason.COMMAND_REFUSED, why)
                instead = pipeline.refuse(now_ns, fault)
                if instead is not None:
                    self.output.send(instead, pipeline.manner, limits)
        return step

    def run(
        self, seconds: float, after: Callable[[PolicyInLoop, Step], bool | None] | None = None
    ) -> None:
        """Do the ticks of a duration.

        Args:
            seconds: simulated time [s].
            after: called after each tick; True ends the run.

        Raises:
            Refusal: the simulation diverged.
        """
        for _ in range(round(seconds / self.period_s)):
            step = self.tick()
            if after is not None and after(self, step):
                return

    def close(self) -> None:
        """Release the model and the cameras; do not tick afterwards."""
        self.loaded.close()
        if self.cameras is not None:
            self.cameras.close()


def plant_for(robot: RobotFile, loaded: LoadedPolicy) -> Plant:
    """Build a plant that starts in the policy's default pose and has its gains.

    Raises:
        Refusal: see `Plant`.
    """
    file = str(loaded.spec_file.path)
    return Plant(robot, policy_facts(loaded.spec, loaded.joints, file))


def put_in_loop(
    spec: Path | str, robot: RobotFile, params: Path | str | None = None, **how: Any
) -> PolicyInLoop:
    """Load a policy and a robot and connect them.

    Args:
        spec: `policy.yaml`, or its folder.
        robot: see `read_robot`.
        params: the node's parameter file; None: every parameter has its default.
        how: further arguments of `PolicyInLoop`.

    Raises:
        Refusal: one of them has problems, or they do not match.
    """
    return connect(load_policy(spec, params), robot, **how)


def connect(loaded: LoadedPolicy, robot: RobotFile, **how: Any) -> PolicyInLoop:
    """Build the robot and connect it to a policy, with cameras if the policy reads images.

    Args:
        loaded: the policy; an error closes it.
        robot: see `read_robot`.
        how: further arguments of `PolicyInLoop`.

    Raises:
        Refusal: the robot has problems, or they do not match.
    """
    cameras: Cameras | None = None
    try:
        plant = plant_for(robot, loaded)
        # A context of OpenGL costs a second.
        if any(given.type == IMAGE for given in loaded.spec.inputs.values()):
            cameras = Cameras(plant)
            how.setdefault("images", cameras.image)
        loop = PolicyInLoop(loaded, plant, **how)
        loop.cameras = cameras
        return loop
    except BaseException:
        loaded.close()
        if cameras is not None:
            cameras.close()
        raise


def _no_time() -> int:
    return 0
