"""Facts from the driver's library, and the reasons after failed calls."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from policy_runner.backends.cuda.driver import Gpu, read_driver


class Library:
    """libcuda with one integrated GPU; the call named by `fails` returns CUDA_ERROR_UNKNOWN."""

    def __init__(self, fails: str = "") -> None:
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> int:
            if name == "cuGetErrorName":
                given[1]._obj.value = b"CUDA_ERROR_UNKNOWN"
            elif name == self._fails:
                return 999
            elif name == "cuDriverGetVersion":
                given[0]._obj.value = 12060
            elif name == "cuDeviceGetCount":
                given[0]._obj.value = 1
            elif name == "cuDeviceGetName":
                given[0].value = b"Orin"
            elif name == "cuDeviceGetAttribute":
                given[0]._obj.value = {75: 8, 76: 7, 18: 1}[given[1]]
            return 0

        return call


CALLS = (
    *("cuInit", "cuDriverGetVersion", "cuDeviceGetCount"),
    *("cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute"),
)


def test_a_driver_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library())
    found = read_driver()
    assert (found.cuda, found.reason) == ("12.6", "")
    assert found.gpus == (Gpu("Orin", "8.7", True),)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_is_the_reason(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library(call))
    found = read_driver()
    assert found.reason == f"{call}: CUDA_ERROR_UNKNOWN"
    assert found.gpus == ()
