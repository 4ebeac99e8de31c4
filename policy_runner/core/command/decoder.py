"""Compute targets from the model's raw output, element by element, in one fixed order.

output (or the row of the table that argmax chose) = raw -> squash -> clip_raw -> round (raw)
-> limit_torque -> denormalize -> * scale + offset + relative_to -> rotate -> clip -> ema
-> round (target).
The robot's own limits come after this, in `Command`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.command.action_columns import action_columns, measured_parts
from policy_runner.core.command.action_stages import (
    ArgmaxChoice,
    Rounding,
    kept_of_tensor,
    runs,
)
from policy_runner.core.command.action_state import action_state
from policy_runner.core.errors import refuse
from policy_runner.core.model import Array, batch_remedy
from policy_runner.core.observation.arithmetic import Stage, clip_stage
from policy_runner.core.observation.normalization import Normalizer
from policy_runner.core.observation.terms.sources import Sources
from policy_runner.core.spec import ActionTensor, PolicySpec
from policy_runner.core.spec.elements import (
    absent_joints,
    action_elements,
    default_pose,
    kept_elements,
)


class ActionDecoder:
    """Decodes the output tensors of one inference into targets, float64 [elements].

    `raw`, `clipped` and `target` hold the newest values of these stages; `last_action` terms read
    them. `fault` says why `decode` failed, if not because of the output. Each `decode` may replace
    the arrays. `reset` sets `raw` and `clipped` to zero and
    `target` to `start`.
    """

    def __init__(
        self,
        spec: PolicySpec,
        outputs: Sequence[npt.NDArray[np.generic]],
        normalizers: Sequence[Normalizer | None],
        measured: Callable[[int], Array | None],
        file: str,
        sources: Sources | None = None,
    ) -> None:
        """Bind the action of the spec to the model's outputs.

        Args:
            spec: the policy's spec.
            outputs: the model's output per tensor of `spec.action`.
            normalizers: the denormalization per tensor of `spec.action`, or None.
            measured: maps an index in `joint_names` to the array of measured positions that
                includes this joint [joint_names], or None.
            file: the spec file, for error messages.
            sources: the robot's data, for the stages that read it. None: without these stages.

        Raises:
            Refusal: groups, slices, tables or named numbers do not fit.
        """
        self.elements = action_elements(spec, file)
        size = len(self.elements)
        self.raw, self.clipped, self.target = np.zeros(size), np.zeros(size), np.zeros(size)
        self._next_raw, self._next_clipped, self._next_target = (np.zeros(size) for _ in range(3))
        self._zeros = np.zeros(size)
        absent = absent_joints(spec, file)
        self._reads: list[tuple[slice, npt.NDArray[np.generic]]] = []
        self._choices: list[tuple[slice, ArgmaxChoice]] = []
        start = 0
        for t, tensor in enumerate(spec.action):
            key = f"action[{t}]"
            self._bind_groups(tensor, outputs[t], start, file, key, absent)
            start += len(kept_of_tensor(tensor, absent))
        column = action_columns(spec, normalizers, file)
        self._squash = np.flatnonzero(column["tanh"])
        self._clip_raw = clip_stage(column["raw_low"], column["raw_high"])
        self._scale = column["spread"] * column["scale"]
        self._offset = column["mean"] * column["scale"] + column["offset"]
        self._clip = clip_stage(column["low"], column["high"])
        self._ema = column["ema"] if np.any(column["ema"] != 1) else None
        self._round_raw = Rounding.of(column["step_raw"])
        self._round_target = Rounding.of(column["step_target"])
        self._sources = sources
        self._state = action_state(sources) if sources is not None else None
        self._each_tick = self._state.each_tick if self._state is not None else []
        self._base = np.zeros(size)
        self.fault = ""
        self._refuse_zero_scale(file)
        self._first = True
        self._from_previous = np.flatnonzero(column["previous"])
        self._from_measured = np.flatnonzero(column["measured"])
        self._measured = measured_parts(spec, self.elements, self._from_measured, measured, file)
        self.start = self._start_target(spec, file)
        self.reset()
        # A float32 output cannot overflow float64 here, so the common case needs no second check.
        doubles = any(source.dtype == np.float64 for _, source in self._reads)
        self._target_may_be_non_finite = doubles or bool(self._measured) or self._state is not None

    def _refuse_zero_scale(self, file: str) -> None:
        for bounds in self._state.torque if self._state is not None else []:
            if np.any(self._scale[bounds.elements] == 0.0):
                raise refuse(file, "action", "a scale that is not 0 next to limit_torque", "0")

    def _bind_groups(
        self,
        tensor: ActionTensor,
        output: npt.NDArray[np.generic],
        start: int,
        file: str,
        key: str,
        absent: Container[str],
    ) -> None:
        flat = output.reshape(-1)
        sliced = sum(group.slice is not None for group in tensor.groups)
        if sliced not in (0, len(tensor.groups)):
            expected = "a slice in every group of the tensor, or in none"
            raise refuse(file, f"{key}.groups", expected, f"{sliced} of {len(tensor.groups)}")
        at = 0  # in the output
        for g, group in enumerate(tensor.groups):
            where = f"{key}.groups[{g}]"
            size, taken = len(group.names), len(group.names)
            if group.argmax is not None:
                taken = 1 if group.argmax.by == "index" else len(group.argmax.table)
            first, last = group.slice or (at, at + taken)
            if last - first != taken:
                expected = f"{taken} elements, one per {'row' if group.argmax else 'joint'}"
                raise refuse(file, f"{where}.slice", expected, f"[{first}, {last}]")
            if not 0 <= first < last <= flat.size:
                expected = f"elements within output '{tensor.tensor}' of {flat.size}"
                raise refuse(file, where, expected, f"[{first}, {last}]")
            kept = kept_elements(group, absent)
            if group.argmax is not None:
                if len(kept) != size:
                    expected = "no absent joint in a group with argmax"
                    raise refuse(file, where, expected, f"{size - len(kept)}")
                choice = ArgmaxChoice(group.argmax, flat[first:last], size, file, f"{where}.argmax")
                self._choices.append((slice(start, start + size), choice))
            else:
                # A view for each run of joints that are there: reading it copies nothing else.
                place = start
                for run in runs(kept):
                    into = slice(place, place + len(run))
                    self._reads.append((into, flat[first + run[0] : first + run[-1] + 1]))
                    place += len(run)
            start += len(kept)
            at += taken
        if not sliced and at != flat.size:
            expected = f"groups that add up to the {flat.size} elements of '{tensor.tensor}'"
            remedy = batch_remedy(output.shape, at) or "name a slice to leave some out"
            raise refuse(file, f"{key}.groups", expected, f"{at}", remedy)

    def _start_target(self, spec: PolicySpec, file: str) -> Array:
        """The target before the first inference: positions at the default pose, others 0."""
        start = np.zeros(len(self.elements))
        positions = [k for k, element in enumerate(self.elements) if element.kind == "position"]
        if spec.default_joint_pos is not None and positions:
            joints = [self.elements[k].joint for k in positions]
            start[positions] = default_pose(spec, joints, file)
        return start

    def decode(self) -> bool:
        """Read the outputs and compute `target`; False if raw or target is not finite.

        On False nothing advances: `raw`, `clipped` and `target` keep the last valid values.
        """
        raw, clipped, target = self._next_raw, self._next_clipped, self._next_target
        for where, source in self._reads:
            raw[where] = source
        for where, choice in self._choices:
            if not choice.read(raw[where]):
                return False
        if raw.dot(self._zeros) != 0.0:
            return False
        np.copyto(clipped, raw)
        if self._squash.size:
            clipped[self._squash] = np.tanh(clipped[self._squash])
        _run(self._clip_raw, clipped)
        if self._round_raw is not None:
            self._round_raw.apply(clipped)
        previous = self.target
        if self._state is not None and self._state.torque:
            base = self._targets_base(previous)
            for bounds in self._state.torque:
                bounds.apply(clipped, self._scale, base)
        np.multiply(clipped, self._scale, out=target)
        np.add(target, self._offset, out=target)
        if self._from_previous.size:
            target[self._from_previous] += previous[self._from_previous]
        for elements, positions, joints in self._measured:
            target[elements] += positions[joints]
        for turns in self._state.turns if self._state is not None else ():
            self.fault = turns.apply(target)
            if self.fault:
                return False
        _run(self._clip, target)
        if self._ema is not None and not self._first:
            np.add(previous, self._ema * (target - previous), out=target)
        if self._round_target is not None:
            self._round_target.apply(target)
        if self._target_may_be_non_finite and target.dot(self._zeros) != 0.0:
            return False
        self.raw, self._next_raw = raw, self.raw
        self.clipped, self._next_clipped = clipped, self.clipped
        self.target, self._next_target = target, self.target
        self._first = False
        return True

    def _targets_base(self, previous: Array) -> Array:
        """The part of a target that does not depend on the raw value [elements]."""
        base = self._base
        np.copyto(base, self._offset)
        if self._from_previous.size:
            base[self._from_previous] += previous[self._from_previous]
        for elements, positions, joints in self._measured:
            base[elements] += positions[joints]
        return base

    def target_now(self) -> Array:
        """The target for this tick, float64 [elements].

        It is `target`, except for a `limit_torque` at every tick: then the newest measured state
        bounds the value that the tick before has left, and last_action terms read that value.
        """
        if not self._each_tick:
            return self.target
        sources, work = self._sources, self._base
        assert sources is not None
        for bounds in self._each_tick:
            bounds.apply(self.clipped, self._scale, self._offset)
        np.multiply(self.clipped, self._scale, out=work)
        np.add(work, self._offset, out=work)
        _run(self._clip, work)
        if self._round_target is not None:
            self._round_target.apply(work)
        last = {"clipped": self.clipped, "target": work}.get(sources.spec.last_action)
        for bounds in self._each_tick:
            mine = bounds.elements
            self.target[mine] = sources.previous_target[mine] = work[mine]
            if last is not None:
                sources.last_action[mine] = last[mine]
        return self.target

    def take_over(self, before: ActionDecoder) -> None:
        """Continue from the target of another policy with the same elements.

        `previous_target` and `ema` of the next `decode` begin with that target.
        """
        np.copyto(self.target, before.target)
        self._first = before._first

    def reset(self) -> None:
        """Reset every stage before the first inference of a run.

        `raw` and `clipped` become zero. `target`, which `previous_target` reads, becomes `start`:
        positions at the default pose.
        """
        for stage in (self.raw, self.clipped):
            stage.fill(0.0)
        np.copyto(self.target, self.start)
        self._first = True


def _run(stages: Sequence[Stage], values: Array) -> None:
    for stage in stages:
        stage(values)
