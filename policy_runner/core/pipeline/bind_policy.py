"""Bind one policy of a spec to its models: their tensors, states, and the action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from policy_runner.core.chunks.chunk_decoder import (
    ChunkDecoder,
    first_rows,
    joined_rows,
    normalizers_of_step,
    statistics_steps,
)
from policy_runner.core.chunks.model import ChunkModel
from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Buffer, Model, batch_remedy, cast_range
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.observation.terms.rotation import Quaternion
from policy_runner.core.observation.terms.sources import Sources
from policy_runner.core.pipeline.bind_tensors import (
    Problems,
    action_normalizers,
    bind_states,
    fill_constant,
    set_normalizer,
    tensor_name,
    uncovered,
    unknown,
)
from policy_runner.core.pipeline.chain import ChainPolicy, EarlierStage
from policy_runner.core.pipeline.policy import BuiltTensor, Policy
from policy_runner.core.spec import ObservationTensor, SpecFile, TextTerm
from policy_runner.core.spec.elements import ActionElement, action_elements
from policy_runner.core.spec.parts import (
    ModelFile,
    OnePolicy,
    is_linked,
    models_of,
    reads_previous_target,
)


@dataclass(frozen=True)
class Robot:
    """What the policies of a spec share: the inputs and the robot's joints."""

    slots: Mapping[str, InputSlot]
    joints: Mapping[str, RobotJoint]  # by policy joint
    mountings: Mapping[str, Quaternion]  # input -> R(body, sensor)


@dataclass(frozen=True)
class BoundChunk:
    """What a policy with a `chunk` has in addition: its model, and the decoder of whole chunks."""

    model: ChunkModel
    decoder: ChunkDecoder


@dataclass
class BoundPolicy:
    """One policy, bound to its models. `policy` makes it runnable when all of the spec fits."""

    given: OnePolicy
    file: SpecFile  # with the spec of `given`
    sources: Sources
    models: list[tuple[ModelFile, Model]]  # the policy's `model` is the last one
    elements: list[ActionElement]
    tensors: dict[str, list[BuiltTensor]] = field(default_factory=dict)  # by name of the model
    decoder: ActionDecoder | None = None
    chunk: BoundChunk | None = None

    def policy(self) -> Policy:
        """Bind states and make the policy. `bind_policy` must have reported no problem.

        Raises:
            Refusal: an initial state does not fit.
        """
        made = self._made()
        # A model that carries its states warms up again for that, which zeroes its inputs.
        for part, model in self.models:
            _fill_constants(SpecFile(part.spec, self.file.path), model)
        return made

    def _made(self) -> Policy:
        spec, sources = self.given.spec, self.sources
        assert self.decoder is not None
        problems: Problems = []
        states = []
        for part, model in self.models:
            try:
                states.append(bind_states(SpecFile(part.spec, self.file.path), model))
            except Refusal as refusal:
                problems += part.placed(refusal.problems)
        if problems:
            raise Refusal(problems)
        last, network = self.models[-1]
        previous = sources.previous_target if reads_previous_target(spec) else None
        own = {
            "tensors": self.tensors[last.name],
            "states": states[-1],
            "model": network,
            "decoder": self.decoder,
            "last_action": (spec.last_action, sources.last_action),
            "clocks": sources.clocks,
            "previous_target": previous,
        }
        if not spec.models:
            return Policy(**own)  # type: ignore[arg-type]
        stages = [
            EarlierStage(part.name, model, part.every, self.tensors[part.name], state, [
                model.outputs[str(tensor_name(name, model.outputs))] for name in part.read
            ])
            for (part, model), state in zip(self.models[:-1], states[:-1], strict=True)
        ]  # fmt: skip
        built = [
            (given, builder)
            for part, _ in self.models
            for given in part.spec.observation
            for builder, _ in self.tensors[part.name]
            if builder.name == _built_name(part, given.tensor)
        ]
        return ChainPolicy(
            stages,
            [builder for given, builder in built if is_linked(given)],
            sources.previous_outputs,
            **own,
        )


