"""Our reader of parameter files compared with rcl's: a node gets the same values and types."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzz, mutated_bytes
from yaml_values import VALUES

from policy_runner.core.errors import Refusal
from policy_runner.package_files import share_path
from policy_runner.robot.parameter_yaml import read_parameter_file, section_fits

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")
SECTIONS = ["/**", "/*", "/**/*", "name", "/name", "ns/name", "/ns/name", "/**/name", "**/name"]
SECTIONS += ["/ns/*", "*", "/**/other", "other"]


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    import rclpy

    made = rclpy.Context()
    rclpy.init(context=made)
    yield made
    made.try_shutdown()


def given_by_rcl(context: Any, path: Path, name: str, namespace: str) -> dict[str, Any]:
    """Return the parameters that a node of this name gets."""
    import rclpy

    node = rclpy.create_node(
        name,
        namespace=namespace,
        context=context,
        cli_args=["--ros-args", "--params-file", str(path)],
        use_global_arguments=False,
        enable_rosout=False,
        start_parameter_services=False,
    )
    try:
        overrides = node._parameter_overrides  # see DeclaredParameters.overrides
        return {key: one.value for key, one in overrides.items()}
    finally:
        node.destroy_node()


def read_by_us(path: Path, node: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section in read_parameter_file(path):
        if section_fits(section.name, node):
            # An empty list has no type, so rcl gives no value for it.
            found.update({k: None if v == [] else v for k, v in section.keys.items()})
    return found


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    as_lists = {k: list(v) if hasattr(v, "tolist") else v for k, v in theirs.items()}
    return repr(sorted(ours.items())) == repr(sorted(as_lists.items()))


def test_values(context: Any, tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    rows = [f"    key{k}: {text}" for k, text in enumerate(VALUES)]
    path.write_text("\n".join(["/**:", "  ros__parameters:", *rows, ""]), encoding="utf-8")
    ours, theirs = read_by_us(path, "/name"), given_by_rcl(context, path, "name", "")
    assert len(ours) == len(VALUES)
    for key, value in ours.items():
        assert same({key: value}, {key: theirs[key]}), (key, value, theirs[key])


@pytest.mark.parametrize("namespace", ["", "/ns", "/ns/deeper"])
def test_sections(context: Any, tmp_path: Path, namespace: str) -> None:
    for section in SECTIONS:
        path = tmp_path / "robot.yaml"
        path.write_text(f"'{section}': {{ros__parameters: {{a: 1}}}}\n", encoding="utf-8")
        ours = read_by_us(path, f"{namespace}/name")
        assert same(ours, given_by_rcl(context, path, "name", namespace)), section


@pytest.mark.parametrize("file", ["balancer.yaml", "policy_runner.yaml"])
def test_the_shipped_files(context: Any, file: str) -> None:
    path = share_path("config", file)
    for name in ("policy_runner", "jetson_diagnostics"):
        ours = read_by_us(path, f"/ns/{name}")
        assert ours
        assert same(ours, given_by_rcl(context, path, name, "/ns"))


def test_what_we_take_rcl_takes(context: Any, tmp_path: Path) -> None:
    """A file that rcl refuses and our reader accepts would end the process with a traceback."""
    text = share_path("config", "balancer.yaml").read_bytes()
    text += b"/ns: {policy_runner: {ros__parameters: {cores: [1, 2], words: ['a', \"b\"]}}}\n"
    path = tmp_path / "robot.yaml"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        ours = read_by_us(path, "/ns/policy_runner")
        theirs = given_by_rcl(context, path, "policy_runner", "/ns")
        assert same(ours, theirs), (ours, theirs)

    def make(rng: random.Random) -> bytes:
        return mutated_bytes(rng, text, [text])

    read(text)
    found = fuzz("parameter files", tmp_path, make, read, Refusal)
    assert found["read"]
    assert found["refused"]
