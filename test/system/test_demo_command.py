"""`policy-runner demo` as a user runs it: in real time, in lockstep, and ended by Ctrl-C."""

from __future__ import annotations

import json
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import leftovers
import pytest
from children import wait_until
from ending_rig import send

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")),
    reason="the demo needs rclpy and mujoco",
)
DEMO = ["python", "-m", "policy_runner.cli.main", "demo"]
FIGURES = ["p50", "p99", "p99.9", "max"]
STATUSES = {
    *(f"policy_runner: {part}" for part in ("loop", "inputs", "inference", "safety", "model")),
    *(f"jetson_diagnostics: {part}" for part in ("cpu", "memory", "temperature", "policy")),
    "simulated_robot: balance",
}


def children_of(pid: int) -> list[int]:
    """Return the processes of this session that a process has started."""
    found = []
    for child in leftovers.our_processes():
        try:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(child)
    return found


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if pid in leftovers.our_processes()]


def is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and value >= 0


def test_in_real_time_without_a_screen(spawn: Any, tmp_path: Path, record_property: Any) -> None:
    out = tmp_path / "out.json"
    child = spawn([*DEMO, "--duration", "8", "--headless", "--json", str(out)])
    pids: list[int] = wait_until(
        lambda: len(children_of(child.pid)) == 4 and children_of(child.pid)
    )
    assert child.wait(40.0) == 0, child.quote()
    assert not alive(pids)
    got = json.loads(out.read_text("utf-8"))
    record_property("figures", json.dumps(got))
    assert got["simulated_s"] == pytest.approx(8.0, abs=0.05)
    assert got["commands"] > 100  # the runner starts while the robot already stands
    assert isinstance(got["falls"], int)
    assert 0.0 <= got["upright_share"] <= 1.0
    assert set(got["velocity_rmse"]) == {"forward", "yaw"}
    assert 50.0 < got["rate_hz"] < 110.0
    assert list(got["period_error_us"]) == FIGURES
    assert list(got["step_us"]) == ["p50", "p99"]
    for value in [*got["period_error_us"].values(), *got["step_us"].values()]:
        assert is_figure(value)
    assert is_figure(got["input_age_p99_ms"])
    seen = got["diagnostics_levels"]
    assert set(seen) >= STATUSES, seen
    assert all(set(levels) <= {"OK", "WARN", "ERROR", "STALE"} for levels in seen.values())
    assert "OK" in seen["policy_runner: safety"]
    for word in ("falls", "rate_hz", "policy_runner: loop"):
        assert word in child.stdout


def test_in_lockstep_a_seed_gives_the_same_run_again(spawn: Any, tmp_path: Path) -> None:
    reports = []
    for number in range(2):
        out = tmp_path / f"out{number}.json"
        words = ["--lockstep", "--duration", "6", "--seed", "7", "--headless", "--json", str(out)]
        child = spawn([*DEMO, *words])
        assert child.wait(60.0) == 0, child.quote()
        reports.append(json.loads(out.read_text("utf-8")))
    first, second = reports
    assert first["commands"] == 600
    assert first["falls"] == 0
    assert first["rate_hz"] == pytest.approx(100.0)
    assert first["velocity_rmse"] == second["velocity_rmse"]


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGINT,), (signal.SIGTERM, signal.SIGINT), (signal.SIGHUP, signal.SIGQUIT)],
)
def test_ctrl_c_ends_all_and_prints_the_summary(
    spawn: Any, tmp_path: Path, numbers: tuple[signal.Signals, ...], record_property: Any
) -> None:
    from policy_runner.ros.diagnostics.listener import Watch

    out = tmp_path / "out.json"
    watch = Watch()
    child = spawn([*DEMO, "--headless", "--json", str(out)])
    try:
        pids: list[int] = wait_until(
            lambda: len(children_of(child.pid)) == 4 and children_of(child.pid)
        )
        wait_until(lambda: watch.message.get("policy_runner: safety") == "RUN", 30.0, "RUN")
    finally:
        watch.close()
    time.sleep(1.5)  # the robot stands and is commanded
    begin = time.monotonic()
    send(child, numbers, 2e-5, group=True)
    assert child.wait(20.0) == 0, child.quote()
    took_s = time.monotonic() - begin
    record_property("took [s]", took_s)
    assert took_s < 5.0  # 2 s on a machine that is not busy
    assert not alive(pids)
    assert "upright_share" in child.stdout
    got = json.loads(out.read_text("utf-8"))
    assert got["commands"] > 0
    assert got["simulated_s"] > 1.0


@pytest.mark.parametrize("after_s", [0.3, 0.8, 1.3, 2.0])
def test_ctrl_c_while_it_starts(spawn: Any, after_s: float) -> None:
    child = spawn([*DEMO, "--headless"])
    time.sleep(after_s)
    pids = children_of(child.pid)
    begin = time.monotonic()
    send(child, (signal.SIGTERM, signal.SIGHUP), 2e-5, group=False)
    code = child.wait(20.0)
    first_line = after_s < 0.5 and code in (-signal.SIGTERM, -signal.SIGHUP)
    assert code == 0 or first_line, child.quote()
    assert time.monotonic() - begin < 4.0
    assert not alive(pids)


def test_the_live_view(spawn: Any) -> None:
    child = spawn([*DEMO, "--duration", "5"], env={"COLUMNS": "110", "TERM": "xterm"})
    assert child.wait(40.0) == 0, child.quote()
    for word in ("control loop", "/diagnostics", "period error", "Ctrl-C ends the demo"):
        assert word in child.stdout, child.stdout[-3000:]
    assert "upright_share" in child.stdout


def test_a_policy_that_cannot_be_configured_is_an_error_with_its_sentence(
    spawn: Any, tmp_path: Path
) -> None:
    words = ["--policy", str(tmp_path / "nowhere"), "--duration", "3", "--headless"]
    child = spawn([*DEMO, *words])
    assert child.wait(30.0) == 1
    assert str(tmp_path / "nowhere") in child.stderr
    assert "the runner commanded nothing" in child.stderr


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--duration", "0"], 2, "expected seconds above 0, got 0"),
        (["--json", "/no/such/folder/out.json"], 1, "--json: expected a file in a folder that"),
        (["--params-file", "/no/such.yaml"], 1, "expected a YAML file, got /no/such.yaml"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    spawn: Any, words: list[str], code: int, sentence: str
) -> None:
    child = spawn([*DEMO, *words])
    assert child.wait(20.0) == code
    assert sentence in child.stderr
    assert "Traceback" not in child.stderr
