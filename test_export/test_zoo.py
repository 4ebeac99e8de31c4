"""Good networks export without alarm and prove their numbers; broken ones name their culprit."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from zoo import BROKEN, GOOD, Broken, Good, as_policy, seeded
from zoo_further import FURTHER_BROKEN, FURTHER_GOOD
from zoo_hidden import HIDDEN_BROKEN, HIDDEN_GOOD

from policy_runner.core.errors import Refusal
from policy_runner.export.graph.network_export import export_network
from policy_runner.export.graph.onnx_checks import dimensions, opset_of
from policy_runner.export.sources.trained_policy import TrainedPolicy

EVERY_GOOD = (*GOOD, *FURTHER_GOOD, *HIDDEN_GOOD)
NOTED = {"writing", "cached", "double inside", "constant double", "times zero"}
EVERY_BROKEN = {**BROKEN, **FURTHER_BROKEN, **HIDDEN_BROKEN}


@pytest.fixture(scope="module", params=EVERY_GOOD, ids=[one.name for one in EVERY_GOOD])
def exported(request: pytest.FixtureRequest) -> tuple[Good, Any]:
    good: Good = request.param
    model, notes = export_network(as_policy(good), dynamic=good.dynamic)
    further = [note for note in notes if not note.startswith("eval() was set")]
    assert bool(further) == (good.name in NOTED), further
    return good, model


def test_a_good_network_is_one_plain_file(exported: tuple[Good, Any]) -> None:
    good, model = exported
    assert (opset_of(model), model.ir_version) == (18, 8)
    arguments = [*good.inputs, *(state.input for state in good.states)]
    assert [one.name for one in model.graph.input] == [one.name for one in arguments]
    wanted = [*good.outputs, *(state.output for state in good.states)]
    assert [one.name for one in model.graph.output] == wanted
    for value in (*model.graph.input, *model.graph.output):
        free = [one for one in dimensions(value) if isinstance(one, str)]
        assert free == (["batch"] if good.dynamic else []), value.name
    content = model.SerializeToString()
    for trace in (b"zoo.py", b"def forward", b"/home", b"/tmp", b"stack_trace", b"site-packages"):
        assert trace not in content
    assert all(not one.external_data for one in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", EVERY_BROKEN)
def test_a_broken_network_is_refused_with_its_culprit(name: str) -> None:
    broken: Broken = EVERY_BROKEN[name]
    policy = TrainedPolicy(name, seeded(broken.make), broken.inputs, ["actions"], lambda: None)
    with pytest.raises(Refusal) as refused:
        export_network(policy, broken.opset, broken.dynamic)
    text = str(refused.value)
    for part in broken.culprit:
        assert part in text
    assert len(refused.value.problems) <= 2, text


def test_the_same_network_gives_the_same_bytes() -> None:
    first, second = (export_network(as_policy(GOOD[0]))[0] for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_eval_is_set_and_reported() -> None:
    policy = as_policy(GOOD[14])
    policy.module.train()
    _, notes = export_network(policy)
    assert any("eval() was set" in note for note in notes)
    assert not policy.module.training


@pytest.mark.parametrize("name", ["double inside", "constant double"])
def test_double_inside_is_a_note(name: str) -> None:
    _, notes = export_network(as_policy(next(one for one in EVERY_GOOD if one.name == name)))
    assert any("computes in float64 inside" in note for note in notes)


def test_an_input_without_effect_is_a_note() -> None:
    _, notes = export_network(as_policy(HIDDEN_GOOD[0]))
    assert "no output changed with input 'goal' in 2 tries" in notes
    assert not any("input 'obs'" in note for note in notes)


def test_what_is_only_written_is_a_note() -> None:
    _, notes = export_network(as_policy(next(one for one in GOOD if one.name == "writing")))
    assert any("'last' is written in each call; the answers did not" in note for note in notes)
