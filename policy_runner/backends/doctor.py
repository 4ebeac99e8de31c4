"""Findings of `policy-runner doctor` about backends: installed, missing, and how to fix it.

It does not trust lists of available providers: a provider counts as present only after it has
computed a small model correctly.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from policy_runner.backends.cuda.driver import Driver
from policy_runner.backends.interface import BackendChoice
from policy_runner.core.errors import Refusal

OK, MISSING, PROBLEM = "ok", "missing", "problem"
BINDINGS = (("pycuda", "pycuda", "pycuda"), ("cuda.bindings", "cuda.bindings", "cuda-bindings"))


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    level: str  # OK, MISSING (allowed for optional parts) or PROBLEM
    text: str
    help: str = ""  # a command, or a document to read
    why: str = ""  # of the host: why it matters for the control loop


def driver_finding(driver: Driver) -> Finding:
    """Report NVIDIA's driver and its GPUs."""
    if driver.reason:
        remedy = "nothing to do without an NVIDIA GPU; else install its driver (nvidia-smi)"
        return Finding("NVIDIA driver", MISSING, driver.reason, remedy)
    if not driver.gpus:
        remedy = "give the container the GPU (--runtime nvidia, or --gpus all)"
        return Finding("NVIDIA driver", PROBLEM, f"CUDA {driver.cuda}, no GPU", remedy)
    names = ", ".join(
        f"gpu:{k} {gpu.name} (compute {gpu.compute}{', integrated' if gpu.integrated else ''})"
        for k, gpu in enumerate(driver.gpus)
    )
    return Finding("NVIDIA driver", OK, f"CUDA {driver.cuda}: {names}")


def onnxruntime_findings(gpu_there: bool, gpu_wheel: str) -> Iterator[Finding]:
    """Report ONNX Runtime, and whether each of its providers computes.

    Args:
        gpu_there: whether the driver shows a GPU.
        gpu_wheel: how to install ONNX Runtime with GPU support, for the report.
    """
    from policy_runner.backends.onnxruntime.libraries import (
        check_importable,
        distributions,
        several_installed,
    )

    try:
        check_importable()
    except Refusal as refusal:
        yield Finding("onnxruntime", PROBLEM, _got(refusal), refusal_help(refusal))
        return
    installed = ", ".join(f"{name} {version}" for name, version in distributions().items())
    twice = several_installed()
    if twice is not None:
        yield Finding("onnxruntime", PROBLEM, installed, twice.remedy)
    else:
        yield Finding("onnxruntime", OK, installed or "of unknown origin")
    for provider in ("cpu", "cuda", "tensorrt"):
        reason = _probe(provider)
        what = f"onnxruntime on {provider}"
        if not reason:
            yield Finding(what, OK, "computes")
        elif provider == "cpu":
            yield Finding(what, PROBLEM, reason, "pip install --force-reinstall onnxruntime")
        else:
            remedy = gpu_wheel if gpu_there else "nothing to do without an NVIDIA GPU"
            yield Finding(what, MISSING, reason, remedy)


def _probe(provider: str) -> str:
    """Return why the provider does not compute; '' if it does."""
    from policy_runner.backends.onnxruntime.load import load

    with tempfile.TemporaryDirectory(prefix="policy_runner_") as folder:
        path = write_probe(Path(folder) / "probe.onnx")
        options = {"onnxruntime.provider": provider, "onnxruntime.build": True}
        options["engines.folder"] = str(Path(folder) / "engines")
        choice = BackendChoice("onnxruntime", "cpu" if provider == "cpu" else "gpu", "as_exported",
                               options)  # fmt: skip
        try:
            model = load(choice, path, "probe", path)
            model.inputs["x"][:] = 3.0
            model.run()
            right = model.outputs["y"].tolist() == [[6.0] * 4]
            model.close()
        except Refusal as refusal:
            texts = (f"{one}" if isinstance(one, str) else one.got for one in refusal.problems)
            return "; ".join(texts)
        except Exception as error:  # noqa: BLE001 - any exception is the finding
            return f"{type(error).__name__}: {error}"
    return "" if right else "wrong numbers"


def tensorrt_findings(gpu_there: bool, install: str) -> Iterator[Finding]:
    """Report TensorRT's Python package and the Python bindings to CUDA.

    Args:
        gpu_there: whether the driver shows a GPU.
        install: how to install TensorRT, for the report.
    """
    from policy_runner.backends.tensorrt.module import tensorrt_module

    nothing = "nothing to do without an NVIDIA GPU"
    try:
        yield Finding("tensorrt", OK, str(tensorrt_module().__version__))
    except Refusal as refusal:
        yield Finding("tensorrt", MISSING, _got(refusal), install if gpu_there else nothing)
    found = []
    for name, module, distribution in BINDINGS:
        if _there(module):
            found.append(f"{name} {_version(distribution)}")
    if not found:
        remedy = "pip install cuda-bindings of the CUDA's major version" if gpu_there else nothing
        yield Finding("CUDA binding", MISSING, "neither pycuda nor cuda-bindings", remedy)
        return
    from policy_runner.backends.cuda.open import open_cuda

    try:
        open_cuda().close()
        yield Finding("CUDA binding", OK, ", ".join(found))
    except Refusal as refusal:
        level = PROBLEM if gpu_there else MISSING
        remedy = refusal_help(refusal) if gpu_there else nothing
        yield Finding("CUDA binding", level, f"{', '.join(found)}: {_got(refusal)}", remedy)


def engine_finding() -> Finding:
    """Report the folder of built engines."""
    from policy_runner.backends.tensorrt.engine_store import open_cache

    try:
        with open_cache(BackendChoice()) as cache:
            entries = cache.entries()
            return Finding("engine cache", OK, f"{len(entries)} engines in {cache.path}")
    except Refusal as refusal:
        return Finding("engine cache", PROBLEM, _got(refusal), refusal_help(refusal))


def safely(what: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; an exception becomes a finding, so that the other checks still run.

    Args:
        what: the finding's name if the check fails.
        look: the check.
    """
    found = []
    try:
        for one in look():
            found.append(one)
    except Exception as error:  # noqa: BLE001
        found.append(Finding(what, PROBLEM, f"{type(error).__name__}: {error}"))
    return found


def refusal_help(refusal: Refusal) -> str:
    """Return the remedy of the first problem that has one; '' if none has."""
    return next((p.remedy for p in refusal.problems if not isinstance(p, str) and p.remedy), "")


def _got(refusal: Refusal) -> str:
    return "; ".join(one if isinstance(one, str) else one.got for one in refusal.problems)


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"


_FLOAT = 1  # TensorProto.DataType


def write_probe(path: Path) -> Path:
    """Write the ONNX model y = x + x (float32 [1, 4]); returns its path."""
    node = _bytes(1, b"x") + _bytes(1, b"x") + _bytes(2, b"y") + _bytes(4, b"Add")
    graph = (
        _bytes(1, node)
        + _bytes(2, b"probe")
        + _bytes(11, _tensor(b"x"))
        + _bytes(12, _tensor(b"y"))
    )
    opset = _bytes(1, b"") + _number(2, 13)
    path.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, opset))
    return path


def _tensor(name: bytes) -> bytes:
    dims = b"".join(_bytes(1, _number(1, size)) for size in (1, 4))
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, dims)))


def _bytes(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | 2, len(content))) + content  # every content is under 128 bytes


def _number(field: int, value: int) -> bytes:
    return bytes((field << 3, value))
