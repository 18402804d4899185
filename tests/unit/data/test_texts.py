"""Whole texts out of folders, JSONL and text files, a piece at a time."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.data import texts
from neuralforge.data.records import Funnel
from neuralforge.data.texts import read_texts
from neuralforge.errors import DataError


def test_a_folder_gives_its_files_whole_code_and_prose(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def a():\n    return 1\n")
    (tmp_path / "b.md").write_text("# Prose\n")
    (tmp_path / "c.bin").write_bytes(b"\x00\xff\x00")
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    funnel = Funnel()
    assert list(read_texts(tmp_path, funnel=funnel)) == ["def a():\n    return 1\n", "# Prose\n"]
    assert funnel.kept == 2
    assert funnel.dropped["binary"] == 1
    assert funnel.dropped["symbolic link"] == 1


def test_jsonl_gives_each_example_as_it_stood(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"prefix": "a = ", "middle": "1", "suffix": "\n"}) + "\n" + '{"text": "prose"}\n')
    assert list(read_texts(file)) == ["a = 1\n", "prose"]


@given(
    st.text(alphabet=st.sampled_from("aß€😀\n\r "), max_size=200).filter(lambda text: bool(text.strip())),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_pieces_of_a_text_file_join_to_the_file(text: str, piece: int, chunk: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "PIECE", piece)
        patch.setattr(texts, "CHUNK", chunk)
        file = Path(folder) / "a.txt"
        file.write_bytes(text.encode())
        pieces = list(read_texts(file))
    assert "".join(pieces).rstrip() == text.replace("\r\n", "\n").rstrip()
    assert all(len(one) <= piece + 1 for one in pieces)  # a carriage return at the very end


@pytest.mark.parametrize(
    ("content", "match"), [(b"", "is empty"), (b" \n\n", "is empty"), (b"good\n\xff\xfe", "byte 5")]
)
def test_files_without_text(tmp_path: Path, content: bytes, match: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=match):
        list(read_texts(file))


def test_the_bad_byte_is_named_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for place in (0, texts.CHUNK - 1, texts.CHUNK, 2 * texts.CHUNK + 77):
        file.write_bytes(("ä" * texts.CHUNK * 2).encode()[: place - place % 2] + b"x" * (place % 2) + b"\xff\n")
        with pytest.raises(DataError, match=f"byte {place:,}\\)"):
            list(read_texts(file))


def test_an_empty_file_among_others_is_an_error_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    funnel = Funnel()
    funnel.keep()
    with pytest.raises(DataError, match="is empty"):
        list(read_texts(tmp_path / "empty.txt", funnel=funnel))


def test_an_empty_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file to use"):
        list(read_texts(tmp_path))
    with pytest.raises(DataError, match="Cannot read"):
        list(read_texts(tmp_path / "none.txt"))
