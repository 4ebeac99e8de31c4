"""The pictures of the documentation: drawn from what the code does, small, and with a command."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import diagrams
import pytest
from core_rig import MS, make_rig, spec_content
from package_tree import ROOT

from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety
from policy_runner.core.settings import CommandLimits, Settings

FOLDER = ROOT / "docs" / "pictures"
PICTURES = sorted(path.name for path in FOLDER.glob("*.*g"))
SETTINGS = Settings(
    10 * MS, 1, {}, CommandLimits.none(1), hold_recover_ns=20 * MS, safe_stop_after_ns=90 * MS
)
FAULTS = (
    None,
    Fault(Decision.HOLD, Reason.INPUT_STALE),
    Fault(Decision.SAFE_STOP, Reason.TIPPED),
    Fault(Decision.SAFE_STOP, Reason.OPERATOR_STOP),
)


def changes_of_safety() -> set[tuple[str, str]]:
    """Every change of the decision in a long run of random faults and requests."""
    rng, safety = random.Random(3), Safety()
    found = set()
    for tick in range(20_000):
        before = safety.decision
        if rng.random() < 0.1:
            rng.choice((safety.arm, safety.arm, safety.disarm))()
        safety.judge(tick * 10 * MS, rng.choices(FAULTS, (12, 2, 1, 1))[0], SETTINGS)
        found.add((before.value, safety.decision.value))
        if rng.random() < 0.02:
            safety.activate(armed=rng.random() < 0.5)
    return {(before, after) for before, after in found if before != after}


def changes_with_a_start_pose(folder: Path) -> set[tuple[str, str]]:
    """The decisions of a robot that is armed again after a SAFE_STOP, and moves first."""
    content = spec_content(
        joint_names=["a"],
        default_joint_pos=[1.0],
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a"]}]}],
    )
    rig = make_rig(folder, content, size=1, start_pose_ns=100 * MS, start_pose_tolerance=0.05)
    found = []
    for tick in range(60):
        rig.joints("joints", tick * 10 * MS, ["a"], position=[1.0], velocity=[0.0])
        if tick == 30:
            rig.pipeline.safety.arm()
        fault = FAULTS[2] if tick == 25 else None
        found.append(rig.pipeline.step(tick * 10 * MS, fault).decision.value)
    return {(before, after) for before, after in itertools.pairwise(found) if before != after}


def test_the_arrows_are_what_the_decision_does(tmp_path: Path) -> None:
    assert set(diagrams.BOXES) == {decision.value for decision in Decision}
    moved = changes_with_a_start_pose(tmp_path)
    assert moved == {("STARTING", "RUN"), ("RUN", "SAFE_STOP"), ("SAFE_STOP", "STARTING")}
    assert changes_of_safety() | moved == set(diagrams.ARROWS)


@pytest.mark.parametrize("name", ["tick", "decision"])
def test_the_diagrams_are_up_to_date(name: str) -> None:
    measured = json.loads((FOLDER / "measured.json").read_text("utf-8"))
    wanted = diagrams.tick(measured) if name == "tick" else diagrams.decision()
    # `make pictures` writes them.
    assert (FOLDER / f"{name}.svg").read_text("utf-8") == wanted


def test_every_picture_has_its_command() -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| \[([\w.]+)\].*`([^`]*)` \|$", page, re.MULTILINE))
    assert sorted(rows) == PICTURES
    usage = (ROOT / "tools" / "pictures.py").read_text("utf-8").split('"""')[1]
    ours = [command for command in rows.values() if command.startswith("make pictures")]
    assert len(ours) >= 6
    for command in ours:
        word = command.removeprefix("make pictures").removeprefix(" ARGS=")
        assert re.search(rf"python tools/pictures.py.*\b{word}\b", usage), command


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small_and_fetches_nothing(name: str) -> None:
    path = FOLDER / name
    assert path.stat().st_size < 200_000
    if path.suffix == ".svg":
        text = path.read_text("utf-8")
        ElementTree.fromstring(text)
        assert not re.search(r"(href=|url\()[\"']?https?:", text)
