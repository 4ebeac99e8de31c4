"""Runs a model with many rows at once, for a server of many simulators. Not for a control loop.

A batched product may round differently from the same product row by row: the measured difference
of a network in fp32 is some units in the last place. `run_rows` gives the bits of single rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnxruntime.load import provider_of
from policy_runner.backends.onnxruntime.refusals import not_loaded
from policy_runner.backends.onnxruntime.session import session_options


class BatchedModel:
    """A session of its own for batches; every first axis of the file is open."""

    def __init__(self, path: Path, choice: BackendChoice | None = None) -> None:
        """Load the file.

        Args:
            path: of the model.
            choice: its threads and device are used; None: one thread on the CPU.

        Raises:
            Refusal: ONNX Runtime cannot load it.
        """
        import onnxruntime as ort

        choice = choice or BackendChoice("onnxruntime")
        provider = provider_of(choice)
        try:
            self._session = ort.InferenceSession(
                str(path), sess_options=session_options(choice), providers=[provider]
            )
        except Exception as error:  # ORT raises its own pybind types, one per status code
            raise not_loaded(path, error, "export the model again") from error
        self._outputs = [one.name for one in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs [rows, ...] of inputs [rows, ...]."""
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))


def has_open_batch(path: Path) -> bool:
    """Whether the first axis of every input and output of a file is open."""
    from policy_runner.backends.onnxruntime.model_facts import read_model_facts

    facts = read_model_facts(path)
    tensors = [*facts.inputs, *facts.outputs]
    return all(one.shape and one.shape[0] is None for one in tensors)
