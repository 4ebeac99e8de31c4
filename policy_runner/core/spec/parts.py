"""The parts of a spec with several models: one spec per policy, and every model by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.core.spec.elements import action_elements
from policy_runner.core.spec.models import EarlierModel, Model, Switch
from policy_runner.core.spec.policy import PolicySpec
from policy_runner.core.spec.tensors import ModelOutputTerm, ObservationTensor

# Keys of the spec that belong to one policy. `switch.policies` has them once more per policy.
OWN_KEYS = (
    *("model", "models", "observation", "state", "action", "ignored_outputs", "last_action"),
)
Problems = list[Problem | str]


@dataclass(frozen=True)
class OnePolicy:
    """One policy of a spec.

    Attributes:
        name: in `switch`; "" without a switch.
        path: the first half of its models' names, "" for the policy of the top level.
        key: of the policy in the spec, with a dot at the end; "" for the top level.
        spec: the spec as if it had this policy only: without `switch`.
    """

    name: str
    path: str
    key: str
    spec: PolicySpec

    def placed(self, problems: Sequence[Problem | str]) -> Problems:
        """The problems with their keys as in the file."""
        return placed(problems, self.key)


@dataclass(frozen=True)
class ModelFile:
    """One model of a spec.

    Attributes:
        name: unique in the spec: "" for `model`, else as `encoder`, `walk`, or `walk/encoder`.
        key: of the model in the spec, with a dot at the end; its other keys follow it.
        model: its file and sha256.
        spec: the spec as if it had this model only. An earlier model has no action.
        every: inferences per run.
        read: the outputs that terms of other models read, as the spec names them.
    """

    name: str
    key: str
    model: Model
    spec: PolicySpec
    every: int = 1
    read: tuple[str | int, ...] = ()

    @property
    def is_earlier(self) -> bool:
        """Whether it is one of `models`, not a policy's `model`."""
        return isinstance(self.model, EarlierModel)

    @property
    def file_key(self) -> str:
        """The key of its file in the spec."""
        return f"{self.key}file" if self.is_earlier else f"{self.key}model.file"

    def placed(self, problems: Sequence[Problem | str]) -> Problems:
        """The problems with their keys as in the file."""
        return placed(problems, self.key)


def policies(spec: PolicySpec) -> list[OnePolicy]:
    """Every policy of the spec: the top level first, then those of `switch`."""
    if spec.switch is None:
        return [OnePolicy("", "", "", spec)]
    alone = spec.model_copy(update={"switch": None})
    found = [OnePolicy(spec.switch.first, "", "", alone)]
    for name, other in spec.switch.policies.items():
        own = alone.model_copy(update={key: getattr(other, key) for key in OWN_KEYS})
        found.append(OnePolicy(name, name, f"switch.policies.{name}.", own))
    return found


def models_of(policy: OnePolicy) -> list[ModelFile]:
    """The models of one policy: the earlier ones in the order of their runs, then `model`."""
    spec = policy.spec
    terms = [
        term
        for tensors in (spec.observation, *(one.observation for one in spec.models.values()))
        for tensor in tensors
        for term in tensor.every_term
        if isinstance(term, ModelOutputTerm)
    ]
    found = []
    for name, earlier in spec.models.items():
        own = {"model": earlier, "models": {}, "observation": earlier.observation, "action": [],
               "state": earlier.state, "ignored_outputs": earlier.ignored_outputs,
               "chunk": None}  # fmt: skip
        read = tuple(dict.fromkeys(term.tensor for term in terms if term.model == name))
        path = f"{policy.path}/{name}" if policy.path else name
        key = f"{policy.key}models.{name}."
        view = spec.model_copy(update=own)
        found.append(ModelFile(path, key, earlier, view, earlier.every, read))
    return [*found, ModelFile(policy.path, policy.key, spec.model, spec)]


def model_files(spec: PolicySpec) -> list[ModelFile]:
    """Every model of the spec: those of the top level, then those of `switch`.

    Within one policy the earlier models are first.
    """
    return [model for one in policies(spec) for model in models_of(one)]


def every_tensor(spec: PolicySpec) -> Iterator[ObservationTensor]:
    """The observation tensors of every model of the spec."""
    for one in model_files(spec):
        yield from one.spec.observation


def has_several(spec: PolicySpec) -> bool:
    """Whether the spec has more than one model."""
    return bool(spec.models) or spec.switch is not None


def reads_now(tensor: ObservationTensor) -> bool:
    """Whether the tensor reads an output that an earlier model computes in the same inference."""
    return any(isinstance(t, ModelOutputTerm) and not t.previous for t in tensor.every_term)


def is_linked(tensor: ObservationTensor) -> bool:
    """Whether the tensor has outputs of earlier models only."""
    terms = tensor.every_term
    return bool(terms) and all(isinstance(term, ModelOutputTerm) for term in terms)


