"""Makes the policy of a lane: its worker, or its part in the control thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from policy_runner.core.chunks.player import ChunkPlayer
from policy_runner.core.chunks.rules import chunk_rules
from policy_runner.core.chunks.trajectory_player import TrajectoryPlayer
from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.lane.interface import Lane, LaneRequest, LaneRules
from policy_runner.core.lane.newest import NewestAction
from policy_runner.core.lane.requests import LaneRequests
from policy_runner.core.lane.snapshot import SnapshotLayout
from policy_runner.core.lane.worker import Begin, Decode, LaneWorker
from policy_runner.core.model import Array
from policy_runner.core.pipeline.bind_policy import BoundChunk, BoundPolicy
from policy_runner.core.pipeline.chunked import ChunkedPolicy, Player
from policy_runner.core.pipeline.policy import Policy
from policy_runner.core.settings import Settings

_STAGES = 3  # rows of a single action: raw, clipped, target
# A single action is valid until the next one should have arrived, and for as long again.
_VALID_PERIODS = 2


@dataclass(frozen=True)
class LaneSetup:
    """How a pipeline gets its lane.

    Attributes:
        rules: when an inference starts, and when its result counts.
        open: makes the lane from a worker that uses the pipeline's own inputs. A thread or a
            process has another worker; then this one only gives the layout of the snapshots.
        most_bytes: largest size of a sequence or an image [bytes].
    """

    rules: LaneRules
    open: Callable[[LaneWorker, Policy], Lane]
    most_bytes: int


def laned_policy(
    bound: BoundPolicy,
    policy: Policy,
    slots: Mapping[str, InputSlot],
    measured: MeasuredPositions,
    settings: Settings,
    setup: LaneSetup,
) -> ChunkedPolicy:
    """Make the policy that runs its inferences in a lane.

    Args:
        bound: the policy as it was bound.
        policy: the policy that `bound` made.
        slots: the inputs.
        measured: the measured positions of the commanded joints.
        settings: the robot's rules.
        setup: the lane.
    """
    sources, spec = bound.sources, bound.given.spec
    decoder = policy.decoder
    size = len(decoder.elements)
    layout = SnapshotLayout(slots, {"last_action": sources.last_action}, setup.most_bytes)
    control_dt_ns = round(spec.control_dt * 1e9)
    rules = setup.rules
    if bound.chunk is None or spec.chunk is None:
        parts = _single(policy, size, control_dt_ns)
    else:
        parts = _chunks(bound, bound.chunk, settings, rules.lead_ns)
        half_ns = parts.rows * round(spec.chunk.dt * 1e9) // 2
        rules = replace(rules, remaining_ns=rules.remaining_ns or half_ns)
    worker = LaneWorker(policy, layout, parts.begin, parts.decode, (parts.rows, size))
    if worker.depth == 1:
        rules = replace(rules, frame_ns=0)
    aging = [slot for slot in slots.values() if slot.text is None]
    # A tick may be a little early: half a period is no reason to wait for the next one.
    rules = replace(rules, every_ns=max(0, rules.every_ns - settings.period_ns // 2))
    return ChunkedPolicy(
        decoder,
        LaneRequests(setup.open(worker, policy), rules, aging),
        parts.player,
        measured,
        (spec.last_action, sources.last_action),
        [refresh for _, refresh in sources.gravities],
        parts.rows,
        single=bound.chunk is None,
    )


class _Parts(NamedTuple):
    """What depends on whether the policy has chunks."""

    begin: Begin
    decode: Decode
    player: Player
    rows: int  # of a result


def _single(policy: Policy, size: int, control_dt_ns: int) -> _Parts:
    """The parts of a policy without chunks."""
    decoder = policy.decoder

    def decode() -> Array | str:
        return np.stack((decoder.raw, decoder.clipped, decoder.target))

    player = NewestAction(size, _VALID_PERIODS * control_dt_ns)
    return _Parts(lambda _request: None, decode, player, _STAGES)


def _chunks(bound: BoundPolicy, chunk: BoundChunk, settings: Settings, lead_ns: int) -> _Parts:
    """The parts of a policy with chunks."""
    spec, file = bound.given.spec, bound.sources.file
    assert spec.chunk is not None
    model, decoder = chunk.model, chunk.decoder
    rules = chunk_rules(spec.chunk, decoder.count, decoder.elements, file)

    def begin(request: LaneRequest) -> None:
        model.begin(request.observed_ns, request.latency_ns)

    def decode() -> Array | str:
        rows = decoder.decode()
        return rows if isinstance(rows, str) else rows.copy()

    size, period_ns = len(decoder.elements), settings.period_ns
    player: Player = ChunkPlayer(rules, size, period_ns)
    if lead_ns:
        player = TrajectoryPlayer(rules, size, period_ns, lead_ns)
    return _Parts(begin, decode, player, decoder.count)
