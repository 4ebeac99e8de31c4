"""Imports, also lazy ones, have one direction: between rooms, in rooms, to other packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from package_tree import (
    PACKAGE,
    ROOT,
    Edge,
    child,
    circles,
    dotted,
    edges,
    graph_of,
    imports,
    python_files,
    write_tree,
)

# The right side may import the left side. Names between two arrows do not import each other.
ROOMS = """
core, package_files <- backends, formats, telemetry <- robot <- sim, export, serving <- ros <- cli
"""
# Order inside a room, by names of its files and folders. Names that are not listed have no order,
# but the room's files and folders must not import each other in a circle.
ORDERS = {
    "core": "errors, model, timing <- settings <- files <- spec <- inputs <- observation, safety"
    " <- command <- chunks <- lane <- pipeline <- black_box",
    "backends": "interface, host_arrays, private_folder <- onnx_file <- remote"
    " <- comparison, measurements, sample_inputs <- cuda <- onnxruntime <- tensorrt"
    " <- precision_check <- load, doctor",
    "export": "sources, running_normalizer <- graph <- completed_contract, card, policy_folder"
    " <- policy_export <- verify <- optimize",
    "serving": "session <- server",
    "robot": "parameters <- urdf, parameter_files <- limits, values <- settings, lane"
    " <- load <- lane_process",
    "sim": "robot_file, variation <- plant <- loop <- evaluate",
    "ros": "messages, process, parameters <- inputs, outputs, diagnostics"
    " <- black_box <- runner, sidecar, simulated_robot <- bench",
}
# The rooms whose names the package's __init__ may export.
OFFERED = {"core", "robot"}

INFERENCE = {"onnxruntime", "tensorrt", "pycuda", "cuda"}
# room: third-party packages that it may import. A room that is not listed imports none.
PACKAGES: dict[str, set[str]] = {
    "core": {"numpy", "pydantic", "yaml"},
    "backends": {"numpy", *INFERENCE, "msgpack", "websockets"},
    "formats": {"numpy", "pydantic", "yaml"},
    "robot": {"numpy", "yaml"},
    "sim": {"numpy", "pydantic", "yaml", "mujoco"},
    "export": {"numpy", "pydantic", "yaml", *INFERENCE},
    # fastapi and uvicorn: the extra [serve]. Only `cli/serve` and tests import what needs them.
    "serving": {"numpy", "pydantic", "fastapi", "uvicorn"},
    "ros": {"numpy", "yaml", "rclpy"},
    "cli": {"numpy", "yaml", "rich"},
}
MESSAGES = "ros"  # the only room that may import *_msgs, *_srvs and *_interfaces
# Packages that are not installed everywhere. Each is allowed in one file or room, in functions.
LAZY_ONLY = {
    "robot/urdf.py": {"urdf_parser_py"},  # the extra urdf
    # The extra [export] and the trainers' own packages: on the trainer's machine.
    "export": {"torch", "onnx", "onnxslim", "stable_baselines3", "gymnasium", "cloudpickle"},
    # A machine for training has these.
    "formats/sb3_statistics.py": {"torch", "stable_baselines3", "gymnasium", "onnx"},
    "telemetry/host/gpu.py": {"pynvml"},  # machines with a discrete GPU
    "telemetry/recording/mcap.py": {"mcap"},  # the extra [recording]
    "backends/tensorrt/builder.py": {"onnx", "onnxconverter_common"},  # fp16 for TensorRT 11
    # The extras [images] and [opencv].
    "core/observation/terms/pixels/resizing.py": {"PIL", "cv2"},
    "cli": {"matplotlib", "rosbags"},  # the extras [plots] and [replay]
}


def against_order(imported: list[Edge], folder: str, order: str) -> list[str]:
    """Imports between files and folders of `folder` (dotted) that the order forbids."""
    levels = [level.replace(" ", "").strip().split(",") for level in order.split("<-")]
    level_of = {name: number for number, names in enumerate(levels) for name in names}
    found = []
    for edge in imported:
        source, target = child(edge.source, folder), child(edge.target, folder)
        if source == target or source not in level_of or target not in level_of:
            continue
        if level_of[target] >= level_of[source]:
            found.append(f"{edge.where}: {folder}.{source} may not import {folder}.{target}")
    return found


def module_circles(imported: list[Edge]) -> list[list[str]]:
    """Modules that import each other, or themselves."""
    return circles(graph_of((edge.source, edge.target) for edge in imported))


def folder_circles(imported: list[Edge], folder: str) -> list[list[str]]:
    """Files and folders of one folder (dotted) that import each other."""
    pairs = ((child(edge.source, folder), child(edge.target, folder)) for edge in imported)
    return circles(graph_of((a, b) for a, b in pairs if a and b and a != b))


def third_party(file: str, text: str) -> list[str]:
    """Forbidden imports of third-party packages in a file (path below the package)."""
    room = file.split("/")[0] if "/" in file else ""
    lazy_only = LAZY_ONLY.get(file, set()) | LAZY_ONLY.get(room, set())
    found = []
    for one in imports(text, dotted(Path(PACKAGE, file), Path())):
        top = one.module.split(".")[0]
        where = f"{file}:{one.line}: {one.module}"
        if top in sys.stdlib_module_names or top == PACKAGE:
            continue
        if file.endswith("__init__.py"):
            found.append(f"{where}: an __init__ imports nothing from outside")
        elif top.endswith(("_msgs", "_srvs", "_interfaces")):
            if room != MESSAGES:
                found.append(f"{where}: only {MESSAGES}/ imports messages")
        elif top in lazy_only:
            if not one.lazy:
                found.append(f"{where}: only inside a function")
        elif top not in PACKAGES.get(room, set()):
            found.append(f"{where}: {room or 'the top'} may not import {top}")
    return found


def rooms_of(root: Path) -> set[str]:
    """Names of the rooms and modules next to the package's __init__."""
    paths = python_files(root, PACKAGE)
    return {child(dotted(path, root), PACKAGE) for path in paths} - {"__init__"}


