"""Opens an engine that this machine built, and checks its tensors against its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_runner.backends.tensorrt.module import DTYPES, log_of, said
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import ModelFacts

REBUILD = "build it again on this machine: policy-runner engine remove, policy-runner engine build"


@dataclass(frozen=True)
class EngineTensor:
    """An input or output of an engine, batch 1."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    is_input: bool


@dataclass(frozen=True)
class OpenEngine:
    """TensorRT's objects. Each must outlive the objects made from it, so all three are kept."""

    runtime: Any
    engine: Any
    context: Any
    tensors: tuple[EngineTensor, ...]  # in the model's order, inputs first


def open_engine(tensorrt: Any, plan: bytes, facts: ModelFacts) -> OpenEngine:
    """Deserialize an engine that this machine built. The GPU's context must be current.

    Args:
        tensorrt: the module `tensorrt`.
        plan: the serialized engine. It is executable code: the caller must trust its source.
        facts: of the model that it was built from.

    Raises:
        Refusal: the engine was built for another TensorRT, GPU or model.
    """
    lines = log_of(tensorrt)
    lines.take()
    runtime = tensorrt.Runtime(lines.logger)
    engine = runtime.deserialize_cuda_engine(plan)
    path = facts.path
    if engine is None:
        why = said(lines.take(), "TensorRT gave no reason")
        raise refuse(str(path), "engine", "one that this TensorRT reads", why, REBUILD)
    context = engine.create_execution_context()
    if context is None:
        why = said(lines.take(), "TensorRT gave no reason")
        remedy = "give it more of the GPU's memory"
        raise refuse(str(path), "engine", "an execution context", why, remedy)
    return OpenEngine(runtime, engine, context, _tensors(tensorrt, engine, facts))


def _tensors(tensorrt: Any, engine: Any, facts: ModelFacts) -> tuple[EngineTensor, ...]:
    found: dict[str, EngineTensor] = {}
    problems: list[Problem | str] = []
    for k in range(engine.num_io_tensors):
        name = engine.get_tensor_name(k)
        is_input = engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
        key = f"{'input' if is_input else 'output'} '{name}'"
        shape = tuple(int(size) for size in engine.get_tensor_shape(name))
        kind = engine.get_tensor_dtype(name).name
        if engine.get_tensor_location(name) != tensorrt.TensorLocation.DEVICE:
            problems.append(Problem(str(facts.path), key, "a tensor on the GPU", "one on the CPU"))
        elif any(size < 1 for size in shape):
            problems.append(Problem(str(facts.path), key, "fixed sizes", f"{shape}", REBUILD))
        elif kind not in DTYPES:
            expected = f"one of {', '.join(DTYPES)}"
            problems.append(Problem(str(facts.path), key, expected, kind))
        else:
            found[name] = EngineTensor(name, shape, np.dtype(DTYPES[kind]), is_input)
    if problems:
        raise Refusal(problems)
    ordered = []
    for is_input, tensors in ((True, facts.inputs), (False, facts.outputs)):
        for fact in tensors:
            known = found.get(fact.name)
            stated = tuple(1 if k == 0 and d is None else d for k, d in enumerate(fact.shape))
            if known is None or known.is_input != is_input or known.shape != stated:
                got = "none" if known is None else f"{known.shape}"
                role = "input" if is_input else "output"
                problems.append(Problem(str(facts.path), role, f"the model's {fact}", got, REBUILD))
            elif known not in ordered:
                ordered.append(known)
    if problems or len(ordered) != len(found):
        extra = sorted(found.keys() - {tensor.name for tensor in ordered})
        raise Refusal(
            problems
            or [Problem(str(facts.path), "engine", "the model's tensors", f"{extra}", REBUILD)]
        )
    return tuple(ordered)
