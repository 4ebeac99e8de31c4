"""The sampler: a hung read makes only its own group stale."""

from __future__ import annotations

import itertools
import os
import threading
import time

from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.sampler import Sampler

MS = 1_000_000


def wait_for(condition, timeout_s=10.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "condition not reached"
        time.sleep(0.005)


def test_hung_read_is_stale_others_go_on_and_it_recovers(tmp_path):
    fifo = tmp_path / "temp"
    os.mkfifo(fifo)  # open() blocks until a writer opens it
    tree, counts = HostFiles(str(tmp_path)), {"fine": 0}

    def fine(now_ns: int) -> object:
        counts["fine"] += 1
        return counts["fine"]

    sampler = Sampler(
        {"hung": lambda now: tree.number("temp"), "fine": fine},
        period_ns=20 * MS,
        deadline_ns=50 * MS,
    )
    sampler.start()
    try:
        wait_for(lambda: "hangs since" in sampler.sample("hung").stale)
        before = counts["fine"]
        wait_for(lambda: counts["fine"] > before + 5)
        assert sampler.sample("fine").stale == ""
        fifo.rename(tmp_path / "old")
        (tmp_path / "temp").write_text("42\n")
        writer = os.open(tmp_path / "old", os.O_WRONLY)
        os.close(writer)
        wait_for(lambda: sampler.sample("hung").stale == "")
        # The hanging read ends with an empty text; the next one reads the new file.
        wait_for(lambda: sampler.sample("hung").value.value == 42.0)
    finally:
        assert sampler.stop() == []


def test_stop_leaves_a_hung_read_behind_and_names_it():
    release = threading.Event()
    sampler = Sampler({"a": lambda now: release.wait(20), "b": lambda now: 1}, 20 * MS, 20 * MS)
    sampler.start()
    wait_for(lambda: "hangs" in sampler.sample("a").stale)
    begin = time.monotonic()
    assert sampler.stop(0.2) == ["a"]
    assert time.monotonic() - begin < 1.0
    release.set()


def test_a_read_that_raises_is_stale_with_its_error_and_read_again():
    calls = []

    def read(now_ns: int) -> object:
        calls.append(now_ns)
        if len(calls) < 3:
            raise RuntimeError("odd board")
        return len(calls)

    sampler = Sampler({"a": read}, period_ns=10 * MS, deadline_ns=100 * MS)
    assert sampler.sample("a").stale == "no reading yet"
    sampler.start()
    wait_for(lambda: sampler.sample("a").stale == "reading a failed: RuntimeError: odd board")
    wait_for(lambda: sampler.sample("a").value is not None and not sampler.sample("a").stale)
    sampler.stop()


def test_period_is_kept_and_a_long_read_is_not_caught_up():
    times = []

    def read(now_ns: int) -> object:
        times.append(now_ns)
        if len(times) == 3:
            time.sleep(0.2)
        return None

    sampler = Sampler({"a": read}, period_ns=50 * MS, deadline_ns=1000 * MS)
    sampler.start()
    wait_for(lambda: len(times) >= 8)
    sampler.stop()
    gaps = [(b - a) / MS for a, b in itertools.pairwise(times)]
    assert gaps[2] >= 190.0
    assert min(gaps) > 20.0


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "read host"]


def test_one_thread_reads_everything_and_each_hanging_read_costs_one_more():
    before = len(readers())
    release = [threading.Event(), threading.Event()]
    counts = {"fine": 0}

    def fine(now_ns: int) -> object:
        counts["fine"] += 1
        return counts["fine"]

    reads = {
        "a": lambda now: release[0].wait(20),
        "b": lambda now: release[1].wait(20),
        **{f"fine {k}": fine for k in range(5)},
    }
    sampler = Sampler(reads, 20 * MS, 40 * MS)
    sampler.start()
    assert len(readers()) - before == 1
    wait_for(lambda: all("hangs" in sampler.sample(name).stale for name in "ab"))
    wait_for(lambda: len(readers()) - before == 3)  # two that hang, and the present one
    seen = counts["fine"]
    wait_for(lambda: sampler.sample("a").stale and counts["fine"] > seen + 20)
    assert len(readers()) - before == 3
    for one in release:
        one.set()
    wait_for(lambda: not any(sampler.sample(name).stale for name in "ab"))
    wait_for(lambda: len(readers()) - before == 1)
    assert sampler.stop() == []
