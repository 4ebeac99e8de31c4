"""What a user asks to run a model with, and what a loaded model answers to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.model import Model

BACKENDS = ("auto", "onnxruntime", "tensorrt")
PRECISIONS = ("as_exported", "fp32", "fp16")
# Parameters that begin so go to the backends, under their whole names.
OPTION_GROUPS = ("onnxruntime.", "tensorrt.", "engines.", "precision_check.")
_DEVICE = re.compile(r"auto|cpu|gpu(:\d{1,2})?")


@dataclass(frozen=True)
class BackendChoice:
    """What is asked for. `options` holds parameters by their whole names (`tensorrt.tf32`)."""

    backend: str = "auto"  # one of BACKENDS
    device: str = "auto"  # auto, cpu, gpu, gpu:0, gpu:1 ...
    precision: str = "as_exported"  # one of PRECISIONS
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> BackendChoice:
        """From a node's parameters by name."""
        options = {name: values[name] for name in values if name.startswith(OPTION_GROUPS)}
        named = {key: values[key] for key in ("backend", "device", "precision") if key in values}
        return cls(**named, options=options)

    def option(self, name: str, default: Any) -> Any:
        """An option's value, or `default` where it was not given."""
        return self.options.get(name, default)

    @property
    def gpu(self) -> int | None:
        """The GPU asked for by name, `gpu` being the first; None for auto and cpu."""
        if not self.device.startswith("gpu"):
            return None
        return int(self.device.partition(":")[2] or 0)

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            Refusal: with every problem.
        """
        problems = []
        if self.backend not in BACKENDS:
            expected = f"one of {', '.join(BACKENDS)}"
            problems.append(Problem("", "parameter backend", expected, self.backend))
        if self.precision not in PRECISIONS:
            expected = f"one of {', '.join(PRECISIONS)}"
            problems.append(Problem("", "parameter precision", expected, self.precision))
        if not _DEVICE.fullmatch(self.device):
            expected = "auto, cpu, gpu, or gpu:N"
            problems.append(Problem("", "parameter device", expected, self.device))
        if self.backend == "tensorrt" and self.device == "cpu":
            problems.append(
                Problem(
                    "", "parameter device", "auto or gpu:N for the backend tensorrt", "cpu",
                    "set backend: onnxruntime to run on the CPU",
                )
            )  # fmt: skip
        if problems:
            raise Refusal(problems)


class LoadedModel(Model, Protocol):
    """A model that is ready to run: a `core.model.Model`, and what the node reports about it.

    `inputs` and `outputs` are host arrays, batch 1, at the same addresses for life; a name that
    the model repeats among its outputs is there again as `name#position`, the same array.
    Implementations inherit `core.model.ModelAbilities`, for what they do not do themselves.
    """

    sha256: str  # of the ONNX file
    facts: dict[str, str]  # for diagnostics and `bench`: device, precision, chosen, cuda graph...
    # It rounds more than the file says, and its actions were not compared with the CPU's yet.
    needs_precision_check: bool

    @property
    def provider(self) -> str:
        """What really runs it, as diagnostics shows it: `CPUExecutionProvider`, `tensorrt`..."""

    def run(self) -> None:
        """One inference, in place. Any one thread at a time; the first run's is not the last's."""

    def warm_up(self, runs: int = 3) -> None:
        """Run on zeros; leaves zeros. Raises a Refusal when the model does not run."""

    def close(self) -> None:
        """Release memory, context and sessions. Safe to call twice; no run may follow."""
