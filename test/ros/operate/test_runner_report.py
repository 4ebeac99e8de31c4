"""What `ctl status` knows of a runner: from serialized messages, without a graph."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from policy_runner.core.errors import Refusal
from policy_runner.ros.operate.report import ReportKeeper, full_name

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")
SECOND = 1_000_000_000


def message(*statuses: tuple[str, str, dict[str, str]], level: int = 0) -> bytes:
    """A serialized DiagnosticArray; each status is (name, hardware id, values)."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    from rclpy.serialization import serialize_message

    made = [
        DiagnosticStatus(
            level=bytes([level]),
            name=name,
            hardware_id=hardware,
            message=name,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        for name, hardware, values in statuses
    ]
    return bytes(serialize_message(DiagnosticArray(status=made)))


def beat(decision: str, reason: str = "none", detail: str = "", armed: bool = False) -> bytes:
    values = {
        "decision": decision,
        "reason": reason,
        "detail": detail,
        "armed": "true" if armed else "false",
        "commanding": "true",
    }
    return message(("policy_runner: status", "", values))


def keeper(lifecycle: str = "active", **values: Any) -> ReportKeeper:
    made = ReportKeeper("/policy_runner")
    made.lifecycle = lifecycle
    if values:
        made.take_heartbeat(beat(**values), SECOND)
    return made


@pytest.mark.parametrize(
    ("name", "namespace", "full"),
    [
        ("policy_runner", "", "/policy_runner"),
        ("arm", "robot1", "/robot1/arm"),
        ("arm", "/fleet/robot1/", "/fleet/robot1/arm"),
        ("/robot1/arm", "", "/robot1/arm"),
    ],
)
def test_full_names(name: str, namespace: str, full: str) -> None:
    assert full_name(name, namespace) == full


@pytest.mark.parametrize(("name", "namespace"), [("", ""), ("/", "a"), ("1a", ""), ("a-b", ""),
                                                 ("a", "b c"), ("a", "1b")])  # fmt: skip
def test_a_name_that_ros_does_not_allow_is_refused(name: str, namespace: str) -> None:
    with pytest.raises(Refusal, match="letters, digits and underscores"):
        full_name(name, namespace)


@pytest.mark.parametrize(
    ("made", "headline", "runs"),
    [
        (keeper(""), "no answer", False),
        (keeper("unconfigured"), "unconfigured", False),
        (keeper("inactive", decision="RUN"), "inactive", False),
        (keeper(), "active, no heartbeat heard", False),
        (keeper(decision="RUN"), "active, RUN", True),
        (
            keeper(decision="HOLD", reason="input too old", detail="joints: silent for 0.2 s"),
            "active, HOLD: input too old: joints: silent for 0.2 s",
            False,
        ),
        (
            keeper(decision="STARTING", reason="not armed", detail="not armed: call ~/arm"),
            "active, STARTING: not armed: call ~/arm",
            False,
        ),
        (keeper(decision="SAFE_STOP", reason="robot tipped"),
         "active, SAFE_STOP: robot tipped", False),
    ],
)  # fmt: skip
def test_the_headline_says_state_decision_and_reason(
    made: ReportKeeper, headline: str, runs: bool
) -> None:
    report = made.report(SECOND + SECOND // 2)
    assert report.headline == headline
    assert report.runs is runs


def test_a_runner_that_falls_silent_does_not_run() -> None:
    made = keeper(decision="RUN")
    assert made.report(4 * SECOND).runs
    silent = made.report(5 * SECOND)
    assert not silent.runs
    assert silent.headline == "active, silent for 4 s; the last decision was RUN"
    made.lifecycle = ""  # the process has ended
    assert made.report(5 * SECOND).headline.startswith("no answer, silent for 4 s")


def test_armed_and_commanding_come_from_the_heartbeat() -> None:
    made = keeper(decision="RUN", armed=True)
    assert (made.report(SECOND).armed, made.report(SECOND).commanding) == (True, True)
    made.take_heartbeat(beat("SAFE_STOP", "disarmed"), 2 * SECOND)
    assert not made.report(2 * SECOND).armed
    assert made.heard_since(SECOND)
    assert not made.heard_since(2 * SECOND)


# With ids: padding of a serialized message differs between two processes.
@pytest.mark.parametrize(
    "damaged",
    [b"", b"\0\1\0\0", beat("HOLD")[:40], b"\0\1\0\0" * 30],
    ids=["empty", "header only", "cut off", "headers"],
)
def test_a_damaged_message_changes_nothing(damaged: bytes) -> None:
    made = keeper(decision="RUN")
    made.take_diagnostics(message(("policy_runner: loop", "/policy_runner", {})))
    before = made.report(SECOND)
    made.take_heartbeat(damaged, 2 * SECOND)
    made.take_diagnostics(damaged)
    assert made.report(SECOND) == before


@pytest.mark.parametrize(
    ("name", "status", "hardware", "mine"),
    [
        ("/policy_runner", "policy_runner: loop", "/policy_runner", True),
        ("/policy_runner", "policy_runner: loop", "host board", True),
        ("/policy_runner", "policy_runner: loop", "/left/policy_runner", False),
        ("/left/policy_runner", "policy_runner: loop", "/left/policy_runner", True),
        ("/left/policy_runner", "policy_runner: loop", "/right/policy_runner", False),
        ("/left/policy_runner", "policy_runner: loop", "host board", False),
        ("/left/policy_runner", "/left/policy_runner: loop", "host board", True),
        ("/left/policy_runner", "left/policy_runner: loop", "host board", True),
        ("/left/policy_runner", "/right/policy_runner: loop", "host board", False),
        ("/policy_runner", "jetson_diagnostics: cpu", "board", False),
    ],
)
def test_statuses_of_other_robots_do_not_count(
    name: str, status: str, hardware: str, mine: bool
) -> None:
    made = ReportKeeper(name)
    made.take_diagnostics(message((status, hardware, {"rate [Hz]": "50.0"}), level=1))
    parts = made.report(SECOND).parts
    assert set(parts) == ({"loop"} if mine else set())
    if mine:
        assert parts["loop"].level == 1
        assert parts["loop"].values == {"rate [Hz]": "50.0"}
