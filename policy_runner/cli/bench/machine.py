"""Describes the machine and packages of a benchmark, and checks its output files."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from policy_runner.cli.command_parser import check_written, table_width


def machine() -> dict[str, str]:
    """Return the processor, the kernel and the versions of packages."""
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    facts = {"cpu": f"{cpu}, {os.cpu_count()} cores", "kernel": platform.release()}
    facts["python"] = platform.python_version()
    for package in ("rclpy", "onnxruntime", "numpy", "policy_runner"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "unknown"
    return facts


def print_machine(facts: dict[str, str]) -> None:
    """Print the facts in one line."""
    from rich.console import Console

    Console(width=table_width()).print(", ".join(f"{key} {value}" for key, value in facts.items()))


def check_outputs(json: Path | None = None, picture: Path | None = None) -> None:
    """Check that the figures can be written, before the measurement starts.

    Raises:
        Refusal: a folder does not exist, or a picture is requested without matplotlib.
    """
    from policy_runner.cli.drawing.style import check_drawable  # not for `bench --help`

    check_written("--json", json)
    check_written("--picture", picture)
    check_drawable("--picture", picture)
