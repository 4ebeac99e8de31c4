"""Opens a black box's file for a replay: its policy, bound as in the node that wrote it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.backends.remote.server_options import ASKS
from policy_runner.core.black_box.records import Received
from policy_runner.core.black_box.replay import Replay, Replayed
from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import refuse
from policy_runner.core.spec import read_spec
from policy_runner.robot.lane.opening import open_inline
from policy_runner.robot.load import LoadedPolicy, bind_policy
from policy_runner.ros.black_box.content import Facts, read_facts, read_records
from policy_runner.ros.inputs.checked_reader import checked_reader
from policy_runner.ros.inputs.polling import hear
from policy_runner.ros.messages.types import message_class


@dataclass
class OpenedBox:
    """A file and its policy."""

    path: Path
    facts: Facts
    loaded: LoadedPolicy
    warnings: list[str]

    def replay(self) -> Iterator[Replayed]:
        """Compute every command again.

        Raises:
            Refusal: the file is damaged, or its state is of another version.
        """
        loaded, most_bytes = self.loaded, self.loaded.config.loop.max_message_bytes
        readers: dict[str, Any] = {}
        for name, slot in loaded.pipeline.slots.items():
            kind = message_class(slot.spec.type, f"inputs.{name}.type")
            readers[name] = checked_reader(slot, kind, loaded.config)

        def read(one: Received) -> None:
            slot = loaded.pipeline.slots[one.input]
            most = min(most_bytes, slot.most_bytes) if slot.most_bytes > 0 else most_bytes
            hear(slot, readers[one.input], most, one.raw, one.arrived_ns, one.clock_ns, one.arrival)

        file = str(self.path)
        replay = Replay(loaded.pipeline, read, self.facts.paths, self.facts.partial, file)
        return replay.run(read_records(self.path, self.facts))


def open_box(path: Path, spec: Path) -> OpenedBox:
    """Open a file with the policy `spec`, and the parameters that the node had.

    Raises:
        Refusal: the policy is another one, or a part of its state was not in the node's memory.
    """
    facts = read_facts(path)
    if facts.outside:
        expected = "a backend whose recurrent state is in the node's memory, such as onnxruntime"
        raise refuse(str(path), "", expected, "a state that stayed on the GPU")
    values = {**facts.values, ASKS: False}  # the results of a server are in the file
    loaded = bind_policy(read_spec(spec), values, facts.simulated, open_lane=open_inline)
    if loaded.model.sha256 != facts.sha256:
        loaded.close()
        remedy = f"replay with {facts.spec} as it was"
        raise refuse(str(path), "model", f"sha256 {facts.sha256}", loaded.model.sha256, remedy)
    if loaded.config.command.effort_from_pd:
        pipeline = loaded.pipeline
        slots = list(pipeline.slots.values())
        pd = EffortFromPd(loaded.spec, str(loaded.spec_file.path), pipeline.elements, slots)
        pipeline.watch(pd.fault)
    here = {"python": platform.python_version(), "numpy": np.__version__}
    warnings = [
        f"{path}: written with {name} {facts.versions.get(name)}, replayed with {version}: "
        "commands may differ in their last bits"
        for name, version in here.items()
        if facts.versions.get(name) != version
    ]
    return OpenedBox(path, facts, loaded, warnings)
