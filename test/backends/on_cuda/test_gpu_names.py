"""Every name that the backends use on TensorRT, cuda.bindings and pycuda exists in the real ones.

None of this needs a GPU. `tensorrt_lean` (the extra `lean`) has the runtime's classes. The whole
bindings of any version are checked from their wheels, which need no libraries to be installed:

    pip download --no-deps --only-binary :all: -d wheels tensorrt-cu12-bindings==10.3.0
    POLICY_RUNNER_TENSORRT_WHEELS=wheels python -m pytest test/backends/on_cuda/test_gpu_names.py

A bindings wheel is imported with stand-in libraries that only have the names it needs. Without a
C compiler for these libraries, the test searches the wheel's strings instead.
"""

from __future__ import annotations

import enum
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from fake_cuda import make_bindings, make_pycuda
from fake_tensorrt import VERSIONS, make_tensorrt
from used_names import (
    BACKENDS,
    BINDINGS_ROOTS,
    PYCUDA_ROOTS,
    TENSORRT_FILES,
    TENSORRT_ROOTS,
    names_used,
)

USED, GATED = names_used(TENSORRT_FILES, TENSORRT_ROOTS)
# Used only after a `hasattr` of another name, or defined in the module's Python file.
FOLLOWING = {name for name in USED if name.startswith("IProgressMonitor.")} | {
    "IBuilderConfig.progress_monitor",
    "__version__",
}
ABSENT = (
    "import importlib, json, sys\n"
    "module = importlib.import_module(sys.argv[1])\n"
    "def there(path):\n"
    "    owner = module\n"
    "    for part in path.split('.'):\n"
    "        if not hasattr(owner, part): return False\n"
    "        owner = getattr(owner, part)\n"
    "    return True\n"
    "print(json.dumps([path for path in json.loads(sys.stdin.read()) if not there(path)]))\n"
)
FOLDER = os.environ.get("POLICY_RUNNER_TENSORRT_WHEELS", "")
WHEELS = sorted(Path(FOLDER).glob("tensorrt*bindings*.whl")) if FOLDER else []
ABI = f"-cp{sys.version_info[0]}{sys.version_info[1]}-"


def absent(module: str, names: set[str], **environment: str) -> set[str]:
    """Return the names that a module lacks; imports it in a separate process."""
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, module],
        input=json.dumps(sorted(names)),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def names_of_fake(module: ModuleType) -> set[str]:
    """Return the module's public names, and those of its classes."""
    names = {name for name in vars(module) if not name.startswith("_")}
    for name in sorted(names):
        made = getattr(module, name)
        if isinstance(made, type):
            members = made.__members__ if issubclass(made, enum.Enum) else vars(made)
            names |= {f"{name}.{one}" for one in members if not one.startswith("_")}
    return names


