"""A fake TensorRT and CUDA for one test, in this process and in its children."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FAKES = Path(__file__).resolve().parent / "fake_modules"
ROOT = FAKES.parents[3]
OURS = ("tensorrt", "cuda", "pycuda")


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """TensorRT 10.3 that builds at once, and a separate cache folder for the test."""
    real = {name: sys.modules.pop(name) for name in list(sys.modules)
            if name.split(".")[0] in OURS}  # fmt: skip
    monkeypatch.syspath_prepend(str(FAKES))
    path = os.pathsep.join([str(FAKES), str(ROOT), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("FAKE_TRT_VERSION", "10.3.0")
    monkeypatch.setenv("FAKE_TRT_BUILD_SECONDS", "0.2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield monkeypatch
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.modules.update(real)
