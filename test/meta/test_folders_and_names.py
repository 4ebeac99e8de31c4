"""Rules for the number of files in a folder, their lengths and their names."""

from __future__ import annotations

import sys
from collections.abc import Container
from pathlib import Path

import pytest
from package_tree import PACKAGE, ROOT, dotted, imports, python_files, write_tree

MOST_FILES = 15  # in one folder; split a larger one into two rooms
LONGEST, SHORTEST, LONGEST_TEST = 400, 40, 450
# path: why such a short file is separate.
SHORT: dict[str, str] = {
    "policy_runner/cli/bench/command.py": "the table of the commands of `bench`",
    "policy_runner/cli/convert/command.py": "the table of the commands of `convert`",
    "policy_runner/cli/bench/step_and_node.py": "one command, one file",
    "policy_runner/cli/old_names.py": "main and bench use it, until the old names go",
    "policy_runner/cli/schema.py": "one command, one file",
    "policy_runner/robot/parameters/naming.py": "the rows of every node; the others are of one",
    "policy_runner/ros/parameters/unknown_names.py": "a base class of nodes, not of their rows",
    "policy_runner/ros/simulated_robot/heartbeat.py": "pure: tested without ROS",
    "policy_runner/sim/with_mujoco.py": "is imported where MuJoCo may be absent",
    "policy_runner/sim/variation.py": "serves the balancer and its trainer",
}
# A room's file or folder with the name of a standard library module, and why.
LIKE_STDLIB: dict[str, str] = {
    "policy_runner/cli/inspect": "it is the command's name, and a command's folder has the"
    " command's name",
}
# Names for the role of a file in its folder; every folder may have one.
ROLES = {
    "command": "the subcommand, or the command of the topic",
    "check": "finds problems before anything runs",
    "interface": "the interface that the other files of the folder implement or use",
    "load": "makes an object that runs from files",
    "main": "the process",
    "model": "the room's view of a model",
    "node": "the ROS node",
    "parameters": "the parameters that the node declares",
    "report": "the report at the end",
    "settings": "values that a policy runs with",
    "topics": "names and types of topics",
}
# Subjects that two rooms handle, each in its own way.
SUBJECTS = {
    "arrays": "read from a policy's files; read from a recording",
    "cpu": "runs a model; is measured",
    "doctor": "the findings; the command that prints them",
    "engine": "TensorRT's; the commands about them",
    "gpu": "runs a model; is measured",
    "graph": "ONNX's; ROS's. Neither field has another word",
    "heartbeat": "is sent; is missed",
    "joints": "an input; the terms that read it",
    "policy": "in the file; in the pipeline; its parameters",
    "power": "is measured; the command that sets it",
    "runner": "its parameters; the node that the bench times",
    "step": "on the GPU; timed by the bench",
}


def full_folders(root: Path) -> list[str]:
    """Folders with too many files, of any kind."""
    found = []
    for top in (PACKAGE, "test"):
        for folder in [root / top, *(root / top).rglob("*")]:
            if folder.is_dir() and "__pycache__" not in folder.parts:
                count = sum(path.is_file() for path in folder.iterdir())
                if count > MOST_FILES:
                    found.append(f"{folder.relative_to(root).as_posix()}: {count} files")
    return found


def wrong_lengths(root: Path, short: Container[str] = ()) -> list[str]:
    """Files that are too long, or so short that they belong into another file."""
    found = []
    for path in python_files(root, PACKAGE, "launch", "models", "test", "benchmarks", "tools"):
        name = path.relative_to(root).as_posix()
        length = len(path.read_text("utf-8").splitlines())
        most = LONGEST_TEST if name.startswith("test/") else LONGEST
        least = SHORTEST if name.startswith(f"{PACKAGE}/") else 0
        if length > most:
            found.append(f"{name}: {length} lines; at most {most}")
        elif length < least and path.name != "__init__.py" and name not in short:
            found.append(f"{name}: {length} lines; at least {least}, or a reason in SHORT")
    return found


def stdlib_names(root: Path) -> set[str]:
    """Rooms, and files and folders directly in a room, with a standard library module's name."""
    names = set()
    for path in python_files(root, PACKAGE):
        parts = path.relative_to(root).with_suffix("").parts
        names |= {"/".join(parts[:length]) for length in (2, 3) if length <= len(parts)}
    return {name for name in names if name.rsplit("/", 1)[-1] in sys.stdlib_module_names}


def repeated_names(root: Path) -> dict[str, list[str]]:
    """Basenames of several modules in different folders, with these modules."""
    places: dict[str, list[str]] = {}
    for path in python_files(root, PACKAGE):
        if path.name != "__init__.py":
            places.setdefault(path.stem, []).append(path.relative_to(root).as_posix())
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def shadowing_folders(root: Path) -> list[str]:
    """Test folders with the name of a package that the code imports.

    pytest puts a folder of tests on sys.path. Python would find a folder `tensorrt` in it as a
    package.
    """
    known = {
        one.module.split(".")[0]
        for path in python_files(root, PACKAGE)
        for one in imports(path.read_text("utf-8"), dotted(path, root))
    }
    folders = {path.parent for path in python_files(root, "test")}
    names = {folder.relative_to(root).as_posix() for folder in folders}
    return sorted(n for n in names if n.split("/")[-1] in known and "/fake_modules/" not in n)


