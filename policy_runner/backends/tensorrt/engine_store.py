"""Finds the engine of a model for this machine in the cache, and loads it.

A node only looks engines up. A missing engine is refused, and the refusal has the command that
builds it, because a build takes seconds to many minutes.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from policy_runner.backends.comparison import SAMPLES, TOLERANCE, Comparison, beyond
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.check import data_digests, data_files, sha256_of
from policy_runner.backends.onnx_file.graph import input_shapes
from policy_runner.backends.tensorrt.engine_cache import LIMIT_BYTES, EngineCache, Entry, Log
from policy_runner.backends.tensorrt.engine_key import BUILD_DEFAULTS, EngineKey, build_options
from policy_runner.backends.tensorrt.model import TensorRtModel, model_of_plan
from policy_runner.core.errors import Refusal, refuse


def open_cache(choice: BackendChoice, log: Log = lambda _line: None) -> EngineCache:
    """Open the cache that the options `engines.*` name; `log` gets its lines.

    Raises:
        Refusal: other users can access its folder.
    """
    folder = str(choice.option("engines.folder", ""))
    limit = float(choice.option("engines.limit_gb", LIMIT_BYTES / 1e9))
    return EngineCache(Path(folder) if folder else None, round(limit * 1e9), log)


def key_of(choice: BackendChoice, path: Path) -> EngineKey:
    """Return the key of a model's engine on this machine.

    Args:
        choice: device, precision and options.
        path: the ONNX file.

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
    """Return the serialized engine of a model from the cache; never builds.

    Args:
        choice: device, precision and options.
        path: the ONNX file.
        spec_path: the policy's spec, for the command in a refusal.

    Raises:
        Refusal: there is none (the refusal has the command that builds it), or its recorded
            difference from fp32 exceeds `precision_check.tolerance`.
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
    """Return the engine's file; None without TensorRT, a GPU, or an engine. Never refuses."""
    try:
        with open_cache(choice) as cache:
            entry = cache.load(key_of(choice, path))
    except (Refusal, ImportError):
        return None
    return entry.path if entry is not None else None


def check_recorded(entry: Entry, choice: BackendChoice, path: Path) -> None:
    """Refuse an engine whose recorded difference exceeds the tolerance of `choice`.

    Raises:
        Refusal: it does.
    """
    known = entry.facts.get("check")
    if known is None:
        return
    tolerance = float(choice.option("precision_check.tolerance", TOLERANCE))
    found = Comparison(**{**known, "tolerance": tolerance})
    if not found.accepted:
        raise beyond(path, found)


def build_command(choice: BackendChoice, spec_path: Path) -> str:
    """Return the command line that builds the engine for `choice`, with the same check options."""
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
        return text.replace("e", ".0e")  # YAML reads 1e-05 as a string
    return text


def load(choice: BackendChoice, path: Path, sha256: str, spec_path: Path) -> TensorRtModel:
    """Load a model on its cached engine.

    Raises:
        Refusal: no engine of this model for this machine, no TensorRT, or no GPU.
    """
    return model_of_plan(choice, path, sha256, stored_engine(choice, path, spec_path))
