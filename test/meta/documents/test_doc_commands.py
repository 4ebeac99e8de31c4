"""Every command that a document shows exists, with its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from command_tables import every_command, make_targets, options
from doc_pages import DOCUMENTS, ROOT, blocks, inline_code
from parameter_tables import tables as parameter_tables

from policy_runner.ros.launching import TWO_ROBOTS_ARGUMENTS
from policy_runner.ros.processes import LAUNCH_ARGUMENTS

PACKAGE = "policy_runner"
SHELL = ("", "bash", "sh", "console", "text")
SERVICES = ("arm", "disarm", "reset", "reload")
ENDS = ("|", ";", "&&", "||", "&", ">", "2>&1", "#")


@cache
def commands() -> dict[str, set[str]]:
    """Options by the command's words."""
    return {words: options(parser) for words, parser in every_command().items()}


def shown(text: str) -> Iterator[list[str]]:
    """The words of every command line in blocks and in inline code."""
    lines = [line for block in blocks(text) if block.language in SHELL
             for line in block.text.replace("\\\n", " ").splitlines()]  # fmt: skip
    for line in [*lines, *inline_code(text)]:
        try:
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        except ValueError:
            continue  # a sentence with an apostrophe
        part: list[str] = []
        for word in [*words, ";"]:
            if word in ENDS:
                if part:
                    yield part
                part = []
            else:
                part.append(word.rstrip(";") if word.endswith(";") else word)


def wrong_option(words: list[str], known: set[str]) -> str:
    """The first option that is not known; "" if there is none."""
    for word in words:
        name = word.split("=")[0]
        if re.fullmatch(r"--?[a-z][\w-]*", name) and name not in known:
            return f"{name} is not an option"
    return ""


def cli_problem(words: list[str]) -> str:
    """What is wrong with `policy-runner WORDS`; "" if nothing."""
    if not words or words[0].isupper() or words[0] in ("--help", "--version", "…", "..."):
        return ""
    if words[0].endswith(":"):  # a message of the command, shown with its output
        return ""
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in commands():
            rest = words[length:]
            below = {key.split()[1] for key in commands() if key.startswith(f"{name} ")}
            word = rest[0] if rest else ""
            path = Path(word).suffix or "/" in word or word.isupper() or "…" in word
            if below and name != "bench" and re.fullmatch(r"[a-z]+", word) and not path:
                return f"there is no command {name} {word}"
            return wrong_option(rest, commands()[name])
    return f"there is no command {words[0]}"


def launch_problem(words: list[str]) -> str:
    """What is wrong with `ros2 launch policy_runner WORDS`."""
    file, *rest = words or ["jetson.launch.py"]
    if not (ROOT / "launch" / file).is_file():
        return f"there is no launch file {file}"
    table = TWO_ROBOTS_ARGUMENTS if file == "two_robots.launch.py" else LAUNCH_ARGUMENTS
    known = {name for name, _, _ in table}
    given = [word.split(":=")[0] for word in rest if ":=" in word and not word[0].isupper()]
    return next((f"{name} is no launch argument" for name in given if name not in known), "")


def make_problem(words: list[str]) -> str:
    """What is wrong with `make WORDS`."""
    if not words or not re.fullmatch(r"[a-z]+", words[0]):
        return ""
    if words[0] not in make_targets():
        return f"there is no target {words[0]}"
    extra = [one.removeprefix("ARGS=") for one in words if one.startswith("ARGS=")]
    known = {"demo": commands()["demo"], "bench": commands()["bench"]}.get(words[0])
    given = shlex.split(extra[0]) if extra else []
    return wrong_option([one for one in given if one != "--help"], known) if known else ""


def python_problem(words: list[str]) -> str:
    """What is wrong with `python SCRIPT OPTIONS`, for a script of this repository."""
    if not words or not re.match(r"(tools|benchmarks|models)/", words[0]):
        return ""
    script = ROOT / words[0]
    if not script.is_file():
        return f"there is no {words[0]}"
    return wrong_option(words[1:], set(re.findall(r'"(--?[\w-]+)"', script.read_text("utf-8"))))


