"""Verifies a policy folder against its source, or against recorded outputs without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.core.errors import refuse
from policy_runner.core.files.arrays import npz_arrays
from policy_runner.core.files.bounded import MOST_STORED, read_bounded
from policy_runner.core.model import Array
from policy_runner.export.graph.network_export import Progress, no_progress
from policy_runner.export.graph.probes import make_ready
from policy_runner.export.graph.stored_model import is_slow
from policy_runner.export.sources.open_source import NO_OPTIONS, SourceOptions, open_source
from policy_runner.export.sources.trained_policy import Arrays, TensorShape, Truth
from policy_runner.export.verify.agreement import (
    Samples,
    batch_row,
    determinism_rows,
    random_rows,
    recorded_row,
)
from policy_runner.export.verify.file_checks import file_rows, open_axes
from policy_runner.export.verify.our_side import OurSide
from policy_runner.export.verify.rows import Row, Verification

ClosedLoop = Callable[[OurSide, Truth], list[Row]]


def verify_policy(
    folder: Path | str,
    source: Any,
    *,
    options: SourceOptions = NO_OPTIONS,
    recorded: Path | None = None,
    closed_loop: ClosedLoop | None = None,
    progress: Progress = no_progress,
) -> Verification:
    """Compare a folder with the trainer's own call.

    Args:
        folder: what `policy-runner export` made, or any policy folder.
        source: as for `export_policy`; or an .npz with `observation/NAME` [n, size] and
            `action/NAME` [n, size], recorded from the trainer: that needs no torch.
        options: what the source does not say, as for the export.
        recorded: further observations, an .npz with `observation/NAME` [n, size].
        closed_loop: runs both in a simulation and gives the rows of it.

    Raises:
        Refusal: a folder that `check` refuses, or a source that cannot be read.
    """
    folder = Path(folder)
    progress("load the folder")
    ours = OurSide(folder)
    try:
        spec_file = ours.loaded.spec_file
        facts = read_model_facts(spec_file.next_to(spec_file.spec.model.file, "model.file"))
        result = Verification(str(folder), str(source))
        progress("look at the files")
        result.rows += file_rows(facts, spec_file.spec)
        if isinstance(source, (str, Path)) and str(source).endswith(".npz"):
            given, truth = recorded_truth(Path(source), ours)
            result.rows.append(recorded_row(ours, truth, given, Path(source).name, progress))
            return result
        progress("open the source")
        policy = open_source(source, options)
        make_ready(policy)
        truth = policy.truth()
        ours.unclipped = frozenset(policy.outputs) - policy.bounds.keys()
        tensors = _tensors(ours, policy.inputs, policy.statistics)
        result.rows += determinism_rows(ours, truth, tensors)
        result.rows += random_rows(
            ours, truth, tensors, progress, is_slow(facts.path), bool(policy.states)
        )
        if recorded is not None:
            observations = _rows(recorded, "observation", list(ours.sizes), ours.sizes)
            result.rows.append(recorded_row(ours, truth, observations, recorded.name, progress))
        if find_spec("onnx") is not None:
            result.rows.append(batch_row(str(facts.path), open_axes(facts.path)))
        if closed_loop is not None:
            result.rows += closed_loop(ours, truth)
        return result
    finally:
        ours.close()


def _tensors(ours: OurSide, inputs: Any, statistics: Any) -> list[TensorShape]:
    """The source's inputs with plausible numbers; refuses a folder with other inputs.

    Raises:
        Refusal: another name or size.
    """
    known = {**ours.sizes, **{name: one.size for name, one in ours.constants.items()}}
    found = []
    for one in inputs:
        if known.get(one.name) != one.size:
            expected = f"the source's input '{one.name}' of {one.size} numbers"
            got = ", ".join(f"'{name}' of {size}" for name, size in known.items())
            raise refuse(str(ours.loaded.spec_file.path), "observation", expected, got)
        if one.name in ours.constants:
            values = ours.constants[one.name]
            found.append(replace(one, mean=values, spread=np.zeros(values.size)))
        elif one.name in statistics:
            given = statistics[one.name]
            found.append(replace(one, mean=given.values["mean"], spread=given.spread))
        else:
            found.append(one)
    return found


class _RecordedTruth:
    """The trainer's recorded actions, in their order."""

    def __init__(self, actions: list[dict[str, Array]]) -> None:
        self._actions = actions
        self._next = 0

    def start(self) -> None:
        self._next = 0

    def act(self, observation: Arrays) -> Arrays:
        found = self._actions[self._next]
        self._next += 1
        return found


def recorded_truth(path: Path, ours: OurSide) -> tuple[Samples, Truth]:
    """Recorded observations, and the trainer's actions as a truth.

    Raises:
        Refusal: no such file, or arrays that do not fit.
    """
    observations = _rows(path, "observation", list(ours.sizes), ours.sizes)
    actions = _rows(path, "action", list(ours.outputs), {})
    if len(observations) != len(actions):
        got = f"{len(observations)} and {len(actions)}"
        raise refuse(str(path), "", "as many observations as actions", got)
    return observations, _RecordedTruth(actions)


def _rows(
    path: Path, prefix: str, names: Sequence[str], sizes: Mapping[str, int]
) -> list[dict[str, Array]]:
    what = "an .npz of recorded observations and actions"
    stored = npz_arrays(path, read_bounded(path, MOST_STORED, what))
    columns = {}
    for name in names:
        key = f"{prefix}/{name}"
        if key not in stored or stored[key].ndim == 0 or stored[key].dtype.kind not in "fiub":
            raise refuse(str(path), key, "an array [n, size]", ", ".join(stored) or "nothing")
        if not stored[key].size:
            raise refuse(str(path), key, "one row or more", "none")
        columns[name] = stored[key].astype(np.float64).reshape(len(stored[key]), -1)
        size = sizes.get(name, columns[name].shape[1])
        if columns[name].shape[1] != size:
            raise refuse(str(path), key, f"[n, {size}]", f"{list(stored[key].shape)}")
    count = min((len(one) for one in columns.values()), default=0)
    return [{name: one[k] for name, one in columns.items()} for k in range(count)]
