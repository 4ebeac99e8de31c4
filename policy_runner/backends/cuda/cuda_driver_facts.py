"""What NVIDIA's driver says of itself, through its own library: no toolkit, no Python binding."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18  # CUdevice_attribute in cuda.h


@dataclass(frozen=True)
class Gpu:
    """One device."""

    name: str
    compute: str  # capability, as "8.7"
    integrated: bool  # shares the CPU's memory


@dataclass(frozen=True)
class Driver:
    """The driver; `reason` says why there is none."""

    cuda: str = ""  # newest CUDA version that it runs, as "12.6"
    gpus: tuple[Gpu, ...] = ()
    reason: str = ""


def read_driver(library: str = "libcuda.so.1") -> Driver:
    """Ask the driver. Makes no context, and takes no memory on a GPU."""
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
    except (_Failed, AttributeError) as error:  # or a library of that name that is no driver
        return Driver(reason=str(error))


class _Failed(Exception):
    """What the driver would not tell, and why."""


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
