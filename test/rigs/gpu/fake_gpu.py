"""A GPU that keeps CUDA's rules and computes nothing itself: memory, contexts, streams, graphs.

Enqueued work runs at the next wait and not earlier, so that a missing wait is detected. Statuses
are CUDA's numbers. `fake_cuda.py` gives it the interfaces of the real bindings.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

OK, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED = 0, 1, 2, 3
INVALID_DEVICE, INVALID_CONTEXT, INVALID_HANDLE, ILLEGAL_ADDRESS = 101, 201, 400, 700
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_UNMATCHED = 900, 901, 903
NAMES = {
    OK: "CUDA_SUCCESS",
    INVALID_VALUE: "CUDA_ERROR_INVALID_VALUE",
    OUT_OF_MEMORY: "CUDA_ERROR_OUT_OF_MEMORY",
    NOT_INITIALIZED: "CUDA_ERROR_NOT_INITIALIZED",
    INVALID_DEVICE: "CUDA_ERROR_INVALID_DEVICE",
    INVALID_CONTEXT: "CUDA_ERROR_INVALID_CONTEXT",
    INVALID_HANDLE: "CUDA_ERROR_INVALID_HANDLE",
    ILLEGAL_ADDRESS: "CUDA_ERROR_ILLEGAL_ADDRESS",
    CAPTURE_UNSUPPORTED: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    CAPTURE_INVALIDATED: "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    CAPTURE_UNMATCHED: "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
}
CONTEXT = 0xC0DE
MAPPED = 0x10_0000_0000_0000  # offset between a host address and the device's address for it
DEVICE_MEMORY = 0x7F00_0000_0000_0000


class Failure(Exception):
    """A status other than success."""

    def __init__(self, status: int) -> None:
        super().__init__(NAMES[status])
        self.status = status


@dataclass
class Stream:
    """Work in order. `recording`: operations of a capture. `spoiled`: the capture is invalid."""

    flags: int
    waiting: list[Callable[[], None]] = field(default_factory=list)
    recording: list[Callable[[], None]] | None = None
    spoiled: bool = False
    thread: int = 0


@dataclass
class FakeGpu:
    """One device. `refuse_capture`: TensorRT's own work cannot be captured."""

    integrated: bool = False
    name: str = "Fake Orin"
    compute: tuple[int, int] = (8, 7)
    driver: int = 12060
    count: int = 1
    memory_left: int = 1 << 30
    refuse_capture: bool = False
    replay_stale: bool = False  # graphs always give their first result
    initialized: bool = False
    retained: int = 0
    launches: int = 0
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._here = threading.local()
        self._device: dict[int, bytearray] = {}
        self._host: dict[int, Any] = {}
        self._next = DEVICE_MEMORY
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.executables: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, int] = {}
        self._numbers = iter(range(0x1000, 1 << 40, 0x10))

    # Contexts, per thread -----------------------------------------------------------------
    @property
    def stack(self) -> list[int]:
        """Contexts of this thread, the current one last."""
        if not hasattr(self._here, "stack"):
            self._here.stack = []
        return self._here.stack

    def demand_initialized(self) -> None:
        if not self.initialized:
            raise Failure(NOT_INITIALIZED)

    def demand(self, *, capturing_is_fine: bool = True) -> None:
        """Check: initialized, a context is current, and no capture of this thread is active."""
        self.demand_initialized()
        if not self.stack or self.stack[-1] != CONTEXT:
            raise Failure(INVALID_CONTEXT)
        if not capturing_is_fine:
            for stream in self.streams.values():
                if stream.recording is not None and stream.thread == threading.get_ident():
                    stream.spoiled = True
                    raise Failure(CAPTURE_UNSUPPORTED)

    def check_device(self, ordinal: int) -> None:
        self.demand_initialized()
        if not 0 <= ordinal < self.count:
            raise Failure(INVALID_DEVICE)

    # Memory -------------------------------------------------------------------------------
    def host_alloc(self, nbytes: int) -> int:
        """Allocate page-aligned host memory; its address is a real one."""
        self.demand(capturing_is_fine=False)
        if not nbytes:
            raise Failure(INVALID_VALUE)
        raw = mmap.mmap(-1, nbytes)
        address = ctypes.addressof(ctypes.c_char.from_buffer(raw))
        raw[:] = b"\xff" * nbytes  # unwritten memory is not zero
        self._host[address] = raw
        return address

    def host_pages(self, address: int) -> Any:
        return self._host[address]

    def host_device_pointer(self, address: int) -> int:
        self.demand()
        if address not in self._host:
            raise Failure(INVALID_VALUE)
        return address + MAPPED

    def host_free(self, address: int) -> None:
        self.demand(capturing_is_fine=False)
        if address not in self._host:
            raise Failure(INVALID_VALUE)
        pages = self._host.pop(address)
        pages[:] = b"\xff" * len(pages)

    def alloc(self, nbytes: int) -> int:
        self.demand(capturing_is_fine=False)
        if nbytes > self.memory_left:
            raise Failure(OUT_OF_MEMORY)
        address = self._next
        self._next += (nbytes + 0x1FF) & ~0x1FF
        self._device[address] = bytearray(b"\xff" * nbytes)
        return address

    def free(self, address: int) -> None:
        self.demand(capturing_is_fine=False)
        if self._device.pop(address, None) is None:
            raise Failure(INVALID_VALUE)

    @property
    def leaked(self) -> int:
        """Number of device allocations, streams, events and graphs that still exist."""
        made = (self._device, self.streams, self.events, self.graphs, self.executables)
        return sum(len(one) for one in made)

    def resolve(self, address: int, nbytes: int) -> memoryview:
        """Return the bytes at a device address."""
        for base, held in self._device.items():
            if base <= address and address + nbytes <= base + len(held):
                return memoryview(held)[address - base : address - base + nbytes]
        for base, pages in self._host.items():
            start = base + MAPPED
            if start <= address and address + nbytes <= start + len(pages):
                return memoryview(pages)[address - start : address - start + nbytes]
        raise Failure(ILLEGAL_ADDRESS)

    def host_bytes(self, address: int, nbytes: int) -> Any:
        for base, pages in self._host.items():
            if base <= address and address + nbytes <= base + len(pages):
                return memoryview(pages)[address - base : address - base + nbytes]
        raise Failure(INVALID_VALUE)

    # Streams, events, graphs --------------------------------------------------------------
    def stream_create(self, flags: int) -> int:
        self.demand(capturing_is_fine=False)
        number = next(self._numbers)
        self.streams[number] = Stream(flags)
        return number

    def stream(self, number: int) -> Stream:
        self.demand()
        if number not in self.streams:
            raise Failure(INVALID_HANDLE)
        return self.streams[number]

    def enqueue(self, number: int, operation: Callable[[], None]) -> None:
        stream = self.stream(number)
        if stream.recording is None:
            stream.waiting.append(operation)
        elif stream.thread != threading.get_ident():
            raise Failure(CAPTURE_UNSUPPORTED)
        else:
            stream.recording.append(operation)

    def synchronize(self, number: int) -> None:
        stream = self.stream(number)
        if stream.recording is not None:
            stream.spoiled = True
            raise Failure(CAPTURE_UNSUPPORTED)
        waiting, stream.waiting = stream.waiting, []
        for operation in waiting:
            operation()

    def stream_destroy(self, number: int) -> None:
        self.stream(number)
        del self.streams[number]

    def event_create(self, flags: int) -> int:
        self.demand()
        number = next(self._numbers)
        self.events[number] = 0
        return number

    def begin_capture(self, number: int, mode: int) -> None:
        stream = self.stream(number)
        if stream.recording is not None or not stream.flags & 1 or mode not in (0, 1, 2):
            raise Failure(CAPTURE_UNSUPPORTED)
        stream.recording, stream.spoiled, stream.thread = [], False, threading.get_ident()

    def end_capture(self, number: int) -> int:
        stream = self.stream(number)
        recorded, stream.recording = stream.recording, None
        if recorded is None:
            raise Failure(CAPTURE_UNMATCHED)
        if stream.spoiled:
            raise Failure(CAPTURE_INVALIDATED)
        graph = next(self._numbers)
        self.graphs[graph] = recorded
        return graph

    def instantiate(self, graph: int) -> int:
        self.demand()
        if graph not in self.graphs:
            raise Failure(INVALID_HANDLE)
        number = next(self._numbers)
        self.executables[number] = list(self.graphs[graph])
        return number

    def launch(self, executable: int, stream: int) -> None:
        self.demand()
        if executable not in self.executables:
            raise Failure(INVALID_HANDLE)
        self.launches += 1
        if self.replay_stale and self.launches > 1:
            return
        for operation in self.executables[executable]:
            self.enqueue(stream, operation)

    def destroy(self, kind: dict[int, Any], number: int) -> None:
        self.demand()
        if kind.pop(number, None) is None:
            raise Failure(INVALID_HANDLE)

    # Copies -------------------------------------------------------------------------------
    def copy_in(self, target: int, source: Callable[[], Any], nbytes: int, stream: int) -> None:
        def operation() -> None:
            self.resolve(target, nbytes)[:] = source()

        self.enqueue(stream, operation)

    def copy_out(self, target: Callable[[], Any], source: int, nbytes: int, stream: int) -> None:
        def operation() -> None:
            target()[:] = self.resolve(source, nbytes)

        self.enqueue(stream, operation)

    def copy_inside(self, target: int, source: int, nbytes: int, stream: int) -> None:
        def operation() -> None:
            self.resolve(target, nbytes)[:] = bytes(self.resolve(source, nbytes))

        self.enqueue(stream, operation)


THE_GPU: list[FakeGpu] = []


def the_gpu() -> FakeGpu:
    """Return the GPU of this process: the last one that was plugged in."""
    if not THE_GPU:
        THE_GPU.append(FakeGpu())
    return THE_GPU[-1]
