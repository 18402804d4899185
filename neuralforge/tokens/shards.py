"""A corpus as token ids on disk: written once, mapped into memory, read in windows of one length.

Every document ends with the tokenizer's end-of-text token and the documents stand one after another, so no position of
a window is wasted on filling. Window ``i`` holds tokens ``i·T`` to ``i·T + T`` inclusive and predicts all but its
first: each token is predicted exactly once an epoch, except the corpus's first and the last few that fill no window.
Which documents are kept out for validation follows from their content alone, so a text that occurs twice never stands
on both sides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from neuralforge import files
from neuralforge.errors import DataError, UserError
from neuralforge.tokens.encoding import Encoded, plain_ids

FORMAT = 1
MANIFEST = "corpus.json"
# Tokens of a shard; a writer holds at most one of each side in memory.
SHARD_TOKENS = 1 << 23
_TOGETHER = 64
_SIDES = ("train", "validation")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of token ids: its name in the folder, its number of tokens, ``sha256:…`` of its content."""

    file: str
    tokens: int
    digest: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a folder of shards holds.

    Attributes:
        folder: where it lies. kind: numpy's name of the ids' type, ``uint16`` or ``uint32``, little-endian.
        vocabulary: one more than the largest id. tokenizer: digest of it. end: id that ends a document.
        documents: texts in all. train, validation: their shards, in order.
    """

    folder: Path
    kind: str
    vocabulary: int
    tokenizer: str
    end: int
    documents: int
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]

    @property
    def train_tokens(self) -> int:
        """Tokens to train on."""
        return sum(shard.tokens for shard in self.train)

    @property
    def validation_tokens(self) -> int:
        """Tokens kept out."""
        return sum(shard.tokens for shard in self.validation)


def tokenizer_digest(tokenizer: Any) -> str:
    """``sha256:…`` over everything that decides which ids a text becomes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError("Only fast tokenizers can be used here.", "Use a tokenizer that has a tokenizer.json.")
    content = json.loads(backend.to_str())
    for passing in ("padding", "truncation"):  # left behind by the last call
        content.pop(passing, None)
    plain = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(plain.encode('utf-8', 'surrogatepass')).hexdigest()}"


def write_corpus(
    texts: Iterable[str], tokenizer: Any, folder: Path, *, validation: float = 0.01, shard_tokens: int = SHARD_TOKENS
) -> Corpus:
    """Tokenise ``texts`` into shards under ``folder``; the manifest is written last.

    Args:
        texts: documents, read once. tokenizer: a fast one with an end-of-text token.
        folder: must not hold a corpus yet; shards of a writing that was cut short are replaced.
        validation: share of documents kept out, 0 for none; chosen by a hash of each.

    Raises:
        UserError: the tokenizer is not a fast one or has no end-of-text token, ``validation`` is not a share, or there
            is a corpus already.
        DataError: there is no text.
        RunError: the folder cannot be written.
    """
    end = tokenizer.eos_token_id
    digest = tokenizer_digest(tokenizer)
    if end is None:
        raise UserError("The tokenizer has no end-of-text token.", "Set eos_token in tokenizer_config.json.")
    if (folder / MANIFEST).exists():
        raise UserError(f"{folder} holds a corpus already.", "Use it, or choose another folder.")
    if not 0 <= validation < 1:
        raise UserError(f"A share kept out is from 0 to below 1, not {validation}.", "Give 0.01, or 0 for none.")
    vocabulary = 1 + max(tokenizer.get_vocab().values())
    kind = "uint16" if vocabulary <= 1 << 16 else "uint32"
    writers = {side: _Writer(folder, side, kind, shard_tokens) for side in _SIDES}
    documents = 0
    stream = iter(texts)
    while batch := list(islice(stream, _TOGETHER)):
        for text, ids in zip(batch, plain_ids(batch, tokenizer), strict=True):
            documents += 1
            writers["validation" if _held_out(text, validation) else "train"].add([*ids, end])
    shards = {side: writer.close() for side, writer in writers.items()}
    if not shards["train"]:
        raise DataError("The corpus holds no text to train on.", "Give --data places with text.")
    made = Corpus(folder, kind, vocabulary, digest, end, documents, shards["train"], shards["validation"])
    files.write_json(folder / MANIFEST, {"format": FORMAT, **asdict(made), "folder": None})
    return made


