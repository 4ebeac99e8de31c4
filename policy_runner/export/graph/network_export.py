"""Exports a network and proves the file: the same numbers as torch, for every batch it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.export.graph.onnx_checks import check_onnx, computes_in_double
from policy_runner.export.graph.probes import check_runs, make_ready, random_inputs
from policy_runner.export.graph.stored_model import readable
from policy_runner.export.graph.torch_graph import (
    BATCH,
    LEAST_OPSET,
    MOST_OPSET,
    OPSET,
    export_graph,
    strip,
)
from policy_runner.export.sources.trained_policy import TrainedPolicy, named_results

BATCHES = (1, 3, 16)
TOLERANCE = 1e-5  # of |difference| / (1 + |y|); reached on 15 good models: 1.2e-6


class Progress(Protocol):
    """Is told each step that takes longer than a second."""

    def __call__(self, text: str, done: int = 0, total: int = 0, /) -> None:
        """Tell one step.

        Args:
            text: of the step, such as "compare at 3 standard deviations".
            done: parts of the step that are done.
            total: all parts of the step; 0: not counted.
        """


def no_progress(_text: str, _done: int = 0, _total: int = 0) -> None:
    """Tell nothing."""


def export_network(
    policy: TrainedPolicy,
    opset: int = OPSET,
    dynamic: bool = False,
    progress: Progress = no_progress,
) -> tuple[Any, list[str]]:
    """The network as a checked onnx.ModelProto, and what a person should know.

    Args:
        dynamic: the batch stays open; proven by running 1, 3 and 16.
        progress: is told each step that takes longer than a second.

    Raises:
        Refusal: with the culprit's name.
    """  # fmt: skip
    if not LEAST_OPSET <= opset <= MOST_OPSET and not policy.script:
        expected = f"{LEAST_OPSET} to {MOST_OPSET}"
        remedy = "torch's exporter keeps another one silently where it cannot convert"
        raise refuse(policy.kind, "--opset", expected, f"{opset}", remedy)
    notes = make_ready(policy)
    progress("run the network")
    told = len(policy.notes)
    check_runs(policy)
    notes += policy.notes[told:]
    progress("export the network")
    model = export_graph(policy, opset, dynamic)
    strip(model)
    names = [one.name for one in policy.arguments]
    with readable(model) as stored:
        batch = BATCH if dynamic else None
        check_onnx(model, policy.kind, opset, names, policy.results, batch, stored)
        progress("compare it with torch")
        compare_with_torch(stored, policy, BATCHES if dynamic else (1,))
    if computes_in_double(model):
        notes.append("the network computes in float64 inside, which TensorRT has not")
    return model, notes


def session_of(content: bytes | str, where: str) -> Any:
    """ONNX Runtime's session of a model, one thread.

    Args:
        content: the model's bytes, or its path.
        where: names the model in a refusal.

    Raises:
        Refusal: ONNX Runtime cannot load it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ORT raises its own pybind types
        text = " ".join(str(error).split())[:300]
        raise refuse(where, "", "a model that ONNX Runtime can load", text) from error


def compare_with_torch(
    stored: bytes | str,
    policy: TrainedPolicy,
    batches: Sequence[int],
    tolerance: float = TOLERANCE,
) -> float:
    """Run both on seeded inputs of 1 and 3 standard deviations; the largest difference.

    Args:
        stored: the ONNX model's bytes, or its path.

    Raises:
        Refusal: a batch that fails, or a difference beyond the tolerance, with output and batch.
    """
    import torch

    session = session_of(stored, policy.kind)
    names = [one.name for one in policy.arguments]
    axes = [0] * len(policy.inputs) + [state.batch_axis for state in policy.states]
    largest = 0.0
    problems: list[Problem | str] = []
    for rows in batches:
        for sigma in (1.0, 3.0):
            given = random_inputs(policy.arguments, rows, sigma, seed=rows, batch_axes=axes)
            try:
                with torch.no_grad():
                    wanted = named_results(policy.module(*[one.clone() for one in given]), policy)
            except Exception as error:
                raise _not_with(policy, rows, error) from error
            feed = {name: one.numpy() for name, one in zip(names, given, strict=True)}
            try:
                got = dict(zip(policy.results, session.run(policy.results, feed), strict=True))
            except Exception as error:
                raise _not_with(policy, rows, error) from error
            if rows > 1 and not problems:
                problems += _rows_apart(policy, session, feed, got, axes, tolerance)
            for name in policy.results:
                apart = difference(got[name], wanted[name].numpy())
                largest = max(largest, apart)
                if not apart <= tolerance:
                    shape = f"{list(got[name].shape)}"
                    expected = f"the numbers of torch within {tolerance:g}"
                    what = f"{apart:.3g} (batch {rows}, shape {shape})"
                    problems.append(Problem(policy.kind, f"output '{name}'", expected, what))
    if problems:
        raise Refusal(problems[:4])
    return largest


def _not_with(policy: TrainedPolicy, rows: int, error: Exception) -> Refusal:
    text = " ".join(str(error).split())[:200]
    expected = f"a network that runs with a batch of {rows}"
    return refuse(policy.kind, "batch", expected, text)


def _rows_apart(
    policy: TrainedPolicy,
    session: Any,
    feed: Mapping[str, Any],
    whole: Mapping[str, Any],
    axes: Sequence[int],
    tolerance: float,
) -> list[Problem | str]:
    """The problem of a network whose rows of a batch change each other's answers."""
    first = {
        name: np.take(values, [0], axis) for (name, values), axis in zip(feed.items(), axes)
    }  # fmt: skip
    alone = dict(zip(policy.results, session.run(policy.results, first), strict=True))
    batch = [0] * len(policy.outputs) + list(axes[len(policy.inputs) :])
    for name, axis in zip(policy.results, batch, strict=True):
        apart = difference(np.take(whole[name], [0], axis), alone[name])
        if not apart <= tolerance:
            expected = "rows of a batch that do not change each other's answers"
            got = f"a first row that differs by {apart:.3g} when it runs alone"
            remedy = "look for a mean, a softmax or a norm over the batch (dim 0)"
            return [Problem(policy.kind, f"output '{name}'", expected, got, remedy)]
    return []


def difference(got: Any, wanted: Any) -> float:
    """Largest |got - wanted| / (1 + |wanted|); inf where shapes differ or one is not finite."""
    got, wanted = np.asarray(got, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    if got.shape != wanted.shape:
        return float("inf")
    if not got.size:
        return 0.0
    apart = np.abs(got - wanted) / (1.0 + np.abs(wanted))
    return float(np.max(apart)) if np.all(np.isfinite(apart)) else float("inf")
