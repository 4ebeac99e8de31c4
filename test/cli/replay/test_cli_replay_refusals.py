"""Refusals of `replay`; no command needs ROS or an optional package to run."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cli_rig
import numpy as np
import pytest
from cli_rig import save, signals, write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The small policy's folder."""
    return write_policy(tmp_path / "policy")


def replay(policy: Path, given: Path, *options: str) -> int:
    return main(["replay", str(policy), str(given), *options])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda g: g.pop("command"), "cmd/...: expected signals of input 'cmd'"),
        (lambda g: g.update(command=g["command"][:5]), "joints/..."),
        (lambda g: g.pop("control_dt"), "expected a time per sample, or control_dt"),
        (lambda g: g.update({"imu/orientation": np.zeros((20, 3))}), "4 numbers per sample"),
        (lambda g: g.clear(), "expected signals of imu, joints, cmd, observations or tensors"),
        (lambda g: g.update(frame=np.zeros((3, 12))), "frame/obs: expected [N, 13]"),
        (lambda g: g.update(in__obs=np.zeros((3, 12))), "in__obs: expected [N, ...] of (1, 13)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    change: Any, sentence: str, policy: Path, tmp_path: Path, capsys: Any
) -> None:
    given = signals()
    change(given)
    if sentence == "joints/...":
        given["joint_position"] = given["joint_position"][:7]
    assert replay(policy, save(tmp_path / "given.npz", given)) == 1
    assert sentence in capsys.readouterr().err


def test_files_that_are_none_are_refused(policy: Path, tmp_path: Path, capsys: Any) -> None:
    assert replay(policy, tmp_path / "absent.npz") == 1
    assert "no such file" in capsys.readouterr().err
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK nothing")
    assert replay(policy, broken) == 1
    assert "an .npz of plain arrays" in capsys.readouterr().err
    path = save(tmp_path / "given.npz", signals())
    assert (
        replay(policy, path, "--reference", str(save(tmp_path / "r.npz", {"x": np.ones(3)}))) == 1
    )
    assert "to compare, got x" in capsys.readouterr().err
    shape = save(tmp_path / "r.npz", {"expected_raw_action": np.ones((25, 2))})
    assert replay(policy, path, "--reference", str(shape)) == 1
    assert "expected 20 rows of 2 elements" in capsys.readouterr().err


def test_no_command_here_needs_ros(policy: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "given.npz", signals())
    program = (
        "import sys\n"
        "for name in ('rclpy', 'rosbags', 'matplotlib', 'onnx'): sys.modules[name] = None\n"
        "from policy_runner.cli.main import main\n"
        f"assert main(['replay', {str(policy)!r}, {str(path)!r}]) == 0\n"
        f"assert main(['check', {str(policy)!r}]) == 0\n"
        f"assert main(['inspect', {str(policy)!r}]) == 0\n"
        f"model, new = {str(policy / 'toy.onnx')!r}, {str(tmp_path / 'new')!r}\n"
        "assert main(['import', model, '-o', new]) == 0\n"
    )
    root = str(Path(cli_rig.__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
