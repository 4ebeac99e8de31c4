"""The CUDA calls that a backend needs, the same for every Python binding.

Both bindings work in the GPU's primary context, which all libraries of the process share. A
context is current *per thread*. The loading thread enters the context and leaves it again. The
control thread adopts it once and keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from policy_runner.core.model import Buffer

ALIGNMENT = 256  # bytes; TensorRT requires it for every tensor's address (NvInferRuntime.h)


class CudaError(RuntimeError):
    """A CUDA call that failed. The text has the call, the error's name and its meaning."""


@dataclass
class Memory:
    """Memory of one tensor: a page-locked host array, and the address that the GPU uses.

    `mapped`: host and GPU use the same bytes (a GPU that shares the CPU's memory), so nothing is
    copied.
    """

    host: Buffer
    address: int
    mapped: bool
    held: Any  # the binding's host object for copies

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        return int(self.host.nbytes)


class Cuda(Protocol):
    """One GPU, one stream. All calls except `enter`, `adopt`, `close` need the context current."""

    binding: str  # name and version of the Python package
    gpu: str  # the device's name
    compute: str  # compute capability, for example "8.7"
    driver: str  # CUDA version of the driver, for example 12060
    integrated: bool  # CPU and GPU share memory
    stream: int  # its handle, for TensorRT
    errors: tuple[type[Exception], ...]  # types that the calls below raise

    def enter(self) -> None:
        """Make the context current in this thread, until `leave`."""

    def leave(self) -> None:
        """Make the context from before `enter` current again in this thread."""

    def adopt(self) -> None:
        """Make the context current in this thread for as long as the thread lives."""

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Memory:
        """Allocate zeroed page-locked memory, and device memory if it is not shared."""

    def upload(self, memory: Memory) -> None:
        """Enqueue the copy from host to device."""

    def download(self, memory: Memory) -> None:
        """Enqueue the copy from device to host."""

    def copy(self, target: Memory, source: Memory) -> None:
        """Enqueue a copy from device to device; both have the same size."""

    def wait(self) -> None:
        """Wait until all enqueued work is done. Not allowed during a capture."""

    def begin_capture(self) -> None:
        """Begin a capture: this thread's enqueued work is recorded and does not run."""

    def end_capture(self) -> Any:
        """End the capture and return its executable graph; addresses and sizes are fixed."""

    def abandon_capture(self) -> None:
        """End a capture and discard its graph; never raises."""

    def launch(self, graph: Any) -> None:
        """Enqueue a graph."""

    def drop(self, graph: Any) -> None:
        """Free a graph."""

    def close(self) -> None:
        """Free device memory, stream and events. Enters the context itself; safe to call twice.

        A host array lives until its last reference ends. No other method may be called after
        this one. After a failure the remaining steps still run; then the first failure is raised.
        """


def try_all(calls: Iterable[Callable[[], object]], errors: tuple[type[Exception], ...]) -> None:
    """Make every call, also after a failure; then raise the first failure.

    Args:
        calls: called in this order.
        errors: types that count as a failure; other exceptions are raised at once.
    """
    first: Exception | None = None
    for call in calls:
        try:
            call()
        except errors as error:
            first = first or error
    if first is not None:
        raise first


def check_address(address: int) -> int:
    """Return the address if TensorRT accepts it.

    Raises:
        CudaError: it is 0, or not a multiple of `ALIGNMENT`.
    """
    if not address or address % ALIGNMENT:
        raise CudaError(f"expected an address in multiples of {ALIGNMENT} bytes, got {address:#x}")
    return address


def elements(shape: tuple[int, ...], dtype: Any) -> tuple[int, int]:
    """Return a tensor's number of elements and its size in bytes."""
    count = int(np.prod(shape, dtype=np.int64))
    return count, count * np.dtype(dtype).itemsize
