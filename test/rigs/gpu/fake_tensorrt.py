"""The module `tensorrt` of four versions, with TensorRT's rules and ONNX Runtime's numbers.

Each version has exactly the names of the real version; a test compares them with the real
bindings if they are installed. Failures are reported like TensorRT does: a line in the log, and
None or False.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import time
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from fake_gpu import Failure, the_gpu
from google.protobuf.message import DecodeError

VERSIONS = ("8.6.1", "10.3.0", "10.13.3", "11.4.0")
MAGIC = b"FAKE PLAN\n"
_ONNX_TYPES = {
    onnx.TensorProto.FLOAT: ("FLOAT", np.float32),
    onnx.TensorProto.FLOAT16: ("HALF", np.float16),
    onnx.TensorProto.INT32: ("INT32", np.int32),
    onnx.TensorProto.INT64: ("INT64", np.int64),
    onnx.TensorProto.BOOL: ("BOOL", np.bool_),
}


def _enum(name: str, **members: int) -> Any:
    return enum.IntEnum(name, members)


def make_tensorrt(version: str) -> ModuleType:
    """Return the module of one of VERSIONS."""
    number = tuple(int(part) for part in version.split(".")[:2])
    trt = ModuleType("tensorrt")
    trt.__version__ = version
    severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])
    if number < (10, 0):
        trt.NetworkDefinitionCreationFlag = _enum("N", EXPLICIT_BATCH=0, EXPLICIT_PRECISION=1)
    elif number < (11, 0):
        trt.NetworkDefinitionCreationFlag = _enum("N", EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    else:
        trt.NetworkDefinitionCreationFlag = _enum("N", STRONGLY_TYPED=0)
    trt.BuilderFlag = (
        _enum("B", TF32=6) if number >= (11, 0) else _enum("B", FP16=0, INT8=1, TF32=6)
    )
    trt.MemoryPoolType = _enum("M", WORKSPACE=0)
    trt.TensorIOMode = _enum("TensorIOMode", NONE=0, INPUT=1, OUTPUT=2)
    trt.TensorLocation = _enum("TensorLocation", DEVICE=0, HOST=1)
    kinds = ["FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8"]
    kinds += ["BF16", "INT64"] if number >= (10, 0) else []
    trt.DataType = enum.Enum("DataType", kinds)

    class ILogger:
        Severity = severity

        def __init__(self) -> None:
            self._constructed = True

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError

    def say(logger: Any, kind: str, text: str) -> None:
        assert logger._constructed, "ILogger.__init__ was not called: pybind would raise"
        logger.log(severity[kind], text)

    class ITensor:
        def __init__(self, info: Any) -> None:
            kind = info.type.tensor_type
            self.name = info.name
            self.dtype = trt.DataType[_kind(kind.elem_type, number)]
            dims = kind.shape.dim
            self.shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)

    class ILayer:
        def __init__(self, dtype: Any) -> None:
            self._output = type("ITensor", (), {"dtype": dtype})()
            self.num_outputs = 1

        def get_output(self, index: int) -> Any:
            return self._output

    class INetworkDefinition:
        def __init__(self, flags: int, logger: Any) -> None:
            self._flags, self._logger, self._model = flags, logger, None
            self._inputs: list[Any] = []
            self._outputs: list[Any] = []
            self._layers: list[Any] = []

        def _has(self, name: str) -> bool:
            flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
            return flag is not None and bool(self._flags & (1 << int(flag)))

        num_inputs = property(lambda self: len(self._inputs))
        num_outputs = property(lambda self: len(self._outputs))
        num_layers = property(lambda self: len(self._layers))

        def get_input(self, index: int) -> Any:
            return self._inputs[index]

        def get_output(self, index: int) -> Any:
            tensor = self._outputs[index]
            if tensor.shape[:1] == (-1,) and not any(-1 in one.shape for one in self._inputs):
                tensor.shape = (1, *tensor.shape[1:])
            return tensor

        def get_layer(self, index: int) -> Any:
            return self._layers[index]

    class ParserError:
        def __init__(self, node: int, text: str) -> None:
            self._node, self._text = node, text

        def node(self) -> int:
            return self._node

        def desc(self) -> str:
            return self._text

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self._network, self._logger = network, logger
            self._errors: list[Any] = []

        num_errors = property(lambda self: len(self._errors))

        def get_error(self, index: int) -> Any:
            return self._errors[index]

        def parse_from_file(self, model: str) -> bool:
            assert isinstance(model, str), "TypeError: incompatible function arguments"
            try:
                loaded = onnx.load(model)
            except DecodeError as error:
                self._errors.append(ParserError(-1, f"Failed to parse ONNX model: {error}"))
                return False
            return self._take(loaded)

        def parse(self, model: bytes, path: str | None = None) -> bool:
            return self._take(onnx.load_from_string(model))

        def _take(self, model: Any) -> bool:
            network = self._network
            if number < (10, 0) and not network._has("EXPLICIT_BATCH"):
                self._errors.append(ParserError(-1, "This version only supports explicit batch"))
            if os.environ.get("FAKE_TRT_FAIL") == "parse":
                self._errors.append(ParserError(0, "told to fail"))
            known = {one.domain for one in model.opset_import if one.domain in ("", "ai.onnx")}
            for k, node in enumerate(model.graph.node):
                if node.domain not in known:
                    text = f"Plugin not found: {node.op_type}"
                    say(self._logger, "ERROR", text)
                    self._errors.append(ParserError(k, text))
            if self._errors:
                return False
            network._model = model
            network._inputs = [ITensor(one) for one in model.graph.input]
            network._outputs = [ITensor(one) for one in model.graph.output]
            stored = {one.data_type for one in model.graph.initializer}
            half = onnx.TensorProto.FLOAT16 in stored
            network._layers = [ILayer(trt.DataType.HALF if half else trt.DataType.FLOAT)]
            return True

    class IBuilderConfig:
        def __init__(self) -> None:
            self._flags = {trt.BuilderFlag.TF32}
            self._limits: dict[Any, int] = {}
            self.builder_optimization_level = 3

        def set_flag(self, flag: Any) -> None:
            assert isinstance(flag, trt.BuilderFlag)
            self._flags.add(flag)

        def clear_flag(self, flag: Any) -> None:
            assert isinstance(flag, trt.BuilderFlag)
            self._flags.discard(flag)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self._limits[trt.MemoryPoolType(pool)] = pool_size

    class Builder:
        def __init__(self, logger: Any) -> None:
            if os.environ.get("FAKE_TRT_FAIL") == "builder":
                say(logger, "ERROR", "Unable to load library: libnvinfer_builder_resource")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def create_network(self, flags: int = 0) -> Any:
            known = sum(1 << int(flag) for flag in trt.NetworkDefinitionCreationFlag)
            assert flags & ~known == 0, "a flag that this version has not"
            return INetworkDefinition(flags, self._logger)

        def create_builder_config(self) -> Any:
            return IBuilderConfig()

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            half = getattr(trt.BuilderFlag, "FP16", None) in config._flags
            open_sizes = [one.name for one in network._inputs if -1 in one.shape]
            problem = None
            if os.environ.get("FAKE_TRT_FAIL") == "build":
                problem = "Could not find any implementation for node {ForeignNode}"
            elif half and network._has("STRONGLY_TYPED"):
                problem = "FP16 is not allowed in strongly typed networks"
            elif open_sizes:
                problem = f"dynamic input {open_sizes[0]} has no optimization profile"
            elif number < (10, 12) and not half and _stores_half(network._model):
                problem = "half precision weights without BuilderFlag.FP16"
            elif config._limits.get(trt.MemoryPoolType.WORKSPACE, 1) < 1:
                problem = "no workspace"
            if problem:
                say(self._logger, "ERROR", problem)
                return None
            if not self._wait(getattr(config, "progress_monitor", None)):
                return None
            header = {
                "version": version,
                "gpu": the_gpu().name,
                "half": half,
                "tf32": trt.BuilderFlag.TF32 in config._flags,
                "typed": network._has("STRONGLY_TYPED"),
                "level": config.builder_optimization_level,
                "shapes": {one.name: one.shape for one in network._inputs},
            }
            body = json.dumps(header).encode() + b"\n" + network._model.SerializeToString()
            return bytearray(MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

        def _wait(self, monitor: Any) -> bool:
            steps, goes_on = 4, True
            if monitor is not None:
                monitor.phase_start("Building Engine", None, steps)
                monitor.phase_start("Tactic selection", "Building Engine", 1)
                monitor.phase_finish("Tactic selection")
            for step in range(steps):
                time.sleep(float(os.environ.get("FAKE_TRT_BUILD_SECONDS", "0")) / steps)
                if monitor is not None:
                    goes_on = goes_on and monitor.step_complete("Building Engine", step)
            if monitor is not None:
                monitor.phase_finish("Building Engine")
            return goes_on

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
            the_gpu().demand()
            plan = bytes(serialized_engine)
            digest, _, body = plan.removeprefix(MAGIC).partition(b"\n")
            if not plan.startswith(MAGIC) or hashlib.sha256(body).hexdigest() != digest.decode():
                say(self._logger, "ERROR", "IRuntime::deserializeCudaEngine: Error Code 1: magic")
                return None
            header, _, model = body.partition(b"\n")
            facts = json.loads(header)
            if facts["version"] != version or facts["gpu"] != the_gpu().name:
                say(self._logger, "ERROR", "The engine plan file is not compatible with this TRT")
                return None
            return ICudaEngine(facts, model, self._logger)

    class ICudaEngine:
        def __init__(self, facts: dict[str, Any], model: bytes, logger: Any) -> None:
            self._facts, self._logger = facts, logger
            self._session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
            graph = onnx.load_from_string(model).graph
            self._tensors = {}
            # Sorted: TensorRT does not keep the model's order.
            for is_input, given in ((False, graph.output), (True, graph.input)):
                for one in sorted(given, key=lambda info: info.name):
                    tensor = ITensor(one)
                    shape = tuple(facts["shapes"].get(one.name, tensor.shape))
                    shape = (1, *shape[1:]) if shape and shape[0] == -1 else shape
                    stored = _ONNX_TYPES[one.type.tensor_type.elem_type][1]
                    dtype = np.int32 if tensor.dtype.name == "INT32" else stored
                    self._tensors[one.name] = (is_input, tensor.dtype, shape, dtype, stored)

        num_io_tensors = property(lambda self: len(self._tensors))

        def get_tensor_name(self, index: int) -> str:
            return list(self._tensors)[index]

        def get_tensor_mode(self, name: str) -> Any:
            mode = trt.TensorIOMode
            return mode.INPUT if self._tensors[name][0] else mode.OUTPUT

        def get_tensor_dtype(self, name: str) -> Any:
            return self._tensors[name][1]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self._tensors[name][2]

        def get_tensor_location(self, name: str) -> Any:
            return trt.TensorLocation.DEVICE

        def create_execution_context(self) -> Any:
            the_gpu().demand(capturing_is_fine=False)
            return None if os.environ.get("FAKE_TRT_FAIL") == "context" else IExecutionContext(self)

    class IExecutionContext:
        def __init__(self, engine: Any) -> None:
            self._engine = engine  # the fake does not detect an engine that is freed too early
            self._addresses: dict[str, int] = {}
            self._warm = False

        def set_tensor_address(self, name: str, memory: int) -> bool:
            assert isinstance(memory, int)
            if name not in self._engine._tensors or memory % 256 or not memory:
                say(self._engine._logger, "ERROR", f"setTensorAddress: bad address for {name}")
                return False
            self._addresses[name] = memory
            return True

        def infer_shapes(self) -> list[str]:
            return []

        def execute_async_v3(self, stream_handle: int) -> bool:
            engine, gpu = self._engine, the_gpu()
            missing = engine._tensors.keys() - self._addresses.keys()
            try:
                if missing:
                    raise ValueError(f"Address is not set for output tensor {sorted(missing)[0]}")
                if stream_handle == 0:
                    say(engine._logger, "WARNING", "Using default stream may lead to performance")
                stream = gpu.stream(stream_handle)
                if stream.recording is not None and (gpu.refuse_capture or not self._warm):
                    stream.spoiled = True
                    raise ValueError("operation not permitted when stream is capturing")
                addresses = dict(self._addresses)
                gpu.enqueue(stream_handle, lambda: _compute(engine, addresses))
            except (Failure, ValueError) as error:
                say(engine._logger, "ERROR", f"IExecutionContext::enqueueV3: {error}")
                return False
            self._warm = True
            return True

    if number >= (10, 0):

        class IProgressMonitor:
            def __init__(self) -> None:
                pass

            def phase_start(self, phase_name: str, parent: str | None, steps: int) -> None:
                raise NotImplementedError

            def step_complete(self, phase_name: str, step: int) -> bool:
                raise NotImplementedError

            def phase_finish(self, phase_name: str) -> None:
                raise NotImplementedError

        trt.IProgressMonitor = IProgressMonitor
    for made in (
        ILogger, ITensor, ILayer, INetworkDefinition, ParserError, OnnxParser, IBuilderConfig,
        Builder, Runtime, ICudaEngine, IExecutionContext,
    ):  # fmt: skip
        setattr(trt, made.__name__, made)
    return trt


def _compute(engine: Any, addresses: dict[str, int]) -> None:
    gpu = the_gpu()
    fed = {}
    for name, (is_input, _, shape, dtype, stored) in engine._tensors.items():
        if is_input:
            nbytes = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
            values = np.frombuffer(bytes(gpu.resolve(addresses[name], nbytes)), dtype)
            fed[name] = values.reshape(shape).astype(stored)
    names = [one.name for one in engine._session.get_outputs()]
    for name, values in zip(names, engine._session.run(names, fed), strict=True):
        if engine._facts["half"] and values.dtype == np.float32:
            values = values.astype(np.float16).astype(np.float32)
        content = np.ascontiguousarray(values, engine._tensors[name][3]).tobytes()
        gpu.resolve(addresses[name], len(content))[:] = content


def _kind(elem_type: int, number: tuple[int, ...]) -> str:
    name = _ONNX_TYPES[elem_type][0]
    return "INT32" if name == "INT64" and number < (10, 0) else name  # version 8 has no INT64


def _stores_half(model: Any) -> bool:
    return any(one.data_type == onnx.TensorProto.FLOAT16 for one in model.graph.initializer)


def plan_facts(plan: bytes) -> dict[str, Any]:
    """Return the facts that a fake plan was built with."""
    return json.loads(plan.removeprefix(MAGIC).split(b"\n")[1])


def fake_from_environment() -> ModuleType:
    """Return the fake for a child process: FAKE_TRT_VERSION names the version."""
    return make_tensorrt(os.environ.get("FAKE_TRT_VERSION", "10.3.0"))
