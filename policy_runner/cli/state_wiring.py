"""Compares the recurrent states of a spec with the ways that the model's graph has for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policy_runner.backends.onnx_file.state_paths import wired_pairs
from policy_runner.core.errors import Problem
from policy_runner.core.model import ModelFacts, StatePath, TensorFacts
from policy_runner.core.spec import SpecFile
from policy_runner.core.spec.parts import ModelFile, model_files

REMEDY = "fix it, or set `deliberate: true` there if it is meant"


@dataclass(frozen=True)
class DoubtfulState:
    """One state that the spec and the graph wire in different ways.

    Attributes:
        key: of the state, or of the constant, in the spec.
        text: what the spec says and what the graph shows.
        expected: what the graph shows.
        got: what the spec says.
        proven: the graph leaves no other reading, so `check` refuses.
    """

    key: str
    expected: str
    got: str
    proven: bool

    @property
    def text(self) -> str:
        """One sentence without the key."""
        return f"{self.got}, and the graph shows {self.expected}"


def state_problems(spec_file: SpecFile, facts: Mapping[str, ModelFacts]) -> list[Problem | str]:
    """Return a problem for each state that the graph proves to be wired in another way.

    Args:
        spec_file: the spec.
        facts: of every model, by its name in `core.spec.parts`.
    """
    found: list[Problem | str] = []
    for part in model_files(spec_file.spec):
        found += part.placed(_proven(part, spec_file, facts[part.name]))
    return list(dict.fromkeys(found))


def _proven(part: ModelFile, spec_file: SpecFile, facts: ModelFacts) -> list[Problem | str]:
    file = str(spec_file.path)
    return [
        Problem(file, one.key, one.expected, one.got, REMEDY)
        for one in doubtful_states(SpecFile(part.spec, spec_file.path), facts)
        if one.proven
    ]


def doubtful_states(spec_file: SpecFile, model: ModelFacts) -> list[DoubtfulState]:
    """Return the states of one model that the spec and the graph wire in different ways.

    Those that the spec calls deliberate are left out.
    """
    return [*_exchanged(spec_file, model), *_not_carried(spec_file, model)]


def _named(tensor: str | int, tensors: tuple[TensorFacts, ...]) -> str:
    if isinstance(tensor, int):
        return tensors[tensor].name if tensor < len(tensors) else str(tensor)
    return tensor


def _exchanged(spec_file: SpecFile, model: ModelFacts) -> list[DoubtfulState]:
    states = {
        _named(one.input, model.inputs): (k, _named(one.output, model.outputs), one.deliberate)
        for k, one in enumerate(spec_file.spec.state)
    }
    kinds: dict[object, list[str]] = {}
    for name in states:
        tensor = model.input(name)
        if tensor is not None:
            kinds.setdefault((tensor.shape, tensor.dtype), []).append(name)
    found = []
    for given in kinds.values():
        wired = wired_pairs(model.paths, given, [states[name][1] for name in given])
        wired |= {one: output for one, output in model.recurrent if one in given}
        proven = any(_proves(model, name, states[name][1], wired) for name in given)
        for name in given:
            k, output, deliberate = states[name]
            if name in wired and wired[name] != output and not deliberate:
                expected = f"that '{wired[name]}' is the next value of '{name}'"
                got = f"'{name}' takes '{output}'"
                found.append(DoubtfulState(f"state[{k}]", expected, got, proven))
    return found


def _proves(model: ModelFacts, name: str, output: str, wired: Mapping[str, str]) -> bool:
    """Whether the graph leaves no doubt that `name` does not take `output`."""
    right = wired.get(name)
    if right is None or right == output:
        return False
    if (name, right) in model.recurrent:
        return True
    there, here = model.paths.get((name, right)), model.paths.get((name, output))
    # A value that cannot reach its own next value is no state; a cell's own way has no weights,
    # and what comes after the next value is computed from it, as h' = o tanh(c') of an LSTM.
    if here is None or there is None or there.weights == 0 < here.weights:
        return True
    return there.weights == 0 and right in here.through


def _not_carried(spec_file: SpecFile, model: ModelFacts) -> list[DoubtfulState]:
    spec = spec_file.spec
    recurrent = dict(model.recurrent)
    ignored = {_named(one, model.outputs) for one in spec.ignored_outputs}
    carried = {_named(one.output, model.outputs) for one in spec.state}
    found = []
    for k, tensor in enumerate(spec.observation):
        name = _named(tensor.tensor, model.inputs)
        output, proven = recurrent.get(name), tensor.constant is not None
        if output is None and tensor.constant is not None:
            output = _next_value(model.paths, name, ignored, carried)
        if output is not None and not tensor.deliberate:
            what = "a constant" if tensor.constant is not None else "terms"
            expected = f"a recurrent state whose next value is '{output}'"
            got = f"'{name}' is fed by {what}, so it is never carried"
            found.append(DoubtfulState(f"observation[{k}]", expected, got, proven))
    return found


def _next_value(
    paths: Mapping[tuple[str, str], StatePath], name: str, ignored: set[str], carried: set[str]
) -> str | None:
    """The ignored output that is the next value of this input, or None.

    `h' = (1 - z) n + z h` has a way without weights and one with them. `c' = f c + i g` leads to
    `h' = o tanh(c')`, so it has two ways without weights to outputs of its shape.
    """
    free = sorted(
        (way.nodes, end, way.gated)
        for (start, end), way in paths.items()
        if start == name and way.weights == 0 and end in ignored | carried
    )
    if not free or free[0][1] not in ignored:
        return None
    return free[0][1] if free[0][2] or len(free) > 1 else None
