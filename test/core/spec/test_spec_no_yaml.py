"""Files that are not a spec: any bytes lead to one sentence, and no code is executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from core_rig import refused, write_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec

NO_SPEC: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "expected a mapping of keys, got an empty file"),
    "only a comment": ("# nothing\n", "expected a mapping of keys, got an empty file"),
    "a list": ("- a\n- b\n", "expected a mapping of keys, got list"),
    "text": ("hello", "expected a mapping of keys, got str"),
    "not UTF-8": (b"name: \xff\xfe\n", "expected YAML, got 'utf-8' codec can't decode"),
    "a zero byte": (b"name: \x00", "expected YAML, got unacceptable character"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", "expected YAML, got key 'a' twice (line 3)"),
    "a nested key twice": ("a:\n  b: 1\n  b: 2\n", "expected YAML, got key 'b' twice (line 3)"),
    "a key twice in a list": ("a:\n- {b: 1, b: 2}\n", "got key 'b' twice (line 2)"),
    "a Python object": (
        "!!python/object/apply:os.system ['touch /tmp/policy_runner_was_here']",
        "expected YAML, got could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system'",
    ),
    "a Python name": ("name: !!python/name:os.system\n", "could not determine a constructor"),
    "a list as key": ("? [a]\n: 1\n", "a key that is not a plain value"),
    "an unclosed bracket": ("a: [1, 2\n", "expected YAML, got while parsing a flow sequence"),
    "a tab": ("a:\n\t- 1\n", "expected YAML, got while scanning"),
    "no date": ("a: 2026-13-45\n", "expected YAML, got month must be in 1..12"),
    "no bool": ("a: !!bool foo\n", "expected YAML, got"),
    "no timestamp": ("a: !!timestamp foo\n", "expected YAML, got"),
    "no such character": ('a: "\\U99999999"\n', "expected YAML, got"),
    "a number of 5000 digits": ("a: " + "9" * 5000, "expected YAML, got"),
    "nested 5000 deep": ("[" * 5000, "expected YAML, got maximum recursion depth"),
}


@pytest.mark.parametrize("case", NO_SPEC)
def test_no_spec_at_all(tmp_path: Path, case: str) -> None:
    content, part = NO_SPEC[case]
    path = write_spec(tmp_path, content)
    (sentence,) = refused(read_spec, path)
    assert sentence.startswith(f"{path}: expected ")
    assert part in sentence
    assert "\n" not in sentence
    assert not os.path.exists("/tmp/policy_runner_was_here")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(alphabet="!?&*<>{}[]:-,'\"#|%@` \nab01x._~\\U", max_size=60).map(str.encode),
    )
)
def test_any_bytes_are_refused_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any_bytes"
    folder.mkdir(exist_ok=True)
    with pytest.raises(Refusal):
        read_spec(write_spec(folder, content))
