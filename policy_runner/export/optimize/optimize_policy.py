"""Judges every variant of a policy folder, and writes the best one that helps."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_runner.backends.decoded_policy import DecodedPolicy
from policy_runner.backends.interface import LoadedModel
from policy_runner.backends.onnx_file.check import (
    checked_model,
    data_digests,
    data_files,
    sha256_of,
)
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.backends.sample_inputs import Sample, generated, recorded
from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.model import Array, Buffer
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.core.spec.parts import model_files, policies
from policy_runner.export.card import OPTIMIZED, table, with_section
from policy_runner.export.graph.network_export import Progress, no_progress
from policy_runner.export.graph.stored_model import is_slow, stored_size
from policy_runner.export.optimize.latency import CONTROL, latency_ratios
from policy_runner.export.optimize.variants import VARIANTS, make
from policy_runner.export.optimize.verdicts import (
    NOT_MADE,
    Judged,
    Optimization,
    best,
    control_text,
    judge,
    set_errors,
)
from policy_runner.export.policy_folder import check_target, new_folder

SAMPLES, LARGE_SAMPLES = 512, 64  # half calibrates, half judges
SEQUENCE = 16
# (policy.yaml) -> (what a person reads, whether it is worse than the original)
Loop = Callable[[Path], "tuple[str, bool]"]
HEAD = ("variant", "size", "latency", "mean", "p99", "max", "of range", "closed loop", "verdict")


def optimize_policy(
    folder: Path | str,
    output: Path | None = None,
    *,
    names: Sequence[str] = tuple(VARIANTS),
    observations: Path | Sequence[Sample] | None = None,
    closed_loop: Loop | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> Optimization:
    """Make variants of a folder's model, and judge them.

    Args:
        output: new folder for the best variant that helps; written only where there is one.
        names: of `VARIANTS`.
        observations: for calibration and judgement: an .npz as `policy-runner replay -o` writes,
            or samples of the model's observation tensors; None: generated ones, which contain
            no recoveries. The first half calibrates, the second half judges.
        closed_loop: drives a policy.yaml; what it gave, and whether it is worse than the original.

    Raises:
        Refusal: a folder that `check` refuses, or observations that do not fit.
    """
    if find_spec("onnx") is None:
        raise refuse("", "optimize", "the package onnx", "none", "pip install onnx")
    if output is not None:
        check_target(output, force)
    spec_file = read_spec(Path(folder))
    if output is not None and spec_file.path.parent.resolve() in output.resolve().parents:
        expected = f"a folder outside {spec_file.path.parent}, whose files are copied into it"
        raise refuse(str(output), "", expected, "one inside it", "name another")
    path = checked_model(spec_file)
    progress("load the model")
    model = OnnxRuntimeModel(path)
    model.warm_up()
    progress("run the model")
    samples, text = _samples(spec_file, path, model, observations)
    half = len(samples) // 2
    fed = inputs_of(spec_file, model, samples[:half])
    judged = samples[half:]
    wanted, elements = actions_of(spec_file, model, judged)
    found = Optimization(str(folder), len(judged), text)
    with tempfile.TemporaryDirectory(prefix="policy_runner-optimize-") as place:
        made: dict[str, Path] = {}
        for name in dict.fromkeys(names):
            progress(f"make {name}")
            row = Judged(name)
            found.rows.append(row)
            # In a folder of its own: a model names the file of its weights.
            target = Path(place) / name / path.name
            target.parent.mkdir()
            try:
                make(name, path, target, fed)
                variant = OnnxRuntimeModel(target)
                variant.warm_up()
                got, _ = actions_of(spec_file, variant, judged)
            except Refusal as refusal:
                why = str(refusal.problems[0]).replace(str(target), "the variant")
                row.verdict, row.why = NOT_MADE, why
                continue
            made[name] = target
            row.size = stored_size(target) / stored_size(path)
            set_errors(row, wanted, got, elements)
            if closed_loop is not None:
                copied = Path(place) / f"{name}-folder"
                with_model(spec_file, path, target, copied)
                row.loop, row.falls_more = closed_loop(copied / spec_file.path.name)
        ratios = latency_ratios(path, made, fed[0], progress=progress)
        found.control = ratios[CONTROL]
        for row in found.rows:
            if row.verdict != NOT_MADE:
                judge(row, ratios, found.trusted)
        chosen = best(found.rows)
        if chosen is not None and output is not None:
            with new_folder(output, force) as into:
                with_model(spec_file, path, made[chosen.name], into)
                found.applied = chosen.name
                _write_card(into, found)
    return found


def decoded_policy(spec_file: SpecFile, model: LoadedModel) -> DecodedPolicy:
    """The spec's only policy, with its decoding.

    Raises:
        Refusal: the spec has several models, or they do not fit.
    """
    if len(model_files(spec_file.spec)) > 1:
        remedy = "optimize each in a folder of its own"
        raise refuse(str(spec_file.path), "models", "one model", "several", remedy)
    return DecodedPolicy(policies(spec_file.spec)[0], spec_file, model)


def observed(decoded: DecodedPolicy) -> list[str]:
    """The inputs of the model that a sample gives."""
    return [name for _, tensors in decoded.observed for name in tensors]


def _samples(
    spec_file: SpecFile, path: Path, model: LoadedModel, given: Path | Sequence[Sample] | None
) -> tuple[Sequence[Sample], str]:
    tensors = {name: model.inputs[name] for name in observed(decoded_policy(spec_file, model))}
    count = LARGE_SAMPLES if is_slow(path) else SAMPLES
    if isinstance(given, Path):
        samples: Sequence[Sample] = recorded(given, tensors, 8 * count)
        text = f"recorded ({given.name})"
    elif given is not None:
        samples, text = given, "of the closed loop"
    else:
        samples, text = generated(tensors, spec_file, path, count), "generated"
    if len(samples) < 2:
        raise refuse(str(spec_file.path), "observations", "2 or more", f"{len(samples)}")
    return samples, text


def inputs_of(
    spec_file: SpecFile, model: LoadedModel, samples: Sequence[Sample]
) -> list[dict[str, Buffer]]:
    """Every input of the model, states too, as it runs over the samples."""
    decoded = decoded_policy(spec_file, model)
    found = []
    for k, sample in enumerate(samples):
        if k % SEQUENCE == 0:
            decoded.start()
        before = {name: array.copy() for name, array in model.inputs.items()}
        found.append({**before, **{name: sample[name] for name in observed(decoded)}})
        decoded.action(sample)
    return found


def actions_of(
    spec_file: SpecFile, model: LoadedModel, samples: Sequence[Sample]
) -> tuple[Array, list[str]]:
    """The decoded actions, float64 [samples, elements] in the elements' units, and their names.

    NaN where an action is not finite.
    """
    decoded = decoded_policy(spec_file, model)
    rows = []
    for k, sample in enumerate(samples):
        if k % SEQUENCE == 0:
            decoded.start()
        action = decoded.action(sample)
        rows.append(np.full(len(decoded.elements), np.nan) if action is None else action)
    return np.array(rows), decoded.elements


def with_model(spec_file: SpecFile, old: Path, new: Path, target: Path) -> None:
    """Copy the policy's folder with another model; its checksums in policy.yaml follow."""
    folder = spec_file.folder.resolve()
    gone = {one.resolve() for one in (old, *data_files(old))}

    def ignored(place: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(place) / name).resolve() in gone]

    shutil.copytree(folder, target, dirs_exist_ok=True, ignore=ignored)
    place = target / str(spec_file.spec.model.file)  # `old` itself may be a link's target
    place.parent.mkdir(parents=True, exist_ok=True)
    files = data_files(new)
    shutil.copyfile(new, place)
    for one in files:
        shutil.copyfile(one, place.with_name(one.name))
    path = target / spec_file.path.name
    text = path.read_text(encoding="utf-8")
    changed = with_checksums(text, sha256_of(new), dict(data_digests(new, files)))
    path.write_text(changed, encoding="utf-8")


