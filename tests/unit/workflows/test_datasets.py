"""The four data set workflows, from files on disk to files on disk."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from neuralforge.data.jsonl import read_examples, write_examples
from neuralforge.data.records import Example
from neuralforge.errors import DataError, NeuralForgeError, UserError
from neuralforge.runs.events import Note
from neuralforge.workflows.analyze_dataset import analyze_dataset
from neuralforge.workflows.clean_dataset import clean_dataset, split_names
from neuralforge.workflows.create_dataset import create_dataset
from neuralforge.workflows.extract_dataset import extract_dataset


def _examples(count: int) -> list[Example]:
    return [
        Example(
            "import os\n\n\n",
            f"def name_{n}(first_{n}, second):\n    return make_{n}(first_{n}, {n * 7919}, second * {n})\n",
            language="go" if n % 10 == 0 else "python",
            path=f"f{n % 7}.py",
            commit=f"{n // 4:040x}",
            author_time=n // 4,
        )
        for n in range(count)
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "set.jsonl"
    write_examples(path, _examples(200))
    return path


def test_extract_dataset_mines_a_repository(tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    repository.mkdir()

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@lovelace.org"]
        subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)

    git("init", "-q")
    for number in range(3):
        body = f"def area_{number}(width, height):\n    return width * height * {number + 2}\n"
        (repository / f"shape{number}.py").write_text(body)
        git("add", ".")
        git("commit", "-qm", f"Add shape {number}")
    output = tmp_path / "out" / "set.jsonl"
    told: list[object] = []
    written = extract_dataset(repository, output, languages=["py"], emit=told.append)
    examples = list(read_examples(output))
    assert written.output == output
    assert written.examples == len(examples) >= 1
    assert all(example.commit and example.language == "python" for example in examples)
    assert any(isinstance(event, Note) and event.level == "warning" for event in told)
    funnel = written.funnel
    assert funnel.seen == funnel.kept + funnel.dropped.total()
    assert funnel.kept == written.examples


def test_create_dataset_from_files_and_through_any_source(tmp_path: Path, dataset: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "A.java").write_text("class A {\n    int twice(int width) {\n        return width * 2;\n    }\n}\n")
    (folder / "b.py").write_text("def twice(width):\n    return width * 2\n")
    written = create_dataset(folder, tmp_path / "java.jsonl", pattern="*.java")
    assert {example.language for example in read_examples(written.output)} == {"java"}
    assert written.funnel.dropped["pattern not matched"] == 1
    again = create_dataset(dataset, tmp_path / "go.jsonl", kind="jsonl", languages=["go"], max_examples=5)
    assert [example.language for example in read_examples(again.output)] == ["go"] * 5


def test_a_source_with_nothing_usable_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"text": ""}\n{"context": "", "completion": "}"}\n')
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    with pytest.raises(DataError, match=r"1 quality: empty.*1 quality: trivial"):
        create_dataset(path, output, kind="jsonl")
    with pytest.raises(DataError, match="Nothing in"):
        clean_dataset(path, output)
    assert output.read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.jsonl", "set.jsonl"]


def test_unknown_sources_and_options_are_refused(tmp_path: Path) -> None:
    for arguments in ({"kind": "nosuch"}, {"languages": ["klingon"]}, {"max_examples": 0}, {"secrets": "hide"}):
        with pytest.raises(UserError):
            create_dataset(tmp_path, tmp_path / "o.jsonl", **arguments)  # type: ignore[arg-type]


def test_analyze_dataset(dataset: Path, tmp_path: Path) -> None:
    found = analyze_dataset(dataset)
    assert found.examples == found.usable == 200
    assert found.commits == 50
    assert found.funnel is not None
    assert found.funnel["kept"] == 200
    assert analyze_dataset(dataset, tokens_per_second=1.0).training_seconds > 100 * found.training_seconds
    json.dumps(found.to_json())
    small = tmp_path / "small.jsonl"
    write_examples(small, _examples(20))
    told: list[object] = []
    assert analyze_dataset(small, emit=told.append).too_small
    assert any(isinstance(event, Note) and "20 usable" in event.message for event in told)
    with pytest.raises(UserError):
        analyze_dataset(small, tokens_per_second=0)


def test_clean_dataset_streams_and_counts(dataset: Path, tmp_path: Path) -> None:
    with dataset.open("a") as handle:
        handle.write("bad\n" + json.dumps(_examples(1)[0].to_json()) + "\n")
    output = tmp_path / "clean.jsonl"
    with pytest.raises(DataError, match="line 201"):
        clean_dataset(dataset, output)
    assert not output.exists()
    cleaned = clean_dataset(dataset, output, skip_bad=True)
    assert cleaned.examples == 200 == len(list(read_examples(output)))
    assert cleaned.funnel.dropped == {"bad line: not JSON": 1, "exact duplicate": 1}
    assert cleaned.funnel.seen == 202


def test_clean_dataset_balances_and_splits(dataset: Path, tmp_path: Path) -> None:
    balanced = clean_dataset(dataset, tmp_path / "b.jsonl", balance=1.0)
    languages = [example.language for example in read_examples(tmp_path / "b.jsonl")]
    assert (languages.count("go"), languages.count("python")) == (20, 100)
    assert balanced.funnel.dropped == {"balance: python": 80}
    divided = clean_dataset(dataset, tmp_path / "c.jsonl", split=True, held_out=0.2, max_held_out=30)
    assert (divided.train, divided.evaluation) == (tmp_path / "c.train.jsonl", tmp_path / "c.eval.jsonl")
    assert not (tmp_path / "c.jsonl").exists()
    train, held_out = list(read_examples(tmp_path / "c.train.jsonl")), list(read_examples(tmp_path / "c.eval.jsonl"))
    assert (len(train), len(held_out)) == (divided.examples, divided.held_out)
    assert len(held_out) == 30
    assert max(example.author_time or 0 for example in train) < min(example.author_time or 0 for example in held_out)
    assert divided.funnel.kept == len(train) + len(held_out)


def test_the_input_is_never_overwritten(dataset: Path, tmp_path: Path) -> None:
    before = dataset.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(dataset)
    hard = tmp_path / "hard.jsonl"
    hard.hardlink_to(dataset)
    for output in (dataset, link, hard, tmp_path / "." / "x" / ".." / "set.jsonl"):
        with pytest.raises(UserError, match="is the input"):
            clean_dataset(dataset, output)
    train = tmp_path / "set.train.jsonl"
    train.write_bytes(before)
    with pytest.raises(UserError, match="is the input"):
        clean_dataset(train, tmp_path / "set.jsonl", split=True)
    with pytest.raises(UserError, match="is a folder"):
        clean_dataset(dataset, tmp_path)
    assert dataset.read_bytes() == before


def test_split_names() -> None:
    assert split_names(Path("a/b.jsonl")) == (Path("a/b.train.jsonl"), Path("a/b.eval.jsonl"))
    assert split_names(Path("b.jsonl.gz")) == (Path("b.train.jsonl.gz"), Path("b.eval.jsonl.gz"))
    assert split_names(Path("b")) == (Path("b.train"), Path("b.eval"))


def test_compressed_sets_go_through(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl.gz"
    write_examples(path, _examples(60))
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 60
    assert clean_dataset(path, tmp_path / "out.jsonl.gz").examples == 60


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_missing_inputs_are_one_kind_of_error(tmp_path: Path, name: str) -> None:
    for work in (analyze_dataset, lambda path: clean_dataset(path, tmp_path / "o.jsonl")):
        with pytest.raises(NeuralForgeError):
            work(tmp_path / name)


def test_the_data_workflows_load_no_torch() -> None:
    program = (
        "import sys, neuralforge.workflows.extract_dataset, neuralforge.workflows.create_dataset,"
        "neuralforge.workflows.analyze_dataset, neuralforge.workflows.clean_dataset;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft', 'scipy', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
