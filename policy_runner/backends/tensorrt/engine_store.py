"""The engine of a model for this machine: looked up, or built, checked and stored.

The one place that knows both the cache and TensorRT. A node only looks up: what is not there
is refused with the command that builds it, since a build takes from seconds to many minutes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.model_file import check_model_file
from policy_runner.backends.onnx_file.onnx_shapes import input_shapes
from policy_runner.backends.onnxruntime.model_facts import data_files
from policy_runner.backends.tensorrt.engine_cache import LIMIT_BYTES, EngineCache, Entry, Log
from policy_runner.backends.tensorrt.engine_key import (
    BUILD_DEFAULTS,
    EngineKey,
    build_options,
    data_digests,
    sha256_of,
)
from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.spec.reader import read_spec

Progress = Callable[[str, float], None]


def open_cache(choice: BackendChoice, log: Log = lambda _line: None) -> EngineCache:
    """The cache that the options `engines.*` name.

    Raises:
        Refusal: its folder is not this user's alone.
    """
    folder = str(choice.option("engines.folder", ""))
    limit = float(choice.option("engines.limit_gb", LIMIT_BYTES / 1e9))
    return EngineCache(Path(folder) if folder else None, round(limit * 1e9), log)


def key_of(choice: BackendChoice, path: Path) -> EngineKey:
    """What the engine of this model depends on, here and now.

    Raises:
        Refusal: no TensorRT or no GPU here, or a data file of the model is missing.
    """
    from policy_runner.backends.tensorrt.module import machine_facts

    binding = str(choice.option("tensorrt.cuda_binding", "auto"))
    machine = machine_facts(choice.gpu or 0, binding)
    return EngineKey(
        sha256_of(path), data_digests(path, data_files(path)), machine.tensorrt, machine.gpu,
        machine.compute, machine.driver, choice.precision, input_shapes(path),
        build_options(choice.options),
    )  # fmt: skip


def stored_engine(choice: BackendChoice, path: Path, spec_path: Path) -> bytes:
    """The serialized engine; never builds.

    Raises:
        Refusal: none is there (with the command that builds it), or the one that is there was
            measured to be further from fp32 than `precision_check.tolerance`.
    """
    said: list[str] = []
    with open_cache(choice, said.append) as cache:
        entry = cache.load(key_of(choice, path))
        where = cache.path
    if entry is None:
        got = f"none in {where}" + "".join(f" ({line})" for line in said)
        raise refuse(
            str(path), "", "a TensorRT engine that was built on this machine", got,
            f"run `{build_command(choice, spec_path)}`, or set build_in_configure: true",
        )  # fmt: skip
    check_recorded(entry, choice, path)
    return entry.plan


def cached_engine(choice: BackendChoice, path: Path) -> Path | None:
    """Where the engine lies; None without TensorRT, a GPU, or an engine. Refuses nothing."""
    try:
        with open_cache(choice) as cache:
            entry = cache.load(key_of(choice, path))
    except (Refusal, ImportError):
        return None
    return entry.path if entry is not None else None


def check_recorded(entry: Entry, choice: BackendChoice, path: Path) -> None:
    """Refuse an engine whose recorded check is beyond the tolerance that holds now."""
    from policy_runner.backends.precision_check import TOLERANCE, Comparison, beyond

    known = entry.facts.get("check")
    if known is None:
        return
    tolerance = float(choice.option("precision_check.tolerance", TOLERANCE))
    found = Comparison(**{**known, "tolerance": tolerance})
    if not found.accepted:
        raise beyond(path, found)


def build_command(choice: BackendChoice, spec_path: Path) -> str:
    """The command line that builds what `choice` asks for, and checks it as the node would."""
    from policy_runner.backends.precision_check import SAMPLES, TOLERANCE

    words = ["policy-runner", "build-engine", str(spec_path)]
    for name, value, usual in (
        ("precision", choice.precision, "as_exported"),
        ("device", choice.device, "auto"),
    ):
        if value != usual:
            words += ["--set", f"{name}={value}"]
    usual_options = {
        **BUILD_DEFAULTS,
        "tensorrt.cuda_binding": "auto",
        "engines.folder": "",
        "engines.limit_gb": LIMIT_BYTES / 1e9,
        "precision_check.tolerance": TOLERANCE,
        "precision_check.samples": SAMPLES,
        "precision_check.observations": "",
    }
    for name, value in sorted(choice.options.items()):
        if usual_options.get(name, value) != value:
            words += ["--set", f"{name}={_as_yaml(value)}"]
    return shlex.join(words)


def _as_yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # 1e-05 is a word in YAML
    return text


def estimate(cache: EngineCache, key: EngineKey, path: Path) -> tuple[float, str]:
    """(seconds [s], the sentence to show); 0 s where no earlier build tells anything."""
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
    """Build, compare with fp32 on the CPU, and store; what is there already is only looked at.

    `expect` is told how long it may take [s], 0 where nothing tells.

    Raises:
        Refusal: the model is not the one that the spec states, TensorRT refused, the actions
            differ too much, or there is no room.
    """
    from policy_runner.backends.tensorrt.builder import build_engine

    spec_file = read_spec(spec_path)
    path = spec_file.beside(spec_file.spec.model.file, "model.file")
    check_model_file(path, spec_file.spec.model.sha256, spec_file.path)
    key = key_of(choice, path)

    def build() -> tuple[bytes, Mapping[str, Any]]:
        from policy_runner.backends.precision_check import beyond, compare_with_cpu
        from policy_runner.backends.tensorrt.model import model_of_plan

        plan = build_engine(path, choice.precision, choice.options, log, progress)
        progress("comparing with fp32 on the CPU", 1.0)
        model = model_of_plan(choice, path, key.model_sha256, plan)
        try:
            model.warm_up()  # with the graph that the node will replay
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
