"""The engine of a model for this machine: looked up, or built, checked and stored.

The one place that knows both the cache and TensorRT. A node only looks up: what is not there
is refused with the command that builds it, since a build takes from seconds to many minutes.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.check import data_digests, data_files, sha256_of
from policy_runner.backends.onnx_file.graph import input_shapes
from policy_runner.backends.tensorrt.engine_cache import LIMIT_BYTES, EngineCache, Entry, Log
from policy_runner.backends.tensorrt.engine_key import BUILD_DEFAULTS, EngineKey, build_options
from policy_runner.backends.tensorrt.model import TensorRtModel, model_of_plan
from policy_runner.core.errors import Refusal, refuse


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

    words = ["policy-runner", "engine", "build", str(spec_path)]
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


def load(choice: BackendChoice, path: Path, sha256: str, spec_path: Path) -> TensorRtModel:
    """The model on its cached engine.

    Raises:
        Refusal: no engine of this model for this machine, no TensorRT, no GPU.
    """
    return model_of_plan(choice, path, sha256, stored_engine(choice, path, spec_path))
