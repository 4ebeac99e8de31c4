"""A pipeline, a robot with many kinds of faults, and the laws that must always hold.

Every tick is one `World.tick`. Its events are drawn from the given random generator, so a seed
reproduces the whole run. The laws are in `_check`, one assertion each.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from core_rig import MS, FakeClock, FakeModel, spec_content, term, write_spec

from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import CommandLimits, InputRule, Settings, StopRule
from policy_runner.core.spec import read_spec

KINDS: dict[str, tuple[str, ...]] = {
    "position": ("position", "position"),
    "velocity": ("velocity", "velocity"),
    "effort": ("effort", "effort"),
    "twist": ("twist",),
    "value": ("value",),
    "mixed": ("position", "velocity", "effort", "position"),
}
_NAMES: dict[str, list[str]] = {"twist": ["linear.x", "angular.z"], "value": ["grip", "valve"]}
_CLOSE = 1e-9
_ODD = (math.nan, math.inf, -math.inf, 1e300, -1e300, 3e38, 0.0, -0.0, 1e-320)


class World:
    """One pipeline at a time; `tick` draws the events, steps, and checks."""

    def __init__(self, kinds: tuple[str, ...], folder: Path, rng: random.Random) -> None:
        self.rng = rng
        self.events: Counter[str] = Counter()
        self.now_ns = 10**12
        self.ticks = 0
        self.clock = FakeClock()
        self.raw: Any = 0.0
        self._took_ns = 0
        self._spec = read_spec(write_spec(folder, self._content(kinds)))
        self.joints = list(self._spec.spec.joint_names)
        self.kinds = [g.kind for t in self._spec.spec.action for g in t.groups for _ in g.names]
        self._free = np.array([kind != "position" for kind in self.kinds])
        self.settings = self._settings()
        self.pipeline: Any = None
        self.replace_pipeline()

    def _content(self, kinds: tuple[str, ...]) -> dict[str, Any]:
        joints = [f"j{k}" for k in range(len(kinds))]
        groups: list[dict[str, Any]] = []
        for joint, kind in zip(joints, kinds, strict=True):
            if kind in _NAMES:
                key = "axes" if kind == "twist" else "elements"
                groups.append({"kind": kind, key: _NAMES[kind]})
                continue
            group: dict[str, Any] = {"kind": kind, "joints": [joint], "scale": 2.0}
            if kind == "position":
                relative = self.rng.choice(("zero", "default_joint_pos", "measured"))
                group.update(relative_to=relative)
            groups.append(group)
        terms = [
            term("joint_position", input="joints"),
            term("joint_velocity", input="joints"),
            term("projected_gravity", input="imu"),
            term("velocity_command", input="cmd", axes=["linear.x"]),
            term("last_action"),
        ]
        message = {"joints": "sensor_msgs/msg/JointState", "imu": "sensor_msgs/msg/Imu"}
        message["cmd"] = "geometry_msgs/msg/Twist"
        content = spec_content(
            joint_names=joints,
            default_joint_pos=[0.3] * len(joints),
            inputs={name: {"type": kind, "topic": name} for name, kind in message.items()},
            action=[{"tensor": "act", "groups": groups}],
            last_action=self.rng.choice(("raw", "target", "limited")),
        )
        tensor = content["observation"][0]
        tensor["terms"] = terms
        if self.rng.random() < 0.5:
            tensor["history"] = {
                "stack": "frame", "order": "oldest_first", "length": 3, "fill": "repeat"
            }  # fmt: skip
        return content

    def _limits(self) -> CommandLimits:
        size, rng = len(self.kinds), self.rng
        low = np.array([rng.choice((-math.inf, -1.0, -0.2, 0.1)) for _ in range(size)])
        high = np.array([rng.choice((math.inf, 1.0, 0.4, 0.15)) for _ in range(size)])
        step = np.array([rng.choice((math.inf, 0.5, 0.05, 0.001)) for _ in range(size)])
        return CommandLimits(low, high, step)

    def _settings(self) -> Settings:
        rng = self.rng
        stale = ("hold", "safe_stop", "zero")
        stops = StopRule(
            position=rng.choice(("hold", "default_pose")),
            ramp_ns=rng.choice((0, 0, 50 * MS, 300 * MS)),
        )
        return Settings(
            period_ns=10 * MS,
            decimation=rng.choice((1, 1, 3)),
            inputs={
                name: InputRule(100 * MS, rng.choice(stale), rng.random() < 0.2)
                for name in self._spec.spec.inputs
            },
            limits=self._limits(),
            max_tilt_rad=rng.choice((0.0, 0.7)),
            hold_recover_ns=rng.choice((0, 30 * MS)),
            safe_stop_after_ns=rng.choice((0, 500 * MS)),
            recover=rng.choice(("armed", "auto")),
            reset_after_ns=rng.choice((50 * MS, 500 * MS)),
            require_arming=rng.random() < 0.3,
            late_inferences=rng.choice((0, 3)),
            position_margin=rng.choice((None, 0.5)) if "position" in self.kinds else None,
            stops=stops,
            start_pose_ns=rng.choice((0, 0, 100 * MS)) if "position" in self.kinds else 0,
            blend_in_ns=rng.choice((0, 80 * MS)),
        )

    def _model(self) -> FakeModel:
        terms = self._spec.spec.observation[0]
        frame = 2 * len(self.joints) + 3 + 1 + len(self.kinds)
        size = frame * (3 if terms.history else 1)

        def compute(_inputs: Any) -> dict[str, Any]:
            self.clock.now_ns += self._took_ns
            return {"act": self.raw}

        model = FakeModel({"obs": (1, size)}, {"act": (1, len(self.kinds))}, compute)
        model.seen = _Forgetful()
        return model

    def _build(self) -> Any:
        return build_pipeline(self._spec, self._model(), self.settings, {}, self.clock)

    def replace_pipeline(self) -> None:
        """Configure and activate again."""
        self.settings = self._settings()
        self.pipeline = self._build()
        self.pipeline.activate()
        self._forget()

    def _forget(self) -> None:
        self.last: Any = None
        self._exempt = self.pipeline.exempt_steps.copy()
        self._decision = Decision.STARTING
        self._let_go = False
        self._stopping: tuple[StopRule, Any, int] | None = None

    # --- what happens -----------------------------------------------------------------------

    def tick(self) -> None:
        """Draw the messages and events of one tick, step, and check."""
        rng = self.rng
        self._took_ns = 0
        self.raw = np.array([rng.gauss(0.0, 1.0) for _ in self.kinds])
        if rng.random() < 0.15:
            self.event(rng.choice(list(EVENTS)))
        self.messages()
        self.step()

    def event(self, name: str) -> None:
        """Let one fault or request happen, by its name."""
        self.events[name] += 1
        EVENTS[name](self)

    def messages(self, joints: bool = True, imu: bool = True, cmd: bool = True) -> None:
        """Receive messages, which are valid most of the time."""
        rng, slots = self.rng, self.pipeline.slots
        if joints and rng.random() < 0.95:
            values = {
                "position": [rng.uniform(-0.5, 0.5) for _ in self.joints],
                "velocity": [rng.uniform(-1, 1) for _ in self.joints],
            }
            self._joint_message(self.joints, values)
        if imu and rng.random() < 0.95:
            pitch = rng.uniform(-0.3, 0.3)
            self._imu((0.0, math.sin(pitch / 2), 0.0, math.cos(pitch / 2)))
        if cmd and rng.random() < 0.8:
            slots["cmd"].arrays["linear.x"][:] = rng.uniform(-1, 1)
            slots["cmd"].received(self.now_ns, self.now_ns)

    def _joint_message(self, names: list[str], values: dict[str, list[float]]) -> None:
        slot = self.pipeline.slots["joints"]
        fault = slot.joints.merge(names, values, self.now_ns)
        if fault:
            slot.refused(fault)
        else:
            slot.received(self.now_ns, self.now_ns)

    def _imu(self, quaternion: tuple[float, ...]) -> None:
        slot = self.pipeline.slots["imu"]
        slot.arrays["orientation"][:] = quaternion
        slot.received(self.now_ns, self.now_ns)

    def odd_joints(self) -> None:
        """Receive joints with invalid, missing, foreign or repeated values."""
        rng = self.rng
        names = [rng.choice((*self.joints, "foreign", "")) for _ in range(rng.randrange(6))]
        if rng.random() < 0.5:
            names = rng.sample(self.joints, len(self.joints))
        values = {
            kind: [rng.choice((*_ODD, 0.1)) for _ in range(rng.choice((len(names), 0, 1)))]
            for kind in ("position", "velocity")
        }
        self._joint_message(names, values)

    def set_settings(self) -> None:
        """Change parameters while the pipeline runs."""
        fresh = self._settings()
        kept = {"decimation": self.settings.decimation, "inputs": fresh.inputs}
        if self.rng.random() < 0.5:  # another parameter changed: equal stops, new objects
            kept.update(stops=replace(self.settings.stops), limits=self.settings.limits)
        self.settings = replace(fresh, **kept)
        self.pipeline.settings = self.settings

    def arm(self) -> None:
        """Call ~/arm."""

        def answer(accepted: bool, _why: str) -> bool:
            self._let_go |= accepted
            return True

        self.pipeline.operator.ask_to_arm(answer)

    def reload(self) -> None:
        """Swap to another policy with its own slots between two ticks."""
        before = self.pipeline
        self.pipeline = self._build()
        self.pipeline.continue_from(before)
        self._exempt = self.pipeline.exempt_steps.copy()

    def end(self) -> None:
        """Check the last command, then begin with a new pipeline."""
        command = self.pipeline.stop_command()
        if command is not None:
            self._laws_of_every_command(command)
            free = command[self._free]
            limits = self.settings.limits
            assert np.array_equal(free, np.clip(0.0, limits.low, limits.high)[self._free])
        self.replace_pipeline()

    # --- what must hold ---------------------------------------------------------------------

    def step(self, outer: Fault | None = None) -> None:
        """Step the pipeline and check the laws."""
        self.now_ns += self.rng.choice((10 * MS, 10 * MS, 10 * MS, 11 * MS, 9 * MS))
        self.ticks += 1
        inferences = self.pipeline.inferences
        with np.errstate(all="ignore"):
            step = self.pipeline.step(self.now_ns, outer or self._outer)
        self._outer = None
        self._check(step, inferences)

    _outer: Fault | None = None

    def _check(self, step: Any, inferences: int) -> None:
        decision, command = step.decision, step.command
        self.events[f"{decision.name}"] += 1
        if not step.inferred:
            assert self.pipeline.inferences == inferences, "the policy advanced without a run"
        moving = decision is Decision.STARTING and self.pipeline.safety.reason is Reason.MOVING
        if decision is Decision.RUN or moving:
            assert command is not None
            self._stopping = None
        if self._decision is Decision.SAFE_STOP and decision is not Decision.SAFE_STOP:
            assert self._let_go or self.settings.recover == "auto", "SAFE_STOP let go by itself"
        if decision is not Decision.SAFE_STOP:
            self._let_go = False
        self._decision = decision
        if command is None:
            assert decision is Decision.STARTING or self.last is None
            return
        self._laws_of_every_command(command)
        if decision is not Decision.RUN and not moving:
            self._laws_of_stops(command)
        self.last = command.copy()

    def _laws_of_every_command(self, command: Any) -> None:
        limits = self.settings.limits
        assert np.isfinite(command).all(), f"not finite: {command}"
        assert (command >= limits.low).all(), f"below its bounds: {command} {limits.low}"
        assert (command <= limits.high).all(), f"above its bounds: {command} {limits.high}"
        gained = self.pipeline.exempt_steps - self._exempt
        self._exempt = self.pipeline.exempt_steps.copy()
        before = self.last if self.last is not None else self._standing()
        moved = np.abs(command - before)
        close = _CLOSE * (1.0 + np.abs(before))
        over = moved > limits.max_step + close
        assert not (over & (gained == 0)).any(), (
            f"{before} to {command} in one tick, {limits.max_step} allowed, nothing counted"
        )
        if self.last is not None:
            idle = (moved < limits.max_step - close) & (gained > 0)
            assert not idle.any(), "counted for nothing"
        self.events["exempt"] += int((gained > 0).sum())

    def _standing(self) -> Any:
        """Return the start of a first command: standstill, and the measured pose in its bounds."""
        measured = np.full(len(self.kinds), math.nan)
        for k, element in enumerate(self.pipeline.elements):
            if element.kind == "position":
                index = self.joints.index(element.joint)
                measured[k] = self.pipeline.slots["joints"].joints.values["position"][index]
        limits = self.settings.limits
        return np.clip(np.where(self._free, 0.0, measured), limits.low, limits.high)

    def _laws_of_stops(self, command: Any) -> None:
        rule, limits = self.settings.stops, self.settings.limits
        if self._stopping is None or self._stopping[0] != rule:
            began = self.last if self.last is not None else np.zeros(len(command))
            self._stopping = (rule, began, 0)
        _, began, ticks = self._stopping
        self._stopping = (rule, began, ticks + 1)
        count = rule.ramp_ns // self.settings.period_ns
        share = max(0.0, 1.0 - (ticks + 1) / count) if count else 0.0
        zero = np.clip(0.0, limits.low, limits.high)
        wanted = np.abs(began) * (share + _CLOSE) + np.abs(zero) + _CLOSE
        late = self._free & (np.abs(command) > wanted)
        assert not late.any(), f"{command} in tick {ticks + 1} of a stop of {count} from {began}"
        if rule.position == "hold" and self.last is not None:
            held = np.clip(self.last, limits.low, limits.high)
            assert np.array_equal(command[~self._free], held[~self._free]), "a held position moved"


class _Forgetful(list):  # type: ignore[type-arg]
    """Discards the model's record of its inputs, which would need too much memory."""

    def append(self, item: Any) -> None:
        return None


