"""Engines are found by their keys, and only read if no other user could have replaced them."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.backends.onnx_file.check import data_digests, sha256_of
from policy_runner.backends.private_folder import default_folder
from policy_runner.backends.tensorrt.engine_cache import EngineCache
from policy_runner.backends.tensorrt.engine_key import (
    BUILD_DEFAULTS,
    RUN_OPTIONS,
    EngineKey,
    build_options,
)
from policy_runner.core.errors import Refusal

ROOT = os.geteuid() == 0
HERE = str(Path(__file__).parent)
KEY = EngineKey(
    model_sha256="a" * 64,
    data_sha256=(("weights.data", "b" * 64),),
    tensorrt="10.3.0",
    gpu="Orin",
    compute="8.7",
    driver="12060",
    precision="fp16",
    shapes=(("obs", (1, 48)),),
    options=(("tensorrt.tf32", "True"),),
)
PLAN = bytes(range(256)) * 64


def other(value: Any) -> Any:
    """Return a different value of the same type."""
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return (*value, ("more", (1,) if value and isinstance(value[0][1], tuple) else "x"))


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, lines: list[str]) -> Any:
    with EngineCache(tmp_path / "engines", log=lines.append) as made:
        yield made


def build(plan: bytes = PLAN, **facts: Any) -> Callable[[], Any]:
    return lambda: (plan, facts)


def never() -> Any:
    raise AssertionError("it was built again")


# --- the key ---

texts = st.text(max_size=8)
keys = st.builds(
    EngineKey,
    model_sha256=texts,
    data_sha256=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    tensorrt=texts,
    gpu=texts,
    compute=texts,
    driver=texts,
    precision=st.sampled_from(["fp32", "fp16", "as_exported"]),
    shapes=st.lists(
        st.tuples(texts, st.lists(st.integers(0, 99), max_size=3).map(tuple)), max_size=2
    ).map(tuple),
    options=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
)


@given(key=keys, field=st.sampled_from([one.name for one in fields(EngineKey)]))
def test_another_value_of_any_ingredient_is_another_key(key: EngineKey, field: str) -> None:
    changed = replace(key, **{field: other(getattr(key, field))})
    assert changed.digest() != key.digest()
    assert replace(changed, **{field: getattr(key, field)}).digest() == key.digest()


@given(one=keys, two=keys)
def test_two_keys_have_one_digest_only_when_they_are_one(one: EngineKey, two: EngineKey) -> None:
    assert (one.digest() == two.digest()) == (one == two)


def test_weights_beside_the_model_are_part_of_it(tmp_path: Path) -> None:
    model, data = tmp_path / "m.onnx", tmp_path / "m.onnx.data"
    model.write_bytes(b"model")
    data.write_bytes(b"weights")
    before = data_digests(model, [data])
    assert before == (("m.onnx.data", sha256_of(data)),)
    data.write_bytes(b"Weights")
    assert data_digests(model, [data]) != before


def test_options_count_when_they_are_of_the_build_and_not_the_default() -> None:
    given_options = {**BUILD_DEFAULTS, **dict.fromkeys(RUN_OPTIONS, "any"), "engines.folder": "/x"}
    assert build_options(given_options) == ()
    given_options["tensorrt.tf32"] = True
    assert build_options(given_options) == (("tensorrt.tf32", "True"),)


def test_the_defaults_of_the_build_are_those_of_the_parameters() -> None:
    from policy_runner.robot.parameters.backend import BACKEND_TABLE

    rows = {row.name: row.default for row in BACKEND_TABLE if row.name.startswith("tensorrt.")}
    for name, default in rows.items():
        assert name in RUN_OPTIONS or BUILD_DEFAULTS.get(name, "absent") == default, name


# --- what comes back ---


def test_an_engine_is_built_once_and_found_again(cache: EngineCache, lines: list[str]) -> None:
    assert cache.load(KEY) is None
    entry = cache.build(KEY, build(policy="walk"))
    again = cache.build(KEY, never)
    assert entry.plan == again.plan == PLAN
    assert again.facts["policy"] == "walk"
    assert again.facts["seconds"] >= 0.0
    assert cache.load(replace(KEY, gpu="Thor")) is None
    assert oct(cache.path.stat().st_mode)[-3:] == "700"
    assert oct(entry.path.stat().st_mode)[-3:] == "600"
    assert lines == []
    assert cache.build(KEY, build(b"rebuild"), rebuild=True).plan == b"rebuild"


def damages() -> dict[str, Callable[[Path], None]]:
    def cut(keep: int) -> Callable[[Path], None]:
        return lambda path: os.truncate(path, keep)

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-10] ^= 1
        path.write_bytes(content)

    def flip_header(path: Path) -> None:
        path.write_bytes(path.read_bytes().replace(b'"policy": "walk"', b'"policy": "wall"'))

    def link(path: Path) -> None:
        path.rename(path.parent.parent / "elsewhere")
        path.symlink_to(path.parent.parent / "elsewhere")

    def pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    return {
        "empty": cut(0),
        "cut in the magic": cut(10),
        "cut in the header": cut(150),
        "cut in the engine": lambda path: os.truncate(path, path.stat().st_size - 1),
        "a bit of the engine": flip,
        "a letter of the header": flip_header,
        "something else": lambda path: path.write_bytes(b"ftrt" + PLAN),
        "a link": link,
        "a pipe": pipe,
        "others may write to it": lambda path: path.chmod(0o622),
    }


@pytest.mark.parametrize("damage", damages())
def test_what_is_not_whole_is_said_and_built_again(
    cache: EngineCache, lines: list[str], damage: str
) -> None:
    path = cache.build(KEY, build(policy="walk")).path
    damages()[damage](path)
    assert cache.load(KEY) is None
    assert str(path) in lines[0]
    assert "built again" in lines[0]
    assert cache.build(KEY, build(b"new")).plan == b"new"
    assert cache.build(KEY, never).plan == b"new"


def test_an_engine_under_the_name_of_another_is_not_used(
    cache: EngineCache, lines: list[str]
) -> None:
    two = replace(KEY, gpu="Thor")
    path = cache.build(KEY, build()).path
    cache.build(two, build(b"thor")).path.rename(path)
    assert cache.load(KEY) is None
    assert "it holds another engine than its name says" in lines[0]


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_used(cache: EngineCache, lines: list[str]) -> None:
    path = cache.build(KEY, build()).path
    os.chown(path, 12345, 12345)
    assert cache.load(KEY) is None
    assert "a file of user 12345" in lines[0]
    assert cache.build(KEY, build(b"ours")).path.stat().st_uid == os.geteuid()


# --- the folder ---


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o770, 0o755])
def test_a_folder_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "engines"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(Refusal, match=rf"mode 0700.*got {mode:04o}.*chmod 700"):
        EngineCache(folder)


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(Refusal, match=r"expected a folder of user 0.*got user 12345's"):
        EngineCache(folder)


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
def test_a_parent_of_another_user_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "theirs"
    parent.mkdir()
    os.chown(parent, 12345, 12345)
    with pytest.raises(Refusal, match=r"a parent folder .*theirs of user 12345"):
        EngineCache(parent / "engines")


def test_a_parent_that_everybody_writes_to_is_refused_unless_sticky(tmp_path: Path) -> None:
    parent = tmp_path / "shared"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(Refusal, match="that all users may write to"):
        EngineCache(parent / "engines")
    parent.chmod(0o1777)
    EngineCache(parent / "engines").close()


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "engines").symlink_to(tmp_path / "real")
    with pytest.raises(Refusal, match="is not a link"):
        EngineCache(tmp_path / "engines")


def test_the_folder_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "policy_runner" / "engines"
    monkeypatch.setenv("HOME", "/home/robot")
    for unusable in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert default_folder() == Path("/home/robot/.cache/policy_runner/engines")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(Refusal, match=r"set XDG_CACHE_HOME, or the parameter engines.folder"):
        default_folder()


# --- room ---


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, lines: list[str]) -> None:
    with EngineCache(tmp_path / "engines", limit_bytes=10_000, log=lines.append) as cache:
        keys = [replace(KEY, gpu=f"gpu {k}") for k in range(3)]
        for age, key in zip((300, 200), keys, strict=False):
            path = cache.build(key, build(bytes(4000))).path
            os.utime(path, (time.time() - age,) * 2)
        assert cache.load(keys[0]) is not None  # now used; the other engine is the longest unused
        cache.build(keys[2], build(bytes(4000)))
        assert [entry.key for entry in cache.entries()] == [keys[2], keys[0]]
        assert "above its limit" in lines[0]
        # An engine above the limit is kept, because it was just built.
        cache.build(KEY, build(bytes(20_000)))
        assert [entry.key for entry in cache.entries()] == [KEY]


def test_clean_removes_what_was_not_used(cache: EngineCache) -> None:
    old = cache.build(KEY, build()).path
    new = cache.build(replace(KEY, gpu="Thor"), build()).path
    os.utime(old, (time.time() - 1000,) * 2)
    (cache.path / "foreign.engine").write_bytes(b"?")
    assert sorted(cache.clean(unused_for_s=500.0)) == sorted([old.name, "foreign.engine"])
    assert new.exists()
    assert cache.clean() == [new.name]


TOO_LARGE = """
import resource, signal, sys
from pathlib import Path
from policy_runner.backends.tensorrt.engine_cache import EngineCache
sys.path.insert(0, {here!r})
from test_engine_cache import KEY
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = EngineCache(Path({folder!r}))
cache.build(KEY, lambda: (b"small", {{}}))
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    cache.build(KEY, lambda: (bytes(1_000_000), {{}}), rebuild=True)
except Exception as error:
    print(type(error).__name__, error)