def bind_policy(
    given: OnePolicy, spec_file: SpecFile, model: Model, robot: Robot, problems: Problems
) -> BoundPolicy:
    """Bind the tensors and the action of one policy.

    Args:
        given: the policy.
        spec_file: the spec that it is of.
        model: the loaded model, of several models those of the whole spec.
        robot: what the policies share.
        problems: receives what does not fit.
    """
    spec, file = given.spec, str(spec_file.path)
    own: Problems = []
    try:
        elements = action_elements(spec, file)
    except Refusal as refusal:
        own += refusal.problems
        elements = [
            ActionElement(j, g.kind) for t in spec.action for g in t.groups for j in g.names
        ]
    size = len(elements)
    models = [(part, model_part(model, part.name)) for part in models_of(given)]
    sources = Sources(
        spec=spec,
        file=file,
        slots=robot.slots,
        robot_joints=robot.joints,
        last_action=np.zeros(size),
        action_joints=tuple(element.joint for element in elements),
        action_kinds=tuple(element.kind for element in elements),
        previous_target=np.zeros(size),
        mountings=robot.mountings,
        next_to=spec_file.next_to,
        models=dict(zip(spec.models, (model for _, model in models), strict=False)),
    )
    bound = BoundPolicy(given, SpecFile(spec, spec_file.path), sources, models, elements)
    problems += given.placed(own)
    for part, network in models:
        found: Problems = []
        view = SpecFile(part.spec, spec_file.path)
        bound.tensors[part.name] = _tensor_builders(part, view, network, sources, found)
        found += uncovered(view, network, part.read if part.is_earlier else None)
        problems += part.placed(found)
    network = models[-1][1]
    try:
        outputs = [tensor_name(tensor.tensor, network.outputs) for tensor in spec.action]
        if None not in outputs:
            chunk_model = None
            if spec.chunk is not None:
                network = chunk_model = ChunkModel(network, spec, file)
            buffers = [network.outputs[str(name)] for name in outputs]
            normalizers = action_normalizers(bound.file, statistics_steps(spec, buffers, file))
            measured = _measured(robot.slots)
            rows = first_rows(spec, buffers, file)
            if chunk_model is not None:
                whole = ChunkDecoder(spec, buffers, normalizers, measured, file)
                chunk_model.use(whole, lambda: joined_rows(spec, buffers, file))
                bound.models[-1] = (bound.models[-1][0], chunk_model)
                bound.chunk = BoundChunk(chunk_model, whole)
                sources.clocks.append(chunk_model)
                normalizers = normalizers_of_step(spec, normalizers, whole.first)
            bound.decoder = ActionDecoder(spec, rows, normalizers, measured, file, sources)
    except Refusal as refusal:
        problems += [p for p in given.placed(refusal.problems) if p not in problems]
    return bound


def model_part(model: Model, name: str) -> Model:
    """The model with this name of `core.spec.parts`; a single model has the name ""."""
    parts: Mapping[str, Model] = getattr(model, "parts", {"": model})
    return parts[name]


def _built_name(part: ModelFile, tensor: str | int) -> str:
    return f"{part.name}/{tensor}" if part.name else str(tensor)


def _tensor_builders(
    part: ModelFile, spec_file: SpecFile, model: Model, sources: Sources, problems: Problems
) -> list[BuiltTensor]:
    """Make the builders of the tensors that have terms. Fill constant tensors here, once."""
    builders: list[BuiltTensor] = []
    for k, tensor in enumerate(spec_file.spec.observation):
        key = f"observation[{k}]"
        name = tensor_name(tensor.tensor, model.inputs)
        into = model.inputs[name] if name is not None else None
        if into is None:
            problems.append(unknown(sources.file, f"{key}.tensor", tensor.tensor, model.inputs))
        try:
            if tensor.constant is not None:
                if into is not None:
                    fill_constant(spec_file, tensor.constant, into, f"{key}.constant")
                continue
            builder = TensorBuilder(tensor, sources, key)
            builder.name = _built_name(part, tensor.tensor)
            problems += set_normalizer(builder, tensor.normalization, spec_file, key)
            if into is not None and into.size != builder.size:
                expected = f"terms that add up to the {into.size} elements of '{tensor.tensor}'"
                got = f"{builder.size} ({_sizes(builder)})"
                which = "whole" if tensor.whole is not None else "terms"
                remedy = batch_remedy(into.shape, builder.size)
                problems.append(Problem(sources.file, f"{key}.{which}", expected, got, remedy))
            elif into is not None:
                problems += _text_problems(tensor, into, sources.file, key)
                builders.append((builder, into.reshape(-1)))
        except Refusal as refusal:
            problems += refusal.problems
    return builders


def _text_problems(given: ObservationTensor, into: Buffer, file: str, key: str) -> Problems:
    """Whether the tensor's type holds every byte of a text."""
    if cast_range(into.dtype)[1] >= 255 or not any(
        isinstance(term, TextTerm) for term in given.every_term
    ):
        return []
    expected = "a tensor whose type holds 0 to 255, such as uint8, for the bytes of a text"
    return [Problem(file, f"{key}.tensor", expected, f"'{given.tensor}' of {into.dtype}")]


def _fill_constants(spec_file: SpecFile, model: Model) -> None:
    """Fill the constant tensors of one model. They must exist and fit."""
    for k, tensor in enumerate(spec_file.spec.observation):
        if tensor.constant is not None:
            into = model.inputs[str(tensor_name(tensor.tensor, model.inputs))]
            fill_constant(spec_file, tensor.constant, into, f"observation[{k}].constant")


def _sizes(builder: TensorBuilder) -> str:
    return ", ".join(f"{term.name} {term.size}" for term in builder.terms)


def _measured(
    slots: Mapping[str, InputSlot],
) -> Callable[[int], npt.NDArray[np.float64] | None]:
    def find(joint: int) -> npt.NDArray[np.float64] | None:
        for slot in slots.values():
            if slot.joints is not None and joint in slot.used("position"):
                return slot.joints.values["position"]
        return None

    return find
