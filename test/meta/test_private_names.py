"""A name with a leading underscore is only read in its own file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from package_tree import PACKAGE, ROOT, python_files, write_tree

PRIVATE = re.compile(r"_(?!_)\w+$")
# Python documents these names although they have an underscore.
PUBLIC = {"_exit", "_replace", "_asdict", "_fields", "_make"}
BY_TEXT = {"getattr", "setattr", "hasattr", "delattr"}
# path: private members of third-party packages that it may read, and why it has to.
ALLOWED: dict[str, dict[str, str]] = {
    "policy_runner/backends/onnxruntime/cpu.py": {
        "_sess": "its run_with_iobinding, without the wrapper's Python in every tick",
        "_iobinding": "the argument of that call",
    },
    "policy_runner/export/graph/watched_calls.py": {
        "_python_dispatch": "torch's way to see each operation, documented under this name",
        "_pytree": "torch's own flattening of arguments, the one its exporters use",
    },
    "policy_runner/ros/parameters/declared.py": {
        "_parameter_overrides": "rclpy shows a parameter's override only by declaring it",
    },
}


def _defined(tree: ast.AST) -> set[str]:
    """The names that a file defines: functions, classes, variables, fields, members."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if _is_own(node.value) else set()
    return found


def _is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _read(tree: ast.AST) -> list[tuple[int, str, str]]:
    """Line, private name and text of every import, attribute and getattr of a private name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not _is_own(node.value):
            found.append((node.lineno, node.attr, ast.unparse(node)))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            base = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                names = [*base.split("."), *alias.name.split(".")]
                found += [(node.lineno, name, ast.unparse(node)) for name in names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_TEXT:
            name = ast.unparse(node.args[1]).strip("'")
            found.append((node.lineno, name, ast.unparse(node)))
    return [one for one in found if PRIVATE.match(one[1]) and one[1] not in PUBLIC]


def foreign_names(root: Path) -> list[tuple[str, str, str]]:
    """Path, private name and place of every read of a name that another file defines."""
    found = []
    for path in python_files(root, PACKAGE):
        tree = ast.parse(path.read_text("utf-8"))
        defined = _defined(tree)
        where = path.relative_to(root).as_posix()
        for line, name, text in _read(tree):
            if name not in defined:
                found.append((where, name, f"{where}:{line}: {text}"))
    return found


def test_no_file_reads_a_private_name_of_another() -> None:
    found = [text for path, name, text in foreign_names(ROOT) if name not in ALLOWED.get(path, {})]
    assert not found, "\n".join(found)


def test_what_is_allowed_is_needed() -> None:
    needed = {(path, name) for path, name, _ in foreign_names(ROOT)}
    assert not {(path, name) for path, names in ALLOWED.items() for name in names} - needed


@pytest.mark.parametrize(
    "text",
    [
        "from policy_runner.core.b import _hidden",
        "from policy_runner.core import _hidden as shown",
        "from policy_runner.core._hidden import shown",
        "import policy_runner.core._hidden as b",
        "def f(other):\n    return other._hidden",
        "def f(self):\n    return self.other._hidden",
        "def f(other):\n    other._hidden = 1",
        "def f(other):\n    return getattr(other, '_hidden', None)",
        "from a import b\nclass C(b.D):\n    def f(self):\n        return super()._hidden()",
    ],
)
def test_a_foreign_name_is_found(tmp_path: Path, text: str) -> None:
    found = foreign_names(write_tree(tmp_path, {f"{PACKAGE}/core/a.py": text}))
    assert [(path, name) for path, name, _ in found] == [(f"{PACKAGE}/core/a.py", "_hidden")]


@pytest.mark.parametrize(
    "text",
    [
        "from policy_runner import __version__",
        "class C:\n    _hidden: int\n    def f(self, other):\n        return other._hidden",
        "class C:\n    def _hidden(self): ...\n    def f(self, other):\n        other._hidden()",
        "class C:\n    def f(self, other):\n        self._hidden = other._hidden",
        "class C:\n    def f(self):\n        return self._of_a_base_class",
        "import os\nos._exit(1)",
        "def f(row):\n    return row._replace(a=1), row.__class__",
    ],
)
def test_an_own_name_passes(tmp_path: Path, text: str) -> None:
    assert foreign_names(write_tree(tmp_path, {f"{PACKAGE}/core/a.py": text})) == []
