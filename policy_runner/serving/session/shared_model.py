"""One loaded model for many connections: each gets tensors of its own, and the runs take turns.

A pipeline is bound to its model's arrays. A `ModelView` has such arrays for one connection, and
copies them into the shared model and back at every run. Copies do not round: the numbers are those
of a pipeline that has the model alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.backends.several import part_name
from policy_runner.core.model import Buffer, Model, ModelAbilities


class ModelView(ModelAbilities):
    """A `core.model.Model` with its own tensors, which runs a shared one.

    It carries no recurrent states (`keep_states`): the pipeline copies them in these tensors. So
    connections never see the states of each other. One thread at a time may run the views of a
    model.
    """

    def __init__(self, model: Model) -> None:
        """Allocate the tensors of one connection.

        Args:
            model: the shared model. Nothing else may let it keep states.
        """
        self._model = model
        self.inputs: Mapping[str, Buffer] = _zeros_like(model.inputs)
        self.outputs: Mapping[str, Buffer] = _zeros_like(model.outputs)
        shared = {id(array): name for name, array in model.inputs.items()}
        # A model may have an array as input and output. The view then has one array, too.
        self.outputs = {
            name: self.inputs[shared[id(model.outputs[name])]]
            if id(model.outputs[name]) in shared
            else array
            for name, array in self.outputs.items()
        }
        self._into = [(model.inputs[name], array) for name, array in self.inputs.items()]
        self._back = [(array, model.outputs[name]) for name, array in self.outputs.items()]

    def run(self) -> None:
        """Compute the outputs from the inputs."""
        for shared, own in self._into:
            np.copyto(shared, own)
        self._model.run()
        for own, shared in self._back:
            np.copyto(own, shared)


class GroupView(ModelAbilities):
    """A view of several models; see `backends.several.ModelGroup`."""

    def __init__(self, parts: Mapping[str, Model]) -> None:
        """Allocate the tensors of every model.

        Args:
            parts: the shared models by the names of `core.spec.parts.ModelFile`.
        """
        self.parts = {name: ModelView(model) for name, model in parts.items()}
        self.inputs = _joined({name: view.inputs for name, view in self.parts.items()})
        self.outputs = _joined({name: view.outputs for name, view in self.parts.items()})

    def run(self) -> None:
        """Run every model once, each on its own inputs."""
        for view in self.parts.values():
            view.run()


def view_of(model: Model) -> ModelView | GroupView:
    """Return a view of a loaded model, or of several models."""
    parts: Mapping[str, Model] | None = getattr(model, "parts", None)
    return ModelView(model) if parts is None else GroupView(parts)


def _zeros_like(tensors: Mapping[str, Buffer]) -> dict[str, Buffer]:
    made: dict[int, Buffer] = {}
    found = {}
    for name, array in tensors.items():
        # A repeated output is the same array under two names.
        found[name] = made.setdefault(id(array), np.zeros_like(array))
    return found


def _joined(tensors: Mapping[str, Mapping[str, Buffer]]) -> dict[str, Buffer]:
    return {
        part_name(part, name): array
        for part, arrays in tensors.items()
        for name, array in arrays.items()
    }


def check_names(names: Sequence[str], known: Sequence[str]) -> tuple[str, str] | None:
    """Return the expected names of tensors, and what is wrong; None if nothing is.

    Args:
        names: of the given tensors.
        known: the model's inputs.
    """
    missing = [name for name in known if name not in names]
    unknown = [name for name in names if name not in known]
    if not missing and not unknown:
        return None
    got = f"none for {', '.join(missing)}" if missing else f"'{unknown[0]}'"
    return f"the tensors {', '.join(known)}", got
