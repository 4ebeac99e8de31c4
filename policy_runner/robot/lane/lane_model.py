"""The model of a policy in a lane, as the node sees it: its tensors' sizes and its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from policy_runner.core.model import Buffer, ModelAbilities, StateTensors
from policy_runner.robot.lane.process_lane import ProcessLane


class LaneModel(ModelAbilities):
    """Stands in for a model that a thread or a process runs. See `LoadedModel`.

    The pipeline of the control thread is bound to its arrays, which stay unused: they only have
    the sizes and types of the model's tensors.
    """

    needs_precision_check = False  # the lane has done it

    def __init__(
        self,
        inputs: Mapping[str, Buffer],
        outputs: Mapping[str, Buffer],
        about: Mapping[str, Any],
        closes: Sequence[Callable[[], None]],
    ) -> None:
        """Describe the model.

        Args:
            inputs: arrays of the model's inputs.
            outputs: arrays of the model's outputs.
            about: provider, sha256 and facts.
            closes: called by `close`, in their order then.
        """
        self.inputs, self.outputs = dict(inputs), dict(outputs)
        self.provider = str(about["provider"])
        self.sha256 = str(about["sha256"])
        self.facts = {str(name): str(text) for name, text in about["facts"].items()}
        self._closes = closes
        self._take_log: Callable[[], Sequence[str]] = tuple
        self._live: Callable[[], Mapping[str, str]] = dict
        names = dict.fromkeys(name.rpartition("/")[0] for name in [*inputs, *outputs])
        several = bool(set(names) - {""})
        self._parts = {name: self._part(name) for name in names} if several else {}

    @property
    def parts(self) -> Mapping[str, Any]:
        """The models by the names of `core.spec.parts`."""
        return self._parts or {"": self}

    def _part(self, name: str) -> LaneModel:
        def own(arrays: Mapping[str, Buffer]) -> dict[str, Buffer]:
            return {
                key.rpartition("/")[2]: array
                for key, array in arrays.items()
                if key.rpartition("/")[0] == name
            }

        about = {"provider": self.provider, "sha256": self.sha256, "facts": {}}
        part = LaneModel(own(self.inputs), own(self.outputs), about, ())
        return part

    @staticmethod
    def of_process(process: ProcessLane) -> LaneModel:
        """Stand in for the model of a lane's process."""
        facts = process.facts

        def arrays(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Buffer]:
            return {name: np.zeros(shape, kind) for name, (kind, shape) in tensors.items()}

        about = {"provider": facts.provider, "sha256": facts.sha256, "facts": facts.facts}
        made = LaneModel(arrays(facts.inputs), arrays(facts.outputs), about, [process.close])
        made._live = process.live_facts
        return made

    @staticmethod
    def of_thread(model: Any, closes: Sequence[Callable[[], None]]) -> LaneModel:
        """Stand in for a model that a thread of this process runs."""

        def arrays(tensors: Mapping[str, Buffer]) -> dict[str, Buffer]:
            return {name: np.zeros_like(array) for name, array in tensors.items()}

        about = {"provider": model.provider, "sha256": model.sha256, "facts": model.facts}
        made = LaneModel(arrays(model.inputs), arrays(model.outputs), about, closes)
        made._take_log, made._live = model.take_log, model.live_facts
        return made

    def take_log(self) -> Sequence[str]:
        """Log lines of the model in a thread; a process writes them to stderr itself."""
        return self._take_log()

    def live_facts(self) -> Mapping[str, str]:
        """See `ModelAbilities.live_facts`; those of a process are at most a second old."""
        return self._live()

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """None: the lane carries the states."""
        return None

    def run(self) -> None:
        """Nothing: the lane runs the model."""

    def warm_up(self, runs: int = 3) -> None:
        """Nothing: the lane has warmed it up."""

    def close(self) -> None:
        """End the lane."""
        for close in self._closes:
            close()
