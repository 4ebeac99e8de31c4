"""The names of rclpy that this package uses, and whether the sources of a distribution have them.

    python tools/rclpy_names.py                     writes tools/rclpy_names.txt (needs rclpy)
    python tools/rclpy_names.py --against FOLDER    compares it with the sources of ros2/rclpy

The list has what `policy_runner` and `launch` import from rclpy, the methods of rclpy's classes
that they call by name, and names of its compiled part. A test compares the list with the code.
"""

from __future__ import annotations

import argparse
import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".txt")
# Of the compiled part, rclpy/src/rclpy/*.cpp: called on a handle or on `rclpy_implementation`.
COMPILED = (
    "take_message", "get_publisher_count", "WaitSet", "clear_entities", "add_subscription", "wait",
)  # fmt: skip
# Classes whose methods the code calls by name, on objects that rclpy made.
CLASSES = {
    "node": ("Node",),
    "lifecycle.node": ("LifecycleNodeMixin", "LifecycleMixin"),
    "executors": ("Executor",),
    "context": ("Context",),
    "publisher": ("Publisher",),
    "subscription": ("Subscription",),
    "client": ("Client",),
    "task": ("Future",),
    "parameter": ("Parameter",),
    "clock": ("Clock",),
}
# Where the code has another way: the name may be missing.
OPTIONAL = {
    "rclpy.event_handler.SubscriptionEventCallbacks": "else rclpy.qos_event",
    "rclpy.qos_event.SubscriptionEventCallbacks": "else rclpy.event_handler",
    "compiled: get_publisher_count": "else the graph is asked",
}


# The code calls them on objects of other classes.
OF_OTHERS = {"Subscription.callback"}


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@functools.cache
def used_files() -> list[Path]:
    """Return every file whose imports count."""
    found = sorted([*(ROOT / "policy_runner").rglob("*.py"), *(ROOT / "launch").glob("*.py")])
    return [path for path in found if "ros" in path.parts or "rclpy" in path.read_text("utf-8")]


def imported() -> set[str]:
    """Return what the code imports: `rclpy.qos.QoSProfile`."""
    found = set()
    for path in used_files():
        tree = _parsed(path)
        blocks = [one for one in ast.walk(tree) if _is_for_types(one)]
        for_types = {id(node) for block in blocks for node in ast.walk(block)}
        for node in ast.walk(tree):
            if id(node) in for_types:
                continue
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rclpy":
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "rclpy":
                found.add(f"rclpy.{node.attr}")
    return found


def _is_for_types(node: ast.AST) -> bool:
    is_if = isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    return is_if and node.test.id == "TYPE_CHECKING"


def called() -> set[str]:
    """Return every name that the code reads from an object, in files of `ros`."""
    found = set()
    for path in used_files():
        if "ros" in path.parts or "launch" in path.parts:
            tree = _parsed(path)
            found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found


def methods(package: Path, module: str, name: str) -> set[str]:
    """Return the methods of a class in the sources of rclpy; empty if there is no such class."""
    for path in (package / f"{module.replace('.', '/')}.py", *sorted(package.rglob("*.py"))):
        if not path.is_file():
            continue
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.ClassDef) and node.name == name:
                return {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    return set()


def names_of(package: Path) -> list[str]:
    """Return the list, by the methods that the rclpy in `package` has."""
    found = imported() | {f"compiled: {name}" for name in COMPILED}
    by_name = called()
    for module, classes in CLASSES.items():
        for name in classes:
            used = methods(package, module, name) & by_name
            listed = {f"{name}.{one}" for one in used if not one.startswith("_")}
            found |= {f"method: {one}" for one in listed - OF_OTHERS}
    return sorted(found)


def missing(sources: Path) -> Iterator[str]:
    """Name what the sources of ros2/rclpy do not have.

    Args:
        sources: a folder with `rclpy/rclpy` and `rclpy/src`.
    """
    package = sources / "rclpy" / "rclpy"
    compiled = "".join(path.read_text() for path in (sources / "rclpy" / "src").rglob("*.cpp"))
    all_methods: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.ClassDef):
                of = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
                all_methods.setdefault(node.name, set()).update(of)
    renamed = {"LifecycleNodeMixin": "LifecycleMixin", "LifecycleMixin": "LifecycleNodeMixin"}
    for name in LIST.read_text("utf-8").splitlines():
        kind, _, rest = name.rpartition(": ")
        if kind == "compiled":
            there = f'"{rest}"' in compiled
        elif kind == "method":
            owner, _, method = rest.partition(".")
            owners = (owner, renamed.get(owner, owner))
            there = any(method in all_methods.get(one, ()) for one in owners)
        else:
            there = _defines(package, name)
        if not there:
            yield name


def _defines(package: Path, name: str) -> bool:
    """Whether a module of the sources defines or imports a name, or is that module."""
    module, _, last = name.removeprefix("rclpy").lstrip(".").rpartition(".")
    folder = package.joinpath(*module.split(".")) if module else package
    if (folder / last).is_dir() or (folder / f"{last}.py").is_file():
        return True
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not path.is_file():
        return False
    for node in ast.walk(_parsed(path)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == last:
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)) and last in {
            alias.asname or alias.name for alias in node.names
        }:
            return True
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if last in {one.id for one in targets if isinstance(one, ast.Name)}:
                return True
    return False


def main(argv: list[str] | None = None) -> int:
    """Write the list, or compare it; 1 if a name is missing that must be there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--against", type=Path, help="sources of ros2/rclpy")
    options = parser.parse_args(argv)
    if options.against is None:
        import rclpy

        package = Path(rclpy.__file__).parent
        LIST.write_text("\n".join(names_of(package)) + "\n", encoding="utf-8")
        return 0
    found = list(missing(options.against))
    for name in found:
        why = f" ({OPTIONAL[name]})" if name in OPTIONAL else ""
        sys.stdout.write(f"{name}: missing{why}\n")
    count = len(LIST.read_text("utf-8").splitlines())
    sys.stdout.write(f"{count} names, {len(found)} missing\n")
    return int(any(name not in OPTIONAL for name in found))


if __name__ == "__main__":
    sys.exit(main())
