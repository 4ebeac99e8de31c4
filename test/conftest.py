"""Fixtures for every test, and rules of a session: its own ROS domain, no leftovers.

With workers (pytest-xdist, `make test`) each worker is a process that imports this file and runs
some of the tests, in its own domain. At its end it reports its findings to the session.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import children
import leftovers
import pytest

MINIMUM_TESTS = 2000  # a full run with fewer tests has lost some; raise it when tests are added
# These tests run whole processes on a ROS graph, and the host may take the machine's cores for a
# while. A failed test runs again, is counted as a rerun, and is quoted. A real error fails 3 times.
RERUN = ("system", "faults", "ros")  # folders of test/
TESTS = Path(__file__).resolve().parent
SECONDS_PER_TEST = "120"  # a test that hangs fails; a longer test sets its own mark
# The domain that the caller of the session requests. Workers read it here, because they inherit a
# ROS_DOMAIN_ID from the session.
WANTED = "POLICY_RUNNER_TEST_DOMAIN"
MOST_WORKERS = 8
# Each starts several busy processes, in real time or at full speed: one worker runs all of them.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
TRANSPORT = (
    "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE",
)  # fmt: skip
BUSY = {
    "test_closed_loop.py", "test_demo_command.py", "test_demo_reach.py", "test_demo_remote.py",
    "test_demo_seen.py",
    "test_fault_lane.py", "test_soak_lockstep.py", "test_tutorials.py",
}  # fmt: skip
FOUND = "policy_runner"  # key of the findings that a worker reports to the session at its end


def _claim_domain() -> tuple[int, IO[str] | None]:
    """A domain that no other session or worker on this machine uses (1 to 101), and its lock file.

    If ROS_DOMAIN_ID is set, the session uses that domain, and the workers use it and the next ones.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:
        os.environ[WANTED] = os.environ.get("ROS_DOMAIN_ID", "")
    if os.environ[WANTED]:
        return int(os.environ[WANTED]) + int(worker.removeprefix("gw") or 0), None
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


# Set before any test imports rclpy, also for all children: own domain, only this machine, and
# checked message fields, because otherwise rclpy sends a wrong scalar as 0.
DOMAIN, _domain_lock = _claim_domain()
if _domain_lock is not None:
    children.KEPT_OPEN.append(_domain_lock.fileno())
_log_folder = tempfile.TemporaryDirectory(prefix="policy_runner-log-")
os.environ.update(
    ROS_DOMAIN_ID=str(DOMAIN),
    ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
    ROS_PYTHON_CHECK_FIELDS="1",
    ROS_LOG_DIR=_log_folder.name,
)
os.environ.pop("COLUMNS", None)  # xdist sets it for its workers; tables would wrap
os.environ.setdefault("PYTEST_TIMEOUT", SECONDS_PER_TEST)  # for pytest-timeout, if it is installed
leftovers.mark_session()
_segments_before = leftovers.all_files()
_NURSERY: pytest.StashKey[children.Nursery] = pytest.StashKey()
_remarks: list[str] = []
_collected = 0


@pytest.fixture(scope="session")
def ros_domain() -> int:
    """The ROS domain of this session; children inherit it."""
    return DOMAIN


@pytest.fixture(autouse=True)
def restored_transport_and_signals() -> Iterator[None]:
    """Restore what the `main` of a node changes in its process: transports and signals."""
    before = {name: os.environ.get(name) for name in TRANSPORT}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {number: signal.getsignal(number) for number in ENDING}
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def spawn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[children.Nursery]:
    """`spawn(argv, env={})` starts a child process that ends with the test (`children.Child`)."""
    nursery = children.Nursery(tmp_path)
    request.node.stash[_NURSERY] = nursery
    yield nursery
    nursery.close()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """`wait_until(predicate, timeout_s=10, what="…")`, see `children.wait_until`."""
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
    if _is_worker(config):  # long files first, so that the workers end at about the same time
        items.sort(key=_place)
    if not config.pluginmanager.hasplugin("rerunfailures"):
        return
    for item in items:
        if _place(item) < len(RERUN):
            item.add_marker(pytest.mark.flaky(reruns=3, reruns_delay=1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers for `-n auto`: none for few tests, which end before a worker has started."""
    few = _is_narrowed(config) or not all(Path(arg).is_dir() for arg in config.args)
    return 0 if few else min(len(os.sched_getaffinity(0)), MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Use `--dist loadfile`, which keeps the tests of a file together, and of all BUSY files."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "busy" if Path(file).name in BUSY else file

    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over the findings of a worker that has ended."""
    global _collected
    if error:
        _remarks.append(f"worker {node.gateway.id} ended early: {error}")
    found = getattr(node, "workeroutput", {}).get(FOUND, {})
    _remarks.extend(found.get("remarks", []))
    _collected = max(_collected, found.get("collected", 0))


@pytest.hookimpl(trylast=True)  # after the plugin that ends the workers
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    deadline = time.monotonic() + 2.0  # a process that a test has just ended may need a moment
    while leftovers.our_processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [f"process {pid}: {line}" for pid, line in leftovers.our_processes().items()]
    left += [str(leftovers.SHM / one) for one in leftovers.left_segments(DOMAIN, _segments_before)]
    # A worker may have reported the same.
    _remarks.extend(line for one in left if (line := f"left behind: {one}") not in _remarks)
    if _is_worker(session.config):
        found = {"remarks": _remarks, "collected": _collected}
        session.config.workeroutput[FOUND] = found  # type: ignore[attr-defined]
    elif _is_whole(session.config) and _collected < MINIMUM_TESTS:
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


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _place(item: pytest.Item) -> int:
    """Index of the RERUN folder above a test, at any depth; `len(RERUN)` if there is none."""
    folders = item.path.relative_to(TESTS).parts[:-1] if item.path.is_relative_to(TESTS) else ()
    return min((RERUN.index(name) for name in folders if name in RERUN), default=len(RERUN))


def _is_narrowed(config: pytest.Config) -> bool:
    """Whether the caller selected some tests: -k, -m, --last-failed."""
    option = config.option
    return bool(option.keyword or option.markexpr or getattr(option, "lf", False))


def _is_whole(config: pytest.Config) -> bool:
    """Whether the caller requested all tests: no path and no selection."""
    whole = {str(path) for path in config.getini("testpaths")}
    return not _is_narrowed(config) and {arg.rstrip("/") for arg in config.args} == whole
