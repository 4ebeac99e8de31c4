"""Calls of CUDA's driver that pycuda lacks: stream capture, graphs, a thread's context.

No release of pycuda has stream capture. Its context stack aborts the process when a thread ends
with a context on it. ctypes releases the GIL during every call.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from policy_runner.backends.cuda.interface import CudaError

_POINTER, _REFERENCE = ctypes.c_void_p, ctypes.c_void_p
# Name in the library -> types of the arguments (cuda.h); all return a CUresult.
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuCtxSetCurrent": (_POINTER,),
    "cuStreamBeginCapture_v2": (_POINTER, ctypes.c_int),
    "cuStreamEndCapture": (_POINTER, _REFERENCE),
    "cuGraphInstantiateWithFlags": (_REFERENCE, _POINTER, ctypes.c_ulonglong),
    "cuGraphLaunch": (_POINTER, _POINTER),
    "cuGraphExecDestroy": (_POINTER,),
    "cuGraphDestroy": (_POINTER,),
    "cuGetErrorName": (ctypes.c_int, _REFERENCE),
    "cuGetErrorString": (ctypes.c_int, _REFERENCE),
}
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


def driver_library() -> Any:
    """Load the driver's library.

    Raises:
        OSError: there is none.
    """
    return ctypes.CDLL("libcuda.so.1")


class DriverCalls:
    """Calls of the driver. Handles (context, stream, graph) are ints, as in pycuda."""

    def __init__(self) -> None:
        """Look up every function of `SIGNATURES`.

        Raises:
            CudaError: the driver is too old and lacks one of them.
        """
        library = driver_library()
        self._functions = {}
        for name, arguments in SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                raise CudaError(f"the driver has no {name}: CUDA 11.4 or newer has") from error
            function.argtypes = arguments
            function.restype = ctypes.c_int
            self._functions[name] = function
        self._launch = self._functions["cuGraphLaunch"]

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, self._functions[name](*arguments))

    def _check(self, name: str, status: int) -> None:
        if status:
            texts = []
            for ask in ("cuGetErrorName", "cuGetErrorString"):
                text = ctypes.c_char_p()
                self._functions[ask](status, ctypes.byref(text))
                texts.append(text.value.decode() if text.value else f"CUDA error {status}")
            raise CudaError(f"{name}: {texts[0]} ({texts[1]})")

    def set_current(self, context: int) -> None:
        """Make a context current in this thread. It is not pushed, so there is nothing to pop."""
        self._call("cuCtxSetCurrent", context)

    def begin_capture(self, stream: int) -> None:
        """Begin to record what this thread enqueues on the stream."""
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """End the recording and return its executable graph."""
        recorded, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamEndCapture", stream, ctypes.byref(recorded))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), recorded.value, 0)
        finally:
            self._call("cuGraphDestroy", recorded.value)
        return int(executable.value or 0)

    def abandon_capture(self, stream: int) -> None:
        """End a capture and discard it, also after a failure."""
        recorded = ctypes.c_void_p()
        status = self._functions["cuStreamEndCapture"](stream, ctypes.byref(recorded))
        if not status and recorded.value:
            self._functions["cuGraphDestroy"](recorded.value)

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph on the stream."""
        status = self._launch(graph, stream)
        if status:
            self._check("cuGraphLaunch", status)

    def drop(self, graph: int) -> None:
        """Free a graph."""
        self._call("cuGraphExecDestroy", graph)


_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18  # CUdevice_attribute in cuda.h


@dataclass(frozen=True)
class Gpu:
    """One device."""

    name: str
    compute: str  # compute capability, for example "8.7"
    integrated: bool  # shares the CPU's memory


@dataclass(frozen=True)
class Driver:
    """The driver; `reason` says why it cannot be used."""

    cuda: str = ""  # newest CUDA version that it runs, for example "12.6"
    gpus: tuple[Gpu, ...] = ()
    reason: str = ""


def read_driver(library: str = "libcuda.so.1") -> Driver:
    """Ask the driver for its version and GPUs. Makes no context and takes no GPU memory."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        return Driver(reason=str(error))
    number, count = ctypes.c_int(), ctypes.c_int()
    try:
        _ask(cuda, "cuInit", 0)
        _ask(cuda, "cuDriverGetVersion", ctypes.byref(number))
        version = f"{number.value // 1000}.{number.value % 1000 // 10}"
        _ask(cuda, "cuDeviceGetCount", ctypes.byref(count))
        return Driver(version, tuple(_gpu(cuda, k) for k in range(count.value)))
    except (_Failed, AttributeError) as error:  # AttributeError: the library is not a driver
        return Driver(reason=str(error))


class _Failed(Exception):
    """A driver call that failed, and why."""


def _ask(cuda: ctypes.CDLL, name: str, *given: Any) -> None:
    status = getattr(cuda, name)(*given)
    if status:
        raise _Failed(f"{name}: {_error(cuda, status)}")


def _gpu(cuda: ctypes.CDLL, ordinal: int) -> Gpu:
    device, value = ctypes.c_int(), ctypes.c_int()
    _ask(cuda, "cuDeviceGet", ctypes.byref(device), ordinal)
    name = ctypes.create_string_buffer(128)
    _ask(cuda, "cuDeviceGetName", name, len(name), device)
    found = []
    for attribute in (_MAJOR, _MINOR, _INTEGRATED):
        _ask(cuda, "cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        found.append(value.value)
    major, minor, integrated = found
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", bool(integrated))


def _error(cuda: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorName(status, ctypes.byref(text))
    return text.value.decode() if text.value else f"error {status}"
