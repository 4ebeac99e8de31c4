"""Sources, contracts and targets that are refused: one or two sentences, and nothing left."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import (
    HERE,
    OBS6,
    Small,
    contract,
    made,
    not_normalized,
    other_checkpoint,
    rsl_rl_checkpoint,
)

from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.open_source import SourceOptions, open_source
from policy_runner.export.sources.trained_policy import (
    Statistics,
    TensorShape,
    TrainedPolicy,
    parse_tensor,
)

OPTIONS = SourceOptions(inputs=OBS6, folder=HERE)


class Evil:
    def __reduce__(self) -> Any:
        return (Path("/tmp/policy_runner_evil").write_text, ("ran",))


def refused(tmp_path: Path, source: Any, given: Any = None, **options: Any) -> str:
    """The refusal of an export; nothing is left at the target, nor next to it."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Refusal) as found:
        export_policy(source, tmp_path / "to" / "policy", given, **options)
    left = [one for one in sorted(tmp_path.rglob("*")) if "to" in one.parts and one.is_file()]
    assert not left
    assert [one for one in before if not one.exists()] == []
    assert len(found.value.problems) <= 2, found.value
    return str(found.value)


def test_a_pickle_where_weights_were_expected(tmp_path: Path) -> None:
    torch.save(Small(), tmp_path / "whole.pt")
    text = refused(tmp_path, tmp_path / "whole.pt", options=SourceOptions(inputs=OBS6))
    assert "expected weights alone, got a pickle with more than weights, which is a program" in text
    assert "--trust-pickle runs it with your rights" in text
    trusted = SourceOptions(inputs=OBS6, trust_pickle=True)
    assert open_source(tmp_path / "whole.pt", trusted).kind == "whole.pt"


def test_an_archive_runs_no_pickle(tmp_path: Path) -> None:
    import base64
    import json

    marker = Path("/tmp/policy_runner_evil")
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(made("sac").source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "data":
                data = json.loads(content)
                evil = base64.b64encode(pickle.dumps(Evil())).decode()
                data["policy_kwargs"] = {":type:": "dict", ":serialized:": evil}
                content = json.dumps(data).encode()
            new.writestr(name, content)
    text = refused(tmp_path, path)
    assert "'policy_kwargs' as a pickle that asks for" in text
    assert not marker.exists()


def test_a_checkpoint_without_its_activation(tmp_path: Path) -> None:
    path = rsl_rl_checkpoint(tmp_path / "model.pt", recurrent=False)
    text = refused(tmp_path, path)
    assert "--activation: expected one of elu" in text
    text = refused(tmp_path, path, options=SourceOptions(activation="elo"))
    assert "did you mean 'elu'?" in text


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    path = rsl_rl_checkpoint(tmp_path / "model.pt", recurrent=False)
    content = torch.load(path, weights_only=True)
    content["actor_state_dict"]["cnn.0.weight"] = torch.zeros(2, 2)
    torch.save(content, path)
    text = refused(tmp_path, path, options=SourceOptions(activation="elu"))
    assert "an MLP, perhaps after an LSTM or a GRU, got also cnn.0.weight" in text


@pytest.mark.parametrize("trainer", ["rl_games", "skrl"])
def test_a_checkpoints_statistics_are_a_normalizer(tmp_path: Path, trainer: str) -> None:
    path = other_checkpoint(tmp_path / "agent.pth", trainer)
    options = SourceOptions(inputs=OBS6, folder=HERE, normalizer=path)
    found = open_source("folders:Small", options).statistics["obs"]
    assert (found.preset, found.count) == (trainer, 1e4)
    assert np.array_equal(found.values["var"], np.linspace(0.25, 4, 6, dtype=np.float32))


def test_statistics_that_were_never_learnt(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", mean=np.zeros(6), var=np.ones(6))
    options = SourceOptions(inputs=OBS6, folder=HERE, normalizer=tmp_path / "s.npz", preset="sb3")
    text = refused(tmp_path, "folders:Small", options=options)
    assert "expected numbers that were learnt, got mean 0 and variance 1 everywhere" in text


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"mean": np.ones(6), "var": np.full(6, 1e-14)}, "of at most 1e-07 everywhere"),
        ({"mean": np.ones(6), "var": np.full(6, 2.0), "std": np.full(6, 3.0)},
         "expected std and var that agree, got a difference of 1.59"),
    ],
)  # fmt: skip
def test_statistics_that_contradict_themselves(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    options = SourceOptions(inputs=OBS6, folder=HERE, normalizer=tmp_path / "s.npz", preset="sb3")
    assert told in refused(tmp_path, "folders:Small", options=options)


class Noisy(Small):
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.net(obs) + 0.1 * torch.randn(1, 2)


class ForOneRow(Small):
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        if obs.shape[0] != 1:
            raise ValueError("one row only")
        return self.net(obs)


def test_a_module_that_checks_its_batch_is_one_sentence(tmp_path: Path) -> None:
    options = SourceOptions(inputs=OBS6)
    text = refused(tmp_path, ForOneRow(), options=options, dynamic_batch=True)
    assert "a batch that the network's code fixes (one row only)" in text


class OneRow(Small):
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.net(obs.view(1, 6))


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (Noisy(), "answers the same twice, got another answer (randn)"),
        (Small().double(), "'net.0.weight': expected float32 parameters, got float64"),
        (OneRow(), "a batch that the network's code fixes (shape '[1, 6]' is invalid"),
    ],
)
def test_a_torchscript_file_names_its_culprit(
    tmp_path: Path, module: torch.nn.Module, told: str
) -> None:
    torch.jit.script(module.eval()).save(str(tmp_path / "policy.pt"))
    options = SourceOptions(inputs=OBS6)
    text = refused(tmp_path, tmp_path / "policy.pt", options=options, dynamic_batch=True)
    assert told in text