def run_problem(words: list[str]) -> str:
    """What is wrong with `ros2 run policy_runner WORDS`."""
    if not words or words[0].isupper():
        return ""
    name, *rest = words
    entry_points = re.findall(r'"([\w-]+) = policy_runner\.', (ROOT / "setup.py").read_text())
    if name not in entry_points:
        return f"there is no executable {name}"
    return cli_problem(rest) if name == "policy-runner" else ""


def call_problem(words: list[str]) -> str:
    """What is wrong with `ros2 service call NAME TYPE`, for a service of the runner."""
    name = words[0].removeprefix("/policy_runner/") if words else ""
    if not words or not words[0].startswith("/policy_runner/"):
        return ""
    return "" if name in SERVICES else f"there is no service {words[0]}"


def set_problem(words: list[str]) -> str:
    """What is wrong with `ros2 param set NODE NAME VALUE`."""
    if len(words) < 2 or words[0] != "/policy_runner":
        return ""
    name = words[1]
    general = re.sub(r"^(inputs|joints)\.\w+", lambda m: f"{m[1]}.<{m[1][:-1]}>", name)
    known = re.findall(r"^\| `([^`]+)`", "\n".join(parameter_tables().values()), re.MULTILINE)
    return "" if {name, general} & set(known) else f"there is no parameter {name}"


CHECKS: dict[tuple[str, ...], Callable[[list[str]], str]] = {
    ("policy-runner",): cli_problem,
    ("ros2", "launch", PACKAGE): launch_problem,
    ("ros2", "run", PACKAGE): run_problem,
    ("ros2", "service", "call"): call_problem,
    ("ros2", "param", "set"): set_problem,
    ("make",): make_problem,
    ("python",): python_problem,
    ("python3",): python_problem,
}


def problems(text: str) -> list[str]:
    """What is wrong with the commands of a document."""
    found = []
    for words in shown(text):
        for begin, check in CHECKS.items():
            if tuple(words[: len(begin)]) == begin and (problem := check(words[len(begin) :])):
                found.append(f"{' '.join(words)}: {problem}")
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_and_option_exists(path: Path) -> None:
    assert problems(path.read_text("utf-8")) == []


def test_the_documents_show_commands_of_every_kind() -> None:
    """Or the patterns above have stopped to find them."""
    seen = {
        begin
        for path in DOCUMENTS
        for words in shown(path.read_text("utf-8"))
        for begin in CHECKS
        if tuple(words[: len(begin)]) == begin
    }
    assert seen >= CHECKS.keys() - {("python3",)}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("policy-runner chekc SPEC", "there is no command chekc"),
        ("policy-runner engine bild SPEC", "there is no command engine bild"),
        ("policy-runner check SPEC --parms FILE", "--parms is not an option"),
        ("policy-runner check SPEC && policy-runner replay S I --plt x", "--plt is not an option"),
        ("ros2 launch policy_runner jetson.launch.py polcy:=x", "polcy is no launch argument"),
        ("ros2 launch policy_runner orin.launch.py", "there is no launch file orin.launch.py"),
        ("ros2 run policy_runner runner", "there is no executable runner"),
        ("ros2 run policy_runner policy-runner docter", "there is no command docter"),
        ("ros2 service call /policy_runner/amr std_srvs/srv/Trigger",
         "there is no service /policy_runner/amr"),
        ("ros2 param set /policy_runner inputs.imu.max_agee 1.0",
         "there is no parameter inputs.imu.max_agee"),
        ("make dcos", "there is no target dcos"),
        ('make demo ARGS="--secnods 3"', "--secnods is not an option"),
        ("python benchmarks/side.py", "there is no benchmarks/side.py"),
        ("python benchmarks/reloads.py --none", "--none is not an option"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_found(line: str, problem: str) -> None:
    for text in (f"```\n{line}\n```\n", f"Call `{line}`.\n"):
        assert [found.rpartition(": ")[2] for found in problems(text)] == [problem]
