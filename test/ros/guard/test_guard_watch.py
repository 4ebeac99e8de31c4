"""When the guard acts, without ROS: silence, an ignored emergency stop, its own suspension."""

from __future__ import annotations

import pytest

from policy_runner.ros.guard.watch import REPEATS_FOR_NS, GuardWatch
from policy_runner.ros.messages.guard_contract import (
    GuardContract,
    GuardedOutput,
    merged,
    reaction_limit_ns,
    read_text,
)

MS = 1_000_000
SILENCE_NS, REACTION_NS = 200 * MS, 50 * MS
WHEELS = GuardedOutput(
    "/joint_commands", "sensor_msgs/msg/JointState", 2, b"\0\1\0\0" + bytes(60), (4,)
)


def contract(session: str = "a", guarded: bool = True) -> GuardContract:
    return GuardContract(session, SILENCE_NS, REACTION_NS, guarded, ("/p/estop",), (WHEELS,))


def watching(commanding: bool = True, guarded: bool = True) -> GuardWatch:
    watch = GuardWatch()
    watch.use(contract(guarded=guarded))
    watch.beat(0, "a", commanding)
    return watch


def test_it_acts_once_the_silence_is_too_long() -> None:
    watch = watching()
    assert not watch.judge(SILENCE_NS)
    assert watch.judge(SILENCE_NS + 1)
    assert (watch.acts, watch.acting) == (1, True)
    assert watch.reason == "no heartbeat for 0.20 s"


def test_it_repeats_the_stop_for_a_second_and_then_falls_silent() -> None:
    watch = watching()
    times = [t for t in range(0, 3000 * MS, 10 * MS) if watch.judge(t)]
    assert len(times) == pytest.approx(REPEATS_FOR_NS / (50 * MS), abs=2)
    assert times[-1] - times[0] <= REPEATS_FOR_NS
    assert watch.acts == 1


def test_a_heartbeat_ends_it() -> None:
    watch = watching()
    assert watch.judge(SILENCE_NS + 1)
    watch.beat(300 * MS, "a", True)
    assert not watch.acting
    assert not watch.judge(400 * MS)
    assert watch.judge(300 * MS + SILENCE_NS + 1)
    assert watch.acts == 2


@pytest.mark.parametrize(
    "watch", [watching(commanding=False), watching(guarded=False), GuardWatch()]
)
def test_it_does_not_act_where_nothing_moves(watch: GuardWatch) -> None:
    watch.pressed(10 * MS)
    assert not any(watch.judge(t) for t in range(0, 5000 * MS, 20 * MS))
    assert watch.acts == 0


def test_heartbeats_of_another_runner_do_not_count() -> None:
    watch = watching()
    watch.beat(150 * MS, "b", True)
    assert watch.judge(SILENCE_NS + 1)


def test_a_runner_that_starts_again_is_judged_afresh() -> None:
    watch = watching()
    assert watch.judge(SILENCE_NS + 1)
    watch.use(contract("b"))
    assert not watch.acting
    assert not watch.judge(900 * MS)  # no heartbeat of session b yet: it does not command
    watch.beat(1000 * MS, "b", True)
    assert watch.judge(1000 * MS + SILENCE_NS + 1)


def test_new_outputs_of_the_same_runner_change_nothing_else() -> None:
    watch = watching()
    watch.use(contract())
    assert watch.judge(SILENCE_NS + 1)


def test_a_press_that_the_runner_does_not_answer() -> None:
    watch = watching()
    watch.pressed(100 * MS)
    watch.beat(120 * MS, "a", True)
    assert not watch.judge(150 * MS)
    watch.beat(140 * MS, "a", True)
    assert watch.judge(151 * MS)
    assert "emergency stop" in watch.reason
    watch.beat(160 * MS, "a", True)  # the runner still commands
    assert watch.acting
    watch.beat(180 * MS, "a", False)
    assert not watch.acting


def test_a_press_that_the_runner_answers() -> None:
    watch = watching()
    watch.pressed(100 * MS)
    watch.beat(110 * MS, "a", False)
    watch.beat(160 * MS, "a", False)
    assert not watch.judge(170 * MS)
    watch.beat(900 * MS, "a", True)  # armed again
    assert not watch.judge(1000 * MS)


def test_a_press_that_the_runner_answers_with_the_stop() -> None:
    """In SAFE_STOP the runner publishes the stop, so it still commands: that is its answer."""
    watch = watching()
    for ms in range(100, 1000, 10):  # held: each message is `true`
        watch.pressed(ms * MS, "/estop")
        if ms % 50 == 10:
            watch.beat(ms * MS, "a", True, stopped=True)
        assert not watch.judge(ms * MS + 1)
    watch.beat(1000 * MS, "a", True)  # armed again
    watch.pressed(1010 * MS, "/estop")
    watch.beat(1050 * MS, "a", True)
    assert watch.judge(1061 * MS + 1)
    assert watch.unanswered == "/estop"


def test_what_it_missed_while_it_did_not_run_is_no_silence() -> None:
    watch = watching()
    watch.resumed(5000 * MS)
    assert not watch.judge(5000 * MS)
    assert watch.judge(5000 * MS + SILENCE_NS + 1)


def test_the_contract_survives_its_way() -> None:
    held = GuardedOutput("/arm", "sensor_msgs/msg/JointState", 6, None)
    sent = GuardContract("s", 1, 2, True, ("/a", "/b"), (WHEELS, held))
    assert GuardContract.from_json(sent.to_json()) == sent
    text = sent.to_json().encode()
    for order, mark in (("little", b"\0\1\0\0"), ("big", b"\0\0\0\0")):
        raw = mark + (len(text) + 1).to_bytes(4, order) + text + b"\0"
        assert GuardContract.from_json(read_text(raw)) == sent


OUTSIDE = contract().to_json().replace('"stamps_at": [4]', '"stamps_at": [60]')


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"session": "a"}', OUTSIDE])
def test_another_contract_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        GuardContract.from_json(text)


@pytest.mark.parametrize(
    "raw", [b"", b"\0\1\0\0\xff\xff\xff\xff", b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\5"]
)
def test_a_text_that_is_cut_off_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        read_text(raw)


@pytest.mark.parametrize(
    ("stamp_ns", "said"),
    [(3_000_000_004, (3, 4)), ((1 << 31) * 1_000_000_000, (0, 0)), (-(1 << 62), (0, 0))],
)
def test_a_stamp_never_prevents_a_stop(stamp_ns: int, said: tuple[int, int]) -> None:
    stop = WHEELS.stop_at(stamp_ns)
    assert len(stop) == len(WHEELS.stop or b"")
    assert (int.from_bytes(stop[4:8], "little"), int.from_bytes(stop[8:12], "little")) == said
    assert GuardedOutput("/t", "a/msg/B", 1, b"\0\1\0\0x").stop_at(stamp_ns) == b"\0\1\0\0x"
    assert GuardedOutput("/t", "a/msg/B", 1, None).stop_at(stamp_ns) == b""


def test_the_limits_follow_the_slowest() -> None:
    assert reaction_limit_ns(2 * MS) == 50 * MS
    assert reaction_limit_ns(100 * MS) == 200 * MS


def test_outputs_of_two_policies_are_merged_by_topic_and_type() -> None:
    other = GuardedOutput("/cmd_vel", "geometry_msgs/msg/Twist", 2, b"\0\1\0\0" + bytes(48))
    later = GuardedOutput(WHEELS.topic, WHEELS.type, 1, b"\0\1\0\0" + bytes(52), (4,))
    assert merged((WHEELS, other), (later,)) == (later, other)
