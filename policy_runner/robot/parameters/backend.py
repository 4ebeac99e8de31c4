"""The rows that say what runs the model. Names: `onnxruntime.*` and `tensorrt.*` are options."""

from __future__ import annotations

from policy_runner.backends.interface import BACKENDS, PRECISIONS
from policy_runner.robot.parameters.parameter import Parameter

BACKEND_TABLE: tuple[Parameter, ...] = (
    Parameter(
        "backend",
        "auto",
        "what runs the model; auto takes what `policy-runner bench backends SPEC --remember` "
        "found fastest, else a documented order, and says why",
        choices=BACKENDS,
    ),
    Parameter(
        "device",
        "auto",
        "where the model runs: auto, cpu, gpu, or gpu:N; a GPU that is asked for is used, "
        "or configure refuses",
    ),
    Parameter(
        "precision",
        "as_exported",
        "numbers the model computes with; fp16 needs a backend that can, and is checked",
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
        "allow products rounded to 10 bits of mantissa on the GPU; without effect where the "
        "provider is tensorrt, which has them in any case",
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
        "accept that operations the provider lacks run elsewhere, with copies between them",
    ),
    Parameter(
        "tensorrt.cuda_graph",
        True,
        "run each inference as one CUDA graph; where that fails its check, piece by piece, "
        "and diagnostics says why",
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
        "how the control thread waits for the GPU: spin is soonest, block leaves the core free",
        choices=("spin", "block"),
    ),
    Parameter("tensorrt.tf32", False, "allow products rounded to 10 bits of mantissa"),
    Parameter(
        "tensorrt.workspace",
        64,
        "memory that the builder may plan with",
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
        "size of that folder above which the engines used longest ago are removed",
        unit="GB",
        low=0.0,
        high=1000.0,
    ),
    Parameter(
        "precision_check.tolerance",
        0.02,
        "most that an action may differ from fp32 on the CPU, in the command's own unit",
        low=0.0,
    ),
    Parameter("precision_check.samples", 64, "observations that are compared", low=1, high=100_000),
    Parameter(
        "precision_check.observations",
        "",
        "recorded observations for it (.npz of `policy-runner replay -o`); empty: generated ones",
    ),
)
