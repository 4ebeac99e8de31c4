"""A control loop with changing policies, and a check of every output that it commanded.

The loop is real and has its own thread. Time, model, inputs and topics are fakes. The events of
each tick are drawn from the given random generator. The laws, from the view of a receiver:

- every commanded number is finite and within its bounds;
- an output that a reload removes has its last command by the end of the tick of the swap;
- without RUN only positions are commanded, and numbers that are 0;
- a press of the emergency stop, and a too long inference, take effect in the same tick;
- every output that was ever commanded gets its last command, for any end of the loop.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from core_rig import MS, FakeModel, make_rig, spec_content, write_spec
from output_rig import FakeTopics, Receiver, make_commands

from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import CommandLimits, InputRule, StopRule
from policy_runner.core.spec import read_spec

JOINTS = [f"j{k}" for k in range(4)]
BOUND = 5.0
PERIOD_NS = 10 * MS
_ODD = (math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0, -0.0)
_FORMS = ("joint_state", "joint_trajectory", "float64_multi_array", "float64")


class FakeTime:
    """Replaces the module `time` in the control loop."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns

    perf_counter_ns = time_ns = monotonic_ns


class Story:
    """Control loops from start to end, one after another, as the generator draws them."""

    def __init__(self, folder: Path, rng: random.Random, ticks: int) -> None:
        self.folder, self.rng, self.ticks_left = folder, rng, ticks
        self.events: Counter[str] = Counter()
        self.time = FakeTime()
        self.topics = FakeTopics()
        self.receiver = Receiver(self.topics)
        self.receiver.check = self._check
        self.form_type = rng.choice(_FORMS)
        self.held = {"caster": 3.0} if rng.random() < 0.3 else {}
        self.robot = {j: RobotJoint(j, rng.choice((1.0, -1.0))) for j in JOINTS}
        self.raw: Any = 0.0
        self.took_ns = 0
        self.during: Any = None
        self.spoils = False
        self.silent = self.pressed = self.inferred = False
        self.missed, self.jumped, self.wake_up_error_ns = 0, False, 0  # attributes of a ticker
        self.failure: BaseException | None = None
        self.ends = False  # an end was requested during a tick
        self._status = _Nothing()
        self._kinds: dict[tuple[str, str, str], str] = {}
        self.policy = self._policy()
        self.loop = self._loop()

    # --- parts ---

    def _groups(self) -> list[dict[str, Any]]:
        rng = self.rng
        if self.form_type == "joint_state" and rng.random() < 0.2:
            return [{"kind": "twist", "axes": ["linear.x", "angular.z"]}]
        joints = rng.sample(JOINTS, rng.randrange(1, len(JOINTS) + 1))
        kinds = rng.choice((("velocity",), ("effort",), ("position",), ("velocity", "position")))
        groups: list[dict[str, Any]] = []
        for k, joint in enumerate(joints):
            groups.append({"kind": kinds[k % len(kinds)], "joints": [joint]})
        return groups

    def _policy(self) -> Any:
        from policy_runner.ros.outputs.command_messages import CommandFormat

        rng, groups = self.rng, self._groups()
        self.groups = groups
        count = sum(len(group.get("joints", group.get("axes", ()))) for group in groups)
        content = spec_content(
            joint_names=JOINTS,
            default_joint_pos=0.1,
            stiffness=10.0,
            damping=1.0,
            effort_limit=BOUND,
            action=[{"tensor": "act", "groups": groups}],
        )
        terms = content["observation"][0]["terms"]
        terms.append({"term": "joint_position", "input": "joints"})

        def compute(_inputs: Any) -> dict[str, Any]:
            self.time.now_ns += self.took_ns
            self.inferred = True
            if self.during is not None:
                during, self.during = self.during, None
                during()
            return {"act": np.resize(self.raw, count)}

        model = FakeModel({"obs": (1, 2 * len(JOINTS))}, {"act": np.zeros((1, count))}, compute)
        model.seen = _Forgetful()
        bound = np.full(count, rng.choice((BOUND, 1.0)))
        rig = make_rig(
            self.folder,
            content,
            model,
            period_ns=PERIOD_NS,
            decimation=rng.choice((1, 1, 2)),
            inputs={"joints": InputRule(100 * MS)},
            limits=CommandLimits(-bound, bound, np.full(count, rng.choice((math.inf, 0.5)))),
            hold_recover_ns=rng.choice((0, 30 * MS)),
            recover=rng.choice(("armed", "auto")),
            stops=StopRule(ramp_ns=rng.choice((0, 0, 80 * MS))),
            late_inferences=rng.choice((0, 3, 30)),
        )
        pipeline = rig.pipeline
        pipeline._clock_ns = self.time.monotonic_ns
        pd = None
        if {e.kind for e in pipeline.elements} == {"position"} and rng.random() < 0.5:
            spec = read_spec(write_spec(self.folder, content)).spec
            pd = EffortFromPd(spec, "f", pipeline.elements, list(pipeline.slots.values()))
            pipeline.watch(pd.fault)
        held = self.held if self.form_type != "float64" and "axes" not in groups[0] else {}
        form = CommandFormat(self.form_type, held=held)
        commands = make_commands(self.topics, pipeline.elements, form, self.robot, pd=pd)
        make = commands._make
        commands._make = lambda command, *rest: make(
            command * math.nan if self.spoils else command, *rest
        )
        return rig, commands

    def _loop(self) -> Any:
        from policy_runner.ros.runner.control_loop import ControlLoop, LoopOptions, LoopPorts

        rig, commands = self.policy
        self.ports = LoopPorts(self, [], commands, self._status)  # type: ignore[arg-type]
        options = LoopOptions(dry_run=False, lockstep=False, window=100)
        loop = ControlLoop(rig.pipeline, self.ports, options, lambda: None, self.time.time_ns, None)
        self.session: dict[tuple[str, str, str], float] = {}
        self.receiver.last = self.session
        return loop

    # --- as a ticker, called by the control thread ---

    def start(self) -> None:
        return None

    def continue_from(self, _before: Any) -> None:
        return None

    def look(self) -> int:
        return self.time.now_ns

    def wait(self) -> int | None:
        """Judge the previous tick, and draw the events of the next one."""
        try:
            self._judge()
            if self.ticks_left <= 0 or self.ends or self.rng.random() < 0.003:
                self.loop._stopping.set()
                return None
            self.ticks_left -= 1
            self._draw()
        except BaseException as error:
            self.failure = error
            raise
        return self.time.now_ns

    now_ns = property(look)

    def _draw(self) -> None:
        rng = self.rng
        self.time.now_ns += PERIOD_NS
        self.took_ns, self.spoils, self.during = 0, False, None
        self.pressed = self.inferred = False  # in this tick
        self.raw = np.array([rng.gauss(0.0, 3.0) for _ in range(8)])
        if rng.random() < 0.1:
            self._event(rng.choice(list(_EVENTS)))
        if rng.random() < 0.05:
            self.silent = not self.silent and rng.random() < 0.3
        if not self.silent:
            values = {
                "position": [rng.uniform(-1, 1) for _ in JOINTS],
                "velocity": [rng.uniform(-1, 1) for _ in JOINTS],
            }
            if rng.random() < 0.02:
                values[rng.choice(("position", "velocity"))][0] = rng.choice(_ODD)
            self.policy[0].joints("joints", self.time.now_ns, JOINTS, **values)

    def _event(self, name: str) -> None:
        self.events[name] += 1
        _EVENTS[name](self)

    def reload(self) -> None:
        """Swap to another policy, as the control thread does in a reload."""
        before, policy = self.policy[0].pipeline, self._policy()
        rig, commands = policy

        def swap() -> None:
            rig.pipeline.continue_from(before)
            self.loop.take_over(rig.pipeline, replace(self.ports, commands=commands))

        self.policy = policy
        self.loop.call(swap)

    # --- laws ---

    def _check(self, output: tuple[str, str, str], value: float) -> None:
        assert abs(value) <= BOUND, f"{output}: {value}"
        self.events["numbers"] += 1

    def _outputs(self) -> set[tuple[str, str, str]]:
        """Return the outputs of the newest policy, with the receiver's names."""
        _, commands = self.policy
        found = set()
        for message in commands._messages:
            for output in message.outputs:
                kind = output.kind
                if self.form_type in ("float64_multi_array", "float64"):
                    kind = ""
                name = "" if self.form_type == "float64" else output.name
                found.add((output.topic, kind, name))
        return found

    def _kind_of(self, output: tuple[str, str, str]) -> str:
        return self._kinds.get(output, output[1])

    def _remember_kinds(self) -> None:
        _, commands = self.policy
        for message in commands._messages:
            for one in message.outputs:
                plain = self.form_type in ("float64_multi_array", "float64")
                name = "" if self.form_type == "float64" else one.name
                place = (one.topic, "" if plain else one.kind, name)
                self._kinds = {**self._kinds, place: one.kind}

    def _judge(self) -> None:
        """Check the laws after a tick."""
        if not self.loop.ticks:
            return
        self.receiver.take()
        self._remember_kinds()
        mine = self._outputs()
        for output, value in self.session.items():
            if output not in mine and self._kind_of(output) != "position":
                assert value == 0.0, f"{output} was left at {value}"
        pipeline = self.loop.pipeline
        decision, rule = pipeline.safety.decision, pipeline.settings.stops
        self.events[decision.name] += 1
        if self.pressed:
            assert decision is Decision.SAFE_STOP, "a press came one tick late"
        late = self.took_ns > pipeline.settings.longest_silence_ns
        if self.inferred and late and self.session:
            assert decision is not Decision.RUN, "a command left too late"
        if decision in (Decision.HOLD, Decision.SAFE_STOP) and not rule.ramp_ns:
            self._all_zero(mine & set(self.session))

    def _all_zero(self, outputs: Any) -> None:
        moving = {
            output: self.session[output]
            for output in outputs
            if self._kind_of(output) != "position" and self.session[output] != 0.0
        }
        assert not moving, moving

    def run(self) -> None:
        """Run sessions until the number of ticks is reached."""
        while self.ticks_left > 0:
            self.ends = False
            self.loop.start()
            self.loop._thread.join(60.0)
            if self.failure is not None:
                raise self.failure
            error = self.loop.error
            if error is not None and "is gone" not in str(error):
                raise error
            self.receiver.take()
            self._remember_kinds()
            gone = [one.topic for one in self.topics.publishers.values() if one.fails]
            self._all_zero(output for output in self.session if output[0] not in gone)
            for publisher in self.topics.publishers.values():
                publisher.fails = False
            self.events["sessions"] += 1
            self._restart()

    def _restart(self) -> None:
        """Configure and activate again, possibly with other messages."""
        rig, _ = self.policy
        rig.pipeline.operator.hear_estop(False)
        if self.rng.random() < 0.5:
            self.form_type = self.rng.choice(_FORMS)
        self.policy = self._policy()
        self._kinds = {}
        self.topics.heard.clear()
        self.receiver._taken = 0
        self.loop = self._loop()


