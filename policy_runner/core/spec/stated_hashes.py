"""Which of a policy's files the spec names without saying what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from policy_runner.core.spec.policy import Model, Motion, Normalization, PolicySpec, StoredTensor


def unchecked_files(spec: PolicySpec) -> list[str]:
    """Files whose sha256 the spec does not state, each once, in its order."""
    return list(dict.fromkeys(_visit(spec)))


def _visit(part: Any) -> Iterator[str]:
    if isinstance(part, (Model, Motion, StoredTensor)) and part.sha256 is None:
        yield part.file
    if isinstance(part, Normalization) and part.sha256 is None and isinstance(part.statistics, str):
        yield part.statistics
    if isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _visit(getattr(part, name))
    elif isinstance(part, dict):
        for one in part.values():
            yield from _visit(one)
    elif isinstance(part, list):
        for one in part:
            yield from _visit(one)