print(len(list(cache.path.iterdir())), cache.load(KEY).plan)
"""


def test_a_limit_on_files_leaves_the_old_engine(tmp_path: Path) -> None:
    done = run_python(TOO_LARGE, folder=str(tmp_path / "engines"), here=HERE, limit=50_000)
    said, _ = done.communicate(timeout=30)
    assert said.startswith("Refusal")
    assert "room to store an engine of 1.0 MB" in said
    assert "File too large; free some room" in said
    assert said.endswith("2 b'small'\n")  # the lock and the old engine


def may_mount() -> bool:
    words = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode
    )


@pytest.mark.skipif(not ROOT or not may_mount(), reason="needs the right to mount a small disk")
def test_a_real_full_disk_leaves_the_old_engine(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # In a separate mount namespace, which ends with the process.
    mount = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=64k,mode=0755 tmpfs {disk} "
             "&& exec \"$@\"", "sh"]  # fmt: skip
    done = run_python(TOO_LARGE, mount, folder=str(disk / "engines"), here=HERE, limit=0)
    said, _ = done.communicate(timeout=30)
    assert "No space left on device; free some room" in said
    assert said.endswith("2 b'small'\n")


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_keeps_the_old_engine(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    cache.build(KEY, build())

    # With delayed allocation only fsync reports a full disk.
    def full(*_given: Any, **_named: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(Refusal, match="No space left on device; free some room"):
            cache.build(KEY, build(b"new"), rebuild=True)
    assert cache.build(KEY, never).plan == PLAN
    assert not [name for name in os.listdir(cache.path) if name.endswith(".tmp")]


# --- processes ---

BUILDER = """
import sys, time
from pathlib import Path
from policy_runner.backends.tensorrt.engine_cache import EngineCache
sys.path.insert(0, {here!r})
from test_engine_cache import KEY

