"""Commands of joints by name and kind, written to the controls of a model's actuators.

An actuator of the robot file (`own`) takes every kind: its force is
kp (q* - q) - kd dq for a position, kd (dq* - dq) for a velocity, or the effort itself. These are
MuJoCo's affine actuators, so an implicit integrator integrates the gains implicitly. A motor of the
model takes efforts, and positions and velocities by the same law, if gains are known. A servo of
the model takes only its own kind. With a transmission ratio g (gear), its length is g q and its
force is the joint's divided by g.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array

KINDS = ("position", "velocity", "effort")
_CHANGED = (  # what a change of the kind of commands changes in a model
    *("actuator_gainprm", "actuator_biasprm", "actuator_forcerange"),
    *("actuator_biastype", "actuator_ctrllimited", "actuator_forcelimited"),
)


class Channel(NamedTuple):
    """Where the numbers of one command go: control[places] = values * factor / divisor.

    An effort is divided by its gear, not multiplied by the inverse: the control that a trainer
    multiplied by the gear is then the same float again.
    """

    places: npt.NDArray[np.intp]
    factor: Array | None  # None: all are 1
    divisor: Array | None  # None: all are 1

    def controls(self, values: Array) -> Array:
        """The controls of these values of a command, float64 [places]."""
        if self.factor is not None:
            values = values * self.factor
        return values if self.divisor is None else values / self.divisor


@dataclass
class _Motor:
    """One actuator of a joint."""

    number: int
    gear: float
    kind: str  # its own kind: position | velocity | effort
    own: bool
    factor: float  # control per unit of its own kind, before the division
    divisor: float
    force: tuple[float, float]  # range of its force; +-inf without a limit
    law: tuple[float, ...]  # the model's gain and three bias parameters


class Drives:
    """The actuators of a compiled model, by joint."""

    def __init__(
        self, model: mujoco.MjModel, joint_names: Sequence[str], own: Sequence[str], file: str
    ) -> None:
        """Find the actuators.

        Args:
            model: compiled; commands change the parameters of its actuators.
            joint_names: hinges and slides.
            own: the joints with an actuator that `robot.yaml` added.
            file: the robot's file, for errors.
        """
        self._model, self._file = model, file
        self._names = list(joint_names)
        self._motors: dict[str, dict[str, _Motor]] = {}
        self._gains: dict[str, tuple[float, float]] = {}
        self._fixed: set[str] = set()  # joints whose gains the robot file states
        self._mode: dict[int, str] = {}  # actuator -> kind of its last command
        self._channels: dict[tuple[str, tuple[str, ...]], Channel] = {}
        self._softened = False
        self._gain_factor, self._force_factor = 1.0, 1.0
        self._nominal = tuple(np.array(getattr(model, name)) for name in _CHANGED)
        joints = {model.joint(name).id: name for name in joint_names}
        for k in range(model.nu):
            joint = joints.get(int(model.actuator_trnid[k, 0]))
            kind_of_transmission = int(model.actuator_trntype[k])
            if joint is None or kind_of_transmission > int(mujoco.mjtTrn.mjTRN_JOINTINPARENT):
                continue
            motor = _motor(model, k, joint in own)
            if motor is not None:
                self._motors.setdefault(joint, {}).setdefault(motor.kind, motor)

    @property
    def driven(self) -> list[str]:
        """The joints with an actuator that takes commands."""
        return list(self._motors)

    def set_gains(self, gains: Mapping[str, tuple[float, float]], fixed: bool = False) -> None:
        """Set stiffness and damping of joints.

        Args:
            gains: joint -> (stiffness [N m/rad], damping [N m s/rad]).
            fixed: they are the robot file's, which later gains do not replace.
        """
        for name, pair in gains.items():
            if name in self._names and (fixed or name not in self._fixed):
                self._gains[name] = pair
                if fixed:
                    self._fixed.add(name)
        self._apply_again()

    def vary(self, gain: float, force: float) -> None:
        """Multiply all gains, and all force limits, by these factors; both are 1 at first."""
        self._gain_factor, self._force_factor = gain, force
        self._restore()
        self._apply_again()

    def _restore(self) -> None:
        """Set every actuator to the numbers of the compiled model, times the factors."""
        for name, nominal in zip(_CHANGED, self._nominal):
            getattr(self._model, name)[:] = nominal
        self._model.actuator_gainprm[:] = self._nominal[0] * self._gain_factor
        self._model.actuator_biasprm[:] = self._nominal[1] * self._gain_factor
        self._model.actuator_forcerange[:] = self._nominal[2] * self._force_factor

    def soften(self, softened: bool) -> None:
        """Set the stiffness of commanded positions to 0, or back; the damping stays."""
        if softened != self._softened:
            self._softened = softened
            self._apply_again()

    def channel(self, kind: str, names: Sequence[str]) -> Channel:
        """Prepare the actuators of these joints for commands of this kind.

        Args:
            kind: position, velocity or effort.
            names: joints.

        Raises:
            Refusal: a joint is unknown or has no actuator, or its actuator does not take the kind.
        """
        key = (kind, tuple(names))
        known = self._channels.get(key)
        if known is not None:
            return known
        unknown = [name for name in names if name not in self._motors]
        if unknown:
            got = f"{', '.join(unknown)} among the commanded {', '.join(names)}"
            expected = (
                f"joints with an actuator ({', '.join(self._motors) or 'the model has none'})"
            )
            raise refuse(self._file, "joints", expected, got)
        chosen = [self._usable(name, kind) for name in names]
        for name, motor in zip(names, chosen):
            self._mode[motor.number] = kind
            self._apply(name, motor, kind)
        pairs = [self._factors(n, motor, kind) for n, motor in zip(names, chosen)]
        factor, divisor = np.array(pairs).reshape(-1, 2).T.copy()
        places = np.array([motor.number for motor in chosen], dtype=np.intp)
        channel = Channel(
            places,
            None if np.all(factor == 1.0) else factor,
            None if np.all(divisor == 1.0) else divisor,
        )
        # Another command may have switched one of these actuators to another kind.
        self._channels = {
            other: one
            for other, one in self._channels.items()
            if other[0] == kind or not set(one.places.tolist()) & set(places.tolist())
        }
        self._channels[key] = channel
        return channel

    def rest(self, pose: Mapping[str, float]) -> dict[int, float]:
        """Forget all commands. Return the controls before the first command, by actuator.

        Actuators that can hold a position hold the pose; the control of all others is 0.

        Args:
            pose: joint -> position.
        """
        self._softened = False
        self._channels.clear()
        self._mode.clear()
        self._restore()
        controls: dict[int, float] = {}
        for name, motors in self._motors.items():
            for motor in motors.values():
                if motor.own and name in self._gains:
                    self._mode[motor.number] = "position"
                    self._apply(name, motor, "position")
                    controls[motor.number] = pose[name]
                elif motor.kind == "position" and not motor.own:
                    factor, divisor = self._factors(name, motor, "position")
                    controls[motor.number] = pose[name] * factor / divisor
        return controls

    def _usable(self, name: str, kind: str) -> _Motor:
        motors = self._motors[name]
        if kind in motors and not motors[kind].own:
            return motors[kind]
        motor = motors.get("effort")
        if motor is None:
            have = " and ".join(motors)
            remedy = "command that kind, or set actuators.source: own in robot.yaml"
            raise refuse(
                self._file, f"joint {name}", f"{have} commands, as the model's servo", kind, remedy
            )
        if kind != "effort" and name not in self._gains:
            expected = f"stiffness and damping for {kind} commands"
            remedy = "set actuators.stiffness and actuators.damping, or the gains of the policy"
            raise refuse(self._file, f"joint {name}", expected, "none", remedy)
        return motor

    def _apply_again(self) -> None:
        for name, motors in self._motors.items():
            for motor in motors.values():
                if motor.number in self._mode:
                    self._apply(name, motor, self._mode[motor.number])

    def _factors(self, name: str, motor: _Motor, kind: str) -> tuple[float, float]:
        """The control per unit of a command, as a factor and a divisor."""
        if motor.own or motor.kind != kind or (kind == "position" and name in self._fixed):
            return 1.0, 1.0
        return motor.factor, motor.divisor

    def _apply(self, name: str, motor: _Motor, kind: str) -> None:
        """Set the parameters of an actuator for this kind of command."""
        model, k = self._model, motor.number
        softened = self._softened and kind == "position"
        if (
            motor.kind == kind
            and not motor.own
            and not (kind == "position" and name in self._fixed)
        ):
            gain, *bias = (number * self._gain_factor for number in motor.law)
            model.actuator_gainprm[k, 0] = 0.0 if softened else gain
            model.actuator_biasprm[k, :3] = (bias[0], 0.0, bias[2]) if softened else bias
            return
        g = motor.gear
        kp, kd = (gain * self._gain_factor for gain in self._gains.get(name, (0.0, 0.0)))
        if softened:
            kp = 0.0
        gain, terms = {
            "position": (kp / g, (0.0, -kp / g**2, -kd / g**2)),
            "velocity": (kd / g, (0.0, 0.0, -kd / g**2)),
            "effort": (1.0 / g, (0.0, 0.0, 0.0)),
        }[kind]
        model.actuator_biastype[k] = int(mujoco.mjtBias.mjBIAS_AFFINE)
        model.actuator_gainprm[k, 0] = gain
        model.actuator_biasprm[k, :3] = terms
        # The range of a motor's control is a range of its force; a control is a position now.
        low, high = motor.force
        model.actuator_ctrllimited[k] = 0
        if np.isfinite(low) and np.isfinite(high):
            model.actuator_forcelimited[k] = 1
            model.actuator_forcerange[k] = low * self._force_factor, high * self._force_factor


def _motor(model: mujoco.MjModel, k: int, own: bool) -> _Motor | None:
    """Describe an actuator; None if it takes no position, velocity or effort."""
    gear = float(model.actuator_gear[k, 0])
    gain = float(model.actuator_gainprm[k, 0])
    if (
        int(model.actuator_gaintype[k]) != int(mujoco.mjtGain.mjGAIN_FIXED)
        or int(model.actuator_dyntype[k]) != int(mujoco.mjtDyn.mjDYN_NONE)
        or gear == 0.0
        or gain == 0.0
    ):
        return None
    law = (gain, *(float(one) for one in model.actuator_biasprm[k, :3]))
    force = (-np.inf, np.inf)
    if model.actuator_forcelimited[k]:
        force = (float(model.actuator_forcerange[k, 0]), float(model.actuator_forcerange[k, 1]))
    if own:
        return _Motor(k, gear, "effort", True, 1.0, 1.0, force, law)
    bias = int(model.actuator_biastype[k])
    if bias == int(mujoco.mjtBias.mjBIAS_NONE):
        if model.actuator_ctrllimited[k]:
            ends = sorted(float(end) * gain for end in model.actuator_ctrlrange[k])
            force = (max(force[0], ends[0]), min(force[1], ends[1]))
        return _Motor(k, gear, "effort", False, 1.0, gear * gain, force, law)
    if bias == int(mujoco.mjtBias.mjBIAS_AFFINE) and law[2] != 0.0:
        return _Motor(k, gear, "position", False, -law[2] * gear / gain, 1.0, force, law)
    if bias == int(mujoco.mjtBias.mjBIAS_AFFINE) and law[3] != 0.0:
        return _Motor(k, gear, "velocity", False, -law[3] * gear / gain, 1.0, force, law)
    return None
