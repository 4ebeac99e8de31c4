"""A lane whose results the test decides, and a pipeline with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from core_rig import MS, FakeClock, FakeModel, Rig, settings_for, spec_content, term, write_spec

from policy_runner.core.lane.interface import NOT_HERE, LaneEvent, LaneRequest, LaneRules
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.pipeline.laned import LaneSetup
from policy_runner.core.pipeline.pipeline import Step
from policy_runner.core.spec import read_spec

STEPS = 10  # of a chunk, 20 ms each
DT_MS = 20


class FakeLane:
    """Keeps requests; the test answers them."""

    kind = "process"
    tensors = ()

    def __init__(self) -> None:
        self.requests: list[LaneRequest] = []
        self.events = [LaneEvent("ready")]
        self.calls: list[str] = []

    def start(self, request: LaneRequest) -> None:
        self.requests.append(request)

    def poll(self) -> LaneEvent | None:
        return self.events.pop(0) if self.events else None

    def given(self, now_ns: int, built: bool) -> Any:
        return NOT_HERE

    def sample(self, now_ns: int) -> None:
        self.calls.append("sample")

    def wait(self, timeout_s: float) -> None:
        self.calls.append("wait")

    def forget(self) -> None:
        self.calls.append("forget")

    def give_up(self, why: str) -> None:
        self.calls.append(f"give up: {why}")

    def retry(self) -> None:
        self.calls.append("retry")

    def close(self) -> None:
        self.calls.append("close")

    def answer(self, rows: Any, request: int = -1, **more: Any) -> None:
        """Answer a request with rows, or with a fault."""
        rows = None if rows is None else np.asarray(rows, dtype=np.float64)
        self.events.append(LaneEvent("result", self.requests[request].sequence, rows, **more))


class LaneRig(Rig):
    """A pipeline of two positions with a fake lane, stepped every 10 ms."""

    def __init__(self, folder: Path, content: dict[str, Any], rules: LaneRules, **settings: Any):
        spec_file = read_spec(write_spec(folder, content))
        shape = (1, STEPS, 2) if "chunk" in content else (1, 2)
        model = FakeModel({"obs": (1, 2)}, {"act": shape})
        self.lane = FakeLane()
        setup = LaneSetup(rules, lambda _worker, _policy: self.lane, 1024)
        pipeline = build_pipeline(
            spec_file, model, settings_for(spec_file, **settings), {}, FakeClock(), lane=setup
        )
        super().__init__(pipeline, model)
        pipeline.activate()
        self.now_ns = 10**9
        self.measured = [0.0, 0.0]

    @property
    def policy(self) -> ChunkedPolicy:
        policy = self.pipeline.policy
        assert isinstance(policy, ChunkedPolicy)
        return policy

    def step(self, count: int = 1, fed: bool = True) -> Step:
        """Step so many ticks of 10 ms; return the last one."""
        for _ in range(count):
            self.now_ns += 10 * MS
            if fed:
                self.joints("joints", self.now_ns, ["a", "b"], position=np.array(self.measured))
            done = self.pipeline.step(self.now_ns)
        return done

    def said(self) -> str:
        safety = self.pipeline.safety
        return f"{safety.decision.value}: {safety.reason.value}: {safety.detail}"


def lane_rig(folder: Path, chunk: dict[str, Any] | None = None, **rules: Any) -> LaneRig:
    """A rig with chunks, or without them (`chunk={}`); keys `settings`: of the pipeline."""
    settings = rules.pop("settings", {})
    content = spec_content(
        observation=[
            {
                "tensor": "obs",
                "terms": [term("joint_position", input="joints")],
                "normalization": "none",
            }
        ],
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a", "b"]}]}],
    )
    if chunk != {}:
        content["chunk"] = {"dt": DT_MS / 1e3, **(chunk or {})}
    given = replace(LaneRules(frame_ns=DT_MS * MS), **rules)
    return LaneRig(folder, content, given, **settings)


def ramp(first: float, step: float = 0.0) -> np.ndarray:
    """A chunk [STEPS, 2] of both elements alike."""
    return np.repeat((first + step * np.arange(STEPS))[:, None], 2, axis=1)
