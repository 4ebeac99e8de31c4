"""The joined status: one sentence from the runner's statuses and the host's verdicts."""

from __future__ import annotations

import pytest

from policy_runner.telemetry.host_files import Reading
from policy_runner.telemetry.runner.command_rate import CommandReading, CommandWindow
from policy_runner.telemetry.runner.joined_status import join
from policy_runner.telemetry.runner.runner_statuses import RunnerStatuses
from policy_runner.telemetry.verdict import ERROR, OK, STALE, WARN, Verdict

S = 1_000_000_000
SILENCE = 2 * S
COOL = {
    "cpu": Verdict(OK, "35 % of 6 cores, busiest 60 %", {"load [%]": 35.0}),
    "memory": Verdict(OK, "20 % used", {"used [%]": 20.0}),
    "temperature": Verdict(OK, "cpu 61.2 °C", {"hottest [C]": 61.2}),
}
HOT = COOL | {"temperature": Verdict(WARN, "cpu 97.0 °C, 2.0 °C below throttling at 99 °C", {})}
BUSY = COOL | {"cpu": Verdict(WARN, "saturated: 99 % of 6 cores", {"load [%]": 99.0})}


def speak(book, now_ns, node="policy_runner", rate=100.0, missed=0, ticks=1, **other):
    decision = other.get("decision", "RUN")
    loop = {
        "rate [Hz]": f"{rate}",
        "target rate [Hz]": "100.0",
        "missed deadlines": f"{missed}",
        "ticks": f"{ticks}",
    }
    level = other.get("level", OK)
    times = {"inference p99 [us]": "110.4", "provider": "TensorrtExecutionProvider"}
    times["inference p50 [us]"] = str(other.get("p50", 100.0))
    book.take(f"{node}: loop", level, "loop says", loop, now_ns)
    book.take(f"{node}: inputs", other.get("inputs", OK), "imu too old", {}, now_ns)
    book.take(f"{node}: inference", OK, "", times, now_ns)
    values = {"decision": decision, "reason": other.get("reason", "")}
    book.take(f"{node}: safety", other.get("safety", OK), "", values, now_ns)


def test_fine_in_one_sentence():
    book = RunnerStatuses()
    speak(book, 0)
    got = join(book, COOL, S, SILENCE)
    assert got.level == OK
    assert got.message == (
        "loop at 100.0 of 100 Hz, inference p99 0.11 ms, RUN; hottest zone 61 °C"
    )
    assert got.values["rate [Hz]"] == "100.0"
    assert got.values["hottest [C]"] == 61.2


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (HOT, "loop late: 87.2 of 100 Hz while temperature cpu 97.0 °C, 2.0 °C below throttling"),
        (BUSY, "loop late: 87.2 of 100 Hz while cpu saturated: 99 % of 6 cores"),
        (COOL, "loop late: 87.2 of 100 Hz, and nothing on this host explains it; hottest zone 61"),
    ],
)
def test_late_loop_names_what_the_host_goes_through(host, words):
    book = RunnerStatuses()
    for second in range(3):
        speak(book, second, rate=87.2, ticks=87 * second)
    got = join(book, host, 0, SILENCE)
    assert got.level == WARN
    assert got.message.startswith(words)


def test_rate_of_the_first_messages_after_a_start_is_no_verdict():
    book = RunnerStatuses()
    speak(book, 0, rate=0.0, ticks=5)
    speak(book, 0, rate=40.0, ticks=45)
    assert "late" not in join(book, COOL, 0, SILENCE).message
    speak(book, 0, rate=80.0, ticks=125)
    assert "late" in join(book, COOL, 0, SILENCE).message
    speak(book, 0, rate=-900.0, ticks=3)  # configured again: the counter restarts
    assert "late" not in join(book, COOL, 0, SILENCE).message


def test_missed_deadlines_are_told_for_a_while_and_then_forgotten():
    book = RunnerStatuses()
    speak(book, 0, missed=5, ticks=100)
    assert "late" not in join(book, COOL, 0, SILENCE).message
    speak(book, S, missed=18, ticks=200)
    assert "loop late: 13 deadlines missed" in join(book, COOL, S, SILENCE).message
    speak(book, 4 * S, missed=18, ticks=300)
    assert "late" not in join(book, COOL, 4 * S + 1, SILENCE).message


def test_a_single_miss_among_hundreds_is_not_late():
    book = RunnerStatuses()
    speak(book, 0, missed=0, ticks=100)
    speak(book, S, missed=1, ticks=300)
    assert join(book, COOL, S, SILENCE).level == OK


def test_throttling_and_late_is_one_sentence():
    book = RunnerStatuses()
    for second in range(3):
        speak(book, second, rate=87.2, ticks=87 * second)
    throttled = Verdict(WARN, "gpu-throttle-alert is active", {})
    got = join(book, COOL | {"throttling": throttled}, 0, SILENCE)
    assert got.message.startswith(
        "loop late: 87.2 of 100 Hz while throttling gpu-throttle-alert is active"
    )


def test_inference_slower_after_the_clock_dropped_while_idle():
    book = RunnerStatuses()

    def host(clock):
        return COOL | {"gpu": Verdict(OK, "", {"clock [MHz]": clock, "load [%]": 9.0})}

    speak(book, 0, p50=110.0)
    join(book, host(1020.0), 0, SILENCE)
    speak(book, S, p50=310.0, ticks=2)
    got = join(book, host(306.0), S, SILENCE)
    assert got.level == WARN
    assert (
        "inference slower (0.11 to 0.31 ms) since the GPU clock went from 1020 to 306 MHz "
        "while idle"
    ) in got.message