def test_the_sources_name_what_they_are_expected_to() -> None:
    assert {"Builder.build_serialized_network", "IExecutionContext.execute_async_v3"} <= USED
    assert {"ILogger.log", "IProgressMonitor.step_complete"} <= USED
    assert {"BuilderFlag.FP16", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"} <= GATED
    for what in {kind for kind in TENSORRT_ROOTS.values() if kind}:
        assert any(name.startswith(f"{what}.") for name in USED), what
    # Names of a widely copied tutorial that newer versions do not have.
    gone = ("execute_async_v2", "num_bindings", "get_binding_shape", "max_batch_size",
            "max_workspace_size", "build_engine", "int8_calibrator")  # fmt: skip
    assert not [name for name in USED if name.split(".")[-1] in gone]
    # It makes a separate context in the importing thread, which ORT and others do not share.
    assert not [one.name for one in BACKENDS.rglob("*.py") if "pycuda.autoinit" in one.read_text()]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fake_has_what_is_used_or_it_is_gated(version: str) -> None:
    fake = make_tensorrt(version)

    def there(path: str) -> bool:
        owner: object = fake
        for part in path.split("."):
            if not hasattr(owner, part):
                return False
            owner = getattr(owner, part)
        return True

    instance_only = {
        "ILayer.num_outputs",
        "ITensor.name",
        "ITensor.shape",
        "IBuilderConfig.builder_optimization_level",
    }
    missing = {name for name in USED if not there(name)}
    assert missing <= GATED | FOLLOWING | instance_only


@pytest.mark.skipif(find_spec("tensorrt_lean") is None, reason="the extra `lean` is not installed")
def test_the_runtimes_names_exist_in_tensorrt_lean() -> None:
    runtime = ("Runtime", "ICudaEngine", "IExecutionContext", "ILogger", "TensorIOMode", "DataType")
    names = {name for name in USED if name.startswith(runtime)}
    assert len(names) > 15
    assert absent("tensorrt_lean", names) == set()


@pytest.mark.skipif(
    not WHEELS, reason="POLICY_RUNNER_TENSORRT_WHEELS names no folder with bindings wheels"
)
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda path: path.name.split("-cp")[0])
def test_all_names_exist_in_the_bindings(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (library,) = tmp_path.glob("tensorrt*/tensorrt*.so")
    lean = library.stem == "tensorrt_lean"
    wanted = set(USED)
    if lean:
        # Also TensorLocation: the lean bindings have the method, but not its return type.
        others = ("Builder", "IBuilder", "INetwork", "Network", "OnnxParser", "Parser",
                  "ITensor", "ILayer", "MemoryPool", "IProgress", "TensorLocation")  # fmt: skip
        wanted = {name for name in wanted if not name.startswith(others)}
    tools = all(shutil.which(tool) for tool in ("cc", "nm", "readelf"))
    if not tools or ABI not in wheel.name:
        content = library.read_bytes()
        assert not [
            name
            for name in wanted - GATED - FOLLOWING
            if name.split(".")[-1].encode() + b"\0" not in content
        ]
        return
    stand_in_libraries(library, tmp_path)
    paths = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(library.parent)}
    missing = absent(library.stem, wanted, **paths)
    assert missing <= GATED | FOLLOWING
    version = wheel.name.split("-")[1]
    gone = "NetworkDefinitionCreationFlag.EXPLICIT_BATCH" in missing
    assert lean or gone == ("BuilderFlag.FP16" in missing) == version.startswith("11.")
    fakes = [one for one in VERSIONS if version.startswith(one)]
    if fakes and not lean:
        assert absent(library.stem, names_of_fake(make_tensorrt(fakes[0])), **paths) == set()


def stand_in_libraries(library: Path, folder: Path) -> None:
    """Build libraries with all names that `library` needs from NVIDIA's; they do nothing."""
    listed = _said("nm", "-D", "--undefined-only", str(library)).split()
    names = sorted({name for name in listed if len(name) > 1 and "@" not in name})
    names = [name for name in names if not name.startswith(("Py", "_Py"))]
    code = "".join(f'__asm__(".globl {n}\\n{n}: xor %eax,%eax\\nret");\n' for n in names)
    needed = [
        line.split("[")[1].rstrip("]")
        for line in _said("readelf", "-d", str(library)).splitlines()
        if "NEEDED" in line and "libnv" in line
    ]
    for k, name in enumerate(needed):
        source = folder / f"{k}.c"
        source.write_text(code if k == 0 else "")
        _said("cc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", "-o", str(folder / name),
              str(source))  # fmt: skip


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.skipif(
    find_spec("cuda") is None or find_spec("cuda.bindings") is None,
    reason="cuda-bindings is not installed",
)
def test_all_names_exist_in_cuda_bindings() -> None:
    used, _ = names_used(["cuda/binding_nvidia.py"], BINDINGS_ROOTS)
    assert len(used) > 30
    fake = names_of_fake(make_bindings()[2])
    assert used <= fake
    ours = {f"CUresult.{name}" for name in ("CUDA_SUCCESS", "CUDA_ERROR_INVALID_CONTEXT")}
    assert absent("cuda.bindings.driver", used | fake | ours) == set()


def test_the_fakes_have_what_is_used_of_cuda() -> None:
    assert names_used(["cuda/binding_nvidia.py"], BINDINGS_ROOTS)[0] <= names_of_fake(
        make_bindings()[2]
    )
    used, _ = names_used(["cuda/binding_pycuda.py"], PYCUDA_ROOTS)
    fake = names_of_fake(make_pycuda()[1]) | {"Context.handle", "Stream.handle"}
    owners = ("device_attribute.", "host_alloc_flags.", "event_flags.", "PagelockedHost")
    assert {name for name in used - fake if not name.startswith(owners)} == set()


@pytest.mark.skipif(find_spec("pycuda") is None, reason="pycuda is not installed")
def test_all_names_exist_in_pycuda() -> None:
    used, _ = names_used(["cuda/binding_pycuda.py"], PYCUDA_ROOTS)
    assert len(used) > 20
    try:
        missing = absent("pycuda.driver", used)
    except AssertionError as error:
        if "libcuda" not in str(error) and "undefined symbol" not in str(error):
            raise
        pytest.skip("pycuda does not import without NVIDIA's driver")
    assert missing == set()
