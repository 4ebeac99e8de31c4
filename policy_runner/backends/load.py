"""Loads a model with the requested backend, or with the best one that works here (`auto`).

The log and diagnostics show what `auto` chose, and why. If this model was not measured on this
machine, the order is:
1. The CPU, for a network of fewer than a million weights without convolutions. Copies to a GPU
   and its launches cost more than such a network.
2. TensorRT, if an engine for this model was built.
3. ONNX Runtime with CUDA, if it passes its proof (`onnxruntime/proof.py`).
4. The CPU.
If `device` names a GPU, 1 and 4 are left out: the model runs on that GPU, or is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from policy_runner.backends.interface import BackendChoice, LoadedModel
from policy_runner.backends.onnx_file.weights import read_weights
from policy_runner.backends.onnxruntime.libraries import check_importable
from policy_runner.backends.onnxruntime.load import provider_of
from policy_runner.backends.several import load_parts
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.spec import SpecFile
from policy_runner.core.spec.parts import has_several, model_files

SMALL = 1_000_000  # weights
Loader = Callable[[BackendChoice], LoadedModel]
CANDIDATES: dict[str, tuple[str, str, str]] = {  # name -> backend, device, ONNX Runtime's provider
    "onnxruntime-cpu": ("onnxruntime", "cpu", "cpu"),
    "onnxruntime-cuda": ("onnxruntime", "gpu", "cuda"),
    "onnxruntime-tensorrt": ("onnxruntime", "gpu", "tensorrt"),
    "tensorrt": ("tensorrt", "gpu", "auto"),
}


def candidate(choice: BackendChoice, name: str) -> BackendChoice:
    """Return the choice for one of CANDIDATES, on the requested device.

    Args:
        choice: the user's choice.
        name: a key of CANDIDATES.
    """
    backend, device, provider = CANDIDATES[name]
    if device == "gpu":
        device = f"gpu:{choice.gpu or 0}"
    options = {**choice.options, "onnxruntime.provider": provider}
    if device == "cpu":
        options["onnxruntime.cuda_graph"] = False
    return replace(choice, backend=backend, device=device, options=options)


def load_best(choice: BackendChoice, path: Path, sha256: str, load: Loader) -> LoadedModel:
    """Load the first candidate that works; its facts say why it was chosen.

    Args:
        choice: the user's choice, with backend `auto`.
        path: the ONNX file.
        sha256: of the ONNX file, to find its measurement.
        load: loads one candidate.

    Raises:
        Refusal: no candidate has the requested GPU, provider or precision.
    """
    names, why = _order(choice, path, sha256)
    refused: list[Problem | str] = []
    said = []
    for name in names:
        try:
            model = load(candidate(choice, name))
        except Refusal as refusal:
            refused += refusal.problems
            said.append(f"{name}: {'; '.join(map(str, refusal.problems))}")
            continue
        reasons = [why[name], *(f"not {text}" for text in said)]
        model.facts["chosen"] = f"auto took {name}: " + "; ".join(reasons)
        return model
    raise Refusal(list(dict.fromkeys(refused)))


def _order(choice: BackendChoice, path: Path, sha256: str) -> tuple[list[str], dict[str, str]]:
    provider_of(choice)  # refuses an unknown provider, or one that contradicts the device
    asked = str(choice.option("onnxruntime.provider", "auto"))
    if asked != "auto" or choice.device == "cpu":
        # The parameters name the provider: there is nothing to choose.
        name = f"onnxruntime-{'cpu' if asked == 'auto' else asked}"
        return [name], {name: "asked for by parameter"}
    gpu = ["tensorrt", "onnxruntime-cuda"]
    why = dict.fromkeys(CANDIDATES, "the order for networks of this size")
    if choice.gpu is not None:
        return gpu, dict.fromkeys(CANDIDATES, f"{choice.device} was asked for")
    from policy_runner.backends.measurements import remembered

    found = remembered(choice, sha256)
    if found is not None and found.best in CANDIDATES:
        why[found.best] = str(found)
        rest = [name for name in (*gpu, "onnxruntime-cpu") if name != found.best]
        return [found.best, *rest], why
    if choice.precision == "fp16":
        return [*gpu, "onnxruntime-cpu"], why
    weights = read_weights(path)
    if weights.count < SMALL and not weights.convolutions:
        why["onnxruntime-cpu"] = (
            f"a network of {weights.count} weights is as fast on the CPU, where no copies are "
            "needed (`policy-runner bench backends SPEC` measures it)"
        )
        return ["onnxruntime-cpu"], why
    why["onnxruntime-cpu"] = "the last in the order"
    return [*gpu, "onnxruntime-cpu"], why


def forgets(path: Path) -> list[str]:
    """Recurrent operations of a model that lose their state after every inference.

    No input of the model feeds their state.
    """
    from policy_runner.backends.onnx_file.graph import read_graph, stateless_recurrence

    return list(stateless_recurrence(read_graph(path)))


def load_models(choice: BackendChoice | str, spec_file: SpecFile) -> LoadedModel:
    """Load every model of a spec: one model, or a `ModelGroup` of several.

    Of several models each gets the backend that fits it. If one of them rounds more than its file
    says, the actions of the whole policy are compared with those in fp32 on the CPU.

    Raises:
        Refusal: see `load_model`; or the actions of the whole policy differ too much.
    """
    spec = spec_file.spec
    if isinstance(choice, str):
        choice = BackendChoice(choice)
    if choice.backend == "remote":
        from policy_runner.backends.remote.remote_model import load_remote

        return load_remote(choice, spec_file)
    from policy_runner.backends.onnx_file.check import check_data

    for part in model_files(spec):
        if part.model.data is not None:
            key = part.file_key.removesuffix("file") + "data"
            path = spec_file.next_to(part.model.file, part.file_key)
            check_data(path, part.model.data, spec_file.path, key)
    if not has_several(spec):
        path = spec_file.next_to(spec.model.file, "model.file")
        return load_model(choice, path, spec.model.sha256, spec_file.path)
    files = {one.name: one for one in model_files(spec)}
    asked = choice

    def load(name: str) -> LoadedModel:
        one = files[name]
        path = spec_file.next_to(one.model.file, one.file_key)
        return load_model(asked, path, one.model.sha256, spec_file.path, alone=False)

    group = load_parts(list(files), load)
    if not any(
        one.needs_precision_check or one.provider == "tensorrt" for one in group.parts.values()
    ):
        return group
    try:
        from policy_runner.backends.precision_check import check

        path = spec_file.next_to(spec.model.file, "model.file")
        group.own_facts["precision check"] = str(check(group, choice, path, spec_file.path))
    except BaseException:
        group.close()
        raise
    return group


def load_model(
    choice: BackendChoice | str,
    path: Path,
    sha256: str | None,
    spec_path: Path,
    alone: bool = True,
) -> LoadedModel:
    """Load, check and warm up one model.

    Args:
        choice: the requested backend, or only its name.
        path: the ONNX file.
        sha256: the expected sha256 of the file; None: any.
        spec_path: the policy's spec; or `path` itself, if there is no spec.
        alone: the spec has no other model, so that this one's actions can be compared.

    Raises:
        Refusal: the file is not this model, or the requested backend cannot run it here, or no
            package that runs models is installed.
    """
    from policy_runner.backends.onnx_file.check import check_model_file, data_files

    if isinstance(choice, str):
        choice = BackendChoice(choice)
    choice.check()
    if choice.backend == "remote":
        expected = "a backend that runs the model here"
        raise refuse("", "parameter backend", expected, "remote", "set another one for this")
    check_importable()
    found = check_model_file(path, sha256, spec_path)
    data_files(path)  # refuses if one is missing, or is outside the model's folder
    asked = choice

    def load(one: BackendChoice) -> LoadedModel:
        model = _loader(one.backend)(one, path, found, spec_path)
        model.sha256 = found
        try:
            has_spec = spec_path != path and spec_path.is_file()
            if model.needs_precision_check and has_spec and alone:
                from policy_runner.backends.precision_check import check

                model.facts["precision check"] = str(check(model, one, path, spec_path))
            model.warm_up()
        except BaseException:
            model.close()
            raise
        return model

    if asked.backend == "auto":
        return load_best(asked, path, found, load)
    return load(asked)


def _loader(backend: str) -> Callable[[BackendChoice, Path, str, Path], LoadedModel]:
    if backend == "tensorrt":
        from policy_runner.backends.tensorrt import engine_store

        return engine_store.load
    from policy_runner.backends.onnxruntime import load as onnxruntime_load

    return onnxruntime_load.load
