"""The runner's statuses: a figure that was not measured yet is `n/a`, not 0."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from core_rig import MS, make_rig, spec_content

from policy_runner.core.timing import Window

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed")
WINDOWS = ("period", "wake_up", "observation", "publish", "step", "input_to_action", "inference")


class Told:
    """A loop that did not tick yet, and its statuses."""

    def __init__(self, folder: Path) -> None:
        from policy_runner.ros.diagnostics.source import StatusSource
        from policy_runner.ros.process.realtime import Granted
        from policy_runner.ros.runner.diagnostics import RunnerDiagnostics

        self.rig = make_rig(folder, spec_content())
        self.windows = {name: Window() for name in WINDOWS}
        self.loop: Any = SimpleNamespace(
            pipeline=self.rig.pipeline, windows=self.windows, missed=0, ticks=0, error=None
        )
        self.texts = RunnerDiagnostics(StatusSource("policy_runner", "/policy_runner"), Granted())

    def values(self, part: str) -> dict[str, str]:
        status = {
            "loop": lambda: self.texts.loop(self.loop, 1, 0.01),
            "inference": lambda: self.texts.inference(self.loop, "CPUExecutionProvider", 1),
            "inputs": lambda: self.texts.inputs(self.rig.pipeline, 1, 1, ()),
        }[part]()
        return {"message": status.message, **{one.key: one.value for one in status.values}}


def test_before_the_first_inference_there_is_no_p99(tmp_path: Path) -> None:
    told = Told(tmp_path)
    before = told.values("inference")
    assert before["message"] == "CPUExecutionProvider, no inference yet"
    figures = [f"inference {key} [us]" for key in ("p50", "p95", "p99", "p99.9", "max")]
    assert [before[key] for key in figures] == ["n/a"] * 5
    told.windows["inference"].add(250_000)
    after = told.values("inference")
    assert after["message"] == "CPUExecutionProvider, p99 250 us"
    assert [after[key] for key in figures] == ["250.0"] * 5
    assert list(after) == list(before)


def test_before_the_first_tick_the_loop_has_no_figures(tmp_path: Path) -> None:
    told = Told(tmp_path)
    before = told.values("loop")
    assert before["period error p99 [us]"] == before["step p50 [us]"] == "n/a"
    told.windows["step"].add(0)
    assert told.values("loop")["step p50 [us]"] == "0.0"


def test_the_loop_is_not_well_before_its_first_tick(tmp_path: Path) -> None:
    told = Told(tmp_path)

    def say(now_s: int, ticks: int) -> tuple[int, str]:
        told.loop.ticks = ticks
        status = told.texts.loop(told.loop, now_s * 10**9, 0.01)
        return status.level[0], status.message

    assert say(1, 0) == (0, "no tick yet")  # it has just been activated
    assert say(2, 0) == (1, "no tick yet")
    assert say(3, 50) == (0, "50.0 Hz")
    assert say(4, 50) == (1, "no tick since the last message")
    assert say(5, 20) == (0, "20 ticks so far")  # another loop, after a deactivation
    assert say(6, 70) == (0, "50.0 Hz")
    told = Told(tmp_path)
    assert say(1, 20) == (0, "20 ticks so far")  # no rate without an earlier count


def test_before_the_first_message_an_input_has_no_age(tmp_path: Path) -> None:
    told = Told(tmp_path)
    before = told.values("inputs")
    assert before["joints age p99 [ms]"] == before["input age p99 [ms]"] == "n/a"
    told.rig.pipeline.slots["joints"].ages.add(2 * MS)
    after = told.values("inputs")
    assert after["joints age p99 [ms]"] == after["input age p99 [ms]"] == "2.0"
