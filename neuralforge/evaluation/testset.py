"""Examples to judge an adapter on: a file, or those commits of a repository that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuralforge.data.jsonl import read_examples
from neuralforge.data.pipeline import CleaningOptions, collect
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.data.split import spread
from neuralforge.errors import DataError, UserError
from neuralforge.runs.events import Emit, Note, Phase, silent

MAX_EXAMPLES = 200


@dataclass(frozen=True, slots=True)
class TestSet:
    """Examples with where they come from.

    Attributes:
        examples: what the adapter is judged on.
        source: the file or repository.
        held_out_commits: oldest and newest commit, when all are known to be later than what was trained on.
    """

    __test__ = False  # not a test class, whatever its name begins with

    examples: tuple[Example, ...]
    source: str
    held_out_commits: tuple[str, ...] = ()


def read_test_set(
    *,
    test_file: Path | None,
    from_git: str | None,
    train_commits: Sequence[str] = (),
    trained_until: int | None = None,
    max_examples: int = MAX_EXAMPLES,
    seed: int = 0,
    emit: Emit = silent,
) -> TestSet | None:
    """Read the examples; None when neither a file nor a repository is named.

    Args:
        test_file: JSONL in any of the known shapes; a seeded draw when it holds more than ``max_examples``.
        from_git: a repository, of which later examples are taken than were trained on.
        train_commits: oldest and newest commit that the adapter was trained on.
        trained_until: author time of the newest, for a history in which it gives no usable example (any more).
        max_examples: at most so many.
        seed: of the draw.
        emit: told about progress.

    Raises:
        UserError: both are named, or ``max_examples`` is not positive.
        DataError: nothing usable is found.
    """
    if test_file is not None and from_git is not None:
        raise UserError("Both --test-file and --from-git are given.", "Name one source of examples to judge on.")
    if max_examples < 1:
        raise UserError(f"The number of examples must be at least 1, not {max_examples}.", "Leave it out for 200.")
    if test_file is not None:
        emit(Phase("read", str(test_file)))
        return TestSet(tuple(_reservoir(test_file, max_examples, seed)), str(test_file))
    if from_git is None:
        return None
    funnel = Funnel()
    emit(Phase("mine", from_git))
    source = open_source("git", from_git, SourceOptions())
    found = collect(source, options=CleaningOptions(), funnel=funnel, emit=emit)
    return later_commits(found, train_commits, trained_until, source=from_git, max_examples=max_examples, emit=emit)


def _reservoir(path: Path, size: int, seed: int) -> list[Example]:
    """A uniform draw from a file of any length, in file order (Vitter 1985, algorithm R)."""
    generator = np.random.default_rng(seed)
    kept: list[tuple[int, Example]] = []
    for number, example in enumerate(read_examples(path)):
        if number < size:
            kept.append((number, example))
        elif (place := int(generator.integers(0, number + 1))) < size:
            kept[place] = (number, example)
    return [example for _, example in sorted(kept, key=lambda item: item[0])]


def later_commits(
    found: Sequence[Example],
    train_commits: Sequence[str],
    trained_until: int | None = None,
    *,
    source: str,
    max_examples: int,
    emit: Emit = silent,
) -> TestSet:
    """Examples written after the last commit trained on, or the newest if it is not known when that was.

    Where there are more than ``max_examples``, they are drawn evenly over commits and files, as training does it.

    Raises:
        DataError: nothing was mined, or nothing is later than what was trained on.
    """
    if not found:
        raise DataError(f"No usable example was found in {source}.", "Try a repository with more history.")
    dated = sorted(found, key=lambda example: (example.author_time or 0, example.commit or ""))
    newest_trained = train_commits[-1] if train_commits else None
    cutoff = max((e.author_time or 0 for e in found if _is(e.commit, newest_trained)), default=trained_until)
    if cutoff is None:
        emit(
            Note(
                "The commits this adapter was trained on are not in this history (or are not recorded): "
                "whether it has seen these examples is not known.",
                "warning",
            )
        )
        dated = dated[-max_examples:]
    else:
        dated = [e for e in dated if (e.author_time or 0) > cutoff]
        if not dated:
            raise DataError(
                f"{source} has no usable commit after {str(newest_trained)[:12]}, the last one trained on.",
                "Commit some work first, or judge on a file with --test-file.",
            )
    chosen = [dated[index] for index in sorted(spread(dated, range(len(dated)), max_examples))]
    commits = [example.commit for example in chosen if example.commit is not None]
    held_out = (commits[0], commits[-1]) if commits and cutoff is not None else ()
    return TestSet(tuple(chosen), source, held_out)


def _is(commit: str | None, recorded: str | None) -> bool:
    """Whether a commit is the recorded one, which may be abbreviated."""
    return bool(commit and recorded and commit.startswith(recorded))
