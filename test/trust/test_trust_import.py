"""An import writes only to its output folder, for any source."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from policy_runner.cli.import_policy import write
from policy_runner.core.errors import Refusal
from policy_runner.core.model import ModelFacts
from policy_runner.formats.draft import Draft, spec_text


def _draft(folder: Path, statistics: str) -> tuple[Draft, ModelFacts]:
    source = folder / "a" / "b"
    source.mkdir(parents=True)
    (source / "policy.onnx").write_bytes(b"")
    (source / "s.npz").write_bytes(b"inside")
    (folder / "a" / "evil.npz").write_bytes(b"outside")
    spec = {"observation": [{"normalization": {"statistics": statistics}}]}
    draft = Draft("some", [source / "pre.json"], spec)
    return draft, ModelFacts(source / "policy.onnx", "0" * 64, (), ())


@pytest.mark.parametrize("absolute", [False, True])
def test_statistics_from_elsewhere_are_not_copied(tmp_path: Path, absolute: bool) -> None:
    name = str(tmp_path / "a" / "evil.npz") if absolute else "../evil.npz"
    draft, model = _draft(tmp_path, name)
    output = tmp_path / "out" / "policy"
    with pytest.raises(Refusal, match="a file inside the spec's folder"):
        write(draft, model, output)
    assert not list(tmp_path.glob("out/**/*.npz"))


def test_statistics_beside_the_source_are(tmp_path: Path) -> None:
    draft, model = _draft(tmp_path, "s.npz")
    write(draft, model, tmp_path / "out")
    assert (tmp_path / "out" / "s.npz").read_bytes() == b"inside"


def test_a_line_break_in_somebodys_text_begins_no_key_of_ours() -> None:
    draft = Draft("x", [Path("a\nmodel: evil")], {"name": "n\nmodel: evil"})
    draft.notes.append("joints\nmodel: {file: evil.onnx}\x1b[2J\u202e\x00")
    draft.assumed.append("kp\r\nmodel: evil\u2028model: evil")
    assert yaml.safe_load(spec_text(draft)) == {"name": "n\nmodel: evil"}
