"""`check`, `inspect` and `import` see every model of a policy, and say what does not fit."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import several_rig
from core_rig import refused
from several_rig import chain, switch

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.import_policy import write as write_import
from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec
from policy_runner.formats.draft import Draft
from policy_runner.robot.load import load_policy

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")


def test_check_counts_the_models_and_looks_into_each(tmp_path: Path, capsys: Any) -> None:
    spec = several_rig.write(tmp_path, chain())
    assert main(["check", str(spec)]) == 0
    assert "2 models (encoder, model)" in capsys.readouterr().out
    content = switch()
    walk = content["switch"]["policies"]["walk"]
    walk["observation"][0]["normalization"] = "in_model"
    walk["models"]["encoder"]["observation"][0]["normalization"] = "in_model"
    assert main(["check", str(several_rig.write(tmp_path, content))]) == 0
    said = capsys.readouterr().out
    assert "3 models (model, walk/encoder, walk)" in said
    for key in ("observation[0]", "models.encoder.observation[0]"):
        assert f"switch.policies.walk.{key}.normalization: in_model" in said


def test_the_files_of_every_model_count(tmp_path: Path) -> None:
    loaded = load_policy(several_rig.write(tmp_path, switch()))
    assert loaded.description["sha256 not stated"] == "stand.onnx, walk.onnx, encoder.onnx"
    assert {"sha256", "walk/sha256", "walk/encoder/sha256"} <= loaded.description.keys()


def test_inspect_shows_every_model_and_the_rule(tmp_path: Path, capsys: Any) -> None:
    spec = several_rig.write(tmp_path, switch())
    assert main(["inspect", str(spec), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["models"]] == ["walk/encoder", "walk"]
    encoder, walk = found["models"]
    assert (encoder["every"], encoder["read_outputs"]) == (3, ["latent"])
    assert walk["observation"][0]["terms"][1]["source"] == {"model": "encoder", "tensor": "latent"}
    assert walk["statistics"][0]["key"] == "switch.policies.walk.observation[0].normalization"
    assert found["switch"]["policies"] == ["stand", "walk"]
    assert main(["inspect", str(spec)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "walk above 0.06, back below 0.04" in said
    assert "walk/encoder, every 3 inferences" in said
    assert "read by later models" in said


def test_import_copies_every_model_that_the_draft_names(tmp_path: Path) -> None:
    several_rig.write(tmp_path / "source", switch())
    model = read_model_facts(tmp_path / "source" / "stand.onnx")
    draft = Draft("toy", [tmp_path / "source" / "policy.yaml"])
    draft.spec.update(switch())
    write_import(draft, model, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"policy.yaml", "stand.onnx", "walk.onnx", "encoder.onnx"}


def _unknown_model(content: dict[str, Any]) -> None:
    content["observation"][0]["terms"][1]["model"] = "encodr"


def _unknown_output(content: dict[str, Any]) -> None:
    content["observation"][0]["terms"][1]["tensor"] = "latnt"
    content["models"]["encoder"]["ignored_outputs"] = ["latent"]


def _itself(content: dict[str, Any]) -> None:
    terms = content["models"]["encoder"]["observation"][0]["terms"]
    terms.append(content["observation"][0]["terms"][1])


def _unread(content: dict[str, Any]) -> None:
    content["models"]["encoder"]["state"] = []
    content["models"]["encoder"]["observation"].append({"tensor": "memory", "constant": 0.0})


def _slice(content: dict[str, Any]) -> None:
    content["observation"][0]["terms"][1]["slice"] = [2, 5]


def _other_file(content: dict[str, Any]) -> None:
    content["models"]["encoder"]["sha256"] = "0" * 64


def _missing_file(content: dict[str, Any]) -> None:
    content["models"]["encoder"]["file"] = "none.onnx"
    content["model"]["file"] = "nothing.onnx"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_unknown_model, r"observation\[0\].terms\[1\].model: expected a model that runs before"
                         r" \(encoder\), got 'encodr'; did you mean 'encoder'"),
        (_unknown_output, r"terms\[1\].tensor: expected an output of 'encoder' \(latent, "
                          r"next_memory\), got 'latnt'; did you mean 'latent'"),
        (_itself, r"models.encoder.observation\[0\].terms\[3\].model: expected a model that runs"
                  r" before \(there is none\), got 'encoder'; change the order"),
        (_unread, r"models.encoder.ignored_outputs: expected the model's output 'next_memory' in"),
        (_slice, r"terms\[1\].slice: expected \[first, last\) within the 4 elements of 'latent'"),
        (_other_file, r"encoder\.onnx: sha256: expected 0000"),
        (_missing_file, r"none.onnx[\s\S]*nothing.onnx"),
    ],
)  # fmt: skip
def test_what_a_chain_cannot_mean_is_refused_by_key(change: Any, says: str, tmp_path: Path) -> None:
    content = chain()
    change(content)
    spec = several_rig.write(tmp_path, content)
    assert re.search(says, "\n".join(refused(load_policy, spec)))


SWITCHES: list[tuple[dict[str, Any], str]] = [
    ({"first": "walk"}, "switch.first: expected a name that switch.policies does not have"),
    ({"thresholds": [{"up": 0.04, "down": 0.06}]}, "switch.thresholds[0]: expected 0 <= down"),
    ({"thresholds": [{"up": 1, "down": 1}] * 2}, "switch.thresholds: expected 1, one between"),
    ({"state": "advance"}, "switch.history: expected advance, since switch.state is advance"),
    ({"value": {"input": "comand", "fields": ["linear.x"]}}, "did you mean 'command'"),
    ({"value": {"input": "command", "fields": ["linear.w"]}}, "switch.value.fields[0]: expected"),
    ({"value": {"input": "joints", "fields": ["position"]}}, "no JointState"),
]


@pytest.mark.parametrize(("changes", "says"), SWITCHES)
def test_what_a_switch_cannot_mean_is_refused_by_key(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    spec = several_rig.write(tmp_path, switch(**changes))
    assert says in "\n".join(refused(load_policy, spec))


def test_policies_of_a_switch_command_the_same_elements(tmp_path: Path) -> None:
    content = switch(last_action="carry")
    walk = content["switch"]["policies"]["walk"]
    walk["action"][0]["groups"][0]["joints"].reverse()
    walk["last_action"] = "target"
    with pytest.raises(Refusal) as caught:
        read_spec(several_rig.write(tmp_path, content))
    said = "\n".join(map(str, caught.value.problems))
    assert "switch.policies.walk.action: expected the elements of 'stand' in its order" in said
    assert "switch.policies.walk.last_action: expected raw" in said


def test_a_history_of_outputs_advances_only_with_its_model(tmp_path: Path) -> None:
    content = switch(history="advance")
    tensor = content["switch"]["policies"]["walk"]["observation"][0]
    tensor["history"] = {"stack": "frame", "order": "oldest_first", "length": 1, "fill": "zeros"}
    tensor["normalization"]["on"] = "frame"
    spec = several_rig.write(tmp_path, content)
    assert "switch.state: expected advance" in "\n".join(refused(load_policy, spec))
