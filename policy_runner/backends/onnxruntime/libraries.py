"""What an installation of ONNX Runtime can do, found without a session: wheels and libraries."""

from __future__ import annotations

import ctypes
import importlib
import io
import re
import sys
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Problem, refuse

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
CPU = "CPUExecutionProvider"
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
NEED_GPU_WHEEL = "install the onnxruntime-gpu of your platform (docs/guides/install_jetson.md)"
_LIBRARIES = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}
_MISSING = re.compile(r"(\S+): cannot open shared object file")


def check_importable() -> None:
    """Refuse where there is no ONNX Runtime, or only the folder that an uninstall left behind.

    Raises:
        Refusal: with the command that installs it.
    """
    try:
        found = importlib.import_module("onnxruntime")
        text = "" if hasattr(found, "InferenceSession") else "an empty folder of that name"
    except Exception as error:  # noqa: BLE001 - a broken installation raises what it likes
        text = " ".join(str(error).split()) or type(error).__name__
    if text:
        remedy = "pip install --force-reinstall onnxruntime"
        remedy += " (docs/guides/install_jetson.md for a GPU)"
        raise refuse("", "onnxruntime", "the Python package onnxruntime", text, remedy)


def distributions() -> dict[str, str]:
    """Installed distributions that bring the Python package `onnxruntime`, with versions.

    All of them write into one folder, where the last one installed wins silently.
    """
    return dict(_distributions(tuple(sys.path)))


@cache  # 40 ms of Python, which a reload beside a running control loop should not cost
def _distributions(_path: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for one in metadata.distributions():
        name = (one.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith("onnxruntime") and (name == "onnxruntime" or _brings_package(one)):
            found[name] = one.version
    return dict(sorted(found.items()))


def _brings_package(one: Any) -> bool:
    files = one.files or ()
    return any(str(file) == "onnxruntime/__init__.py" for file in files)


def several_installed() -> Problem | None:
    """The problem of more than one such distribution, or None."""
    found = distributions()
    if len(found) < 2:
        return None
    names = " ".join(found)
    wanted = next((name for name in found if "gpu" in name), "onnxruntime")
    return Problem(
        "", "onnxruntime", "one installed distribution",
        ", ".join(f"{name} {version}" for name, version in found.items()),
        f"they overwrite each other: pip uninstall -y {names} && pip install {wanted}",
    )  # fmt: skip


def preload(provider: str) -> None:
    """Load CUDA, cuDNN and TensorRT from Python wheels, where the loader would not find them.

    What comes from the system's own packages needs none of this; what is missing is told later.
    """
    import onnxruntime as ort

    if hasattr(ort, "preload_dlls"):  # not in every version
        with redirect_stdout(io.StringIO()):  # it prints one line for each that is not there
            ort.preload_dlls()
    if provider == TENSORRT:
        with suppress(Exception):  # the package loads its libraries, and raises what it likes
            importlib.import_module("tensorrt")


def tensorrt_version() -> str:
    """Version of TensorRT's Python package, read without importing it; '' where there is none."""
    for name in ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def missing_library(provider: str) -> str:
    """What keeps a provider's library from being loaded, in the loader's words; '' if nothing.

    ONNX Runtime itself says only "Failed to create CUDAExecutionProvider".
    """
    import onnxruntime as ort

    folder = Path(ort.__file__).parent / "capi"
    library = folder / _LIBRARIES[provider]
    if not library.is_file():
        return f"this onnxruntime {ort.__version__} came without {library.name}"
    try:
        # The provider's library takes its symbols from the shared one.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        found = _MISSING.search(str(error))
        if found:
            return f"{library.name} needs {found[1]}, which is not there"
        return str(error).replace(f"{folder}/", "")
    return ""


def remedy_for(provider: str, lacks: str) -> str:
    """The command that helps, by the library that is missing."""
    if "came without" in lacks:
        return NEED_GPU_WHEEL
    if "libcuda.so" in lacks:
        return "install NVIDIA's driver, or give the container the GPU (--gpus all)"
    if re.search(r"undefined symbol: cu[A-Z]", lacks):
        return "update NVIDIA's driver: it is older than the CUDA of this onnxruntime"
    found = re.search(r"lib(cublas|cudart|cudnn|curand|cufft|nvinfer)\w*\.so\.(\d+)", lacks)
    if found is None:
        return "see docs/guides/install_jetson.md; `policy-runner doctor` says what is missing"
    library, version = found[1], found[2]
    if library == "nvinfer":
        return f"install TensorRT {version} (docs/guides/install_jetson.md)"
    if library == "cudnn":
        return f"install cuDNN {version} (docs/guides/install_jetson.md)"
    if library in ("curand", "cufft"):  # with version numbers of their own
        return "install the CUDA toolkit that this onnxruntime was built for"
    return f"install CUDA {version}, or an onnxruntime-gpu for the CUDA that is there"
