"""Which backend runs a model, by name; each is imported only when it is chosen."""

from __future__ import annotations

from pathlib import Path

from policy_runner.backends.choice import BackendChoice, LoadedModel


def forgets(path: Path) -> list[str]:
    """Recurrent operations of a model whose state no input feeds: they forget every time."""
    from policy_runner.backends.onnx_graph import read_graph, stateless_recurrence

    return list(stateless_recurrence(read_graph(path)))


def load_model(
    choice: BackendChoice | str, path: Path, sha256: str | None, spec_path: Path
) -> LoadedModel:
    """Load, check and warm up the model with what was asked for.

    Raises:
        Refusal: the file is no such model, or what was asked for is not there.
    """
    from policy_runner.backends.model_facts import data_files
    from policy_runner.backends.model_file import check_model_file

    if isinstance(choice, str):
        choice = BackendChoice(choice)
    choice.check()
    found = check_model_file(path, sha256, spec_path)
    data_files(path)  # refuses where one is missing, or lies elsewhere
    if choice.backend == "tensorrt":
        from policy_runner.backends import tensorrt_backend

        model: LoadedModel = tensorrt_backend.load(choice, path, found, spec_path)
    else:
        from policy_runner.backends.onnxruntime_backend import OnnxRuntimeModel

        model = OnnxRuntimeModel(path)
    model.sha256 = found
    model.warm_up()
    return model