def test_eval_of_a_torchscript_file_is_reported(tmp_path: Path) -> None:
    torch.jit.script(Small().train()).save(str(tmp_path / "policy.pt"))
    options = SourceOptions(inputs=OBS6)
    given = contract(observation=not_normalized())
    done = export_policy(tmp_path / "policy.pt", tmp_path / "policy", given, options=options)
    assert any(note.startswith("eval() was set") for note in done.notes)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"activation": "elu", "inputs": OBS6, "folder": HERE},
         "folders:Small: --activation: expected a checkpoint with it, got a torch module"),
        ({"keep_value": True, "inputs": OBS6, "folder": HERE},
         "--keep-value: expected an archive of Stable-Baselines3 with it"),
        ({"preset": "sb3", "inputs": OBS6, "folder": HERE},
         "--preset: expected a --normalizer of .npz, .json or .safetensors with it, got none"),
    ],
)  # fmt: skip
def test_an_option_that_a_source_does_not_take(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    assert told in refused(tmp_path, "folders:Small", options=SourceOptions(**options))


def test_an_archive_takes_no_inputs(tmp_path: Path) -> None:
    text = refused(tmp_path, made("sac").source, options=SourceOptions(inputs=OBS6))
    assert "--input: expected a torch module or a TorchScript file with it" in text


def test_a_constant_dimension_is_a_warning_with_its_name(tmp_path: Path) -> None:
    var = np.full(6, 0.5)
    var[3] = 1e-12
    np.savez(tmp_path / "s.npz", mean=np.full(6, 0.1), var=var)
    options = SourceOptions(inputs=OBS6, folder=HERE, normalizer=tmp_path / "s.npz", preset="skrl")
    done = export_policy("folders:Small", tmp_path / "policy", contract(), options=options)
    assert any("joint_velocity/knee was constant in training" in note for note in done.notes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"observation": [{"tensor": "obss", "terms": [], "normalization": "none"}]},
         "did you mean 'obs'?"),
        ({"observation": [{"tensor": "obs", "terms": [{"term": "last_action"}]}]},
         "--normalizer, or `normalization: none` or `in_model`"),
        ({"observation": not_normalized(), "state": [{"input": "h", "output": "g"}]},
         "state: expected none, got h from g"),
        ({"observation": not_normalized([{"term": "last_action"}])},
         "terms that add up to the 6 elements of 'obs', got 2"),
    ],
)  # fmt: skip
def test_a_contract_that_contradicts(tmp_path: Path, changes: Any, told: str) -> None:
    text = refused(tmp_path, "folders:Small", contract(**changes), options=OPTIONS)
    assert told in text


