"""A model on TensorRT and an NVIDIA GPU. If it cannot run there, `configure` refuses it."""

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
    """Load a model on an engine that this machine built.

    Args:
        choice: device, precision and options.
        path: the ONNX file that the engine was built from.
        sha256: of the ONNX file.
        plan: the serialized engine.

    Raises:
        Refusal: no TensorRT, no GPU, or an engine of another model or machine.
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
    needs_precision_check = False  # the build compared the engine already

    def __init__(
        self, tensorrt: Any, cuda: Cuda, path: Path, plan: bytes, choice: BackendChoice
    ) -> None:
        """Open the engine and allocate its tensors; `warm_up` captures the graph.

        Any thread may call it. The GPU's context is current only during the call.

        Args:
            tensorrt: the module `tensorrt`.
            cuda: the open GPU; `close` closes it.
            path: the ONNX file.
            plan: the serialized engine.
            choice: device, precision and options.
        """
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
        """Input tensors by name; the caller writes them in place."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name; overwritten by the next run.

        Exception: a run does not write the arrays of states that stay on the GPU (`keep_states`).
        """
        return self._outputs

    def run(self) -> None:
        """Run one inference, in place. Never logs; `take_log` returns TensorRT's lines.

        Raises:
            TensorRtError, CudaError: the inference failed.
        """
        if self._step is None:
            raise RuntimeError("the model is closed")
        if not getattr(self._here, "adopted", False):
            self._cuda.adopt()
            self._here.adopted = True
        self._step.run()

    def warm_up(self, runs: int = 3) -> None:
        """Capture the graph and run on zeros.

        Afterwards inputs and outputs are zeros, and the next run begins with the initial states.

        Raises:
            Refusal: the model does not run.
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
        step.restart()

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """From now on, copy recurrent states from output to input on the GPU after every run.

        Args:
            states: (input, output, initial value); input and output are arrays of this model.

        Returns:
            A function that makes the next run begin with the initial values. Any thread may call
            it; it does not wait and does not use the GPU. None if an array is not this model's.
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
        self.warm_up(1)  # captures a graph that also copies the states
        self.facts["states"] = "on the GPU"
        return reset

    def take_log(self) -> list[str]:
        """Return TensorRT's warnings and errors since the last call.

        Do not call it from the control thread.
        """
        return self._lines.take()

    def close(self) -> None:
        """Free graph, engine and device memory. A host array lives until its last reference."""
        if self._step is None:
            return
        step, self._step = self._step, None
        with self._noted(), self._entered():
            step.drop_graph()
        with self._noted(), self._entered():
            # Release in this order: execution context, engine, runtime.
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
        """Log CUDA's errors and continue.

        After a sticky CUDA error every call fails; the remaining parts are still released.
        """
        try:
            yield
        except self._cuda.errors as error:
            self._lines.note(f"closing {self._path.name}: {error}")

    @contextmanager
    def _on_gpu(self, expected: str) -> Iterator[None]:
        """Make the GPU's context current; turn exceptions into a Refusal with TensorRT's lines."""
        try:
            with self._entered():
                yield
        except Refusal:
            raise
        except Exception as error:  # CUDA bindings raise their own types
            text = " ".join(str(error).split()) or type(error).__name__
            words = said(self._lines.take(), "")
            got = f"{text} ({words})" if words else text
            raise refuse(str(self._path), "backend tensorrt", expected, got, REBUILD) from error


def _memory_of(array: Buffer, among: Any) -> Memory | None:
    return next((memory for memory in among if memory.host is array), None)
