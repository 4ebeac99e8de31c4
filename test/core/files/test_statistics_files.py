"""Statistics files: the valid formats are read, every bad file is refused with its sentence."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import make_rig, refused, spec_content, write_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.core.errors import Refusal
from policy_runner.core.files.arrays import read_statistics

GOOD = {"mean": np.array([1.0, 2.0]), "var": np.array([4.0, 9.0])}
REMEDY = "export the file again"


def _npz(folder: Path, compressed: bool = False, **arrays: Any) -> Path:
    path = folder / "statistics.npz"
    contents: dict[str, Any] = arrays or GOOD
    if compressed:
        np.savez_compressed(path, **contents)
    else:
        np.savez(path, **contents)
    return path


def test_npz_and_json_say_the_same(tmp_path: Path) -> None:
    npz = read_statistics(
        _npz(tmp_path, mean=GOOD["mean"].astype(np.float32)[None], var=GOOD["var"])
    )
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps({"mean": [1, 2.0], "var": [4.0, 9]}))
    from_json = read_statistics(path)
    for read in (npz, from_json):
        assert {k: (v.dtype, v.shape, v.tolist()) for k, v in read.items()} == {
            "mean": (np.float64, (2,), [1.0, 2.0]),
            "var": (np.float64, (2,), [4.0, 9.0]),
        }


def test_sha256(tmp_path: Path) -> None:
    path = _npz(tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(read_statistics(path, right)) == {"mean", "var"}
    assert refused(read_statistics, path, "0" * 64) == [
        f"{path}: sha256: expected {'0' * 64}, got {right}; the file is not the one the spec names"
    ]


def test_no_file_no_format(tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    assert refused(read_statistics, path) == [
        f"{path}: expected a statistics file (.npz, .json or .safetensors), got no such file"
    ]
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(pickle.dumps({"mean": [0]}))
    assert refused(read_statistics, path) == [
        f"{path}: expected a file ending in .npz, .json or .safetensors, got '.pkl'"
    ]


def _one(sentences: list[str], path: Path, part: str, remedy: str = f"; {REMEDY}") -> None:
    (sentence,) = sentences
    assert sentence.startswith(
        f"{path}: expected an .npz of plain arrays (no pickled objects), got "
    )
    assert part in sentence
    assert sentence.endswith(remedy)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    path.write_bytes(pickle.dumps(_Bomb()))
    _one(refused(read_statistics, path), path, "a file that is not an .npz")
    np.savez(path, mean=np.array([_Bomb()], dtype=object))
    _one(refused(read_statistics, path), path, "running a pickle")
    assert not _Bomb.gone_off


class _Bomb:
    gone_off = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (_Bomb, "gone_off", True)


def test_damaged_npz(tmp_path: Path) -> None:
    path = _npz(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(b"")
    _one(refused(read_statistics, path), path, "an empty file")
    path.write_bytes(whole[: len(whole) // 2])
    _one(refused(read_statistics, path), path, "File is not a zip file")
    with path.open("wb") as file:
        np.save(file, GOOD["mean"])
    _one(refused(read_statistics, path), path, "a file that is not an .npz")


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 600), value=st.integers(0, 255), compressed=st.booleans())
def test_any_flipped_byte_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, compressed: bool
) -> None:
    path = _npz(tmp_path_factory.getbasetemp(), compressed)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(bytes(content))
    with contextlib.suppress(Refusal):
        assert all(a.dtype == np.float64 for a in read_statistics(path).values())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected a JSON object of lists of numbers, got Expecting value"),
        ("[1, 2]", "expected a JSON object of lists of numbers, got list"),
        ('{"mean": [1, 2', "expected a JSON object of lists of numbers, got"),
        ('{"mean": ["x"]}', "mean: expected numbers, got could not convert string to float: 'x'"),
        ('{"mean": {"a": 1}}', "expected lists of numbers, or the key `group`"),
        ('{"mean": [[1], [1, 2]]}', "mean: expected numbers, got"),
        ('{"mean": [1' + "0" * 400 + "]}", "mean: expected numbers, got int too large"),
        ("[" * 100000, "expected a JSON object of lists of numbers, got"),
    ],
)
def test_bad_json(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "statistics.json"
    path.write_text(text)
    (sentence,) = refused(read_statistics, path)
    assert sentence.startswith(f"{path}: {part}")
    path.write_bytes(b"\xff\xfe")
    assert len(refused(read_statistics, path)) == 1


def _rig_with(folder: Path, **normalization: object) -> object:
    content = spec_content()
    content["observation"][0]["normalization"] = {
        "preset": "sb3",
        "statistics": "statistics.npz",
        **normalization,
    }
    return make_rig(folder, content)


ARRAYS: dict[str, tuple[dict[str, list[float]], list[str]]] = {
    "too short": (
        {"mean": [0.0], "var": [1, 1]},
        ["mean: expected 2 numbers, one per element of the observation, got 1"],
    ),
    "both too long": (
        {"mean": [0, 0, 0], "var": [1, 1, 1]},
        [
            "mean: expected 2 numbers, one per element of the observation, got 3",
            "var: expected 2 numbers, one per element of the observation, got 3",
        ],
    ),
    "NaN": (
        {"mean": [0, np.nan], "var": [np.inf, 1]},
        [
            "mean[1]: expected a finite number, got nan",
            "var[0]: expected a finite number, got inf",
        ],
    ),
    "negative": ({"mean": [0, 0], "var": [1, -1]}, ["var[1]: expected 0 or more, got -1.0"]),
    "negative std": ({"mean": [0, 0], "std": [1, -1]}, ["std[1]: expected 0 or more, got -1.0"]),
    "std too short": (
        {"mean": [0, 0], "std": [1]},
        ["std: expected 2 numbers, one per element of the observation, got 1"],
    ),
    "no mean": ({"var": [1, 1]}, ["mean: expected this statistic, got only var"]),
    "other names": (
        {"running_mean": [0, 0], "running_var": [1, 1]},
        [
            "mean: expected this statistic, got only running_mean, running_var",
            "var: expected this statistic, got only running_mean, running_var",
        ],
    ),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_fit(tmp_path: Path, case: str) -> None:
    arrays, sentences = ARRAYS[case]
    contents: dict[str, Any] = {k: np.array(v, dtype=np.float64) for k, v in arrays.items()}
    path = _npz(tmp_path, **contents)
    assert refused(_rig_with, tmp_path) == [f"{path}: {sentence}" for sentence in sentences]


def test_names_of_the_file_are_followed(tmp_path: Path) -> None:
    path = _npz(tmp_path, running_mean=GOOD["mean"], running_var=GOOD["var"])
    _rig_with(tmp_path, keys={"mean": "running_mean", "var": "running_var"})
    # A stated name is not replaced by a guess.
    keys = {"mean": "running_mean", "var": "variance", "std": "running_var"}
    assert refused(_rig_with, tmp_path, keys=keys) == [
        f"{path}: variance: expected this statistic, got only running_mean, running_var"
    ]


def test_zero_spread_without_eps(tmp_path: Path) -> None:
    path = _npz(tmp_path, mean=np.zeros(2), var=np.array([1.0, 0.0]))
    _rig_with(tmp_path)
    assert refused(_rig_with, tmp_path, eps=0.0) == [
        f"{path}: var[1]: expected a spread above 0 (eps is 0), got 0"
    ]


def test_statistics_outside_the_folder(tmp_path: Path) -> None:
    assert refused(_rig_with, tmp_path, statistics="../statistics.npz") == [
        f"{tmp_path / 'policy.yaml'}: observation[0].normalization.statistics: expected a file "
        "inside the spec's folder, got ../statistics.npz"
    ]


def test_inline_statistics_name_the_key_of_the_spec(tmp_path: Path) -> None:
    inline = {"mean": [0.0], "var": [1.0, 1.0]}
    assert refused(_rig_with, tmp_path, statistics=inline) == [
        f"{tmp_path / 'policy.yaml'}: observation[0].normalization.statistics: mean: "
        "expected 2 numbers, one per element of the observation, got 1"
    ]


def test_formula_must_be_said(tmp_path: Path) -> None:
    content = spec_content()
    inline = {"mean": [0.0, 0.0], "var": [1.0, 1.0]}
    content["observation"][0]["normalization"] = {"statistics": inline, "eps": 0.1}
    path = write_spec(tmp_path, content)
    assert refused(make_rig, tmp_path, content) == [
        f"{path}: observation[0].normalization: expected `preset`, or all of formula, eps, "
        "eps_in_sqrt, got no formula, eps_in_sqrt"
    ]


def test_clip_upside_down(tmp_path: Path) -> None:
    _npz(tmp_path)
    assert refused(_rig_with, tmp_path, clip=[5.0, -5.0]) == [
        f"{tmp_path / 'policy.yaml'}: observation[0].normalization.clip[0]: expected low at most "
        "high, got [5.0, -5.0]"
    ]
