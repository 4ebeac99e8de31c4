"""ONNX Runtime on a GPU: CUDA and TensorRT execution providers, proven before the first tick.

Tensors live on the device at fixed addresses and are bound once. A run copies the host arrays to
the device, runs the model, and copies the outputs back. A CUDA graph always uses the addresses
that it captured. If ONNX Runtime allocated new tensors, the graph would repeat its first answer.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.backends.host_arrays import allocate
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnxruntime.libraries import TENSORRT, tensorrt_version
from policy_runner.backends.onnxruntime.proof import (
    EXACT,
    ROUNDED,
    assignment,
    check_answers,
    check_assignment,
    check_installed,
    check_session,
    profiled_assignment,
    tried,
)
from policy_runner.backends.onnxruntime.run_sizes import cpu_run_sizes, left_open
from policy_runner.backends.onnxruntime.session import providers, quiet, session_options
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import Buffer, ModelAbilities

_LOADS = "a model that ONNX Runtime can load on {}"
_NO_GRAPH = "set onnxruntime.cuda_graph: false"


class OnnxRuntimeGpuModel(ModelAbilities):
    """A model on a GPU, with host arrays as in the other backends, batch 1."""

    sha256 = ""  # of the file, for diagnostics
    needs_precision_check = False  # `load` sets it

    def __init__(self, choice: BackendChoice, path: Path, provider: str, sha256: str) -> None:
        """Load, prove the provider, bind, and compare with the CPU.

        Args:
            choice: device, precision and options.
            path: the ONNX file.
            provider: CUDA or TENSORRT of `libraries`.
            sha256: of the ONNX file; names the folder of its TensorRT engines.

        Raises:
            Refusal: the provider would not run the model; with the reason and the remedy.
        """
        self.provider = provider
        self._path = path
        self._graph = bool(choice.option("onnxruntime.cuda_graph", False))
        allowed = bool(choice.option("onnxruntime.allow_cpu_nodes", False))
        if self._graph and allowed:
            got = "both onnxruntime.cuda_graph and onnxruntime.allow_cpu_nodes"
            expected = "a CUDA graph, or operations on the CPU"
            raise refuse("", "parameter onnxruntime.cuda_graph", expected, got, _NO_GRAPH)
        self._closed = False
        with quiet(), tempfile.TemporaryDirectory(prefix="policy_runner_") as folder:
            check_installed(provider)
            session = self._session = self._open(choice, sha256, Path(folder), allowed)
            session.disable_fallback()
            check_session(session, provider)
            self._bind(choice)
            remedy = _NO_GRAPH if self._graph else "run on the CPU: device: cpu"
            tried(path, f"a model that runs on {provider}", remedy, self.run)
            nodes = assignment(session)
            if nodes is None:
                nodes = profiled_assignment(Path(session.end_profiling()))
        where = check_assignment(nodes, provider, path, allowed)
        self._check(choice, provider)
        self.facts = {
            "device": f"gpu:{choice.gpu or 0}",
            "precision": "fp16" if choice.precision == "fp16" else "as exported",
            "operations": where,
            "cuda graph": "yes" if self._graph else "no",
            "tf32": "yes" if self._rounds(choice) else "no",
        }

    def _open(self, choice: BackendChoice, sha256: str, folder: Path, allowed: bool) -> Any:
        import onnxruntime as ort

        entries = {"session.record_ep_graph_assignment_info": "1"}
        if not allowed:
            # ONNX Runtime refuses this entry if the CPU provider is listed, so it is not listed.
            entries["session.disable_cpu_ep_fallback"] = "1"
        options = session_options(choice, entries)
        if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "profile")
        engines = ""
        if self.provider == TENSORRT:
            engines = str(_engine_folder(choice, self._path, sha256))
        asked = providers(choice, self.provider, engines)
        remedy = "run on the CPU: device: cpu" + (f", or {_NO_GRAPH}" if self._graph else "")
        return tried(
            self._path, _LOADS.format(self.provider), remedy,
            # Without enable_fallback=0 ONNX Runtime prints a line and then tries other providers.
            lambda: ort.InferenceSession(
                str(self._path), sess_options=options, providers=asked, enable_fallback=0
            ),
        )  # fmt: skip

    def _bind(self, choice: BackendChoice) -> None:
        import onnxruntime as ort

        problems: list[Problem] = []
        self._inputs = allocate(self._path, "input", self._session.get_inputs(), problems)
        outputs, shapes = self._session.get_outputs(), None
        if left_open(outputs):
            if problems:  # without inputs no run tells the sizes
                raise Refusal(problems)
            shapes = cpu_run_sizes(self._path, self._inputs)
        self._outputs = allocate(self._path, "output", outputs, problems, shapes)
        if problems:
            raise Refusal(problems)
        for name in self._outputs.keys() & self._inputs.keys():
            self._outputs[name] = self._inputs[name]
        gpu = choice.gpu or 0
        self._binding = self._session.io_binding()
        self._in: list[tuple[Any, Buffer]] = []
        self._out: list[tuple[Any, Buffer]] = []
        memory = f"memory on GPU {gpu}"
        bound: set[int] = set()
        for tensors, bind, pairs in (
            (self._inputs, self._binding.bind_ortvalue_input, self._in),
            (self._outputs, self._binding.bind_ortvalue_output, self._out),
        ):
            for name, array in tensors.items():
                if id(array) in bound:
                    continue
                bound.add(id(array))
                place = partial(ort.OrtValue.ortvalue_from_numpy, array, "cuda", gpu)
                value = tried(self._path, memory, "`policy-runner doctor` says more", place)
                if value.device_name().lower() not in ("cuda", "gpu"):
                    raise refuse(str(self._path), f"tensor '{name}'", memory, value.device_name())
                bind(name, value)
                pairs.append((value, array))

    def _rounds(self, choice: BackendChoice) -> bool:
        # The TensorRT provider has no option for TF32; TensorRT uses TF32 by default.
        return bool(choice.option("onnxruntime.tf32", False)) or self.provider == TENSORRT

    def _check(self, choice: BackendChoice, provider: str) -> None:
        from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel

        half = any(array.dtype == np.float16 for array in self._outputs.values())
        rounded = half or choice.precision == "fp16" or self._rounds(choice)
        reference = OnnxRuntimeModel(self._path)
        try:
            tolerance = ROUNDED if rounded else EXACT
            check_answers(self, reference, provider, self._path, tolerance)
        finally:
            reference.close()

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name, on the host; the caller writes them in place."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name, on the host, in the model's order; overwritten by the next run.

        A repeated name is also available as `name#position`, the same array.
        """
        return self._outputs

    def run(self) -> None:
        """Run one inference; returns when the host's outputs are written."""
        for value, array in self._in:
            value.update_inplace(array)
        self._session.run_with_iobinding(self._binding)
        for value, array in self._out:
            np.copyto(array, value.numpy())

    def warm_up(self, runs: int = 3) -> None:
        """Run on zeros and check shapes only: valid models may give NaN on zeros.

        Raises:
            Refusal: the model does not run with the shapes that it states.
        """
        for array in self._inputs.values():
            array.fill(0)
        expected = "a model that runs with the shapes that it states"
        for _ in range(runs):
            tried(self._path, expected, "export the model again", self.run)
        for array in self._outputs.values():
            array.fill(0)

    def close(self) -> None:
        """Release the device memory and the session; do not call `run` after it."""
        if self._closed:
            return
        self._closed = True
        # A captured graph uses the bound tensors, so release the session before them.
        del self._binding, self._session
        self._in, self._out = [], []


