"""The calls of CUDA's driver that pycuda lacks: stream capture, graphs, a thread's context.

pycuda has no stream capture in any release, and its own stack of contexts ends the process when
a thread that pushed one ends. ctypes lets go of the GIL during every call.
"""

from __future__ import annotations

import ctypes
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
    """The driver's own library; OSError where there is none."""
    return ctypes.CDLL("libcuda.so.1")


class DriverCalls:
    """Handles are ints, as pycuda gives them."""

    def __init__(self) -> None:
        """Raises CudaError where the driver is too old to have one of the calls."""
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
        """Make a context current in this thread; no stack, so nothing to give back."""
        self._call("cuCtxSetCurrent", context)

    def begin_capture(self, stream: int) -> None:
        """Record what this thread enqueues on the stream."""
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """The executable graph of what was recorded."""
        recorded, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamEndCapture", stream, ctypes.byref(recorded))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), recorded.value, 0)
        finally:
            self._call("cuGraphDestroy", recorded.value)
        return int(executable.value or 0)

    def abandon_capture(self, stream: int) -> None:
        """End a capture, whatever became of it."""
        recorded = ctypes.c_void_p()
        status = self._functions["cuStreamEndCapture"](stream, ctypes.byref(recorded))
        if not status and recorded.value:
            self._functions["cuGraphDestroy"](recorded.value)

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph."""
        status = self._launch(graph, stream)
        if status:
            self._check("cuGraphLaunch", status)

    def drop(self, graph: int) -> None:
        """Free a graph."""
        self._call("cuGraphExecDestroy", graph)
