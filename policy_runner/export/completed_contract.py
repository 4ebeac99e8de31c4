"""Completes the user's contract to a policy spec: model, statistics, states, bounds.

The contract is policy.yaml without what a trained policy says itself. What it says as well must be
the same: the trained policy is asked, not trusted.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.files.bounded import MOST_SPEC
from policy_runner.core.files.safe_yaml import load_yaml
from policy_runner.core.model import Array, ModelFacts
from policy_runner.core.spec import SCHEMA
from policy_runner.export.sources.trained_policy import CONSTANT_SPREAD, Statistics, TrainedPolicy
from policy_runner.formats.draft import todo
from policy_runner.formats.plain_onnx import draft_plain

STATISTICS_FILE = "statistics.npz"
MODEL_FILE = "policy.onnx"


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """`on`, `off`, `yes` and `no` are text, as in policy.yaml."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    list("tTfF"),
)


@dataclass
class Completed:
    """The spec's keys, the arrays of its statistics file, and what a person should look at."""

    spec: dict[str, Any]
    arrays: dict[str, dict[str, Array]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_contract(given: Mapping[str, Any] | Path | str | None) -> dict[str, Any] | None:
    """The contract's keys; None where there is none.

    Raises:
        Refusal: no such file, or no mapping.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return copy.deepcopy(dict(given))
    path = Path(given).expanduser()
    content = load_yaml(path, _Loader, MOST_SPEC, "YAML")
    if not isinstance(content, dict):
        raise refuse(str(path), "", "a mapping of keys", type(content).__name__)
    return content


def check_names(contract: Mapping[str, Any], policy: TrainedPolicy, where: str) -> None:
    """Refuse a contract whose tensors, states, elements or bounds are not the trained policy's.

    Raises:
        Refusal: every difference.
    """
    problems: list[Problem | str] = []
    inputs = [one.name for one in policy.inputs]
    for key, known in (("observation", inputs), ("action", list(policy.outputs))):
        given = contract.get(key)
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            problems.append(Problem(where, key, "a list of tensors", "something else"))
            continue
        names = [one.get("tensor") for one in given]
        for k, name in enumerate(names):
            if name not in known:
                hint = did_you_mean(str(name), known)
                expected = f"a tensor of the network ({', '.join(known)})"
                problems.append(Problem(where, f"{key}[{k}].tensor", expected, f"'{name}'", hint))
        if key == "observation":
            problems += [
                Problem(where, key, f"the network's input '{name}'", "no tensor of that name")
                for name in known
                if name not in names
            ]
        else:
            for k, one in enumerate(given):
                problems += _element_problems(one, policy, where, f"action[{k}]")
    pairs = [(one.input.name, one.output) for one in policy.states]
    stated = contract.get("state")
    if stated:
        got = [(one.get("input"), one.get("output")) for one in stated if isinstance(one, dict)]
        if sorted(map(str, got)) != sorted(map(str, pairs)):
            expected = ", ".join(f"{a} from {b}" for a, b in pairs) or "none"
            problems.append(
                Problem(where, "state", expected, ", ".join(f"{a} from {b}" for a, b in got))
            )
    if problems:
        raise Refusal(problems)


def _element_problems(
    tensor: Mapping[str, Any], policy: TrainedPolicy, where: str, key: str
) -> list[Problem | str]:
    """Names and bounds of one action tensor against what the source says of them."""
    found: list[Problem | str] = []
    name = str(tensor.get("tensor"))
    groups = [one for one in tensor.get("groups") or [] if isinstance(one, dict)]
    names = [e for g in groups for e in (g.get("joints") or g.get("axes") or g.get("elements")
                                         or [])]  # fmt: skip
    wanted = list(policy.action_names.get(name, names))
    if names != wanted:
        expected = f"the source's order {', '.join(wanted)}"
        found.append(Problem(where, f"{key}.groups", expected, ", ".join(map(str, names))))
    scores = [g for g in groups if g.get("argmax")]
    if name in policy.choices:
        table = scores[0]["argmax"].get("table", []) if scores else []
        if len(table) != policy.choices[name]:
            expected = f"an argmax with a table of {policy.choices[name]} rows, one per choice"
            got = f"{len(table)} rows" if scores else "none"
            found.append(Problem(where, f"{key}.groups[0]", expected, got))
    return found


def complete(
    contract: Mapping[str, Any] | None, policy: TrainedPolicy, model: ModelFacts, name: str,
    where: str,
) -> Completed:  # fmt: skip
    """The spec of an exported model.

    Args:
        contract: see `read_contract`; None: a draft with a TODO for each thing that only the
            training's environment knows.
        model: the exported file. Its path's name goes into the spec.
        name: of the policy, where the contract has none.

    Raises:
        Refusal: the contract contradicts the trained policy.
    """
    if contract is None:
        spec = draft_plain(model).spec
        spec["name"] = name
        spec.setdefault("ignored_outputs", [])
        for tensor in spec["observation"]:
            tensor.pop("normalization", None)
    else:
        check_names(contract, policy, where)
        spec = {"schema": SCHEMA, "name": name, "model": {}, **copy.deepcopy(dict(contract))}
    spec["model"] = {"file": model.path.name, "sha256": model.sha256}
    result = Completed(spec)
    problems: list[Problem | str] = []
    for k, tensor in enumerate(spec["observation"]):
        try:
            _normalization(tensor, policy, result, where, f"observation[{k}]", contract is None)
        except Refusal as refusal:
            problems += refusal.problems
    if policy.states:
        pairs = {state.input.name: state.output for state in policy.states}
        given = {str(one.get("input")): one for one in spec.get("state") or []}
        spec["state"] = [{**given.get(a, {}), "input": a, "output": b} for a, b in pairs.items()]
    elif contract is None:
        spec.pop("state", None)
    if contract is not None:
        for k, action in enumerate(spec["action"]):
            problems += _bounds(action, policy, where, f"action[{k}]")
        used = [one["tensor"] for one in spec["action"]]
        others = [one for one in policy.outputs if one not in used]
        if others:
            spec["ignored_outputs"] = others
        spec.setdefault("last_action", todo("raw, clipped, target or limited"))
    if problems:
        raise Refusal(problems)
    if not spec.get("ignored_outputs"):
        spec.pop("ignored_outputs", None)
    return result


def _normalization(
    tensor: dict[str, Any], policy: TrainedPolicy, result: Completed, where: str, key: str,
    drafted: bool,
) -> None:  # fmt: skip
    """Write how this tensor is normalized; refuse a contract that says something else."""
    name = tensor["tensor"]
    stated = tensor.get("normalization")
    key = f"{key}.normalization"
    if name in policy.normalized_inside:
        if stated not in (None, "in_model"):
            raise refuse(where, key, "in_model, as exported", _short(stated))
        tensor["normalization"] = "in_model"
    elif name in policy.statistics:
        if stated is not None and not (isinstance(stated, dict) and set(stated) <= {"on"}):
            remedy = "leave the key out: the export writes it"
            raise refuse(where, key, "nothing but `on`", _short(stated), remedy)
        tensor["normalization"] = _outside(policy, name, result)
        if stated or tensor.get("history"):
            tensor["normalization"]["on"] = (stated or {}).get("on", "stacked")
    elif isinstance(stated, dict):
        remedy = "give them by --normalizer, so that the export is compared with them"
        raise refuse(where, key, "statistics of the source", "statistics in the contract", remedy)
    elif stated is None and "terms" in tensor and not drafted:
        expected = "--normalizer, or `normalization: none` or `in_model` in the contract"
        remedy = "a policy that was trained with a normalizer is wrong without it"
        raise refuse(where, key, expected, "nothing", remedy)
    elif stated is None and drafted:
        tensor["normalization"] = todo("none or in_model: is the input normalized?")


def _short(stated: object) -> str:
    return stated if isinstance(stated, str) else "statistics"


def _outside(policy: TrainedPolicy, name: str, result: Completed) -> dict[str, Any]:
    """The keys of `normalization`, and the arrays in the statistics file."""
    given = policy.statistics[name]
    several = len(policy.statistics) > 1
    arrays = result.arrays.setdefault(STATISTICS_FILE, {})
    for key, values in given.values.items():
        arrays[f"{name}.{key}" if several else key] = np.asarray(values, dtype=np.float64)
    keys: dict[str, Any] = {"preset": given.preset, "statistics": STATISTICS_FILE}
    if several:
        keys["group"] = name
    keys.update(_differing(given))
    return keys


def _differing(given: Statistics) -> dict[str, Any]:
    """`eps` and `clip`, where the trainer's are not the preset's."""
    keys: dict[str, Any] = {}
    if given.eps is not None and (given.preset, given.eps) != ("sb3", 1e-8):
        keys["eps"] = given.eps
    if given.clip is not None and (given.preset, given.clip) != ("sb3", 10.0):
        keys["clip"] = [-given.clip, given.clip]
    return keys


def _bounds(
    action: dict[str, Any], policy: TrainedPolicy, where: str, key: str
) -> list[Problem | str]:
    """Write the trainer's clip as `clip_raw`; the problem of a contract that says another."""
    if action["tensor"] not in policy.bounds:
        return []
    low, high = policy.bounds[action["tensor"]]
    at = 0
    problems: list[Problem | str] = []
    for g, group in enumerate(action.get("groups") or []):
        count = len(group.get("joints") or group.get("axes") or group.get("elements") or [])
        first, last = group.get("slice") or (at, at + count)
        at += count
        pairs = [[float(a), float(b)] for a, b in zip(low[first:last], high[first:last])]
        if not pairs or not np.all(np.isfinite(pairs)):
            continue
        wanted: Any = pairs[0] if all(one == pairs[0] for one in pairs) else pairs
        if group.get("clip_raw") is None:
            group["clip_raw"] = wanted
        elif not _equal(group["clip_raw"], pairs):
            expected = f"{wanted}, the action space that the trainer clips to"
            got = f"{group['clip_raw']}"
            problems.append(Problem(where, f"{key}.groups[{g}].clip_raw", expected, got))
    return problems


def _equal(stated: Any, pairs: Sequence[Sequence[float]]) -> bool:
    try:
        given = np.broadcast_to(np.asarray(stated, dtype=np.float64), (len(pairs), 2))
    except (TypeError, ValueError):
        return True  # by name: the reader of the spec judges it, verification compares it
    return bool(np.array_equal(given, np.asarray(pairs)))


def constant_dimensions(policy: TrainedPolicy, names: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for every element that did not vary in training.

    Args:
        names: of the elements, by input; others are called by their position.
    """
    found = []
    for name, given in policy.statistics.items():
        for k in np.flatnonzero(given.spread < CONSTANT_SPREAD).tolist():
            known = names.get(name, ())
            element = known[k] if k < len(known) else f"[{k}]"
            found.append(
                f"{name} {element} was constant in training (standard deviation "
                f"{given.spread[k]:.3g}): the policy has not learnt what it means"
            )
    return found
