"""Which backend runs a model, by name; each is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
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
        from policy_runner.backends.auto import load_best

        return load_best(asked, path, found, load)
    return load(asked)


def _loader(backend: str) -> Callable[[BackendChoice, Path, str, Path], LoadedModel]:
    if backend == "tensorrt":
        from policy_runner.backends import tensorrt_backend

        return tensorrt_backend.load
    from policy_runner.backends import onnxruntime_load

    return onnxruntime_load.load
