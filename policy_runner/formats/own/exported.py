"""The contract and the statistics that `policy-runner export` writes into a model's metadata.

Three entries, JSON each. Python writes a float64 with as many digits as tell it from every other,
so the numbers come back bit by bit.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array, ModelFacts
from policy_runner.formats.draft import MALFORMED, Draft

CONTRACT = "policy_runner.contract"  # policy.yaml's keys; the model without its sha256
STATISTICS = "policy_runner.statistics"  # {file: {key: [numbers]}}
EXPORT = "policy_runner.export"  # how it was made: versions, opset, source's kind
MOST_DEPTH = 32  # values inside each other; a spec has 8
Files = Mapping[str, Mapping[str, Array]]


def is_exported(metadata: Mapping[str, str]) -> bool:
    """Whether a model carries its contract."""
    return CONTRACT in metadata


def as_metadata(spec: Mapping[str, Any], files: Files, how: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a model: name and JSON text.

    Args:
        spec: the keys of policy.yaml. `model.sha256` is left out: the file cannot hold it.
        files: the arrays of each statistics file, float64.
        how: for people; no paths, no times, so that the same source gives the same bytes.
    """
    contract = {**spec, "model": {"file": spec["model"]["file"]}}
    numbers = {
        name: {key: values.tolist() for key, values in arrays.items()}
        for name, arrays in files.items()
    }
    return {
        CONTRACT: json.dumps(contract, allow_nan=False),
        STATISTICS: json.dumps(numbers, allow_nan=False),
        EXPORT: json.dumps(dict(how), sort_keys=True),
    }


def contract_of(model: ModelFacts) -> dict[str, Any]:
    """The keys of policy.yaml that a model carries.

    Raises:
        Refusal: damaged metadata.
    """
    found = _json(model, CONTRACT)
    if not isinstance(found.get("model", {}), dict):
        raise refuse(str(model.path), f"metadata {CONTRACT}", "a mapping 'model'", "another value")
    return found


def statistics_of(model: ModelFacts) -> dict[str, dict[str, Array]]:
    """The arrays of each statistics file that a model carries, float64.

    Raises:
        Refusal: damaged metadata, or a file name with a folder in it.
    """
    found = _json(model, STATISTICS) if STATISTICS in model.metadata else {}
    key = f"metadata {STATISTICS}"
    arrays: dict[str, dict[str, Array]] = {}
    for name, given in found.items():
        plain = name.endswith(".npz") and not {"/", "\\", "\0"} & set(name) and name[0] != "."
        if not plain:
            raise refuse(str(model.path), key, "names of .npz files, without folders", f"'{name}'")
        try:
            arrays[name] = {
                str(one): np.asarray(values, dtype=np.float64).reshape(-1)
                for one, values in given.items()
            }
        except MALFORMED as error:
            raise refuse(str(model.path), key, "lists of numbers", str(error)) from error
    return arrays


def export_facts(model: ModelFacts) -> dict[str, Any]:
    """How a model was exported; {} where it does not say."""
    return _json(model, EXPORT) if EXPORT in model.metadata else {}


def draft_exported(model: ModelFacts) -> Draft:
    """The draft of a model that carries its contract: nothing is left to say.

    Raises:
        Refusal: damaged metadata.
    """
    draft = Draft("exported by policy_runner", [model.path], exact=True)
    spec = contract_of(model)
    spec["model"] = model_entry(model)
    draft.files = {name: npz_bytes(arrays) for name, arrays in statistics_of(model).items()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in draft.files.items()}
    set_digests(spec, digests)
    draft.spec = spec
    return draft


def model_entry(model: ModelFacts) -> dict[str, Any]:
    """The key `model` of policy.yaml: the file and the checksums of it and of its weight files."""
    data = {"data": dict(model.data_sha256)} if model.data_sha256 else {}
    return {"file": model.path.name, "sha256": model.sha256, **data}


def set_digests(spec: Any, digests: Mapping[str, str]) -> None:
    """Write the sha256 of each statistics file next to its name, wherever the spec names it."""
    if isinstance(spec, dict):
        name = spec.get("statistics")
        if isinstance(name, str) and name in digests:
            spec["sha256"] = digests[name]
        for value in spec.values():
            set_digests(value, digests)
    elif isinstance(spec, list):
        for value in spec:
            set_digests(value, digests)


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """An .npz of these arrays. numpy writes no time into it: the same arrays, the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.ascontiguousarray(one) for name, one in arrays.items()})  # type: ignore[arg-type,unused-ignore]
    return buffer.getvalue()


def _json(model: ModelFacts, key: str) -> dict[str, Any]:
    try:
        found = json.loads(model.metadata[key], parse_constant=_refuse_constant)
        if _depth(found) > MOST_DEPTH:
            raise ValueError(f"more than {MOST_DEPTH} values inside each other")
    except (ValueError, RecursionError) as error:
        where = f"metadata {key}"
        raise refuse(str(model.path), where, "JSON", " ".join(str(error).split())[:200]) from error
    if not isinstance(found, dict):
        got = type(found).__name__
        raise refuse(str(model.path), f"metadata {key}", "a JSON object", got)
    return found


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name}, which is no number of JSON")
