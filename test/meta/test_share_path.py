"""`share_path` finds the files of the running code, for every way of installation."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from policy_runner import package_files as share

SharePath = Callable[..., Path]


def _share_folder(prefix: Path) -> Path:
    folder = prefix / "share" / "policy_runner"
    (folder / "models").mkdir(parents=True)
    (folder / "package.xml").touch()
    return folder


@pytest.fixture
def installed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SharePath]:
    """Copy package_files.py into a folder of a simulated machine and load it from there."""
    for variable in ("AMENT_PREFIX_PATH", "COLCON_PREFIX_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "python"))

    def load(folder: str) -> SharePath:
        place = tmp_path / folder / "policy_runner"
        place.mkdir(parents=True)
        shutil.copy(share.__file__, place / "package_files.py")
        spec = importlib.util.spec_from_file_location("installed_share", place / "package_files.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: SharePath = module.share_path
        return found

    return load


def test_the_shipped_policy_is_found() -> None:
    assert share.share_path("models", "balancer", "policy.yaml").is_file()


def test_a_source_tree_comes_before_any_installation(
    tmp_path: Path, installed_at: Callable[[str], SharePath], monkeypatch: pytest.MonkeyPatch
) -> None:
    _share_folder(tmp_path / "ros")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ros"))
    find = installed_at("checkout")
    (tmp_path / "checkout" / "models").mkdir()
    for name in ("package.xml", "setup.py"):
        (tmp_path / "checkout" / name).touch()
    assert find("models") == tmp_path / "checkout" / "models"


@pytest.mark.parametrize(
    ("module", "prefix"),
    [
        ("venv/lib/python3.12/site-packages", "venv"),
        ("ws/install/policy_runner/lib/python3.12/site-packages", "ws/install/policy_runner"),
        ("opt/local/lib/python3.10/dist-packages", "opt"),
    ],
)
def test_the_prefix_of_the_module_comes_before_the_overlays(
    tmp_path: Path,
    installed_at: Callable[[str], SharePath],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    prefix: str,
) -> None:
    _share_folder(tmp_path / "ros")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ros"))
    folder = _share_folder(tmp_path / prefix)
    assert installed_at(module)("models") == folder / "models"


@pytest.mark.parametrize(
    ("variable", "value", "prefix"),
    [
        ("AMENT_PREFIX_PATH", "none:ws", "ws"),
        ("COLCON_PREFIX_PATH", "ws", "ws/policy_runner"),
        ("AMENT_PREFIX_PATH", "", "python"),
    ],
)
def test_overlays_and_the_interpreter_are_asked_last(
    tmp_path: Path,
    installed_at: Callable[[str], SharePath],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    prefix: str,
) -> None:
    entries = [str(tmp_path / entry) for entry in value.split(":") if entry]
    monkeypatch.setenv(variable, ":".join(entries))
    folder = _share_folder(tmp_path / prefix)
    assert installed_at("elsewhere")("models") == folder / "models"


def test_what_is_missing_is_said_in_one_sentence(
    tmp_path: Path, installed_at: Callable[[str], SharePath]
) -> None:
    find = installed_at("elsewhere")
    with pytest.raises(FileNotFoundError, match=r"expected package\.xml in one of .*; install"):
        find("models")
    _share_folder(tmp_path / "python")
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml: no such file"):
        find("config", "nothing.yaml")
