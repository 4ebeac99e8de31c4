"""The runner's side of a verification: the folder, loaded and decoded as the node does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.observation.normalization import Normalizer
from policy_runner.core.pipeline.bind_tensors import stored_normalizer, tensor_name
from policy_runner.core.pipeline.policy import Policy
from policy_runner.core.spec import Argmax, Normalization, ObservationTensor
from policy_runner.core.spec.parts import model_files
from policy_runner.robot.load import LoadedPolicy, load_policy

Observation = Mapping[str, Array]


class OurSide:
    """A policy folder: observations before normalization in, the trainer's action out.

    The trainer's action is the runner's value after `clip_raw`, before the command's scale and
    offset: what `env.step` was given in training. A source that does not clip has no part in
    `squash` and `clip_raw` of the contract; its outputs are compared before them.

    Attributes:
        unclipped: outputs that are compared before `squash` and `clip_raw`.
        sizes: numbers of each observation, by the tensor's name; constants are not among them.
        constants: numbers of the tensors that the spec fills itself, by name.
    """

    def __init__(self, folder: Path) -> None:
        """Load the folder.

        Raises:
            Refusal: what `check` would refuse, or a normalization that cannot be compared.
        """
        self.loaded: LoadedPolicy = load_policy(folder)
        policy = self.loaded.pipeline.policy
        model = self.loaded.model
        spec = self.loaded.spec
        if spec.model.file is None:
            self.loaded.close()
            self.loaded.spec_file.next_to(None, "model.file")  # refuses it
        if len(model_files(spec)) > 1 or not isinstance(policy, Policy):
            where = str(self.loaded.spec_file.path)
            self.loaded.close()
            raise refuse(where, "models", "one model", "several", "verify each in its own folder")
        self.policy = policy
        self.unclipped: frozenset[str] = frozenset()
        self.sizes: dict[str, int] = {}
        self.constants: dict[str, Array] = {}
        self._builders = {}
        self._stacked: dict[str, tuple[ObservationTensor, Normalizer | None]] = {}
        built = iter(self.policy.every_tensor)
        for k, tensor in enumerate(spec.observation):
            name = str(tensor_name(tensor.tensor, model.inputs))
            if tensor.constant is not None:
                values = model.inputs[name].astype(np.float64).reshape(-1)
                self.constants[name] = values
                continue
            builder, buffer = next(built)
            self._builders[name] = (builder, buffer)
            self.sizes[name] = builder.size
            if tensor.history is not None:
                self._stacked[name] = (tensor, self._of_stacked(tensor, builder.size, k))
        self.outputs: dict[str, slice] = {}
        self._choices: dict[str, Argmax] = {}
        start = 0
        for action in spec.action:
            name = str(tensor_name(action.tensor, model.outputs))
            count = sum(len(group.names) for group in action.groups)
            self.outputs[name] = slice(start, start + count)
            if action.groups[0].argmax is not None:
                self._choices[name] = action.groups[0].argmax
            start += count

    def _of_stacked(self, tensor: ObservationTensor, size: int, k: int) -> Normalizer | None:
        given = tensor.normalization
        key = f"observation[{k}].normalization"
        if not isinstance(given, Normalization):
            return None
        if given.on == "frame":
            expected = "`on: stacked`, which is what the source normalizes"
            raise refuse(str(self.loaded.spec_file.path), key, expected, "on: frame")
        return stored_normalizer(self.loaded.spec_file, given, size, key)

    def start(self) -> None:
        """Reset recurrent states, histories and the last action."""
        self.policy.reset()

    def act(self, observation: Observation) -> dict[str, Array]:
        """One inference.

        Args:
            observation: per tensor [size], before normalization. Where the spec has a history
                these are the stacked numbers.

        Returns:
            Per action tensor the trainer's action [size], the row's number of a choice; NaN
            where the runner would refuse it.
        """
        for name, (builder, buffer) in self._builders.items():
            values = np.asarray(observation[name], dtype=np.float64).reshape(-1)
            if name not in self._stacked:
                np.copyto(builder.frame, values)
                builder.advance(buffer)
                continue
            tensor, normalizer = self._stacked[name]
            values = values.copy()
            if tensor.clip is not None:
                low, high = tensor.clip
                values = np.clip(values, low, high)
            if normalizer is not None:
                normalizer.normalize(values, values)
            np.copyto(buffer, values, casting="unsafe")
        fault = self.policy.run_given(0)
        result = {}
        for name, part in self.outputs.items():
            decoder = self.policy.decoder
            values = decoder.raw if name in self.unclipped else decoder.clipped
            action = values[part].copy()
            if fault is not None:
                action[:] = np.nan
            elif name in self._choices:
                # Not the row's numbers: a table may hold the same row twice.
                scores = self.loaded.model.outputs[name].reshape(-1)
                given = self._choices[name].by == "index"
                row = round(scores.item(0)) if given else int(np.argmax(scores))
                action = np.array([row], dtype=np.float64)
            result[name] = action
        return result

    def close(self) -> None:
        """Release the model."""
        self.loaded.close()
