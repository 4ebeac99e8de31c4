"""Finds ONNX Runtime's installed distributions and missing libraries, without a session."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
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
INSTALL = (
    "pip install 'policy_runner[cpu]', or the extra [gpu] for an NVIDIA GPU"
    " (docs/guides/install_jetson.md)"
)
NEED_GPU_WHEEL = "install the onnxruntime-gpu of your platform (docs/guides/install_jetson.md)"
_LIBRARIES = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}
_MISSING = re.compile(r"(\S+): cannot open shared object file")


def check_importable() -> None:
    """Refuse if ONNX Runtime is missing, or only an empty folder is left after an uninstall.

    Every backend needs it: TensorRT's results are compared with its results on the CPU.

    Raises:
        Refusal: it has the command that installs ONNX Runtime.
    """
    if not _is_installed():
        raise refuse("", "onnxruntime", "the Python package onnxruntime", "none", INSTALL)
    try:
        found = importlib.import_module("onnxruntime")
        text = "" if hasattr(found, "InferenceSession") else "an empty folder of that name"
    except Exception as error:  # noqa: BLE001 - a broken installation raises any type
        text = " ".join(str(error).split()) or type(error).__name__
    if text:
        remedy = "pip install --force-reinstall onnxruntime"
        remedy += " (docs/guides/install_jetson.md for a GPU)"
        raise refuse("", "onnxruntime", "the Python package onnxruntime", text, remedy)


def _is_installed() -> bool:
    if sys.modules.get("onnxruntime") is not None:
        return True
    return importlib.util.find_spec("onnxruntime") is not None


def distributions() -> dict[str, str]:
    """Installed distributions that contain the Python package `onnxruntime`, with versions.

    All of them write into one folder. The last installed one silently overwrites the others.
    """
    return dict(_distributions(tuple(sys.path)))


@cache  # takes 40 ms of Python, which would delay the control loop during a reload
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
    """Return the problem if more than one such distribution is installed, else None."""
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

    Libraries from system packages do not need this. `missing_library` reports missing ones later.
    """
    import onnxruntime as ort

    if hasattr(ort, "preload_dlls"):  # not in every version
        with redirect_stdout(io.StringIO()):  # it prints one line for each missing library
            ort.preload_dlls()
    if provider == TENSORRT:
        with suppress(Exception):  # the import loads its libraries and may raise any type
            importlib.import_module("tensorrt")


def tensorrt_version() -> str:
    """Return the version of TensorRT's Python package without an import; '' if missing."""
    for name in ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def missing_library(provider: str) -> str:
    """Return why a provider's library cannot be loaded, in the loader's words; '' if it can.

    ONNX Runtime itself reports only "Failed to create CUDAExecutionProvider".
    """
    import onnxruntime as ort

    folder = Path(ort.__file__).parent / "capi"
    library = folder / _LIBRARIES[provider]
    if not library.is_file():
        return f"this onnxruntime {ort.__version__} came without {library.name}"
    try:
        # The provider's library needs symbols of the shared library.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        found = _MISSING.search(str(error))
        if found:
            return f"{library.name} needs {found[1]}, which is not there"
        return str(error).replace(f"{folder}/", "")
    return ""


def remedy_for(provider: str, lacks: str) -> str:
    """Return what to do about a missing library.

    Args:
        lacks: the text of `missing_library`.
    """
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
    if library in ("curand", "cufft"):  # their version numbers are not CUDA's
        return "install the CUDA toolkit that this onnxruntime was built for"
    return f"install CUDA {version}, or an onnxruntime-gpu for the installed CUDA"
