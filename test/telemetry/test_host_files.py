"""Reading files of a board: a missing figure has a reason, and no exception is raised."""

from __future__ import annotations

import os
import threading

import pytest
from fake_board import read_gated, write_board

from policy_runner.telemetry.host_files import HostFiles, Reading, Unreadable, read_bytes


def test_number_with_scale_unit_and_nul(tmp_path):
    write_board(tmp_path, {"a": "12345", "b": "32760 ma", "c": "-5", "model": "Orin Nano\0"})
    tree = HostFiles(str(tmp_path))
    assert tree.number("a", 1e-3) == Reading(pytest.approx(12.345))
    assert tree.number("b") == Reading(32760.0)
    assert tree.number("c") == Reading(-5.0)
    assert tree.text("model") == "Orin Nano"


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "not a number: ''"), ("off", "not a number: 'off'"), (None, "not there")],
)
def test_no_number_has_a_reason_and_is_never_zero(tmp_path, content, reason):
    if content is not None:
        write_board(tmp_path, {"a": content})
    got = HostFiles(str(tmp_path)).number("a")
    assert got == Reading(None, reason)
    assert got.shown == f"n/a: {reason}"


def test_gated_sensor_raises_for_real_and_is_told_as_switched_off(tmp_path):
    write_board(tmp_path, {"temp": "!EAGAIN"})
    with pytest.raises(BlockingIOError):
        read_gated(str(tmp_path / "temp"))
    assert HostFiles(str(tmp_path), read_gated).number("temp") == Reading(None, "switched off")


def test_read_bytes_raises_on_eagain_where_open_would_give_none(tmp_path, monkeypatch):
    """The read of a file fails with EAGAIN, like that of a non-blocking FIFO."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    plain_open = os.open
    monkeypatch.setattr(os, "open", lambda p, flags: plain_open(p, flags | os.O_NONBLOCK))
    try:
        with open(plain_open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            assert stream.read() is None
        with pytest.raises(BlockingIOError):
            read_bytes(str(fifo))
        assert HostFiles(str(tmp_path)).number("fifo").reason == "switched off"
    finally:
        os.close(writer)


@pytest.mark.parametrize("error", [TypeError("can't concat NoneType to bytes"), ValueError("x")])
def test_odd_errors_of_a_read_are_unreadable(error):
    def read(path: str) -> bytes:
        raise error

    with pytest.raises(Unreadable, match="switched off"):
        HostFiles("/", read).text("a")


def test_glob_orders_numbers_naturally(tmp_path):
    write_board(tmp_path, {f"hwmon{i}/name": "x" for i in (10, 2, 1)})
    assert HostFiles(str(tmp_path)).glob("hwmon*") == ["hwmon1", "hwmon2", "hwmon10"]


def test_board_files_change_at_once(tmp_path):
    """A concurrent reader sees the old or the new content, never an empty file."""
    write_board(tmp_path, {"temp": 0})
    stop = threading.Event()

    def write() -> None:
        for number in range(300):
            write_board(tmp_path, {"temp": number})
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    tree = HostFiles(str(tmp_path))
    seen = []
    while not stop.is_set():
        seen.append(tree.number("temp").value)
    writer.join()
    assert None not in seen
