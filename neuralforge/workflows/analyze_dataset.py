"""Look at a data set before training on it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from neuralforge.data.jsonl import read_examples
from neuralforge.data.records import Example, Funnel
from neuralforge.data.statistics import FEWEST, MAX_TOKENS, TOKENS_PER_SECOND, DatasetStatistics, describe
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Note, Phase, Progress, silent

_REPORT_EVERY = 1_000


def analyze_dataset(
    path: str | Path,
    *,
    skip_bad: bool = False,
    tokens_per_second: float = TOKENS_PER_SECOND,
    max_tokens: int = MAX_TOKENS,
    emit: Emit = silent,
) -> DatasetStatistics:
    """Describe the JSONL data set at ``path`` in one pass and bounded memory.

    Args:
        path: the file.
        skip_bad: count lines that are no example instead of stopping at the first.
        tokens_per_second: training speed to estimate with, for example one measured on this machine.
        max_tokens: window of context and completion together, in tokens.
        emit: told of progress, and warned when there are too few usable examples.

    Raises:
        UserError: a speed or window that is not positive.
        DataError: the file cannot be read, or a line is bad and ``skip_bad`` is off.
    """
    if not tokens_per_second > 0 or max_tokens < 1:
        raise UserError("The training speed and the window must be positive.", "Leave them out for the defaults.")
    emit(Phase("analyze", str(path)))
    funnel = Funnel()
    examples = _reported(read_examples(Path(path), skip_bad=skip_bad, funnel=funnel), emit)
    statistics = describe(examples, funnel, tokens_per_second=tokens_per_second, max_tokens=max_tokens)
    if statistics.too_small:
        emit(
            Note(f"Only {statistics.usable} usable examples; at least {FEWEST} are needed to expect a gain.", "warning")
        )
    return statistics


def _reported(examples: Iterable[Example], emit: Emit) -> Iterator[Example]:
    for count, example in enumerate(examples, 1):
        if count % _REPORT_EVERY == 0:
            emit(Progress(count, None, "examples"))
        yield example
