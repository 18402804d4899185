"""``metadata.json``: what an adapter is, what it was made of, and what it was shown to do.

Format 1. Reading is strict: a key that is missing, unknown or of another type is an error, and all errors are told
at once. Text carries no control characters, so that whoever prints a field cannot be made to lie by it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from neuralforge.adapter.refusal import Refused
from neuralforge.adapter.schema import Fields, text_problem
from neuralforge.adapter.strict_text import parse_json
from neuralforge.data.records import COMMIT, FARTHEST

FORMAT = 1
MANIFEST_LIMIT = 1 << 20  # bytes

NAME = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_NUMBER = r"(?:0|[1-9]\d{0,8})"
VERSION = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-[0-9A-Za-z]+(?:[.-][0-9A-Za-z]+)*)?"
DIGEST = r"sha256:[0-9a-f]{64}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_MODULE = r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*"
_PART = r"[A-Za-z][A-Za-z0-9_.]{0,63}"
_MANY = 1 << 50


@dataclass(frozen=True, slots=True)
class BaseInfo:
    """The base model that the adapter belongs to: see ``models.base.BaseModel`` for the meaning of each field."""

    name: str
    identity: str
    digest: str
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class LoraInfo:
    """The adapter's shape. ``layers`` are the indices of the adapted layers, None for all of them."""

    rank: int
    alpha: float
    dropout: float
    target_modules: tuple[str, ...]
    layers: tuple[int, ...] | None = None
    use_rslora: bool = False
    use_dora: bool = False

    @property
    def scale(self) -> float:
        """The factor on B @ A: alpha / r, or alpha / √r for rsLoRA (Kalajdzievski 2023, arXiv 2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)


@dataclass(frozen=True, slots=True)
class DataInfo:
    """What the adapter was trained on.

    Attributes:
        examples: number trained on; ``held_out``: number kept for judging.
        sources: where they came from, for people; no path of the machine belongs here.
        funnel: ``data.records.Funnel.to_json()``, or None when nothing was mined.
        languages, licences: number of examples by language and by SPDX identifier.
    """

    examples: int
    held_out: int = 0
    sources: tuple[str, ...] = ()
    funnel: Mapping[str, Any] | None = None
    languages: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """The history trained on: oldest and newest commit, and how many of them gave an example.

    ``until`` is the author time of the newest, in seconds since 1970.
    """

    first: str
    last: str
    count: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One other file of the package: its SHA-256 as ``sha256:<hex>`` and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of ``metadata.json``.

    Attributes:
        name: lower-case letters, digits, ``.``, ``_`` and ``-``; at most 64.
        version: ``MAJOR.MINOR.PATCH`` with an optional pre-release.
        created: UTC, ``2026-01-31T12:00:00Z``.
        commits: None when the examples did not come from version control.
        verdict: ``evaluation.verdict.Verdict.to_json()``, or None when the adapter was not judged.
        licence: SPDX expression the adapter is given under, or None when nobody chose one.
        training: hyper-parameters and figures of the training, plain JSON values by name.
        files: every file of the package but this one; filled in by ``package.seal`` and ``package.pack``.
        generator: program and version that wrote it.
    """

    name: str
    version: str
    created: str
    base: BaseInfo
    lora: LoraInfo
    data: DataInfo
    commits: CommitInfo | None = None
    verdict: Mapping[str, Any] | None = None
    licence: str | None = None
    description: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, PartInfo] = field(default_factory=dict)
    generator: str = "neuralforge"
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, every key present."""
        return {
            "format": self.format,
            "name": self.name,
            "version": self.version,
            "created": self.created,
            "generator": self.generator,
            "description": self.description,
            "licence": self.licence,
            "base": {
                "name": self.base.name,
                "identity": self.base.identity,
                "digest": self.base.digest,
                "licence": self.base.licence,
            },
            "lora": {
                "rank": self.lora.rank,
                "alpha": self.lora.alpha,
                "dropout": self.lora.dropout,
                "target_modules": list(self.lora.target_modules),
                "layers": None if self.lora.layers is None else list(self.lora.layers),
                "use_rslora": self.lora.use_rslora,
                "use_dora": self.lora.use_dora,
            },
            "data": {
                "examples": self.data.examples,
                "held_out": self.data.held_out,
                "sources": list(self.data.sources),
                "funnel": None if self.data.funnel is None else dict(self.data.funnel),
                "languages": dict(self.data.languages),
                "licences": dict(self.data.licences),
            },
            "commits": None
            if self.commits is None
            else {
                "first": self.commits.first,
                "last": self.commits.last,
                "count": self.commits.count,
                **({} if self.commits.until is None else {"until": self.commits.until}),
            },
            "verdict": None if self.verdict is None else dict(self.verdict),
            "training": dict(self.training),
            "files": {name: {"digest": part.digest, "size": part.size} for name, part in sorted(self.files.items())},
        }

    @classmethod
    def from_json(cls, content: Any, *, source: str = "metadata.json") -> Manifest:
        """Check parsed JSON against the schema.

        Raises:
            Refused: with everything that is wrong, reason ``manifest``.
        """
        errors: list[str] = []
        top = Fields(content, "", errors)
        number = top.integer("format", 0, 1 << 31)
        if isinstance(content, dict) and type(content.get("format")) is int and number != FORMAT:
            raise Refused(
                "manifest",
                f"{source} is of format {number}; this version of neuralforge reads format {FORMAT}.",
                "Update neuralforge.",
            )
        manifest = cls(
            name=top.text("name", NAME, "my-adapter"),
            version=top.text("version", VERSION, "1.0.0", limit=80),
            created=top.text("created", _TIME, "2026-01-31T12:00:00Z"),
            generator=top.text("generator", limit=100),
            description=top.text("description"),
            licence=top.optional_text("licence", limit=200),
            base=_base(top.object("base")),
            lora=_lora(top.object("lora")),
            data=_data(top.object("data")),
            commits=_commits(top.object("commits")) if top.has("commits") else None,
            verdict=_verdict(top.object("verdict")) if top.has("verdict") else None,
            training=top.plain("training"),
            files=_files(top),
        )
        top.finish()
        if errors:
            more = f"; and {len(errors) - 12} more" if len(errors) > 12 else ""
            raise Refused("manifest", f"{source} is not a valid manifest: {'; '.join(errors[:12])}{more}.")
        return manifest

    @classmethod
    def from_bytes(cls, content: bytes, *, source: str = "metadata.json") -> Manifest:
        """Parse and check the content of a ``metadata.json``."""
        if len(content) > MANIFEST_LIMIT:
            raise Refused("too-large", f"{source} has {len(content):,} bytes; at most {MANIFEST_LIMIT:,} are allowed.")
        return cls.from_json(parse_json(content, source), source=source)

    def to_bytes(self) -> bytes:
        """The one byte sequence that this manifest has in a package; it is checked on the way.

        Raises:
            Refused: a field is not valid.
        """
        try:
            # Once around: 16 and 16.0 are one number to Python and two byte sequences to a digest.
            checked = Manifest.from_bytes(_dump(self))
            return _dump(checked)
        except (TypeError, ValueError) as failure:
            raise Refused("manifest", f"The manifest cannot be written as JSON: {failure}.") from failure

    def with_files(self, files: Mapping[str, PartInfo]) -> Manifest:
        """The same manifest listing ``files``."""
        return replace(self, files=dict(sorted(files.items())))


def slug(text: str) -> str:
    """A valid adapter name made from any text, such as a folder's name; ``adapter`` when nothing is left."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower())[:64].strip("._-") or "adapter"


