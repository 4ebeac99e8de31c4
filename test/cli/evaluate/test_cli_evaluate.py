"""`policy-runner evaluate`: outputs, exit status, refusals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec
from policy_runner.package_files import share_path
from policy_runner.robot.reload_gate import check_verdict

pytestmark = [
    pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed"),
    pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed"),
]
POLICY = str(share_path("models", "balancer"))
SHORT = ["evaluate", POLICY, "--robot", "balancer", "--episodes", "2", "--seconds", "1"]


def run(capsys: Any, *words: str) -> tuple[int, str, str]:
    status = main([*SHORT, *words, *([] if "--jobs" in words else ["--jobs", "1"])])
    out, error = capsys.readouterr()
    return status, out, error


def test_the_report_is_the_same_with_two_processes_and_has_no_path(
    tmp_path: Path, capsys: Any
) -> None:
    words = ["--episodes", "3", "--sweep", "friction=0.5:1:0.5"]
    for text in ("mass=0.8:1.2", "imu_noise=0:0.03", "packet_loss=0:0.1", "command_delay=0:0.02"):
        words += ["--with", text]
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    status, out, _ = run(capsys, *words, "--json", str(one))
    assert status == 0
    assert "margin of friction: no fall down to 0.5" in out
    # In a process of its own: the pool's helper process ends with it.
    program = [sys.executable, "-m", "policy_runner.cli.main", *SHORT, *words]
    done = subprocess.run(
        [*program, "--jobs", "2", "--json", str(two)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert one.read_bytes() == two.read_bytes()
    report = json.loads(one.read_text("utf-8"))
    assert report["figures"]["falls"] == 0
    assert [row["value"] for row in report["sweeps"][0]["values"]] == [0.5, 1.0]
    assert str(tmp_path) not in one.read_text("utf-8")
    assert POLICY not in one.read_text("utf-8")


def test_a_requirement_sets_the_exit_status(capsys: Any) -> None:
    status, out, _ = run(capsys, "--require", "falls == 0, most_tilt < 0.8")
    assert status == 0
    assert "ok falls == 0: 0" in out
    status, out, _ = run(capsys, "--require", "falls == 0 and most_tilt < 0.001")
    assert status == 1
    assert "FAIL most_tilt < 0.001" in out
    status, _, error = run(capsys, "--require", "fall == 0")
    assert status == 1
    assert "did you mean 'falls'?" in error


def test_a_verdict_lies_next_to_the_policy_and_names_its_files(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(POLICY, folder, ignore=shutil.ignore_patterns("*.png", "*.py"))
    words = ["evaluate", str(folder), "--robot", "balancer", "--episodes", "1", "--seconds", "0.5",
             "--jobs", "1", "--verdict"]  # fmt: skip
    assert main(words) == 1
    assert "--verdict: expected --require" in capsys.readouterr().err
    assert main([*words, "--require", "falls == 0"]) == 0
    report = json.loads((folder / "policy.evaluation.json").read_text("utf-8"))
    assert set(report["policy"]["files"]) == {"policy.yaml", "policy.onnx", "statistics.npz"}
    check_verdict(read_spec(folder))
    # A verdict that fails replaces the one that passed.
    assert main([*words, "--require", "falls > 5"]) == 1
    with pytest.raises(Refusal, match="`falls > 5`, got a report that says it is not fulfilled"):
        check_verdict(read_spec(folder))
    assert sorted(one.name for one in folder.glob("*.part")) == []


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_the_picture_has_a_panel_for_each_part(tmp_path: Path, capsys: Any) -> None:
    picture, again = tmp_path / "one.png", tmp_path / "two.png"
    words = ["--seconds", "0.5", "--sweep", "rate=50:100:50"]
    for path in (picture, again):
        status, _, _ = run(capsys, *words, "--picture", str(path))
        assert status == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.read_bytes() == again.read_bytes()


@pytest.mark.skipif(find_spec("rosbags") is None, reason="rosbags is not installed")
def test_a_recording_replays_to_the_same_commands(tmp_path: Path, capsys: Any) -> None:
    from rosbags.highlevel import AnyReader

    record, output = tmp_path / "run.mcap", tmp_path / "out.npz"
    report = tmp_path / "report.json"
    words = ["--with", "imu_noise=0.02", "--record", str(record), "--json", str(report)]
    assert run(capsys, *words)[0] == 0
    assert main(["replay", POLICY, str(record), "-o", str(output)]) == 0
    with AnyReader([record]) as bag:
        chosen = [one for one in bag.connections if one.topic == "/commands/velocity"]
        messages = [bag.deserialize(raw, one.msgtype) for one, _, raw in bag.messages(chosen)]
        base = [one for one in bag.connections if one.topic == "/simulation/base"]
        pose = [bag.deserialize(raw, one.msgtype) for one, _, raw in bag.messages(base)]
    assert list(messages[0].name) == ["left_wheel_joint", "right_wheel_joint"]
    assert messages[0].header.stamp.nanosec == 10_000_000
    assert abs(pose[-1].pose.pose.position.z - 0.1) < 0.02
    # It is the episode that was judged, with its noise.
    turned = [one.pose.pose.orientation for one in pose]
    tilts = [np.arccos(1 - 2 * (one.x**2 + one.y**2)) for one in turned]
    judged = json.loads(report.read_text("utf-8"))["episodes"][0]
    assert max(tilts) == pytest.approx(judged["most_tilt"], abs=1e-9)
    replayed = np.load(output)["limited"]
    assert len(replayed) == 100
    assert np.array_equal([one.velocity for one in messages], replayed)
    status, _, error = run(capsys, "--record", str(record))
    assert status == 1
    assert "expected no such file yet" in error


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_the_frames_show_the_episode(tmp_path: Path, capsys: Any) -> None:
    from policy_runner.core.errors import Refusal
    from policy_runner.sim.balancer import ROBOT_FILE
    from policy_runner.sim.camera import Cameras
    from policy_runner.sim.plant.plant import Plant
    from policy_runner.sim.robot_file.robot_reader import read_robot

    try:
        Cameras(Plant(read_robot(ROBOT_FILE))).close()
    except Refusal as refusal:
        pytest.skip(str(refusal))
    frames = tmp_path / "frames.png"
    assert run(capsys, "--frames", str(frames), "--shown-episode", "1")[0] == 0
    from matplotlib import image

    pixels = image.imread(frames)
    assert pixels.shape[1] > 900
    assert pixels.std() > 0.05


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_the_card_gets_the_verdict_once(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(POLICY, folder, ignore=shutil.ignore_patterns("*.png", "*.py"))
    card = folder / "README.md"
    card.write_text("# Mine\n\n## Checksums\n\nnone\n", "utf-8")
    words = ["evaluate", str(folder), "--robot", "balancer", "--episodes", "1", "--seconds", "0.5",
             "--with", "mass=1.1", "--jobs", "1", "--card"]  # fmt: skip
    assert main(words) == 0
    once = card.read_text("utf-8")
    assert main(words) == 0
    assert card.read_text("utf-8") == once
    assert once.startswith("# Mine\n\n## Closed loop\n\n`policy-runner evaluate`")
    assert once.endswith("\n## Checksums\n\nnone\n")
    assert "0 falls in 1 episodes of 0.5 s" in once
    assert "mass 1.1 to 1.1" in once
    assert "imu_noise" not in once
    assert (folder / "closed_loop.png").is_file()
    card.unlink()
    assert main(words) == 1
    assert "--card: expected the policy's card, got no such file" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("mcap") is None, reason="mcap is not installed")
def test_a_margin_below_the_measured_delay_is_told(tmp_path: Path, capsys: Any) -> None:
    from diagnostics_rig import cdr

    from policy_runner.telemetry.recording.mcap import Recorder

    path = tmp_path / "robot.mcap"
    recorder = Recorder(path)
    for second in range(3):
        values = {"rate [Hz]": "99.5", "input to action p99 [us]": f"{100e3 + second:g}"}
        recorder.add(cdr(0, "policy_runner: loop", "", values), second * 1_000_000_000)
    recorder.close()
    words = ["--seconds", "3", "--sweep", "command_delay=0:0.2:0.2", "--measured", str(path)]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "command_delay: the margin (up to 0 s) is smaller than the measured 0.1 s" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--robot", "nowhere.yaml"], "expected a robot.yaml, an MJCF or a URDF, got no such file"),
        (["--episodes", "0"], "--episodes: expected 1 or more, got 0"),
        (["--seconds", "-1"], "--seconds: expected a positive number, got -1"),
        (["--with", "pushh=3"], "did you mean 'push'?"),
        (["--sweep", "rate=60:90:30"], "physics.timestep: expected a divisor of"),
        (["--frames", "x.png", "--shown-episode", "2"], "--shown-episode: expected 0 to 1, got 2"),
        (["--json", "nowhere/at/all.json"], "expected a file in a folder that exists"),
        (["--sweep", "mass=1:1.2:0.2", "--measured", "nowhere.mcap"], "nowhere.mcap"),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence(
    words: list[str], sentence: str, capsys: Any
) -> None:
    status, _, error = run(capsys, *words)
    assert status == 1
    assert sentence in error
    assert "Traceback" not in error


def test_a_command_needs_a_policy_that_takes_it(capsys: Any) -> None:
    reach = str(share_path("models", "reach"))
    assert main(["evaluate", reach, "--robot", reach, "--jobs", "1", "--command", "vx=1"]) == 1
    told = capsys.readouterr().err
    assert "--command: expected a policy with a twist input, got none; leave it out" in told


needs_children = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="/proc has no children"
)


@needs_children
def test_ctrl_c_ends_the_episodes_and_their_processes() -> None:
    with evaluating() as (process, workers):
        process.send_signal(signal.SIGINT)
        assert process.wait(60.0) == 130
        assert "interrupted, nothing is written" in process.communicate()[1]
        # One that was just starting ends when it finds its pipe closed.
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline and any(Path("/proc", one).exists() for one in workers):
            time.sleep(0.2)
        assert not [one for one in workers if Path("/proc", one).exists()]


@needs_children
def test_a_process_that_dies_is_one_sentence_with_its_episode() -> None:
    with evaluating() as (process, workers):
        os.kill(int(workers[0]), signal.SIGKILL)
        assert process.wait(60.0) == 1
        error = process.communicate()[1]
    assert "running processes, got one that ended by signal 9 in episode " in error
    assert "Traceback" not in error


@contextlib.contextmanager
def evaluating() -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """An evaluation that takes long, and the process ids of its workers."""
    program = [sys.executable, "-m", "policy_runner.cli.main", "evaluate", POLICY, "--robot",
               "balancer", "--episodes", "2000", "--jobs", "2"]  # fmt: skip
    # Tests that run in a shell's background would let it ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, before)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        deadline = time.monotonic() + 120.0
        # While the libraries load, other children come and go.
        while time.monotonic() < deadline and len(_workers(children)) < 2:
            time.sleep(0.2)
        workers = _workers(children)
        assert len(workers) == 2
        yield process, workers
    finally:
        process.kill()
        process.wait()


def _workers(children: Path) -> list[str]:
    """Process ids of the workers: children, or the children of the process that forks them."""
    found: list[str] = []
    for one in children.read_text("utf-8").split():
        with contextlib.suppress(OSError):
            program = Path("/proc", one, "cmdline").read_bytes()
            if b"spawn_main" in program:  # Python 3.10
                found.append(one)
            elif b"forkserver" in program:
                found += Path("/proc", one, "task", one, "children").read_text("utf-8").split()
    return found
