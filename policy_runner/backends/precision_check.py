"""Does a model in a lower precision command the same? Compared with the CPU, in action units.

The reference is ONNX Runtime on the CPU with the file as it was exported. Both get the same
observations, recorded or generated, carry their own recurrent state over several inferences,
and are decoded as the policy's actions are; what is compared is what the robot would be told:
rad, rad/s, N m.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_runner.backends.comparison import SAMPLES, TOLERANCE, Comparison, beyond
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.sample_inputs import generated, recorded
from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.model import Array, Model
from policy_runner.core.pipeline.bind_tensors import (
    action_normalizers,
    bind_states,
    fill_constant,
    tensor_name,
    uncovered,
)
from policy_runner.core.spec import SpecFile, read_spec

SEQUENCE = 16  # inferences before a recurrent state starts anew
Samples = Sequence[Mapping[str, npt.NDArray[np.generic]]]


class Decoded:
    """A model with the policy's own decoding: observation tensors in, an action out."""

    def __init__(self, spec_file: SpecFile, model: Model, kept: bool = False) -> None:
        """Binds the spec to the model's tensors.

        `kept`: a model that can keeps its recurrent states itself, from now on, as in the node.

        Raises:
            Refusal: they do not fit.
        """
        spec = spec_file.spec
        problems = uncovered(spec_file, model)
        if problems:
            raise Refusal(problems)
        self.model = model
        self._states = bind_states(spec_file, model)
        self._restart = model.keep_states(self._states) if kept and self._states else None
        self._constants: list[tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]] = []
        self.observed: list[str] = []  # names of the tensors that each inference is given
        for k, tensor in enumerate(spec.observation):
            name = str(tensor_name(tensor.tensor, model.inputs))
            if tensor.constant is None:
                self.observed.append(name)
                continue
            fill_constant(spec_file, tensor.constant, model.inputs[name], f"observation[{k}]")
            self._constants.append((model.inputs[name], model.inputs[name].copy()))
        outputs = [model.outputs[str(tensor_name(t.tensor, model.outputs))] for t in spec.action]
        still = np.zeros(len(spec.joint_names))
        self._decoder = ActionDecoder(
            spec, outputs, action_normalizers(spec_file), lambda _joint: still, str(spec_file.path)
        )
        self.elements = [f"{one.joint} ({one.kind})" for one in self._decoder.elements]

    def start(self) -> None:
        """Recurrent states as after a reset, constants as the spec says."""
        for tensor, values in self._constants:
            np.copyto(tensor, values)
        if self._restart is not None:
            self._restart()
            return
        for state, _, initial in self._states:
            np.copyto(state, initial)

    def action(self, sample: Mapping[str, npt.NDArray[np.generic]]) -> Array | None:
        """One inference; its target, float64 [elements], or None where it is not finite."""
        for name in self.observed:
            np.copyto(self.model.inputs[name], sample[name])
        self.model.run()
        # Each action for itself: filters and targets that add up would hide or pile up errors.
        self._decoder.reset()
        finite = self._decoder.decode()
        if self._restart is None:
            for state, following, _ in self._states:
                np.copyto(state, following)
        return self._decoder.target.copy() if finite else None


def compare(
    candidate: Model,
    reference: Model,
    spec_file: SpecFile,
    samples: Samples,
    observations: str,
    tolerance: float,
    kept: bool = False,
) -> Comparison:
    """Run both on the same samples; `kept` as for `Decoded`, of the candidate.

    Raises:
        Refusal: the reference itself gives nothing finite, so there is nothing to compare with.
    """
    ours, theirs = Decoded(spec_file, candidate, kept), Decoded(spec_file, reference)
    largest, at, total, compared = 0.0, 0, 0.0, 0
    for k, sample in enumerate(samples):
        if k % SEQUENCE == 0:
            ours.start()
            theirs.start()
        wanted, got = theirs.action(sample), ours.action(sample)
        if wanted is None:
            continue
        compared += 1
        apart = np.full(wanted.size, np.inf) if got is None else np.abs(got - wanted)
        total += float(np.mean(np.square(apart)))
        worst = int(np.argmax(apart))
        if apart[worst] > largest:
            largest, at = float(apart[worst]), worst
    if not compared:
        expected = "a model whose actions are finite on the CPU"
        remedy = "give recorded observations" if observations == "generated" else ""
        raise refuse(str(spec_file.path), "precision check", expected, "none of them", remedy)
    rms = float(np.sqrt(total / compared))
    return Comparison(largest, ours.elements[at], rms, compared, observations, tolerance)


def compare_with_cpu(
    candidate: Model, choice: BackendChoice, spec_file: SpecFile, path: Path, kept: bool = False
) -> Comparison:
    """Compare with the file at `path` on the CPU, as the options `precision_check.*` say.

    `kept` (see `Decoded`) is for a candidate that nobody binds to another pipeline after it.

    Raises:
        Refusal: see `compare`; or the recorded observations cannot be used.
    """
    from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel

    reference = OnnxRuntimeModel(path)
    reference.warm_up()
    tolerance = float(choice.option("precision_check.tolerance", TOLERANCE))
    count = int(choice.option("precision_check.samples", SAMPLES))
    file = str(choice.option("precision_check.observations", ""))
    names = Decoded(spec_file, reference).observed
    wanted = {name: reference.inputs[name] for name in names}
    if file:
        samples = recorded(Path(file), wanted, count)
    else:
        samples = generated(wanted, spec_file, path, count)
    source = f"recorded ({file})" if file else "generated"
    try:
        return compare(candidate, reference, spec_file, samples, source, tolerance, kept)
    finally:
        reference.close()


def check(model: Model, choice: BackendChoice, path: Path, spec_path: Path) -> Comparison:
    """Refuse a model whose actions are beyond the tolerance; leaves its tensors at zero.

    Raises:
        Refusal: see above.
    """
    found = compare_with_cpu(model, choice, read_spec(spec_path), path)
    for array in (*model.inputs.values(), *model.outputs.values()):
        array.fill(0)
    if not found.accepted:
        raise beyond(path, found)
    return found
