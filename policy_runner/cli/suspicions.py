"""Finds numbers of a policy spec that are valid but often wrong, for `inspect` and `check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from policy_runner.backends.onnx_file.runtime_nodes import runtime_nodes
from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.state_wiring import doubtful_states
from policy_runner.core.errors import Refusal
from policy_runner.core.files.arrays import read_statistics
from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.core.observation.normalization import resolve_formula
from policy_runner.core.spec import Normalization, PerTermNormalization, SpecFile
from policy_runner.core.spec.parts import OWN_KEYS, ModelFile, model_files
from policy_runner.formats.draft import rounded

SMALL_STD = 1e-4  # the value was constant in training: division makes small noise on it huge
SMALL_SPAN = 2e-3  # q99 - q01; a span of 1e-3 made a policy useless (openpi, issue 814)
TURNS = 4 * np.pi  # rad; two turns: a joint's position is smaller, except a wheel's
SPANS = (("q01", "q99"), ("q10", "q90"), ("min", "max"))


def normalizations(spec_file: SpecFile) -> Iterator[tuple[str, Normalization]]:
    """Yield (key in the spec, normalization) for every normalization with statistics."""
    for k, tensor in enumerate(spec_file.spec.observation):
        key = f"observation[{k}].normalization"
        given = tensor.normalization
        if isinstance(given, Normalization):
            yield key, given
        elif isinstance(given, PerTermNormalization):
            for name, one in given.per_term.items():
                if isinstance(one, Normalization):
                    yield f"{key}.per_term.{name}", one
    for k, action in enumerate(spec_file.spec.action):
        if action.denormalization is not None:
            yield f"action[{k}].denormalization", action.denormalization


def statistics_of(spec_file: SpecFile, given: Normalization) -> dict[str, np.ndarray]:
    """Return the stored arrays by meaning (mean, std, var, min, ...); {} if unreadable."""
    if given.statistics is None:
        return {}
    group = [given.group] if isinstance(given.group, str) else list(given.group or [])
    try:
        if isinstance(given.statistics, str):
            path = spec_file.next_to(given.statistics, "statistics")
            stored = read_statistics(path, None, group)
        else:
            stored = {k: np.asarray(v, dtype=np.float64) for k, v in given.statistics.items()}
    except Refusal:
        return {}
    names = {name: key for key, name in given.keys.items()}
    return {str(names.get(name, name)): values for name, values in stored.items()}


def read_all_facts(spec_file: SpecFile) -> dict[str, ModelFacts]:
    """Read what every model of the spec says about itself, by its name in `core.spec.parts`.

    Of a model that only a server has, the spec itself says it.
    """
    return {part.name: _facts_of(spec_file, part) for part in model_files(spec_file.spec)}


def _facts_of(spec_file: SpecFile, part: ModelFile) -> ModelFacts:
    given = part.model.tensors
    if given is None:
        path = spec_file.next_to(part.model.file, part.file_key)
        return read_model_facts(path, spec_file.path)
    inputs, outputs = (
        tuple(TensorFacts(name, one.dtype, tuple(one.shape)) for name, one in side.items())
        for side in (given.inputs, given.outputs)
    )
    return ModelFacts(spec_file.path, "", inputs, outputs)


def all_suspicions(spec_file: SpecFile, facts: Mapping[str, ModelFacts]) -> list[str]:
    """Return the suspicions of every model of the spec, with keys as in the file."""
    found: list[str] = []
    for k, part in enumerate(model_files(spec_file.spec)):
        spec = part.spec
        if k:  # what the models share is reported once
            shared = dict.fromkeys(("default_joint_pos", "stiffness", "damping"))
            spec = spec.model_copy(update=shared)
        texts = suspicions(SpecFile(spec, spec_file.path), facts[part.name])
        found += [placed_text(part, text) for text in texts]
    return list(dict.fromkeys(found))


def placed_text(part: ModelFile, text: str) -> str:
    """Return a sentence that begins with keys of one model, with the keys as in the file."""
    keys, colon, rest = text.partition(": ")
    names = [
        f"{part.key}{key}" if key.split(".")[0].split("[")[0] in OWN_KEYS else key
        for key in keys.split(", ")
    ]
    return f"{', '.join(names)}{colon}{rest}"


def suspicions(spec_file: SpecFile, model: ModelFacts) -> list[str]:
    """Return one sentence for each suspicious number that the user should check."""
    states = [f"{one.key}: {one.text}" for one in doubtful_states(spec_file, model)]
    found = [*_twice_or_never(spec_file, model), *states, *model.suspicious]
    nodes = runtime_nodes(model.path) if model.sha256 else ()
    if nodes:
        found.append(
            f"model: {', '.join(nodes[:4])} were written by ONNX Runtime for the CPU of one "
            "machine; deploy the file that was exported"
        )
    for key, given in normalizations(spec_file):
        kind = resolve_formula(given, str(spec_file.path), key).kind
        found += [f"{key}: {text}" for text in _statistics(statistics_of(spec_file, given), kind)]
    spec = spec_file.spec
    for key in ("stiffness", "damping"):
        values = _numbers(getattr(spec, key))
        if values and set(values) <= {0.0, 1.0}:
            got = "1" if set(values) == {1.0} else "0" if set(values) == {0.0} else "1 or 0"
            found.append(
                f"{key}: all exactly {got}, which exporters write for gains that they do not know"
            )
    found += _degrees(spec_file)
    lists = [("default_joint_pos", spec.default_joint_pos), ("stiffness", spec.stiffness),
             ("damping", spec.damping)]  # fmt: skip
    for k, action in enumerate(spec.action):
        for g, group in enumerate(action.groups):
            lists.append((f"action[{k}].groups[{g}].scale", group.scale))
    short = [key for key, given_numbers in lists if rounded(_numbers(given_numbers), 3)]
    if short:
        found.append(
            f"{', '.join(short)}: at most 3 decimals, as exporters round them; the trainer's "
            "own numbers may be others"
        )
    return found


def _twice_or_never(spec_file: SpecFile, model: ModelFacts) -> list[str]:
    """Return contradictions between the spec and the graph about normalization and state."""
    found = []
    for k, tensor in enumerate(spec_file.spec.observation):
        key = f"observation[{k}].normalization"
        name = tensor.tensor
        if isinstance(name, int):
            name = model.inputs[name].name
        inside = ", ".join(model.arithmetic.get(name, ()))
        if inside and isinstance(tensor.normalization, (Normalization, PerTermNormalization)):
            found.append(f"{key}: statistics, and the model itself begins with {inside}: twice?")
        elif name in model.untouched and tensor.normalization == "in_model":
            found.append(f"{key}: in_model, and the model does not begin with one: never?")
    return found + [
        f"model: {node} keeps no state between two inferences; was its state exported?"
        for node in model.stateless
    ]


def _degrees(spec_file: SpecFile) -> list[str]:
    """Return the places whose joint positions are larger than any joint in radians."""
    spec = spec_file.spec
    given: dict[str, list[float]] = {"default_joint_pos": _numbers(spec.default_joint_pos)}
    for k, tensor in enumerate(spec.observation):
        terms = [one for one in tensor.every_term if one.term != "image"]
        for t, term in enumerate(terms):
            if term.term == "joint_position":
                key = f"observation[{k}].terms[{t}]" if tensor.terms else f"observation[{k}].whole"
                given[f"{key}.clip"] = _bounds(term.clip)
        if terms and all(term.term == "joint_position" for term in terms):
            found = tensor.normalization
            if isinstance(found, Normalization):
                given[f"observation[{k}].normalization"] = _spread(spec_file, found)
    for k, action in enumerate(spec.action):
        positions = all(group.kind == "position" for group in action.groups)
        if positions and action.denormalization is not None:
            given[f"action[{k}].denormalization"] = _spread(spec_file, action.denormalization)
        for g, group in enumerate(action.groups):
            if group.kind == "position":
                given[f"action[{k}].groups[{g}].clip"] = _bounds(group.clip)
                given[f"action[{k}].groups[{g}].offset"] = _numbers(group.offset)
    joints = set(spec.joint_names)
    for name, limit in spec.limits.items():
        if name in joints:
            given[f"limits.{name}"] = [v for v in (limit.lower, limit.upper) if v is not None]
    return [
        f"{key}: {max(values, key=abs):g}, which is {abs(max(values, key=abs)) / 6.2832:.0f} turns "
        "of a joint: degrees next to radians?"
        for key, values in given.items()
        # A clip of 100 is the trainer's usual bound for everything, and no angle.
        if values and TURNS < max(map(abs, values)) <= 720.0 and max(map(abs, values)) != 100.0
    ]


def _spread(spec_file: SpecFile, given: Normalization) -> list[float]:
    stored = statistics_of(spec_file, given)
    names = [name for name in stored if name not in ("var", "count")]
    return [float(v) for name in names for v in np.ravel(stored[name]) if np.isfinite(v)]


def _bounds(ranges: Any) -> list[float]:
    if isinstance(ranges, Mapping):
        ranges = list(ranges.values())
    pairs = ranges if ranges and isinstance(ranges[0], (list, tuple)) else [ranges or []]
    return [float(end) for pair in pairs for end in pair if end is not None]


def _numbers(value: Any) -> list[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [float(one) for one in value]
    return [] if value is None else [float(value)]


def _statistics(stored: Mapping[str, np.ndarray], kind: str) -> list[str]:
    found = []
    std = stored.get("std", np.sqrt(np.maximum(stored["var"], 0)) if "var" in stored else None)
    if std is not None and kind in ("mean_std", "mean_var"):
        found += _where(std, std < SMALL_STD, f"std below {SMALL_STD:g}")
        mean = stored.get("mean")
        if mean is not None and not mean.any() and (std == 1.0).all():
            found.append("mean 0 and std 1 everywhere: it changes nothing; is this the real file?")
    for low, high in SPANS:
        uses = {"min": "min_max", "q01": "quantiles", "q10": "quantile10"}[low]
        if kind == uses and low in stored and high in stored:
            span = stored[high] - stored[low]
            found += _where(span, span < SMALL_SPAN, f"{high} - {low} below {SMALL_SPAN:g}")
    used = [name for name, values in stored.items() if rounded(values.tolist(), 3)]
    if used:
        found.append(f"{', '.join(used)}: at most 3 decimals")
    return found


def _where(values: np.ndarray, bad: np.ndarray, what: str) -> list[str]:
    index = np.flatnonzero(bad)
    if not index.size:
        return []
    shown = ", ".join(f"[{k}] {values[k]:.3g}" for k in index[:5])
    more = f" and {index.size - 5} more" if index.size > 5 else ""
    return [f"{what}: {shown}{more}"]