def test_a_contract_in_another_order_than_the_source(tmp_path: Path) -> None:
    policy = open_source("folders:Small", OPTIONS)
    policy.action_names = {"actions": ["knee", "hip"]}
    text = refused(tmp_path, policy, contract(observation=not_normalized()))
    assert "expected the source's order knee, hip, got hip, knee" in text


def test_two_normalizers(tmp_path: Path) -> None:
    given = Statistics("sb3", {"mean": np.ones(6), "var": np.full(6, 2.0)})
    policy = open_source("folders:Small", OPTIONS)
    policy.statistics, policy.normalized_inside = {"obs": given}, frozenset({"obs"})
    assert "expected one normalizer" in refused(tmp_path, policy)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere:Small", "got No module named 'nowhere'"),
        ("folders:Smal", "did you mean 'Small'?"),
        ("folders:made", "expected a module that can be imported and called, got TypeError"),
        (
            "folders:contract",
            "expected a torch.nn.Module, or a function that",
        ),
        ("missing.zip", "no such file"),
    ],
)
def test_a_source_that_is_none(tmp_path: Path, source: str, told: str) -> None:
    assert told in refused(tmp_path, source, options=OPTIONS)


def test_a_damaged_archive(tmp_path: Path) -> None:
    content = bytearray(made("sac").source.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        at = archive.getinfo("policy.pth").header_offset
    content[at + 60 : at + 400] = bytes(340)
    (tmp_path / "model.zip").write_bytes(content)
    assert "an archive that model.save wrote" in refused(tmp_path, tmp_path / "model.zip")


def test_a_module_without_inputs(tmp_path: Path) -> None:
    text = refused(tmp_path, "folders:Small", options=SourceOptions(folder=HERE))
    assert "such as --input obs=1x48" in text


def test_a_source_that_prints_leaves_stdout_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chatty.py").write_text("print('hello')\nfrom folders import Small\n")
    options = SourceOptions(inputs=OBS6, folder=tmp_path)
    open_source("chatty:Small", options)
    assert capsys.readouterr().out == ""
    sys.modules.pop("chatty")


def test_a_target_that_exists(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "mine").write_text("kept")
    with pytest.raises(Refusal, match="expected no such folder yet, got a folder with files"):
        export_policy("folders:Small", tmp_path / "policy", options=OPTIONS)
    assert (tmp_path / "policy" / "mine").read_text() == "kept"


def test_a_disk_that_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    text = refused(tmp_path, "folders:Small", contract(observation=not_normalized()),
                   options=OPTIONS)  # fmt: skip
    assert "got No space left on device; nothing was left there" in text
    assert not list((tmp_path / "to").iterdir())


def test_without_a_contract_the_rest_is_a_todo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "folders:Small", "-o", str(tmp_path / "policy"), "--input", "obs=1x6"]
    sys.path.insert(0, str(HERE))
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "TODO in policy.yaml" in out
    assert "control_dt: seconds between two inferences" in out
    assert main(["check", str(tmp_path / "policy")]) == 1


@pytest.mark.parametrize("text", ["obs", "obs=", "obs=2x6", "obs=1xa", "obs=1x6:half", "=1x6"])
def test_an_input_that_cannot_be_read(text: str) -> None:
    with pytest.raises(Refusal, match="--input: expected NAME=1xN"):
        parse_tensor(text)


def test_a_policy_by_hand_is_a_source(tmp_path: Path) -> None:
    assert parse_tensor("mask=1x4:bool") == TensorShape("mask", (1, 4), "bool")
    policy = TrainedPolicy("by hand", Small(), OBS6, ["actions"], lambda: None)
    assert open_source(policy) is policy
