"""Loads a model with ONNX Runtime: the requested provider and precision, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.weights import read_weights
from policy_runner.backends.onnxruntime.libraries import (
    CPU,
    CUDA,
    PROVIDERS,
    TENSORRT,
    check_importable,
    several_installed,
)
from policy_runner.core.errors import refuse

if TYPE_CHECKING:
    from policy_runner.backends.interface import LoadedModel


def provider_of(choice: BackendChoice) -> str:
    """Return the requested execution provider; by default CUDA for a GPU, else the CPU's.

    Raises:
        Refusal: unknown provider, or provider and device contradict each other.
    """
    asked = str(choice.option("onnxruntime.provider", "auto"))
    if asked not in (*PROVIDERS, "auto"):
        expected = f"one of auto, {', '.join(PROVIDERS)}"
        raise refuse("", "parameter onnxruntime.provider", expected, asked)
    if asked == "auto":
        return CUDA if choice.gpu is not None else CPU
    if (asked == "cpu" and choice.gpu is not None) or (asked != "cpu" and choice.device == "cpu"):
        expected = f"a device that onnxruntime.provider: {asked} runs on"
        raise refuse("", "parameter device", expected, choice.device, "leave one of them at auto")
    return PROVIDERS[asked]


def check_precision_possible(choice: BackendChoice, provider: str, path: Path) -> None:
    """Refuse a precision that this provider would not use for this model.

    Raises:
        Refusal: fp32 for a model in fp16; or fp16 for a model in fp32, except on TensorRT.
    """
    if choice.precision == "as_exported":
        return
    stored = read_weights(path).precision
    if choice.precision == "fp32" and stored == "fp16":
        raise refuse(
            str(path), "parameter precision", "a model exported in fp32", "its weights are fp16",
            "set precision: as_exported, or export it again",
        )  # fmt: skip
    if choice.precision == "fp16" and stored == "fp32" and provider != TENSORRT:
        raise refuse(
            str(path), "parameter precision", f"a model exported in fp16 (on {provider})",
            "its weights are fp32", "set backend: tensorrt, or convert the model to fp16",
        )  # fmt: skip


def load(choice: BackendChoice, path: Path, sha256: str, _spec_path: Path) -> LoadedModel:
    """Load a model with the requested provider; a GPU's provider must pass its proof.

    Raises:
        Refusal: the provider cannot run this model in this precision here.
    """
    check_importable()
    provider = provider_of(choice)
    check_precision_possible(choice, provider, path)
    if provider != CPU:
        from policy_runner.backends.onnxruntime.gpu import OnnxRuntimeGpuModel

        model = OnnxRuntimeGpuModel(choice, path, provider, sha256)
        lower = choice.precision == "fp16" and read_weights(path).precision == "fp32"
        # TF32 rounds products, so it is also a lower precision. TensorRT's provider always uses it.
        model.needs_precision_check = lower or model.facts["tf32"] == "yes"
        return model
    if choice.option("onnxruntime.cuda_graph", False):
        expected = "a GPU, where onnxruntime.cuda_graph is true"
        raise refuse("", "parameter device", expected, choice.device, "set device: gpu")
    from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel

    on_cpu = OnnxRuntimeModel(path, choice)
    twice = several_installed()
    if twice is not None:
        on_cpu.facts["warning"] = str(twice)
    return on_cpu
