"""TensorRT on an NVIDIA GPU. Asked for it, a model runs there or `configure` refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policy_runner.backends.cuda.interface import Cuda, Memory
from policy_runner.backends.cuda.open import open_cuda
from policy_runner.backends.host_arrays import REPEATED
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.backends.tensorrt.engine import REBUILD, OpenEngine, open_engine
from policy_runner.backends.tensorrt.module import log_of, said, tensorrt_module
from policy_runner.backends.tensorrt.step import GpuStep, State, graph_differs
from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.model import Buffer, ModelAbilities, StateTensors


def model_of_plan(choice: BackendChoice, path: Path, sha256: str, plan: bytes) -> TensorRtModel:
    """The model on an engine that this machine built from the file at `path`.

    Raises:
        Refusal: no TensorRT, no GPU, or another's engine.
    """
    tensorrt = tensorrt_module()
    cuda = open_cuda(
        str(choice.option("tensorrt.cuda_binding", "auto")),
        choice.gpu or 0,
        str(choice.option("tensorrt.wait", "spin")),
    )
    try:
        model = TensorRtModel(tensorrt, cuda, path, plan, choice)
    except BaseException:
        cuda.close()
        raise
    model.sha256 = sha256
    return model


class TensorRtModel(ModelAbilities):
    """See `LoadedModel`. Inputs and outputs are page-locked arrays, in the model's order."""

    provider = "tensorrt"
    sha256 = ""
    needs_precision_check = False  # an engine was compared when it was built

    def __init__(
        self, tensorrt: Any, cuda: Cuda, path: Path, plan: bytes, choice: BackendChoice
    ) -> None:
        """Load, allocate, capture. Any thread; the GPU's context is current in here only."""
        self._tensorrt, self._cuda, self._path = tensorrt, cuda, path
        self._wants_graph = bool(choice.option("tensorrt.cuda_graph", True))
        self._here = threading.local()  # thread ids are reused; a thread-local is not
        self._lines = log_of(tensorrt)
        facts = read_model_facts(path)
        with self._on_gpu("an engine that runs"):
            self._opened: OpenEngine | None = open_engine(tensorrt, plan, facts)
            self._step: GpuStep | None = GpuStep(cuda, self._opened)
        self._inputs = {name: memory.host for name, memory in self._step.inputs.items()}
        self._outputs: dict[str, Buffer] = {}
        for tensor in facts.outputs:
            memory = self._step.outputs[tensor.name]
            again = tensor.name in self._outputs
            name = f"{tensor.name}{REPEATED}{len(self._outputs)}" if again else tensor.name
            self._outputs[name] = memory.host
        shared = "shared with the CPU" if cuda.integrated else "copied"
        self.facts: dict[str, str] = {
            "device": f"gpu:{choice.gpu or 0} {cuda.gpu} ({cuda.compute})",
            "precision": choice.precision,
            "tensorrt": str(tensorrt.__version__),
            "cuda": f"{cuda.binding}, driver {cuda.driver}",
            "memory": shared,
            "cuda graph": "not captured yet",
        }

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; write in place."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name; overwritten by the next run. Kept states are not among them:
        their arrays stay as they are."""
        return self._outputs

    def run(self) -> None:
        """One inference, in place. Never logs; TensorRT's lines wait in `take_log`.

        Raises:
            TensorRtError, CudaError: it did not run.
        """
        if self._step is None:
            raise RuntimeError("the model is closed")
        if not getattr(self._here, "adopted", False):
            self._cuda.adopt()
            self._here.adopted = True
        self._step.run()

    def warm_up(self, runs: int = 3) -> None:
        """Capture the graph and run on zeros; leaves zeros, and states at their beginning.

        Raises:
            Refusal: it does not run.
        """
        step = self._step
        if step is None:
            raise RuntimeError("the model is closed")
        with self._on_gpu("a model that runs on the GPU"):
            if self._wants_graph:
                why = step.capture() or graph_differs(step)
                if why:
                    step.drop_graph()
                    said_too = said(self._lines.take(), "")
                    self.facts["warning"] = f"no CUDA graph: {why}{said_too and f' ({said_too})'}"
                self.facts["cuda graph"] = f"no: {why}" if why else "yes"
            else:
                self.facts["cuda graph"] = "no: tensorrt.cuda_graph is false"
            for array in self._inputs.values():
                array.fill(0)
            for _ in range(runs):
                step.run()
        for array in self._outputs.values():
            array.fill(0)
        step.begin_anew()

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """Carry recurrent states from output to input on the GPU, after every run from now on.

        `states`: (input, output, initial value), the first two being this model's own arrays.
        Returns what makes the next run begin with the initial values: any thread may call it,
        it neither waits nor touches the GPU. None where an array is not this model's.
        """
        step = self._step
        if step is None:
            raise RuntimeError("the model is closed")
        kept = []
        for given, result, initial in states:
            target = _memory_of(given, step.inputs.values())
            source = _memory_of(result, step.outputs.values())
            if target is None or source is None or source is target:
                return None
            kept.append(State(source, target, initial))
        with self._on_gpu("states that stay there"):
            reset = step.keep(kept)
        self.warm_up(1)  # the graph has to carry them, too
        self.facts["states"] = "on the GPU"
        return reset

    def take_log(self) -> list[str]:
        """TensorRT's warnings and errors since the last call; not for the control thread."""
        return self._lines.take()

    def close(self) -> None:
        """Free graph, engine, device memory. Host arrays live as long as somebody holds one."""
        if self._step is None:
            return
        step, self._step = self._step, None
        with self._noted(), self._entered():
            step.drop_graph()
        with self._noted(), self._entered():
            # The context before the engine before the runtime.
            del step
            self._opened = None
        with self._noted():
            self._cuda.close()

    @contextmanager
    def _entered(self) -> Iterator[None]:
        self._cuda.enter()
        try:
            yield
        finally:
            self._cuda.leave()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """After an error that CUDA does not forget every call fails: the rest is freed all the
        same, and what failed is a line of the log."""
        try:
            yield
        except self._cuda.errors as error:
            self._lines.note(f"closing {self._path.name}: {error}")

    @contextmanager
    def _on_gpu(self, expected: str) -> Iterator[None]:
        """The GPU's context is current, and what fails is a Refusal with TensorRT's words."""
        try:
            with self._entered():
                yield
        except Refusal:
            raise
        except Exception as error:  # CUDA bindings raise types of their own
            text = " ".join(str(error).split()) or type(error).__name__
            words = said(self._lines.take(), "")
            got = f"{text} ({words})" if words else text
            raise refuse(str(self._path), "backend tensorrt", expected, got, REBUILD) from error


def _memory_of(array: Buffer, among: Any) -> Memory | None:
    return next((memory for memory in among if memory.host is array), None)
