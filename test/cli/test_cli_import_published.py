"""Published policies, imported from their own files, give their trainers' numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from published_policies import MISSING, POLICIES, filled, imported, signals, tensor_spec, write_spec

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(not POLICIES.is_dir(), reason=MISSING)
SIGNALS = ("b2w-lstm", "g1-mjlab-velocity-extdata", "g1-velocity-hist5", "go2w-robotlab",
           "lite3-ppo")  # fmt: skip
PLAIN = [
    "control_dt", "joint_names", "inputs", "observation[0].terms", "observation[0].normalization",
    "action[0].groups[0].kind", "action[0].groups[0].scale", "action[0].groups[0].offset",
    "last_action",
]  # fmt: skip
UNKNOWN: dict[tuple[str, str], list[str]] = {
    ("go2w-robotlab", ""): [],
    ("g1-velocity-hist5", ""): ["joint_names"],
    ("g1-mjlab-velocity-extdata", ""): ["joint_names"],
    ("lerobot-g1-mjlab-motion", ""): [
        "control_dt",
        "motions.reference.file",  # the reference motion is in another file
        "motions.reference.end",
        "observation[0].terms[0].scale",
        "observation[0].terms[1].align",
        *(f"observation[0].terms[{k}].scale" for k in range(1, 6)),
        "action[0].groups[0].relative_to",
    ],
    ("synthetic-act-chunk", ""): [
        "control_dt", "joint_names", "inputs", "observation[0].terms",
        "observation[0].normalization.preset", "action[0].groups[0].kind", "last_action",
        "chunk.dt",
    ],
    ("b2w-lstm", ""): PLAIN,
    ("lite3-ppo", ""): PLAIN,
    ("derived-lite3-fp16", "policy_fp16_io16.onnx"): PLAIN,
    ("derived-lite3-fp16", "policy_fp16_io32.onnx"): PLAIN,
    # The graph itself shows the normalizer of these two.
    ("rav4-cruise-cra", ""): [key for key in PLAIN if not key.endswith("normalization")],
}  # fmt: skip


def _replay(folder: Path, given: Path, *options: str) -> int:
    return main(["replay", str(folder), str(given), *options])


@pytest.mark.parametrize(("folder", "model"), UNKNOWN, ids=lambda value: value or "-")
def test_check_names_exactly_what_a_folder_does_not_say(
    folder: str, model: str, tmp_path: Path, capsys: Any
) -> None:
    imported(folder, tmp_path, model)
    status = main(["check", str(tmp_path)])
    said = capsys.readouterr()
    refused = [line.split(": ")[2] for line in said.err.splitlines()]
    assert refused == UNKNOWN[folder, model]
    assert status == (1 if refused else 0)
    listed = [line.split() for line in said.out.splitlines() if "TODO" in line]
    assert [words[1].rstrip(":") for words in listed if words[0] == "TODO"] == refused


def test_a_pointer_in_place_of_a_model_is_refused_by_name_and_size(
    tmp_path: Path, capsys: Any
) -> None:
    folder = POLICIES / "lfs-pointer-gnm"
    assert main(["import", str(folder), "-o", str(tmp_path / "new")]) == 1
    said = capsys.readouterr().err
    assert "Git LFS pointer" in said
    assert "34625735" in said
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("folder", SIGNALS)
def test_an_imported_policy_meets_its_signals(folder: str, tmp_path: Path) -> None:
    filled(folder, tmp_path)
    assert main(["check", str(tmp_path)]) == 0
    given = str(signals(folder))
    out = tmp_path / "out.npz"
    assert _replay(tmp_path, Path(given), "--reference", given, "-o", str(out)) == 0
    with np.load(out) as found, np.load(given) as wanted:
        assert found["inferred"].all()
        assert found["raw"].shape == wanted["expected_raw_action"].shape


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, tuple[str, Change]] = {
    "one scale": ("g1-velocity-hist5", lambda s: _terms(s)[0].update(scale=0.22)),
    "one joint pair": ("g1-velocity-hist5", lambda s: _swap(s["joint_names"], 3, 4)),
    "history order": (
        "g1-velocity-hist5", lambda s: s["observation"][0]["history"].update(order="newest_first")
    ),
    "history stack": (
        "g1-velocity-hist5", lambda s: s["observation"][0]["history"].update(stack="frame")
    ),
    "history fill": (
        "g1-velocity-hist5", lambda s: s["observation"][0]["history"].update(fill="zeros")
    ),
    "trained range": ("g1-mjlab-velocity-extdata", lambda s: _terms(s)[2].pop("range")),
    "one offset": ("lite3-ppo", lambda s: s["default_joint_pos"].__setitem__(1, -0.64)),
    "state dropped": ("b2w-lstm", lambda s: _drop_state(s)),
    "wrap": ("b2w-lstm", lambda s: _terms(s)[4].update(wrap=2 * np.pi)),
    "wheels seen": ("go2w-robotlab", lambda s: _terms(s)[3].pop("scale")),
    "wheel scale": (
        "go2w-robotlab", lambda s: s["action"][0]["groups"][1].update(scale=4.99)
    ),
}  # fmt: skip


def _terms(spec: dict[str, Any]) -> list[dict[str, Any]]:
    terms: list[dict[str, Any]] = spec["observation"][0]["terms"]
    return terms


def _swap(names: list[str], one: int, other: int) -> None:
    names[one], names[other] = names[other], names[one]


def _drop_state(spec: dict[str, Any]) -> None:
    spec["observation"] += [{"tensor": one["input"], "constant": 0.0} for one in spec["state"]]
    spec["ignored_outputs"] = [one["output"] for one in spec.pop("state")]


@pytest.mark.parametrize("change", CHANGES)
def test_one_wrong_setting_fails_the_signals(change: str, tmp_path: Path, capsys: Any) -> None:
    folder, alter = CHANGES[change]
    spec = yaml.safe_load(yaml.safe_dump(filled(folder, tmp_path)))
    alter(spec)
    write_spec(spec, tmp_path)
    given = signals(folder)
    assert _replay(tmp_path, given, "--reference", str(given)) == 1
    assert "FAIL" in capsys.readouterr().out  # it ran and gave wrong numbers


GOLDENS = sorted(POLICIES.glob("*/golden_*.npz")) if POLICIES.is_dir() else []


def _model(golden: Path) -> Path:
    stem = golden.stem.removeprefix("golden_")
    model = golden.parent / f"{stem}.onnx"
    return model if model.is_file() else next(golden.parent.glob("*.onnx"))


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_tensors_in_give_tensors_out(golden: Path, tmp_path: Path) -> None:
    tensor_spec(_model(golden), tmp_path)
    options = ["--reference", str(golden), "--atol", "1e-5", "--rtol", "1e-5"]
    assert _replay(tmp_path, golden, *options) == 0


def test_the_half_precision_model_is_near_the_full_one(tmp_path: Path) -> None:
    """Run every observation through both models: equal within 2e-3 of the largest action."""
    with np.load(signals("lite3-ppo")) as stored:
        observation = stored["expected_observation"]
    given = tmp_path / "given.npz"
    np.savez(given, tensor_=0, **{"tensor/obs": observation})  # type: ignore[arg-type]
    models = [POLICIES / "lite3-ppo" / "policy.onnx",
              *(POLICIES / "derived-lite3-fp16").glob("*.onnx")]  # fmt: skip
    raws = []
    for k, model in enumerate(models):
        tensor_spec(model, tmp_path / str(k))
        out = tmp_path / f"{k}.npz"
        assert _replay(tmp_path / str(k), given, "-o", str(out)) == 0
        with np.load(out) as found:
            raws.append(found["raw"])
    assert len(raws) == 3
    for raw in raws[1:]:
        difference = np.abs(raw - raws[0]).max()
        assert 0 < difference < 2e-3 * np.abs(raws[0]).max()


def test_the_cruise_controller_gives_its_authors_three_numbers(tmp_path: Path) -> None:
    tensor_spec(POLICIES / "rav4-cruise-cra" / "model.onnx", tmp_path)
    given, wanted = tmp_path / "given.npz", tmp_path / "wanted.npz"
    np.savez(given, in__input=np.array([[5, 5, 20], [30, 10, 50], [5, 20, 30]], np.float32))
    np.savez(wanted, output=np.array([[0.0077], [-2.1154], [1.5]]))
    assert _replay(tmp_path, given, "--reference", str(wanted), "--atol", "5e-5") == 0
    np.savez(wanted, output=np.array([[0.0077], [-2.1155], [1.5]]))
    assert _replay(tmp_path, given, "--reference", str(wanted), "--atol", "4e-5") == 1


def test_a_state_that_is_given_is_used_and_then_carried(tmp_path: Path) -> None:
    """Replaying the sequence without its state gives other numbers, as its file says."""
    sequence = POLICIES / "b2w-lstm" / "golden_sequence20.npz"
    tensor_spec(_model(sequence), tmp_path)
    with np.load(sequence) as stored:
        zeros = np.zeros((20, 1, 1, 256), np.float32)
        given = tmp_path / "given.npz"
        np.savez(given, obs=stored["obs"], h_in=zeros, c_in=zeros)
        dropped, kept = tmp_path / "dropped.npz", tmp_path / "kept.npz"
        np.savez(dropped, actions=stored["actions_if_state_is_dropped"])
        np.savez(kept, actions=stored["actions"])
    options = ["--atol", "1e-5"]
    assert _replay(tmp_path, given, "--reference", str(dropped), *options) == 0
    assert _replay(tmp_path, given, "--reference", str(kept), *options) == 1


def test_what_is_imported_is_not_written_over(tmp_path: Path) -> None:
    imported("go2w-robotlab", tmp_path)
    before = (tmp_path / "policy.yaml").read_bytes()
    assert main(["import", str(POLICIES / "lite3-ppo"), "-o", str(tmp_path)]) == 1
    assert (tmp_path / "policy.yaml").read_bytes() == before
