"""`import policy_runner` and the command line start fast: they import no large packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGE = {"numpy", "onnxruntime", "pydantic", "rclpy", "rich", "yaml"}


COMMAND_LINE = "import policy_runner.cli.main as cli; cli.main()"


def imports_of(code: str, *words: str) -> set[str]:
    """Every module that a new interpreter has imported at the end of this code.

    `-X importtime` would omit the imports of `importlib.import_module`.
    """
    at_exit = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", f"{at_exit}\n{code}", *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.split())


def commands_in(modules: set[str]) -> set[str]:
    """The modules of commands in `modules`."""
    always = {
        "policy_runner.cli.main",
        "policy_runner.cli",
        "policy_runner.cli.command_parser",
        "policy_runner.cli.old_names",
    }
    return {name for name in modules if name.startswith("policy_runner.cli")} - always


def test_the_package_imports_nothing_large() -> None:
    modules = imports_of("import policy_runner")
    assert "policy_runner" in modules
    assert not modules & LARGE


def test_the_help_imports_no_command_and_nothing_large() -> None:
    modules = imports_of(COMMAND_LINE, "--help")
    assert "policy_runner.cli.command_parser" in modules
    assert not modules & LARGE
    assert not commands_in(modules)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("schema --help", {"schema"}),
        ("convert --help", {"convert", "convert.command"}),
        ("convert stats --help", {"convert", "convert.command", "convert.stats"}),
        ("bench --help", {"bench", "bench.command"}),
        ("bench step --help", {"bench", "bench.command", "bench.step", "bench.machine"}),
    ],
)
def test_a_command_imports_its_own_module_only(words: str, expected: set[str]) -> None:
    modules = imports_of(COMMAND_LINE, *words.split())
    assert commands_in(modules) == {f"policy_runner.cli.{name}" for name in expected}


def test_the_help_of_bench_imports_nothing_large() -> None:
    assert not imports_of(COMMAND_LINE, "bench", "--help") & LARGE


@pytest.mark.parametrize("node", ["runner", "guard", "sidecar", "simulated_robot"])
def test_a_process_hears_signals_before_it_imports_anything_large(node: str) -> None:
    """Before that, a signal ends the process with the interpreter's default behaviour."""
    assert not imports_of(f"import policy_runner.ros.{node}.main") & LARGE
