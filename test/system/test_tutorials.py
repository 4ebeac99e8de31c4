"""Every command of docs/tutorials is run as written, and shows what the page says it shows."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import published_policies
import pytest
from tutorial_rig import ROOT, Step, Tutorial, commands, missing_line, steps

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
needs_ros = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")),
    reason="the tutorials need rclpy and mujoco",
)


@needs_ros
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path, spawn: Any) -> None:
    tutorial = Tutorial(page, tmp_path, spawn)
    tutorial.run()
    assert len(tutorial.run_lines) >= 3


NEWCOMER = """
```bash
policy-runner check ~/policy
policy-runner replay ~/policy {signals} --reference {signals}
```
```text
… ok target …
```
<!-- terminal: robot -->
```bash
python docs/examples/publish_signals.py ~/policy {signals}
```
```bash
policy-runner check ~/policy --live
```
<!-- terminal: runner -->
```bash
policy_runner --ros-args -p policy:=$HOME/policy -p autostart:=true -p dry_run:=true
```
```text
… active, not armed: call ~/arm to let the policy command
```
<!-- repeat -->
```bash
python docs/examples/call_trigger.py /policy_runner/arm
```
```text
success=True, message='armed…'
```
<!-- output: runner -->
```text
… RUN: the policy commands
```
```bash
ros2 topic echo --once /policy_runner/dry_run{topic}
```
```text
- {joint}
```
<!-- ctrl-c: runner -->
<!-- ctrl-c: robot -->
"""


@needs_ros
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not published_policies.POLICIES.is_dir(), reason=published_policies.MISSING)
@pytest.mark.parametrize(
    ("folder", "topic", "joint"),
    [("lite3-ppo", "", "HR_Knee_joint"), ("b2w-lstm", "/velocity", "RR_foot_joint")],
)
def test_a_newcomers_way_with_a_published_policy(
    tmp_path: Path, spawn: Any, folder: str, topic: str, joint: str
) -> None:
    """RUN is in the log: later lite3-ppo excites itself, since nothing reacts to it."""
    page = tmp_path / "page.md"
    signals = published_policies.signals(folder)
    page.write_text(NEWCOMER.format(signals=signals, topic=topic, joint=joint), "utf-8")
    tutorial = Tutorial(page, tmp_path, spawn)
    published_policies.filled(folder, tutorial.home / "policy")
    tutorial.run()


def test_every_block_of_a_tutorial_is_one_that_the_harness_knows() -> None:
    assert {page.stem for page in PAGES} == {"demo", "first_robot", "own_simulator"}
    for page in PAGES:
        known = {"bash", "text", "yaml", "python", "mermaid", "ctrl-c"}
        assert {step.language for step in steps(page.read_text("utf-8"))} <= known, page.name


def test_a_page_begins_with_who_needs_it_and_how_long_it_takes() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        begin = " ".join(text.split("\n\n")[1].split())
        assert begin.startswith("For you if "), page.name
        assert re.search(r"\d+ minutes", begin), page.name


def test_the_python_block_of_a_page_is_the_file_that_it_shows() -> None:
    shown = [
        step.body
        for page in PAGES
        for step in steps(page.read_text("utf-8"))
        if step.language == "python"
    ]
    assert shown == [(ROOT / "docs/examples/own_simulator.py").read_text("utf-8")]


# --- the harness finds what it looks for ---


def test_steps_and_what_the_comments_say() -> None:
    text = (
        "# A page\n\n<!-- a remark -->\n<!-- exit: 1 -->\n```bash\na \\\n  b # c\n\n# d\ne\n```\n"
        "<!-- numbers vary -->\n```text\nok 3\n…\n```\n<!-- ctrl-c: robot -->\n"
    )
    assert steps(text) == [
        Step("bash", "a \\\n  b # c\n\n# d\ne\n", {"exit": "1"}),
        Step("text", "ok 3\n…\n", {"numbers vary": ""}),
        Step("ctrl-c", "robot"),
    ]
    assert commands(steps(text)[0].body) == ["a    b # c", "e"]


@pytest.mark.parametrize(
    ("expected", "got", "numbers", "missing"),
    [
        ("a\n…\nc", "a\nb\nc\n", False, ""),
        ("c\na", "a\nb\nc\n", False, "a"),
        ("rate … Hz", "x\nrate 99.5 Hz", False, ""),
        ("rate 3", "rate 4", False, "rate 3"),
        ("rate 3 p99.9", "rate -4.5e-3 p99.9", True, ""),
        ("rate 3 of x", "rate of x", True, "rate # of x"),
        ("ok all 12", "\x1b[32m│ ok  │ all 12 │\x1b[0m", False, ""),
        ("ok", "not ok", False, "ok"),
    ],
)
def test_output_is_compared(expected: str, got: str, numbers: bool, missing: str) -> None:
    assert missing_line(expected, got, numbers) == missing


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("```bash\nfalse\n```\n", "`false`: exit status 1, expected 0"),
        ("```bash\necho one\n```\n```text\ntwo\n```\n", "no line 'two'"),
        ("<!-- terminal: x -->\n```bash\nsleep 60\n```\n", "no Ctrl-C for the terminals ['x']"),
        ("```bash\npolicy-runner no-such-command\n```\n", "exit status 2"),
    ],
)
def test_a_page_that_is_wrong_is_found(tmp_path: Path, spawn: Any, body: str, problem: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(body, "utf-8")
    with pytest.raises(AssertionError, match=re.escape(problem)):
        Tutorial(page, tmp_path, spawn).run()


def test_a_page_that_is_right_runs_through(tmp_path: Path, spawn: Any) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```yaml\n# ~/a/b.yaml\nkey: 1\n```\n```bash\ncat ~/a/b.yaml\n```\n```text\nkey: 1\n```\n"
        "<!-- needs: ../nowhere -->\n```bash\nfalse\n```\n```text\nnever\n```\n"
        "<!-- terminal: x -->\n```bash\nsleep 60\n```\n<!-- ctrl-c: x -->\n",
        "utf-8",
    )
    tutorial = Tutorial(page, tmp_path, spawn)
    tutorial.run()
    assert tutorial.run_lines == ["cat ~/a/b.yaml", "sleep 60"]
    assert tutorial.left_out == ["false"]
