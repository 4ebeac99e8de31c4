"""The resolved contract of a policy as plain data, for the output and the --json of `inspect`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy_runner.backends.several import part_name
from policy_runner.cli.suspicions import (
    all_suspicions,
    normalizations,
    placed_text,
    read_all_facts,
    statistics_of,
)
from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.core.observation.normalization import resolve_formula
from policy_runner.core.spec import ObservationTensor, PolicySpec, SpecFile, Switch
from policy_runner.core.spec.elements import absent_joints, limit_names
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.core.spec.parts import ModelFile, model_files
from policy_runner.formats.detect import draft_model
from policy_runner.formats.draft import remarks
from policy_runner.robot.load import LoadedPolicy

ARITHMETIC = ("wrap", "nonfinite", "clip", "scale", "offset", "order")
PLAIN: dict[str, Any] = {"scale": 1.0, "offset": 0.0, "order": "clip_scale"}
NOT_SOURCE = {"term", "name", "relative_to", *ARITHMETIC}


def model_contract(facts: ModelFacts) -> dict[str, Any]:
    """Return the contract of a model alone: tensors, metadata, files, remarks of an import."""
    draft = draft_model(facts)
    return {
        **_model(facts),
        "suspicious": [*draft.notes, *remarks(facts)],
        "unknown": [{"key": key, "what": what} for key, what in draft.unknown],
    }


def _model(facts: ModelFacts) -> dict[str, Any]:
    return {
        "model": {
            "file": str(facts.path),
            "sha256": facts.sha256,
            "data_files": [path.name for path in facts.data_files],
        },
        "inputs": [_tensor(one) for one in facts.inputs],
        "outputs": [_tensor(one) for one in facts.outputs],
        "metadata": dict(facts.metadata),
    }


def _tensor(facts: TensorFacts) -> dict[str, Any]:
    return {"name": facts.name, "dtype": facts.dtype, "shape": list(facts.shape)}


def contract(loaded: LoadedPolicy) -> dict[str, Any]:
    """Return the contract of a policy: every tensor, term, slice and joint, as in the node.

    The tensors of `model` are at the top; those of other models follow in `models`.
    """
    spec = loaded.spec_file.spec
    first, *others = sorted(model_files(spec), key=lambda part: part.name != "")
    facts = read_all_facts(loaded.spec_file)
    switch = {} if spec.switch is None else {"switch": _switch(spec.switch)}
    return {
        "name": spec.name,
        "spec": str(loaded.spec_file.path),
        **_part(loaded, first, facts),
        "control_dt": spec.control_dt,
        "decimation": loaded.config.loop.decimation,
        "period": loaded.pipeline.settings.period_ns / 1e9,
        "robot_inputs": {
            name: {"type": one.type, "topic": one.topic} for name, one in spec.inputs.items()
        },
        "joints": _joints(loaded),
        "limits": limits_in_force(loaded),
        "models": [{"name": part.name, **_part(loaded, part, facts)} for part in others],
        **switch,
        "suspicious": all_suspicions(loaded.spec_file, facts),
    }


def _part(loaded: LoadedPolicy, part: ModelFile, facts: Mapping[str, ModelFacts]) -> dict[str, Any]:
    """Return what one model of the spec is, reads and computes."""
    spec = part.spec
    found: dict[str, Any] = {
        **_model(facts[part.name]),
        "observation": [_observation(loaded, part, one) for one in spec.observation],
        "state": [one.model_dump(mode="json") for one in spec.state],
        "ignored_outputs": list(spec.ignored_outputs),
        "statistics": _statistics(SpecFile(spec, loaded.spec_file.path), part),
    }
    if part.is_earlier:
        return {**found, "every": part.every, "read_outputs": list(part.read)}
    found |= {"action": _action(loaded, spec), "last_action": spec.last_action}
    if spec.chunk is None:
        return found
    # The runner fills these inputs itself.
    filled = {str(tensor): f"chunk.{key}" for key, tensor in spec.chunk.inputs}
    given = spec.chunk.model_dump(mode="json", exclude_defaults=True)
    return {**found, "chunk": given, "chunk_inputs": filled}


def _switch(switch: Switch) -> dict[str, Any]:
    found = switch.model_dump(mode="json", exclude={"policies"})
    return {**found, "policies": switch.names}


def _observation(loaded: LoadedPolicy, part: ModelFile, given: ObservationTensor) -> dict[str, Any]:
    found: dict[str, Any] = {"tensor": given.tensor}
    if given.constant is not None:
        return {**found, "constant": given.model_dump(mode="json")["constant"]}
    name = part_name(part.name, str(given.tensor))
    builder = next(one for one, _ in loaded.pipeline.policy.every_tensor if one.name == name)
    terms = given.terms if given.terms is not None else [given.whole]
    found.update(size=builder.size, frame=builder.frame.size, terms=[])
    start = 0
    for term, compiled in zip(terms, builder.terms, strict=True):
        assert term is not None
        dumped = term.model_dump(mode="json", exclude_unset=True)
        source = {key: value for key, value in dumped.items() if key not in NOT_SOURCE}
        arithmetic = {
            key: dumped[key]
            for key in ARITHMETIC
            if dumped.get(key) is not None and dumped[key] != PLAIN.get(key)
        }
        found["terms"].append(
            {
                "slice": [start, start + compiled.size],
                "name": compiled.name,
                "term": dumped["term"],
                "source": source,
                "relative_to": dumped.get("relative_to", "zero"),
                **arithmetic,
                "elements": list(compiled.elements),
            }
        )
        start += compiled.size
    for key in ("history", "clip", "normalization"):
        value = given.model_dump(mode="json", exclude_unset=True).get(key)
        if value is not None:
            found[key] = value
    return found


def _action(loaded: LoadedPolicy, spec: PolicySpec) -> list[dict[str, Any]]:
    file = str(loaded.spec_file.path)
    found = []
    for t, tensor in enumerate(spec.action):
        start = 0
        for g, group in enumerate(tensor.groups):
            names, key = group.names, f"action[{t}].groups[{g}]"
            first, last = group.slice or (start, start + len(names))
            dumped = group.model_dump(mode="json", exclude_unset=True)
            found.append(
                {
                    "tensor": tensor.tensor,
                    "slice": [first, last],
                    **{k: v for k, v in dumped.items() if k not in ("slice", "scale", "offset")},
                    "elements": names,
                    "scale": by_name(group.scale, names, file, f"{key}.scale").tolist(),
                    "offset": by_name(group.offset, names, file, f"{key}.offset").tolist(),
                }
            )
            start = last
    return found


def _joints(loaded: LoadedPolicy) -> list[dict[str, Any]]:
    spec, file = loaded.spec_file.spec, str(loaded.spec_file.path)
    columns = {
        key: by_name(value, spec.joint_names, file, key)
        for key in ("default_joint_pos", "stiffness", "damping", "effort_limit")
        if (value := getattr(spec, key)) is not None
    }
    places = _places(loaded)
    commands, absent = _commands(loaded), absent_joints(spec, file)
    joints = []
    for k, name in enumerate(spec.joint_names):
        robot = loaded.joints[name]
        joints.append(
            {
                "index": k,
                "name": name,
                "robot_name": robot.name if name not in absent else "absent",
                "sign": robot.sign,
                "offset": robot.offset,
                **{key: float(values[k]) for key, values in columns.items()},
                "observed": places.get(name, []),
                "commands": commands.get(name, []),
            }
        )
    return joints


def _commands(loaded: LoadedPolicy) -> dict[str, list[dict[str, Any]]]:
    """Return joint -> its elements of the action: index, kind, target = scale * raw + offset."""
    found: dict[str, list[dict[str, Any]]] = {}
    element = 0
    default = loaded.spec_file.spec.default_joint_pos
    names = loaded.spec_file.spec.joint_names
    absent = absent_joints(loaded.spec_file.spec, str(loaded.spec_file.path))
    pose = by_name(default, names, "", "default_joint_pos").tolist() if default is not None else []
    for group in _action(loaded, loaded.spec_file.spec):
        for k, joint in enumerate(group["elements"]):
            if joint in absent:
                continue
            offset = group["offset"][k]
            if group.get("relative_to") == "default_joint_pos":
                offset += pose[names.index(joint)]
            found.setdefault(joint, []).append(
                {
                    "element": element,
                    "kind": group["kind"],
                    "scale": group["scale"][k],
                    "offset": offset,
                    "relative_to": group.get("relative_to", "zero"),
                }
            )
            element += 1
    return found


def _places(loaded: LoadedPolicy) -> dict[str, list[str]]:
    """Return joint -> its places in a frame, each as `term[index]`."""
    names = set(loaded.spec_file.spec.joint_names)
    places: dict[str, list[str]] = {}
    for builder, _ in loaded.pipeline.policy.every_tensor:
        at = 0
        for term in builder.terms:
            for element in term.elements:
                if element in names:
                    places.setdefault(element, []).append(f"{term.name}[{at}]")
                at += 1
    return places


def _statistics(spec_file: SpecFile, part: ModelFile) -> list[dict[str, Any]]:
    found = []
    for key, given in normalizations(spec_file):
        formula = resolve_formula(given, str(spec_file.path), key)
        stored = statistics_of(spec_file, given)
        found.append(
            {
                "key": placed_text(part, key),
                "formula": formula.kind,
                "eps": formula.eps,
                "clip": [_finite(formula.low), _finite(formula.high)],
                "file": given.statistics if isinstance(given.statistics, str) else None,
                "arrays": {
                    name: [_finite(value) for value in one.tolist()] for name, one in stored.items()
                },
            }
        )
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def permutation(spec: PolicySpec, names: list[str]) -> list[int] | None:
    """Return the indices of joints in `joint_names`; None if `names` is that list itself.

    Raises:
        Refusal: a name is not in `joint_names`.
    """
    known = list(spec.joint_names)
    unknown = [name for name in names if name not in known]
    if unknown:
        expected = f"joints of joint_names ({', '.join(known)})"
        hint = did_you_mean(unknown[0], known)
        raise refuse("", "joints", expected, ", ".join(f"'{name}'" for name in unknown), hint)
    return None if names == known else [known.index(name) for name in names]


def limits_in_force(loaded: LoadedPolicy) -> list[dict[str, Any]]:
    """Return name, kind, lower, upper, max_rate (per second) of each limited element.

    None means that there is no such limit.
    """
    settings, elements = loaded.pipeline.settings, loaded.pipeline.elements
    limits, period_s = settings.limits, settings.period_ns / 1e9
    found = []
    for k, (name, element) in enumerate(zip(limit_names(elements), elements, strict=True)):
        numbers = (limits.low[k], limits.high[k], limits.max_step[k] / period_s)
        known = [float(value) if math.isfinite(value) else None for value in numbers]
        if known != [None] * 3:
            values = dict(zip(("lower", "upper", "max_rate"), known, strict=True))
            found.append({"name": name, "kind": element.kind, **values})
    return found


def print_limits(console: Console, found: list[dict[str, Any]]) -> None:
    """Print the limits as a table; print nothing if there are none."""
    if not found:
        return
    table = Table(title="limits in force", title_justify="left")
    for column in ("command", "kind", "lower", "upper", "max rate [1/s]"):
        side: Any = "left" if column in ("command", "kind") else "right"
        table.add_column(column, justify=side, overflow="fold")
    for one in found:
        numbers = [one[key] for key in ("lower", "upper", "max_rate")]
        texts = ["" if value is None else f"{value:g}" for value in numbers]
        table.add_row(escape(one["name"]), one["kind"], *texts)
    console.print(table)
