"""Imports run one way, lazy ones too: core <- backends, formats, telemetry, sim <- ros <- cli."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "policy_runner"
TOP = ""  # modules next to the rooms: package_files.py, __init__.py

# room: (rooms that it may import besides itself, third-party packages that it may import)
RULES: dict[str, tuple[set[str], set[str]]] = {
    TOP: (set(), set()),
    "core": (set(), {"numpy", "pydantic", "yaml"}),
    "backends": ({"core"}, {"numpy", "onnxruntime", "tensorrt", "pycuda", "cuda"}),
    "formats": ({"core", TOP}, {"numpy", "pydantic", "yaml"}),
    "telemetry": ({"core"}, set()),
    "robot": ({"core", "backends", "formats", TOP}, {"numpy", "yaml"}),
    "sim": ({"core", "robot", TOP}, {"numpy", "mujoco"}),
    "ros": (
        {"core", "backends", "formats", "telemetry", "robot", "sim", TOP},
        {"numpy", "yaml", "rclpy"},
    ),
    "cli": (
        {"core", "backends", "formats", "telemetry", "robot", "sim", "ros", TOP},
        {"numpy", "yaml", "rich"},
    ),
}
MESSAGES = "ros"  # the only room that may import *_msgs, *_srvs and *_interfaces
# What is not installed everywhere: allowed in one file or room, inside functions only.
LAZY_ONLY = {
    "robot/urdf.py": {"urdf_parser_py"},  # the extra urdf, imported when asked for
    "formats/sb3_statistics.py": {
        "torch",
        "stable_baselines3",
        "gymnasium",
        "onnx",
    },  # the trainer's machine
    "telemetry/host/gpu.py": {"pynvml"},  # machines with a discrete GPU
    "telemetry/recording/mcap.py": {"mcap"},  # the extra [recording]
    "backends/tensorrt/builder.py": {"onnx", "onnxconverter_common"},  # fp16 for TensorRT 11
    "core/observation/terms/image.py": {"PIL"},  # the extra [images]
    "cli": {"matplotlib", "rosbags"},  # the extras [plots] and [replay]
}


def imported(tree: ast.AST, module: str) -> Iterator[tuple[int, str, bool]]:
    """Line, absolute dotted name and laziness of every import, also by importlib's function."""
    lazy_nodes = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [*module.split(".")[: -node.level], base]))
            names = [f"{base}.{alias.name}" if base == PACKAGE else base for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func).rsplit(".", 1)[-1]
            if function in ("import_module", "__import__"):
                names = [str(node.args[0].value)]
        for name in names:
            yield getattr(node, "lineno", 0), name, id(node) in lazy_nodes


def violations(file: str, text: str) -> list[str]:
    """What a file of the package (path relative to it) imports against the rules."""
    room = file.split("/")[0] if "/" in file else TOP
    rooms, packages = RULES[room]
    module = ".".join([PACKAGE, *file.removesuffix(".py").split("/")])
    found = []
    for line, name, lazy in imported(ast.parse(text), module):
        top, _, rest = name.partition(".")
        where = f"{file}:{line}: {name}"
        if top in sys.stdlib_module_names:
            continue
        if top == PACKAGE:
            first = rest.split(".")[0]
            target = first if first in RULES else TOP
            if target not in {room, *rooms} and first not in ("", "__version__"):
                found.append(f"{where}: {room or 'the top'} may not import {target or 'it'}")
        elif file.endswith("__init__.py"):
            found.append(f"{where}: an __init__ imports nothing from outside")
        elif top.endswith(("_msgs", "_srvs", "_interfaces")):
            if room != MESSAGES:
                found.append(f"{where}: only {MESSAGES}/ imports messages")
        elif top in LAZY_ONLY.get(file, set()) | LAZY_ONLY.get(room, set()):
            if not lazy:
                found.append(f"{where}: only inside a function")
        elif top not in packages:
            found.append(f"{where}: {room or 'the top'} may not import {top}")
    return found


def test_the_package_keeps_the_direction() -> None:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    assert len(files) > 30
    found = [
        problem
        for path in files
        for problem in violations(path.relative_to(ROOT / PACKAGE).as_posix(), path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/pipeline.py", "import rclpy"),
        ("core/pipeline.py", "def late():\n    from policy_runner.ros import node"),
        ("core/pipeline.py", "from ..backends import registry"),
        ("core/pipeline.py", "from policy_runner import backends"),
        ("core/pipeline.py", "import importlib\nimportlib.import_module('onnxruntime')"),
        ("core/pipeline.py", "from policy_runner.package_files import share_path"),
        ("telemetry/cpu.py", "from diagnostic_msgs.msg import DiagnosticArray"),
        ("ros/node.py", "import onnxruntime"),
        ("ros/node.py", "from policy_runner.cli import main"),
        ("ros/node.py", "import torch"),
        ("cli/demo.py", "from std_msgs.msg import String"),
        ("sim/balancer.py", "import policy_runner.ros.polling"),
        ("backends/registry.py", "from policy_runner.formats import sb3"),
        ("formats/sb3_statistics.py", "import torch"),
        ("cli/report.py", "import matplotlib"),
        ("ros/__init__.py", "import rclpy"),
        ("package_files.py", "import numpy"),
    ],
)
def test_an_import_against_the_direction_is_found(file: str, text: str) -> None:
    assert len(violations(file, text)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/pipeline.py", "import numpy as np\nfrom policy_runner.core import spec"),
        ("core/pipeline.py", "from . import spec\nfrom .limits import Limits"),
        ("ros/node.py", "import rclpy\nfrom std_srvs.srv import Trigger"),
        ("ros/node.py", "from policy_runner import __version__"),
        ("cli/demo.py", "from policy_runner.ros.process_table import rows\nimport rich"),
        ("formats/sb3_statistics.py", "def convert():\n    import torch"),
        ("sim/balancer.py", "from policy_runner.package_files import share_path\nimport mujoco"),
    ],
)
def test_an_import_along_the_direction_passes(file: str, text: str) -> None:
    assert violations(file, text) == []
