"""The door of the export: a source in, a folder that `policy-runner check` accepts out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner import __version__
from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.core.errors import Refusal
from policy_runner.core.model import ModelFacts
from policy_runner.core.observation.normalization import build_normalizer, resolve_formula
from policy_runner.core.spec import Normalization
from policy_runner.core.spec.reader import todo_problems
from policy_runner.export.card import card
from policy_runner.export.completed_contract import (
    MODEL_FILE,
    Completed,
    check_names,
    complete,
    constant_dimensions,
    read_contract,
)
from policy_runner.export.graph.network_export import Progress, export_network, no_progress
from policy_runner.export.graph.onnx_checks import opset_of
from policy_runner.export.graph.stored_model import save_model
from policy_runner.export.graph.torch_graph import BATCH, OPSET
from policy_runner.export.policy_folder import check_target, digests, new_folder
from policy_runner.export.sources.open_source import NO_OPTIONS, SourceOptions, open_source
from policy_runner.export.sources.trained_policy import (
    StateTensor,
    Statistics,
    TrainedPolicy,
    named_results,
)
from policy_runner.formats.draft import Draft, spec_text
from policy_runner.formats.own.exported import as_metadata, model_entry, npz_bytes, set_digests
from policy_runner.robot.load import load_policy

Contract = Mapping[str, Any] | Path | str | None


@dataclass
class Exported:
    """What an export made.

    Attributes:
        folder: with policy.onnx, policy.yaml, statistics.npz where there are some, README.md.
        policy: the source as it was exported.
        notes: what a person should look at, one sentence each.
        todo: keys that only the training's environment knows; `check` refuses them.
    """

    folder: Path
    policy: TrainedPolicy
    notes: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)


def export_policy(
    source: Any,
    output: Path | str,
    contract: Contract = None,
    *,
    options: SourceOptions = NO_OPTIONS,
    in_graph: bool = False,
    dynamic_batch: bool = False,
    opset: int = OPSET,
    name: str | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> Exported:
    """Export a trained policy into a new folder.

    Args:
        source: see `sources.open_source`.
        contract: policy.yaml without what the source says itself: a path or its keys. Without
            one the spec is a draft with TODOs.
        options: what the source does not say.
        in_graph: statistics go into the graph, as float32, instead of next to it.
        dynamic_batch: the batch stays open; proven by running 1, 3 and 16.
        name: of the policy; default: the contract's, or the folder's.
        force: replace an existing folder.
        progress: is told each step that takes longer than a second.

    Raises:
        Refusal: one or two sentences that name the culprit. Nothing is left at the target.
    """
    target = Path(output).expanduser()
    check_target(target, force)
    given = read_contract(contract)
    where = str(contract) if isinstance(contract, (str, Path)) else "contract"
    progress("open the source")
    policy = open_source(source, options)
    if given is not None:
        check_names(given, policy, where)
    exported = with_normalizer(policy) if in_graph else policy
    exported = batch_first(exported) if dynamic_batch else exported
    own = list(policy.notes)
    network, notes = export_network(exported, opset, dynamic_batch, progress)
    notes = [*own, *notes]
    how = _how(network, policy, dynamic_batch)
    with new_folder(target, force) as folder:
        path = folder / MODEL_FILE
        title = name or (given or {}).get("name") or target.name
        save_model(network, path)
        completed = complete(given, exported, read_model_facts(path), title, where)
        if name:
            completed.spec["name"] = name
        facts = _write(network, path, completed, how)
        todo = [f"{one.key}: {one.expected}" for one in todo_problems(completed.spec, "")]
        _copy_files(completed, contract, folder)
        if not todo:
            progress("check the folder")
            notes += _checked(folder, target, policy)
        else:
            notes += constant_dimensions(policy, {})
        text = card(completed.spec, policy, facts, how, notes, digests(folder))
        (folder / "README.md").write_text(text, encoding="utf-8")
    return Exported(target, policy, notes, todo)


def with_normalizer(policy: TrainedPolicy) -> TrainedPolicy:
    """The policy with its statistics inside the network, as float32 arithmetic before it."""
    import torch

    if not policy.statistics:
        return policy
    names = [one.name for one in policy.inputs]

    class Normalized(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = policy.module
            self.training = policy.module.training
            for name, given in policy.statistics.items():
                shape = policy.inputs[names.index(name)].shape
                for key, values in _arithmetic(given, shape).items():
                    self.register_buffer(f"{key}_{names.index(name)}", values)

        def forward(self, *given: Any) -> Any:
            values = list(given)
            for name in policy.statistics:
                k = names.index(name)
                mean, divisor = getattr(self, f"mean_{k}"), getattr(self, f"divisor_{k}")
                values[k] = (values[k] - mean) / divisor
                bound = _bound(policy.statistics[name])
                if np.isfinite(bound):
                    values[k] = torch.clamp(values[k], -bound, bound)
            return self.network(*values)

    shapes = [
        replace(one, mean=policy.statistics[one.name].values["mean"],
                spread=policy.statistics[one.name].spread)
        if one.name in policy.statistics else one
        for one in policy.inputs
    ]  # fmt: skip
    inside = policy.normalized_inside | set(policy.statistics)
    return replace(
        policy, module=Normalized(), statistics={}, inputs=shapes,
        normalized_inside=frozenset(inside), script=False,
    )  # fmt: skip


def batch_first(policy: TrainedPolicy) -> TrainedPolicy:
    """The policy with the batch as the first axis of every state: the runner leaves only that open.

    torch's recurrent layers keep [layers, batch, size]; the graph then has [batch, layers, size].
    """
    import torch

    axes = [state.batch_axis for state in policy.states]
    if not any(axes):
        return policy
    first, last = len(policy.inputs), len(policy.outputs)

    class BatchFirst(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = policy.module
            self.training = policy.module.training

        def forward(self, *given: Any) -> tuple[Any, ...]:
            states = [one.transpose(0, axis) for one, axis in zip(given[first:], axes)]
            found = named_results(self.network(*given[:first], *states), policy)
            values = [found[name] for name in policy.results]
            following = [one.transpose(0, axis) for one, axis in zip(values[last:], axes)]
            return (*values[:last], *following)

    states = [
        StateTensor(replace(one.input, shape=_swapped(one.input.shape, axis)), one.output)
        for one, axis in zip(policy.states, axes)
    ]
    return replace(policy, module=BatchFirst(), states=states, script=False)


def _swapped(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    sizes = list(shape)
    sizes[0], sizes[axis] = sizes[axis], sizes[0]
    return tuple(sizes)


def _arithmetic(given: Statistics, shape: tuple[int, ...]) -> dict[str, Any]:
    import torch

    keys = {"preset": given.preset, "statistics": "statistics.npz"}
    spec = Normalization.model_validate(
        {**keys, **({} if given.eps is None else {"eps": given.eps})}
    )
    formula = resolve_formula(spec, "", "")
    size = given.values["mean"].size
    one = build_normalizer(formula, given.values, {}, size, "statistics")
    parts = {"mean": one.mean, "divisor": one.denominator}
    return {k: torch.from_numpy(v.astype(np.float32)).reshape(shape) for k, v in parts.items()}


def _bound(given: Statistics) -> float:
    if given.clip is not None:
        return given.clip
    keys = {"preset": given.preset, "statistics": "statistics.npz"}
    return float(resolve_formula(Normalization.model_validate(keys), "", "").high)


def _how(network: Any, policy: TrainedPolicy, dynamic: bool) -> dict[str, Any]:
    versions = {}
    for package in ("torch", "onnx", "onnxscript"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "policy_runner": __version__,
        **versions,
        "opset": opset_of(network),
        "IR version": int(network.ir_version),
        "batch": f"any ({BATCH}), tried with 1, 3 and 16" if dynamic else "1",
        "source": policy.kind,
    }


def _write(network: Any, path: Path, completed: Completed, how: Mapping[str, Any]) -> ModelFacts:
    """The model with its metadata, the statistics, and policy.yaml with the checksums of both."""
    spec, contents = completed.spec, {}
    for file, arrays in completed.arrays.items():
        contents[file] = npz_bytes(arrays)
        (path.parent / file).write_bytes(contents[file])
    shas = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    set_digests(spec, shas)
    del network.metadata_props[:]
    for key, text in as_metadata(spec, completed.arrays, how).items():
        entry = network.metadata_props.add()
        entry.key, entry.value = key, text
    save_model(network, path)
    facts = read_model_facts(path)
    spec["model"] = model_entry(facts)
    draft = Draft(str(how["source"]), [Path(str(how["source"]))], spec=spec, exact=True)
    text = spec_text(draft).replace("# Imported from ", "# Exported from ", 1)
    (path.parent / "policy.yaml").write_text(text, encoding="utf-8")
    return facts


def _copy_files(completed: Completed, contract: Contract, folder: Path) -> None:
    """Files next to the contract that it names: motions, initial states, constants."""
    if not isinstance(contract, (str, Path)):
        return
    base = Path(contract).expanduser().parent
    for name in sorted(_named_files(completed.spec)):
        source, place = base / name, folder / name
        if place.exists() or not source.is_file():
            continue  # a missing one is refused when the folder is checked
        if place.resolve().is_relative_to(folder.resolve()):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read_bytes())


def _named_files(value: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(value, dict):
        if isinstance(value.get("file"), str):
            found.add(value["file"])
        for one in value.values():
            found |= _named_files(one)
    elif isinstance(value, list):
        for one in value:
            found |= _named_files(one)
    return found


def _checked(folder: Path, target: Path, policy: TrainedPolicy) -> list[str]:
    """Load the folder as the node would; what it warns of, and the constant dimensions.

    Raises:
        Refusal: what `check` would refuse, with the target's path.
    """
    try:
        loaded = load_policy(folder)
    except Refusal as refusal:
        renamed = [_renamed(one, folder, target) for one in refusal.problems]
        raise Refusal(renamed) from refusal
    built = loaded.pipeline.policy.every_tensor
    names = {builder.name: builder.tensor_elements for builder, _ in built}
    loaded.close()
    warnings = [one.replace(str(folder), str(target)) for one in loaded.warnings]
    return [*warnings, *constant_dimensions(policy, names)]


def _renamed(problem: Any, folder: Path, target: Path) -> Any:
    if isinstance(problem, str):
        return problem.replace(str(folder), str(target))
    return replace(problem, file=problem.file.replace(str(folder), str(target)))