def test_silent_runner_is_an_error_and_never_seen_is_stale():
    book = RunnerStatuses()
    never = join(book, COOL, 0, SILENCE)
    assert (never.level, never.message) == (
        STALE,
        "no policy_runner seen on /diagnostics yet",
    )
    speak(book, 0)
    assert join(book, COOL, 2 * S, SILENCE).level == OK
    silent = join(book, COOL, 3 * S, SILENCE)
    assert (silent.level, silent.message) == (ERROR, "no status from policy_runner for 3 s")
    assert list(silent.values) == list(never.values)


def test_a_hung_control_loop_behind_a_talking_executor_is_an_error():
    book = RunnerStatuses()
    for second in range(5):
        speak(book, second * S, ticks=100)
    assert join(book, COOL, 4 * S, SILENCE).message == "control loop made no tick for 4 s"
    book = RunnerStatuses()
    for second in range(5):
        speak(book, second * S, ticks=100, decision="SAFE_STOP", reason="not armed")
    assert join(book, COOL, 4 * S, SILENCE).level == OK


def test_the_runners_own_levels_and_reasons_come_through():
    book = RunnerStatuses()
    speak(book, 0, decision="HOLD", reason="imu is 300 ms old", safety=WARN, inputs=WARN)
    got = join(book, COOL, 0, SILENCE)
    assert got.level == WARN
    assert "HOLD (imu is 300 ms old), inputs: imu too old" in got.message


def test_namespaces_and_other_nodes():
    book = RunnerStatuses()
    assert not book.take("jetson_diagnostics: policy", OK, "", {}, 0)
    assert not book.take("amcl: Standard deviation", OK, "", {}, 0)
    assert not book.take("policy_runner: something", OK, "", {}, 0)
    speak(book, 0, node="/left/policy_runner")
    speak(book, 2 * S, node="right/policy_runner_2")
    got = join(book, COOL, 3 * S, SILENCE)
    assert (got.level, got.values["runner"]) == (ERROR, "/left/policy_runner")


def test_values_that_are_no_numbers_do_not_raise():
    book = RunnerStatuses()
    book.take("policy_runner: loop", OK, "starting", {"rate [Hz]": "n/a"}, 0)
    assert join(book, {}, 0, SILENCE).message == "starting"


def test_command_topic_seen_from_outside():
    window = CommandWindow()
    assert window.reading(0, 0).rate.reason == "no command seen"
    stamps = [i * 10_000_000 for i in range(100)]
    stamps[50] += 400_000  # one message 0.4 ms late: two periods off
    window.add(stamps[:50], S)
    window.add(stamps[50:], S + 500_000_000)
    got = window.reading(1, S + 600_000_000)
    assert got.rate.value == pytest.approx(100.0, rel=1e-3)
    assert got.jitter.value == pytest.approx(400.0)
    assert got.age.value == pytest.approx(0.1)
    window.add([5 * S + i for i in range(3)], 5 * S)  # after a pause: its gap is not a period
    assert window.reading(1, 5 * S).rate.reason == "too few commands"
    window.add([0] * 10, 5 * S + 1)
    assert "no source timestamps" in window.reading(1, 5 * S + 1).rate.reason


def test_commands_that_stop_while_the_runner_says_run_are_an_error():
    book = RunnerStatuses()
    speak(book, 0)
    old = CommandReading(1, Reading(None), Reading(None), Reading(3.2))
    got = join(book, COOL, 0, SILENCE, old)
    assert (got.level, got.message) == (
        ERROR,
        "no command for 3 s although the runner says RUN",
    )
    assert join(book, COOL, 0, SILENCE, None).level == OK
    speak(book, 0, decision="HOLD", reason="imu")
    assert join(book, COOL, 0, SILENCE, old).level == OK


@pytest.mark.parametrize(
    ("prefix", "namespace", "joined"),
    [
        ("policy_runner", "", ["/r1/policy_runner", "/r2/policy_runner_b", "policy_runner"]),
        ("policy_runner", "/", ["/r1/policy_runner", "/r2/policy_runner_b", "policy_runner"]),
        ("policy_runner", "/r1", ["/r1/policy_runner"]),
        ("policy_runner", "/r2", ["/r2/policy_runner_b"]),
        ("policy_runner", "/r", []),
        ("/r2/policy_runner", "/r1", []),
        ("/r2/policy_runner_b", "/r1", ["/r2/policy_runner_b"]),
        ("/policy_runner", "/r1", ["policy_runner"]),
    ],
)
def test_a_sidecar_in_a_namespace_joins_its_own_robot(prefix, namespace, joined):
    book = RunnerStatuses(prefix, namespace)
    for node in ("policy_runner", "/r1/policy_runner", "/r2/policy_runner_b", "/r1/other"):
        speak(book, 0, node=node)
    assert sorted(book.runners) == joined


def test_two_runners_are_told_apart_by_their_full_names():
    """`/robot/policy_runner` is also the beginning of `/robot/policy_runner_arm`."""
    book = RunnerStatuses("/robot/policy_runner")
    for name in ("policy_runner", "policy_runner_arm"):
        book.take(f"/robot/{name}: loop", 0, "50.0 Hz", {}, 1)
    assert list(book.runners) == ["/robot/policy_runner"]
