"""Several loaded models as one: the models of a policy that has more than one.

The policy runs them one by one through `parts`. The rest of the node sees one model, whose tensors
are named as `encoder/obs`. Tensors of the top level's `model` keep their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from policy_runner.backends.interface import LoadedModel
from policy_runner.core.errors import Problem, Refusal, collect
from policy_runner.core.model import Buffer, ModelAbilities


class ModelGroup(ModelAbilities):
    """See `LoadedModel`. `sha256` and `facts` are those of the top level's model, then the others'.

    Attributes:
        parts: the models by the names of `core.spec.parts.ModelFile`.
        own_facts: facts of all models together.
    """

    needs_precision_check = False  # `load_models` compares the whole policy

    def __init__(self, parts: Mapping[str, LoadedModel]) -> None:
        """Join models; the group closes them.

        Args:
            parts: by name, in the order of the spec.
        """
        self.parts = dict(sorted(parts.items(), key=lambda item: item[0] != ""))
        self.sha256 = self.parts[""].sha256
        self.own_facts: dict[str, str] = {}  # of all models together
        self._inputs = _joined({name: model.inputs for name, model in self.parts.items()})
        self._outputs = _joined({name: model.outputs for name, model in self.parts.items()})

    @property
    def facts(self) -> dict[str, str]:
        """The newest facts of every model, as `encoder/device`, and `own_facts`."""
        found = {
            part_name(name, fact): text
            for name, model in self.parts.items()
            for fact, text in (("sha256", model.sha256), *model.facts.items())
            if name or fact != "sha256"
        }
        return {**found, **self.own_facts}

    @facts.setter
    def facts(self, facts: dict[str, str]) -> None:
        self.own_facts = dict(facts)

    @property
    def provider(self) -> str:
        """What really runs the models: one name, or one per model where they differ."""
        found = {name: model.provider for name, model in self.parts.items()}
        if len(set(found.values())) == 1:
            return found[""]
        return ", ".join(f"{name or 'model'}: {provider}" for name, provider in found.items())

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors of all models by name, as `encoder/obs`."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors of all models by name, as `encoder/latent`."""
        return self._outputs

    def run(self) -> None:
        """Run every model once, each on its own inputs; for measurements."""
        for model in self.parts.values():
            model.run()

    def warm_up(self, runs: int = 3) -> None:
        """Run every model on zeros; see `LoadedModel.warm_up`."""
        for model in self.parts.values():
            model.warm_up(runs)

    def take_log(self) -> Sequence[str]:
        """Log lines of every model's library since the last call."""
        return [line for model in self.parts.values() for line in model.take_log()]

    def close(self) -> None:
        """Close every model."""
        for model in self.parts.values():
            model.close()


def part_name(part: str, name: str) -> str:
    """The name of a tensor, or of a fact, of the part of a group."""
    return f"{part}/{name}" if part else name


def load_parts(names: Sequence[str], load: Callable[[str], LoadedModel]) -> ModelGroup:
    """Load every model; if one is refused, close the others.

    Args:
        names: of the models, in the order of the spec.
        load: loads the model with that name.

    Raises:
        Refusal: with the problems of all models.
    """
    loaded: dict[str, LoadedModel] = {}
    problems: list[Problem | str] = []
    try:
        for name in names:
            with collect(problems):
                loaded[name] = load(name)
        if problems:
            raise Refusal(list(dict.fromkeys(problems)))
    except BaseException:
        for model in loaded.values():
            model.close()
        raise
    return ModelGroup(loaded)


def _joined(tensors: Mapping[str, Mapping[str, Buffer]]) -> dict[str, Buffer]:
    return {
        part_name(part, name): array
        for part, arrays in tensors.items()
        for name, array in arrays.items()
    }
