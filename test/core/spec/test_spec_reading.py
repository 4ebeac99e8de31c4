"""Valid forms of a spec: YAML's forms of numbers, anchors, merges, folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from core_rig import spec_content, write_spec

from policy_runner.core.spec import PolicySpec, json_schema, read_spec

SHIPPED = Path(__file__).parents[3] / "models" / "balancer" / "policy.yaml"


def test_folder_means_the_policy_in_it(tmp_path: Path) -> None:
    path = write_spec(tmp_path, spec_content())
    assert read_spec(tmp_path) == read_spec(path)
    assert read_spec(tmp_path).path == path


def test_number_that_yaml_takes_for_text(tmp_path: Path) -> None:
    # YAML 1.1 reads 1e-3 (without a dot) as text, but the author means the number.
    text = yaml.safe_dump(spec_content()).replace("control_dt: 0.01", "control_dt: 1e-3")
    assert read_spec(write_spec(tmp_path, text)).spec.control_dt == pytest.approx(1e-3, abs=0)


def test_anchors_and_merges(tmp_path: Path) -> None:
    content = spec_content()
    terms = content["observation"][0].pop("terms")
    text = yaml.safe_dump(content).replace(
        "- normalization: none\n",
        "- normalization: none\n"
        "  terms:\n"
        "  - &base {term: joint_velocity, input: joints, scale: 2}\n"
        "  - {<<: *base, scale: 3, joints: [a]}\n",
    )
    read: Any = read_spec(write_spec(tmp_path, text)).spec.observation[0].terms
    assert [term.scale for term in read] == [2.0, 3.0]
    assert terms[0]["term"] == read[1].term


def test_spec_cannot_be_changed(tmp_path: Path) -> None:
    spec = read_spec(write_spec(tmp_path, spec_content())).spec
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]


def test_shipped_spec_reads() -> None:
    spec = read_spec(SHIPPED.parent).spec
    assert spec.joint_names == ["left_wheel_joint", "right_wheel_joint"]
    assert spec.last_action == "clipped"
    assert spec.observation[0].normalization.preset == "sb3"  # type: ignore[union-attr]


def test_defaults_do_nothing(tmp_path: Path) -> None:
    spec: Any = read_spec(write_spec(tmp_path, spec_content())).spec
    term, group = spec.observation[0].terms[0], spec.action[0].groups[0]
    assert (term.scale, term.offset, term.clip, term.wrap, term.nonfinite) == (
        1,
        0,
        None,
        None,
        None,
    )
    assert (group.scale, group.offset, group.clip, group.clip_raw, group.ema) == (
        1,
        0,
        None,
        None,
        1,
    )
    assert (group.squash, group.relative_to, spec.state) == ("none", "zero", [])


def test_json_schema_names_the_keys_of_the_file() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {
        info.alias or name for name, info in PolicySpec.model_fields.items()
    }
    assert "schema" in schema["required"]
