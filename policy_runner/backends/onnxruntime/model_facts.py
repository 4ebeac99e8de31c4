"""Reads facts of a model file: its tensors, metadata, and data files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.backends.host_arrays import DTYPES, allocate
from policy_runner.backends.onnx_file.check import check_model_file, data_digests, data_files
from policy_runner.backends.onnx_file.graph import (
    first_arithmetic,
    read_graph,
    stateless_recurrence,
)
from policy_runner.backends.onnx_file.state_paths import state_paths
from policy_runner.backends.onnx_file.wiring import (
    recurrent_pairs,
    suspicious_nodes,
    unread_inputs,
    untouched_inputs,
)
from policy_runner.backends.onnxruntime.libraries import check_importable
from policy_runner.backends.onnxruntime.refusals import not_loaded
from policy_runner.backends.onnxruntime.run_sizes import left_open, run_sizes
from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.model import ModelFacts, TensorFacts


def read_model_facts(path: Path, named_by: Path | None = None) -> ModelFacts:
    """Open the model without optimizing it, and read its facts.

    Args:
        path: the ONNX file.
        named_by: the file that names the model, for messages; None: `path`.

    Raises:
        Refusal: not an ONNX model, or a data file is missing.
    """
    sha256 = check_model_file(path, None, named_by or path)
    files = data_files(path)
    check_importable()
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ORT raises its own pybind types, one per status code
        raise not_loaded(path, error, "export the model again") from error
    graph = read_graph(path)
    inputs = tuple(_tensor(one) for one in session.get_inputs())
    outputs = tuple(_tensor(one) for one in session.get_outputs())
    outputs = _with_sizes_of_a_run(path, session, inputs, outputs)
    return ModelFacts(
        path=path,
        sha256=sha256,
        inputs=inputs,
        outputs=outputs,
        metadata=dict(session.get_modelmeta().custom_metadata_map),
        data_files=files,
        data_sha256=dict(data_digests(path, files)),
        arithmetic=first_arithmetic(graph),
        stateless=tuple(stateless_recurrence(graph)),
        recurrent=tuple(recurrent_pairs(graph)),
        paths=state_paths(graph, inputs, outputs),
        untouched=tuple(untouched_inputs(graph)),
        suspicious=(
            *suspicious_nodes(graph),
            *(f"input '{name}' is read by no node of the model" for name in unread_inputs(graph)),
        ),
    )


def _with_sizes_of_a_run(
    path: Path, session: Any, inputs: Sequence[TensorFacts], outputs: tuple[TensorFacts, ...]
) -> tuple[TensorFacts, ...]:
    """The outputs with the sizes that two runs give; unchanged if the model does not run."""
    if not left_open(session.get_outputs()):
        return outputs
    problems: list[Problem] = []
    arrays = allocate(path, "input", session.get_inputs(), problems)
    if problems or len(arrays) != len(inputs):
        return outputs
    try:
        shapes = run_sizes(path, session, arrays)
    except Refusal:  # loading the model reports it
        return outputs
    # The batch stays open where the file says so; a tensor of one axis has no batch.
    return tuple(
        replace(one, shape=shape if len(shape) == 1 else (one.shape[0], *shape[1:]))
        for one, shape in zip(outputs, shapes, strict=True)
    )


def _tensor(given: Any) -> TensorFacts:
    dtype = DTYPES.get(given.type)
    name = np.dtype(dtype).name if dtype is not None else str(given.type)
    shape = tuple(d if isinstance(d, int) and d > 0 else None for d in given.shape)
    return TensorFacts(given.name, name, shape)