def placed(problems: Sequence[Problem | str], prefix: str) -> Problems:
    """Put `prefix` before the keys of one policy, see `OWN_KEYS`. Other problems stay."""

    def one(problem: Problem | str) -> Problem | str:
        if isinstance(problem, str) or problem.key.split(".")[0].split("[")[0] not in OWN_KEYS:
            return problem
        return replace(problem, key=f"{prefix}{problem.key}")

    return [one(problem) for problem in problems] if prefix else list(problems)


def reads_previous_target(spec: PolicySpec) -> bool:
    """Whether a term of the spec is relative to the previous target."""
    return any(
        getattr(term, "relative_to", None) == "previous_target"
        for tensor in every_tensor(spec)
        for term in tensor.every_term
    )


def several_problems(spec: PolicySpec, file: str) -> Problems:
    """The problems of `models` and `switch` that need no model file."""
    problems: Problems = []
    for one in policies(spec):
        problems += one.placed(_order_problems(one.spec, file))
    if spec.switch is not None:
        problems += _switch_problems(spec, spec.switch, file)
    return problems


def _order_problems(spec: PolicySpec, file: str) -> Problems:
    """Whether every `model_output` term names a model that has run when the term is read."""
    problems: Problems = []
    names = list(spec.models)
    stages: list[tuple[str, Sequence[ObservationTensor], int]] = [
        (f"models.{name}.observation", earlier.observation, k)
        for k, (name, earlier) in enumerate(spec.models.items())
    ]
    stages.append(("observation", spec.observation, len(names)))
    for key, tensors, before in stages:
        for t, tensor in enumerate(tensors):
            for k, term in enumerate(tensor.every_term):
                if not isinstance(term, ModelOutputTerm):
                    continue
                where = f"{key}[{t}].{'whole' if tensor.whole is not None else f'terms[{k}]'}.model"
                known = names if term.previous else names[:before]
                if term.model not in known:
                    expected = f"a model that runs before ({', '.join(known) or 'there is none'})"
                    if term.previous:
                        expected = f"a name of models ({', '.join(known) or 'there is none'})"
                    hint = did_you_mean(term.model, known)
                    if term.model in names:
                        hint = "change the order of models, or set previous: true"
                    problems.append(Problem(file, where, expected, f"'{term.model}'", hint))
    return problems


def _switch_problems(spec: PolicySpec, switch: Switch, file: str) -> Problems:
    problems: Problems = []
    if spec.chunk is not None:
        problems.append(Problem(file, "chunk", "no chunk next to switch", "one"))
    if switch.first in switch.policies:
        expected = "a name that switch.policies does not have"
        problems.append(Problem(file, "switch.first", expected, f"'{switch.first}'"))
    for name in switch.policies:
        if name in spec.models:
            expected = "a name that models does not have"
            problems.append(Problem(file, f"switch.policies.{name}", expected, f"'{name}'"))
    if switch.value.input not in spec.inputs:
        expected = f"a name of inputs ({', '.join(spec.inputs)})"
        hint = did_you_mean(switch.value.input, spec.inputs)
        got = f"'{switch.value.input}'"
        problems.append(Problem(file, "switch.value.input", expected, got, hint))
    if len(switch.thresholds) != len(switch.policies):
        expected = f"{len(switch.policies)}, one between two neighbours of {len(switch.names)}"
        problems.append(Problem(file, "switch.thresholds", expected, f"{len(switch.thresholds)}"))
    before = 0.0
    for k, one in enumerate(switch.thresholds):
        if not before <= one.down <= one.up:
            expected = f"{before:g} <= down <= up, since the value is a norm and thresholds rise"
            got = f"down {one.down:g}, up {one.up:g}"
            problems.append(Problem(file, f"switch.thresholds[{k}]", expected, got))
        before = one.up
    if switch.state == "advance" and switch.history != "advance":
        expected = "advance, since switch.state is advance: a model runs with its histories"
        problems.append(Problem(file, "switch.history", expected, switch.history))
    first, *others = policies(spec)
    try:
        elements = action_elements(first.spec, file)
    except Refusal:  # `build_pipeline` reports it
        return problems
    for other in others:
        try:
            found = action_elements(other.spec, file)
        except Refusal as refusal:
            problems += other.placed(refusal.problems)
            continue
        if found != elements:
            expected = f"the elements of '{first.name}' in its order ({_names(elements)})"
            remedy = "order the groups by element, each with its `slice`"
            problems.append(Problem(file, f"{other.key}action", expected, _names(found), remedy))
        if switch.last_action == "carry" and other.spec.last_action != first.spec.last_action:
            expected = f"{first.spec.last_action}, since switch.last_action is carry"
            got = other.spec.last_action
            problems.append(Problem(file, f"{other.key}last_action", expected, got))
    return problems


def _names(elements: Sequence[object]) -> str:
    texts = [f"{getattr(one, 'joint', '')} {getattr(one, 'kind', '')}" for one in elements]
    return ", ".join(texts[:12]) + (", ..." if len(texts) > 12 else "")
