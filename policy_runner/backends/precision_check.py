"""Compares the actions of a model in a lower precision with those on the CPU, in action units.

The reference is ONNX Runtime on the CPU with the exported file. Both models get the same
observations, recorded or generated. Each keeps its own recurrent state over several inferences.
The actions are decoded as in the node, so the compared numbers are commands: rad, rad/s, N m.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_runner.backends.comparison import SAMPLES, TOLERANCE, Comparison, beyond
from policy_runner.backends.decoded_policy import DecodedPolicy
from policy_runner.backends.interface import BackendChoice, LoadedModel
from policy_runner.backends.sample_inputs import generated, recorded
from policy_runner.backends.several import load_parts, part_name
from policy_runner.core.errors import refuse
from policy_runner.core.model import Model
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.core.spec.parts import model_files, policies

SEQUENCE = 16  # inferences before a recurrent state is reset
Samples = Sequence[Mapping[str, npt.NDArray[np.generic]]]


def compare(
    ours: DecodedPolicy,
    theirs: DecodedPolicy,
    samples: Samples,
    observations: str,
    tolerance: float,
    file: str,
) -> Comparison:
    """Run both on the same samples.

    Args:
        ours: the candidate.
        theirs: the reference.
        samples: by tensor, named as in `ModelGroup`.
        observations: generated, or the file that they are from.
        tolerance: largest difference that is accepted, in the commands' units.
        file: the spec, for error messages.

    Raises:
        Refusal: no action of the reference is finite, so no comparison is possible.
    """
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
        raise refuse(file, "precision check", expected, "none of them", remedy)
    rms = float(np.sqrt(total / compared))
    return Comparison(largest, ours.elements[at], rms, compared, observations, tolerance)


def compare_with_cpu(
    candidate: Model, choice: BackendChoice, spec_file: SpecFile, kept: bool = False
) -> Comparison:
    """Compare with the spec's files on the CPU, as the options `precision_check.*` say.

    Every policy of a switch is compared by itself; the result is that of the worst.

    Args:
        candidate: the model, or the models of a spec with several.
        choice: the options.
        spec_file: the spec.
        kept: the candidate carries its states itself if it can; nothing else binds it afterwards.

    Raises:
        Refusal: see `compare`; or the recorded observations cannot be used.
    """
    reference = cpu_models(spec_file)
    tolerance = float(choice.option("precision_check.tolerance", TOLERANCE))
    count = int(choice.option("precision_check.samples", SAMPLES))
    file = str(choice.option("precision_check.observations", ""))
    source = f"recorded ({file})" if file else "generated"
    found = []
    try:
        for one in policies(spec_file.spec):
            ours = DecodedPolicy(one, spec_file, candidate, kept)
            theirs = DecodedPolicy(one, spec_file, reference)
            samples = _samples(theirs, spec_file, file, count)
            found.append(compare(ours, theirs, samples, source, tolerance, str(spec_file.path)))
    finally:
        reference.close()
    worst = max(found, key=lambda one: one.largest)
    total = sum(one.samples for one in found)
    rms = float(np.sqrt(sum(one.rms**2 * one.samples for one in found) / total))
    return replace(worst, rms=rms, samples=total)


def cpu_models(spec_file: SpecFile) -> LoadedModel:
    """The spec's models as they were exported, on the CPU.

    Raises:
        Refusal: a file is no model.
    """
    from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel

    files = {one.name: one for one in model_files(spec_file.spec)}

    def load(name: str) -> LoadedModel:
        one = files[name]
        model = OnnxRuntimeModel(spec_file.next_to(one.model.file, one.file_key))
        model.warm_up()
        return model

    return load_parts(list(files), load) if len(files) > 1 else load("")


def _samples(given: DecodedPolicy, spec_file: SpecFile, file: str, count: int) -> Samples:
    """Samples of every tensor that the policy observes, named as in `ModelGroup`."""
    if file:
        wanted = {
            part_name(part.name, name): array
            for part, tensors in given.observed
            for name, array in tensors.items()
        }
        return recorded(Path(file), wanted, count)
    samples: list[dict[str, npt.NDArray[np.generic]]] = [{} for _ in range(count)]
    for part, tensors in given.observed:
        path = spec_file.next_to(part.model.file, part.file_key)
        view = SpecFile(part.spec, spec_file.path)
        for sample, own in zip(samples, generated(tensors, view, path, count), strict=True):
            sample.update({part_name(part.name, name): array for name, array in own.items()})
    return samples


def check(model: Model, choice: BackendChoice, path: Path, spec_path: Path) -> Comparison:
    """Refuse a model, or several, whose actions are beyond the tolerance; leaves tensors at zero.

    Raises:
        Refusal: a difference exceeds the tolerance, or see `compare_with_cpu`.
    """
    found = compare_with_cpu(model, choice, read_spec(spec_path))
    for array in (*model.inputs.values(), *model.outputs.values()):
        array.fill(0)
    if not found.accepted:
        raise beyond(path, found)
    return found
