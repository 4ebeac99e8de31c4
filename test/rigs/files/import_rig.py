"""Models and filled drafts for the tests of the foreign formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.core.spec import PolicySpec, read_spec
from policy_runner.formats.draft import Draft, spec_text


def facts(
    metadata: dict[str, str] | None = None, inputs: Any = None, outputs: Any = None
) -> ModelFacts:
    """Return a model as a backend would describe it."""

    def tensors(given: dict[str, list[int]]) -> tuple[TensorFacts, ...]:
        return tuple(TensorFacts(name, "float32", tuple(shape)) for name, shape in given.items())

    return ModelFacts(
        Path("somewhere/policy.onnx"), "0" * 64,
        tensors(inputs or {"obs": [1, 15]}), tensors(outputs or {"actions": [1, 2]}),
        metadata or {},
    )  # fmt: skip


def unknown(draft: Draft) -> list[str]:
    return [key for key, _ in draft.unknown]


def filled(draft: Draft, tmp_path: Path, **values: Any) -> PolicySpec:
    """Replace the draft's TODOs by key path; return the spec, which must be valid."""
    for path, value in values.items():
        place: Any = draft.spec
        *parents, last = [int(p) if p.isdigit() else p for p in path.split("__")]
        for part in parents:
            place = place[part]
        place[last] = value
    (tmp_path / "policy.yaml").write_text(spec_text(draft), encoding="utf-8")
    return read_spec(tmp_path).spec