def through_the_top(root: Path) -> list[str]:
    """Forbidden imports of the package's __init__, and forbidden exports of it.

    Other files may import only its version. It may export only names of `OFFERED` rooms.
    """
    names = rooms_of(root) | {"__version__"}
    found = []
    for path in python_files(root, PACKAGE):
        where = path.relative_to(root).as_posix()
        for one in imports(path.read_text("utf-8"), dotted(path, root)):
            if one.module == PACKAGE and one.name not in names:
                found.append(f"{where}:{one.line}: import {one.name} from its room")
            room = child(f"{one.module}.{one.name}", PACKAGE)
            if where == f"{PACKAGE}/__init__.py" and room not in {"", *OFFERED}:
                found.append(f"{where}:{one.line}: the package offers nothing of {room}")
    return found


@pytest.fixture(scope="module")
def package() -> list[Edge]:
    """All imports between modules of this package."""
    return edges(ROOT)


def test_rooms_import_in_one_direction(package: list[Edge]) -> None:
    assert against_order(package, PACKAGE, ROOMS) == []
    assert through_the_top(ROOT) == []


def test_every_room_has_its_place() -> None:
    placed = set(ROOMS.replace("<-", ",").replace(" ", "").strip().split(","))
    assert rooms_of(ROOT) <= placed
    assert set(PACKAGES) <= placed


@pytest.mark.parametrize("room", [*sorted(ORDERS.keys() - {"backends"}), "backends"])
def test_a_room_keeps_its_order(package: list[Edge], room: str) -> None:
    assert against_order(package, f"{PACKAGE}.{room}", ORDERS[room]) == []


def test_no_modules_import_each_other(package: list[Edge]) -> None:
    assert module_circles(package) == []


@pytest.mark.parametrize(
    "room", [*sorted(rooms_of(ROOT) - {"package_files", "backends"}), "backends"]
)
def test_no_folders_import_each_other(package: list[Edge], room: str) -> None:
    folders = {path.parent for path in python_files(ROOT, f"{PACKAGE}/{room}")}
    names = sorted(".".join(folder.relative_to(ROOT).parts) for folder in folders)
    found = {name: folder_circles(package, name) for name in names}
    assert not {name: groups for name, groups in found.items() if groups}


def test_other_packages_are_known_where_they_may_be() -> None:
    files = python_files(ROOT, PACKAGE)
    assert len(files) > 200
    package = ROOT / PACKAGE
    found = [
        problem
        for path in files
        for problem in third_party(path.relative_to(package).as_posix(), path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


# --- the checks find what they look for ---


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/pipeline.py", "def late():\n    from policy_runner.ros import node"),
        ("core/pipeline.py", "from ..backends import load"),
        ("core/pipeline.py", "from policy_runner import backends"),
        ("core/pipeline.py", "import importlib\nimportlib.import_module('policy_runner.ros.node')"),
        ("core/pipeline.py", "from policy_runner.package_files import share_path"),
        ("core/__init__.py", "from policy_runner.backends import load"),
        ("ros/node.py", "from policy_runner.cli import main"),
        ("sim/balancer.py", "import policy_runner.ros.node"),
        ("backends/load.py", "from policy_runner.formats import sb3"),
        ("robot/load.py", "from policy_runner.sim.balancer import Balancer"),
    ],
)
def test_a_room_that_imports_a_later_one_is_found(tmp_path: Path, file: str, text: str) -> None:
    rooms = ("core", "backends", "formats", "sim", "ros", "cli", "robot")
    modules = ("backends/load", "formats/sb3", "sim/balancer", "ros/node", "cli/main")
    files = {f"{PACKAGE}/{room}/__init__.py": "" for room in rooms}
    files |= {f"{PACKAGE}/{name}.py": "" for name in (*modules, "package_files")}
    assert against_order(edges(write_tree(tmp_path, files)), PACKAGE, ROOMS) == []
    write_tree(tmp_path, {f"{PACKAGE}/{file}": text})
    (problem,) = against_order(edges(tmp_path), PACKAGE, ROOMS)
    assert problem.startswith(f"{PACKAGE}/{file}:")