def build():
    with open({tally!r}, "a") as file:
        file.write("built\\n")
    time.sleep({seconds})
    return b"plan", {{}}

def say(line):
    print(line, flush=True)  # to a pipe, which is buffered otherwise

print(EngineCache(Path({folder!r}), log=say).build(KEY, build).plan, flush=True)
"""


def run_python(script: str, before: Sequence[str] = (), **values: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", textwrap.dedent(script).format(**values)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def builder(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    return run_python(
        BUILDER, here=HERE, folder=str(tmp_path / "engines"),
        tally=str(tmp_path / "tally"), seconds=seconds,
    )  # fmt: skip


def test_two_builders_at_once_build_once(tmp_path: Path) -> None:
    both = [builder(tmp_path, 1.0) for _ in range(2)]
    said = [one.communicate(timeout=60)[0] for one in both]
    assert all(text.endswith("b'plan'\n") for text in said)
    assert (tmp_path / "tally").read_text() == "built\n"


def test_who_waits_says_for_what_and_goes_on_when_the_builder_is_killed(tmp_path: Path) -> None:
    first = builder(tmp_path, 600.0)
    tally = tmp_path / "tally"
    wait_until(lambda: tally.exists() and tally.read_text(), 30.0, "the first build")
    second = builder(tmp_path, 0.0)
    assert second.stdout is not None
    assert "another process builds an engine; waiting" in second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert "b'plan'" in second.communicate(timeout=30)[0]
    assert tally.read_text() == "built\nbuilt\n"


def test_what_a_killed_builder_left_half_written_is_swept(cache: EngineCache) -> None:
    path = cache.build(KEY, build()).path
    half = cache.path / f".{path.name}.4242.tmp"
    half.write_bytes(b"half")
    assert cache.load(KEY) is not None
    cache.build(replace(KEY, gpu="Thor"), build())
    assert not half.exists()
