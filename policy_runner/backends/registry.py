"""Which backend runs a model, by name; each is imported only when it is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from policy_runner.core.problems import refuse

if TYPE_CHECKING:
    from policy_runner.backends.onnxruntime_backend import OnnxRuntimeModel

BACKENDS = ("auto", "onnxruntime")


def forgets(path: Path) -> list[str]:
    """Recurrent operations of a model whose state no input feeds: they forget every time."""
    from policy_runner.backends.onnx_graph import read_graph, stateless_recurrence

    return list(stateless_recurrence(read_graph(path)))


def load_model(backend: str, path: Path, sha256: str | None, spec_path: Path) -> OnnxRuntimeModel:
    """Load, check and warm up the model.

    Raises:
        Refusal: the file is no such model, or the backend is not there.
    """
    if backend not in BACKENDS:
        raise refuse("", "backend", f"one of {', '.join(BACKENDS)}", backend)
    from policy_runner.backends.model_facts import data_files
    from policy_runner.backends.onnxruntime_backend import OnnxRuntimeModel, check_model_file

    found = check_model_file(path, sha256, spec_path)
    data_files(path)  # refuses where one is missing, or lies elsewhere
    model = OnnxRuntimeModel(path)
    model.sha256 = found
    model.warm_up()
    return model
