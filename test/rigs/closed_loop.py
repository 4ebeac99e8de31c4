"""Robot and runner in lockstep, started like in the demo, in their own namespace."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from policy_runner.cli.operate.children import Children
from policy_runner.package_files import share_path
from policy_runner.ros.processes import Arguments, processes

_starting = threading.Lock()


def copy_policy(folder: Path, change: Callable[[Path, dict[str, Any]], None]) -> Path:
    """Copy the shipped policy to `folder` and change it; `change` gets the folder and the spec."""
    source = share_path("models", "balancer")
    folder.mkdir(parents=True)
    for name in ("policy.yaml", "policy.onnx", "statistics.npz"):
        shutil.copy(source / name, folder / name)
    spec = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    change(folder, spec)
    for given in (spec["model"], spec["observation"][0]["normalization"]):
        given.pop("sha256", None)  # the file may have changed
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), "utf-8")
    return folder


def run(folder: Path, seed: int, duration_s: float, policy: str = "", **robot: Any) -> Any:
    """Return the robot's report of one run; AssertionError if a process failed."""
    folder.mkdir(parents=True)
    report = folder / "report.json"
    space = f"/run{seed}"
    rows = processes(
        Arguments(
            policy=policy,
            simulated_robot=True,
            lockstep=True,
            sidecar=False,
            robot={"seed": seed, "duration": duration_s, "report": str(report), **robot},
        )
    )
    remap = (f"__ns:={space}", f"/clock:={space}/clock", f"/diagnostics:={space}/diagnostics")
    extra = [word for rule in remap for word in ("-r", rule)]
    with _starting:
        children = Children(rows, folder, extra)
    try:
        end = time.monotonic() + 60.0 + 2.0 * duration_s
        while children.running("simulated_robot") and children.running("policy_runner"):
            assert time.monotonic() < end, "still running"
            time.sleep(0.02)
        if children.running("simulated_robot"):  # the runner ended first, which is a failure
            time.sleep(0.5)
    finally:
        children.end()
    logs = "\n".join(children.log(row.node_name).read_text("utf-8", "replace") for row in rows)
    assert children.status == {row.node_name: 0 for row in rows}, logs
    return json.loads(report.read_text("utf-8"))


def run_seeds(folder: Path, seeds: Sequence[int], duration_s: float, **how: Any) -> list[Any]:
    """Return one report for each seed; two runs at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(
            pool.map(lambda seed: run(folder / f"seed{seed}", seed, duration_s, **how), seeds)
        )
