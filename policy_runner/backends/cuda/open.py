"""Opens CUDA through the installed Python binding."""

from __future__ import annotations

import importlib.util

from policy_runner.backends.cuda.interface import Cuda
from policy_runner.core.errors import refuse

BINDINGS = ("auto", "pycuda", "cuda.bindings")
INSTALL = (
    "pip install cuda-bindings of your CUDA's major version, or pycuda; "
    "`policy-runner doctor` says which"
)


def open_cuda(binding: str = "auto", gpu: int = 0, wait: str = "spin") -> Cuda:
    """Open a GPU.

    Args:
        binding: one of BINDINGS; `auto` prefers pycuda to cuda.bindings.
        gpu: the GPU's number.
        wait: spin (lowest latency) or block (the CPU core sleeps while the GPU works).

    Raises:
        Refusal: no such binding, no driver, no such GPU.
    """
    key = "parameter tensorrt.cuda_binding"
    if binding not in BINDINGS:
        raise refuse("", key, f"one of {', '.join(BINDINGS)}", binding)
    if wait not in ("spin", "block"):
        raise refuse("", "parameter tensorrt.wait", "spin or block", wait)
    installed = [name for name in BINDINGS[1:] if _is_installed(name)]
    if binding == "auto" and not installed:
        raise refuse("", "CUDA", "the package pycuda or cuda-bindings", "neither", INSTALL)
    if binding != "auto" and binding not in installed:
        raise refuse("", key, f"{binding} to be installed", "no such package", INSTALL)
    chosen = installed[0] if binding == "auto" else binding
    try:
        if chosen == "pycuda":
            from policy_runner.backends.cuda.binding_pycuda import PycudaCuda

            return PycudaCuda(gpu, wait == "block")
        from policy_runner.backends.cuda.binding_nvidia import BindingsCuda

        return BindingsCuda(gpu, wait == "block")
    except Exception as error:  # both bindings raise their own types, also during import
        text = " ".join(str(error).split()) or type(error).__name__
        raise refuse(
            "", "CUDA", f"GPU {gpu} through {chosen}", text,
            "check that the NVIDIA driver works (nvidia-smi; on a Jetson /dev/nvhost*) and that "
            "the container has access to the GPU",
        ) from error  # fmt: skip


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # the parent package is missing, or replaced by a test
        return False