class _Nothing:
    """A heartbeat that is not published."""

    def tick(self, *_: Any) -> None:
        return None

    publish = tick


class _Forgetful(list):  # type: ignore[type-arg]
    """Discards the model's record of its inputs, which would need too much memory."""

    def append(self, item: Any) -> None:
        return None


def _hang(story: Story) -> None:
    story.took_ns = story.rng.choice((15, 150, 350, 7000)) * MS


def _press(story: Story) -> None:
    story.policy[0].pipeline.operator.hear_estop(True)


def _press_during(story: Story) -> None:
    def press() -> None:
        story.pressed = True
        story.policy[0].pipeline.operator.hear_estop(True)
        story.policy[0].pipeline.operator.hear_estop(False)

    story.during = press
    story.took_ns = story.rng.choice((0, 50)) * MS


def _end_during(story: Story) -> None:
    """Request the end of the loop while the model runs, like a signal."""
    story.during = lambda: (setattr(story, "ends", True), story.loop._stopping.set())


def _stop_elsewhere(story: Story) -> None:
    """Let the model hang for so long that another thread publishes the last command."""

    def hang() -> None:
        story.ends = True
        story.loop._stopping.set()
        other = threading.Thread(target=story.loop._finish)
        other.start()
        other.join()

    story.during = hang


def _raw(story: Story) -> None:
    story.raw[story.rng.randrange(8)] = story.rng.choice(_ODD)


def _spoil(story: Story) -> None:
    story.spoils = True


def _topic_fails(story: Story) -> None:
    """Let one topic fail: the other topics must still get their last command."""
    publisher = story.rng.choice(story.policy[1].publishers)
    publisher.fails = True


def _arm(story: Story) -> None:
    operator = story.policy[0].pipeline.operator
    operator.hear_estop(False)
    operator.ask_to_arm(lambda _accepted, _why: True)


_EVENTS = {
    "hang": _hang,
    "estop": _press,
    "estop during an inference": _press_during,
    "end during an inference": _end_during,
    "end from another thread": _stop_elsewhere,
    "raw not finite": _raw,
    "topic fails": _topic_fails,
    "number spoiled at the gate": _spoil,
    "arm": _arm,
    "arm again": _arm,
    "arm once more": _arm,
    "disarm": lambda story: story.policy[0].pipeline.safety.disarm(),
    "reload": Story.reload,
    "reload again": Story.reload,
    "reset": lambda story: story.policy[0].pipeline.reset(),
    "time jumped": lambda story: story.policy[0].pipeline.time_jumped(False),
}
