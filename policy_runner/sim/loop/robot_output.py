"""Sends the commands of a policy to a plant: the numbers that the node would publish."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import Problem, Refusal, collect, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.model import Array
from policy_runner.core.settings import CommandLimits, Manner
from policy_runner.core.spec.elements import KINDS, absent_joints
from policy_runner.robot.config import held_numbers
from policy_runner.robot.load import LoadedPolicy
from policy_runner.sim.plant.plant import Plant


class RobotOutput:
    """Robot value = sign * policy value, plus the joint's offset for a position.

    Attributes:
        change: changes commands before they are sent: (kind, joints or axes, float64 [names]) ->
            the numbers to send; None: no change.
    """

    def __init__(self, loaded: LoadedPolicy, plant: Plant) -> None:
        """Settle the order of the numbers.

        Args:
            loaded: the policy.
            plant: the robot.

        Raises:
            Refusal: the policy commands values, or joints that the plant cannot drive.
        """
        self._plant = plant
        self.change: Callable[[str, Sequence[str], Array], Array] | None = None
        pipeline, spec, file = loaded.pipeline, loaded.spec, str(loaded.spec_file.path)
        command = loaded.config.command
        problems: list[Problem | str] = []
        self._pd: EffortFromPd | None = None
        elements = list(pipeline.elements)
        kinds = [element.kind for element in elements]
        if command.effort_from_pd:
            with collect(problems):
                self._pd = EffortFromPd(spec, file, elements, list(pipeline.slots.values()))
                pipeline.watch(self._pd.fault)
            kinds = ["effort"] * len(elements)
        if "value" in kinds:
            expected = "commands of joints, or a twist, for a simulated robot"
            problems.append(Problem(file, "action", expected, "kind value"))
        joints = [
            loaded.joints[e.joint] if KINDS[kind].of_joints else RobotJoint(e.joint)
            for e, kind in zip(elements, kinds)
        ]
        self._sign = np.array([joint.sign for joint in joints])
        self._offset = np.array(
            [joint.offset if kind == "position" else 0.0 for joint, kind in zip(joints, kinds)]
        )
        self._carries_gains = command.carries_gains
        names = [joint.name for joint in joints]
        self._names = names
        held = held_numbers(command, problems)
        self._held_names, self._held_numbers = list(held), np.array(list(held.values()))
        self._held_kind = kinds[0]
        self._groups: list[tuple[str, list[str], np.ndarray]] = []
        for kind in dict.fromkeys(kinds):
            index = [k for k, one in enumerate(kinds) if one == kind]
            self._groups.append((kind, [names[k] for k in index], np.array(index)))
        twice = [name for k, name in enumerate(names) if kinds[k] != "twist" and name in names[:k]]
        if twice:
            expected = "one kind of command for each joint of a simulated robot"
            problems.append(Problem(file, "action", expected, f"several for {', '.join(twice)}"))
        if problems:
            raise Refusal(problems)
        self._check(plant)

    def _check(self, plant: Plant) -> None:
        """Refuse commands that the plant does not take, before the first tick."""
        problems: list[Problem | str] = []
        driven = plant.driven_joints
        for kind, names, _ in self._groups:
            if kind == "twist":
                if not plant.takes_twists:
                    expected = "the key `twist`, since the policy commands a twist"
                    problems.append(Problem(plant.file, "twist", expected, "nothing"))
                continue
            missing = [name for name in names if name not in driven]
            if missing:
                listed = ", ".join(driven) or "none"
                expected = f"a joint with an actuator for each of {', '.join(names)}"
                got = f"none for {', '.join(missing)}; those of the robot: {listed}"
                problems.append(Problem(plant.file, "joints", expected, got))
        if problems:
            raise Refusal(problems)

    def send(self, command: Array, manner: Manner, limits: CommandLimits) -> str:
        """Send a command to the plant, or return why it must not be sent.

        Args:
            command: float64 [elements], in policy order and units.
            manner: how to send it, see `Manner`.
            limits: of the elements.

        Returns:
            '' if it was sent.
        """
        least, most = limits.low, limits.high
        if self._pd is not None:
            share = manner.effort_share
            command = self._pd.compute(command) if share is None else self._pd.stop(share)
            least, most = -self._pd.limit, self._pd.limit
        inside = np.isfinite(command) & (command >= least) & (command <= most)
        if not inside.all():
            bad = int(np.flatnonzero(~inside)[0])
            return f"{self._names[bad]}: {command[bad]:g}, within {least[bad]:g} to {most[bad]:g}"
        values = command * self._sign + self._offset
        plant = self._plant
        if self._carries_gains:
            plant.soften(manner.damped)
        for kind, names, index in self._groups:
            sent = values[index]
            plant.command(
                kind, names, sent if self.change is None else self.change(kind, names, sent)
            )
        if self._held_names:
            share = 1.0
            if self._held_kind != "position":
                share = manner.held_effort if self._held_kind == "effort" else manner.held_velocity
            plant.command(self._held_kind, self._held_names, self._held_numbers * share)
        return ""


def check_joints(loaded: LoadedPolicy, plant: Plant) -> None:
    """Refuse a policy whose joints the robot lacks, with both lists.

    Raises:
        Refusal: at least one joint is missing.
    """
    absent = absent_joints(loaded.spec, str(loaded.spec_file.path))
    wanted = [loaded.joints[name].name for name in loaded.spec.joint_names if name not in absent]
    missing = [name for name in wanted if name not in plant.joint_names]
    if missing:
        have = ", ".join(plant.joint_names) or "no joint"
        raise refuse(
            plant.file,
            "joints",
            f"every joint of the policy ({', '.join(wanted)})",
            f"no {', '.join(missing)}; the robot has {have}",
            "set the parameters joint_prefix or joints.<joint>.name",
        )
