"""The groups of `policy-runner --help`, former names of commands, and misspelled names."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from policy_runner.cli.command_parser import CommandParser
from policy_runner.cli.main import GROUPS, main, make_parser
from policy_runner.cli.old_names import OLD_NAMES, with_new_names

ROOT = Path(__file__).resolve().parents[2]
# All present and future names of commands. Later work adds no others.
FINAL = {
    "Policy": "import check inspect replay convert schema export verify optimize",
    "Robot": "run ctl monitor report serve",
    "Simulation": "demo sim evaluate",
    "Machine": "doctor bench engine power",
}
FINAL_BELOW = {
    "convert": "stats motion",
    "bench": "step node backends compare operators selftest",
    "engine": "build list remove",
    "power": "list set clocks",
    "ctl": "arm disarm reset reload estop prompt status dump",
}
FORMER = {
    "build-engine": "engine build",
    "engines list": "engine list",
    "engines clean": "engine remove",
    "engines": "engine",
    "selftest": "bench selftest",
    "convert-stats": "convert stats",
}
COMMANDS = [row for rows in GROUPS.values() for row in rows]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the help of a command."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a wrong command line prints on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def loaded(name: str, module: str) -> CommandParser:
    """Return the parser of a command after its module has added its arguments."""
    parser = CommandParser(prog=f"policy-runner {name}")
    parser.module = module
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    return parser


def test_the_help_shows_the_groups_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, list[str]] = {}
    for line in shown(capsys).splitlines():
        if re.fullmatch(r"[A-Z][a-z]+:", line):
            found[line[:-1]] = []
        elif line.startswith("  ") and found:
            found[list(found)[-1]].append(line.split()[0].rstrip(","))
    assert list(found) == ["Policy", "Robot", "Simulation", "Machine", "Help"]
    assert found.pop("Help") == ["-h", "--version"]
    assert found == {group: [name for name, _, _ in rows] for group, rows in GROUPS.items()}


def test_only_names_of_the_final_set_are_listed_in_their_order() -> None:
    for group, rows in GROUPS.items():
        names = [name for name, _, _ in rows]
        assert names == [name for name in FINAL[group].split() if name in names]


def test_the_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert max(len(line) for line in shown(capsys).splitlines()) <= 80


@pytest.mark.parametrize(("name", "module", "text"), COMMANDS)
def test_each_listed_command_exists(
    name: str, module: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_spec(f"policy_runner.cli.{module}")
    below = loaded(name, module).names
    if name not in FINAL_BELOW:
        assert below == []
        assert callable(loaded(name, module).get_default("run"))
        return
    assert below == [word for word in FINAL_BELOW[name].split() if word in below]
    assert text.endswith(f": {', '.join(below)}")
    capsys.readouterr()
    listed = shown(capsys, name)
    for word in below:
        assert re.search(rf"^    {word}\s+\S", listed, re.MULTILINE)
        assert shown(capsys, name, word).startswith(f"usage: policy-runner {name} {word} ")


@pytest.mark.parametrize(
    "words",
    ["convert stats x -o y", "bench step", "bench node", "bench backends", "bench",
     "bench selftest --backend onnxruntime", "engine build x", "engine list", "engine remove",
     "ctl arm", "ctl estop --topic /x", "ctl status --watch", "ctl dump",
     "power list", "power set 1", "power clocks on"],
)  # fmt: skip
def test_each_command_below_a_group_can_run(words: str) -> None:
    arguments = make_parser().parse_args(words.split())
    assert callable(arguments.run)
    name = " ".join(word for word in words.split()[:2])
    assert arguments.called == f"policy-runner {name}"


@pytest.mark.parametrize(("old", "new"), FORMER.items())
def test_a_former_name_works_and_says_the_new_one(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, *old.split()) == shown(capsys, *new.split())
    with pytest.raises(SystemExit):
        main([*old.split(), "--help"])
    said = capsys.readouterr().err
    assert said == f"policy-runner: `{old}` is now `{new}`; the old name still works\n"
    with pytest.raises(SystemExit):
        main([*new.split(), "--help"])
    assert capsys.readouterr().err == ""


def test_each_former_name_is_tested() -> None:
    assert OLD_NAMES == FORMER


def test_a_former_name_prints_nothing_else_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engines", "list", "--json", "--folder", str(tmp_path / "none")]) == 0
    said = capsys.readouterr()
    assert said.out == "[]\n"
    assert said.err.count("\n") == 1


def test_refusals_after_a_former_name_say_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build-engine", "no/such/policy"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "policy-runner: `build-engine` is now `engine build`; the old name still works"
    assert second.startswith("policy-runner engine build: no/such/policy")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bench walk --backends all --remember", "bench backends walk --only all --remember"),
        ("bench --seconds 1 --backends=a,b", "bench backends --seconds 1 --only=a,b"),
        ("bench walk --backend auto", "bench walk --backend auto"),
        ("bench --no-graph", "bench --no-graph"),
        ("replay --backends x", "replay --backends x"),
    ],
)
def test_the_former_option_of_bench(old: str, new: str) -> None:
    words, sentence = with_new_names(old.split())
    assert words == new.split()
    assert bool(sentence) == (old != new)


def test_a_bench_without_a_name_takes_what_it_always_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = "policies/walk --rates 50 100 --seconds 2 --priority 0 --backend onnxruntime"
    arguments = make_parser().parse_args(["bench", *given.split(), "--no-graph"])
    assert (arguments.spec, arguments.rates) == (Path("policies/walk"), [50.0, 100.0])
    assert (arguments.backend, arguments.no_graph) == ("onnxruntime", True)
    assert main(["bench", "no/such/policy", "--no-graph"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("policy-runner: `bench --no-graph` is now `bench step`;")
    assert said[1].startswith("policy-runner bench: no/such/policy")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("chek", "policy-runner: there is no command 'chek'; did you mean 'check'?"),
        ("moniter x", "policy-runner: there is no command 'moniter'; did you mean 'monitor'?"),
        ("biuld-engine", "policy-runner: there is no command 'biuld-engine'; "
         "did you mean 'engine build'?"),
        ("engine biuld x", "policy-runner engine: there is no command 'biuld'; "
         "did you mean 'build'?"),
        ("bench backend", "policy-runner bench: there is no command 'backend'; "
         "did you mean 'backends'?"),
        ("power --root / lits", "policy-runner power: there is no command 'lits'; "
         "did you mean 'list'?"),
        ("xyzzy", "policy-runner: there is no command 'xyzzy'; "
         "`policy-runner --help` lists the commands"),
    ],
)  # fmt: skip
def test_a_misspelt_command_gets_one_sentence(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *words.split()) == f"{sentence}\n"


def test_a_folder_of_such_a_name_is_no_misspelt_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "steps").mkdir()
    monkeypatch.chdir(tmp_path)
    assert make_parser().parse_args(["bench", "steps"]).spec == Path("steps")


def test_no_command_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "required: COMMAND" in refused(capsys)
    assert "required: COMMAND" in refused(capsys, "engine")


def named_commands(text: str) -> set[tuple[str, str]]:
    """Return each `policy-runner COMMAND [WORD]` of a text."""
    return set(re.findall(r"policy-runner ([a-z][a-z-]+)(?: +([a-z]+)\b(?![/.]))?", text))


def test_texts_name_only_commands_that_exist() -> None:
    below = {name: loaded(name, module).names for name, module, _ in COMMANDS}
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile"]
    for folder in ("policy_runner", "models", "launch", "tools", "benchmarks"):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")]
    wrong, found = [], set()
    for path in files:
        for name, word in named_commands(path.read_text(encoding="utf-8")):
            found.add(name)
            if name not in below or (below[name] and word and word not in below[name]):
                wrong.append(f"{path.relative_to(ROOT)}: policy-runner {name} {word}".rstrip())
    assert not wrong, "\n".join(wrong)
    assert {"check", "engine", "bench"} <= found
