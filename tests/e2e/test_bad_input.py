"""Kinds of bad input, one a line: each ends with its exit code and one paragraph, and leaves files as they were."""

import hashlib
import io
import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from neuralforge.cli.app import run

GOOD_LINE = json.dumps({"context": "def add(left, right):\n", "completion": "    return left + right\n"}) + "\n"
GOOD_ADAPTER = Path(__file__).parents[1] / "golden" / "adapter-format-1.lora"


def git(folder: Path, *words: str) -> None:
    person = {f"GIT_{role}_{part}": "a@b.example" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, env=os.environ | person)


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def prepare(folder: Path) -> None:
    """The things on disk that the cases below are about."""
    (folder / "good.jsonl").write_text(GOOD_LINE * 3)
    (folder / "bad-line.jsonl").write_text(GOOD_LINE + "{oops\n")
    (folder / "no-keys.jsonl").write_text('{"a": 1}\n')
    (folder / "empty.jsonl").touch()
    (folder / "binary.jsonl").write_bytes(bytes(range(256)) * 8)
    (folder / "not.yaml").write_text("lora: {rank: 8\n")
    (folder / "unknown.yaml").write_text("lora:\n  rnak: 8\ntrainig:\n  epochs: 2\n")
    (folder / "later.yaml").write_text("optimization:\n  ewc_lambda: 0.5\n")
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    (folder / "bomb.yaml").write_text(bomb)
    (folder / "plain").mkdir()
    (folder / "plain" / "notes.txt").write_text("nothing to learn here\n")
    (folder / "code").mkdir()
    (folder / "code" / "sums.py").write_text(
        "".join(f"def add_{name}(left, right):\n    total = left + right\n    return total\n\n\n" for name in "abc")
    )
    (folder / "no-commits").mkdir()
    git(folder / "no-commits", "init", "-q")
    (folder / "only-binary").mkdir()
    (folder / "only-binary" / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    git(folder / "only-binary", "init", "-q")
    git(folder / "only-binary", "add", "-A")
    git(folder / "only-binary", "commit", "-qm", "Add an image")
    (folder / "text.lora").write_text("this is not an archive")
    whole = GOOD_ADAPTER.read_bytes()
    (folder / "cut.lora").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (folder / "flipped.lora").write_bytes(bytes(flipped))
    (folder / "escaping.lora").write_bytes(zipped(**{"../../escaped.txt": b"x", "metadata.json": b"{}"}))
    (folder / "pickled.lora").write_bytes(zipped(**{"metadata.json": b"{}", "lora_weights.bin": b"\x80\x04."}))
    (folder / "hollow.lora").write_bytes(zipped())


@dataclass(frozen=True)
class Case:
    """A kind of bad input: what is typed, the exit code, and words that the message has to contain."""

    kind: str
    words: tuple[str, ...]
    code: int
    says: str


CASES = [
    Case("unknown command", ("trian",), 2, "Did you mean 'train'"),
    Case("text that is none", ("train-tokenizer", "--data", "only-binary/image.png", "--save", "t"), 3, "not UTF-8"),
    Case("text that is nowhere", ("train-tokenizer", "--data", "gone.txt", "--save", "t"), 3, "does not exist"),
    Case("a tiny vocabulary", ("train-tokenizer", "--data", "code", "--save", "t", "--vocab-size", "9"), 2, "bytes"),
    Case("a folder that is taken", ("train-tokenizer", "--data", "code", "--save", "plain"), 2, "exists"),
    Case("unknown option", ("train", "--lerning-rate", "1"), 2, "--learning-rate"),
    Case("option without its value", ("train", "--from-git"), 2, "--from-git"),
    Case("word for a number", ("train", "--rank", "many"), 2, "integer"),
    Case("number out of bounds", ("train", "--from-git", "plain", "--rank", "0"), 2, "greater than or equal to 1"),
    Case("not a time", ("train", "--from-git", "plain", "--budget", "soon"), 2, "1h30m"),
    Case("not a device", ("train", "--from-git", "plain", "--device", "tpu"), 2, "should be auto, cpu"),
    Case("name that is a path", ("train", "--from-git", "plain", "--name", "../up"), 2, "letters, digits"),
    Case("two precisions", ("train", "--from-git", "plain", "--fp16", "--bf16"), 2, "contradicts"),
    Case("unknown preset", ("train", "--from-git", "plain", "--preset", "qiuck"), 2, "did you mean quick"),
    Case("nothing to train on", ("train",), 2, "--from-git"),
    Case("questions without a terminal", ("train", "--interactive"), 2, "not a terminal"),
    Case("missing configuration", ("train", "--config", "none.yaml"), 2, "No such file"),
    Case("configuration that is no YAML", ("train", "--config", "not.yaml"), 2, "not.yaml:2"),
    Case("several unknown keys", ("train", "--config", "unknown.yaml"), 2, "did you mean training.epochs"),
    Case("settings of a later version", ("train", "--config", "later.yaml"), 2, "neuralforge learn"),
    Case("alias bomb", ("config", "validate", "bomb.yaml"), 2, "more than 10,000"),
    Case("missing repository", ("extract-dataset", "--git-repo", "none", "--output", "o.jsonl"), 2, "no folder none"),
    Case("folder that is no repository", ("extract-dataset", "--git-repo", "plain", "--output", "o.jsonl"), 3, "plain"),
    Case("repository without commits",
         ("extract-dataset", "--git-repo", "no-commits", "--output", "o.jsonl"), 3, "commit"),
    Case("history without text", ("extract-dataset", "--git-repo", "only-binary", "--output", "o.jsonl"), 3, "usable"),
    Case("output that is a folder", ("create-dataset", "--source", "code", "--output", "plain"), 4, "Cannot write"),
    Case("folder without sources", ("create-dataset", "--source", "plain", "--output", "o.jsonl"), 3, "no file to use"),
    Case("unknown kind of source",
         ("create-dataset", "--source", "x", "--kind", "ftp", "--output", "o.jsonl"), 2, "ftp"),
    Case("missing data set", ("analyze-dataset", "none.jsonl"), 3, "none.jsonl"),
    Case("empty data set", ("clean-dataset", "empty.jsonl", "--output", "o.jsonl"), 3, "empty.jsonl"),
    Case("data set that is binary", ("analyze-dataset", "binary.jsonl"), 3, "binary.jsonl"),
    Case("bad line in a data set", ("clean-dataset", "bad-line.jsonl", "--output", "o.jsonl"), 3, "bad-line.jsonl"),
    Case("data set of unknown keys", ("analyze-dataset", "no-keys.jsonl"), 3, "no-keys.jsonl"),
    Case("output that is the input", ("clean-dataset", "good.jsonl", "--output", "./good.jsonl"), 2, "is the input"),
    Case("unknown choice", ("clean-dataset", "good.jsonl", "--output", "o.jsonl", "--secrets", "sell"), 2, "redact"),
    Case("unknown base", ("models", "show", "smolm2"), 2, "smolm2"),
    Case("removing a base that is not there", ("models", "remove", "smollm2-135m"), 2, "smollm2-135m"),
    Case("missing adapter", ("adapters", "show", "./none.lora"), 2, "none.lora"),
    Case("adapter that is not installed", ("adapters", "remove", "nobody"), 2, "nobody"),
    Case("adapter that is no archive", ("adapters", "install", "text.lora"), 5, "text.lora"),
    Case("adapter cut short", ("adapters", "install", "cut.lora"), 5, "cut.lora"),
    Case("adapter with a changed byte", ("adapters", "install", "flipped.lora"), 5, "flipped.lora"),
    Case("adapter that leaves its folder", ("adapters", "install", "escaping.lora"), 5, "escaping.lora"),
    Case("adapter with a pickle", ("adapters", "install", "pickled.lora"), 5, "pickled.lora"),
    Case("empty adapter", ("adapters", "show", "hollow.lora"), 5, "hollow.lora"),
    Case("unknown metric", ("benchmark", "--adapter", "text.lora", "--metrics", "beauty"), 2, "beauty"),
    Case("metric without examples", ("benchmark", "--adapter", "text.lora", "--metrics", "accuracy"), 2, "--test-file"),
    Case("comparison with a broken adapter", ("ab-test", "--adapter-a", "cut.lora", "--adapter-b", "text.lora",
         "--test-data", "good.jsonl"), 5, "cut.lora"),
    Case("folder that is no run", ("monitor", "plain"), 4, "plain"),
    Case("training on a missing repository", ("train", "--from-git", "none"), 2, "no folder none"),
    Case("training on a history without text", ("train", "--from-git", "only-binary"), 3, "usable"),
    Case("training on a missing data set", ("train", "--dataset", "none.jsonl"), 3, "none.jsonl"),
    Case("training on a bad line", ("train", "--dataset", "bad-line.jsonl"), 3, "bad-line.jsonl"),
    Case("training on one example", ("train", "--dataset", "good.jsonl"), 3, "usable"),
    Case("resuming what is no run", ("train", "--resume", "plain"), 4, "plain"),
    Case("resuming without a run", ("train", "--resume"), 2, "resume"),
    Case("unknown shell", ("completion", "show", "csh"), 2, "powershell"),
]  # fmt: skip


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` by its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("NEURALFORGE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "place"
    folder.mkdir()
    prepare(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_bad_input(place: Path, capfd: pytest.CaptureFixture[str], case: Case) -> None:
    before = snapshot(place.parent)
    code = run(list(case.words))
    seen = capfd.readouterr()
    lines = seen.err.splitlines()
    error = next((number for number, line in enumerate(lines) if line.startswith("Error: ")), None)
    assert error is not None, seen.err
    assert code == case.code, seen.err
    assert "Traceback" not in seen.err
    assert not seen.out
    assert case.says in "\n".join(lines[error:])
    # One paragraph, and at most one of advice; before it only lines that say what was being done.
    assert len(lines) - error <= 2
    assert all(line.startswith(" Hint: ") for line in lines[error + 1 :])
    assert snapshot(place.parent) == before


def test_there_are_at_least_thirty_kinds() -> None:
    assert len({case.kind for case in CASES}) == len(CASES) >= 30


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="permissions differ")
@pytest.mark.parametrize("make", [lambda folder: folder / "file" / "o.jsonl"], ids=["below a file"])
def test_output_that_cannot_be_made(
    place: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path], Path]
) -> None:
    (place / "file").touch()
    assert run(["clean-dataset", "good.jsonl", "--output", str(make(place))]) in (3, 4)
    assert "Traceback" not in capfd.readouterr().err
