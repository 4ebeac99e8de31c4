"""Runs in the environment of tritonclient: asks a server as a client of Triton does.

python triton_program.py PORT TENSORS.npz      prints JSON
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def main() -> None:
    """Ask for every row, with binary tensors and with JSON."""
    port, path = int(sys.argv[1]), sys.argv[2]
    rows = np.load(path)["obs"]
    client = triton.InferenceServerClient(f"127.0.0.1:{port}", concurrency=2)
    found: dict[str, list[str]] = {"binary": [], "json": [], "async": []}
    timing = {}
    for row in rows:
        for kind in ("binary", "json"):
            given = triton.InferInput("obs", list(row.shape), "FP32")
            given.set_data_from_numpy(row, binary_data=kind == "binary")
            wanted = triton.InferRequestedOutput("actions", binary_data=kind == "binary")
            answer = client.infer("toy", [given], outputs=[wanted], request_id="7")
            assert answer.get_response()["id"] == "7"
            timing = answer.get_response()["parameters"]
            found[kind].append(answer.as_numpy("actions").astype(np.float32).tobytes().hex())
        waiting = client.async_infer("toy", [given])
        found["async"].append(waiting.get_result().as_numpy("actions").tobytes().hex())
    try:
        given = triton.InferInput("obs", [1, 2], "FP32")
        given.set_data_from_numpy(np.zeros((1, 2), np.float32))
        client.infer("toy", [given])
        refusal = ""
    except InferenceServerException as error:
        refusal = str(error)
    result = {
        "ready": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("toy")],
        "metadata": client.get_model_metadata("toy"),
        "config": client.get_model_config("toy"),
        "index": client.get_model_repository_index(),
        "timing": timing,
        "refusal": refusal,
        **found,
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
