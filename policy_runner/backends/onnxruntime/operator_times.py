"""Time per operator of a model, from ONNX Runtime's own profiler.

The profile is a file of JSON events. Those that end in `_kernel_time` hold the duration of one
node in microseconds and its operator. The names are those of the optimized graph, so fused
operators appear under ONNX Runtime's names.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from policy_runner.core.errors import refuse
from policy_runner.core.model import Buffer

RUNS = 200
WARM_UP = 20
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class OperatorTime:
    """One kind of operator.

    Attributes:
        operator: as `Gemm`.
        nodes: how many the graph has.
        us: microseconds of all of them in one run.
        share: of the time of all operators, 0 to 1.
    """

    operator: str
    nodes: int
    us: float
    share: float


def operator_times(
    path: Path,
    feed: Mapping[str, Buffer],
    runs: int = RUNS,
    done: Callable[[int], object] = lambda _: None,
) -> list[OperatorTime]:
    """Run the model with the profiler on, one thread; the longest operator first.

    Args:
        path: an ONNX file.
        feed: its inputs.
        runs: how many runs are averaged. The profile is 10 to 100 kB for each.
        done: is told after each run how many runs there were, the `WARM_UP` first ones included.

    Raises:
        Refusal: ONNX Runtime cannot load or run it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="policy_runner-profile-") as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for k in range(WARM_UP + runs):
                session.run(None, dict(feed))
                done(k + 1)
        except Exception as error:  # ORT raises its own pybind types, one per status code
            text = " ".join(str(error).split())[:300]
            raise refuse(str(path), "", "a model that ONNX Runtime can run", text) from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    kernels = [one for one in events if str(one.get("name", "")).endswith(_KERNEL)]
    counts: dict[str, int] = {}
    totals: dict[str, float] = {}
    per_node: dict[str, int] = {}
    for one in kernels:
        operator = str(one["args"].get("op_name", "?"))
        node = str(one["name"])
        per_node[node] = per_node.get(node, 0) + 1
        if per_node[node] == 1:
            counts[operator] = counts.get(operator, 0) + 1
        if per_node[node] > WARM_UP:
            totals[operator] = totals.get(operator, 0.0) + float(one["dur"])
    whole = sum(totals.values()) or 1.0
    found = [
        OperatorTime(name, counts[name], total / runs, total / whole)
        for name, total in totals.items()
    ]
    return sorted(found, key=lambda one: -one.us)
