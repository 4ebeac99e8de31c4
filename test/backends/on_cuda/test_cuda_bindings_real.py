"""The CUDA layer on the real pycuda and cuda.bindings, if they are installed; no GPU needed.

They use a libcuda that a C compiler builds from `fake_libcuda/cuda.c`. If there is a GPU, the same
tests also run on it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIBCUDA = ROOT / "test" / "rigs" / "gpu" / "fake_libcuda"


def gpu_here() -> bool:
    """Return whether NVIDIA's driver is installed and has a GPU; uses no binding."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return (
        not driver.cuInit(0)
        and not driver.cuDeviceGetCount(ctypes.byref(count))
        and (count.value > 0)
    )


def make_library(folder: Path, binding: str) -> None:
    """Build libcuda.so.1 with all names that pycuda needs when it is loaded."""
    source = folder / "cuda.c"
    code = (LIBCUDA / "cuda.c").read_text()
    if binding == "pycuda":
        package = Path(str(find_spec("pycuda").origin)).parent
        (extension,) = package.glob("_driver*.so")
        listed = subprocess.run(
            ["nm", "-D", "--undefined-only", str(extension)],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout.split()  # fmt: skip
        names = sorted({n.split("@")[0] for n in listed if n.startswith("cu")})
        code += "".join(f"int {n}() {{ return 999; }}\n" for n in names if f" {n}(" not in code)
    source.write_text(code)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", str(source), "-ldl",
         "-o", str(folder / "libcuda.so.1")],
        check=True, timeout=60,
    )  # fmt: skip


@pytest.mark.skipif(not all(shutil.which(tool) for tool in ("cc", "nm")), reason="no C compiler")
@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("wait", ["spin", "block"])
@pytest.mark.parametrize("binding", ["pycuda", "cuda.bindings"])
def test_the_layer_on_a_real_binding(
    tmp_path: Path, binding: str, wait: str, integrated: bool
) -> None:
    top = binding.split(".")[0]
    if find_spec(top) is None or find_spec(binding) is None:
        pytest.skip(f"{binding} is not installed")
    make_library(tmp_path, binding)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(tmp_path / "libcuda.so.1"),
        "LD_LIBRARY_PATH": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        **({"FAKE_GPU_INTEGRATED": "1"} if integrated else {}),
    }
    drive(binding, wait, environment)


@pytest.mark.skipif(not gpu_here(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize("wait", ["spin", "block"])
@pytest.mark.parametrize("binding", ["pycuda", "cuda.bindings"])
def test_the_layer_on_a_gpu(binding: str, wait: str) -> None:
    if find_spec(binding.split(".")[0]) is None or find_spec(binding) is None:
        pytest.skip(f"{binding} is not installed")
    drive(binding, wait, {**os.environ, "PYTHONPATH": str(ROOT)})


def drive(binding: str, wait: str, environment: dict[str, str]) -> None:
    """Copy, capture, use threads and end, in a separate process."""
    done = subprocess.run(
        [sys.executable, str(LIBCUDA / "drive.py"), binding, wait],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "all of it\n"
    assert "WARNING" not in done.stderr, done.stderr
