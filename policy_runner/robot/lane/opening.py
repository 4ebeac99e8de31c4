"""Opens the lane that the parameters ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from policy_runner.backends.interface import LoadedModel
from policy_runner.core.lane.interface import Lane
from policy_runner.core.lane.worker import LaneWorker
from policy_runner.core.pipeline.policy import Policy
from policy_runner.core.spec import SpecFile
from policy_runner.robot.config import RobotConfig
from policy_runner.robot.lane.inline_lane import InlineLane
from policy_runner.robot.lane.lane_model import LaneModel
from policy_runner.robot.lane.lane_rules import lane_cores
from policy_runner.robot.lane.process_lane import ProcessLane
from policy_runner.robot.lane.thread_lane import ThreadLane, leave_realtime
from policy_runner.robot.reload_gate import pinned_files

OpenLane = Callable[[LaneWorker, Policy], Lane]  # from the worker of the control thread's pipeline


def open_inline(worker: LaneWorker, policy: Policy) -> Lane:
    """Open the lane in the calling thread."""
    return InlineLane(worker, policy.every_tensor)


def open_beside(
    kind: str,
    config: RobotConfig,
    spec_file: SpecFile,
    values: Mapping[str, Any],
    simulated: bool,
    load_worker: Callable[[Mapping[str, Any]], tuple[LaneWorker, Any]],
) -> tuple[LoadedModel, OpenLane]:
    """Load the policy in a lane of its own.

    Args:
        kind: thread or process.
        config: the parameters.
        spec_file: the policy.
        values: parameter name -> value; the lane binds the policy with the same.
        simulated: the clock is the simulator's.
        load_worker: `robot.load.load_worker`, for a thread of this process.

    Returns:
        What stands in for the model, and the function that connects the lane to a pipeline.

    Raises:
        Refusal: the policy is refused.
    """
    given = {
        "spec": str(spec_file.path.absolute()),
        "sha256": hashlib.sha256(spec_file.path.read_bytes()).hexdigest(),
        "files": pinned_files(values, spec_file),
        "values": dict(values),
        "simulated": simulated,
        "cores": lane_cores(config, values),
    }
    if kind == "process":
        process = ProcessLane(given)

        def connect(worker: LaneWorker, _policy: Policy) -> Lane:
            process.connect(worker.layout)
            return process

        return LaneModel.of_process(process), connect
    # The threads that ONNX Runtime starts inherit the priority of the thread that loads. With the
    # node's real-time priority they would keep the middleware's threads from the cores.
    with ThreadPoolExecutor(1, "load", initializer=leave_realtime) as loading:
        worker, loaded = loading.submit(load_worker, given).result()
    closes = [loaded.close]

    def open_thread(outer: LaneWorker, _policy: Policy) -> Lane:
        thread = ThreadLane(worker, outer.layout)
        closes.insert(0, thread.close)
        return thread

    return LaneModel.of_thread(loaded.model, closes), open_thread
