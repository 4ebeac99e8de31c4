"""An `onnxruntime` with GPU providers that keeps the real one's contracts, on the CPU.

Observed on the real one (1.31.1, wheels with and without CUDA): the list of available providers
is compiled in. A CUDA provider that cannot be created is dropped without an exception. TensorRT's
raises, and the Python layer then retries on the CPU unless `enable_fallback=0`.
disable_cpu_ep_fallback refuses nodes on the CPU, and the CPU in the list. The assignment needs
its entry. Host tensors bound to a GPU session are copied when they are bound, not when it runs.
A captured graph replays addresses. Numbers come from the real CPU provider.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import types
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as real

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
_ADDRESSES = itertools.count(0x7F0000000000, 256)


class Fail(Exception):
    """ORT's status codes are its own exceptions, not RuntimeErrors."""


@dataclass
class Machine:
    """What exists on the machine, and what is broken."""

    built: tuple[str, ...] = (TENSORRT, CUDA, CPU)
    works: tuple[str, ...] = (TENSORRT, CUDA)  # providers whose libraries load
    gpus: int = 1
    lacks: tuple[str, ...] = ()  # operators that run on the CPU only
    kernels: bool = True  # the wheel has code for this GPU
    error: float = 0.0  # added to every output of a GPU
    replays_first: bool = False  # a graph that never reads its input again
    tells_assignment: bool = True  # 1.31 does, 1.23 does not
    sessions: list[Any] = field(default_factory=list)


class Value:
    """An OrtValue on the device."""

    def __init__(self, array: np.ndarray, machine: Machine, device_id: int) -> None:
        if device_id >= machine.gpus or CUDA not in machine.works:
            raise RuntimeError("CUDA Provider not available, can't get interface for it")
        self.memory, self.address = np.array(array), next(_ADDRESSES)

    def update_inplace(self, array: np.ndarray) -> None:
        if array.size != self.memory.size:
            raise RuntimeError("The input size of numpy arrays does not match")
        # 1.23 reads on from the first element; 1.31 makes a copy first.
        assert array.flags.c_contiguous, "strides that not every version looks at"
        # The bytes are copied without a check of their type.
        content = array.tobytes()[: self.memory.nbytes]
        self.memory.reshape(-1).view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)

    def numpy(self) -> np.ndarray:
        return self.memory.copy()  # from a device, always a copy

    def device_name(self) -> str:
        return "cuda"

    def data_ptr(self) -> int:
        return self.address


class Binding:
    """SessionIOBinding of a GPU session."""

    def __init__(self) -> None:
        self.inputs: dict[str, np.ndarray] = {}
        self.outputs: dict[str, Any] = {}

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        # A host tensor is copied to the device here, once.
        self.inputs[name] = value.memory if isinstance(value, Value) else value.numpy().copy()

    def bind_ortvalue_output(self, name: str, value: Any) -> None:
        self.outputs[name] = value


class Part:
    """One subgraph of the assignment."""

    def __init__(self, ep_name: str, count: int) -> None:
        self.ep_name, self._count = ep_name, count

    def get_nodes(self) -> list[object]:
        return [object()] * self._count


