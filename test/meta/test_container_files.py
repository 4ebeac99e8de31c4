"""Dockerfiles, compose file, units and devcontainer fit the package; nothing is built here."""

from __future__ import annotations

import configparser
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from package_tree import ROOT

from policy_runner.backends.private_folder import default_folder
from policy_runner.cli.main import make_parser
from policy_runner.ros.process.lifetime import START_REFUSED

IMAGES = sorted((ROOT / "docker").glob("*.Dockerfile"))
DOCKERFILES = [*IMAGES, ROOT / ".devcontainer" / "Dockerfile"]
UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))
# Tags that the list of Docker's official images has for amd64 and arm64v8.
BASES = {"ros:humble-ros-core-jammy", "ros:jazzy-ros-core-noble", "ros:jazzy-ros-base-noble"}
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest) of a Dockerfile; continued lines are one."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def last(path: Path, name: str) -> str:
    return [rest for one, rest in instructions(path) if one == name][-1]


def environment(path: Path) -> dict[str, str]:
    pairs = [word for one, rest in instructions(path) if one == "ENV" for word in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def sent(name: str) -> bool:
    """Whether a path from the root of the repository is part of the build's context."""
    rules = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    result = True
    for rule in rules:
        pattern = rule.removeprefix("!")
        if not rule or rule.startswith("#"):
            continue
        if fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/"):
            result = rule.startswith("!")
    return result


def test_the_three_images_are_there() -> None:
    assert [path.stem for path in IMAGES] == ["jetpack6", "jetpack7", "x86"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_the_base_is_a_known_tag(path: Path) -> None:
    named = {rest.split()[-1] for one, rest in instructions(path) if " AS " in f"{rest} "}
    bases = {rest.split()[0] for one, rest in instructions(path) if one == "FROM"}
    assert bases - named <= BASES


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_an_image_runs_as_another_user_and_ends_by_sigint(path: Path) -> None:
    assert int(last(path, "USER")) > 0
    assert last(path, "STOPSIGNAL") == "SIGINT"
    stages = [rest for one, rest in instructions(path) if one == "FROM"]
    assert len(stages) == 3
    assert stages[-1] == "base"  # not the stage that has pip and the sources
    order = [one for one, _ in instructions(path)]
    assert order.index("USER") > len(order) - 1 - order[::-1].index("RUN")


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_the_volume_is_where_engines_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", environment(path)["XDG_CACHE_HOME"])
    volume = last(path, "VOLUME")
    assert str(default_folder()).startswith(f"{volume}/")
    made = next(
        rest for one, rest in instructions(path) if one == "RUN" and "install --dir" in rest
    )
    assert "--mode 0700" in made
    assert made.endswith(volume)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_what_is_copied_is_sent_to_the_build(path: Path) -> None:
    for one, rest in instructions(path):
        if one == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert name == "." or sent(name), name


def test_all_that_setup_installs_is_sent_to_the_build() -> None:
    wanted = ["setup.py", "setup.cfg", "pyproject.toml", "package.xml", "README.md", "LICENSE"]
    wanted += ["resource/policy_runner", "launch/jetson.launch.py", "config/balancer.yaml"]
    wanted += ["models/balancer/policy.yaml", "policy_runner/sim/balancer.xml"]
    assert [name for name in wanted if not sent(name)] == []
    assert not sent("test/conftest.py")
    assert not sent(".git/config")


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_versions_are_constrained(path: Path) -> None:
    installs = [rest for one, rest in instructions(path) if one == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    for file in ("pins.txt", "pins-distro.txt"):
        assert f"--constraint requirements/{file}" in installs[0]
    pins = (ROOT / "requirements" / "pins.txt").read_text("utf-8")
    pins += (ROOT / "requirements" / "pins-distro.txt").read_text("utf-8")
    names = re.findall(r"(?<=\s)([A-Za-z][\w-]+)(?=\s|$)", installs[0].partition("pins-distro")[2])
    assert {"numpy", "pydantic"} <= set(names)
    assert [name for name in names if not re.search(rf"^{name}==", pins, re.M | re.I)] == []
    assert "--no-deps" in installs[1]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_each_service_gets_what_the_loop_needs(name: str) -> None:
    service: dict[str, Any] = COMPOSE["services"][name]
    assert service["ulimits"] == {"rtprio": 98, "memlock": -1}
    assert service["cap_add"] == ["SYS_NICE"]
    assert service["stop_signal"] == "SIGINT"
    assert service["network_mode"] == "host"
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["image"].endswith(f":{name}")
    targets = [volume.rsplit(":ro", 1)[0].rpartition(":")[2] for volume in service["volumes"]]
    words = service["command"]
    assert words[1] in targets
    assert words[3] in targets
    volume = last(ROOT / service["build"]["dockerfile"], "VOLUME")
    assert f"engines:{volume}" in service["volumes"]
    assert callable(make_parser().parse_args(words).run)
    assert service.get("runtime") == ("nvidia" if name.startswith("jetpack") else None)


def unit(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path, "utf-8")
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_commands_of_a_unit_exist(path: Path) -> None:
    service = unit(path)["Service"]
    for key in ("ExecStart", "ExecStop"):
        if key in service:
            shell = shlex.split(service[key])[-1].replace("%i", "walk")
            words = shlex.split(shell.partition('policy-runner}" ')[2])
            assert callable(make_parser().parse_args(words).run), words


def test_the_runner_s_unit() -> None:
    service = unit(ROOT / "config" / "systemd" / "policy-runner@.service")["Service"]
    assert service["KillSignal"] == "SIGINT"
    assert service["KillMode"] == "mixed"  # the guard must outlive the runner
    assert service["RestartPreventExitStatus"] == str(START_REFUSED)
    assert service["LimitRTPRIO"] == "98"
    assert service["LimitMEMLOCK"] == "infinity"
    assert service["User"] != "root"
    cache = re.search(r"XDG_CACHE_HOME=(\S+)", service["Environment"])
    assert cache
    assert f"{cache[1]}/{service['CacheDirectory']}" == "/var/cache/policy_runner"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    files = []
    for path in UNITS:
        text = path.read_text("utf-8").replace("User=policy", "User=root")  # must exist here
        files.append(tmp_path / path.name.replace("@", "@walk"))
        files[-1].write_text(text, encoding="utf-8")
    words = ["systemd-analyze", "verify", "--man=no", *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if "policy-runner" in line]
    assert ours == []


def test_units_are_installed() -> None:
    text = (ROOT / "setup.py").read_text("utf-8")
    assert 'f"{share}/config/systemd"' in text
    assert len(UNITS) == 2


def test_the_devcontainer() -> None:
    folder = ROOT / ".devcontainer"
    content = json.loads((folder / "devcontainer.json").read_text("utf-8"))
    assert (folder / content["build"]["dockerfile"]).is_file()
    targets = re.search(r"make ([\w -]+)", content["postCreateCommand"])
    assert targets
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony
    assert set(targets[1].split()) <= set(phony[1].split())


def hadolint() -> str | None:
    own = Path(sys.executable).parent / "hadolint"
    return str(own) if os.access(own, os.X_OK) else shutil.which("hadolint")


@pytest.mark.skipif(hadolint() is None, reason="hadolint is not installed: make dockerlint")
def test_hadolint_finds_nothing() -> None:
    words = [str(hadolint()), "--config", str(ROOT / ".hadolint.yaml"), *map(str, DOCKERFILES)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
