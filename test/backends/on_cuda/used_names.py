"""Finds the names of a library that our sources use."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

BACKENDS = Path(__file__).resolve().parents[3] / "policy_runner" / "backends"


def names_used(files: Iterable[str], roots: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Find dotted names of a library (`Builder.create_network`), and those behind a `hasattr`.

    Variables that are assigned from a name of the library are followed.

    Args:
        files: paths of the sources.
        roots: {variable: its name in the library}; "" is the library's module.
    """
    used: set[str] = set()
    gated: set[str] = set()
    for file in files:
        for scope in _scopes(ast.parse((BACKENDS / file).read_text())):
            known = dict(roots)
            for node in scope:
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
                    path = _path(node.value, known)
                    for target in node.targets if path else []:
                        known[ast.unparse(target)] = path
            for node in scope:
                if isinstance(node, ast.Attribute) and (path := _path(node, known)):
                    used.add(path)
                elif isinstance(node, ast.ClassDef):  # overridden methods must exist in it
                    bases = [_path(base, known) for base in node.bases]
                    methods = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
                    used |= {f"{base}.{name}" for base in bases if base for name in methods}
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "hasattr":
                    owner = _path(node.args[0], known)
                    if owner is not None:
                        gated.add(_join(owner, ast.literal_eval(node.args[1])))
    return used, gated


def _scopes(tree: ast.Module) -> list[list[ast.AST]]:
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    return [list(ast.walk(function)) for function in functions] + [list(ast.walk(tree))]


def _path(node: ast.AST, known: Mapping[str, str]) -> str | None:
    text = ast.unparse(node)
    if text in known:
        return known[text]
    if isinstance(node, ast.Attribute):
        owner = _path(node.value, known)
        return None if owner is None else _join(owner, node.attr)
    return None


def _join(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name


TENSORRT_FILES = [f"tensorrt/{path.name}" for path in sorted(BACKENDS.glob("tensorrt/*.py"))]
# The library's types of our variables. A test requires that each variable is found.
TENSORRT_ROOTS = {
    "tensorrt": "",
    "self._tensorrt": "",
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "tensor_in_network": "ITensor",
    "layer": "ILayer",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "self._context": "IExecutionContext",
}
BINDINGS_ROOTS = {"driver": "", "self._driver": ""}
PYCUDA_ROOTS = {
    "driver": "",
    "self._driver": "",
    "device": "Device",
    "self._context": "Context",
    "self._stream": "Stream",
    "self._event": "Event",
    "host.base": "PagelockedHostAllocation",
    "one": "DeviceAllocation",
}
