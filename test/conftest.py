"""What every test may use, and what a session must keep: its own domain, nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import children
import leftovers
import pytest

MINIMUM_TESTS = 2000  # a whole run that collects fewer has lost some: raise it as tests are added
# Whole processes on a graph, on a machine whose host may take its cores for a while: what fails
# there runs again, is counted as a rerun, and is quoted. A wrong outcome fails three times.
RERUN = {"ros", "system", "faults"}  # folders of test/, at any depth
TEST = Path(__file__).resolve().parent
SECONDS_PER_TEST = "120"  # a test that hangs fails; a longer one says so with its own mark


def _claim_domain() -> tuple[int, IO[str] | None]:
    """A domain that no other test session on this machine uses (1 to 101), and what holds it."""
    if os.environ.get("ROS_DOMAIN_ID"):
        return int(os.environ["ROS_DOMAIN_ID"]), None
    for step in range(101):
        domain = (os.getpid() + step) % 101 + 1
        path = Path(tempfile.gettempdir()) / f"policy_runner-test-domain-{os.getuid()}-{domain}"
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return domain, lock
    raise RuntimeError(
        "all ROS domains 1 to 101 are taken by other test sessions: set ROS_DOMAIN_ID"
    )


# Before any test imports rclpy, and for all children: own domain, this machine only, and fields
# of messages checked, since rclpy otherwise sends a wrong scalar as 0.
DOMAIN, _domain_lock = _claim_domain()
_log_folder = tempfile.TemporaryDirectory(prefix="policy_runner-log-")
os.environ.update(
    ROS_DOMAIN_ID=str(DOMAIN),
    ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
    ROS_PYTHON_CHECK_FIELDS="1",
    ROS_LOG_DIR=_log_folder.name,
)
os.environ.setdefault("PYTEST_TIMEOUT", SECONDS_PER_TEST)  # read by pytest-timeout, if it is there
leftovers.mark_session()
_segments_before = leftovers.all_files()
_NURSERY: pytest.StashKey[children.Nursery] = pytest.StashKey()
_remarks: list[str] = []
_collected = 0


@pytest.fixture(scope="session")
def ros_domain() -> int:
    """The ROS domain of this session; children inherit it."""
    return DOMAIN


@pytest.fixture
def spawn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[children.Nursery]:
    """`spawn(argv, env={})` starts a child process, which ends with the test (children.Child)."""
    nursery = children.Nursery(tmp_path)
    request.node.stash[_NURSERY] = nursery
    yield nursery
    nursery.close()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """`wait_until(predicate, timeout_s=10, what="…")` (children.wait_until)."""
    return children.wait_until


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    nursery = item.stash.get(_NURSERY, None)
    if nursery is not None and call.when == "call":
        leftovers.note_all_segments()
        if outcome.get_result().failed:
            for child in nursery.children:
                outcome.get_result().sections.append(("child process", child.quote()))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    leftovers.note_segments(os.getpid())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    global _collected
    _collected = len(items)
    if not config.pluginmanager.hasplugin("rerunfailures"):
        return
    for item in items:
        inside = item.path.parent.is_relative_to(TEST)
        if inside and RERUN & set(item.path.parent.relative_to(TEST).parts):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    deadline = time.monotonic() + 2.0  # what a test has just ended may need a moment to go
    while leftovers.our_processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid, command in leftovers.our_processes().items():
        _remarks.append(f"left behind: process {pid}: {command}")
    for name in leftovers.left_segments(DOMAIN, _segments_before):
        _remarks.append(f"left behind: {leftovers.SHM / name}")
    if _is_whole(session.config) and _collected < MINIMUM_TESTS:
        _remarks.append(f"only {_collected} tests were collected: expected {MINIMUM_TESTS} or more")
    if _remarks and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    with contextlib.suppress(OSError):
        _log_folder.cleanup()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skips = Counter(
        re.sub(r"^Skipped: ", "", report.longrepr[2])
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in skips.items():
        terminalreporter.write_line(f"not run here: {count} test(s): {reason}", yellow=True)
    for remark in _remarks:
        terminalreporter.write_line(f"session failed: {remark}", red=True)


def _is_whole(config: pytest.Config) -> bool:
    """Whether all tests were asked for: no path, no -k, no -m, no --last-failed."""
    option = config.option
    narrowed = option.keyword or option.markexpr or getattr(option, "lf", False)
    whole = {str(path) for path in config.getini("testpaths")}
    return not narrowed and {arg.rstrip("/") for arg in config.args} == whole
