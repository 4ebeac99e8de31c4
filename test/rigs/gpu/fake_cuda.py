"""`cuda.bindings.driver`, `pycuda.driver` and libcuda, as far as the backends use them.

Signatures and statuses are those of cuda-bindings 13, pycuda 2026.1 and CUDA's driver. A test
compares every name here with the real packages, if they are installed.
"""

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from fake_gpu import CONTEXT, NAMES, OK, Failure, FakeGpu, the_gpu


def make_bindings() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Return the modules cuda, cuda.bindings and cuda.bindings.driver."""
    gpu = the_gpu()  # objects of this GPU outlive a test and are freed on it
    driver = ModuleType("cuda.bindings.driver")
    driver.CUresult = enum.IntEnum("CUresult", {name: code for code, name in NAMES.items()})
    driver.CUdevice_attribute = enum.IntEnum(
        "CUdevice_attribute",
        {
            "CU_DEVICE_ATTRIBUTE_INTEGRATED": 18,
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
        },
    )
    driver.CUstream_flags = enum.IntEnum("CUstream_flags", {"CU_STREAM_NON_BLOCKING": 1})
    driver.CUevent_flags = enum.IntEnum(
        "CUevent_flags", {"CU_EVENT_BLOCKING_SYNC": 1, "CU_EVENT_DISABLE_TIMING": 2}
    )
    driver.CUstreamCaptureMode = enum.IntEnum(
        "CUstreamCaptureMode", {"CU_STREAM_CAPTURE_MODE_THREAD_LOCAL": 1}
    )
    driver.CU_MEMHOSTALLOC_DEVICEMAP = 2

    def call(body: Callable[..., Any], gives: bool) -> Callable[..., Any]:
        def function(*arguments: Any) -> tuple[Any, ...]:
            gpu.calls.append(body.__name__)
            try:
                value = body(gpu, *arguments)
            except Failure as failure:
                status = driver.CUresult(failure.status)
                return (status, None) if gives else (status,)
            return (driver.CUresult(OK), value) if gives else (driver.CUresult(OK),)

        function.__name__ = body.__name__
        return function

    for body in _BODIES:
        setattr(driver, body.__name__, call(body, body.__annotations__["return"] != "None"))
    driver.cuGetErrorString = lambda status: (driver.CUresult(OK), status.name.lower().encode())
    bindings, cuda = ModuleType("cuda.bindings"), ModuleType("cuda")
    bindings.driver, cuda.bindings = driver, bindings
    for module in (cuda, bindings):
        module.__path__ = []
    return cuda, bindings, driver


def cuInit(gpu: FakeGpu, flags: int) -> None:
    gpu.initialized = True


def cuDeviceGetCount(gpu: FakeGpu) -> int:
    return gpu.count


def cuDeviceGet(gpu: FakeGpu, ordinal: int) -> int:
    gpu.check_device(ordinal)
    return ordinal


def cuDeviceGetName(gpu: FakeGpu, length: int, device: int) -> bytes:
    return gpu.name.encode().ljust(length, b"\0")


def cuDeviceGetAttribute(gpu: FakeGpu, kind: int, device: int) -> int:
    return {18: int(gpu.integrated), 75: gpu.compute[0], 76: gpu.compute[1]}[int(kind)]


def cuDriverGetVersion(gpu: FakeGpu) -> int:
    return gpu.driver


def cuDevicePrimaryCtxRetain(gpu: FakeGpu, device: int) -> int:
    gpu.retained += 1
    return CONTEXT


def cuCtxPushCurrent(gpu: FakeGpu, context: int) -> None:
    gpu.stack.append(context)


def cuCtxPopCurrent(gpu: FakeGpu) -> int:
    gpu.demand()
    return gpu.stack.pop()


def cuCtxSetCurrent(gpu: FakeGpu, context: int) -> None:
    if gpu.stack:
        gpu.stack.pop()
    gpu.stack.append(int(context))


def cuMemHostAlloc(gpu: FakeGpu, nbytes: int, flags: int) -> int:
    return gpu.host_alloc(nbytes)


def cuMemHostGetDevicePointer(gpu: FakeGpu, address: int, flags: int) -> int:
    return gpu.host_device_pointer(int(address))


def cuMemFreeHost(gpu: FakeGpu, address: int) -> None:
    gpu.host_free(int(address))


def cuMemAlloc(gpu: FakeGpu, nbytes: int) -> int:
    return gpu.alloc(nbytes)


def cuMemFree(gpu: FakeGpu, address: int) -> None:
    gpu.free(int(address))


def cuMemcpyHtoDAsync(gpu: FakeGpu, target: int, source: int, n: int, stream: int) -> None:
    gpu.copy_in(target, lambda: gpu.host_bytes(source, n), n, stream)


def cuMemcpyDtoHAsync(gpu: FakeGpu, target: int, source: int, n: int, stream: int) -> None:
    gpu.copy_out(lambda: gpu.host_bytes(target, n), source, n, stream)


def cuMemcpyDtoDAsync(gpu: FakeGpu, target: int, source: int, n: int, stream: int) -> None:
    gpu.copy_inside(target, source, n, stream)


def cuStreamCreate(gpu: FakeGpu, flags: int) -> int:
    return gpu.stream_create(flags)


def cuStreamSynchronize(gpu: FakeGpu, stream: int) -> None:
    gpu.synchronize(int(stream))


def cuStreamDestroy(gpu: FakeGpu, stream: int) -> None:
    gpu.stream_destroy(int(stream))


def cuEventCreate(gpu: FakeGpu, flags: int) -> int:
    return gpu.event_create(flags)


def cuEventRecord(gpu: FakeGpu, event: int, stream: int) -> None:
    gpu.stream(stream)
    gpu.events[event] = stream


def cuEventSynchronize(gpu: FakeGpu, event: int) -> None:
    gpu.synchronize(gpu.events[event])


def cuEventDestroy(gpu: FakeGpu, event: int) -> None:
    gpu.destroy(gpu.events, event)


def cuStreamBeginCapture(gpu: FakeGpu, stream: int, mode: int) -> None:
    gpu.begin_capture(int(stream), int(mode))


def cuStreamEndCapture(gpu: FakeGpu, stream: int) -> int:
    return gpu.end_capture(int(stream))


def cuGraphInstantiate(gpu: FakeGpu, graph: int, flags: int) -> int:
    return gpu.instantiate(graph)


def cuGraphLaunch(gpu: FakeGpu, graph: int, stream: int) -> None:
    gpu.launch(int(graph), int(stream))


def cuGraphExecDestroy(gpu: FakeGpu, graph: int) -> None:
    gpu.destroy(gpu.executables, int(graph))


def cuGraphDestroy(gpu: FakeGpu, graph: int) -> None:
    gpu.destroy(gpu.graphs, int(graph))


_BODIES = [one for name, one in list(globals().items()) if name.startswith("cu")]


class FakeLibrary:
    """libcuda.so.1 as ctypes shows it: returns statuses, writes values through references."""

    def __init__(self) -> None:
        self._gpu = the_gpu()

    def __getattr__(self, name: str) -> Any:
        bodies = {
            "cuCtxSetCurrent": cuCtxSetCurrent,
            "cuStreamBeginCapture_v2": cuStreamBeginCapture,
            "cuStreamEndCapture": lambda gpu, stream, out: _put(out, gpu.end_capture(stream)),
            "cuGraphInstantiateWithFlags": lambda gpu, out, graph, flags: _put(
                out, gpu.instantiate(graph)
            ),
            "cuGraphLaunch": cuGraphLaunch,
            "cuGraphExecDestroy": cuGraphExecDestroy,
            "cuGraphDestroy": cuGraphDestroy,
            "cuGetErrorName": lambda gpu, status, out: _put(out, NAMES[status].encode()),
            "cuGetErrorString": lambda gpu, status, out: _put(out, NAMES[status].lower().encode()),
        }
        if name not in bodies:
            raise AttributeError(name)

        def function(*arguments: Any) -> int:
            self._gpu.calls.append(name)
            try:
                bodies[name](self._gpu, *arguments)
            except Failure as failure:
                return failure.status
            return OK

        function = SimpleFunction(function)
        self.__dict__[name] = function
        return function


class SimpleFunction:
    """A callable with `argtypes` and `restype`, like ctypes' functions."""

    def __init__(self, body: Callable[..., int]) -> None:
        self._body = body
        self.argtypes: tuple[Any, ...] = ()
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> int:
        assert self.restype is ctypes.c_int, "without restype ctypes cuts pointers"
        assert len(self.argtypes) == len(arguments)
        return self._body(*arguments)


