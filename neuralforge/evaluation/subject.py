"""The adapter that is judged, and the base it belongs to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from neuralforge.adapter.fit import check_fits
from neuralforge.adapter.manifest import Manifest
from neuralforge.adapter.package import opened, read_manifest
from neuralforge.adapter.store import resolve
from neuralforge.data.records import Example
from neuralforge.errors import UserError
from neuralforge.models import places
from neuralforge.models.base import BaseModel
from neuralforge.models.fim import ADDED_FIM, add_fim_tokens
from neuralforge.models.loading import load_base_model
from neuralforge.runs.events import Emit, Note, Phase, silent
from neuralforge.tokens.encoding import Encoded, EncodingReport, encode
from neuralforge.training.attach import attach_adapter, detach

MAX_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Subject:
    """An adapter on disk (a package or an unpacked folder) and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.manifest.name} {self.manifest.version}"

    @property
    def train_commits(self) -> tuple[str, ...]:
        """Oldest and newest commit trained on, () when none is recorded."""
        commits = self.manifest.commits
        return () if commits is None else (commits.first, commits.last)

    @property
    def trained_until(self) -> int | None:
        """Author time of the newest commit trained on, seconds since 1970, None when not recorded."""
        commits = self.manifest.commits
        return None if commits is None else commits.until

    @property
    def max_length(self) -> int:
        """Tokens of an example, as in training; 256 when not recorded."""
        recorded = self.manifest.training.get("max_length")
        return recorded if isinstance(recorded, int) and 16 <= recorded <= 1 << 20 else MAX_LENGTH


def find(adapter: str | Path) -> Subject:
    """Resolve a path or the name of an installed adapter and read its manifest.

    Raises:
        UserError, TrustError: there is none, or it is damaged.
    """
    path = resolve(adapter)
    return Subject(path, read_manifest(path))


def load_base(
    subject: Subject, *, name: str | None = None, dtype: str | None = None, device: str = "cpu", emit: Emit = silent
) -> BaseModel:
    """Load the base that the adapter was trained on; ``name`` says where it is, if it is not where it last was.

    Raises:
        UserError: it is not known where it is.
        TrustError: its weights are not those the adapter was trained on.
    """
    wanted = subject.manifest.base
    emit(Phase("load", name or wanted.name))
    place = places.find(wanted.digest)
    try:
        base = load_base_model(name or str(place or wanted.name), dtype=dtype, device=device, emit=emit)
    except UserError as failure:
        if name is not None:
            raise
        raise UserError(
            f"The base of {subject.label} cannot be loaded: {failure}", "Say where it is with --base."
        ) from failure
    check_base(subject, base)
    if subject.manifest.training.get(ADDED_FIM):
        add_fim_tokens(base)
    return base


def check_base(subject: Subject, base: BaseModel) -> None:
    """Refuse a base whose weights are not those the adapter was trained on.

    Raises:
        TrustError: the digests differ.
    """
    check_fits(subject.manifest, base.identity, base.digest)


@contextlib.contextmanager
def attached(subject: Subject, base: BaseModel) -> Iterator[None]:
    """Attach the adapter for the length of a block; the base is as before afterwards.

    Raises:
        TrustError: base or tensors do not fit.
    """
    check_base(subject, base)
    with opened(subject.path) as folder:
        attach_adapter(base, folder)
    try:
        yield
    finally:
        detach(base)


def adapter_off(base: BaseModel) -> AbstractContextManager[None]:
    """Switch the attached adapter off for the length of a block."""
    model: Any = base.model
    return cast("AbstractContextManager[None]", model.disable_adapter())


def encode_as_trained(
    subject: Subject, base: BaseModel, examples: Sequence[Example], *, emit: Emit = silent
) -> list[Encoded]:
    """Token ids of ``examples``, left to right, at the length the adapter was trained with."""
    return encode_alike([subject], base, examples, emit=emit)


def encode_alike(
    subjects: Sequence[Subject], base: BaseModel, examples: Sequence[Example], *, emit: Emit = silent
) -> list[Encoded]:
    """Token ids for comparing adapters: left to right, at the shortest of their lengths; says what does not fit."""
    length, report = min(subject.max_length for subject in subjects), EncodingReport()
    encoded = encode(examples, base, max_length=length, report=report)
    if report.too_long:
        emit(Note(f"{report.too_long} of {len(examples)} examples are longer than {length} tokens and not judged."))
    return encoded
