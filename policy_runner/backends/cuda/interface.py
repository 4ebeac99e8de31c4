"""The little of CUDA that a backend needs, whichever Python binding is installed.

Both bindings work in the GPU's primary context, which every library of the process shares. A
context is current *per thread*: the thread that loads enters it and leaves it again, the thread
that runs adopts it once and keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from policy_runner.core.model import Buffer

ALIGNMENT = 256  # bytes that TensorRT asks of every tensor's address (NvInferRuntime.h)


class CudaError(RuntimeError):
    """A CUDA call that failed: the call, the error's name, and what it means."""


@dataclass
class Memory:
    """One tensor: a page-locked host array, and the address at which the GPU sees the numbers.

    `mapped`: both are the same bytes (a GPU that shares the CPU's memory), nothing is copied.
    """

    host: Buffer
    address: int
    mapped: bool
    held: Any  # what the binding copies from and to

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        return int(self.host.nbytes)


class Cuda(Protocol):
    """One GPU, one stream. Every call but `enter` and `adopt` wants the context current."""

    binding: str  # name and version of the Python package
    gpu: str  # the device's name
    compute: str  # capability, as "8.7"
    driver: str  # version of CUDA that the driver knows, as 12060
    integrated: bool  # CPU and GPU share memory
    stream: int  # for TensorRT
    errors: tuple[type[Exception], ...]  # what the calls below raise

    def enter(self) -> None:
        """Make the context current in this thread, until `leave`."""

    def leave(self) -> None:
        """Give the thread back what was current before `enter`."""

    def adopt(self) -> None:
        """Make the context current in this thread for as long as the thread lives."""

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Memory:
        """Zeroed page-locked memory for a tensor, and device memory where that is not shared."""

    def upload(self, memory: Memory) -> None:
        """Enqueue host to device."""

    def download(self, memory: Memory) -> None:
        """Enqueue device to host."""

    def copy(self, target: Memory, source: Memory) -> None:
        """Enqueue device to device; both of the same size."""

    def wait(self) -> None:
        """Until all that was enqueued is done. Not while capturing."""

    def begin_capture(self) -> None:
        """From here on, what this thread enqueues is recorded and does not run."""

    def end_capture(self) -> Any:
        """An executable graph of what was recorded: same addresses, same sizes, for its life."""

    def abandon_capture(self) -> None:
        """End a capture whose graph nobody wants; never raises."""

    def launch(self, graph: Any) -> None:
        """Enqueue a graph."""

    def drop(self, graph: Any) -> None:
        """Free a graph."""

    def close(self) -> None:
        """Free device memory, stream and events. Enters by itself; safe to call twice.

        Host arrays live as long as anybody holds one; nothing else may be called any more.
        Goes on to the end where something fails, and raises the first failure then.
        """


def try_all(calls: Iterable[Callable[[], object]], errors: tuple[type[Exception], ...]) -> None:
    """Make every call, whatever becomes of those before, and raise the first failure then."""
    first: Exception | None = None
    for call in calls:
        try:
            call()
        except errors as error:
            first = first or error
    if first is not None:
        raise first


def check_address(address: int) -> int:
    """The address, if TensorRT can take it.

    Raises:
        CudaError: none, or not aligned.
    """
    if not address or address % ALIGNMENT:
        raise CudaError(f"expected an address in multiples of {ALIGNMENT} bytes, got {address:#x}")
    return address


def elements(shape: tuple[int, ...], dtype: Any) -> tuple[int, int]:
    """Elements and bytes of a tensor."""
    count = int(np.prod(shape, dtype=np.int64))
    return count, count * np.dtype(dtype).itemsize
