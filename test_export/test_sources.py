"""Every kind of source: exported, accepted by `check`, and equal to the trainer's own call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from folders import HIGH, KINDS, LOW, SCALE, made

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.main import main
from policy_runner.export.policy_folder import digests
from policy_runner.export.verify.verify_policy import verify_policy


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_checked_and_equals_the_trainers_call(kind: str) -> None:
    one = made(kind)
    assert not one.exported.todo
    assert main(["check", str(one.folder)]) == 0
    found = verify_policy(one.folder, one.source, options=one.options)
    assert found.passed, [row for row in found.rows if row.outcome == "failed"]
    narrow = [r for r in found.rows if r.name in ("random, 1 sigma", "60 steps, 3 sigma")]
    assert len(narrow) == (2 if "\nstate:" in (one.folder / "policy.yaml").read_text() else 1)
    assert all(row.figure is not None and row.figure <= 1e-5 for row in narrow)


@pytest.mark.parametrize("kind", ["ppo", "gru"])
def test_import_of_the_model_alone_gives_the_same_spec(kind: str, tmp_path: Path) -> None:
    folder = made(kind).folder
    assert main(["import", str(folder / "policy.onnx"), "-o", str(tmp_path / "again")]) == 0
    first, again = ((one / "policy.yaml").read_text() for one in (folder, tmp_path / "again"))
    assert yaml.safe_load(first) == yaml.safe_load(again)
    assert repr(SCALE) in again
    for name in ("policy.onnx", "statistics.npz"):
        if (folder / name).exists():
            assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_space_of_ppo_becomes_clip_raw_and_sacs_stays_in_the_graph() -> None:
    spec = yaml.safe_load((made("ppo").folder / "policy.yaml").read_text())
    wanted = [[float(a), float(b)] for a, b in zip(LOW, HIGH)]
    assert spec["action"][0]["groups"][0]["clip_raw"] == wanted
    spec = yaml.safe_load((made("sac").folder / "policy.yaml").read_text())
    assert "clip_raw" not in spec["action"][0]["groups"][0]


def test_statistics_keep_every_bit() -> None:
    given = made("ppo").exported.policy.statistics["obs"].values
    with np.load(made("ppo").folder / "statistics.npz") as stored:
        assert stored["mean"].tobytes() == given["mean"].tobytes()
        assert stored["var"].tobytes() == given["var"].tobytes()


def test_the_value_head_is_kept_and_commands_nothing() -> None:
    facts = read_model_facts(made("multi input").folder / "policy.onnx")
    assert [one.name for one in facts.outputs] == ["actions", "value"]
    spec = yaml.safe_load((made("multi input").folder / "policy.yaml").read_text())
    assert spec["ignored_outputs"] == ["value"]


def test_the_card_names_source_contract_and_checksums() -> None:
    folder = made("rsl_rl").folder
    card = (folder / "README.md").read_text()
    assert "| activation | elu |" in card
    assert "6 - 16 - 16 - 2" in card
    assert "| input | obs float32 [1, 6] | joint_position, joint_velocity, last_action |" in card
    found = digests(folder)
    for name in ("policy.onnx", "policy.yaml", "statistics.npz"):
        assert found[name] in card


def test_nothing_of_the_trainers_machine_is_in_the_folder() -> None:
    for kind in ("module", "ppo", "rsl_rl"):
        for path in made(kind).folder.iterdir():
            content = path.read_bytes()
            for trace in (b"site-packages", b"/home/", str(Path.cwd()).encode(), b"folders.py"):
                assert trace not in content, (path, trace)


def test_states_of_an_open_batch_have_it_first() -> None:
    model = onnx.load(made("recurrent ppo").folder / "policy.onnx")
    first = {one.name: one.type.tensor_type.shape.dim[0].dim_param for one in model.graph.input}
    assert first == {"obs": "batch", "h_in": "batch", "c_in": "batch"}
