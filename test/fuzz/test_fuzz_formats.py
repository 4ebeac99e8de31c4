"""Mutated files of trainers give a draft or a Refusal; no code in them runs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cli_rig import spec as toy_spec
from deployment_files import DEPLOYMENTS
from foreign_files import CSV, DEPLOY, IO, write_processors
from fuzzing import fuzz, json_bytes, mutated_bytes, mutated_tree
from import_rig import facts
from small_models import quadruped

from policy_runner.backends.onnx_file.check import data_files
from policy_runner.backends.onnx_file.graph import (
    first_arithmetic,
    read_graph,
    stateless_recurrence,
)
from policy_runner.backends.onnx_file.wiring import (
    recurrent_pairs,
    suspicious_nodes,
    unread_inputs,
    untouched_inputs,
)
from policy_runner.core.errors import Refusal
from policy_runner.formats.conflicts import mark_conflicts
from policy_runner.formats.detect import draft_model, find_reader, neighbours
from policy_runner.formats.draft import Draft, spec_text
from policy_runner.formats.own.exported import as_metadata

JSON = {
    "joint_names": '["hip", "knee"]', "kp": "[20.0, 40.5]", "kd": "[1, 2]",
    "default_joint_pos_nominal": "[0.1, -0.2]", "action_scale": "0.25",
    "observation_names": '["base_ang_vel", "joint_pos"]',
    "observation_history_lengths": '{"base_ang_vel": 5, "joint_pos": 1}',
}  # fmt: skip
SCALES = {
    **CSV,
    "observation_terms_scale": "1.000,1.000,2.000;2.000;0.500,1.000,0.050,1.000",
    "observation_terms_clip": "-inf;inf,-inf;inf,-1.000;1.000,-inf;inf,-100.000;100.000,-inf;inf",
    "observation_terms_history_length": "3.000,0.000,0.000,0.000,1.000,0.000",
    "observation_terms_flatten_history_dim": "1,1,1,1,0,1",
}
HOLOSOMA = {
    "kp": "[1.0, 2.0]", "kd": "[0.1, 0.2]",
    "robot_urdf": json.dumps('<robot><joint name="a" type="revolute"><x/></joint></robot>'),
}  # fmt: skip
EXPLOY = {
    "exploy_version": "1", "model_source": "x", "sim_dt": "0.005", "decimation": "4",
    "obs": '{"joint_names": ["hip", "knee"]}', "joint_pos_target":
    '{"names": ["hip", "knee"], "stiffness": [1, 2], "damping": [1, 2]}',
}  # fmt: skip
EXPORTED = as_metadata(
    {**toy_spec(), "observation": [
        {**toy_spec()["observation"][0],
         "normalization": {"preset": "sb3", "statistics": "statistics.npz"}}
    ]},
    {"statistics.npz": {"mean": np.zeros(13), "var": np.ones(13)}},
    {"opset": 18},
)  # fmt: skip
RL_SAR: dict[str, Any] = {
    "dt": 0.005, "decimation": 4, "joint_names": ["a", "b"], "joint_mapping": [1, 0],
    "default_dof_pos": [0.1, 0.2], "wheel_indices": [1], "observations": ["ang_vel", "dof_pos"],
    "observations_history": [0, 1, 2], "observations_history_priority": "time", "clip_obs": 100.0,
    "clip_actions_lower": [-1, -1], "clip_actions_upper": [1, 1], "rl_kp": [1, 2], "rl_kd": [1, 2],
    "action_scale": [0.25, 0.5], "ang_vel_scale": 0.25, "dof_pos_scale": 1.0,
}  # fmt: skip


def _written(draft: Draft) -> None:
    text = spec_text(draft)
    assert set(yaml.safe_load(text.encode())) <= set(draft.spec)
    assert draft.unknown is not None


@pytest.mark.parametrize(
    "metadata",
    [CSV, SCALES, JSON, HOLOSOMA, EXPLOY, EXPORTED],
    ids=["csv", "scales", "json", "holosoma", "exploy", "exported"],
)
def test_metadata(tmp_path: Path, metadata: dict[str, str]) -> None:
    outputs = {"joint_pos_target": [1, 2]} if metadata is EXPLOY else None

    def make(rng: random.Random) -> Any:
        if rng.random() < 0.5:
            mutated = mutated_tree(rng, metadata)
            plain = mutated.items() if isinstance(mutated, dict) else ()
            return {str(key): str(value) for key, value in plain}
        given = dict(metadata)
        key = rng.choice(list(given))
        texts = [one.encode() for one in metadata.values()]
        given[key] = mutated_bytes(rng, given[key].encode(), texts).decode("utf-8", "replace")
        return given

    name = f"metadata {min(metadata)} {len(metadata)}"
    read = lambda given: _written(draft_model(facts(given, outputs=outputs)))  # noqa: E731
    read(metadata)
    assert fuzz(name, tmp_path, make, read, Refusal)["read"]


def _rl_sar(content: Any) -> dict[str, Any]:
    plain = content if isinstance(content, dict) else {}
    base = {key: plain[key] for key in plain if key not in ("observations", "clip_obs")}
    return {"base.yaml": {"robot": base}, "config.yaml": {"robot/x": content}}


FOLDERS: dict[str, tuple[Any, Callable[[Any], dict[str, Any]], str]] = {
    "deploy": (DEPLOY, lambda tree: {"deploy.yaml": tree}, "deploy.yaml"),
    "descriptors": (IO, lambda tree: {"IO_descriptors.yaml": tree}, "IO_descriptors.yaml"),
    "rl_sar": (RL_SAR, _rl_sar, "config.yaml"),
    **{
        name: (content, lambda tree: {"policy.yaml": tree}, "policy.yaml")
        for name, content in DEPLOYMENTS.items()
    },
}


# All formats find their folder's file by the same code: three of them are enough.
BY_FOLDER = [(name, True) for name in FOLDERS if name not in DEPLOYMENTS]


@pytest.mark.parametrize(("name", "by_folder"), [*((name, False) for name in FOLDERS), *BY_FOLDER])
def test_yaml_of_trainers(tmp_path: Path, name: str, by_folder: bool) -> None:
    content, files, source = FOLDERS[name]
    folder = tmp_path / "inside"
    folder.mkdir()

    def read(given: dict[str, bytes]) -> None:
        for file, text in given.items():
            (folder / file).write_bytes(text)
        reader, _ = find_reader(folder if by_folder else folder / source)
        model = facts(CSV, inputs={"obs": [1, 12]})
        draft = reader(model)
        _written(draft)
        others, _ = neighbours(folder / source, model)
        for other in others:
            mark_conflicts(draft, other)
        _written(draft)

    def dumped(tree: Any) -> dict[str, bytes]:
        return {
            file: yaml.dump(one, allow_unicode=True).encode("utf-8", "surrogatepass")
            for file, one in files(tree).items()
        }

    def make(rng: random.Random) -> dict[str, bytes]:
        if rng.random() < 0.7:
            return dumped(mutated_tree(rng, content))
        whole = dumped(content)
        return {
            file: mutated_bytes(rng, text, list(whole.values())) for file, text in whole.items()
        }

    read(dumped(content))
    found = fuzz(f"{name} {by_folder}", tmp_path, make, read, Refusal)
    assert found["read"]


def test_lerobot_processors(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    write_processors(folder)
    names = ("policy_preprocessor.json", "policy_postprocessor.json")
    trees = [json.loads((folder / name).read_bytes()) for name in names]
    trees[0]["steps"].append({"registry_name": "relative_actions_processor", "config": {
        "enabled": True, "exclude_joints": ["b"], "action_names": ["a", "b"],
    }})  # fmt: skip
    trees += [
        {"type": "pi0", "chunk_size": 5, "n_action_steps": 4, "n_obs_steps": 1, "num_steps": 10,
         "rtc_config": {"enabled": True, "prefix_attention_schedule": "EXP"},
         "temporal_ensemble_coeff": 0.01, "rtc_training_max_delay": 0, "horizon": 5},
        {"env": {"fps": 30}},
    ]  # fmt: skip
    names += ("config.json", "train_config.json")
    shapes = {"state": [1, 4], "x_t": [1, 5, 2], "time": [1], "image": [1, 3, 4, 4]}
    model = facts(inputs=shapes, outputs={"action": [1, 5, 2]})

    def read(given: list[bytes]) -> None:
        for name, content in zip(names, given, strict=True):
            (folder / name).write_bytes(content)
        reader, _ = find_reader(folder)
        _written(reader(model))

    def make(rng: random.Random) -> list[bytes]:
        if rng.random() < 0.8:
            return [json_bytes(mutated_tree(rng, tree)) for tree in trees]
        whole = [json_bytes(tree) for tree in trees]
        return [mutated_bytes(rng, one, whole) for one in whole]

    read([json_bytes(tree) for tree in trees])
    assert fuzz("lerobot", tmp_path, make, read, Refusal)["read"]


def test_lerobot_statistics(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    tree = {"observation.state": {"mean": [0.0] * 4, "std": [1.0] * 4}, "action": {"mean": [0, 0]}}
    model = facts(inputs={"state": [1, 4]}, outputs={"action": [1, 2]})

    def read(content: bytes) -> None:
        path.write_bytes(content)
        reader, _ = find_reader(path)
        _written(reader(model))

    def make(rng: random.Random) -> bytes:
        return json_bytes(mutated_tree(rng, tree))

    assert fuzz("lerobot stats", tmp_path, make, read, Refusal)["read"]


def test_onnx_graphs(tmp_path: Path) -> None:
    whole = quadruped(tmp_path).read_bytes()
    small = whole[:200] + whole[-400:]
    path = tmp_path / "mutated.onnx"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        graph = read_graph(path)
        stateless_recurrence(graph)
        first_arithmetic(graph)
        recurrent_pairs(graph)
        suspicious_nodes(graph)
        unread_inputs(graph)
        untouched_inputs(graph)
        data_files(path)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.1:
            return b"\x3a" + b"\xff" * rng.choice((3, 300, 300_000))
        return mutated_bytes(rng, rng.choice((whole, small)), [whole])

    read(whole)
    assert fuzz("onnx graph", tmp_path, make, read, Refusal)["read"]
