"""Random reloads, kinds, topics, hangs and ends: every output gets its last command."""

from __future__ import annotations

import os
import random
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzzing import SEED
from soak_outputs import Story

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
MINUTES = float(os.environ.get("POLICY_RUNNER_SOAK_MINUTES", "0"))  # of simulated time
TICKS = round(MINUTES * 6000) or 6000
EPISODE = 300


def test_every_output_ends_with_its_last_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from policy_runner.ros.runner import control_loop

    happened: Counter[str] = Counter()
    for episode in range(TICKS // EPISODE):
        story_seed = f"{SEED} outputs {episode}"
        story = Story(tmp_path, random.Random(story_seed), EPISODE)
        with monkeypatch.context() as patched:
            patched.setattr(control_loop, "time", story.time)
            try:
                story.run()
            except Exception as error:
                raise AssertionError(f"seed '{story_seed}': {error}") from error
        happened += story.events
    for event in ("RUN", "HOLD", "SAFE_STOP", "reload", "end from another thread", "numbers"):
        assert happened[event], happened
    print(happened)  # noqa: T201
