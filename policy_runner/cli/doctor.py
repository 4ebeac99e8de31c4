"""`policy-runner doctor`: reports what this machine has and lacks for running policies."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec

from policy_runner import __version__
from policy_runner.backends import doctor as findings
from policy_runner.backends.cuda.driver import Driver, read_driver
from policy_runner.backends.doctor import MISSING, OK, PROBLEM, Finding
from policy_runner.cli.command_parser import table_width
from policy_runner.ros.process.realtime import fifo_refusal
from policy_runner.telemetry.host.identity import Jetson, read_identity, read_jetson
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.preflight.check_host import check_host

PAGE = "docs/guides/install_jetson.md"
STYLES = {OK: "green", MISSING: "yellow", PROBLEM: "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--root", default="/", help="where /proc, /sys and /etc are read from (a saved board)"
    )


def run(options: argparse.Namespace) -> int:
    """Examine the machine and print; return 1 for a fault with which no policy can run well."""
    found = examine(HostFiles(options.root), read_driver())
    if options.json:
        sys.stdout.write(json.dumps([asdict(one) for one in found], indent=2) + "\n")
    else:
        _print(found)
    return int(any(one.level == PROBLEM for one in found))


def examine(files: HostFiles, driver: Driver) -> list[Finding]:
    """Return all findings, ordered so that each depends only on earlier ones."""
    jetson = read_jetson(files, read_identity(files))
    gpu = bool(driver.gpus) or bool(jetson.family)
    wheel, tensorrt = gpu_packages(jetson)
    return [
        *findings.safely("machine", lambda: _machine(files, jetson)),
        findings.driver_finding(driver),
        *findings.safely("onnxruntime", lambda: findings.onnxruntime_findings(gpu, wheel)),
        *findings.safely("tensorrt", lambda: findings.tensorrt_findings(gpu, tensorrt)),
        *findings.safely("engine cache", lambda: iter([findings.engine_finding()])),
        *_host(files),
    ]


def _host(files: HostFiles) -> Iterator[Finding]:
    """What makes a control loop late on this host."""
    # Of another machine's files nothing can be tried in this process.
    refusal = fifo_refusal if files.root == "/" else None
    for advice in check_host(files, refusal):
        yield Finding(advice.what, advice.level, advice.text, advice.help, advice.why)


def gpu_packages(jetson: Jetson) -> tuple[str, str]:
    """Return how to install onnxruntime-gpu and TensorRT's Python package on this board."""
    major = jetson.jetpack.split(".")[0]
    apt = f"sudo apt install python3-libnvinfer; a venv needs --system-site-packages ({PAGE})"
    if major == "6":
        index = "https://pypi.jetson-ai-lab.io/jp6/cu126"
        return f"pip install onnxruntime-gpu --index-url {index} ({PAGE})", apt
    if jetson.family:
        return f"PyPI's onnxruntime-gpu has no code for this GPU: see {PAGE}", apt
    return (
        f"pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]' ({PAGE})",
        f"install TensorRT 10 with its Python package ({PAGE})",
    )


def _machine(files: HostFiles, jetson: Jetson) -> Iterator[Finding]:
    identity = read_identity(files)
    words = [identity.model, f"{platform.machine()}, {os.cpu_count()} cores"]
    yield Finding("machine", OK, ", ".join(word for word in words if word))
    if jetson.family:
        text = f"{jetson.module or jetson.family}, JetPack {jetson.jetpack or 'unknown'} "
        text += f"(L4T {jetson.l4t or 'unknown'})"
        if jetson.jetpack.split(".")[0] in ("4", "5"):
            remedy = "Python is older than 3.10 there: install JetPack 6 or newer"
            yield Finding("Jetson", PROBLEM, f"{text}: not supported", remedy)
        else:
            yield Finding("Jetson", OK, text)
    yield Finding("policy_runner", OK, f"{__version__}, Python {platform.python_version()}")
    if find_spec("rclpy") is None:
        remedy = "source /opt/ros/<distribution>/setup.bash"
        yield Finding("ROS 2", MISSING, "rclpy cannot be imported: no node runs here", remedy)
    else:
        middleware = os.environ.get("RMW_IMPLEMENTATION", "the default middleware")
        yield Finding("ROS 2", OK, f"{os.environ.get('ROS_DISTRO', 'rclpy')}, {middleware}")


def _print(found: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    software = Table("", "found", "what helps", show_lines=False)
    host = Table("the host", "found", "why it matters for the loop", "what helps")
    for one in found:
        mark = {OK: "✓", MISSING: "–", PROBLEM: "✗"}[one.level]
        cells = [Text(f"{mark} {one.what}", style=STYLES[one.level]), Text(one.text)]
        if one.why:
            host.add_row(*cells, Text(one.why), Text(one.help))
        else:
            software.add_row(*cells, Text(one.help))
    console = Console(width=table_width())
    console.print(software)
    console.print(host)
