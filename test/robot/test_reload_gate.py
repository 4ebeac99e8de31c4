"""The gate of a reload: only a passed report of exactly these files opens it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from policy_runner.core.errors import Refusal
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.robot.reload_gate import (
    GATE,
    SCHEMA,
    check_verdict,
    gate_problems,
    policy_files,
    verdict_path,
)

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx is not installed")
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from runner_rig import write_policy

    found = tmp_path / "policy"
    write_policy(found)
    return found


def report(folder: Path) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "policy": {"name": "toy", "files": policy_files(read_spec(folder))},
        "requirements": [{"requirement": "falls == 0", "fulfilled": True}],
    }


def write(folder: Path, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    verdict_path(folder / "policy.yaml").write_text(text, "utf-8")


def test_a_passed_report_of_these_files_opens_the_gate(folder: Path) -> None:
    write(folder, report(folder))
    check_verdict(read_spec(folder))
    assert verdict_path(folder / "policy.yaml").name == "policy.evaluation.json"


def without(*keys: str) -> Change:
    return lambda content: [content.pop(key) for key in keys]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("schema"), "schema: expected policy_runner_evaluation/1, got None"),
        (without("policy"), "policy.files: expected the sha256 of every file, got None"),
        (without("requirements"), "requirements: expected a list of requirement and fulfilled"),
        (
            lambda content: content.update(requirements=[]),
            "requirements: expected at least one requirement, got none",
        ),
        (
            lambda content: content["requirements"].append(
                {"requirement": "vx_rmse < 0.1", "fulfilled": False}
            ),
            "requirements: expected `vx_rmse < 0.1`, got a report that says it is not fulfilled",
        ),
        (
            lambda content: content["requirements"][0].update(fulfilled="yes"),
            "requirements: expected a list of requirement and fulfilled",
        ),
        (
            lambda content: content["policy"]["files"].update({"policy.yaml": "0" * 64}),
            "policy.files: expected the file policy.yaml that was evaluated, got another one; run",
        ),
        (
            lambda content: content["policy"]["files"].pop("policy.yaml"),
            "the file policy.yaml that was evaluated, got one that was not evaluated",
        ),
        (
            lambda content: content["policy"]["files"].update({"encoder.onnx": "0" * 64}),
            "the file encoder.onnx that was evaluated, got none",
        ),
    ],
)
def test_any_other_report_closes_it(folder: Path, change: Change, sentence: str) -> None:
    content = report(folder)
    change(content)
    write(folder, content)
    with pytest.raises(Refusal, match=sentence):
        check_verdict(read_spec(folder))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\0"])
def test_what_is_no_report_is_one_sentence(folder: Path, text: str) -> None:
    write(folder, text)
    with pytest.raises(Refusal) as caught:
        check_verdict(read_spec(folder))
    assert len(caught.value.problems) == 1


def test_without_a_report_the_remedy_is_named(folder: Path) -> None:
    sentence = "since reload.require_verdict is true, got no such file; run policy-runner evaluate"
    with pytest.raises(Refusal, match=sentence):
        check_verdict(read_spec(folder))


def test_a_file_that_changes_after_the_evaluation_closes_it(folder: Path) -> None:
    write(folder, report(folder))
    spec_file = read_spec(folder)
    path = folder / "policy.yaml"
    path.write_text(path.read_text("utf-8") + "# another comment\n", "utf-8")
    with pytest.raises(Refusal, match=r"file policy\.yaml that was evaluated, got another one"):
        check_verdict(spec_file)
    # Evaluated after it was replaced, but the node has read the old one.
    path.write_text(path.read_text("utf-8").replace("name: toy", "name: other"), "utf-8")
    write(folder, report(folder))
    with pytest.raises(Refusal, match="got a file that has changed since it was read"):
        check_verdict(spec_file)


def test_a_model_that_only_a_server_has_closes_it(folder: Path) -> None:
    given = read_spec(folder)
    tensors = {"inputs": {"obs": {"dtype": "float32", "shape": [1]}},
               "outputs": {"actions": {"dtype": "float32", "shape": [1]}}}  # fmt: skip
    model = given.spec.model.model_validate({"tensors": tensors})
    spec_file = SpecFile(given.spec.model_copy(update={"model": model}), given.path)
    assert list(policy_files(spec_file)) == ["policy.yaml"]
    write(folder, {**report(folder), "policy": {"files": policy_files(spec_file)}})
    with pytest.raises(Refusal, match=r"model\.file: expected a file, which an evaluation can pin"):
        check_verdict(spec_file)


def test_a_server_closes_it_whatever_the_report_says(folder: Path) -> None:
    spec_file, values = read_spec(folder), {GATE: True, "backend": "onnxruntime"}
    write(folder, report(folder))
    assert gate_problems(values, spec_file) == []
    (problem,) = gate_problems({**values, "backend": "remote"}, spec_file)
    assert "parameter backend: expected a backend that runs the evaluated file" in str(problem)
    # An evaluation with a server has not judged the file that is here.
    files = policy_files(spec_file, models=False)
    assert "toy.onnx" in set(policy_files(spec_file)) - set(files)
    write(folder, {**report(folder), "policy": {"files": files}})
    (problem,) = gate_problems(values, spec_file)
    assert "the file toy.onnx that was evaluated, got one that was not evaluated" in str(problem)
