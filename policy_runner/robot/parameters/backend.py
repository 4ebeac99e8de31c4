"""The rows of the inference backend; `onnxruntime.*` and `tensorrt.*` are its options."""

from __future__ import annotations

from policy_runner.backends.interface import BACKENDS, PRECISIONS
from policy_runner.robot.parameters.parameter import Parameter

BACKEND_TABLE: tuple[Parameter, ...] = (
    Parameter(
        "backend",
        "auto",
        "inference backend that runs the model; auto takes the backend that "
        "`policy-runner bench backends SPEC --remember` found fastest, else a documented order, "
        "and reports why; remote: a server at remote.url",
        choices=BACKENDS,
    ),
    Parameter(
        "device",
        "auto",
        "where the model runs: auto, cpu, gpu, or gpu:N; if a requested GPU cannot be used, "
        "configure refuses",
    ),
    Parameter(
        "precision",
        "as_exported",
        "precision of the model's arithmetic; fp16 needs a backend that supports it, and is "
        "checked",
        choices=PRECISIONS,
    ),
    Parameter(
        "onnxruntime.provider",
        "auto",
        "execution provider; auto: cpu, or cuda where the device is a GPU",
        choices=("auto", "cpu", "cuda", "tensorrt"),
    ),
    Parameter(
        "onnxruntime.threads",
        1,
        "threads inside one operation on the CPU; more than 1 costs latency at batch 1",
        low=1,
        high=64,
    ),
    Parameter(
        "onnxruntime.cuda_graph",
        False,
        "replay each inference as one CUDA graph; refused unless it gives the right answers",
    ),
    Parameter(
        "onnxruntime.tf32",
        False,
        "allow products rounded to 10 bits of mantissa on the GPU; no effect with the provider "
        "tensorrt, which always uses them",
    ),
    Parameter(
        "onnxruntime.cudnn_search",
        "heuristic",
        "how cuDNN finds its convolutions; exhaustive makes configure slower",
        choices=("heuristic", "exhaustive", "default"),
    ),
    Parameter(
        "onnxruntime.gpu_memory",
        0,
        "most memory the CUDA provider may take; 0: no limit",
        unit="MiB",
        low=0,
        high=100_000,
    ),
    Parameter(
        "onnxruntime.allow_cpu_nodes",
        False,
        "accept that operations which the provider lacks run elsewhere, with copies between them",
    ),
    Parameter(
        "tensorrt.cuda_graph",
        True,
        "run each inference as one CUDA graph; if that fails its check, run it piece by piece, "
        "and diagnostics reports why",
    ),
    Parameter(
        "tensorrt.cuda_binding",
        "auto",
        "Python package that reaches CUDA; auto: pycuda, else cuda.bindings",
        choices=("auto", "pycuda", "cuda.bindings"),
    ),
    Parameter(
        "tensorrt.wait",
        "spin",
        "how the control thread waits for the GPU: spin is fastest, block leaves the core free",
        choices=("spin", "block"),
    ),
    Parameter("tensorrt.tf32", False, "allow products rounded to 10 bits of mantissa"),
    Parameter(
        "tensorrt.workspace",
        64,
        "memory that the engine builder may use for its plan",
        unit="MiB",
        low=1,
        high=100_000,
    ),
    Parameter(
        "tensorrt.optimization_level",
        3,
        "how long the builder searches for fast kernels",
        low=0,
        high=5,
    ),
    Parameter(
        "build_in_configure",
        False,
        "backend tensorrt: build a missing engine while configuring, in a child process; "
        "otherwise configure refuses and names the command",
    ),
    Parameter(
        "engines.folder",
        "",
        "where built engines are kept, mode 0700; empty: policy_runner/engines in XDG_CACHE_HOME",
    ),
    Parameter(
        "engines.limit_gb",
        2.0,
        "size of that folder above which the least recently used engines are removed",
        unit="GB",
        low=0.0,
        high=1000.0,
    ),
    Parameter(
        "precision_check.tolerance",
        0.02,
        "largest allowed difference of an action from fp32 on the CPU, in the command's own unit",
        low=0.0,
    ),
    Parameter("precision_check.samples", 64, "observations that are compared", low=1, high=100_000),
    Parameter(
        "precision_check.observations",
        "",
        "recorded observations for it (.npz of `policy-runner replay -o`); empty: generated ones",
    ),
)