def unreachable_imports(root: Path) -> list[str]:
    """Imports of test helpers that only work after pytest has collected another folder."""
    files = {path.stem: path for path in python_files(root, "test")}
    everywhere = (root / "test", *(root / "test" / "rigs").rglob("*"), root / "test" / "rigs")
    found = []
    for path in files.values():
        for one in imports(path.read_text("utf-8"), path.stem):
            target = files.get(one.module)
            if target and target.parent not in (path.parent, *everywhere):
                found.append(f"{path.relative_to(root).as_posix()}:{one.line}: {one.module}")
    return found


def test_no_folder_is_full() -> None:
    assert full_folders(ROOT) == []


def test_every_file_has_its_length() -> None:
    assert wrong_lengths(ROOT, SHORT) == []


def test_every_reason_for_a_short_file_is_needed() -> None:
    short = {problem.split(":")[0] for problem in wrong_lengths(ROOT)}
    assert not set(SHORT) - short


def test_no_room_is_called_like_the_standard_library() -> None:
    assert stdlib_names(ROOT) == set(LIKE_STDLIB)


def test_a_name_stands_for_one_thing() -> None:
    allowed = ROLES.keys() | SUBJECTS.keys()
    assert {k: v for k, v in repeated_names(ROOT).items() if k not in allowed} == {}


def test_every_shared_subject_is_shared() -> None:
    assert SUBJECTS.keys() <= repeated_names(ROOT).keys()


def test_no_folder_of_tests_hides_a_package() -> None:
    assert shadowing_folders(ROOT) == []


def test_every_folder_of_tests_can_run_alone() -> None:
    assert unreachable_imports(ROOT) == []


# --- the checks find what they look for ---


def test_a_full_folder_is_found(tmp_path: Path) -> None:
    files = {f"{PACKAGE}/core/spec/n{number}.py": "" for number in range(13)}
    files |= {f"{PACKAGE}/core/spec/__pycache__/n{number}.pyc": "" for number in range(20)}
    files |= {f"test/formats/specs/{number}.yaml": "" for number in range(15)}
    write_tree(tmp_path, files | {f"{PACKAGE}/core/spec/{n}": "" for n in ("__init__.py", "x.xml")})
    assert full_folders(tmp_path) == []
    write_tree(tmp_path, {f"{PACKAGE}/core/spec/more.txt": "", "test/formats/specs/more.py": ""})
    assert full_folders(tmp_path) == [
        f"{PACKAGE}/core/spec: 16 files", "test/formats/specs: 16 files",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        (f"{PACKAGE}/core/a.py", 40, 400),
        (f"{PACKAGE}/core/__init__.py", 0, 400),
        ("launch/a.launch.py", 0, 400),
        ("test/core/test_a.py", 0, 450),
    ],
)
def test_a_wrong_length_is_found(tmp_path: Path, name: str, least: int, most: int) -> None:
    for length, wrong in ((least, 0), (most, 0), (most + 1, 1), *([(least - 1, 1)] * bool(least))):
        write_tree(tmp_path, {name: "\n" * length})
        assert len(wrong_lengths(tmp_path)) == wrong, length
    assert wrong_lengths(tmp_path, {name} if least else ()) == [] or not least


def test_a_name_of_the_standard_library_is_found(tmp_path: Path) -> None:
    names = ("statistics/a", "core/operator", "cli/inspect/command", "cli/replay/signals")
    write_tree(tmp_path, {f"{PACKAGE}/{name}.py": "" for name in names})
    wanted = {"statistics", "core/operator", "cli/inspect"}
    assert stdlib_names(tmp_path) == {f"{PACKAGE}/{name}" for name in wanted}


def test_a_repeated_name_is_found(tmp_path: Path) -> None:
    paths = [f"{PACKAGE}/{name}.py" for name in ("backends/measured", "core/inputs/measured")]
    others = (*paths, f"{PACKAGE}/core/__init__.py", f"{PACKAGE}/backends/__init__.py")
    write_tree(tmp_path, dict.fromkeys(others, ""))
    assert repeated_names(tmp_path) == {"measured": paths}


def test_a_folder_that_hides_a_package_is_found(tmp_path: Path) -> None:
    names = ("backends/tensorrt", "backends/on_tensorrt", "rigs/fake_modules/tensorrt")
    write_tree(tmp_path, {f"test/{name}/test_a.py": "" for name in names})
    write_tree(tmp_path, {f"{PACKAGE}/a.py": "def late():\n    import tensorrt.plugin"})
    assert shadowing_folders(tmp_path) == ["test/backends/tensorrt"]


def test_an_import_from_another_folder_of_tests_is_found(tmp_path: Path) -> None:
    text = "import children, core_rig, fake_gpu, own_rig\nfrom far_rig import far"
    names = ("children", "rigs/core_rig", "rigs/gpu/fake_gpu", "core/own_rig", "ros/far_rig")
    write_tree(tmp_path, {f"test/{name}.py": "" for name in names})
    write_tree(tmp_path, {"test/core/test_a.py": text})
    assert unreachable_imports(tmp_path) == ["test/core/test_a.py:2: far_rig"]
