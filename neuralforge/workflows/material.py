"""What a training learns from and is judged on: gathered from its sources, kept with its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files
from neuralforge.data.jsonl import read_examples, write_examples
from neuralforge.data.pipeline import CleaningOptions, collect, prepare
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.data.split import Split, SplitOptions, span
from neuralforge.errors import DataError, RunError, UserError
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Emit, Note, Phase, silent

if TYPE_CHECKING:
    from neuralforge.config.schema import TrainConfig

FEW = 50
DATA = "data.json"


@dataclass(frozen=True, slots=True)
class Material:
    """Examples for training and for judging, and where they came from."""

    split: Split
    funnel: dict[str, Any]
    sources: tuple[str, ...]


def gather(config: TrainConfig, emit: Emit = silent) -> Material:
    """Examples from every source that ``config`` names, cleaned and split by time."""
    data = config.dataset
    funnel = Funnel()
    options = SourceOptions(
        languages=data.languages,
        since=data.since,
        until=data.until,
        paths=data.paths,
        patterns=data.patterns,
        max_examples=data.max_examples,
        skip_bad=data.skip_bad,
    )
    named = [("git", data.from_git)] if data.from_git else []
    named += [("jsonl", str(data.train_file))] if data.train_file else []
    named += [_source(place) for place in data.sources]
    examples: list[Example] = []
    for kind, location in named:
        emit(Phase("mine" if kind == "git" else "read", location))
        examples += collect(open_source(kind, location, options), options=CleaningOptions(), funnel=funnel, emit=emit)
    emit(Phase("split", f"{len(examples):,} examples"))
    if data.eval_file:
        held_out = list(read_examples(data.eval_file, skip_bad=data.skip_bad))
        later = min(map(_time, held_out), default=0) > max(map(_time, examples), default=0)
        split = Split(examples, held_out, span(examples), span(held_out) if later else (), by="file")
    else:
        split = prepare(examples, SplitOptions(data.held_out_share, data.held_out_limit), funnel)
    if not split.train or not split.held_out:
        raise DataError(
            f"Only {len(examples)} usable examples were found; at least one is needed to train on and one to judge on.",
            "See what was left out, and why, with `neuralforge extract-dataset` and `neuralforge analyze-dataset`.",
        )
    if len(examples) < FEW:
        emit(
            Note(
                f"Only {len(examples)} usable examples: with fewer than {FEW} an adapter often ends below its base.",
                "warning",
            )
        )
    if split.by == "time":
        emit(Note(f"{len(split.train):,} examples to train on, {len(split.held_out)} newer ones to judge on."))
    else:
        emit(Note(f"{len(split.train):,} examples to train on, {len(split.held_out)} others to judge on ({split.by})."))
    return Material(split, funnel.to_json(), tuple(f"{kind}:{public_name(location)}" for kind, location in named))


def _time(example: Example) -> int:
    return example.author_time or 0


def store_material(run: RunDirectory, material: Material) -> None:
    """Keep the examples with the run: resumed, it learns from the same ones whatever the repository did since."""
    write_examples(run.path / "train.jsonl", material.split.train)
    write_examples(run.path / "held-out.jsonl", material.split.held_out)
    split = material.split
    about = {
        "funnel": material.funnel,
        "sources": list(material.sources),
        "train_commits": list(split.train_commits),
        "held_out_commits": list(split.held_out_commits),
        "by": split.by,
    }
    files.write_json(run.path / DATA, about)


def has_material(run: RunDirectory) -> bool:
    """Whether a run came so far that it can be resumed."""
    return (run.path / DATA).exists()


def stored_material(run: RunDirectory) -> Material:
    """What ``store_material`` kept.

    Raises:
        RunError: the run was stopped before that.
    """
    if not has_material(run):
        raise RunError(f"The run {run.path} was stopped before its examples were stored.", "Start the training again.")
    about: Mapping[str, Any] = files.read_json(run.path / DATA)
    split = Split(
        train=list(read_examples(run.path / "train.jsonl")),
        held_out=list(read_examples(run.path / "held-out.jsonl")),
        train_commits=tuple(about["train_commits"]),
        held_out_commits=tuple(about["held_out_commits"]),
        by=about["by"],
    )
    return Material(split, about["funnel"], tuple(about["sources"]))


def public_name(location: str) -> str:
    """A source's name without the folders it lies in on this machine, and without credentials."""
    if "://" in location:
        scheme, _, rest = location.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"
    kept = Path(location).resolve().name or location
    return printable(kept)


def printable(text: str) -> str:
    """``text`` with a question mark for every character that a manifest may not carry."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _source(place: str) -> tuple[str, str]:
    """(plugin, location) of ``NAME:LOCATION``, a folder, a repository or a data file."""
    name, colon, location = place.partition(":")
    if colon and name.isidentifier() and not location.startswith("//"):
        return name, location
    path = Path(place)
    if path.is_dir():
        return ("git" if (path / ".git").exists() else "files"), place
    if path.is_file():
        return "jsonl", place
    raise UserError(
        f"The source {place!r} is neither a folder nor a file.",
        "Give a folder, a JSONL file, or NAME:LOCATION for a source plugin (`neuralforge plugins`).",
    )
