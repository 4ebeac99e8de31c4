"""Runs of the model on given tensors: no terms, no state; many rows if its batch axis is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from policy_runner.backends.onnxruntime.batched import BatchedModel, has_open_batch
from policy_runner.backends.remote.protocols.bounds import shown
from policy_runner.core.errors import refuse
from policy_runner.core.model import Buffer
from policy_runner.robot.load import LoadedPolicy
from policy_runner.serving.session.shared_model import ModelView, check_names

Arrays = Mapping[str, np.ndarray]
MOST_ROWS = 4096


class TensorRuns:
    """The model as a function of tensors; it keeps nothing between two runs.

    A single row runs on the backend of the policy. More rows run together in a session of ONNX
    Runtime, if every first axis of the file is open; otherwise one by one.

    Attributes:
        inputs: name -> dtype and shape of one row, as the file has it.
        outputs: see `inputs`.
        open_batch: several rows are possible.
    """

    def __init__(self, loaded: LoadedPolicy) -> None:
        """Look at the model of a policy that has one model.

        Args:
            loaded: the policy, with a `ModelView`.
        """
        self._view = ModelView(loaded.model)
        self.inputs: Mapping[str, Buffer] = self._view.inputs
        self.outputs: Mapping[str, Buffer] = {
            name: array for name, array in self._view.outputs.items() if "#" not in name
        }
        spec_file, self._choice = loaded.spec_file, loaded.config.backend
        self._path = spec_file.next_to(loaded.spec.model.file, "model.file")
        self.open_batch = has_open_batch(self._path)
        self._batched: BatchedModel | None = None
        self._of_cpu = "CPU" in loaded.model.provider

    def run(self, given: Arrays) -> dict[str, np.ndarray]:
        """Return the outputs of these inputs, copied.

        Args:
            given: by name; [rows, ...] if the batch axis is open.

        Raises:
            Refusal: names, types or shapes do not fit.
        """
        wrong = check_names(list(given), list(self.inputs))
        if wrong:
            raise refuse("", "the request", *wrong)
        rows = self._rows(given)
        for name, array in given.items():
            one = self.inputs[name]
            shape = (rows, *one.shape[1:]) if self.open_batch else one.shape
            if array.shape != shape or array.dtype != one.dtype:
                expected = f"{one.dtype} {list(shape)}"
                got = f"{array.dtype} {list(array.shape)}"
                raise refuse("", f"the request: tensor '{shown(name)}'", expected, got)
        if rows == 1 or not self.open_batch:
            return self._one(given)
        if self._of_cpu:
            if self._batched is None:
                self._batched = BatchedModel(self._path, self._choice)
            plain = {name: np.ascontiguousarray(array) for name, array in given.items()}
            return self._batched.run(plain)
        return self._row_by_row(given, rows)

    def _rows(self, given: Arrays) -> int:
        first = next(iter(given.values()))
        rows = first.shape[0] if first.ndim else 0
        if not self.open_batch or 1 <= rows <= MOST_ROWS:
            return max(rows, 1)
        raise refuse("", "the request", f"1 to {MOST_ROWS} rows", f"{rows}")

    def _one(self, given: Arrays) -> dict[str, np.ndarray]:
        for name, array in given.items():
            np.copyto(self._view.inputs[name], array)
        self._view.run()
        return {name: array.copy() for name, array in self.outputs.items()}

    def _row_by_row(self, given: Arrays, rows: int) -> dict[str, np.ndarray]:
        found = [self._one({name: one[k : k + 1] for name, one in given.items()})
                 for k in range(rows)]  # fmt: skip
        return {name: np.concatenate([one[name] for one in found]) for name in self.outputs}


def described(
    tensors: Mapping[str, Buffer], open_batch: bool, name_of: Callable[[Any], str]
) -> Any:
    """Return name, datatype and shape of tensors, as the Open Inference Protocol lists them.

    Args:
        tensors: of one row.
        open_batch: the first axis is -1.
        name_of: the protocol's name of a dtype.
    """
    return [
        {
            "name": name,
            "datatype": name_of(array.dtype),
            "shape": [-1, *array.shape[1:]] if open_batch else list(array.shape),
        }
        for name, array in tensors.items()
    ]
