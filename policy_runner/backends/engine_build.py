"""Builds the engines of a policy's models into the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from policy_runner.backends.comparison import beyond
from policy_runner.backends.interface import BackendChoice, LoadedModel
from policy_runner.backends.onnx_file.check import check_data, check_model_file, data_files
from policy_runner.backends.several import ModelGroup
from policy_runner.backends.tensorrt.engine_cache import EngineCache, Entry, Log
from policy_runner.backends.tensorrt.engine_key import EngineKey
from policy_runner.backends.tensorrt.engine_store import check_recorded, key_of, open_cache
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.core.spec.parts import ModelFile, has_several, model_files

Progress = Callable[[str, float], None]


def estimate(cache: EngineCache, key: EngineKey, path: Path) -> tuple[float, str]:
    """Estimate how long a build takes, from earlier builds on this GPU.

    Args:
        cache: holds the earlier builds.
        key: of the engine to build.
        path: the ONNX file.

    Returns:
        (time [s], a sentence for the user); 0 s if there is no earlier build.
    """
    earlier = [(entry, float(entry.facts.get("seconds", 0.0))) for entry in cache.entries()
               if entry.key.gpu == key.gpu]  # fmt: skip
    same = [seconds for entry, seconds in earlier if entry.key.model_sha256 == key.model_sha256]
    if same:
        return same[0], f"about {same[0]:.0f} s, as it took for this model before"
    if earlier:
        times = [seconds for _, seconds in earlier]
        text = f"other models took {min(times):.0f} to {max(times):.0f} s here"
        return median(times), text
    size = path.stat().st_size + sum(one.stat().st_size for one in data_files(path))
    text = (
        f"no earlier build here to go by; the model has {size / 1e6:.1f} MB, small networks take "
        "seconds, large ones minutes"
    )
    return 0.0, text


def build_into_cache(
    choice: BackendChoice,
    spec_path: Path,
    log: Log,
    progress: Progress = lambda _phase, _share: None,
    expect: Callable[[float], None] = lambda _seconds: None,
    rebuild: bool = False,
) -> list[Entry]:
    """Build the engine of every model of a spec; what is there already is only looked at.

    Each engine is compared with fp32 on the CPU and stored. The engines of several models are then
    compared together.

    Args:
        choice: what is asked for.
        spec_path: the spec.
        log: receives lines for the operator.
        progress: receives the phase and its share, 0 to 1.
        expect: receives how long the next build may take [s], 0 if nothing is known.
        rebuild: build although there is an engine.

    Raises:
        Refusal: a model is not the one that the spec states, TensorRT refused, the actions differ
            too much, or there is no room.
    """
    spec_file = read_spec(spec_path)
    parts = model_files(spec_file.spec)
    for part in parts:
        path = spec_file.next_to(part.model.file, part.file_key)
        check_model_file(path, part.model.sha256, spec_file.path)
        key = part.file_key.removesuffix("file") + "data"
        check_data(path, part.model.data, spec_file.path, key)
    entries = [
        _build_one(choice, spec_file, part, log, progress, expect, rebuild) for part in parts
    ]
    if len(parts) > 1:
        from policy_runner.backends.load import load_models

        progress("comparing all models with fp32 on the CPU", 1.0)
        models = load_models(choice, spec_file)  # compares, since they are several
        log(models.facts["precision check"])
        models.close()
    return entries


def _build_one(
    choice: BackendChoice,
    spec_file: SpecFile,
    part: ModelFile,
    log: Log,
    progress: Progress,
    expect: Callable[[float], None],
    rebuild: bool,
) -> Entry:
    path = spec_file.next_to(part.model.file, part.file_key)
    key = key_of(choice, path)

    def build() -> tuple[bytes, Mapping[str, Any]]:
        from policy_runner.backends.precision_check import compare_with_cpu, cpu_models
        from policy_runner.backends.tensorrt.builder import build_engine
        from policy_runner.backends.tensorrt.model import model_of_plan

        plan = build_engine(path, choice.precision, choice.options, log, progress)
        progress("comparing with fp32 on the CPU", 1.0)
        model: LoadedModel = model_of_plan(choice, path, key.model_sha256, plan)
        try:
            model.warm_up()  # captures the graph that the node will replay
            if has_several(spec_file.spec):
                # The others run on the CPU, so that the figures are this engine's.
                others = cpu_models(spec_file)
                parts = {**getattr(others, "parts", {}), part.name: model}
                model = ModelGroup(parts)
            found = compare_with_cpu(model, choice, spec_file, kept=True)
        finally:
            model.close()
        log(str(found))
        if not found.accepted:
            raise beyond(path, found)
        return plan, {"check": found.facts(), "policy": spec_file.spec.name, "model": path.name}

    with open_cache(choice, log) as cache:
        if rebuild or cache.load(key) is None:
            seconds, sentence = estimate(cache, key, path)
            expect(seconds)
            log(f"building an engine of {path.name} for {key.gpu}: {sentence}")
        entry = cache.build(key, build, rebuild)
    check_recorded(entry, choice, path)
    return entry
