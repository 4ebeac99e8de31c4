"""Builds a TensorRT engine into the cache, and compares it with fp32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from policy_runner.backends.comparison import beyond
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.check import check_model_file, data_files
from policy_runner.backends.tensorrt.engine_cache import EngineCache, Entry, Log
from policy_runner.backends.tensorrt.engine_key import EngineKey
from policy_runner.backends.tensorrt.engine_store import check_recorded, key_of, open_cache
from policy_runner.core.spec import read_spec

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
    anew: bool = False,
) -> Entry:
    """Build an engine, compare it with fp32 on the CPU, and store it.

    An engine that is already in the cache is only checked.

    Args:
        choice: device, precision and options of the build.
        spec_path: the policy's spec.
        log: gets one line at a time.
        progress: gets (phase, share done from 0 to 1).
        expect: gets the expected time [s] before a build; 0 if unknown.
        anew: build even if the engine is in the cache.

    Raises:
        Refusal: the model's sha256 is not the spec's, TensorRT refused, the actions differ too
            much, or there is no disk space.
    """
    from policy_runner.backends.tensorrt.builder import build_engine

    spec_file = read_spec(spec_path)
    path = spec_file.beside(spec_file.spec.model.file, "model.file")
    check_model_file(path, spec_file.spec.model.sha256, spec_file.path)
    key = key_of(choice, path)

    def build() -> tuple[bytes, Mapping[str, Any]]:
        from policy_runner.backends.precision_check import compare_with_cpu
        from policy_runner.backends.tensorrt.model import model_of_plan

        plan = build_engine(path, choice.precision, choice.options, log, progress)
        progress("comparing with fp32 on the CPU", 1.0)
        model = model_of_plan(choice, path, key.model_sha256, plan)
        try:
            model.warm_up()  # captures the graph that the node will replay
            found = compare_with_cpu(model, choice, spec_file, path, kept=True)
        finally:
            model.close()
        log(str(found))
        if not found.accepted:
            raise beyond(path, found)
        return plan, {"check": found.facts(), "policy": spec_file.spec.name, "model": path.name}

    with open_cache(choice, log) as cache:
        if anew or cache.load(key) is None:
            seconds, sentence = estimate(cache, key, path)
            expect(seconds)
            log(f"building an engine of {path.name} for {key.gpu}: {sentence}")
        entry = cache.build(key, build, anew)
    check_recorded(entry, choice, path)
    return entry
