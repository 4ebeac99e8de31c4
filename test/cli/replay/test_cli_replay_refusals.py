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
        (lambda g: g.update(frame=np.zeros((3, 12))), "frame/obs: expected numbers [N, 13]"),
        (lambda g: g.update(frame=np.full((3, 13), "a")), "frame/obs: expected numbers [N, 13]"),
        (lambda g: g.update(frame=np.zeros((0, 13))), "got float64 of shape (0, 13)"),
        (lambda g: g.update(in__obs=np.full((3, 1, 13), "a")), "in__obs: expected numbers"),
        (lambda g: g.update(joint_position=np.full((20, 3), "x")), "joints/position: expected n"),
        (lambda g: g.update(joint_position=np.zeros((20, 3, 1))), "got float64 [20, 3, 1]"),
        (lambda g: g.update(joint_position=np.zeros(20)), "numbers [N, 3], one per name"),
        (lambda g: g.update(joint_state_names=np.arange(3)), "joints/name: expected the joints'"),
        (lambda g: g.update(joint_state_names=np.full((20, 3), "a")), "got str32 [20, 3]"),
        (lambda g: g.update(control_dt=np.array(np.nan)), "control_dt: expected one number"),
        (lambda g: g.update(control_dt=np.array(-0.02)), "got -0.02"),
        (lambda g: g.update(control_dt=np.array([0.02, 0.02])), "got [2]"),
        (lambda g: g.update(t=np.full(20, np.nan)), "t[0]: expected a time in seconds, got nan"),
        (lambda g: g.update(t=np.arange(20) * 1e18), "t[1]: expected a time in seconds"),
        (lambda g: g.update(t=np.arange(20)[::-1] * 0.02), "t[1]: expected times that do not"),
        (lambda g: g.update(t=np.arange(20) * 1e6), "messages at most 24 h apart, got 277.778 h"),
        (lambda g: g.update(t=np.full(20, "a")), "t: expected a time per sample [N]"),
        (
            lambda g: g.update(in__obs=np.zeros((3, 12))),
            "numbers [N, ...] of (1, 13)",
        ),
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--start", "nan"], "--start: expected a time of 0 s or more, got nan"),
        (["--duration", "-1"], "--duration: expected a time of 0 s or more"),
        (["-o", "/no/such/folder/x.npz"], "--output: expected a file in a folder that exists"),
    ],
)
def test_options_that_do_not_fit(
    policy: Path, tmp_path: Path, options: list[str], sentence: str, capsys: Any
) -> None:
    assert replay(policy, save(tmp_path / "s.npz", signals()), *options) == 1
    assert sentence in capsys.readouterr().err


def test_a_text_file_is_no_archive_and_nothing_is_advised(
    policy: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "s.npz").write_text("hello")
    assert replay(policy, tmp_path / "s.npz") == 1
    said = capsys.readouterr().err
    assert "expected an .npz of plain arrays, got something else" in said
    assert "unsafe" not in said
