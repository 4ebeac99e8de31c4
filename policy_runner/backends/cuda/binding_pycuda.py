"""CUDA through pycuda; calls that pycuda lacks go directly to the driver."""

from __future__ import annotations

import atexit
from typing import Any

from policy_runner.backends.cuda.driver import DriverCalls
from policy_runner.backends.cuda.interface import CudaError, Memory, check_address, try_all

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: pycuda has no name for it, and its default is 0
# Kept until the process ends, because our arrays may outlive the model.
_retained: dict[tuple[Any, int], Any] = {}


class PycudaCuda:
    """CUDA through pycuda; see `interface.Cuda`.

    pycuda raises an exception for every status except success.
    """

    def __init__(self, gpu: int, blocking: bool) -> None:
        """Retain the primary context and make a stream; the context is current in no thread.

        Args:
            gpu: the GPU's number.
            blocking: `wait` lets the CPU core sleep instead of spin.
        """
        import pycuda
        import pycuda.driver as driver

        self._driver = driver
        self.binding = f"pycuda {pycuda.VERSION_TEXT}"
        self.errors: tuple[type[Exception], ...] = (CudaError, driver.Error)
        driver.init()
        count = driver.Device.count()
        if gpu >= count:
            raise CudaError(f"expected GPU {gpu}, got {count} GPUs")
        device = driver.Device(gpu)
        self._calls = DriverCalls()
        self.gpu = device.name()
        self.compute = "{}.{}".format(*device.compute_capability())
        self.driver = str(driver.get_driver_version())
        self.integrated = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
        key = (driver, gpu)
        if key not in _retained:
            _retained[key] = device.retain_primary_context()
            atexit.register(_give_back, _retained[key])
        self._context = _retained[key]
        self._device_memory: list[Any] = []
        self._event: Any = None
        self._closed = False
        self.enter()
        try:
            self._stream = driver.Stream(_NON_BLOCKING)
            self.stream = int(self._stream.handle)
            if blocking:
                flags = driver.event_flags
                self._event = driver.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING)
        finally:
            self.leave()

    def enter(self) -> None:
        """See `Cuda`."""
        self._context.push()

    def leave(self) -> None:
        """See `Cuda`."""
        self._context.pop()

    def adopt(self) -> None:
        """See `Cuda`. Bypasses pycuda's context stack: pycuda aborts if a thread ends with one."""
        self._calls.set_current(self._context.handle)

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Memory:
        """See `Cuda`."""
        driver = self._driver
        host = driver.pagelocked_empty(shape, dtype, mem_flags=driver.host_alloc_flags.DEVICEMAP)
        host.fill(0)
        if self.integrated:
            address = int(host.base.get_device_pointer())
        else:
            allocated = driver.mem_alloc(host.nbytes)
            self._device_memory.append(allocated)
            address = int(allocated)
        return Memory(host, check_address(address), self.integrated, host)

    def upload(self, memory: Memory) -> None:
        """See `Cuda`."""
        self._driver.memcpy_htod_async(memory.address, memory.host, self._stream)

    def download(self, memory: Memory) -> None:
        """See `Cuda`."""
        self._driver.memcpy_dtoh_async(memory.host, memory.address, self._stream)

    def copy(self, target: Memory, source: Memory) -> None:
        """See `Cuda`."""
        self._driver.memcpy_dtod_async(target.address, source.address, source.nbytes, self._stream)

    def wait(self) -> None:
        """See `Cuda`."""
        if self._event is None:
            self._stream.synchronize()
        else:
            self._event.record(self._stream)
            self._event.synchronize()

    def begin_capture(self) -> None:
        """See `Cuda`."""
        self._calls.begin_capture(self.stream)

    def end_capture(self) -> Any:
        """See `Cuda`."""
        return self._calls.end_capture(self.stream)

    def abandon_capture(self) -> None:
        """See `Cuda`."""
        self._calls.abandon_capture(self.stream)

    def launch(self, graph: Any) -> None:
        """See `Cuda`."""
        self._calls.launch(graph, self.stream)

    def drop(self, graph: Any) -> None:
        """See `Cuda`."""
        self._calls.drop(graph)

    def close(self) -> None:
        """See `Cuda`."""
        if self._closed:
            return
        self._closed = True
        self.enter()
        try:
            frees = [one.free for one in self._device_memory]
            self._device_memory.clear()
            try_all([self._stream.synchronize, *frees], self.errors)
        finally:
            # pycuda destroys event and stream with the last reference, in the current context.
            self._event = self._stream = None
            self.leave()


def _give_back(context: Any) -> None:
    """Release the context explicitly: pycuda's destructor treats it as one that pycuda created."""
    context.push()
    context.detach()
