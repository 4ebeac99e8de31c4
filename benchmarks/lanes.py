"""Measures the control loop next to a network of ACT's size that infers without a pause.

    python benchmarks/lanes.py --rate 100 --seconds 30 --rounds 5 [--no-fifo] [--threads 2]

Columns: `idle`, the same loop with a small network in the tick; `idle again`, for what the
machine itself changes; `thread` and `process`, with the large network in that lane. Their runs
alternate. The large network has 47 million weights and 5 billion multiplications, as 11
transformer layers over 100 tokens of 512 numbers; it uses `--threads` cores. Its chunks have 100
actions. `control` (only with `--only`) shows what happens without a lane.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from quadruped import ACTIONS, OBSERVATIONS, write_policy
from side_by_side import begin, finish

from policy_runner.cli.bench.machine import machine

HERE = Path(__file__).parent
TOKENS, WIDTH, INNER, LAYERS, STEPS = 100, 512, 3200, 11, 100
IDLE = ("idle", "idle again")
COLUMNS = (*IDLE, "thread", "process")
SHOWN = ("p99", "p99.9", "max", "own p99.9", "age p99.9", "missed")


def write_large_policy(folder: Path) -> Path:
    """Write a policy with the inputs and commands of the small one and a chunk of 100 actions."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    write_policy(folder, 100.0)
    rng = np.random.default_rng(2)
    weights, nodes = [], []

    def matrix(name: str, rows: int, columns: int) -> str:
        values = rng.standard_normal((rows, columns)).astype(np.float32) / np.float32(rows**0.5)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def constant(name: str, values: list[int]) -> str:
        weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def node(kind: str, inputs: list[str], output: str) -> str:
        nodes.append(helper.make_node(kind, inputs, [output]))
        return output

    wide = node("MatMul", ["obs", matrix("embed", OBSERVATIONS, TOKENS * WIDTH)], "wide")
    x = node("Reshape", [wide, constant("tokens", [TOKENS, WIDTH])], "x")
    for k in range(LAYERS):
        for part in "qkvo":
            y = node("MatMul", [x, matrix(f"{part}{k}", WIDTH, WIDTH)], f"{part}y{k}")
            x = node("Tanh", [y], f"{part}x{k}")
        inner = node("MatMul", [x, matrix(f"up{k}", WIDTH, INNER)], f"inner{k}")
        active = node("Relu", [inner], f"active{k}")
        down = node("MatMul", [active, matrix(f"down{k}", INNER, WIDTH)], f"downy{k}")
        x = node("Tanh", [down], f"x{k}")
    chunk = node("MatMul", [x, matrix("head", WIDTH, ACTIONS)], "chunk")
    node("Reshape", [chunk, constant("shape", [1, STEPS, ACTIONS])], "actions")
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, OBSERVATIONS])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, STEPS, ACTIONS])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "policy.onnx")
    spec = yaml.safe_load((folder / "policy.yaml").read_text(encoding="utf-8"))
    spec["chunk"] = {"dt": 0.02}
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return folder


def measure(column: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one column once; return the figures and facts of the run."""
    fifo = not options.no_fifo
    policy = folder / ("small" if column in IDLE else "large")
    common = [str(policy), "--rate", str(options.rate)]
    runner = [sys.executable, "-m", "policy_runner.ros.bench.runner", *common]
    runner += ["--priority", "80", "--lock-memory"] if fifo else []
    if column not in IDLE:
        runner += ["--set", f"inference.lane={column}"]
        runner += ["--set", f"onnxruntime.threads={options.threads}"]
        runner += ["--set", "inference.timeout=60.0"]
    found = finish(runner, begin(common, folder, fifo), folder, options, spare_s=120.0)
    return {key: value for key, value in found.items() if not key.endswith("_us")}


def main() -> int:
    """Alternate the columns; print medians, and each one's ratio to `idle`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-fifo", action="store_true")
    parser.add_argument("--only", nargs="*", default=COLUMNS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", "78")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["PYTHONPATH"] = f"{HERE.parent}:{os.environ.get('PYTHONPATH', '')}"
    runs: dict[str, list[dict[str, Any]]] = {column: [] for column in options.only}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("small", "large"):
            (folder / part).mkdir()
        write_policy(folder / "small", options.rate)
        write_large_policy(folder / "large")
        for turn in range(options.rounds):
            for column in options.only:
                run = measure(column, folder, options)
                runs[column].append(run)
                print(
                    f"round {turn + 1}, {column}: p99.9 {run['p99.9']:.0f} us, "
                    f"own {run['own p99.9']:.0f} us, {run['inferences']} inferences",
                    flush=True,
                )
    medians = {
        column: {key: statistics.median(run[key] for run in of) for key in (*SHOWN, "inferences")}
        for column, of in runs.items()
    }
    base = medians.get("idle")
    print(f"medians of {options.rounds} runs, us; in brackets: against idle")
    for column, row in medians.items():
        ratio = f" ({row['p99.9'] / base['p99.9']:.2f})" if base else ""
        print(f"{column:12} " + ", ".join(f"{key} {row[key]:.0f}" for key in row) + ratio)
    if options.json:
        content = {"machine": machine(), "options": vars(options), "runs": runs}
        options.json.write_text(json.dumps(content, indent=2, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
