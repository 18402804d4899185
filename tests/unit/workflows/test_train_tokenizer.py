"""From places with text to a tokenizer's folder, wholly or not at all."""

from pathlib import Path

import pytest

from neuralforge.errors import DataError, RunError, UserError
from neuralforge.runs.events import Event, Phase
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
    assert (made.vocabulary, made.funnel.kept) == (300, 2)
    assert made.bytes_read == text.stat().st_size + 200
    assert made.bytes_per_token > 1.5
    assert {path.name for path in made.folder.iterdir()} >= {"tokenizer.json", "tokenizer_config.json"}
    assert [one.name for one in told if isinstance(one, Phase)] == ["read", "read", "merge"]


def test_a_folder_that_is_there_is_never_touched(tmp_path: Path, text: Path) -> None:
    for name in ("folder", "file"):
        place = tmp_path / name
        place.mkdir() if name == "folder" else place.write_text("years of work")
        with pytest.raises(UserError, match="already exists"):
            train_tokenizer([text], place, vocab_size=300)
    assert (tmp_path / "file").read_text() == "years of work"
    assert list((tmp_path / "folder").iterdir()) == []


def test_nothing_is_left_of_a_failure(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="does not exist"):
        train_tokenizer([text, tmp_path / "gone.txt"], tmp_path / "out")

    def full(*_: object) -> None:
        raise Exception("No space left on device (os error 28)")  # as the library below says it

    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", full)
    with pytest.raises(RunError, match="No space left"):
        train_tokenizer([text], tmp_path / "out", vocab_size=300)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def test_what_was_left_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("total = 1\n" * 20)
    (tmp_path / "code" / "dump.txt").write_text("a long line\n" * 100_000)
    made = train_tokenizer([tmp_path / "code"], tmp_path / "out", vocab_size=265)
    assert made.funnel.dropped["file too large"] == 1
    (tmp_path / "code" / "a.py").unlink()
    with pytest.raises(DataError, match="file too large: 1"):
        train_tokenizer([tmp_path / "code"], tmp_path / "two", vocab_size=265)
