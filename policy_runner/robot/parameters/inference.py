"""The rows of the inference lane."""

from __future__ import annotations

from policy_runner.core.lane.interface import LANES, STARTS
from policy_runner.robot.parameters.parameter import Parameter

INFERENCE_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "inference.lane",
        "auto",
        "where inferences run: control (in the tick), thread, or process; auto: a policy with "
        "chunks or with backend: remote in a process, every other policy in the tick",
        choices=LANES,
    ),
    Parameter(
        "inference.start",
        "when_free",
        "when the next inference of a lane starts: as soon as the lane is free; every "
        "inference.every; or when inference.remaining of the chunk is left",
        choices=STARTS,
    ),
    Parameter(
        "inference.every",
        None,
        "time between the starts of two inferences, for inference.start: every; not set: "
        "control_dt of the policy",
        unit="s",
        low=0.001,
        high=60.0,
        kind="float",
    ),
    Parameter(
        "inference.remaining",
        None,
        "rest of the newest chunk at which the next inference starts, for inference.start: "
        "at_remaining; not set: half of the chunk",
        unit="s",
        low=0.001,
        high=60.0,
        kind="float",
    ),
    Parameter(
        "inference.timeout",
        2.0,
        "an inference in a lane without a result for longer hangs: its process is started again",
        unit="s",
        low=0.02,
        high=600.0,
    ),
    Parameter(
        "inference.tolerance",
        0.0,
        "largest difference of age between two inputs of one observation in a lane, in addition "
        "to the inputs.*.max_age; 0: any",
        unit="s",
        low=0.0,
        high=10.0,
    ),
    Parameter(
        "inference.simulated_latency",
        0.0,
        "a result of a lane counts no earlier than this after its observation; in lockstep and "
        "offline it counts exactly then, so that runs repeat",
        unit="s",
        low=0.0,
        high=10.0,
    ),
    Parameter(
        "inference.cpu_affinity",
        (),
        "cores of the inference process; empty: all except those of realtime.cpu_affinity",
        kind="int[]",
        low=0,
        high=1023,
    ),
)
