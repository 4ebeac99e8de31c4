"""Terms that read the outputs of the models that run before, such as the numbers of an encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array, Buffer
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import ModelOutputTerm


class PreviousOutput:
    """The value of a model's output at the end of the previous inference; 0 after a reset."""

    def __init__(self, output: Buffer) -> None:
        """Start with zeros.

        Args:
            output: the model's output; `advance` reads it.
        """
        self._output = output
        self.value: Array = np.zeros(output.size)

    def advance(self) -> None:
        """Keep the output of this inference."""
        np.copyto(self.value, self._output.reshape(-1))

    def reset(self) -> None:
        """Return to the state before the first inference."""
        self.value.fill(0.0)


@compiles(ModelOutputTerm)
def model_output(term: ModelOutputTerm, sources: Sources, key: str) -> CompiledTerm:
    """An output of an earlier model, or a part of it, of this inference or the previous one."""
    known = sources.models
    if term.model not in known:
        expected = f"a name of models ({', '.join(known) or 'there is none'})"
        hint = did_you_mean(term.model, known)
        raise refuse(sources.file, f"{key}.model", expected, f"'{term.model}'", hint)
    outputs = known[term.model].outputs
    names = list(outputs)
    name = term.tensor
    if isinstance(name, int):
        name = names[name] if name < len(names) else f"position {name}"
    if name not in outputs:
        expected = f"an output of '{term.model}' ({', '.join(names)})"
        hint = did_you_mean(name, names)
        raise refuse(sources.file, f"{key}.tensor", expected, f"'{name}'", hint)
    output = outputs[name].reshape(-1)
    first, last = term.slice or (0, output.size)
    if not 0 <= first < last <= output.size:
        expected = f"[first, last) within the {output.size} elements of '{name}'"
        raise refuse(sources.file, f"{key}.slice", expected, f"[{first}, {last}]")
    source: Buffer = output[first:last]
    if term.previous:
        kept = PreviousOutput(output)
        sources.previous_outputs.append(kept)
        source = kept.value[first:last]
    elements = tuple(f"{name}[{k}]" for k in range(first, last))
    return absolute(term.name or term.model, elements, _copies(source))


def _copies(source: Buffer) -> Callable[[Array], Read]:
    def bind(out: Array) -> Read:
        def read() -> str:
            np.copyto(out, source, casting="unsafe")
            return ""

        return read

    return bind
