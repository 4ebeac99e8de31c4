"""CUDA through NVIDIA's own package, `cuda.bindings` (12 and 13)."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from policy_runner.backends.cuda.interface import (
    CudaError,
    Memory,
    check_address,
    elements,
    try_all,
)

_retained: dict[tuple[Any, int], Any] = {}


def called(driver: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the driver and return the call's value without its status.

    Args:
        driver: the module `cuda.bindings.driver`.
        function: one of its functions; it returns (status, values...).
        arguments: passed to the function.

    Raises:
        CudaError: any status except success.
    """
    status, *values = function(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(status)
        why = text.decode() if isinstance(text, bytes) else "no text"
        raise CudaError(f"{function.__name__}: {status.name} ({why})")
    return values[0] if values else None


class BindingsCuda:
    """CUDA through `cuda.bindings`; see `interface.Cuda`."""

    errors: tuple[type[Exception], ...] = (CudaError,)

    def __init__(self, gpu: int, blocking: bool) -> None:
        """Retain the primary context and make a stream; the context is current in no thread.

        Args:
            gpu: the GPU's number.
            blocking: `wait` lets the CPU core sleep instead of spin.
        """
        from cuda.bindings import driver

        self._driver = driver
        self.binding = f"cuda-bindings {_version()}"
        self._call(driver.cuInit, 0)
        count = int(self._call(driver.cuDeviceGetCount))
        if gpu >= count:
            raise CudaError(f"expected GPU {gpu}, got {count} GPUs")
        self._device = device = self._call(driver.cuDeviceGet, gpu)
        kinds = driver.CUdevice_attribute
        self.gpu = self._call(driver.cuDeviceGetName, 256, device).split(b"\0")[0].decode()
        major, minor, integrated = (
            int(self._call(driver.cuDeviceGetAttribute, kind, device))
            for kind in (
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                kinds.CU_DEVICE_ATTRIBUTE_INTEGRATED,
            )
        )
        self.compute = f"{major}.{minor}"
        self.integrated = bool(integrated)
        self.driver = str(self._call(driver.cuDriverGetVersion))
        self._device_memory: list[Any] = []
        self._event: Any = None
        self._context = _primary_context(driver, device, gpu)
        self._closed = False
        self.enter()
        try:
            flag = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
            self._stream = self._call(driver.cuStreamCreate, int(flag))
            self.stream = int(self._stream)
            if blocking:
                flags = driver.CUevent_flags
                sleeping = int(flags.CU_EVENT_BLOCKING_SYNC) | int(flags.CU_EVENT_DISABLE_TIMING)
                self._event = self._call(driver.cuEventCreate, sleeping)
        finally:
            self.leave()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return called(self._driver, function, *arguments)

    def enter(self) -> None:
        """See `Cuda`."""
        self._call(self._driver.cuCtxPushCurrent, self._context)

    def leave(self) -> None:
        """See `Cuda`."""
        self._call(self._driver.cuCtxPopCurrent)

    def adopt(self) -> None:
        """See `Cuda`."""
        self._call(self._driver.cuCtxSetCurrent, self._context)

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Memory:
        """See `Cuda`."""
        driver = self._driver
        count, nbytes = elements(shape, dtype)
        flags = driver.CU_MEMHOSTALLOC_DEVICEMAP
        pinned = int(self._call(driver.cuMemHostAlloc, nbytes, flags))
        raw = (ctypes.c_char * nbytes).from_address(pinned)
        # The core keeps views of this memory: free it with the last view, not with the model.
        weakref.finalize(raw, _free_host, driver, self._context, pinned).atexit = False
        host = np.frombuffer(memoryview(raw), dtype=dtype, count=count).reshape(shape)
        host.fill(0)
        if self.integrated:
            address = int(self._call(driver.cuMemHostGetDevicePointer, pinned, 0))
        else:
            allocated = self._call(driver.cuMemAlloc, nbytes)
            self._device_memory.append(allocated)
            address = int(allocated)
        return Memory(host, check_address(address), self.integrated, pinned)

    def upload(self, memory: Memory) -> None:
        """See `Cuda`."""
        copy, pinned = self._driver.cuMemcpyHtoDAsync, memory.held
        self._call(copy, memory.address, pinned, memory.nbytes, self._stream)

    def download(self, memory: Memory) -> None:
        """See `Cuda`."""
        copy, pinned = self._driver.cuMemcpyDtoHAsync, memory.held
        self._call(copy, pinned, memory.address, memory.nbytes, self._stream)

    def copy(self, target: Memory, source: Memory) -> None:
        """See `Cuda`."""
        copy = self._driver.cuMemcpyDtoDAsync
        self._call(copy, target.address, source.address, source.nbytes, self._stream)

    def wait(self) -> None:
        """See `Cuda`."""
        if self._event is None:
            self._call(self._driver.cuStreamSynchronize, self._stream)
        else:
            self._call(self._driver.cuEventRecord, self._event, self._stream)
            self._call(self._driver.cuEventSynchronize, self._event)

    def begin_capture(self) -> None:
        """See `Cuda`."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call(self._driver.cuStreamBeginCapture, self._stream, mode)

    def end_capture(self) -> Any:
        """See `Cuda`."""
        driver = self._driver
        recorded = self._call(driver.cuStreamEndCapture, self._stream)
        try:
            return self._call(driver.cuGraphInstantiate, recorded, 0)
        finally:
            self._call(driver.cuGraphDestroy, recorded)

    def abandon_capture(self) -> None:
        """See `Cuda`."""
        status, recorded = self._driver.cuStreamEndCapture(self._stream)
        if status == self._driver.CUresult.CUDA_SUCCESS:
            self._driver.cuGraphDestroy(recorded)

    def launch(self, graph: Any) -> None:
        """See `Cuda`."""
        self._call(self._driver.cuGraphLaunch, graph, self._stream)

    def drop(self, graph: Any) -> None:
        """See `Cuda`."""
        self._call(self._driver.cuGraphExecDestroy, graph)

    def close(self) -> None:
        """See `Cuda`."""
        if self._closed:
            return
        self._closed = True
        driver, stream, memory = self._driver, self._stream, self._device_memory
        calls = [partial(self._call, driver.cuStreamSynchronize, stream)]
        calls += [partial(self._call, driver.cuMemFree, one) for one in memory]
        if self._event is not None:
            calls.append(partial(self._call, driver.cuEventDestroy, self._event))
        calls.append(partial(self._call, driver.cuStreamDestroy, stream))
        memory.clear()
        self.enter()
        try:
            try_all(calls, self.errors)
        finally:
            self.leave()


def _primary_context(driver: Any, device: Any, gpu: int) -> Any:
    """Retain the context once and never release it: it is still current in threads."""
    key = (driver, gpu)
    if key not in _retained:
        _retained[key] = called(driver, driver.cuDevicePrimaryCtxRetain, device)
    return _retained[key]


def _free_host(driver: Any, context: Any, pinned: int) -> None:
    called(driver, driver.cuCtxPushCurrent, context)
    try:
        called(driver, driver.cuMemFreeHost, pinned)
    finally:
        called(driver, driver.cuCtxPopCurrent)


def _version() -> str:
    try:
        return metadata.version("cuda-bindings")
    except metadata.PackageNotFoundError:  # installed by a Linux distribution, without metadata
        return "?"
