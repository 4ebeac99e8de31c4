"""Compares the actions of a model in a lower precision with those on the CPU, in action units.

The reference is ONNX Runtime on the CPU with the exported file. Both models get the same
observations, recorded or generated. Each keeps its own recurrent state over several inferences.
The actions are decoded as in the node, so the compared numbers are commands: rad, rad/s, N m.
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

SEQUENCE = 16  # inferences before a recurrent state is reset
Samples = Sequence[Mapping[str, npt.NDArray[np.generic]]]


class Decoded:
    """A model with the policy's decoding: it computes an action from observation tensors."""

    def __init__(self, spec_file: SpecFile, model: Model, kept: bool = False) -> None:
        """Bind the spec to the model's tensors.

        Args:
            spec_file: the policy's spec.
            model: the model to decode.
            kept: let the model keep its recurrent states itself if it can, as in the node.

        Raises:
            Refusal: spec and model do not fit.
        """
        spec = spec_file.spec
        problems = uncovered(spec_file, model)
        if problems:
            raise Refusal(problems)
        self.model = model
        self._states = bind_states(spec_file, model)
        self._restart = model.keep_states(self._states) if kept and self._states else None
        self._constants: list[tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]] = []
        self.observed: list[str] = []  # names of the tensors that change with each inference
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
        """Reset the recurrent states and write the spec's constants."""
        for tensor, values in self._constants:
            np.copyto(tensor, values)
        if self._restart is not None:
            self._restart()
            return
        for state, _, initial in self._states:
            np.copyto(state, initial)

    def action(self, sample: Mapping[str, npt.NDArray[np.generic]]) -> Array | None:
        """Run one inference on a sample (arrays by tensor name).

        Returns:
            The decoded target, float64 [elements]; None if it is not finite.
        """
        for name in self.observed:
            np.copyto(self.model.inputs[name], sample[name])
        self.model.run()
        # Reset for each action: filters would hide errors, and summed targets would add them up.
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
    """Run two models on the same samples and compare their actions.

    Args:
        candidate: the model to check.
        reference: the model to compare with.
        spec_file: the policy's spec, for both.
        samples: observation tensors by name, in order of time.
        observations: the source of the samples, for the report.
        tolerance: the largest allowed difference, in the elements' units.
        kept: see `Decoded`; for the candidate.

    Raises:
        Refusal: no action of the reference is finite, so no comparison is possible.
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
    """Compare a model with its ONNX file on the CPU, as the options `precision_check.*` say.

    Args:
        candidate: the model to check.
        choice: has the options.
        spec_file: the policy's spec.
        path: the ONNX file.
        kept: see `Decoded`; only for a candidate that no other pipeline uses afterwards.

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
    """Compare a model with its ONNX file on the CPU; its tensors are zero afterwards.

    Raises:
        Refusal: a difference exceeds the tolerance, or see `compare_with_cpu`.
    """
    found = compare_with_cpu(model, choice, read_spec(spec_path), path)
    for array in (*model.inputs.values(), *model.outputs.values()):
        array.fill(0)
    if not found.accepted:
        raise beyond(path, found)
    return found
