"""A robot in MuJoCo: build it from a file, command it by joint name, advance it, read it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.sim.plant.drives import KINDS, Channel, Drives
from policy_runner.sim.plant.factors import NominalModel
from policy_runner.sim.plant.model_edits import build_model
from policy_runner.sim.plant.model_text import read_model
from policy_runner.sim.plant.readings import Readings
from policy_runner.sim.plant.start_state import StartState
from policy_runner.sim.plant.twists import TwistDrive, twist_drive
from policy_runner.sim.robot_file.robot_reader import RobotFile, some_by_name
from policy_runner.sim.variation import NOMINAL, Variation

_UNSTABLE = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
    mujoco.mjtWarning.mjWARN_BADCTRL,
)


@dataclass(frozen=True)
class PolicyFacts:
    """What a policy was trained with, by robot joint name; the robot file has priority."""

    pose: Mapping[str, float] = field(default_factory=dict)  # joint -> default position
    # joint -> (stiffness [N m/rad], damping [N m s/rad])
    gains: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Plant:
    """One robot in one world. Time advances only in `advance`.

    Attributes:
        model: the compiled MuJoCo model.
        data: its state.
        read: the sensors, see `Readings`.
        joint_names: hinges and slides in the order of the file. All arrays [joints] have it.
        base: the body whose pose is the robot's.
        floats: whether the base has a free joint.
    """

    def __init__(self, robot: RobotFile, facts: PolicyFacts = PolicyFacts()) -> None:
        """Build the model and reset it with seed 0.

        Args:
            robot: see `read_robot`.
            facts: default pose and gains of the policy.

        Raises:
            Refusal: the model does not load, or lacks what the robot file names.
        """
        # MuJoCo would write a file MUJOCO_LOG.TXT into the working directory.
        mujoco.set_mju_user_warning(_ignore)
        spec = robot.spec
        self.robot, self.file = robot, str(robot.path)
        built = build_model(robot, read_model(robot))
        self.model = built.model
        self.data = mujoco.MjData(self.model)
        self.timestep_s = float(self.model.opt.timestep)
        self.joint_names = built.joint_names
        self.base, self.floats = built.base, built.floats
        self._base = self.model.body(built.base).id
        self.read = Readings(built, self.data, self.file)
        self._drives = Drives(self.model, built.joint_names, built.own, self.file)
        self._twist: TwistDrive | None = twist_drive(spec.twist, built, self.file)
        self._nominal = NominalModel(built)
        self._use_gains(facts)
        self._start = StartState(robot, built, facts.pose)
        self._controls = np.zeros(self.model.nu)
        self._rest_controls = np.zeros(self.model.nu)
        self._under_way: deque[tuple[int, Channel | None, Array]] = deque()
        self._delay_steps = 0
        self._steps = 0
        self._push_ends = 0
        self._variation = NOMINAL
        self.reset(0)

    def _use_gains(self, facts: PolicyFacts) -> None:
        """Use the gains of the policy, and those of the robot file instead where it has some."""
        self._drives.set_gains(facts.gains)
        names, given = list(self.joint_names), self.robot.spec.actuators
        key = "actuators.stiffness"
        stiffness = some_by_name(given.stiffness, names, self.file, key)
        damping = some_by_name(given.damping, names, self.file, "actuators.damping")
        fixed = {}
        for name, kp, kd in zip(names, stiffness.tolist(), damping.tolist()):
            if np.isnan(kp) and np.isnan(kd):
                continue
            of_policy = facts.gains.get(name, (0.0, 0.0))
            pair = (of_policy[0] if np.isnan(kp) else kp, of_policy[1] if np.isnan(kd) else kd)
            fixed[name] = pair
        self._drives.set_gains(fixed, fixed=True)

    # -- setting up --------------------------------------------------------------------------

    @property
    def driven_joints(self) -> list[str]:
        """The joints with an actuator that takes commands."""
        return self._drives.driven

    @property
    def takes_twists(self) -> bool:
        """Whether `robot.yaml` says what a twist command does."""
        return self._twist is not None

    def reset(self, seed: int = 0, variation: Variation = NOMINAL) -> None:
        """Return to the start state, at time 0, without commands, delays and pushes under way.

        Args:
            seed: of the random part of the start, see `start.joint_spread` and `start.tilt_spread`.
            variation: factors on the nominal model.
        """
        if variation != self._variation:
            self.vary(variation)
        mujoco.mj_resetData(self.model, self.data)
        pose = self._start.apply(self.data, np.random.default_rng(seed))
        self._rest_controls.fill(0.0)
        for number, control in self._drives.rest(pose).items():
            self._rest_controls[number] = control
        self._steps = 0
        self.drop_commands()
        mujoco.mj_forward(self.model, self.data)

    def vary(self, variation: Variation) -> None:
        """Set the model to the nominal model times these factors; the state stays."""
        self._variation = variation
        self._nominal.vary(self.data, variation)
        self._drives.vary(variation.servo_gain, variation.servo_torque)
        self.read.moved()

    def set_gains(self, gains: Mapping[str, tuple[float, float]]) -> None:
        """Set stiffness [N m/rad] and damping [N m s/rad] by joint, except the robot file's."""
        self._drives.set_gains(gains)

    def soften(self, softened: bool) -> None:
        """Set the stiffness of position commands to 0 (`stop.position: damping`), or back."""
        self._drives.soften(softened)

    def set_delay(self, delay_s: float) -> None:
        """Set the delay of all later commands until they reach the actuators [s]."""
        self._delay_steps = round(delay_s / self.timestep_s)

    def drop_commands(self) -> None:
        """Discard the commands and the push under way; the actuators are at rest."""
        self._controls[:] = self._rest_controls
        self._under_way.clear()
        self._push_ends = 0
        if self._twist is not None:
            self._twist.stop()
        self.read.moved()

    # -- acting ------------------------------------------------------------------------------

    def command(self, kind: str, names: Sequence[str], values: Array) -> None:
        """Send a command. It reaches the actuators after the delay and holds until the next one.

        Args:
            kind: position [rad], velocity [rad/s], effort [N m] of joints (m, m/s, N of slides),
                or twist [m/s, rad/s].
            names: joints; of a twist its axes, such as linear.x.
            values: float64 [names].

        Raises:
            Refusal: a joint is unknown or does not take the kind; see `Drives.channel`.
            ValueError: not as many finite numbers as names.
        """
        wanted = np.array(values, dtype=np.float64)
        if wanted.shape != (len(names),) or not np.isfinite(wanted).all():
            raise ValueError(f"expected {len(names)} finite numbers, got {values!r}")
        channel: Channel | None = None
        if kind == "twist":
            if self._twist is None:
                expected = "the key `twist`, which says what a twist command does"
                raise refuse(self.file, "twist", expected, "nothing")
            joints, wanted = self._twist.wheels(names, wanted)
            if joints:
                channel = self._drives.channel("velocity", joints)
        elif kind in KINDS:
            channel = self._drives.channel(kind, names)
        else:
            raise refuse(self.file, "commands", f"{', '.join(KINDS)} or twist", kind)
        if channel is not None:
            wanted = channel.controls(wanted)
        self._under_way.append((self._steps + self._delay_steps, channel, wanted))

    def push(self, force: Sequence[float] | Array, duration_s: float) -> None:
        """Push the base at its centre of mass, starting now.

        Args:
            force: (3,) [N], world frame.
            duration_s: duration [s].
        """
        self.data.xfrc_applied[self._base] = 0.0
        self.data.xfrc_applied[self._base, :3] = force
        self._push_ends = self._steps + round(duration_s / self.timestep_s)

    def advance(self, steps: int) -> None:
        """Advance the simulation.

        Args:
            steps: number of physics steps.

        Raises:
            Refusal: the simulation diverged: a number is NaN, infinite or huge.
        """
        model, data, end = self.model, self.data, self._steps + steps
        base_twist = self._twist is not None and self._twist.moves_base
        while self._steps < end:
            while self._under_way and self._under_way[0][0] <= self._steps:
                _, channel, values = self._under_way.popleft()
                if channel is None:
                    assert self._twist is not None
                    self._twist.use(values)
                else:
                    self._controls[channel.places] = values
            data.ctrl[:] = self._controls
            until = end
            if self._under_way:
                until = min(until, self._under_way[0][0])
            if self._steps >= self._push_ends:
                data.xfrc_applied[self._base] = 0.0
            else:
                until = min(until, self._push_ends)
            if base_twist and self._twist is not None:
                self._twist.step(model, data)
                until = self._steps + 1
            else:
                mujoco.mj_step(model, data, until - self._steps)
            self._steps = until
        self.read.moved()
        for kind in _UNSTABLE:
            if data.warning[kind].number:
                raise self._diverged(kind)

    def _diverged(self, kind: mujoco.mjtWarning) -> Exception:
        number = int(self.data.warning[kind].lastinfo)
        if kind == mujoco.mjtWarning.mjWARN_BADCTRL:
            name = self.model.actuator(number).name or f"number {number}"
            expected = "commands below 1e10, which MuJoCo takes"
            remedy = "set limits in the runner's parameters: joints.<joint>.lower and upper"
            got = f"a larger one for actuator {name} within {self.time_s:.3f} s"
            return refuse(self.file, "commands", expected, got, remedy)
        what = {
            mujoco.mjtWarning.mjWARN_BADQPOS: "position",
            mujoco.mjtWarning.mjWARN_BADQVEL: "velocity",
            mujoco.mjtWarning.mjWARN_BADQACC: "acceleration",
        }[kind]
        where = f"number {number}"
        if kind in (mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC):
            joint = int(self.model.dof_jntid[number])
            where = f"joint {self.model.joint(joint).name or joint}"
        elif kind == mujoco.mjtWarning.mjWARN_BADQPOS:
            joint = int(np.searchsorted(self.model.jnt_qposadr, number, side="right")) - 1
            where = f"joint {self.model.joint(joint).name or joint}"
        return refuse(
            self.file,
            "simulation",
            "finite, bounded numbers",
            f"an invalid {what} of {where} within {self.time_s:.3f} s",
            "use physics.integrator: implicitfast, a smaller physics.timestep, joints.armature, or "
            "lower gains",
        )

    # -- observing ---------------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset [s]."""
        return self._steps * self.timestep_s

    @property
    def tilt(self) -> float:
        """Angle between the base's z axis and the vertical [rad], 0 to pi."""
        x, y, _, _ = self.read.orientation(self.base)
        return float(np.arccos(np.clip(1 - 2 * (x * x + y * y), -1.0, 1.0)))

    @property
    def yaw(self) -> float:
        """Heading of the base in the world [rad]."""
        x, y, z, w = self.read.orientation(self.base)
        return float(np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))

    @property
    def state_hash(self) -> str:
        """A hash of all positions and velocities: equal for runs with identical floats."""
        state = hashlib.sha256(self.data.qpos.tobytes())
        state.update(self.data.qvel.tobytes())
        return state.hexdigest()[:16]

    def steps_of(self, period_s: float) -> int:
        """The number of physics steps in a period, see `physics_steps`."""
        return physics_steps(period_s, self.timestep_s, self.file)


def physics_steps(period_s: float, timestep_s: float, where: str) -> int:
    """The number of physics steps in a period.

    Args:
        period_s: of control [s].
        timestep_s: of the physics [s].
        where: file or option that sets one of them, for the error.

    Raises:
        Refusal: the period is not a whole number of steps.
    """
    steps = round(period_s / timestep_s)
    if steps < 1 or abs(steps * timestep_s - period_s) > 1e-9:
        expected = f"a divisor of {period_s:g} s, the control period"
        raise refuse(where, "physics.timestep", expected, f"{timestep_s:g} s")
    return steps


def _ignore(_text: str) -> None:
    """`advance` refuses what MuJoCo only warns of."""
