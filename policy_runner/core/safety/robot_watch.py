"""Watch the robot on every tick: is it upright, are its joints within their limits?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.core.inputs.joints import NEVER, JointSamples, RobotJoint
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Array
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import Settings
from policy_runner.core.spec.elements import ActionElement

Watched = tuple[str, JointSamples, int]  # joint, its measurements, its index in them


class RobotWatch:
    """Judges the robot's measurements on every tick, independent of the policy's own rate.

    In policy joints and signs [rad, rad/s] it checks:

    - measured positions of commanded position joints, against limits and `position_margin`;
    - measured speeds, against `max_velocity`;
    - the angle between every measured gravity and upright, against `max_tilt_rad`.

    Raises:
        Refusal: no input measures a value that has to be watched.
    """

    def __init__(
        self,
        slots: Mapping[str, InputSlot],
        joint_names: Sequence[str],
        robot: Mapping[str, RobotJoint],
        elements: Sequence[ActionElement],
        gravities: Sequence[tuple[Array, Callable[[], str]]],
        settings: Settings,
        several: bool = False,
    ) -> None:
        """Find the measurements to watch.

        Args:
            slots: by input name, the newest values.
            joint_names: the policy's joints, in the policy's order.
            robot: by policy joint, the robot's name, sign and offset of the joint.
            elements: the elements of a command.
            gravities: per `projected_gravity` term, its array [3], and the function that computes
                it from the newest message.
            settings: the robot's rules.
            several: the policy has several models, so that an inference may compute only some of
                the gravities.
        """
        self._gravities = list(gravities)
        self._refreshes = several
        problems: list[Problem | str] = []
        positions = [(e.joint, k) for k, e in enumerate(elements) if e.kind == "position"]
        names = list(joint_names)

        def measured(joint: str, kind: str, key: str) -> Watched | None:
            """Where the joint is measured. Without a key, only a value that a term reads counts."""
            index = names.index(joint)
            with_joints = [slot for slot in slots.values() if slot.joints is not None]
            reading = [slot for slot in with_joints if index in slot.used(kind)]
            if key and not with_joints:
                expected = "not set, or a policy with an input of joint states"
                problems.append(
                    Problem("", key, expected, f"none that reports the {kind} of {joint}")
                )
            if key and with_joints and not reading:
                # Request the value, so that its age and "never seen" are checked too.
                with_joints[0].joint_values(kind, names, robot, [index])
                reading = with_joints[:1]
            samples = reading[0].joints if reading else None
            return (joint, samples, index) if samples is not None else None

        key = "" if settings.position_margin is None else "parameter safety.position_margin"
        if key and not positions:
            expected = "not set, or a policy that commands positions"
            problems.append(Problem("", key, expected, f"{settings.position_margin:g}"))
        found = [(measured(joint, "position", key), k) for joint, k in positions]
        self._positions = [(one, k) for one, k in found if one is not None]
        self._velocities = []
        for joint in settings.max_velocity:
            key = f"parameter joints.{joint}.max_velocity"
            if joint not in names:
                hint = did_you_mean(joint, names)
                problems.append(Problem("", key, "a joint of the policy", joint, hint))
            elif (one := measured(joint, "velocity", key)) is not None:
                self._velocities.append(one)
        if problems:
            raise Refusal(problems)
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Watch with these settings from now on."""
        limits, margin = settings.limits, settings.position_margin or 0.0
        low, high = (limits.low - margin).tolist(), (limits.high + margin).tolist()
        self._bounds = [(*one, low[k], high[k]) for one, k in self._positions if k < len(low)]
        self._watched_bounds = [] if settings.position_margin is None else self._bounds
        self._speeds = [
            (*one, settings.max_velocity[one[0]])
            for one in self._velocities
            if one[0] in settings.max_velocity
        ]
        limit = settings.max_tilt_rad
        # If the robot is upright, gravity points along -z. Its angle to that is acos(-z).
        self._lowest_cosine = math.cos(limit) if limit else -math.inf
        self.watches = bool(limit or self._watched_bounds or self._speeds)

    def forget(self) -> None:
        """Return to the state before the first measurement of gravity."""
        for gravity, _ in self._gravities:
            gravity.fill(np.nan)

    def fault(self, observed: bool) -> Fault | None:
        """Return the fault of this tick, or None.

        Args:
            observed: this tick has already computed the gravity.
        """
        if self._lowest_cosine > -1.0:
            for gravity, refresh in self._gravities:
                if not observed or self._refreshes:
                    # If the message is unusable, the old gravity stays; the next inference
                    # reports why.
                    refresh()
                cosine = -gravity.item(2)
                if cosine < self._lowest_cosine:  # false for NaN: never seen
                    angle = math.degrees(math.acos(max(-1.0, cosine)))
                    return Fault(Decision.SAFE_STOP, Reason.TIPPED, f"{angle:.0f} degrees")
        outside = self._outside(self._watched_bounds)
        if outside:
            return Fault(Decision.SAFE_STOP, Reason.JOINT_OUTSIDE, outside)
        for joint, samples, k, limit in self._speeds:
            speed = samples.values["velocity"].item(k)
            if not -limit <= speed <= limit and samples.seen_ns["velocity"][k] != NEVER:
                text = f"{joint}: {speed:.4g}, at most {limit:g}"
                return Fault(Decision.SAFE_STOP, Reason.JOINT_TOO_FAST, text)
        return None

    def pose_outside(self) -> str:
        """The first commanded position joint that is measured outside its limits, or ''."""
        return self._outside(self._bounds)

    @staticmethod
    def _outside(bounds: Sequence[tuple[str, JointSamples, int, float, float]]) -> str:
        for joint, samples, k, low, high in bounds:
            position = samples.values["position"].item(k)
            # A position that is not finite is outside too, except for a joint never seen.
            if not low <= position <= high and samples.seen_ns["position"][k] != NEVER:
                return f"{joint}: {position:.4g}, within {low:g} to {high:g}"
        return ""
