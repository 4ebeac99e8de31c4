"""The rules of conftest.py, each tested in a separate small session."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

TEST_FOLDER = Path(__file__).resolve().parents[1]
Session = Callable[..., "tuple[int, str]"]
NO_WORKERS = pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
ALONE_AND_WITH_WORKERS = [
    pytest.param((), id="alone"),
    pytest.param(("-n2",), id="workers", marks=NO_WORKERS),
]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Run a test file with our conftest in a separate session; return exit code and output."""

    def run(text: str, *words: str, **variables: str) -> tuple[int, str]:
        (tmp_path / "test_inner.py").write_text(text)
        # colcon passes its pytest options in PYTEST_ADDOPTS; the inner session must not use them.
        ours = ("ROS_DOMAIN_ID", "PYTEST_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env.update(variables)
        env["PYTHONPATH"] = os.pathsep.join([str(TEST_FOLDER), env.get("PYTHONPATH", "")])
        argv = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*argv, f"--rootdir={tmp_path}", "-c", os.devnull, "test_inner.py", *words],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("words", ALONE_AND_WITH_WORKERS)
def test_a_process_left_behind_fails_the_session(session: Session, words: tuple[str, ...]) -> None:
    text = """
import pytest, subprocess, sys
def test_leaves_one():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6)"], start_new_session=True)
@pytest.mark.skip(reason="no such thing")
def test_skipped(): ...
"""
    code, output = session(text, *words)
    assert code == 1
    assert "1 passed, 1 skipped" in output
    assert "not run here: 1 test(s): no such thing" in output
    assert output.count("session failed: left behind: process") == 1
    assert "time.sleep(6)" in output


def test_a_child_keeps_the_domain_of_its_session(session: Session) -> None:
    """A killed session leaves its children in its domain; no other session may take it then."""
    code, output = session("""
from pathlib import Path
def test_lock(spawn, wait_until):
    child = spawn(["python", "-c", "import time; print('up'); time.sleep(60)"])
    wait_until(lambda: "up" in child.stdout)  # while it starts, files come and go
    open_files = [str(one.readlink()) for one in Path(f"/proc/{child.pid}/fd").iterdir()]
    assert any("policy_runner-test-domain-" in one for one in open_files), open_files
""")
    assert code == 0, output


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_spawned_children_end_with_their_test_and_hear_signals(
    session: Session, number: str
) -> None:
    code, output = session(f"""
import signal
import children
# As under `make &` in a script: the parent ignores SIGINT, its children must not.
signal.signal(signal.SIGINT, signal.SIG_IGN)
sleeper = ["python", "-c", "import time; print('up'); time.sleep(60)"]
def test_signal(spawn, wait_until):
    child = spawn(sleeper)
    wait_until(lambda: "up" in child.stdout)
    child.send(signal.{number})
    assert child.wait(5) != 0
def test_left_to_the_fixture(spawn, wait_until):
    child = spawn(sleeper)
    wait_until(lambda: "up" in child.stdout)
""")
    assert (code, "2 passed" in output) == (0, True), output


