"""A policy loaded once for a server: it makes sessions, and describes its inputs and answers."""

from __future__ import annotations

import re
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from policy_runner import __version__
from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.spec.parts import has_several
from policy_runner.robot.load import LoadedPolicy, load_policy
from policy_runner.robot.values import NODE
from policy_runner.serving.session.policy_session import PolicySession, SessionGroup
from policy_runner.serving.session.request import CONTROL, KeyRule
from policy_runner.serving.session.shared_model import view_of
from policy_runner.serving.session.tensor_runs import TensorRuns

MOST_ROWS = 1024  # sessions of one connection
_NUMBERS = {"type": "array", "items": {"type": "number"}}


class ServedPolicy:
    """See the file's first line. One thread at a time may run its sessions and tensors.

    Attributes:
        loaded: the policy.
        name: of the model in addresses: the policy's name in letters, digits, `_` and `-`.
    """

    def __init__(
        self, spec: Path, params: Path | None = None, node: str = NODE, rule: KeyRule | None = None
    ) -> None:
        """Load the policy, with the checks of the node.

        Args:
            spec: policy.yaml or its folder.
            params: the node's parameter file; None: every parameter has its default.
            node: fully qualified node name, which selects the sections of the file.
            rule: how keys of clients become inputs; its joint names are filled in.

        Raises:
            Refusal: names every problem that could be found.
        """
        self.loaded: LoadedPolicy = load_policy(spec, params, node=node, view=view_of)
        if self.loaded.config.backend.backend == "remote":
            self.loaded.close()
            expected = "a backend that runs the model here"
            remedy = "let clients ask that server itself"
            raise refuse(str(params), "parameter backend", expected, "remote", remedy)
        rule = rule or KeyRule()
        joints = self.loaded.joints
        names = tuple(joints[name].name for name in self.loaded.spec.joint_names)
        self._rule = KeyRule(rule.renamed, rule.ignored, names)
        self.name = re.sub(r"[^A-Za-z0-9_-]", "_", self.loaded.spec.name) or "policy"
        self._check_rule()

    def _check_rule(self) -> None:
        slots = self.loaded.pipeline.slots
        for key, path in self._rule.renamed.items():
            name, slash, _ = path.partition("/")
            if not slash or name not in slots:
                expected = f"INPUT/FIELD with INPUT one of {', '.join(slots)}"
                raise refuse("", f"--rename {key}", expected, f"'{path}'")

    @cached_property
    def tensors(self) -> TensorRuns | None:
        """The model as a function of tensors; None for a policy of several models."""
        return None if has_several(self.loaded.spec) else TensorRuns(self.loaded)

    def session(self) -> PolicySession:
        """A session with a pipeline of its own, which shares the model."""
        pipeline = self.loaded.another_pipeline(view_of(self.loaded.model))
        return PolicySession(pipeline, self._rule)

    def group(self, rows: int) -> SessionGroup:
        """Sessions of several simulators on one connection.

        Raises:
            Refusal: not 1 to MOST_ROWS rows.
        """
        if not 1 <= rows <= MOST_ROWS:
            raise refuse("", "batch", f"1 to {MOST_ROWS}", f"{rows}")
        return SessionGroup([self.session() for _ in range(rows)])

    def step_takes_ns(self, runs: int = 5) -> int:
        """Measure the fastest run of the model on zeros [ns]."""
        view = view_of(self.loaded.model)
        taken = []
        for _ in range(runs):
            begin = time.perf_counter_ns()
            view.run()
            taken.append(time.perf_counter_ns() - begin)
        return min(taken)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Facts about the policy, as plain data: openpi's metadata and `/metadata`."""
        loaded, spec = self.loaded, self.loaded.spec
        settings = loaded.pipeline.settings
        return {
            "server": f"policy_runner {__version__}",
            "policy": spec.name,
            "model_sha256": loaded.model.sha256,
            "provider": loaded.model.provider,
            "control_dt": float(spec.control_dt),
            "tick_dt": settings.period_ns / 1e9,
            "decimation": settings.decimation,
            "action_names": [one.joint for one in loaded.pipeline.elements],
            "action_kinds": [one.kind for one in loaded.pipeline.elements],
            "action_horizon": 1,
            "inputs": {name: _described(slot) for name, slot in loaded.pipeline.slots.items()},
            "controls": dict(CONTROL),
        }

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the observation of `/act`: inputs, and in them fields."""
        slots = self.loaded.pipeline.slots
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"observation of {self.loaded.spec.name}",
            "type": "object",
            "properties": {name: self._input_schema(slot) for name, slot in slots.items()},
            "additionalProperties": False,
        }

    def _input_schema(self, slot: InputSlot) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path, array in slot.arrays.items():
            found[path] = {**_NUMBERS, "minItems": array.size, "maxItems": array.size}
        if slot.joints is not None:
            names = list(self._rule.joint_names)
            about = f"default: {', '.join(names)}"
            found["name"] = {"type": "array", "items": {"type": "string"}, "description": about}
            found |= {kind: dict(_NUMBERS) for kind in slot.joint_kinds}
        if slot.text is not None:
            found["data"] = {"type": "string"}
        for path in slot.keepers:
            about = "an array, nested or as json_numpy writes it"
            found[path or "data"] = {"description": about}
        return {"type": "object", "description": slot.spec.type, "properties": found}

    def close(self) -> None:
        """Release the model."""
        self.loaded.close()


def _described(slot: InputSlot) -> dict[str, Any]:
    fields: dict[str, Any] = {path: int(array.size) for path, array in slot.arrays.items()}
    if slot.joints is not None:
        fields |= dict.fromkeys(slot.joint_kinds, len(slot.joints.joint_names))
    fields |= dict.fromkeys((path or "data" for path in slot.keepers), 0)
    fields |= {} if slot.text is None else {"data": slot.text.most}
    return {"type": slot.spec.type, "fields": fields}
