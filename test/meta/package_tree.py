"""Read the source tree for the structure tests: files, imports, circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "policy_runner"
Graph = Mapping[str, Set[str]]


class Import(NamedTuple):
    """One `import a`, one name of `from a import b`, or one call of `import_module`."""

    line: int
    module: str  # absolute, dotted
    name: str  # the name imported from it; "" for the module itself
    lazy: bool  # inside a function


class Edge(NamedTuple):
    """An import between two modules of the package."""

    where: str  # path:line
    source: str
    target: str


def python_files(root: Path, *folders: str) -> list[Path]:
    """List every Python file below these folders of `root`."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def write_tree(root: Path, files: Mapping[str, str]) -> Path:
    """Write the files of a small tree, as input of a check; return `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def imports(text: str, module: str) -> Iterator[Import]:
    """Yield every import of a file. `module`, its dotted name, resolves relative imports.

    The name of a package's file ends in `.__init__`.
    """
    tree = ast.parse(text)
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        inside = id(node) in lazy
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, "", inside)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [*module.split(".")[: -node.level], base]))
            for alias in node.names:
                yield Import(node.lineno, base, alias.name, inside)
        elif isinstance(node, ast.Call) and _imports_by_call(node):
            yield Import(node.lineno, str(ast.literal_eval(node.args[0])), "", inside)


def _imports_by_call(node: ast.Call) -> bool:
    function = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    named = bool(node.args) and isinstance(node.args[0], ast.Constant)
    return named and function in ("import_module", "__import__")


def dotted(path: Path, root: Path) -> str:
    """The dotted name of a module; a package's name ends in `.__init__`."""
    return ".".join(path.relative_to(root).with_suffix("").parts)


def edges(root: Path) -> list[Edge]:
    """All imports between modules of the package below `root`, including lazy ones."""
    files = {dotted(path, root): path for path in python_files(root, PACKAGE)}
    modules = {name.removesuffix(".__init__") for name in files}
    found = []
    for name, path in files.items():
        for one in imports(path.read_text("utf-8"), name):
            whole = f"{one.module}.{one.name}"
            target = whole if whole in modules else one.module
            if target in modules:
                where = f"{path.relative_to(root).as_posix()}:{one.line}"
                found.append(Edge(where, name.removesuffix(".__init__"), target))
    return found


def graph_of(pairs: Iterator[tuple[str, str]]) -> dict[str, set[str]]:
    """The graph of (source, target) pairs."""
    graph: dict[str, set[str]] = {}
    for source, target in pairs:
        graph.setdefault(source, set()).add(target)
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other, and nodes that point to themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph.get(start, ()))
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting.extend(graph.get(node, ()))
        return seen

    reach = {node: reached(node) for node in graph}
    groups = {
        tuple(sorted(other for other in reach[node] if node in reach.get(other, ())))
        for node in graph
        if node in reach[node]
    }
    return [list(group) for group in sorted(groups)]


def child(module: str, folder: str) -> str:
    """The module or folder directly in `folder` (dotted) that contains `module`; "" if none."""
    prefix = folder + "."
    return module.removeprefix(prefix).split(".")[0] if module.startswith(prefix) else ""
