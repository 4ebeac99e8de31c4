"""Faults planted into good folders: `verify` finds each, and says where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from folders import OBS6, Small, contract, made, not_normalized
from onnx import helper, numpy_helper

from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.sb3_archive import read_archive
from policy_runner.export.verify.rows import FAILED, Verification
from policy_runner.export.verify.verify_policy import verify_policy


def copy_of(kind: str, tmp_path: Path) -> Path:
    shutil.copytree(made(kind).folder, tmp_path / "policy")
    return tmp_path / "policy"


def change_model(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the model, and write its new checksum into policy.yaml, as a new export would."""
    path = folder / "policy.onnx"
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    change_spec(folder, lambda spec: spec["model"].pop("sha256"))


def change_spec(folder: Path, change: Callable[[Any], Any]) -> None:
    path = folder / "policy.yaml"
    spec = yaml.safe_load(path.read_text())
    change(spec)
    path.write_text(yaml.safe_dump(spec, sort_keys=False))


def failed(kind: str, folder: Path) -> dict[str, str]:
    """Name and text of every failed row."""
    one = made(kind)
    found: Verification = verify_policy(folder, one.source, options=one.options)
    assert not found.passed
    return {row.name: row.text for row in found.rows if row.outcome == FAILED}


def initializer(model: Any, shape: tuple[int, ...]) -> Any:
    return next(one for one in model.graph.initializer if tuple(one.dims) == shape)


def test_a_wrong_gru_attribute(tmp_path: Path) -> None:
    folder = copy_of("gru", tmp_path)

    def change(model: Any) -> None:
        node = next(one for one in model.graph.node if one.op_type == "GRU")
        next(a for a in node.attribute if a.name == "linear_before_reset").i = 0

    change_model(folder, change)
    assert "60 steps, 1 sigma" in failed("gru", folder)


def test_swapped_gates(tmp_path: Path) -> None:
    folder = copy_of("gru", tmp_path)

    def change(model: Any) -> None:
        node = next(one for one in model.graph.node if one.op_type == "GRU")
        for name in node.input[1:3]:
            stored = next((i for i in model.graph.initializer if i.name == name), None)
            assert stored is not None
            values = numpy_helper.to_array(stored).copy()
            values[:, :32] = np.roll(values[:, :32], 16, axis=1)
            stored.CopyFrom(numpy_helper.from_array(values, name))

    change_model(folder, change)
    assert "60 steps, 1 sigma" in failed("gru", folder)


def test_a_state_that_the_folder_forgets(tmp_path: Path) -> None:
    """Single observations agree; only a sequence shows it, and the folder has no state."""
    folder = copy_of("gru", tmp_path)

    def forget(spec: Any) -> None:
        state = spec.pop("state")[0]
        spec["observation"].append({"tensor": state["input"], "constant": [0.0] * 16})
        spec["ignored_outputs"] = [state["output"]]

    change_model(folder, lambda model: model.ClearField("metadata_props"))
    change_spec(folder, forget)
    found = failed("gru", folder)
    assert "60 steps, 1 sigma" in found
    assert "random, 1 sigma" not in found


def test_a_missing_normalizer(tmp_path: Path) -> None:
    folder = copy_of("ppo", tmp_path)
    change_spec(folder, lambda spec: spec["observation"][0].update(normalization="none"))
    found = failed("ppo", folder)
    assert "random, 1 sigma" in found
    assert "observation[0].normalization: none for" in found["policy.yaml is the model's contract"]


def test_a_normalizer_applied_twice(tmp_path: Path) -> None:
    folder = copy_of("ppo in graph", tmp_path)
    shutil.copy(made("ppo").folder / "statistics.npz", folder)
    given = {"preset": "sb3", "statistics": "statistics.npz"}
    change_spec(folder, lambda spec: spec["observation"][0].update(normalization=given))
    assert "random, 1 sigma" in failed("ppo in graph", folder)


def test_changed_statistics(tmp_path: Path) -> None:
    """With three decimals, as some exporters write them."""
    folder = copy_of("ppo", tmp_path)
    with np.load(folder / "statistics.npz") as stored:
        rounded = {name: np.round(stored[name], 3) for name in stored.files}
    np.savez(folder / "statistics.npz", **rounded)
    change_spec(folder, lambda spec: spec["observation"][0]["normalization"].pop("sha256"))
    found = failed("ppo", folder)
    assert "statistics.npz: mean differs, by" in found["statistics are those of the model"]
    assert "random, 1 sigma" in found


def test_permuted_joints(tmp_path: Path) -> None:
    folder = copy_of("sac", tmp_path)
    change_spec(folder, lambda spec: spec["action"][0]["groups"][0]["joints"].reverse())
    found = failed("sac", folder)
    assert found == {
        "policy.yaml is the model's contract": "action[0].groups[0].joints[0]: knee for hip"
    }


