"""Which backend runs a model, by name; each is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from policy_runner.backends.interface import BackendChoice, LoadedModel


def forgets(path: Path) -> list[str]:
    """Recurrent operations of a model whose state no input feeds: they forget every time."""
    from policy_runner.backends.onnx_file.graph import read_graph, stateless_recurrence

    return list(stateless_recurrence(read_graph(path)))


def load_model(
    choice: BackendChoice | str, path: Path, sha256: str | None, spec_path: Path
) -> LoadedModel:
    """Load, check and warm up the model with what was asked for.

    Raises:
        Refusal: the file is no such model, or what was asked for is not there.
    """
    from policy_runner.backends.onnx_file.model_file import check_model_file
    from policy_runner.backends.onnxruntime.model_facts import data_files

    if isinstance(choice, str):
        choice = BackendChoice(choice)
    choice.check()
    found = check_model_file(path, sha256, spec_path)
    data_files(path)  # refuses where one is missing, or lies elsewhere
    asked = choice

    def load(one: BackendChoice) -> LoadedModel:
        model = _loader(one.backend)(one, path, found, spec_path)
        model.sha256 = found
        try:
            model.warm_up()
        except BaseException:
            model.close()
            raise
        return model

    if asked.backend == "auto":
        from policy_runner.backends.load import load_best

        return load_best(asked, path, found, load)
    return load(asked)


def _loader(backend: str) -> Callable[[BackendChoice, Path, str, Path], LoadedModel]:
    if backend == "tensorrt":
        from policy_runner.backends.tensorrt import model as tensorrt_backend

        return tensorrt_backend.load
    from policy_runner.backends.onnxruntime import load as onnxruntime_load

    return onnxruntime_load.load
