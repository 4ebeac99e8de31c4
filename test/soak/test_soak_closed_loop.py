"""The shipped policy on the simulated robot with random faults of its inputs; lockstep, no ROS.

During a fault the wheels stop at once. After the fault the robot is driven again and balances. It
falls only within seconds of a fault.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import SEED

from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import read_spec

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None or find_spec("onnxruntime") is None,
    reason="the closed loop needs mujoco and onnxruntime",
)
MS = 1_000_000
FOLDER = Path(__file__).resolve().parents[2] / "models" / "balancer"
MINUTES = float(os.environ.get("POLICY_RUNNER_SOAK_MINUTES", "0")) or 0.75
TICKS = round(MINUTES * 6000)
WELL_S, WORST_FAULT_S = 12.0, 0.6
FAULTS = ("imu silent", "joints silent", "all silent", "imu nan", "imu huge", "imu zero")
FAULTS += ("joints nan", "joints short", "joints foreign", "cmd silent", "estop", "clock leaps")


def _settings() -> Settings:
    """Return the settings of config/balancer.yaml, with a rate limit."""
    return Settings(
        period_ns=10 * MS,
        decimation=1,
        inputs={
            "imu": InputRule(100 * MS),
            "joint_states": InputRule(100 * MS),
            "cmd_vel": InputRule(500 * MS, "zero"),
        },
        limits=CommandLimits(np.full(2, -15.0), np.full(2, 15.0), np.full(2, 20.0)),
        max_tilt_rad=1.0,
        hold_recover_ns=50 * MS,
        recover="auto",
    )


class _Robot:
    """Feeds the pipeline with the simulated robot's readings, except those that fail."""

    def __init__(self, story: str) -> None:
        from policy_runner.backends.load import load_model
        from policy_runner.sim.balancer import Balancer
        from policy_runner.sim.scenario import Scenario
        from policy_runner.sim.variation import NOMINAL

        self.rng = random.Random(story)
        spec_file = read_spec(FOLDER)
        model = load_model("onnxruntime", FOLDER / "policy.onnx", None, spec_file.path)
        self.limits = _settings().limits
        self.pipeline = build_pipeline(spec_file, model, _settings(), {}, time.perf_counter_ns)
        self.pipeline.activate()
        self.scenario = Scenario(Balancer(NOMINAL), seed=self.rng.randrange(1000))
        self.now_ns = 10**12

    def feed(self, fault: str) -> None:
        reading, slots = self.scenario.balancer.read(), self.pipeline.slots
        if fault not in ("imu silent", "all silent"):
            orientation, gyro = reading.orientation_xyzw.copy(), reading.gyro.copy()
            if fault == "imu nan":
                gyro[self.rng.randrange(3)] = math.nan
            elif fault == "imu huge":
                gyro[1] = self.rng.choice((math.inf, 1e300, -1e30))
            elif fault == "imu zero":
                orientation[:] = 0.0
            slots["imu"].arrays["orientation"][:] = orientation
            slots["imu"].arrays["angular_velocity"][:] = gyro
            slots["imu"].received(self.now_ns, self.now_ns)
        if fault not in ("joints silent", "all silent"):
            names = ["right_wheel_joint", "left_wheel_joint"]
            values = [float(one) for one in reading.wheel_velocity[::-1]]
            if fault == "joints nan":
                values[0] = math.nan
            elif fault == "joints short":
                values.pop()
            elif fault == "joints foreign":
                names[0] = "elbow"
            slot = slots["joint_states"]
            assert slot.joints is not None
            why = slot.joints.merge(names, {"velocity": values}, self.now_ns)
            if why:
                slot.refused(why)
            else:
                slot.received(self.now_ns, self.now_ns)
        if fault not in ("cmd silent", "all silent"):
            command = slots["cmd_vel"].arrays
            for array, value in zip(command.values(), self.scenario.command, strict=True):
                array[:] = value
            slots["cmd_vel"].received(self.now_ns, self.now_ns)


def test_random_faults_in_the_closed_loop() -> None:
    robot = _Robot(f"{SEED} closed loop")
    rng, scenario, pipeline = robot.rng, robot.scenario, robot.pipeline
    happened: Counter[str] = Counter()
    fault, until, next_fault = "", 0, 300
    last: Any = np.zeros(2)
    for tick in range(TICKS):
        robot.now_ns += 10 * MS
        if tick == next_fault:
            fault = rng.choice(FAULTS)
            happened[fault] += 1
            until = tick + rng.randrange(1, round(WORST_FAULT_S * 100))
            next_fault = until + rng.randrange(200, round(WELL_S * 100))
            if fault == "clock leaps":
                robot.now_ns += rng.choice((50, 500, 5000)) * MS
        if tick == until and fault:
            pipeline.operator.hear_estop(False)
            fault = ""
        if fault == "estop":
            pipeline.operator.hear_estop(True)
        elif pipeline.safety.reason is Reason.OPERATOR_STOP:  # refused while the robot lies
            pipeline.operator.ask_to_arm(lambda _accepted, _why: True)
        robot.feed(fault)
        exempt = pipeline.exempt_steps.copy()
        with np.errstate(all="ignore"):
            step = pipeline.step(robot.now_ns)
        command = step.command
        happened[step.decision.name] += 1
        if command is not None:
            assert np.isfinite(command).all()
            assert (np.abs(command) <= 15.0).all()
            if step.decision is not Decision.RUN:
                assert not command.any(), (step, fault)
            over = np.abs(command - last) > 20.0
            assert not (over & (pipeline.exempt_steps == exempt)).any()
            last = command.copy()
        falls = scenario.falls
        scenario.tick(None if command is None else command)
        if scenario.falls > falls:
            # Only a fault may make it fall: a present one, or one that just ended.
            happened["falls"] += 1
            assert tick - max(until, 0) < 500, f"fell {tick - until} ticks after '{fault}'"
        if not scenario.lying and tick - until > 400 and tick > 600:
            assert step.decision is Decision.RUN, pipeline.safety.reason
    assert happened["RUN"] > TICKS / 2
    print(f"closed loop: {TICKS / 6000:.1f} min, {dict(happened)}")  # noqa: T201
