"""A pipeline that is recorded, fed with random messages, and computed again from the memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from core_rig import MS, FakeModel, Rig, make_rig, spec_content, term

from policy_runner.core.black_box.pipeline_recorder import Recorder
from policy_runner.core.black_box.records import Record
from policy_runner.core.black_box.replay import Replay, Replayed
from policy_runner.core.black_box.ring import Memory


def recurrent(inputs: Any) -> dict[str, Any]:
    """A model whose output depends on everything so far."""
    state = np.tanh(inputs["state"] * 0.9 + inputs["obs"].sum())
    return {"act": inputs["obs"][:, :2] + state, "next": state}


def rig_of(folder: Path) -> Rig:
    history = {"length": 3, "stack": "frame", "order": "oldest_first", "fill": "repeat"}
    observation = [
        {
            "tensor": "obs",
            "terms": [term("joint_velocity", input="joints")],
            "normalization": "none",
            "history": history,
        }
    ]
    content = spec_content(
        observation=observation,
        state=[{"input": "state", "output": "next"}],
    )
    model = FakeModel({"obs": (1, 6), "state": (1, 2)}, {"act": (1, 2), "next": (1, 2)}, recurrent)
    return make_rig(folder, content, model, recover="auto", late_inferences=2)


def feed(rig: Rig, values: np.ndarray, now_ns: int) -> None:
    rig.joints("joints", now_ns, ["b", "a"], velocity=values)


class Recorded:
    """A rig with a recorder, and what was fed to it."""

    def __init__(
        self,
        folder: Path,
        memory: int = 1 << 20,
        seconds: float = 10.0,
        make: Callable[[Path], Rig] = rig_of,
        name: str = "joints",
        feed: Callable[[Rig, np.ndarray, int], None] = feed,
    ) -> None:
        """Record the rig of `make`; `feed` puts the numbers of a message into the input `name`."""
        self.folder, self.make, self.name, self.feed = folder, make, name, feed
        self.rig = self._made("first")
        self.recorder = Recorder(self.rig.pipeline, Memory(memory), seconds)
        self.rig.pipeline.recorder = self.recorder
        self.commands: list[Any] = []

    def _made(self, name: str) -> Rig:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return self.make(folder)

    def run(self, ticks: int, begin: int = 1, seed: int = 0, **also: Any) -> None:
        random = np.random.default_rng(seed)
        for k in range(begin, begin + ticks):
            now_ns = k * 10 * MS
            if k % 7 or k < 5:  # some messages are missing
                values = random.normal(size=2)
                raw = values.tobytes() + bytes(also.get("size", 0))
                self.recorder.hear(self.name, raw, now_ns, None, "waited")
                self.feed(self.rig, values, now_ns)
            step = self.rig.pipeline.stepper(now_ns, also.get("outer"), lambda late: 0)
            self.commands.append(None if step.command is None else step.command.copy())

    def replay(self, records: list[Record] | None = None) -> list[Replayed]:
        again = self._made("again")

        def hear(one: Any) -> None:
            self.feed(again, np.frombuffer(one.raw)[:2], one.arrived_ns)

        paths, partial = self.recorder.state.paths, self.recorder.partial
        replay = Replay(again.pipeline, hear, paths, partial, "memory")
        found = []
        for one in replay.run(records if records is not None else self.recorder.read()):
            found.append(one._replace(command=None if one.command is None else one.command.copy()))
        return found
