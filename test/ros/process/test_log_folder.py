"""The folder of the log file, and the start of a node that cannot create one."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy_runner.ros.process.lifetime import NO_FILE, log_folder, with_usable_log


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"ROS_LOG_DIR": "/a/b", "ROS_HOME": "/c", "HOME": "/d"}, "/a/b"),
        ({"ROS_LOG_DIR": "", "ROS_HOME": "/c", "HOME": "/d"}, "/c/log"),
        ({"HOME": "/d"}, "/d/.ros/log"),
    ],
)
def test_the_folder_is_the_one_that_rcl_takes(environment: dict[str, str], folder: str) -> None:
    assert log_folder(environment) == Path(folder)


def test_a_usable_folder_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    assert with_usable_log(["runner", "-x"]) == ["runner", "-x"]
    assert not list((tmp_path / "log").iterdir())


@pytest.mark.parametrize("folder", ["/proc/none/log", None])
def test_without_a_folder_the_node_starts_and_says_so(
    folder: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ROS_LOG_DIR", "ROS_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if folder is not None:
        monkeypatch.setenv("ROS_LOG_DIR", folder)
    assert with_usable_log(["runner"])[-1] == NO_FILE
    assert "no log file, only stderr" in capsys.readouterr().err
