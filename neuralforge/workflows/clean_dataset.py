"""Filter a data set, remove what repeats, balance its languages, and split it for training and evaluation."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neuralforge.data.cleaning.balance import balance_by_language
from neuralforge.data.jsonl import read_examples, write_examples
from neuralforge.data.pipeline import CleaningOptions, clean, prepare
from neuralforge.data.records import Example, Funnel
from neuralforge.data.split import Split, SplitOptions
from neuralforge.errors import DataError, UserError
from neuralforge.runs.events import Emit, Phase, silent


@dataclass(frozen=True, slots=True)
class CleanedDataset:
    """What was written: ``output`` alone, or ``train`` and ``evaluation`` when it was split."""

    output: Path | None
    train: Path | None
    evaluation: Path | None
    examples: int
    held_out: int
    funnel: Funnel
    split: Split | None


def clean_dataset(
    path: str | Path,
    output: str | Path,
    *,
    secrets: Literal["drop", "redact", "keep"] = "drop",
    near_duplicates: float | None = 0.8,
    balance: float | None = None,
    split: bool = False,
    held_out: float = 0.1,
    max_held_out: int = 200,
    skip_bad: bool = False,
    emit: Emit = silent,
) -> CleanedDataset:
    """Clean the JSONL data set at ``path``.

    With ``split`` the result is two files beside ``output``: for ``clean.jsonl``, ``clean.train.jsonl`` and
    ``clean.eval.jsonl``; ``output`` itself is not written. Without balance and split the data set is streamed;
    both of them need every example at once.

    Args:
        path: the file to read; never changed.
        output: the file to write.
        secrets: drop examples with secrets, redact the secrets, or keep both.
        near_duplicates: similarity (0 to 1) from which an example repeats another; None keeps near duplicates.
        balance: cap each language at this many times the median language's examples; None for no cap.
        split: write a training and an evaluation file, the newest commits in the latter.
        held_out: share of the examples for evaluation.
        max_held_out: most examples for evaluation.
        skip_bad: count lines that are no example instead of stopping at the first.
        emit: told of progress.

    Raises:
        UserError: an option makes no sense, or an output is the input.
        DataError: the input cannot be read, or nothing is left of it; no file is then changed.
        RunError: an output cannot be written.
    """
    source, target = Path(path), Path(output)
    train, evaluation = split_names(target)
    _refuse_overwriting(source, (train, evaluation) if split else (target,))
    options = CleaningOptions(secrets=secrets, near_duplicates=near_duplicates, balance=balance)
    division = SplitOptions(fraction=held_out, at_most=max_held_out)
    emit(Phase("clean", str(source)))
    funnel = Funnel()
    stream = clean(read_examples(source, skip_bad=skip_bad, funnel=funnel), options, funnel, emit)
    if not split and balance is None:
        count = write_examples(target, _some(stream, source, funnel))
        return CleanedDataset(target, None, None, count, 0, funnel, None)
    examples = list(_some(stream, source, funnel))
    if balance is not None:
        examples = balance_by_language(examples, balance, funnel)
    if not split:
        return CleanedDataset(target, None, None, write_examples(target, examples), 0, funnel, None)
    if len(examples) < 2:
        raise DataError(f"{source} has one usable example, which cannot be split.", "Leave --split out, or add more.")
    divided = prepare(examples, division, funnel)
    write_examples(evaluation, divided.held_out)
    write_examples(train, divided.train)
    return CleanedDataset(None, train, evaluation, len(divided.train), len(divided.held_out), funnel, divided)


def split_names(output: Path) -> tuple[Path, Path]:
    """Training and evaluation file for ``--split``: ``a/b.jsonl`` gives ``a/b.train.jsonl``, ``a/b.eval.jsonl``."""
    ending = "".join(output.suffixes[-2:]) if output.suffix == ".gz" else output.suffix
    stem = output.name.removesuffix(ending) if ending else output.name
    return output.with_name(f"{stem}.train{ending}"), output.with_name(f"{stem}.eval{ending}")


def _refuse_overwriting(source: Path, targets: Iterable[Path]) -> None:
    for target in targets:
        # By file, not by name: a link or another spelling of the path is the same file.
        same = target.exists() and source.exists() and target.samefile(source)
        if same or target.resolve() == source.resolve():
            raise UserError(f"The output {target} is the input.", "Name another file as --output; the input is kept.")
        if target.is_dir():
            raise UserError(f"The output {target} is a folder.", "Name a file, for example clean.jsonl.")


def _some(examples: Iterable[Example], source: Path, funnel: Funnel) -> Iterable[Example]:
    count = 0
    for example in examples:
        count += 1
        yield example
    if not count:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in list(funnel.rows())[:5])
        raise DataError(f"Nothing in {source} is usable. Left out: {reasons}.", "Run analyze-dataset on it.")