def with_checksums(text: str, digest: str, data: Mapping[str, str]) -> str:
    """policy.yaml with other checksums under `model`, where it states them. The rest stays."""
    whole: Any = yaml.compose(text)
    model = {key.value: value for key, value in whole.value}["model"]
    stated = {key.value: value for key, value in model.value}
    changes: list[tuple[int, int, str]] = []
    for name, new in (("sha256", digest), ("data", json.dumps(dict(data)))):
        value = stated.get(name)
        if value is not None and not value.tag.endswith(":null"):
            # For the parser a block ends where the next key begins.
            is_block = value.id == "mapping" and not value.flow_style
            last = value.value[-1][1] if is_block else value
            changes.append((value.start_mark.index, last.end_mark.index, new))
    for begin, end, new in sorted(changes, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def cells(row: Judged) -> list[str]:
    """A row as text, for tables."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return [
        row.name, number(row.size, ".2f"), number(row.latency, ".2f"), number(row.mean, ".2g"),
        number(row.p99, ".2g"), number(row.largest, ".2g"), number(row.share, ".1%"), row.loop,
        row.verdict,
    ]  # fmt: skip


def _write_card(folder: Path, found: Optimization) -> None:
    path = folder / "README.md"
    if not path.is_file():
        return
    lines = table(HEAD, [cells(row) for row in found.rows])
    lines += ["", *(f"- {row.name}: {row.verdict}, {row.why}" for row in found.rows), ""]
    lines += [f"{found.samples} {found.observations} observations; errors in the action's "
              f"units; {control_text(found)}. Applied: {found.applied}."]  # fmt: skip
    text = path.read_text(encoding="utf-8")
    path.write_text(with_section(text, OPTIMIZED, lines), encoding="utf-8")
