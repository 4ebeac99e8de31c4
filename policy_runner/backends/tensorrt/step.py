"""One inference on the GPU: copy the inputs in, run the engine, copy states, copy outputs out.

All addresses are fixed, so that the whole inference can be one CUDA graph. A graph is never
updated; any change needs a new graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from policy_runner.backends.cuda.interface import Cuda, Memory
from policy_runner.backends.tensorrt.engine import OpenEngine
from policy_runner.core.model import Buffer


class TensorRtError(RuntimeError):
    """TensorRT refused a call; the reason is in its log."""


class State:
    """A recurrent state that stays on the GPU."""

    def __init__(self, source: Memory, target: Memory, initial: Buffer) -> None:
        """Store the state's tensors: `source` is the output, `target` the input."""
        self.source = source
        self.target = target
        self.initial = initial


class GpuStep:
    """An engine's tensor memory and its inference. The GPU's context must be current."""

    def __init__(self, cuda: Cuda, opened: OpenEngine) -> None:
        """Allocate each tensor separately, because TensorRT requires aligned addresses.

        Raises:
            CudaError, TensorRtError: no memory, or TensorRT does not accept an address.
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
        """From now on, copy these states from output to input after every run; drop the graph.

        Returns:
            `restart`, which any thread may call.
        """
        self.drop_graph()
        self._states = list(states)
        self._plan_copies()
        self.restart()
        return self.restart

    def restart(self) -> None:
        """Make the next run begin with the states' initial values. Only sets a flag."""
        self._fresh = True

    def run(self) -> None:
        """Run one inference; returns when the outputs are in the host's memory.

        Raises:
            TensorRtError, CudaError: it failed. The outputs are invalid then.
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
        """Whether a run launches a graph."""
        return self._graph is not None

    def capture(self) -> str:
        """Capture a graph, so that a run is one launch; returns why that failed, else "".

        It first runs once, so that TensorRT's lazy set-up is done, and then captures; trtexec
        does the same.
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
        """Return the result of `call`; during the call runs do not use the graph."""
        graph, self._graph = self._graph, None
        try:
            return call()
        finally:
            self._graph = graph

    def drop_graph(self) -> None:
        """Free the graph; runs enqueue each operation again."""
        if self._graph is not None:
            graph, self._graph = self._graph, None
            self._cuda.drop(graph)


ROUNDING = 1e-3  # relative to the largest output: kernels may sum in another order
_SEED = 5


def graph_differs(step: GpuStep) -> str:
    """Run two inputs with and without the graph; returns what differs, else "".

    The inputs are overwritten. The graph is kept.
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
        else:  # 0 and 1 are valid for any meaning of an integer, for example an index or a flag
            drawn[name] = random.integers(0, 2, size=host.shape).astype(host.dtype)
    return drawn


def _results(step: GpuStep, case: dict[str, Buffer]) -> dict[str, Buffer]:
    for name, values in case.items():
        np.copyto(step.inputs[name].host, values)
    step.restart()
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
