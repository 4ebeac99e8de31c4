"""The tables of docs/reference/policy_spec.md, from the models that read the file.

`python tools/spec_tables.py` rewrites them; a test compares.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_runner.core.observation import normalization as formulas
from policy_runner.core.spec import json_schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "policy_spec.md"
Schema = Mapping[str, Any]
_MARK = re.compile(r"<!-- keys of (\w+) -->\n.*?<!-- end -->", re.DOTALL)
# Keys that all terms have are listed only once, under this model.
COMMON = "TermArithmetic"


def key_table(name: str) -> str:
    """Return the Markdown table of one model's keys: key, value, default, meaning.

    Args:
        name: of a model in the schema, or COMMON.

    Raises:
        KeyError: there is no such model.
    """
    schema = _schema()
    models = dict(schema["$defs"], PolicySpec=schema)
    model = models[name] if name != COMMON else {"properties": _common(models)}
    # Only terms' tables leave the common keys out: an action group has its own `scale`.
    common = _common(models) if "term" in model["properties"] else {}
    required = model.get("required", [])
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, given in model["properties"].items():
        if key in common and common[key] == given:
            continue
        default = f"`{_value(given.get('default'))}`"
        if key in required:
            default = "needed"
        elif given.get("default") is None:
            default = "none"
        meaning = given.get("description") or f"`{key}`: which kind of term"
        # The default has its own column, so remove it from the end of the description.
        said = (f"; default {default[1:-1]}", f"; default: {default}", f"default: {default}")
        meaning = next((meaning[: -len(end)] for end in said if meaning.endswith(end)), meaning)
        cells = (f"`{key}`", kind_of(given, models), default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


@functools.cache
def _schema() -> dict[str, Any]:
    return json_schema()


def _common(models: Mapping[str, Any]) -> dict[str, Any]:
    # pydantic leaves a base class out of the schema. FirstStepTerm adds no key to it.
    return {
        key: given for key, given in models["FirstStepTerm"]["properties"].items() if key != "term"
    }


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return '""' if value == "" else str(value)


def kind_of(given: Schema, models: Mapping[str, Any]) -> str:
    """Return the allowed values of a key, as Markdown.

    Args:
        given: the key's schema.
        models: all models of the schema, by name.
    """
    if len(given.get("allOf", [])) == 1:  # a reference, in older versions of pydantic
        return kind_of(given["allOf"][0], models)
    if "$ref" in given:
        name = given["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in given:
        return f"`{given['const']}`"
    if "enum" in given:
        return ", ".join(f"`{one}`" for one in given["enum"])
    for several in ("anyOf", "oneOf"):
        if several in given:
            if "discriminator" in given:
                return "a [term](#terms)"
            parts = [kind_of(one, models) for one in given[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts))
    kind = str(given.get("type", "anything"))
    if kind == "array":
        inner = kind_of(given["items"], models)
        count = given.get("maxItems")
        if count is not None and count == given.get("minItems"):
            return "[" + ", ".join([inner] * count) + "]"
        return f"[{inner}, ...]"
    if kind == "object":
        values = given.get("additionalProperties")
        values = next(iter(given.get("patternProperties", {}).values()), values)
        if not isinstance(values, Mapping):
            return "a mapping"
        return f"{{name: {kind_of(values, models)}}}"
    words = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    word = words.get(kind, kind)
    if "exclusiveMinimum" in given:
        word += f" > {_value(given['exclusiveMinimum'])}"
    if "minimum" in given:
        word += f" >= {_value(given['minimum'])}"
    if "maximum" in given:
        word += f" <= {_value(given['maximum'])}"
    return word


def preset_table() -> str:
    """Return the Markdown table of the presets' formulas, from the docstring of `formulas`."""
    lines = str(formulas.__doc__).splitlines()
    rows = [" | ".join(line.split("|")).strip() for line in lines if line.startswith("|")]
    return "\n".join(re.sub(r" {2,}", " ", row) for row in rows) + "\n"


def with_tables(text: str) -> str:
    """Return the document with every marked table replaced by the present one."""
    begin, end = "<!-- presets -->\n", "<!-- end -->"
    before, mark, after = text.partition(begin)
    if mark:
        text = before + begin + preset_table() + end + after.partition(end)[2]
    return _MARK.sub(lambda m: f"<!-- keys of {m[1]} -->\n{key_table(m[1])}<!-- end -->", text)


def main() -> int:
    """Rewrite the tables of the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
