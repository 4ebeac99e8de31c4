"""Rules for every file of the repository: names, and tests that really run."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_ROOMS = [path.parent.name for path in sorted(ROOT.glob("policy_runner/*/__init__.py"))]
KINDS = ("faults", "fidelity", "fuzz", "soak", "trust", "system", "meta")
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "manager"}
EMPTY_VERBS = {"handle", "process", "manage", "do"}  # forbidden for functions, allowed as nouns
MINIMUM_TEST_FUNCTIONS = 400


def _python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def test_no_name_is_an_empty_word() -> None:
    found = []
    for path in _python_files("policy_runner", "launch", "test"):
        found += [_name(path)] if set(_words(path.stem)) & EMPTY_WORDS else []
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                words = _words(node.name)
                verb = words[:1] if not isinstance(node, ast.ClassDef) else []
                if set(words) & EMPTY_WORDS or set(verb) & EMPTY_VERBS:
                    found.append(f"{_name(path)}: {node.name}")
    assert not found, "\n".join(found)


def test_every_module_postpones_annotations() -> None:
    found = []
    for path in _python_files("policy_runner", "launch"):
        body = ast.parse(path.read_text()).body
        code = [node for node in body if not isinstance(node, (ast.Expr, ast.Assign))]
        if code and not any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in code
        ):
            found.append(_name(path))
    assert not found, "`from __future__ import annotations` is missing"


def test_no_test_module_skips_itself_on_import() -> None:
    found = []
    for path in _python_files("test"):
        for node in ast.parse(path.read_text()).body:
            inside_a_function = isinstance(node, (ast.FunctionDef, ast.ClassDef))
            if not inside_a_function and "importorskip" in ast.unparse(node):
                found.append(f"{_name(path)}:{node.lineno}")
    assert not found, "a module-level importorskip empties whole suites: use pytestmark = skipif"


def test_test_files_have_unique_names_and_no_packages() -> None:
    files = [path for path in _python_files("test") if path.name != "conftest.py"]
    assert not [_name(path) for path in files if path.name == "__init__.py"]
    assert [name for name, count in Counter(p.name for p in files).items() if count > 1] == []


def test_every_room_has_tests_and_none_got_lost() -> None:
    counts: Counter[str] = Counter()
    for path in _python_files("test"):
        if path.name.startswith("test_") and path.parent.name != "test":
            room = path.relative_to(ROOT / "test").parts[0]
            counts[room] += sum(
                isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
                for node in ast.walk(ast.parse(path.read_text()))
            )
        else:
            stray = [
                node.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            ]
            assert not stray, f"{_name(path)}: pytest does not collect {stray}"
    assert not [room for room in (*PACKAGE_ROOMS, *KINDS) if not counts[room]]
    assert sum(counts.values()) >= MINIMUM_TEST_FUNCTIONS


def test_the_commands_that_the_documents_name_exist() -> None:
    rules = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {word for rule in rules for word in rule.split()}
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run"]
    named = set()
    for path in documents:
        text = path.read_text()
        blocks = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL) if path.suffix else [text]
        named |= {word for block in blocks for word in re.findall(r"\bmake ([a-z][a-z-]*)", block)}
    assert {"demo", "test", "lint"} <= named
    assert named <= targets, f"not in the Makefile: {named - targets}"
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert targets == set(phony[1].split())


def test_ci_runs_what_the_readme_says() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == [
        "make lint",
        "make test",
        "make test-export",
        "make test-serving",
        'make test DISTRO=kilted ARGS="$chosen"',
    ]
    assert "make test" in (ROOT / "README.md").read_text()
