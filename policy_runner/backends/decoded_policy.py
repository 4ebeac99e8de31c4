"""One policy without a robot: observation tensors in, an action out, as the node decodes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from policy_runner.backends.several import part_name
from policy_runner.core.chunks.chunk_decoder import (
    first_rows,
    normalizers_of_step,
    statistics_steps,
)
from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.errors import Refusal
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Array, Buffer, Model
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.observation.terms.sources import Sources
from policy_runner.core.pipeline.bind_policy import model_part
from policy_runner.core.pipeline.bind_tensors import (
    Problems,
    action_normalizers,
    bind_states,
    fill_constant,
    set_normalizer,
    tensor_name,
    uncovered,
)
from policy_runner.core.spec import (
    ConstantTerm,
    History,
    HistoryBlock,
    ModelOutputTerm,
    ObservationTensor,
    SpecFile,
)
from policy_runner.core.spec.named_numbers import match_names
from policy_runner.core.spec.parts import ModelFile, OnePolicy, is_linked, models_of

Sample = Mapping[str, Buffer]
_History = TypeVar("_History", History, HistoryBlock)


class LinkedElements:
    """The elements of a tensor that are outputs of earlier models; the others are left alone."""

    def __init__(
        self, tensor: ObservationTensor, into: Buffer, sources: Sources, file: SpecFile, key: str
    ) -> None:
        """Find the elements.

        Args:
            tensor: the tensor in the spec.
            into: the model's input.
            sources: the models whose outputs it reads.
            file: the spec; its folder holds the statistics files.
            key: the tensor's key in the spec, for error messages.
        """
        terms, compiled = tensor.every_term, TensorBuilder(tensor, sources, key).terms
        sizes = [term.size for term in compiled]
        links = [isinstance(term, ModelOutputTerm) for term in terms]
        own = [
            term if link else ConstantTerm(term="constant", name=one.name, value=[0.0] * one.size)
            for term, link, one in zip(terms, links, compiled, strict=True)
        ]
        which: dict[str, object] = {"terms": own} if tensor.whole is None else {"whole": own[0]}
        if tensor.history is not None:
            elements = {one.name: one.elements for one in compiled}
            which["history"] = _by_index(tensor.history, elements, str(file.path), key)
        self._builder = TensorBuilder(tensor.model_copy(update=which), sources, key)
        problems = set_normalizer(self._builder, tensor.normalization, file, key)
        if problems:
            raise Refusal(problems)
        marked = np.repeat(links, sizes)
        found = np.zeros(self._builder.size)
        for _ in range(self._builder.depth):
            self._builder.frame[:] = np.where(marked, np.nan, 0.0)
            self._builder.advance(found)
        self._index = np.flatnonzero(np.isnan(found))
        self._into = into.reshape(-1)
        self._values = np.zeros_like(self._into)
        self.start()

    def start(self) -> None:
        """Drop the past frames."""
        self._builder.reset()

    def fill(self) -> None:
        """Compute the elements from the models' outputs, and write them into the model's input."""
        self._builder.read()
        self._builder.read_outputs()
        self._builder.advance(self._values)
        self._into[self._index] = self._values[self._index]


def _by_index(
    history: _History, elements: Mapping[str, Sequence[str]], file: str, key: str
) -> _History:
    """The history with lengths and lags by the names that constants have: [0], [1], ..."""
    blocks = getattr(history, "blocks", None)
    if blocks is not None:
        changed_blocks = [_by_index(one, elements, file, key) for one in blocks]
        return history.model_copy(update={"blocks": changed_blocks})
    which = "length" if history.length is not None else "lags"
    given = history.length if history.length is not None else history.lags
    if not isinstance(given, Mapping):
        return history
    changed: dict[str, object] = {}
    for name, one in given.items():
        changed[name] = one
        if isinstance(one, Mapping):
            found = match_names(one, elements[name], file, f"{key}.history.{which}.{name}")
            changed[name] = {f"[{k}]": value for k, value in enumerate(found)}
    return history.model_copy(update={which: changed})


class DecodedPart:
    """One model of the policy, with what each inference writes into it."""

    def __init__(
        self, part: ModelFile, spec_file: SpecFile, model: Model, sources: Sources, kept: bool
    ) -> None:
        view = SpecFile(part.spec, spec_file.path)
        problems: Problems = uncovered(view, model, part.read if part.is_earlier else None)
        if problems:
            raise Refusal(part.placed(problems))
        self.part, self.model, self.every = part, model, part.every
        self._states = bind_states(view, model)
        self._restart = model.keep_states(self._states) if kept and self._states else None
        self._constants: list[tuple[Buffer, Buffer]] = []
        self._links: list[LinkedElements] = []
        self.observed: dict[str, Buffer] = {}  # inputs that a sample gives, by name
        for k, tensor in enumerate(part.spec.observation):
            name = str(tensor_name(tensor.tensor, model.inputs))
            into, key = model.inputs[name], f"observation[{k}]"
            if tensor.constant is not None:
                fill_constant(view, tensor.constant, into, key)
                self._constants.append((into, into.copy()))
                continue
            if not is_linked(tensor):
                self.observed[name] = into
            if any(isinstance(term, ModelOutputTerm) for term in tensor.every_term):
                self._links.append(LinkedElements(tensor, into, sources, view, key))

    def start(self) -> None:
        """Recurrent states and histories as after a reset, constants as the spec says."""
        for tensor, values in self._constants:
            np.copyto(tensor, values)
        for link in self._links:
            link.start()
        if self._restart is not None:
            self._restart()
            return
        for state, _, initial in self._states:
            np.copyto(state, initial)

    def run(self, sample: Sample, due: bool) -> None:
        """Write the inputs, named as in `ModelGroup`, and run the model if it is due."""
        for name, into in self.observed.items():
            np.copyto(into, sample[part_name(self.part.name, name)])
        for link in self._links:
            link.fill()
        if due:
            self.model.run()

    def carry_states(self) -> None:
        """The states of this run become those of the next one."""
        if self._restart is None:
            for state, following, _ in self._states:
                np.copyto(state, following)


class DecodedPolicy:
    """A policy's models with the policy's own decoding."""

    def __init__(
        self, given: OnePolicy, spec_file: SpecFile, model: Model, kept: bool = False
    ) -> None:
        """Bind the spec to the models' tensors.

        Args:
            given: the policy.
            spec_file: the spec that it is of.
            model: the loaded model, of several models those of the whole spec.
            kept: a model that can keeps its recurrent states itself, from now on, as in the node.

        Raises:
            Refusal: they do not fit.
        """
        spec, file = given.spec, str(spec_file.path)
        parts = [(part, model_part(model, part.name)) for part in models_of(given)]
        self._sources = Sources(
            spec=spec,
            file=file,
            slots={name: InputSlot(name, one) for name, one in spec.inputs.items()},
            robot_joints={name: RobotJoint(name) for name in spec.joint_names},
            last_action=np.zeros(sum(len(g.names) for t in spec.action for g in t.groups)),
            action_joints=tuple(n for t in spec.action for g in t.groups for n in g.names),
            action_kinds=tuple(g.kind for t in spec.action for g in t.groups for _ in g.names),
            next_to=spec_file.next_to,
            models=dict(zip(spec.models, (one for _, one in parts), strict=False)),
        )
        self._parts = [
            DecodedPart(part, spec_file, one, self._sources, kept) for part, one in parts
        ]
        self._count = 0
        network, view = parts[-1][1], SpecFile(spec, spec_file.path)
        outputs = [
            network.outputs[str(tensor_name(t.tensor, network.outputs))] for t in spec.action
        ]
        still = np.zeros(len(spec.joint_names))
        normalizers = action_normalizers(view, statistics_steps(spec, outputs, file))
        if spec.chunk is not None:  # compared by the action of the observation's time
            normalizers = normalizers_of_step(spec, normalizers, spec.chunk.observed_index)
            outputs = first_rows(spec, outputs, file)
        self._decoder = ActionDecoder(spec, outputs, normalizers, lambda _joint: still, file)
        name = f"{given.name}: " if given.name else ""
        self.elements = [f"{name}{one.joint} ({one.kind})" for one in self._decoder.elements]

    @property
    def observed(self) -> list[tuple[ModelFile, dict[str, Buffer]]]:
        """Per model, the inputs that a sample gives, by their names in the model's file."""
        return [(part.part, part.observed) for part in self._parts]

    def start(self) -> None:
        """Begin a sequence, as after a reset."""
        for part in self._parts:
            part.start()
        for previous in self._sources.previous_outputs:
            previous.reset()
        self._count = 0

    def action(self, sample: Sample) -> Array | None:
        """One inference; its target, float64 [elements], or None where it is not finite."""
        for part in self._parts:
            part.run(sample, self._count % part.every == 0)
        # Each action for itself: filters and targets that add up would hide or pile up errors.
        self._decoder.reset()
        finite = self._decoder.decode()
        for part in self._parts:
            if self._count % part.every == 0:
                part.carry_states()
        for previous in self._sources.previous_outputs:
            previous.advance()
        self._count += 1
        return self._decoder.target.copy() if finite else None
