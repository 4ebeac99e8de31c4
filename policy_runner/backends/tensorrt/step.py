"""Whether a captured graph computes what the engine computes: a robot must not replay an action."""

from __future__ import annotations

import numpy as np

from policy_runner.backends.interface import Buffer
from policy_runner.backends.tensorrt.tensorrt_step import GpuStep

ROUNDING = 1e-3  # of the largest output: kernels may add up in another order
_SEED = 5


def graph_differs(step: GpuStep) -> str:
    """Runs two different inputs with the graph and without; says what differs, else "".

    The step keeps its graph where they agree, and its inputs are overwritten.
    """
    random = np.random.default_rng(_SEED)
    cases = [_drawn(step, random) for _ in range(2)]
    launched = [_results(step, case) for case in cases]
    return step.without_graph(lambda: _compared(step, cases, launched))


def _drawn(step: GpuStep, random: np.random.Generator) -> dict[str, Buffer]:
    drawn: dict[str, Buffer] = {}
    for name, memory in step.inputs.items():
        host = memory.host
        if host.dtype.kind == "f":
            drawn[name] = random.normal(size=host.shape).astype(host.dtype)
        else:  # 0 and 1 are in the range of whatever an integer means: an index, a flag
            drawn[name] = random.integers(0, 2, size=host.shape).astype(host.dtype)
    return drawn


def _results(step: GpuStep, case: dict[str, Buffer]) -> dict[str, Buffer]:
    for name, values in case.items():
        np.copyto(step.inputs[name].host, values)
    step.begin_anew()
    step.run()
    return {name: memory.host.copy() for name, memory in step.outputs.items()}


def _compared(
    step: GpuStep, cases: list[dict[str, Buffer]], launched: list[dict[str, Buffer]]
) -> str:
    for case, graph in zip(cases, launched, strict=True):
        for name, plain in _results(step, case).items():
            allowed = ROUNDING * max(1.0, float(np.max(np.abs(np.nan_to_num(plain)), initial=0)))
            if not np.allclose(graph[name], plain, rtol=0.0, atol=allowed, equal_nan=True):
                return f"the graph's output '{name}' differs from the engine's"
    return ""
