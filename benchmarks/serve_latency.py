"""Latency that a server adds: a round trip minus the same computation in this process.

    python benchmarks/serve_latency.py [ROUNDS]

Two policies: 48 numbers, and an image of 1 MB that the pipeline resizes. Protocol v2 has the
model's own tensors, so its 1 MB is a tensor. All protocols take turns in blocks of requests, so
that each meets the same machine. Added: percentile of the round trip, minus the median of the
local computation. The table is Markdown.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.remote.client.interface import ServerAddress
from policy_runner.backends.remote.client.openpi_client import OpenpiClient
from policy_runner.backends.remote.client.v2_client import V2Client
from policy_runner.backends.remote.protocols.json_arrays import encode_array
from policy_runner.serving.session.served_policy import ServedPolicy

JOINTS = [f"joint{k}" for k in range(12)]
SIDE, SMALL = 592, 64  # pixels: 592 * 592 * 3 bytes are 1.05 MB
LARGE = 1 << 18  # float32 of a tensor of 1 MB
BLOCK = 25  # requests


def write(folder: Path, size: int, observation: dict[str, Any], inputs: dict[str, Any]) -> Path:
    """A linear policy of `size` numbers."""
    folder.mkdir()
    weights = np.random.default_rng(1).normal(0.0, 0.01, (size, 12)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["obs"], ["flat"], axis=1),
         helper.make_node("MatMul", ["flat", "weights"], ["actions"])],
        "linear",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, observation.pop("shape"))],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 12])],
        [numpy_helper.from_array(weights, "weights")],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "policy.onnx")
    content = {
        "schema": "policy_runner/1", "name": folder.name, "model": {"file": "policy.onnx"},
        "control_dt": 0.02, "joint_names": JOINTS, "default_joint_pos": [0.0] * 12,
        "inputs": inputs,
        "observation": [{"tensor": "obs", "normalization": "none", **observation}],
        "action": [{"tensor": "actions", "groups": [{"kind": "position", "joints": JOINTS}]}],
        "last_action": "raw",
    }  # fmt: skip
    (folder / "policy.yaml").write_text(yaml.safe_dump(content))
    return folder


def numbers(folder: Path) -> Path:
    """48 numbers of one message."""
    term = {"term": "field", "name": "all", "input": "all", "field": "data[0:48]"}
    inputs = {"all": {"type": "std_msgs/msg/Float32MultiArray", "topic": "all"}}
    return write(folder / "numbers", 48, {"shape": [1, 48], "terms": [term]}, inputs)


def camera(folder: Path) -> Path:
    """An image of 1 MB, resized to 64 x 64."""
    term = {"term": "image", "input": "camera", "size": [SMALL, SMALL],
            "color": "rgb", "layout": "chw", "resize": "bilinear", "scale": 0.004}  # fmt: skip
    inputs = {"camera": {"type": "sensor_msgs/msg/Image", "topic": "image"}}
    size = 3 * SMALL * SMALL
    return write(folder / "camera", size, {"shape": [1, 3, SMALL, SMALL], "whole": term}, inputs)


def large(folder: Path) -> Path:
    """A tensor of 1 MB."""
    term = {"term": "field", "name": "all", "input": "all", "field": f"data[0:{LARGE}]"}
    inputs = {"all": {"type": "std_msgs/msg/Float32MultiArray", "topic": "all"}}
    return write(folder / "tensor", LARGE, {"shape": [1, LARGE], "terms": [term]}, inputs)


def served(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A server process, and its port."""
    words = ["-m", "policy_runner.cli.main", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen([sys.executable, "-u", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r":(\d+)", process.stdout.readline())
    assert found is not None
    return process, int(found[1])


def act(port: int, body: bytes) -> Callable[[], Any]:
    """A request to /act on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def once() -> Any:
        connection.request("POST", "/act", body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())

    return once


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    random = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        small, image = random.normal(size=48), random.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        tensor = random.normal(size=(1, LARGE)).astype(np.float32)
        few = {"obs": small.astype(np.float32).reshape(1, 48)}
        paths = [numbers(folder), camera(folder), large(folder)]
        locals_ = [ServedPolicy(path) for path in paths]
        servers = [served(path) for path in paths]
        ports = [port for _, port in servers]
        try:
            sessions = [policy.session() for policy in locals_]
            runs = [policy.tensors for policy in locals_]
            assert runs[0] is not None
            assert runs[2] is not None
            first, third = runs[0], runs[2]
            openpi = [OpenpiClient(ServerAddress(f"ws://127.0.0.1:{port}")) for port in ports[:2]]
            v2 = {
                k: V2Client(ServerAddress(f"http://127.0.0.1:{ports[k]}/v2/models/{name}"))
                for k, name in ((0, "numbers"), (2, "tensor"))
            }
            for client in (*openpi, *v2.values()):
                client.connect()
            few_body = json.dumps({"observation": {"all": {"data[0:48]": small.tolist()}}}).encode()
            image_body = json.dumps({"observation": {"camera": {"data": encode_array(image)}}})
            given = [{"all/data[0:48]": small}, {"camera/data": image}]
            table: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
                "openpi | 48 numbers": (
                    lambda: openpi[0].ask(given[0], 9.0), lambda: sessions[0].answer(given[0])),
                "HTTP /act | 48 numbers": (
                    act(ports[0], few_body), lambda: sessions[0].answer(given[0])),
                "protocol v2 | 48 numbers": (
                    lambda: v2[0].infer(few, 9.0), lambda: first.run(few)),
                "openpi | image of 1 MB": (
                    lambda: openpi[1].ask(given[1], 9.0), lambda: sessions[1].answer(given[1])),
                "HTTP /act | image of 1 MB": (
                    act(ports[1], image_body.encode()), lambda: sessions[1].answer(given[1])),
                "protocol v2 | tensor of 1 MB": (
                    lambda: v2[2].infer({"obs": tensor}, 9.0), lambda: third.run({"obs": tensor})),
            }  # fmt: skip
            taken: dict[str, tuple[list[float], list[float]]] = {row: ([], []) for row in table}
            for block in range(1 + -(-rounds // BLOCK)):
                for row, calls in table.items():
                    for call, durations in zip(calls, taken[row], strict=True):
                        call()
                        for _ in range(BLOCK):
                            begin = time.perf_counter()
                            call()
                            durations.append(time.perf_counter() - begin)
                        if block == 0:  # the first block warms up
                            durations.clear()
        finally:
            for process, _ in servers:
                process.terminate()
                process.wait()
        print("| protocol | per request | local p50 [us] | added p50 [us] | added p99 [us] |")
        print("|---|---|---|---|---|")
        for row, (remote, local) in taken.items():
            plain = float(np.median(local))
            added = (np.percentile(remote, (50, 99)) - plain) * 1e6
            print(f"| {row} | {plain * 1e6:.0f} | {added[0]:.0f} | {added[1]:.0f} |")


if __name__ == "__main__":
    main()
