"""From places with text to a tokenizer's folder, wholly or not at all."""

from pathlib import Path

import pytest

from neuralforge.errors import DataError, RunError, UserError
from neuralforge.runs.events import Event, Phase
from neuralforge.workflows import train_tokenizer as workflow
from neuralforge.workflows.train_tokenizer import train_tokenizer


@pytest.fixture
def text(tmp_path: Path) -> Path:
    place = tmp_path / "corpus.txt"
    place.write_text("def multiply(first, second):\n    product = first * second\n    return product\n" * 20)
    return place


def test_several_places_make_one_tokenizer(tmp_path: Path, text: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("total = 1\n" * 20)
    told: list[Event] = []
    made = train_tokenizer([text, tmp_path / "code"], tmp_path / "out", vocab_size=300, emit=told.append)
    assert (made.vocabulary, made.texts) == (300, 2)
    assert made.bytes_read == text.stat().st_size + 200
    assert made.bytes_per_token > 1.5
    assert {path.name for path in made.folder.iterdir()} >= {"tokenizer.json", "tokenizer_config.json"}
    assert [one.name for one in told if isinstance(one, Phase)] == ["read", "read", "merge"]


def test_a_folder_is_replaced_only_when_asked_and_only_a_tokenizers(tmp_path: Path, text: Path) -> None:
    out = tmp_path / "out"
    train_tokenizer([text], out, vocab_size=290)
    with pytest.raises(UserError, match="already exists"):
        train_tokenizer([text], out, vocab_size=300)
    assert train_tokenizer([text], out, vocab_size=300, force=True).vocabulary == 300
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="already exists"):
        train_tokenizer([text], other, vocab_size=300, force=True)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_nothing_is_left_of_a_failure(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="does not exist"):
        train_tokenizer([text, tmp_path / "gone.txt"], tmp_path / "out")

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workflow, "sync_folder", full)
    monkeypatch.setattr(Path, "rename", lambda *_: full(tmp_path))
    with pytest.raises(RunError, match="No space left"):
        train_tokenizer([text], tmp_path / "out", vocab_size=300)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]
