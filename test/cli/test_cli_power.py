"""`policy-runner power`: prints its actions, refuses modes that do not exist, needs root."""

from __future__ import annotations

import os

import pytest
from fake_board import write_board

from policy_runner.cli import power
from policy_runner.cli.command_parser import CommandParser
from policy_runner.core.errors import Refusal

CONF = """< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >"""


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A board with tools that record their calls; gives a function that runs the command."""
    files = {"etc/nvpmodel.conf": CONF, "var/lib/nvpmodel/status": "pmode:0001"}
    write_board(tmp_path, files)
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def tool(name, body):
        script = tools / name
        script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{body}\n')
        script.chmod(0o755)

    tool("nvpmodel", 'if [ "$1" = -q ]; then echo "NV Power Mode: MAXN_SUPER"; echo 2; fi')
    tool("jetson_clocks", 'if [ "$1" = --store ]; then echo stored > "$2"; fi')

    def run(*words):
        parser = CommandParser()
        power.add_arguments(parser)
        return power.run(parser.parse_args(["--root", str(tmp_path), *words]))

    run.tool = tool
    run.calls = lambda: (
        (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
    )
    run.root = tmp_path
    return run


def test_list_marks_the_mode_that_is_set_and_the_default(board, capsys):
    assert board("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1", "25W", "25", "W", "set", "now,", "the", "default"]
    assert lines[2].split() == ["2", "MAXN_SUPER"]


@pytest.mark.parametrize("name", ["MAXN_SUPER", "maxn_super", "2"])
def test_set_by_name_or_id(board, capsys, name):
    assert board("set", name) == 0
    assert board.calls()[0] == "-m 2"
    out = capsys.readouterr().out
    assert "power mode 25W -> MAXN_SUPER (id 2)" in out
    assert "runs: nvpmodel -m 2" in out


def test_unknown_mode_is_refused_before_anything_runs(board):
    with pytest.raises(Refusal) as refused:
        board("set", "MAXN_SUPR")
    assert "expected one of 0 15W, 1 25W, 2 MAXN_SUPER, got MAXN_SUPR" in str(refused.value)
    assert "did you mean 'MAXN_SUPER'" in str(refused.value)
    # 15 is a number of watts, not an id.
    with pytest.raises(Refusal):
        board("set", "15")
    assert board.calls() == []


def test_mode_that_is_set_already_runs_nothing(board, capsys):
    assert board("set", "25W") == 0
    assert "is set already" in capsys.readouterr().out
    assert board.calls() == []


def test_reboot_is_declined_and_said(board, capsys):
    board.tool(
        "nvpmodel",
        'read answer; echo "DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm: $answer"; exit 1',
    )
    assert board("set", "15W") == 0
    out = capsys.readouterr().out
    assert "confirm: no" in out
    assert "15W is set for the next boot" in out


def test_failure_of_the_tool_is_a_refusal(board):
    board.tool("nvpmodel", "echo broken; exit 3")
    with pytest.raises(Refusal, match="nvpmodel: expected exit status 0, got 3"):
        board("set", "15W")


def test_without_root_nothing_runs(board, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words in (("set", "15W"), ("clocks", "on")):
        with pytest.raises(Refusal, match=f"sudo policy-runner power {' '.join(words)}"):
            board(*words)
    assert board.calls() == []


def test_dry_run_only_says_it(board, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert board("set", "15W", "--dry-run") == 0
    assert board("clocks", "on", "--dry-run") == 0
    assert "would run: nvpmodel -m 0" in capsys.readouterr().out
    assert board.calls() == []


def test_clocks_on_keeps_the_old_limits_once_and_off_restores_them(board):
    store = str(board.root / "var/lib/policy_runner/clocks.conf")
    with pytest.raises(Refusal, match="expected those of `clocks on`"):
        board("clocks", "off")
    board("clocks", "on")
    board("clocks", "on")
    board("clocks", "off")
    assert board.calls() == [f"--store {store}", "", "", f"--restore {store}"]
    assert not os.path.exists(store)


def test_a_machine_without_power_modes_is_told_so(tmp_path):
    parser = CommandParser()
    power.add_arguments(parser)
    with pytest.raises(Refusal, match=r"/etc/nvpmodel.conf: power modes: expected"):
        power.run(parser.parse_args(["--root", str(tmp_path), "list"]))


def test_no_node_ever_changes_the_power_mode():
    """The nodes' code names neither this module nor the options of the tools that set a mode."""
    package = os.path.dirname(os.path.dirname(power.__file__))
    for room in ("ros", "telemetry", "core", "backends"):
        for folder, _, names in os.walk(os.path.join(package, room)):
            for name in names:
                if name.endswith(".py"):
                    with open(os.path.join(folder, name), encoding="utf-8") as stream:
                        text = stream.read()
                    assert "jetson_clocks" not in text.replace("`jetson_clocks`", ""), name
                    assert '"-m"' not in text or "nvpmodel" not in text, name