def test_a_child_that_only_sigkill_ends_is_an_error(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = session("""
import children
children.Child.stop.__defaults__ = (0.3,)
DEAF = "import signal, time\\n" \\
    "for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\\n" \\
    "print('deaf', flush=True); time.sleep(60)"
def test_deaf(spawn, wait_until):
    child = spawn(["python", "-c", DEAF])
    wait_until(lambda: "deaf" in child.stdout)
""")
    assert code == 1
    assert "ended only by SIGKILL" in output
    assert "left behind" not in output


def test_a_failure_quotes_the_stderr_of_the_children(session: Session) -> None:
    code, output = session("""
def test_fails(spawn):
    child = spawn(["python", "-c", "import sys; sys.exit('the reason is here')"])
    assert child.wait() == 0
""")
    assert code == 1
    assert "the reason is here" in output
    assert "exit code 1" in output


def test_skips_are_named_with_their_reason(session: Session) -> None:
    code, output = session("""
import pytest
@pytest.mark.skipif(True, reason="no such device")
def test_skipped(): ...
""")
    assert code == 0
    assert "not run here: 1 test(s): no such device" in output


def test_each_session_has_its_own_domain_on_this_machine_only(session: Session) -> None:
    code, output = session("""
import os, subprocess, sys, textwrap
def test_domain(ros_domain, tmp_path):
    assert os.environ["ROS_DOMAIN_ID"] == str(ros_domain) and 1 <= ros_domain <= 101
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert os.environ["ROS_PYTHON_CHECK_FIELDS"] == "1"
    env = {k: v for k, v in os.environ.items() if k != "ROS_DOMAIN_ID"}
    # Another session that would take the same number, counted from its pid.
    code = f"import os; os.getpid = lambda: {os.getpid()}; import conftest; print(conftest.DOMAIN)"
    other = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert other.stdout.strip() not in ("", str(ros_domain)), other.stderr
""")
    assert code == 0, output


@NO_WORKERS
@pytest.mark.parametrize("wanted", ["", "41"])
def test_each_worker_has_its_own_domain(session: Session, wanted: str) -> None:
    text = f"""
import os, pytest
@pytest.mark.parametrize("each", [0, 1])
def test_domain(each, ros_domain, tmp_path, wait_until):
    assert os.environ["ROS_DOMAIN_ID"] == str(ros_domain)
    both = tmp_path.parents[1] / "domains"
    both.mkdir(exist_ok=True)
    (both / str(ros_domain)).touch()
    wait_until(lambda: len(os.listdir(both)) == 2)  # which takes two workers at the same time
    assert not "{wanted}" or sorted(os.listdir(both)) == ["41", "42"]
"""
    code, output = session(text, "-n2", **({"ROS_DOMAIN_ID": wanted} if wanted else {}))
    assert (code, "2 passed" in output) == (0, True), output


def test_a_hanging_test_fails(session: Session) -> None:
    pytest.importorskip("pytest_timeout", reason="pytest-timeout is not installed")
    code, output = session("""
import time, pytest
def test_default(request):
    import os
    assert os.environ["PYTEST_TIMEOUT"] == "120"
@pytest.mark.timeout(0.5)
def test_hangs():
    time.sleep(30)
""")
    assert code == 1
    assert "Timeout" in output
    assert "1 failed, 1 passed" in output


def test_a_field_of_the_wrong_type_is_refused(session: Session) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    code, output = session("""
import pytest
def test_wrong_scalar():
    from std_msgs.msg import Float32
    with pytest.raises(AssertionError):
        Float32().data = 3
""")
    assert code == 0, output


@pytest.mark.parametrize("words", ALONE_AND_WITH_WORKERS)
@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), 9)", "node.destroy_node(); rclpy.shutdown()"]
)
def test_shared_memory_of_a_killed_child_fails_the_session(
    session: Session, end: str, words: tuple[str, ...]
) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    text = f"""
import leftovers
CODE = '''
import os, rclpy, sys, time
rclpy.init()
node = rclpy.create_node("short")
print("up", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
{end}
'''
def test_killed(spawn, wait_until, tmp_path):
    child = spawn(["python", "-c", CODE, tmp_path / "go"])
    wait_until(lambda: "up" in child.stdout)
    leftovers.note_all_segments()
    assert leftovers.segments(child.pid)
    (tmp_path / "go").touch()
    child.wait()
def test_killed_through_the_child(spawn, wait_until, tmp_path):
    child = spawn(["python", "-c", CODE, tmp_path / "never"])
    wait_until(lambda: "up" in child.stdout)
    child.kill()
"""
    code, output = session(text, *words)
    killed = "kill" in end
    left = [line.split()[-1] for line in output.splitlines() if "left behind: /dev/shm" in line]
    for name in left:
        Path(name).unlink(missing_ok=True)
    assert code == (1 if killed else 0), output
    assert bool(left) == killed, output