def version_key(version: str) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]:
    """Sort key by Semantic Versioning 2.0.0, section 11; build metadata does not occur in ours."""
    numbers, _, before = version.partition("-")
    identifiers = tuple(
        (not part.isdigit(), int(part) if part.isdigit() else 0, "" if part.isdigit() else part)
        for part in before.split(".")
        if before
    )
    return tuple(map(int, numbers.split("."))), not before, identifiers


def _dump(manifest: Manifest) -> bytes:
    text = json.dumps(manifest.to_json(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _base(fields: Fields) -> BaseInfo:
    base = BaseInfo(
        name=fields.text("name", limit=500),
        identity=fields.text("identity", limit=500),
        digest=fields.text("digest", DIGEST, "sha256:<64 hex digits>"),
        licence=fields.optional_text("licence", limit=200),
    )
    fields.finish()
    return base


def _lora(fields: Fields) -> LoraInfo:
    lora = LoraInfo(
        rank=fields.integer("rank", 1, 4096),
        alpha=fields.number("alpha", 0, 1e6),
        dropout=fields.number("dropout", 0, 1),
        target_modules=fields.texts("target_modules", _MODULE),
        layers=fields.integers("layers", 0, 10_000) if fields.has("layers") else None,
        use_rslora=fields.boolean("use_rslora"),
        use_dora=fields.boolean("use_dora"),
    )
    fields.finish()
    return lora


def _data(fields: Fields) -> DataInfo:
    data = DataInfo(
        examples=fields.integer("examples", 0, _MANY),
        held_out=fields.integer("held_out", 0, _MANY),
        sources=fields.texts("sources", most=1000),
        funnel=_funnel(fields.object("funnel")) if fields.has("funnel") else None,
        languages=fields.counts("languages"),
        licences=fields.counts("licences"),
    )
    fields.finish()
    return data


def _funnel(fields: Fields) -> dict[str, Any]:
    funnel = {
        "seen": fields.integer("seen", 0, _MANY),
        "kept": fields.integer("kept", 0, _MANY),
        "dropped": fields.counts("dropped"),
        "commits": fields.integer("commits", 0, _MANY),
        "commits_dropped": fields.counts("commits_dropped"),
    }
    fields.finish()
    return funnel


def _commits(fields: Fields) -> CommitInfo:
    commits = CommitInfo(
        first=fields.text("first", COMMIT),
        last=fields.text("last", COMMIT),
        count=fields.integer("count", 0, _MANY),
        until=fields.integer("until", 0, FARTHEST) if fields.has("until") else None,
    )
    fields.finish()
    return commits


def _verdict(fields: Fields) -> dict[str, Any]:
    """The part that everyone reads is checked; further statistics belong to the evaluation room and are kept."""
    sentence = fields.text("sentence")
    spans = fields.object("commits")
    commits = {name: list(spans.texts(name, COMMIT, most=2)) for name in ("train", "held_out")}
    spans.finish()
    examples = fields.integer("examples", 0, _MANY)
    metrics: dict[str, Any] = {}
    for name, metric in fields.entries("metrics"):
        values = {key: metric.number(key, -1e12, 1e12) if metric.has(key) else None for key in ("base", "adapter")}
        metrics[name] = {**values, "interval": metric.interval("interval"), **metric.rest()}
    return {"sentence": sentence, "commits": commits, "examples": examples, "metrics": metrics, **fields.rest()}


def _files(top: Fields) -> dict[str, PartInfo]:
    files = {}
    for name, part in top.entries("files", most=32):
        if text_problem(name, _PART, 64):
            top.errors.append(f"files has the name {ascii(name)[:80]}, which is not a file's")
        files[name] = PartInfo(part.text("digest", DIGEST, "sha256:<64 hex digits>"), part.integer("size", 0, 1 << 31))
        part.finish()
    return files