def test_permuted_outputs(tmp_path: Path) -> None:
    """In the weights of the last layer: only numbers can show it."""
    folder = copy_of("module", tmp_path)

    def change(model: Any) -> None:
        for stored in model.graph.initializer:
            values = numpy_helper.to_array(stored)
            if 2 in values.shape and values.dtype == np.float32:
                axis = values.shape.index(2)
                flipped = np.flip(values, axis).copy()
                stored.CopyFrom(numpy_helper.from_array(flipped, stored.name))

    change_model(folder, change)
    assert "random, 1 sigma" in failed("module", folder)


def test_a_raised_opset(tmp_path: Path) -> None:
    folder = copy_of("module", tmp_path)

    def change(model: Any) -> None:
        model.opset_import[0].version = 20

    change_model(folder, change)
    assert failed("module", folder) == {"opset and IR": "opset 20 for 18, which was exported"}


def test_lost_external_data(tmp_path: Path) -> None:
    folder = copy_of("module", tmp_path)
    model = onnx.load(folder / "policy.onnx")
    onnx.save(model, folder / "policy.onnx", save_as_external_data=True, location="policy.data",
              size_threshold=0)  # fmt: skip
    change_spec(folder, lambda spec: spec["model"].pop("sha256"))
    (folder / "policy.data").unlink()
    with pytest.raises(Refusal, match=r"the file 'policy\.data' next to it, got no such file"):
        verify_policy(folder, made("module").source, options=made("module").options)


def test_a_baked_batch(tmp_path: Path) -> None:
    folder = copy_of("module", tmp_path)

    def change(model: Any) -> None:
        shape = helper.make_tensor("one_row", onnx.TensorProto.INT64, [2], [1, 6])
        model.graph.initializer.append(shape)
        for node in model.graph.node:
            node.input[:] = ["row" if name == "obs" else name for name in node.input]
        model.graph.node.insert(0, helper.make_node("Reshape", ["obs", "one_row"], ["row"]))
        del model.graph.value_info[:]

    change_model(folder, change)
    assert "a batch of 3" in failed("module", folder)["batch"]


def test_frozen_noise(tmp_path: Path) -> None:
    folder = copy_of("sac", tmp_path)

    def change(model: Any) -> None:
        noise = np.random.default_rng(1).normal(0, 0.01, (1, 2)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(noise, "noise"))
        last = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["quiet" if name == last else name for name in node.output]
        model.graph.node.append(helper.make_node("Add", ["quiet", "noise"], [last]))

    change_model(folder, change)
    assert "random, 1 sigma" in failed("sac", folder)


def test_noise_that_is_drawn(tmp_path: Path) -> None:
    folder = copy_of("sac", tmp_path)

    def change(model: Any) -> None:
        last = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["quiet" if name == last else name for name in node.output]
        drawn = helper.make_node("RandomNormalLike", ["quiet"], ["noise"], name="drawn")
        model.graph.node.extend([drawn, helper.make_node("Add", ["quiet", "noise"], [last])])

    change_model(folder, change)
    found = failed("sac", folder)
    assert found["no random operator"] == "RandomNormalLike 'drawn'"
    assert "the folder answers the same twice" in found


def test_sac_not_unscaled(tmp_path: Path) -> None:
    """The squashed action in [-1, 1], exported as if it were the environment's."""
    import torch

    one = made("sac")
    policy = one.exported.policy

    class Squashed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor = policy.module.policy.actor

        def forward(self, obs: Any) -> Any:
            return self.actor(obs, deterministic=True)

    from policy_runner.export.sources.open_source import SourceOptions

    given = contract(observation=not_normalized())
    export_policy(Squashed().eval(), tmp_path / "policy", given, options=SourceOptions(inputs=OBS6))
    assert "random, 1 sigma" in failed("sac", tmp_path / "policy")
    assert read_archive(one.source).action_space.shape == (2,)


def test_another_network_of_the_same_shape(tmp_path: Path) -> None:
    other = Small()
    other.net[0].weight.data += 1e-3
    found = verify_policy(made("module").folder, other, options=made("module").options)
    assert not found.passed


def test_the_command_says_it_and_writes_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, source = copy_of("sac", tmp_path), str(made("sac").source)
    assert main(["verify", str(folder), "--against", source]) == 0
    assert "passed" in capsys.readouterr().out
    assert "Verdict: passed." in (folder / "README.md").read_text()
    change_spec(folder, lambda spec: spec["action"][0]["groups"][0].update(clip_raw=[-0.5, 0.5]))
    assert main(["verify", str(folder), "--against", source, "--json"]) == 1
    assert '"verdict": "failed"' in capsys.readouterr().out
    assert "Verdict: failed." in (folder / "README.md").read_text()