def _raw(world: World) -> None:
    world.raw = world.raw.copy()
    world.raw[world.rng.randrange(len(world.raw))] = world.rng.choice(_ODD)


def _huge(world: World) -> None:
    world.raw = world.raw * world.rng.choice((10.0, 1e6, 1e37))


def _slow(world: World) -> None:
    world._took_ns = world.rng.choice((11, 100)) * MS


def _silence(world: World) -> None:
    for _ in range(world.rng.randrange(2, 40)):
        quiet = world.rng.choice(("joints", "imu", "cmd"))
        world.messages(**{quiet: False})
        world.step()


def _leap(world: World) -> None:
    world.now_ns += world.rng.choice((20, 200, 2000, 60_000)) * MS


def _pause(world: World) -> None:
    for _ in range(world.rng.randrange(1, 60)):
        world.step()


def _fault(world: World) -> None:
    reason = world.rng.choice((Reason.EXECUTOR_SILENT, Reason.DEADLINES_MISSED))
    decision = Decision.SAFE_STOP if reason is Reason.EXECUTOR_SILENT else Decision.HOLD
    world._outer = Fault(decision, reason, "drawn")


def _estop(world: World) -> None:
    world.pipeline.operator.hear_estop(True)
    if world.rng.random() < 0.7:
        world.step()
        world.pipeline.operator.hear_estop(False)


EVENTS = {
    "raw not finite": _raw,
    "raw huge": _huge,
    "slow inference": _slow,
    "odd joints": World.odd_joints,
    "imu zero": lambda world: world._imu((0.0, 0.0, 0.0, 0.0)),
    "imu odd": lambda world: world._imu((0.0, world.rng.choice(_ODD), 0.0, 1.0)),
    "tipped": lambda world: world._imu((0.0, math.sin(0.6), 0.0, math.cos(0.6))),
    "one input silent": _silence,
    "all inputs silent": _pause,
    "clock leaps": _leap,
    "outer fault": _fault,
    "estop": _estop,
    "estop released": lambda world: world.pipeline.operator.hear_estop(False),
    "disarm": lambda world: world.pipeline.safety.disarm(),
    "arm": World.arm,
    "arm again": World.arm,
    "reset": lambda world: world.pipeline.reset(),
    "time jumped": lambda world: world.pipeline.time_jumped(world.rng.random() < 0.5),
    "parameters": World.set_settings,
    "reload": World.reload,
}
RARE = {"end": World.end, "configured again": World.replace_pipeline}