class Session:
    """Replaces `InferenceSession` if a GPU was requested."""

    machine: Machine

    def __init__(
        self, path: str, sess_options: Any = None, providers: Any = None, **words: Any
    ) -> None:
        self._enable_fallback = int(words.get("enable_fallback", 1)) == 1
        self._options = sess_options or real.SessionOptions()
        self._path = path
        self.machine.sessions.append(self)
        asked = [(p, {}) if isinstance(p, str) else p for p in providers]
        try:
            self._create(asked)
        except (ValueError, RuntimeError) as error:
            if not self._enable_fallback:
                raise
            print(f"EP Error {error} when using {providers}")  # noqa: T201 (as the real one)
            self._create([(CPU, {})])
            self._enable_fallback = False

    def _entry(self, key: str) -> str:
        try:
            return str(self._options.get_session_config_entry(key))
        except RuntimeError:
            return ""

    def _create(self, asked: list[tuple[str, dict[str, str]]]) -> None:
        made = []
        for name, options in asked:
            if name not in self.machine.built:
                warnings.warn(f"Specified provider '{name}' is not available", stacklevel=2)
                if name not in (CUDA, TENSORRT, CPU):
                    raise RuntimeError(f"Unknown Provider Type: {name}")
            if name == TENSORRT and name in self.machine.built and name not in self.machine.works:
                raise RuntimeError("Please install TensorRT libraries as mentioned in ...")
            if name in self.machine.works and int(options["device_id"]) >= self.machine.gpus:
                raise RuntimeError(
                    '/src/provider_info.cc:63 Failed to parse provider option "device_id": CUDA '
                    "failure 101: invalid device ordinal ; GPU=-1 ; hostname=robot ; file=/src/..."
                )
            if name in (*self.machine.works, CPU) and name in self.machine.built:
                made.append((name, {key: str(value) for key, value in options.items()}))
        no_cpu = self._entry("session.disable_cpu_ep_fallback") == "1"
        if no_cpu and any(name == CPU for name, _ in made):
            raise Fail("Conflicting session configuration: explicitly added the CPU EP")
        settings = real.SessionOptions()
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        settings.graph_optimization_level = real.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._real = real.InferenceSession(self._path, settings, providers=[CPU])
        self._names = [name for name, _ in made] + [CPU] * all(name != CPU for name, _ in made)
        first = self._names[0]
        self._nodes: dict[str, int] = {}
        for node in _operators(Path(self._path)):
            where = CPU if node in self.machine.lacks else first
            self._nodes[where] = self._nodes.get(where, 0) + 1
        if no_cpu and self._nodes.get(CPU):
            raise Fail("This session contains graph nodes that are assigned to the default CPU EP")
        flags = made[0][1] if made else {}
        self._graph = "1" in (flags.get("enable_cuda_graph"), flags.get("trt_cuda_graph_enable"))
        if self._graph and len(self._nodes) > 1:
            raise Fail("This session cannot use the graph capture feature as requested")
        self._captured: dict[str, np.ndarray] | None = None
        self._runs, self.flags = 0, flags
        if first == TENSORRT and flags.get("trt_engine_cache_enable") == "1":
            (Path(flags["trt_engine_cache_path"]) / "TRT_0_sm87.engine").write_bytes(b"engine")

    def get_providers(self) -> list[str]:
        return list(self._names)

    def disable_fallback(self) -> None:
        self._enable_fallback = False

    def get_inputs(self) -> list[Any]:
        return list(self._real.get_inputs())

    def get_outputs(self) -> list[Any]:
        return list(self._real.get_outputs())

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding) -> None:
        if not self.machine.kernels:
            raise Fail("CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available; x")
        self._runs += 1
        fed = binding.inputs
        if self._graph and self._captured is not None:
            # A capture stores addresses: the arrays of that time, not those bound now.
            fed = self._captured
        elif self._graph:
            copies = {name: array.copy() for name, array in fed.items()}
            self._captured = copies if self.machine.replays_first else dict(fed)
        values = self._real.run(None, dict(fed))
        for output, value in zip(self.get_outputs(), values, strict=True):
            if output.name in binding.outputs:
                wrong = value + value.dtype.type(self.machine.error)
                binding.outputs[output.name].memory[...] = wrong

    def end_profiling(self) -> str:
        events = [
            {"cat": "Node", "name": f"{provider} {k}", "args": {"provider": provider}}
            for provider, count in self._nodes.items()
            for k in range(count)
        ]
        path = Path(f"{self._options.profile_file_prefix}_1.json")
        path.write_text(json.dumps([{"cat": "Session", "name": "load"}, *events]))
        return str(path)


class TellingSession(Session):
    """The session of 1.31, which reports its assignment."""

    def get_provider_graph_assignment_info(self) -> list[Part]:
        if self._entry("session.record_ep_graph_assignment_info") != "1":
            raise Fail("Session configuration entry must be set to 1")
        return [Part(name, count) for name, count in self._nodes.items()]


def _operators(path: Path) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


def install(monkeypatch: Any, folder: Path, machine: Machine) -> types.ModuleType:
    """Install the fake in place of the real module; its libraries are in `folder`."""
    base = TellingSession if machine.tells_assignment else Session
    session = type("InferenceSession", (base,), {"machine": machine})

    def make(path: Any, *given: Any, **words: Any) -> Any:
        if words.get("providers") == [CPU]:
            return real.InferenceSession(path, *given, **words)
        return session(path, *given, **words)

    make.get_provider_graph_assignment_info = True  # type: ignore[attr-defined]
    if not machine.tells_assignment:
        del make.get_provider_graph_assignment_info  # type: ignore[attr-defined]

    class OrtValue:
        """An OrtValue on the host or on the device."""

        @staticmethod
        def ortvalue_from_numpy(array: np.ndarray, kind: str = "cpu", number: int = 0) -> Any:
            if kind == "cpu":
                return real.OrtValue.ortvalue_from_numpy(array)
            return Value(array, machine, number)

    module = types.ModuleType("onnxruntime")
    for name in ("SessionOptions", "ExecutionMode", "GraphOptimizationLevel", "__version__"):
        setattr(module, name, getattr(real, name))
    module.InferenceSession = make  # type: ignore[attr-defined]
    module.OrtValue = OrtValue  # type: ignore[attr-defined]
    module.get_available_providers = lambda: list(machine.built)  # type: ignore[attr-defined]
    module.set_default_logger_severity = lambda _level: None  # type: ignore[attr-defined]
    module.preload_dlls = lambda: print("Failed to load")  # type: ignore[attr-defined] # noqa: T201
    capi = folder / "fake_onnxruntime" / "capi"
    capi.mkdir(parents=True)
    # Any library that loads is good enough for the loader.
    shared = next((Path(real.__file__).parent / "capi").glob("libonnxruntime_providers_shared*"))
    shutil.copy(shared, capi / "libonnxruntime_providers_shared.so")
    for name, file in ((CUDA, "cuda"), (TENSORRT, "tensorrt")):
        if name in machine.works:
            shutil.copy(shared, capi / f"libonnxruntime_providers_{file}.so")
        elif name in machine.built:
            (capi / f"libonnxruntime_providers_{file}.so").write_bytes(b"\x7fELF")
    module.__file__ = str(capi.parent / "__init__.py")
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return module
