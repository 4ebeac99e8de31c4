"""The user's choice of a backend, and the interface of a loaded model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.model import Model

BACKENDS = ("auto", "onnxruntime", "tensorrt", "remote")
PRECISIONS = ("as_exported", "fp32", "fp16")
# Parameters with these prefixes are passed to the backends under their full names.
OPTION_GROUPS = ("onnxruntime.", "tensorrt.", "engines.", "precision_check.", "remote.")
_DEVICE = re.compile(r"auto|cpu|gpu(:\d{1,2})?")


@dataclass(frozen=True)
class BackendChoice:
    """The requested backend. `options`: parameters by their full names (`tensorrt.tf32`)."""

    backend: str = "auto"  # one of BACKENDS
    device: str = "auto"  # auto, cpu, gpu, gpu:0, gpu:1 ...
    precision: str = "as_exported"  # one of PRECISIONS
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> BackendChoice:
        """Make a choice from a node's parameters.

        Args:
            values: parameters by name; those that are not about backends are ignored.
        """
        options = {name: values[name] for name in values if name.startswith(OPTION_GROUPS)}
        named = {key: values[key] for key in ("backend", "device", "precision") if key in values}
        return cls(**named, options=options)

    def option(self, name: str, default: Any) -> Any:
        """Return an option's value, or `default` if it was not given."""
        return self.options.get(name, default)

    @property
    def gpu(self) -> int | None:
        """Number of the requested GPU; 0 for `gpu`, None for auto and cpu."""
        if not self.device.startswith("gpu"):
            return None
        return int(self.device.partition(":")[2] or 0)

    def check(self) -> None:
        """Refuse unknown values and contradictions.

        Raises:
            Refusal: it has every problem.
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
        if self.backend == "remote":
            given = (("device", self.device, "auto"), ("precision", self.precision, "as_exported"))
            problems += [
                Problem("", f"parameter {name}", f"{usual}: the server decides it", value)
                for name, value, usual in given
                if value != usual
            ]
        if problems:
            raise Refusal(problems)


class LoadedModel(Model, Protocol):
    """A model that is ready to run: a `core.model.Model`, plus facts that the node reports.

    `inputs` and `outputs` are host arrays, batch 1, whose addresses never change. If the model
    repeats an output's name, the same array is also available as `name#position`.
    Implementations inherit defaults from `core.model.ModelAbilities`.
    """

    sha256: str  # of the ONNX file; "" if only a server has it
    facts: dict[str, str]  # for diagnostics and `bench`: device, precision, chosen, cuda graph...
    # True: it rounds more than the file, and its actions are not compared with the CPU's yet.
    needs_precision_check: bool

    @property
    def provider(self) -> str:
        """The provider in use, shown in diagnostics: `CPUExecutionProvider`, `tensorrt`..."""

    def run(self) -> None:
        """Run one inference, in place. One thread at a time; the thread may change later."""

    def warm_up(self, runs: int = 3) -> None:
        """Run on zeros; inputs and outputs are zeros afterwards.

        Raises:
            Refusal: the model does not run.
        """

    def close(self) -> None:
        """Release memory, context and sessions. Safe to call twice; do not call `run` after it."""
