"""docs/reference/policy_spec.md describes every key as in the code, and its examples are valid."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from core_rig import refused
from pydantic import BaseModel, TypeAdapter, ValidationError
from spec_tables import with_tables

from policy_runner.cli import main, schema
from policy_runner.core.spec import PolicySpec, json_schema, read_spec
from policy_runner.core.spec import (
    action as spec_action,
)
from policy_runner.core.spec import (
    models as spec_models,
)
from policy_runner.core.spec import policy as models
from policy_runner.core.spec import (
    tensors as spec_tensors,
)
from policy_runner.core.spec import (
    terms as spec_clocks,
)
from policy_runner.core.spec import terms as spec_terms
from policy_runner.core.spec.reader import _Loader

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"
DOCUMENT = DOCS / "policy_spec.md"
EXAMPLES = sorted((DOCS / "examples").glob("*.yaml"))
SPECS = sorted((Path(__file__).resolve().parents[1] / "formats" / "specs").glob("*.yaml"))
SHIPPED = DOCS.parents[1] / "models" / "balancer" / "policy.yaml"


def test_the_tables_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert with_tables(text) == text, "run `python tools/spec_tables.py`"


def test_every_model_has_a_table_and_every_key_a_meaning() -> None:
    described = set(re.findall(r"<!-- keys of (\w+) -->", DOCUMENT.read_text("utf-8")))
    full = json_schema()
    assert described == {*full["$defs"], "PolicySpec", "TermArithmetic"}
    for name, model in full["$defs"].items():
        for key, given in model["properties"].items():
            assert given.get("description") or key == "term", f"{name}.{key}"


def _sections() -> list[tuple[str, str]]:
    """Return (heading, yaml block) of every example in the document."""
    found, heading = [], ""
    for part in re.split(r"(?m)^(#+ .*|```yaml\n(?:.*\n)*?```)$", DOCUMENT.read_text("utf-8")):
        if part.startswith("#"):
            heading = part.lstrip("# ")
        elif part.startswith("```yaml"):
            found.append((heading, part.removeprefix("```yaml\n").removesuffix("```")))
    return found


def _model(heading: str) -> Any:
    for module in (models, spec_models, spec_action, spec_tensors, spec_terms, spec_clocks):
        if hasattr(module, heading):
            return getattr(module, heading)
    return None


# The examples of these headings begin with the key.
UNDER_A_KEY = (
    *("Numbers by name", "Model", "Input", "Limit", "History", "Motion", "MotionTrigger"),
    *("Normalization", "PerTermNormalization", "State", "AbsentJoint"),
)


@pytest.mark.parametrize("number", range(len(_sections())))
def test_every_example_in_the_text_is_valid(number: int) -> None:
    heading, block = _sections()[number]
    content = yaml.load(block, Loader=_Loader)  # noqa: S506 -- the reader's own
    model = _model(heading)
    if heading in ("Argmax", "TorqueLimit", "Rounding", "RotatedVectors"):
        model = spec_action.ActionGroup
    elif heading == "Terms":
        model = spec_tensors.Term
    elif heading in UNDER_A_KEY:
        # The example shows the value under its key.
        ((key, content),) = content.items()
        model = {
            "scale": models.NamedNumbers,
            "state": list[models.State],
            "motions": dict[str, models.Motion],
            "limits": dict[str, models.Limit],
            "absent_joints": dict[str, models.AbsentJoint],
        }.get(key, model)
    TypeAdapter(model).validate_python(content)


def test_there_is_an_example_of_every_term() -> None:
    shown = {yaml.safe_load(block).get("term") for _, block in _sections()
             if isinstance(yaml.safe_load(block), dict)}  # fmt: skip
    known = set()
    for name, model in json_schema()["$defs"].items():
        given = model["properties"].get("term", {})
        if name.endswith("Term"):
            known |= {given["const"]} if "const" in given else set(given["enum"])
    assert known - shown == {"joint_velocity", "joint_effort"} - shown


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_worked_examples_read(path: Path) -> None:
    assert read_spec(path).spec.name == path.stem


def test_there_are_three_worked_examples() -> None:
    assert [path.stem for path in EXAMPLES] == ["quadruped", "recurrent", "wheeled_camera"]
    text = DOCUMENT.read_text("utf-8")
    assert all(f"(examples/{path.name})" in text for path in EXAMPLES)


def _violations(
    value: Any, given: Mapping[str, Any], whole: Mapping[str, Any], at: str
) -> list[str]:
    """Return how a value violates the schema; knows the JSON Schema that pydantic writes."""
    if "$ref" in given:
        return _violations(value, whole["$defs"][given["$ref"].rsplit("/", 1)[-1]], whole, at)
    for one in given.get("allOf", []):
        if _violations(value, one, whole, at):
            return _violations(value, one, whole, at)
    if "const" in given and value != given["const"]:
        return [f"{at}: not {given['const']}"]
    if "enum" in given and value not in given["enum"]:
        return [f"{at}: none of {given['enum']}"]
    for several in ("anyOf", "oneOf"):
        if several in given:
            every = [_violations(value, one, whole, at) for one in given[several]]
            fitting = sum(not one for one in every)
            if fitting == 0 or (several == "oneOf" and fitting > 1):
                return [f"{at}: {fitting} alternatives fit", *min(every, key=len)]
    kinds: dict[str, Any] = {
        "string": str, "boolean": bool, "null": type(None), "array": list, "object": dict,
        "number": (int, float), "integer": int,
    }  # fmt: skip
    kind = given.get("type")
    if kind and (
        not isinstance(value, kinds[kind])
        or (kind in ("number", "integer") and isinstance(value, bool))
    ):
        return [f"{at}: no {kind}"]
    found: list[str] = []
    if isinstance(value, dict):
        named = given.get("properties", {})
        found += [f"{at}.{key}: missing" for key in given.get("required", []) if key not in value]
        for key, one in value.items():
            rest = given.get("additionalProperties", True)
            if key in named:
                found += _violations(one, named[key], whole, f"{at}.{key}")
            elif rest is False:
                found.append(f"{at}.{key}: unknown")
            elif isinstance(rest, Mapping):
                found += _violations(one, rest, whole, f"{at}.{key}")
    if isinstance(value, list):
        if not given.get("minItems", 0) <= len(value) <= given.get("maxItems", math.inf):
            found.append(f"{at}: {len(value)} items")
        for k, one in enumerate(value):
            found += _violations(one, given.get("items", {}), whole, f"{at}[{k}]")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        above = given.get("exclusiveMinimum", -math.inf) < value
        inside = given.get("minimum", -math.inf) <= value <= given.get("maximum", math.inf)
        if not (above and inside):
            found.append(f"{at}: out of range")
    if isinstance(value, str):
        if len(value) < given.get("minLength", 0):
            found.append(f"{at}: too short")
        if "pattern" in given and not re.search(given["pattern"], value):
            found.append(f"{at}: not like {given['pattern']}")
    return found


@pytest.mark.parametrize("path", [*EXAMPLES, *SPECS, SHIPPED], ids=lambda path: path.stem)
def test_the_schema_accepts_what_the_reader_accepts(path: Path) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))
    printed = json.loads(schema.schema_text(json_schema()))
    assert _violations(content, printed, printed, "") == []
    PolicySpec.model_validate(content)


BROKEN: dict[str, Any] = {
    "unknown key": lambda c: c.update(joint_name=["a"]),
    "missing key": lambda c: c.pop("last_action"),
    "no such term": lambda c: c["observation"][0]["terms"][0].update(term="feild"),
    "another term's key": lambda c: c["observation"][0]["terms"][1].update(axes=["linear.x"]),
    "a text for a number": lambda c: c["observation"][0]["terms"][0].update(scale="x"),
    "a period of 0": lambda c: c["observation"][0]["terms"][6].update(period=0),
    "three bounds": lambda c: c["observation"][0].update(clip=[0, 1, 2]),
    "no such kind": lambda c: c["action"][0]["groups"][0].update(kind="torque"),
    "no message type": lambda c: c["inputs"]["imu"].update(type="Imu"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_schema_refuses_what_the_reader_refuses(case: str) -> None:
    content = yaml.safe_load((DOCS / "examples" / "quadruped.yaml").read_text("utf-8"))
    BROKEN[case](content)
    printed = json.loads(schema.schema_text(json_schema()))
    assert _violations(content, printed, printed, "") != []
    with pytest.raises(ValidationError):
        PolicySpec.model_validate(content)


def test_the_command_prints_it_or_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["title"] == "policy spec, policy_runner/1"
    path = tmp_path / "policy_spec.schema.json"
    assert main.main(["schema", "-o", str(path)]) == 0
    assert path.read_text("utf-8") == printed


def test_a_model_of_the_spec_is_frozen() -> None:
    for model in (PolicySpec, spec_tensors.History, spec_action.ActionGroup):
        assert issubclass(model, BaseModel)
        assert model.model_config["frozen"]
        assert model.model_config["extra"] == "forbid"


def test_an_example_with_a_slip_says_where(tmp_path: Path) -> None:
    text = (DOCS / "examples" / "recurrent.yaml").read_text("utf-8")
    path = tmp_path / "policy.yaml"
    path.write_text(text.replace("squash: tanh", "sqash: tanh", 1))
    assert refused(read_spec, path) == [
        f"{path}: action[0].groups[0].sqash: expected a known key, got 'sqash'; "
        "did you mean 'squash'?"
    ]


def test_the_examples_of_the_guide_to_several_models_are_valid(tmp_path: Path) -> None:
    guide = (DOCS.parent / "guides" / "several_models.md").read_text("utf-8")
    blocks = re.findall(r"(?m)^```yaml\n((?:.*\n)*?)```$", guide)
    assert len(blocks) == 2
    inputs = {"imu": "Imu", "joints": "JointState"}
    common = {
        "schema": "policy_runner/1",
        "name": "guide",
        "model": {"file": "stand.onnx"},
        "control_dt": 0.02,
        "joint_names": ["hip", "knee"],
        "default_joint_pos": 0.0,
        "inputs": {
            "command": {"type": "geometry_msgs/msg/Twist", "topic": "cmd_vel"},
            **{name: {"type": f"sensor_msgs/msg/{kind}", "topic": name}
               for name, kind in inputs.items()},
        },
        "observation": [{"tensor": "obs", "terms": [{"term": "last_action"}],
                         "normalization": "none"}],
        "action": [{"tensor": "actions",
                    "groups": [{"kind": "position", "joints": ["hip", "knee"]}]}],
        "last_action": "raw",
    }  # fmt: skip
    for block in blocks:
        content = {**common, **yaml.safe_load(block)}
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(content))
        read_spec(tmp_path)
