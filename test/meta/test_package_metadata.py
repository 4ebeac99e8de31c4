"""package.xml, setup.py, the package and requirements/ agree, and no file is missing."""

from __future__ import annotations

import ast
import configparser
import os
import re
import runpy
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import policy_runner

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# Extras that `make` installs nowhere, or from its own list of versions.
NOT_PINNED = ("train", "export", "lean", "docs", "opencv", "gpu", "tensorrt")
INTERFACES = re.compile(r"_(msgs|srvs|interfaces)$")


@pytest.fixture(scope="module")
def setup() -> dict[str, Any]:
    """The arguments that setup.py passes to setuptools."""
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        with mock.patch("setuptools.setup") as call:
            runpy.run_path("setup.py")
    finally:
        os.chdir(here)
    return dict(call.call_args.kwargs)


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    """The root element of package.xml."""
    return ElementTree.parse(ROOT / "package.xml").getroot()


def _requirements(name: str) -> list[str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _canonical(requirement: str) -> str:
    name = re.split(r"[\[<>=;! ]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(python: str, *files: str) -> dict[str, str]:
    requirements = pytest.importorskip("packaging.requirements", reason="packaging is missing")
    found: dict[str, str] = {}
    for line in (line for file in files for line in _requirements(file)):
        pin = requirements.Requirement(line)
        if pin.marker is None or pin.marker.evaluate({"python_version": python}):
            assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), f"{line}: expected one version"
            assert _canonical(pin.name) not in found, f"{line}: pinned twice for {python}"
            found[_canonical(pin.name)] = str(pin.specifier)[2:]
    return found


def test_the_version_is_the_same_everywhere(
    setup: dict[str, Any], manifest: ElementTree.Element
) -> None:
    assert setup["version"] == manifest.findtext("version") == policy_runner.__version__
    log = (ROOT / "CHANGELOG.rst").read_text()
    assert "Forthcoming\n----" in log or re.search(rf"^{setup['version']} \(\d", log, re.MULTILINE)


def test_name_licence_and_maintainer_are_the_same(
    setup: dict[str, Any], manifest: ElementTree.Element
) -> None:
    maintainer = manifest.find("maintainer")
    assert maintainer is not None
    assert manifest.get("format") == "3"
    assert manifest.findtext("export/build_type") == "ament_python"
    assert setup["name"] == manifest.findtext("name") == "policy_runner"
    assert setup["license"] == manifest.findtext("license") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert (setup["maintainer"], setup["maintainer_email"]) == (
        maintainer.text,
        maintainer.get("email"),
    )


def test_executables_go_where_ros2_run_looks() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["develop"]["script_dir"] == "$base/lib/policy_runner"
    assert config["install"]["install_scripts"] == "$base/lib/policy_runner"


def test_pyproject_has_tools_only() -> None:
    tables = re.findall(r"^\[+([\w.-]+)", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert "project" not in tables
    assert not [table for table in tables if table.startswith("tool.setuptools")]


def test_every_entry_point_is_a_function_that_exists(setup: dict[str, Any]) -> None:
    missing = []
    for row in setup["entry_points"]["console_scripts"]:
        name, module, function = re.split(r" = |:", row)
        file = ROOT / (module.replace(".", "/") + ".py")
        body = ast.parse(file.read_text()).body if file.is_file() else []
        if not any(isinstance(node, ast.FunctionDef) and node.name == function for node in body):
            missing.append(f"{name}: {module}:{function} is not defined")
    assert not missing, "\n".join(missing)


def test_every_shared_file_is_installed(setup: dict[str, Any]) -> None:
    installed = {
        f"{folder}/{Path(file).name}": file
        for folder, files in setup["data_files"]
        for file in files
    }
    assert all((ROOT / file).is_file() for file in installed.values())
    assert "share/ament_index/resource_index/packages/policy_runner" in installed
    assert installed["share/policy_runner/package.xml"] == "package.xml"
    ignored = (".py", ".pyc")  # scripts that train the models; launch files are checked below
    present = [
        path.relative_to(ROOT).as_posix()
        for room in ("launch", "config", "models")
        for path in (ROOT / room).rglob("*")
        if path.is_file()
        and (path.suffix not in ignored or path.name.endswith(".launch.py"))
        and not path.name.startswith(".")
    ]
    assert any(name.startswith("models/") for name in present)
    assert not {f"share/policy_runner/{name}" for name in present} - set(installed)
    assert not [name for name in installed if "__pycache__" in name]


def test_every_data_file_of_the_package_is_installed(setup: dict[str, Any]) -> None:
    patterns = setup["package_data"]["policy_runner"]
    package = ROOT / "policy_runner"
    names = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert "py.typed" in names
    assert not [name for name in names if not any(fnmatch(name, one) for one in patterns)]
    folders = {path.parent for path in package.rglob("*.py")}
    modules = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert modules == set(setup["packages"])


def test_every_message_package_in_use_is_declared(manifest: ElementTree.Element) -> None:
    declared = {element.text for element in manifest.findall("depend")}
    used = set()
    for path in [*(ROOT / "policy_runner").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                used.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
    interfaces = {name for name in used if INTERFACES.search(name)}
    assert "diagnostic_msgs" in interfaces
    assert interfaces <= declared
    wheels = {_canonical(line) for line in _requirements("pins-wheels.txt")}
    assert {f"ros-{_canonical(name)}" for name in interfaces} <= wheels


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_pin(setup: dict[str, Any], python: str) -> None:
    requirements = pytest.importorskip("packaging.requirements", reason="packaging is missing")
    wheels = _pins(python, "pins.txt", "pins-wheels.txt")
    distro = _pins(python, "pins.txt", "pins-distro.txt")
    wanted = [
        _canonical(line)
        for file in ("demo.txt", "test.txt", "lint.txt")
        for line in _requirements(file)
    ]
    assert not set(wanted) - set(wheels)
    assert not {_canonical(line) for line in _requirements("ros-wheels.txt")} - set(wheels)
    free = {"numpy"} if python == "3.13" else set()  # numpy 1 does not support it
    assert not set(wanted) - set(distro) - free
    assert "numpy" in free or distro["numpy"].startswith("1.")
    assert not [name for name in distro if name.startswith("ros-")]
    extras = setup["extras_require"]
    chosen = [extras[name] for name in extras if name not in NOT_PINNED]
    for line in sum(chosen, setup["install_requires"]):
        requirement = requirements.Requirement(line)
        name = _canonical(requirement.name)
        assert requirement.specifier.contains(wheels[name]), f"{line} against {wheels[name]}"
        assert name in free or requirement.specifier.contains(distro[name]), line


@pytest.mark.parametrize("python", PYTHONS)
def test_both_distributions_have_the_same_wheels(python: str) -> None:
    """`make test DISTRO=kilted` replaces the name of the distribution in ros-wheels.txt."""
    jazzy, kilted = _pins(python, "pins-wheels.txt"), _pins(python, "pins-kilted.txt")
    wanted = [_canonical(line) for line in _requirements("ros-wheels.txt")]
    assert {one.replace("ros-jazzy-", "ros-kilted-") for one in wanted} <= set(kilted)
    others = {name: version for name, version in jazzy.items() if not name.startswith("ros-")}
    assert others == {n: version for n, version in kilted.items() if not n.startswith("ros-")}
    assert not [name for name in kilted if name.startswith("ros-jazzy-")]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_documentation_has_pins_of_its_own(setup: dict[str, Any], python: str) -> None:
    requirements = pytest.importorskip("packaging.requirements", reason="packaging is missing")
    pins = _pins(python, "pins-docs.txt")
    extra = [requirements.Requirement(line) for line in setup["extras_require"]["docs"]]
    assert {_canonical(one.name) for one in extra} == {
        _canonical(line) for line in _requirements("docs.txt")
    }
    for one in extra:
        assert one.specifier.contains(pins[_canonical(one.name)]), f"{one} for {python}"


def test_the_demo_installs_what_the_package_requires_and_no_trainer(setup: dict[str, Any]) -> None:
    extras = setup["extras_require"]
    demo = {_canonical(line) for line in _requirements("demo.txt")}
    wanted = [*setup["install_requires"], *extras["cpu"], *extras["sim"], *extras["serve"]]
    assert demo == {_canonical(line) for line in wanted}
    tests = {_canonical(line) for line in _requirements("test.txt")}
    left_out = ("sim", "train", "export", "lean", "docs", "opencv", "cpu", "gpu", "tensorrt")
    optional = [line for name in extras if name not in left_out for line in extras[name]]
    assert {_canonical(line) for line in optional} <= tests | demo
    for path in set((ROOT / "requirements").glob("*.txt")) - {ROOT / "requirements" / "export.txt"}:
        names = {_canonical(line) for line in _requirements(path.name)}
        assert not names & {"torch", "stable-baselines3", "tensorflow", "jax"}, path.name


def test_extras_name_what_runs_the_model(setup: dict[str, Any]) -> None:
    """None is forced: onnxruntime and onnxruntime-gpu overwrite each other in one environment."""
    extras = {
        name: {_canonical(line) for line in lines}
        for name, lines in setup["extras_require"].items()
    }
    assert extras["cpu"] == {"onnxruntime"}
    assert extras["gpu"] == {"onnxruntime-gpu"}
    assert extras["tensorrt"] == {"tensorrt-cu13", "cuda-bindings"}
    forced = {_canonical(line) for line in setup["install_requires"]}
    assert not forced & (extras["cpu"] | extras["gpu"] | extras["tensorrt"])
    others = [name for name in extras if name not in ("cpu", "gpu")]
    assert not [name for name in others if extras[name] & (extras["cpu"] | extras["gpu"])]
