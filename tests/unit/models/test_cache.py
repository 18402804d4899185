"""Conversions are whole or absent, happen once, and damage is noticed."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from neuralforge import paths
from neuralforge.errors import DataError, RunError, TrustError
from neuralforge.models import cache
from neuralforge.models.digest import weight_files, weights_digest

ORIGIN = cache.Origin("source", "sha256:" + "1" * 64, "MIT")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def build(folder: Path) -> cache.Origin:
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    return ORIGIN


def refuse(folder: Path) -> cache.Origin:
    raise AssertionError("converted twice")


def leftovers() -> list[str]:
    return [path.name for path in paths.models_cache().iterdir() if path.name.endswith(".tmp")]


def test_converts_once() -> None:
    assert cache.lookup("base") is None
    made = cache.converted("base", build)
    assert cache.converted("base", refuse) == made
    assert (made.identity, made.digest, made.licence) == ("source", ORIGIN.digest, "MIT")
    assert cache.installed() == ["base"]
    assert leftovers() == []


def test_a_failed_conversion_leaves_nothing() -> None:
    def fail(folder: Path) -> cache.Origin:
        build(folder)
        raise DataError("bad", "hint")

    with pytest.raises(DataError):
        cache.converted("base", fail)
    assert cache.lookup("base") is None
    assert leftovers() == []


def test_a_full_disk_is_a_run_error() -> None:
    def full(folder: Path) -> cache.Origin:
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        cache.converted("base", full)
    assert leftovers() == []


def test_changed_weights_are_refused_and_removal_helps() -> None:
    made = cache.converted("base", build)
    (made.folder / "model.safetensors").write_bytes(b"other w")
    with pytest.raises(TrustError, match="changed or damaged"):
        cache.lookup("base")
    assert cache.remove("base") > 0
    assert cache.remove("base") == 0
    assert cache.converted("base", build).digest == ORIGIN.digest


@pytest.mark.parametrize("key", ["../x", "", "A", ".hidden", "a/b"])
def test_keys_stay_in_their_folder(key: str) -> None:
    with pytest.raises(DataError):
        cache.folder_of(key)


def _slow(counter: str) -> None:
    def work(folder: Path) -> cache.Origin:
        with Path(counter).open("a") as handle:
            handle.write("x")
        time.sleep(0.4)
        return build(folder)

    cache.converted("base", work)


def _stuck(ready: str) -> None:
    def work(folder: Path) -> cache.Origin:
        build(folder)
        Path(ready).touch()
        time.sleep(60)
        return ORIGIN

    cache.converted("base", work)


def test_processes_share_one_conversion(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_slow, args=(str(tmp_path / "count"),)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "x"


def test_a_killed_conversion_leaves_nothing_usable_and_is_swept(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_stuck, args=(str(tmp_path / "ready"),))
    worker.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert cache.lookup("base") is None
    assert len(leftovers()) == 1
    cache.converted("base", build)
    assert leftovers() == []


def test_digest_follows_names_and_content_only(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"abc")
        (folder / "config.json").write_text(folder.name)
    assert weights_digest(one) == weights_digest(two)
    os.utime(one / "model.safetensors", (1, 1))
    assert weights_digest(one) == weights_digest(two)
    (one / "variant.fp16.safetensors").write_bytes(b"no part of the model")
    assert weights_digest(one) == weights_digest(two)
    (two / "model.safetensors").write_bytes(b"abd")
    assert weights_digest(one) != weights_digest(two)


def test_digest_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    digest = weights_digest(tmp_path)
    monkeypatch.setattr("neuralforge.files.sha256", lambda path: pytest.fail("hashed again"))
    assert weights_digest(tmp_path) == digest


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/x.safetensors", "model.bin", 7])
def test_an_index_cannot_name_files_elsewhere(name: object, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(DataError):
        weight_files(tmp_path)


def test_parts_are_listed_by_the_index(tmp_path: Path) -> None:
    names = {"b": "model-2.safetensors", "a": "model-1.safetensors", "c": "model-1.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert [path.name for path in weight_files(tmp_path)] == ["model-1.safetensors", "model-2.safetensors"]
    with pytest.raises(DataError, match="Cannot read the weights"):
        weights_digest(tmp_path)
