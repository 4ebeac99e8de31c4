"""Runs in the environment of openpi-client: asks a server as an Isaac Sim user does.

python openpi_program.py PORT REQUESTS.npz [TIMES]      prints JSON
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

CONTROL = ("imu/orientation", "imu/angular_velocity", "joints/position")


def observation(stored: dict, k: int) -> dict:
    """The inputs of tick k."""
    rows = {key: stored[key][k] for key in CONTROL}
    command = dict(zip(("cmd/linear.x", "cmd/linear.y", "cmd/angular.z"), stored["command"][k]))
    return {**rows, **command, "joints/name": [str(one) for one in stored["names"]]}


def main() -> None:
    """Ask for every row, then measure."""
    port, path = int(sys.argv[1]), sys.argv[2]
    times = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    stored = dict(np.load(path))
    policy = WebsocketClientPolicy("127.0.0.1", port, api_key=os.environ.get("TOKEN"))
    answers = [policy.infer(observation(stored, k)) for k in range(len(stored["command"]))]
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        policy.infer(observation(stored, 0))
        taken.append(time.perf_counter() - begin)
    result = {
        "numpy": np.__version__,
        "metadata": policy.get_server_metadata(),
        "actions": [answer["actions"].tobytes().hex() for answer in answers],
        "timing": answers[-1]["server_timing"],
        "us": [float(one) for one in np.percentile(taken, (50, 99)) * 1e6] if taken else [],
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
