"""Stages of an action that need only the output: a choice of rows, rounding, missing joints."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.spec import ActionGroup, ActionTensor, Argmax
from policy_runner.core.spec.elements import kept_elements
from policy_runner.core.spec.named_numbers import by_name


class ArgmaxChoice:
    """The row of a table that the model chooses, by its largest output or by an index."""

    def __init__(
        self, spec: Argmax, output: npt.NDArray[np.generic], size: int, file: str, key: str
    ) -> None:
        """Check the table.

        Args:
            spec: the table and the way of choosing.
            output: the part of the model's output that chooses: [rows], or [1] for an index.
            size: number of elements of the group.
            file: the spec file, for error messages.
            key: the key of `argmax` in the spec, for error messages.

        Raises:
            Refusal: a row has another number of elements than the group.
        """
        for k, row in enumerate(spec.table):
            if len(row) != size:
                expected = f"{size} numbers, one per element of the group"
                raise refuse(file, f"{key}.table[{k}]", expected, f"{len(row)}")
        self._table = np.array(spec.table, dtype=np.float64)
        self._output = output
        self._by_index = spec.by == "index"

    def read(self, out: Array) -> bool:
        """Write the chosen row to `out` [elements of the group].

        Rounds an index that differs from a whole number by up to 1e-6, because a network computes
        in floats.

        Returns:
            False: the output is not finite, or is no index of a row.
        """
        if not np.all(np.isfinite(self._output)):
            return False
        row = int(np.argmax(self._output))
        if self._by_index:
            given = self._output.item(0)
            row = round(given)
            if abs(given - row) > 1e-6:
                return False
        if not 0 <= row < len(self._table):
            return False
        np.copyto(out, self._table[row])
        return True


def kept_of_tensor(tensor: ActionTensor, absent: Container[str]) -> list[int]:
    """Indices of the commanded elements among all elements of the tensor's groups."""
    found, start = [], 0
    for group in tensor.groups:
        found += [start + k for k in kept_elements(group, absent)]
        start += len(group.names)
    return found


def runs(indices: Sequence[int]) -> list[list[int]]:
    """Consecutive indices together: [0, 1, 4] is [[0, 1], [4]]."""
    found: list[list[int]] = []
    for k in indices:
        if found and found[-1][-1] == k - 1:
            found[-1].append(k)
        else:
            found.append([k])
    return found


def rounding_steps(group: ActionGroup, file: str, key: str) -> dict[str, Array]:
    """The steps of a group's rounding, `step_raw` and `step_target`, 0 for none [elements].

    Raises:
        Refusal: a step is negative.
    """
    found = {"step_raw": np.zeros(len(group.names)), "step_target": np.zeros(len(group.names))}
    if group.round is not None:
        step = by_name(group.round.step, group.names, file, key)
        if np.any(step < 0.0):
            raise refuse(file, key, "steps above 0, or 0 for no rounding", f"{step.min():g}")
        found[f"step_{group.round.of}"] = step
    return found


class Rounding:
    """Rounds some elements to multiples of their steps; halves to the even multiple."""

    def __init__(self, steps: Array) -> None:
        self._where = np.flatnonzero(steps)
        self._steps = steps[self._where]

    @classmethod
    def of(cls, steps: Array) -> Rounding | None:
        """The rounding of an action with these steps [elements], or None without any."""
        return cls(steps) if np.any(steps) else None

    def apply(self, values: Array) -> None:
        """Round in place, float64 [elements]."""
        values[self._where] = np.round(values[self._where] / self._steps) * self._steps
