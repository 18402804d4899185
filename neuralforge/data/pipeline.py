"""From a source to examples worth training on: quality, secrets, duplicates, balance, in that order, streamed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from neuralforge.data.cleaning.balance import balance_by_language
from neuralforge.data.cleaning.duplicates import ExactDuplicates, NearDuplicates
from neuralforge.data.cleaning.quality import QualityLimits, fault
from neuralforge.data.cleaning.secrets import Secret, SecretScanner, redact
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import DataSource
from neuralforge.data.split import Split, SplitOptions, split
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Phase, Progress, silent

REPORT_EVERY = 500


@dataclass(frozen=True, slots=True)
class CleaningOptions:
    """Which filters run, and how hard.

    Attributes:
        quality: bounds on length and shape, or None for no such filter.
        secrets: ``drop`` an example whose completion holds a secret, and replace one in the text around it by
            ``REDACTED``; ``redact`` replaces it wherever it stands; ``keep`` leaves all as it is.
        exact_duplicates: drop an example whose completion and near context came before.
        near_duplicates: estimated Jaccard similarity (0 to 1) from which a completion counts as seen, or None.
        balance: cap every language at this many times the median language's examples, or None.
    """

    quality: QualityLimits | None = field(default_factory=QualityLimits)
    secrets: Literal["drop", "redact", "keep"] = "drop"
    exact_duplicates: bool = True
    near_duplicates: float | None = 0.8
    balance: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that no filter could act on."""
        if self.secrets not in ("drop", "redact", "keep"):
            raise UserError(f"Secrets cannot be handled by {self.secrets!r}.", "Choose drop, redact or keep.")
        if self.near_duplicates is not None and not 0.0 < self.near_duplicates <= 1.0:
            raise UserError(
                f"The near-duplicate threshold {self.near_duplicates} is not a similarity.",
                "Give a number above 0 and at most 1; 0.8 is the default.",
            )
        if self.balance is not None and not self.balance > 0:
            raise UserError(f"The balance factor {self.balance} is not positive.", "Try 2: twice the median language.")


def clean(
    examples: Iterable[Example], options: CleaningOptions, funnel: Funnel, emit: Emit = silent
) -> Iterator[Example]:
    """Stream the examples that pass; every other is moved in ``funnel`` from kept to its reason.

    Balancing needs all examples and is not done here (see `collect`).
    """
    exact = ExactDuplicates() if options.exact_duplicates else None
    near = NearDuplicates(options.near_duplicates) if options.near_duplicates is not None else None
    scanner = SecretScanner() if options.secrets != "keep" else None
    passed = 0
    for example in examples:
        checked = _checked(example, options, scanner, funnel)
        if checked is None:
            continue
        if exact is not None and exact.seen(checked):
            funnel.discard("exact duplicate")
            continue
        if near is not None and near.seen(checked):
            funnel.discard("near duplicate")
            continue
        passed += 1
        if passed % REPORT_EVERY == 0:
            emit(Progress(passed, None, "examples", f"{funnel.seen:,} seen"))
        yield checked


def collect(source: DataSource, *, options: CleaningOptions, funnel: Funnel, emit: Emit = silent) -> list[Example]:
    """Everything ``source`` gives that passes the filters, balanced when asked, in the source's order."""
    emit(Phase("mine"))
    examples = list(clean(source.examples(funnel, emit), options, funnel, emit))
    if options.balance is not None:
        examples = balance_by_language(examples, options.balance, funnel)
    emit(Progress(len(examples), len(examples), "examples", f"{funnel.seen:,} seen"))
    return examples


def prepare(examples: Iterable[Example], options: SplitOptions, funnel: Funnel) -> Split:
    """Divide cleaned examples into training and held-out ones (see `neuralforge.data.split`)."""
    return split(list(examples), options, funnel)


def _checked(
    example: Example, options: CleaningOptions, scanner: SecretScanner | None, funnel: Funnel
) -> Example | None:
    """The example as it may go on (perhaps redacted), or None when it was counted out."""
    reason = fault(example, options.quality) if options.quality is not None else None
    if reason is not None:
        funnel.discard(reason)
        return None
    secrets = scanner.find(example) if scanner is not None else []
    if not secrets:
        return example
    touched = [secret for secret in secrets if _touches_completion(example, secret)]
    if touched and options.secrets == "drop":
        funnel.discard(f"secret: {touched[0].kind}")
        return None
    return redact(example, secrets)


def _touches_completion(example: Example, secret: Secret) -> bool:
    start = len(example.prefix)
    return secret.end > start and secret.start < start + len(example.completion)
