"""One inference on the GPU: copies in, the engine, states carried over, copies out.

Everything has one address for life, so that the whole of it can be one CUDA graph. Nothing of a
graph is ever updated: what changes makes a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from policy_runner.backends.cuda.interface import Cuda, Memory
from policy_runner.backends.tensorrt.engine import OpenEngine
from policy_runner.core.model import Buffer


class TensorRtError(RuntimeError):
    """TensorRT refused to enqueue; why is in its log."""


class State:
    """A recurrent state that stays on the GPU: where it goes in, where it comes out."""

    def __init__(self, source: Memory, target: Memory, initial: Buffer) -> None:
        self.source = source
        self.target = target
        self.initial = initial


class GpuStep:
    """The memory of an engine's tensors, and its inference. The context must be current."""

    def __init__(self, cuda: Cuda, opened: OpenEngine) -> None:
        """Allocate every tensor by itself: TensorRT asks for aligned addresses.

        Raises:
            CudaError, TensorRtError: no memory, or an address that TensorRT does not take.
        """
        self._cuda = cuda
        self._context = opened.context
        self._execute = self._context.execute_async_v3
        self._stream = cuda.stream
        self.inputs: dict[str, Memory] = {}
        self.outputs: dict[str, Memory] = {}
        for tensor in opened.tensors:
            memory = cuda.allocate(tensor.shape, tensor.dtype)
            (self.inputs if tensor.is_input else self.outputs)[tensor.name] = memory
            if not self._context.set_tensor_address(tensor.name, memory.address):
                raise TensorRtError(f"set_tensor_address: refused for '{tensor.name}'")
        missing = self._context.infer_shapes()
        if missing:
            raise TensorRtError(f"infer_shapes: no sizes for {', '.join(missing)}")
        self._states: list[State] = []
        self._fresh = False  # the next run begins with the states' initial values
        self._graph: Any = None
        self._plan_copies()

    def _plan_copies(self) -> None:
        kept = [memory for state in self._states for memory in (state.source, state.target)]
        self._uploads, self._downloads = (
            [m for m in tensors.values() if not m.mapped and not any(m is one for one in kept)]
            for tensors in (self.inputs, self.outputs)
        )

    def keep(self, states: Sequence[State]) -> Callable[[], None]:
        """Carry these states over by ourselves from now on; any graph is dropped.

        Returns what makes the next run begin anew: a flag, for any thread.
        """
        self.drop_graph()
        self._states = list(states)
        self._plan_copies()
        self.begin_anew()
        return self.begin_anew

    def begin_anew(self) -> None:
        """The next run begins with the states' initial values."""
        self._fresh = True

    def run(self) -> None:
        """One inference; returns when the outputs are in the host's memory.

        Raises:
            TensorRtError, CudaError: it could not run. The outputs mean nothing then.
        """
        if self._fresh:
            self._fresh = False
            self._write_initial()
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph)
        self._cuda.wait()

    def _write_initial(self) -> None:
        for state in self._states:
            np.copyto(state.target.host, state.initial)
            if not state.target.mapped:
                self._cuda.upload(state.target)

    def _enqueue(self) -> None:
        cuda = self._cuda
        for memory in self._uploads:
            cuda.upload(memory)
        if not self._execute(self._stream):
            raise TensorRtError("execute_async_v3: refused")
        for state in self._states:
            cuda.copy(state.target, state.source)
        for memory in self._downloads:
            cuda.download(memory)

    @property
    def is_graph(self) -> bool:
        """Whether runs are launches of one graph."""
        return self._graph is not None

    def capture(self) -> str:
        """Make a run one graph launch; says why where that is not possible, else "".

        As trtexec does: run once, so that TensorRT's own lazy set-up is over, then record.
        """
        self.drop_graph()
        self.run()
        cuda = self._cuda
        failures: tuple[type[Exception], ...] = (TensorRtError, *cuda.errors)
        try:
            cuda.begin_capture()
            try:
                self._enqueue()
            except BaseException:
                cuda.abandon_capture()
                raise
            self._graph = cuda.end_capture()
        except failures as error:
            return " ".join(str(error).split())
        return ""

    def without_graph(self, call: Callable[[], str]) -> str:
        """What `call` returns while runs are enqueued piece by piece."""
        graph, self._graph = self._graph, None
        try:
            return call()
        finally:
            self._graph = graph

    def drop_graph(self) -> None:
        """Back to enqueueing piece by piece."""
        if self._graph is not None:
            graph, self._graph = self._graph, None
            self._cuda.drop(graph)


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