def _put(reference: Any, value: Any) -> None:
    reference._obj.value = value


def make_pycuda() -> tuple[ModuleType, ModuleType]:
    """Return the modules pycuda and pycuda.driver."""
    gpu = the_gpu()  # objects of this GPU outlive a test and are freed on it
    pycuda, driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
    pycuda.__path__ = []
    pycuda.VERSION_TEXT = "2026.1"
    pycuda.driver = driver
    driver.Error = type("Error", (Exception,), {})
    driver.LogicError = type("LogicError", (driver.Error,), {})

    def guarded(body: Callable[..., Any]) -> Callable[..., Any]:
        def function(*arguments: Any, **named: Any) -> Any:
            try:
                return body(*arguments, **named)
            except Failure as failure:
                raise driver.LogicError(f"{body.__name__} failed: {failure}") from None

        return function

    here = threading.local()

    class Context:
        """pycuda has a stack for each thread; it aborts the process if a thread leaves an entry."""

        handle = CONTEXT
        left: dict[str, int] = {}  # noqa: RUF012 - thread name -> entries on its stack

        @guarded
        def push(self) -> None:
            gpu.demand_initialized()
            gpu.stack.append(CONTEXT)
            self._count(+1)

        @staticmethod
        @guarded
        def pop() -> None:
            if getattr(here, "entries", 0) < 1:
                raise driver.LogicError("context::pop failed: cannot pop non-current context")
            gpu.stack.pop()
            Context._count(-1)

        def detach(self) -> None:
            gpu.retained -= 1
            gpu.stack.pop()
            self._count(-1)

        @staticmethod
        def _count(change: int) -> None:
            here.entries = getattr(here, "entries", 0) + change
            Context.left[threading.current_thread().name] = here.entries

    class Device:
        """A device by its number."""

        @guarded
        def __init__(self, ordinal: int) -> None:
            gpu.check_device(ordinal)

        @staticmethod
        def count() -> int:
            return gpu.count

        def name(self) -> str:
            return gpu.name

        def compute_capability(self) -> tuple[int, int]:
            return gpu.compute

        def get_attribute(self, kind: str) -> int:
            return {"INTEGRATED": int(gpu.integrated)}[kind]

        def retain_primary_context(self) -> Context:
            gpu.retained += 1
            return Context()

    class Stream:
        @guarded
        def __init__(self, flags: int = 0) -> None:
            self.handle = gpu.stream_create(flags)

        @guarded
        def synchronize(self) -> None:
            gpu.synchronize(self.handle)

        def __del__(self) -> None:
            gpu.streams.pop(getattr(self, "handle", 0), None)

    class Event:
        @guarded
        def __init__(self, flags: int = 0) -> None:
            self._number = gpu.event_create(flags)

        @guarded
        def record(self, stream: Any = None) -> None:
            gpu.events[self._number] = stream.handle

        @guarded
        def synchronize(self) -> None:
            gpu.synchronize(gpu.events[self._number])

        def __del__(self) -> None:
            gpu.events.pop(getattr(self, "_number", 0), None)

    class DeviceAllocation:
        @guarded
        def __init__(self, nbytes: int) -> None:
            self._address = gpu.alloc(nbytes)

        def __int__(self) -> int:
            return self._address

        @guarded
        def free(self) -> None:
            gpu.free(self._address)

    @guarded
    def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        count = int(np.prod(shape, dtype=int))
        address = gpu.host_alloc(count * np.dtype(dtype).itemsize)
        flat = np.frombuffer(gpu.host_pages(address), dtype=dtype, count=count)
        host = flat.reshape(shape).view(_Pagelocked)
        host.mapped_at = (lambda: gpu.host_device_pointer(address)) if mem_flags & 2 else None
        return host

    @guarded
    def memcpy_htod_async(target: int, source: Any, stream: Any = None) -> None:
        assert source.flags.c_contiguous
        gpu.copy_in(target, lambda: _flat(source), source.nbytes, stream.handle)

    @guarded
    def memcpy_dtoh_async(target: Any, source: int, stream: Any = None) -> None:
        gpu.copy_out(lambda: _flat(target), source, target.nbytes, stream.handle)

    @guarded
    def memcpy_dtod_async(target: int, source: int, size: int, stream: Any = None) -> None:
        gpu.copy_inside(target, source, size, stream.handle)

    def init(flags: int = 0) -> None:
        gpu.initialized = True

    driver.init = init
    driver.get_driver_version = lambda: gpu.driver
    driver.device_attribute = SimpleNamespace(INTEGRATED="INTEGRATED")
    driver.host_alloc_flags = SimpleNamespace(DEVICEMAP=2)
    driver.event_flags = SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2)
    for one in (Context, Device, Stream, Event, DeviceAllocation):
        setattr(driver, one.__name__, one)
    driver.mem_alloc = DeviceAllocation
    for function, name in (
        (pagelocked_empty, "pagelocked_empty"),
        (memcpy_htod_async, "memcpy_htod_async"),
        (memcpy_dtoh_async, "memcpy_dtoh_async"),
        (memcpy_dtod_async, "memcpy_dtod_async"),
    ):
        setattr(driver, name, function)
    return pycuda, driver


class _Pagelocked(np.ndarray):
    """An array whose `base` knows its device pointer, as pycuda's does."""

    mapped_at: Callable[[], int] | None = None

    @property
    def base(self) -> Any:
        return SimpleNamespace(get_device_pointer=self._device_pointer)

    def _device_pointer(self) -> int:
        assert self.mapped_at is not None, "not allocated with DEVICEMAP"
        return self.mapped_at()


def _flat(array: Any) -> memoryview:
    return memoryview(np.asarray(array).reshape(-1).view(np.uint8)).cast("B")
