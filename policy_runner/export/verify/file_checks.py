"""Looks at a folder's files: the full checker, random operators, opset, contract, statistics."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from policy_runner.core.errors import Refusal
from policy_runner.core.files.arrays import read_statistics
from policy_runner.core.model import ModelFacts
from policy_runner.core.spec import PolicySpec
from policy_runner.export.graph.onnx_checks import dimensions, every_node, opset_of, random_nodes
from policy_runner.export.verify.rows import NOT_RUN, Row, said
from policy_runner.formats.own.exported import (
    contract_of,
    export_facts,
    is_exported,
    statistics_of,
)

# What ONNX Runtime 1.15 loads, the oldest that this project runs on.
MOST_OPSET, MOST_IR = 19, 9
# Keys of policy.yaml that say what the policy was trained on. Topics and limits are the robot's.
TRAINED = ("control_dt", "joint_names", "default_joint_pos", "observation", "state", "action",
           "ignored_outputs", "last_action", "motions")  # fmt: skip


def file_rows(facts: ModelFacts, spec: PolicySpec) -> list[Row]:
    """One row for each look at the model and at what its metadata says."""
    return [*_graph_rows(facts), _contract_row(facts, spec), _statistics_row(facts)]


def open_axes(path: Path) -> dict[str, int | None]:
    """Per input of the model the axis that is open; None where every size is fixed."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    found: dict[str, int | None] = {}
    for value in model.graph.input:
        free = [k for k, one in enumerate(dimensions(value)) if isinstance(one, str)]
        found[value.name] = free[0] if free else None
    return found


def _graph_rows(facts: ModelFacts) -> list[Row]:
    if find_spec("onnx") is None:
        return [Row("ONNX checker", NOT_RUN, text="onnx is not installed")]
    import onnx

    model = onnx.load(facts.path, load_external_data=False)
    problems = []
    try:
        onnx.checker.check_model(str(facts.path), full_check=True)
    except Exception as error:  # noqa: BLE001 - the checker raises types of its own
        problems.append(" ".join(str(error).split())[:300])
    foreign = sorted({n.domain for n in every_node(model.graph)} - {"", "ai.onnx"})
    return [
        said("ONNX checker", problems),
        said("no random operator", random_nodes(model)),
        said("operators of ONNX alone", foreign),
        _version_row(facts, model),
    ]


def _version_row(facts: ModelFacts, model: Any) -> Row:
    opset, version = opset_of(model), int(model.ir_version)
    text = f"opset {opset}, IR {version}"
    stated = export_facts(facts)
    problems = []
    for key, got in (("opset", opset), ("IR version", version)):
        if key in stated and stated[key] != got:
            problems.append(f"{key} {got} for {stated[key]}, which was exported")
    if not stated and (opset > MOST_OPSET or version > MOST_IR):
        text += f": ONNX Runtime 1.15 ends at opset {MOST_OPSET} and IR {MOST_IR}"
    return said("opset and IR", problems, text)


def _contract_row(facts: ModelFacts, spec: PolicySpec) -> Row:
    name = "policy.yaml is the model's contract"
    if not is_exported(facts.metadata):
        return Row(name, NOT_RUN, text="the model carries no contract")
    try:
        carried = PolicySpec.model_validate(
            {**contract_of(facts), "model": {"file": facts.path.name}}
        )
    except ValidationError as error:
        return said(name, [f"the model's contract has {error.error_count()} problems"])
    except Refusal as refusal:
        return said(name, [str(refusal)])
    problems = []
    for key in TRAINED:
        ours, theirs = (_plain(getattr(one, key)) for one in (spec, carried))
        if ours != theirs:
            problems.append(f"{_first_difference(key, ours, theirs)}")
    return said(name, problems)


def _plain(value: Any) -> Any:
    """Models as dictionaries, without checksums."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if key != "sha256"}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def _first_difference(key: str, ours: Any, theirs: Any) -> str:
    """`action[0].groups[0].joints[1]: b for a` of the first place that differs."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                return _first_difference(f"{key}.{name}", ours.get(name), theirs.get(name))
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for k, (a, b) in enumerate(zip(ours, theirs)):
            if a != b:
                return _first_difference(f"{key}[{k}]", a, b)
    return f"{key}: {str(ours)[:80]} for {str(theirs)[:80]}"


def _statistics_row(facts: ModelFacts) -> Row:
    name = "statistics are those of the model"
    problems = []
    try:
        carried = statistics_of(facts)
    except Refusal as refusal:
        return said(name, [str(refusal)])
    if not carried:
        return Row(name, NOT_RUN, text="the model carries none")
    for file, arrays in carried.items():
        try:
            stored = read_statistics(facts.path.parent / file)
        except Refusal as refusal:
            problems.append(str(refusal))
            continue
        for key, values in arrays.items():
            if key not in stored or stored[key].tobytes() != values.tobytes():
                apart = (
                    f", by at most {np.max(np.abs(stored[key] - values)):.3g}"
                    if key in stored and stored[key].shape == values.shape
                    else ""
                )
                problems.append(f"{file}: {key} differs{apart}")
    return said(name, problems, "bit by bit")
