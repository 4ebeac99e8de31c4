"""ONNX Runtime on the CPU: one thread, no spinning, tensors bound once.

One thread, because a policy's network is small and a control loop shares its machine; no
spinning, because a spinning worker takes the core that the next tick needs. Inputs and
outputs are bound to arrays that live as long as the session, so a run copies nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.problems import Problem, Refusal, refuse

Buffer = npt.NDArray[np.generic]
DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
REPEATED = "#"  # between a repeated output's name and its position
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def check_model_file(path: Path, sha256: str | None, spec_path: Path) -> str:
    """Refuse what is no ONNX model before a runtime tries to read it; returns its sha256.

    Raises:
        Refusal: no file, an empty file, a Git LFS pointer, or another sha256 than stated.
    """
    if not path.is_file():
        raise refuse(str(spec_path), "model.file", "an ONNX file", f"no file {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise refuse(str(path), "", "a readable file", str(error)) from error
    if content.startswith(LFS_POINTER):
        size = re.search(rb"^size (\d+)", content, re.MULTILINE)
        of = f" to a file of {size[1].decode()} bytes" if size else ""
        remedy = "run `git lfs pull` where it is from"
        raise refuse(str(path), "", "an ONNX model", f"a Git LFS pointer{of}", remedy)
    if not content:
        raise refuse(str(path), "", "an ONNX model", "an empty file")
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        remedy = "the model is not the one that the spec was written for"
        raise refuse(str(path), "sha256", sha256, found, remedy)
    return found


class OnnxRuntimeModel:
    """A loaded model with preallocated tensors, batch 1."""

    provider = "CPUExecutionProvider"
    sha256 = ""  # of the file, for diagnostics

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3  # its warnings go to stderr without our node's name
        try:
            self._session = ort.InferenceSession(
                str(path), sess_options=options, providers=[self.provider]
            )
        except Exception as error:  # ORT raises its own pybind types, one per status code
            text = " ".join(str(error).split())
            raise refuse(
                str(path), "", "an ONNX model that ONNX Runtime can load", text,
                "export the model again, or copy it again with its .data file",
            ) from error  # fmt: skip
        problems: list[Problem] = []
        self._inputs = _allocate(path, "input", self._session.get_inputs(), problems)
        self._outputs = _allocate(path, "output", self._session.get_outputs(), problems)
        if problems:
            raise Refusal(problems)
        # ONNX Runtime does not copy an input that is an output, too; it is the same numbers.
        for name in self._outputs.keys() & self._inputs.keys():
            self._outputs[name] = self._inputs[name]
        self._binding = self._session.io_binding()
        # The OrtValues share the arrays' memory and must live as long as they are bound.
        self._values = []
        bound: set[int] = set()
        for tensors, bind in (
            (self._inputs, self._binding.bind_ortvalue_input),
            (self._outputs, self._binding.bind_ortvalue_output),
        ):
            for name, array in tensors.items():
                if id(array) in bound:
                    continue
                bound.add(id(array))
                value = ort.OrtValue.ortvalue_from_numpy(array)
                self._values.append(value)
                bind(name, value)
        self._path = path
        self._run = self._session._sess.run_with_iobinding
        self._io = self._binding._iobinding

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; write in place."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name, in the model's order; overwritten by the next run.

        A name that the model repeats is there again as `name#position`, the same array.
        """
        return self._outputs

    def run(self) -> None:
        """One inference, in place."""
        self._run(self._io, None)

    def warm_up(self, runs: int = 3) -> None:
        """Run on zeros and look at shapes only: good models may well give NaN on zeros.

        Raises:
            Refusal: the model does not run with the shapes that it states.
        """
        for array in self._inputs.values():
            array.fill(0)
        try:
            for _ in range(runs):
                self.run()
        except Exception as error:  # ORT raises its own pybind types, one per status code
            text = " ".join(str(error).split())
            expected = "a model that runs with the shapes that it states"
            raise refuse(str(self._path), "", expected, text, "export the model again") from error
        for array in self._outputs.values():
            array.fill(0)


def _allocate(
    path: Path, role: str, tensors: list[Any], problems: list[Problem]
) -> dict[str, Buffer]:
    arrays: dict[str, Buffer] = {}
    for tensor in tensors:
        key = f"{role} '{tensor.name}'"
        if tensor.type not in DTYPES:
            expected = f"one of {', '.join(DTYPES)}"
            problems.append(Problem(str(path), key, expected, str(tensor.type)))
            continue
        shape = list(tensor.shape)
        # Batch is the one dimension that may stay open: it is 1 on a robot.
        if shape and not isinstance(shape[0], int):
            shape[0] = 1
        if not all(isinstance(d, int) and d > 0 for d in shape):
            expected = "fixed sizes after the batch axis"
            problems.append(Problem(str(path), key, expected, f"{tensor.shape}"))
            continue
        if tensor.name in arrays and role == "output":
            arrays[f"{tensor.name}{REPEATED}{len(arrays)}"] = arrays[tensor.name]
            continue
        if tensor.name in arrays:
            problems.append(Problem(str(path), key, "every name once", "twice"))
            continue
        arrays[tensor.name] = np.zeros(shape, dtype=DTYPES[tensor.type])
    return arrays
