"""The robot itself, on every tick: is it upright, are its joints within their limits?"""

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

Watched = tuple[str, JointSamples, int]  # joint, where it is measured, its index there


class RobotWatch:
    """Judges what is measured of the robot; nothing here depends on the policy's own rate.

    Positions of commanded position joints against their limits and `position_margin`, speeds
    against `max_velocity`, in policy joints and signs [rad, rad/s]; the angle of every measured
    gravity to upright against `max_tilt_rad`.

    Raises:
        Refusal: something is to be watched that nobody measures.
    """

    def __init__(
        self,
        slots: Mapping[str, InputSlot],
        joint_names: Sequence[str],
        robot: Mapping[str, RobotJoint],
        elements: Sequence[ActionElement],
        gravities: Sequence[tuple[Array, Callable[[], str]]],
        settings: Settings,
    ) -> None:
        """`gravities`: where each is measured [3], and what computes it from the newest message."""
        self._gravities = list(gravities)
        problems: list[Problem | str] = []
        positions = [(e.joint, k) for k, e in enumerate(elements) if e.kind == "position"]
        names = list(joint_names)

        def measured(joint: str, kind: str, key: str) -> Watched | None:
            """Where it is measured; without a key only where some term reads it."""
            index = names.index(joint)
            with_joints = [slot for slot in slots.values() if slot.joints is not None]
            reading = [slot for slot in with_joints if index in slot.used(kind)]
            if key and not with_joints:
                expected = "not set, or a policy with an input of joint states"
                problems.append(
                    Problem("", key, expected, f"none that tells the {kind} of {joint}")
                )
            if key and with_joints and not reading:
                # Asked for here, so that ages and "never seen" cover it as well.
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
        # Gravity points along -z when upright: its angle to that is acos(-z).
        self._lowest_cosine = math.cos(limit) if limit else -math.inf
        self.watches = bool(limit or self._watched_bounds or self._speeds)

    def forget(self) -> None:
        """As if gravity had never been measured."""
        for gravity, _ in self._gravities:
            gravity.fill(np.nan)

    def fault(self, observed: bool) -> Fault | None:
        """What forbids to go on; `observed`: this tick has computed the gravity already."""
        if self._lowest_cosine > -1.0:
            for gravity, refresh in self._gravities:
                if not observed:
                    # What makes it unusable is the next inference's to say; the old one stays.
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
            # Not finite is outside as well, but for a joint that was never seen.
            if not low <= position <= high and samples.seen_ns["position"][k] != NEVER:
                return f"{joint}: {position:.4g}, within {low:g} to {high:g}"
        return ""