def test_a_room_without_its_order_is_found(tmp_path: Path) -> None:
    write_tree(tmp_path, {
        f"{PACKAGE}/core/errors.py": "",
        f"{PACKAGE}/core/spec/reader.py": "from policy_runner.core.errors import Refusal",
        f"{PACKAGE}/core/spec/terms.py": "from policy_runner.core.spec.reader import read",
        f"{PACKAGE}/core/free.py": "from policy_runner.core.pipeline import build",
        f"{PACKAGE}/core/pipeline/build.py": "from policy_runner.core.spec import reader",
    })  # fmt: skip
    assert against_order(edges(tmp_path), f"{PACKAGE}.core", ORDERS["core"]) == []
    write_tree(tmp_path, {f"{PACKAGE}/core/spec/terms.py": "from ..pipeline import build"})
    (problem,) = against_order(edges(tmp_path), f"{PACKAGE}.core", ORDERS["core"])
    assert problem.startswith(f"{PACKAGE}/core/spec/terms.py:1: ")
    assert folder_circles(edges(tmp_path), f"{PACKAGE}.core") == [["pipeline", "spec"]]
    assert module_circles(edges(tmp_path)) == []
    neighbour = {f"{PACKAGE}/core/safety.py": "import policy_runner.core.observation"}
    write_tree(tmp_path, neighbour | {f"{PACKAGE}/core/observation.py": ""})
    assert len(against_order(edges(tmp_path), f"{PACKAGE}.core", ORDERS["core"])) == 2


def test_a_circle_of_modules_is_found(tmp_path: Path) -> None:
    write_tree(tmp_path, {
        f"{PACKAGE}/sim/__init__.py": "from policy_runner.sim.a import A",
        f"{PACKAGE}/sim/a.py": "from .b import B",
        f"{PACKAGE}/sim/b.py": "from policy_runner.core import c",
        f"{PACKAGE}/core/c.py": "",
    })  # fmt: skip
    assert module_circles(edges(tmp_path)) == []
    write_tree(tmp_path, {f"{PACKAGE}/core/c.py": "def late():\n    from policy_runner import sim"})
    names = [f"{PACKAGE}.{name}" for name in ("core.c", "sim", "sim.a", "sim.b")]
    assert module_circles(edges(tmp_path)) == [names]
    write_tree(tmp_path, {f"{PACKAGE}/core/c.py": f"from {PACKAGE}.core.c import itself"})
    assert module_circles(edges(tmp_path)) == [[f"{PACKAGE}.core.c"]]


def test_what_goes_through_the_top_is_found(tmp_path: Path) -> None:
    write_tree(tmp_path, {
        f"{PACKAGE}/__init__.py": "from policy_runner.core.errors import Refusal\nimport json",
        f"{PACKAGE}/core/errors.py": "from policy_runner import __version__",
        f"{PACKAGE}/ros/node.py": "from policy_runner import core",
    })  # fmt: skip
    assert through_the_top(tmp_path) == []
    write_tree(tmp_path, {
        f"{PACKAGE}/__init__.py": "from policy_runner.ros.node import Node",
        f"{PACKAGE}/ros/node.py": "from policy_runner import Refusal",
    })  # fmt: skip
    assert len(through_the_top(tmp_path)) == 2


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/pipeline.py", "import rclpy"),
        ("core/pipeline.py", "import importlib\nimportlib.import_module('onnxruntime')"),
        ("telemetry/cpu.py", "from diagnostic_msgs.msg import DiagnosticArray"),
        ("telemetry/cpu.py", "import numpy"),
        ("ros/node.py", "import onnxruntime"),
        ("ros/node.py", "import torch"),
        ("cli/demo.py", "from std_msgs.msg import String"),
        ("formats/sb3_statistics.py", "import torch"),
        ("cli/report.py", "import matplotlib"),
        ("ros/__init__.py", "import rclpy"),
        ("package_files.py", "import numpy"),
    ],
)
def test_a_package_in_the_wrong_room_is_found(file: str, text: str) -> None:
    assert len(third_party(file, text)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/pipeline.py", "import numpy as np\nfrom policy_runner.core import spec"),
        ("core/pipeline.py", "from . import spec\nfrom .limits import Limits"),
        ("ros/node.py", "import rclpy\nfrom std_srvs.srv import Trigger"),
        ("cli/demo.py", "from policy_runner.ros.process_table import rows\nimport rich"),
        ("formats/sb3_statistics.py", "def convert():\n    import torch"),
        ("sim/balancer.py", "from policy_runner.package_files import share_path\nimport mujoco"),
    ],
)
def test_a_package_in_its_room_passes(file: str, text: str) -> None:
    assert third_party(file, text) == []