def _engine_folder(choice: BackendChoice, path: Path, sha256: str) -> Path:
    """Return the private folder where the TensorRT provider keeps this model's engines.

    Raises:
        Refusal: other users can access it, or it has no engine and `onnxruntime.build` is false.
    """
    import onnxruntime as ort

    from policy_runner.backends.onnx_file.check import data_digests, data_files
    from policy_runner.backends.private_folder import PrivateFolder, default_folder

    parts = [sha256, *(digest for _, digest in data_digests(path, data_files(path)))]
    parts += [ort.__version__, choice.precision, *_machine(choice.gpu or 0)]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    given = str(choice.option("engines.folder", ""))
    base = Path(given).expanduser().absolute() if given else default_folder()
    names: list[str] = []
    for where in (base, base / "onnxruntime", base / "onnxruntime" / name):
        folder = PrivateFolder(where)  # also the outer ones, so that all of them get mode 0700
        names = folder.names()
        folder.close()
    built = any(one.endswith(".engine") for one in names)
    if not built and not choice.option("onnxruntime.build", False):
        raise refuse(
            str(path), TENSORRT, "an engine built before", f"none in {folder.path}",
            "build it: `policy-runner bench backends SPEC --only onnxruntime-tensorrt`",
        )  # fmt: skip
    return folder.path


def _machine(gpu: int) -> list[str]:
    """Facts of this machine that an engine depends on, as far as they are known here.

    The provider needs only TensorRT's libraries, so its Python package may be missing.
    """
    from policy_runner.backends.cuda.driver import read_driver

    driver = read_driver()
    parts = [str(gpu), driver.cuda]
    parts += [f"{one.name} {one.compute}" for one in driver.gpus[gpu : gpu + 1]]
    version = tensorrt_version()
    return [*parts, version] if version else parts
