"""Files for forges and readers of the project: CI, issue templates, citation, quality."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

import policy_runner

ROOT = Path(__file__).resolve().parents[2]
FORGE = ROOT / ".github"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def urls() -> dict[str, str]:
    """Type of a URL in package.xml -> URL."""
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    return {str(one.get("type")): str(one.text) for one in root.findall("url")}


def test_ci_runs_what_a_change_must_pass() -> None:
    flow = read(FORGE / "workflows/ci.yaml")
    commands = [step.get("run") for job in flow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in commands
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert flow[True].keys() == {"push", "pull_request"}  # YAML reads the key `on` as true
    assert flow["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name", ["bug.yaml", "proposal.yaml"])
def test_issue_templates_have_what_a_forge_needs(name: str) -> None:
    form = read(FORGE / "ISSUE_TEMPLATE" / name)
    assert form["name"]
    assert form["description"]
    fields = [one for one in form["body"] if one["type"] != "markdown"]
    ids = [one["id"] for one in fields]
    assert len(ids) == len(set(ids))
    assert all(one["attributes"]["label"] for one in fields)
    assert any(one.get("validations", {}).get("required") for one in fields)


def test_the_citation_names_this_version() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == policy_runner.__version__
    assert citation["license"] == "Apache-2.0"
    assert citation["repository-code"] == urls()["repository"]


def test_urls_are_the_same_in_both_manifests() -> None:
    assert set(urls()) == {"website", "repository", "bugtracker"}
    setup = (ROOT / "setup.py").read_text("utf-8")
    assert set(re.findall(r'"(https://[^"]+)"', setup)) == set(urls().values())


def test_the_quality_declaration_claims_no_more_than_it_can() -> None:
    text = (ROOT / "QUALITY_DECLARATION.md").read_text("utf-8")
    (level,) = re.findall(r"claims \*\*Quality Level (\d)\*\*", text)
    stable = not policy_runner.__version__.startswith("0.")
    assert stable or int(level) >= 4  # REP-2004, 1.ii
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / target).exists(), target


def test_no_shipped_network_tells_of_the_machine_that_trained_it() -> None:
    networks = sorted((ROOT / "models").rglob("*.onnx"))
    assert networks
    for network in networks:
        # An exporter writes the stack trace of every node: paths of interpreters and scripts.
        found = re.search(rb"[\w/.-]*\.py\b", network.read_bytes())
        assert found is None, (network, found)
