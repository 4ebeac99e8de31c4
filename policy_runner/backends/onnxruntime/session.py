"""Options of ONNX Runtime's sessions: few threads, no spinning, no silent fallback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnxruntime.libraries import CUDA, TENSORRT

MIB = 1 << 20


def session_options(choice: BackendChoice, entries: Mapping[str, str] | None = None) -> Any:
    """Make the options for a small network that runs in a control loop.

    One thread, because a policy's network is small and the control loop shares the machine. No
    spinning, because a spinning worker uses the core that the next tick needs.

    Args:
        choice: its options `onnxruntime.*`.
        entries: more entries of the session's configuration.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = int(choice.option("onnxruntime.threads", 1))
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: its warnings go to stderr without a node name
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    return options


def cuda_options(choice: BackendChoice) -> dict[str, str]:
    """Return the CUDA provider's options for batch 1."""
    search = str(choice.option("onnxruntime.cudnn_search", "heuristic")).upper()
    options = {
        "device_id": str(choice.gpu or 0),
        # ONNX Runtime's default tries every algorithm in each convolution's first run.
        "cudnn_conv_algo_search": search,
        # ONNX Runtime's default doubles its arena each time; a Jetson's CPU shares that memory.
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": _flag(choice.option("onnxruntime.tf32", False)),
        "enable_cuda_graph": _flag(choice.option("onnxruntime.cuda_graph", False)),
    }
    limit = int(choice.option("onnxruntime.gpu_memory", 0))
    if limit:
        options["gpu_mem_limit"] = str(limit * MIB)
    return options


def tensorrt_options(choice: BackendChoice, folder: str) -> dict[str, str]:
    """Return the TensorRT provider's options.

    Args:
        choice: device, precision and options.
        folder: for its engines; it must be private, because engines are executable code.
    """
    return {
        "device_id": str(choice.gpu or 0),
        "trt_fp16_enable": _flag(choice.precision == "fp16"),
        "trt_min_subgraph_size": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        "trt_cuda_graph_enable": _flag(choice.option("onnxruntime.cuda_graph", False)),
    }


def providers(
    choice: BackendChoice, provider: str, folder: str = ""
) -> Sequence[str | tuple[str, dict[str, str]]]:
    """Return the list of providers for a session, with their options.

    Only with `onnxruntime.allow_cpu_nodes` other providers may run single nodes: the CPU's, and
    for TensorRT also CUDA's.

    Args:
        choice: device, precision and options.
        provider: the requested one.
        folder: for TensorRT's engines.
    """
    cuda = (CUDA, cuda_options(choice))
    asked = [(TENSORRT, tensorrt_options(choice, folder))] if provider == TENSORRT else [cuda]
    if not choice.option("onnxruntime.allow_cpu_nodes", False):
        return asked
    # ORT allows a CUDA graph for only one provider: use it for the requested one.
    helper = [(CUDA, {**cuda[1], "enable_cuda_graph": "0"})] if provider == TENSORRT else []
    return [*asked, *helper, "CPUExecutionProvider"]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress ONNX Runtime's log lines while providers are tried; failures are reported anyway."""
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    try:
        yield
    finally:
        ort.set_default_logger_severity(2)


def _flag(value: object) -> str:
    return "1" if value else "0"
