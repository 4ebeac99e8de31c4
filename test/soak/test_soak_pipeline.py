"""Random sequences of faults: commands are always finite and bounded, and clips are counted."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzzing import SECONDS, SEED
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from soak_world import EVENTS, KINDS, RARE, World

MINUTES = float(os.environ.get("POLICY_RUNNER_SOAK_MINUTES", "0"))  # of simulated time per kind
TICKS = round(MINUTES * 6000) or 3000
EPISODE = 400


@pytest.mark.parametrize("name", list(KINDS))
def test_random_faults(tmp_path: Path, name: str) -> None:
    done, episode = 0, 0
    happened: dict[str, int] = {}
    while done < TICKS:
        story = f"{SEED} {name} {episode}"
        world = World(KINDS[name], tmp_path, random.Random(story))
        try:
            for _ in range(EPISODE):
                world.tick()
                if world.rng.random() < 0.005:
                    RARE[world.rng.choice(list(RARE))](world)
        except Exception as error:
            raise AssertionError(f"seed '{story}': {error}") from error
        for event, count in world.events.items():
            happened[event] = happened.get(event, 0) + count
        done += world.ticks
        episode += 1
    for event in ("RUN", "HOLD", "SAFE_STOP"):
        assert happened[event], happened
    print(f"{name}: {done * 0.01 / 60:.1f} min in {episode} runs: {happened}")  # noqa: T201


class Robot(RuleBasedStateMachine):
    """The same laws, with sequences that hypothesis chooses and shortens."""

    world: World
    folder = ""

    @initialize(name=st.sampled_from(list(KINDS)), seed=st.integers(0, 1000))
    def configure(self, name: str, seed: int) -> None:
        self.folder = tempfile.mkdtemp()
        self.world = World(KINDS[name], Path(self.folder), random.Random(seed))

    @rule(count=st.integers(1, 30))
    def runs(self, count: int) -> None:
        for _ in range(count):
            self.world.raw = [self.world.rng.gauss(0, 1) for _ in self.world.kinds]
            self.world.messages()
            self.world.step()

    @rule(name=st.sampled_from([*EVENTS, *RARE]), then=st.booleans())
    def happens(self, name: str, then: bool) -> None:
        import numpy as np

        self.world.raw = np.zeros(len(self.world.kinds))
        if name in RARE:
            RARE[name](self.world)
        else:
            self.world.event(name)
        if then:
            self.world.step()

    @invariant()
    def counts_never_fall(self) -> None:
        if hasattr(self, "world"):
            assert (self.world.pipeline.limit_hits >= 0).all()

    def teardown(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder)


TestRobot: Any = Robot.TestCase
TestRobot.settings = settings(
    max_examples=300 if SECONDS else 25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not SECONDS,
    report_multiple_bugs=False,
)