def open_corpus(folder: Path, tokenizer: Any = None, *, verify: bool = False) -> Corpus:
    """Read the manifest of a corpus and check that its shards are there in full; ``verify``: with their digests.

    Raises:
        DataError: there is none, it is damaged, or it was made with another tokenizer than ``tokenizer``.
    """
    content = files.read_json(folder / MANIFEST)
    try:
        if content.pop("format") != FORMAT:
            raise DataError(f"{folder} holds a corpus of another format.", "Write it again with this version.")
        sides: dict[str, Any] = {side: tuple(Shard(**shard) for shard in content.pop(side)) for side in _SIDES}
        corpus = Corpus(**{**content, **sides, "folder": folder})
        width = np.dtype(corpus.kind).itemsize
        if corpus.kind not in ("uint16", "uint32") or any(
            Path(shard.file).name != shard.file for shard in (*corpus.train, *corpus.validation)
        ):
            raise ValueError("impossible values")
    except (AttributeError, KeyError, TypeError, ValueError) as failure:
        raise DataError(f"{folder / MANIFEST} is damaged: {failure}.", "Write the corpus again.") from failure
    for shard in (*corpus.train, *corpus.validation):
        path = folder / shard.file
        if not path.is_file() or path.stat().st_size != shard.tokens * width:
            raise DataError(f"{path} is missing or has another size than it should.", "Write the corpus again.")
        if verify and files.sha256(path) != shard.digest:
            raise DataError(f"{path} is not what was written.", "Write the corpus again.")
    if tokenizer is not None and tokenizer_digest(tokenizer) != corpus.tokenizer:
        raise DataError(
            f"The corpus in {folder} was made with another tokenizer.", "Give the one it was made with as --tokenizer."
        )
    return corpus


class Windows(Sequence[Encoded]):
    """One side of a corpus as windows of ``length`` predicted tokens, read from disk when they are asked for."""

    def __init__(self, corpus: Corpus, length: int, side: str = "train") -> None:
        width = np.dtype(corpus.kind).newbyteorder("<")
        shards = getattr(corpus, side)
        self.length = length
        self._maps = [np.memmap(corpus.folder / shard.file, width, "r", shape=(shard.tokens,)) for shard in shards]
        self._starts = np.cumsum([0, *(shard.tokens for shard in shards)])
        self._count = max(0, (int(self._starts[-1]) - 1) // length)

    def __len__(self) -> int:
        return self._count

    @property
    def lengths(self) -> list[int]:
        """Tokens of each window, known without reading one."""
        return [self.length + 1] * self._count

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> list[Encoded]: ...
    def __getitem__(self, index: int | slice) -> Encoded | list[Encoded]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        index %= self._count
        ids = self._read(index * self.length, (index + 1) * self.length + 1).astype(np.int32)
        loss = np.ones(len(ids), dtype=np.bool_)
        loss[0] = False
        return Encoded(ids, loss, index, str(index))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Tokens from ``start`` to ``stop``, over the border of a shard where it lies between."""
        parts = []
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < stop:
            within = start - int(self._starts[shard])
            part = self._maps[shard][within : within + stop - start]
            parts.append(part)
            start += len(part)
            shard += 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def lengths_of(encoded: Sequence[Encoded]) -> list[int]:
    """Tokens of each sequence; of windows without reading them."""
    return encoded.lengths if isinstance(encoded, Windows) else [len(one.ids) for one in encoded]


class _Writer:
    """Gathers ids and writes them out a shard at a time."""

    def __init__(self, folder: Path, side: str, kind: str, shard_tokens: int) -> None:
        self.folder, self.side, self.kind, self.most = folder, side, kind, shard_tokens
        self.shards: list[Shard] = []
        self.pending: list[NDArray[Any]] = []
        self.held = 0
        with suppress(OSError):
            for stale in folder.glob(f"{side}-*.tokens"):
                stale.unlink()

    def add(self, ids: Sequence[int]) -> None:
        self.pending.append(np.asarray(ids, dtype=np.dtype(self.kind).newbyteorder("<")))
        self.held += len(ids)
        while self.held >= self.most:
            self._write(self.most)

    def close(self) -> tuple[Shard, ...]:
        if self.held:
            self._write(self.held)
        return tuple(self.shards)

    def _write(self, count: int) -> None:
        joined = np.concatenate(self.pending)
        now, rest = joined[:count], joined[count:]
        self.pending, self.held = [rest], len(rest)
        path = self.folder / f"{self.side}-{len(self.shards):05d}.tokens"
        content = now.tobytes()
        files.write_bytes(path, content)
        self.shards.append(Shard(path.name, len(now), f"sha256:{hashlib.sha256(content).hexdigest()}"))


def _held_out(text: str, share: float) -> bool:
    first = hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8]
    return int.from_bytes(first, "big") < share * 2**64
