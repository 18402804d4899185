"""Tell a configuration back: as rows with origins, as YAML that loads to the same configuration, as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from neuralforge.config.load import Resolved
from neuralforge.config.schema import SECTIONS, TrainConfig


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: dotted key, value as plain data, where it came from, what it means."""

    key: str
    value: Any
    origin: str
    meaning: str


def rows(resolved: Resolved[TrainConfig]) -> Iterator[Row]:
    """Every setting in the order of the schema."""
    plain = to_plain(resolved.config)
    for section, kind in SECTIONS.items():
        for name, inner in kind.model_fields.items():
            key = f"{section}.{name}"
            yield Row(key, plain[section][name], str(resolved.origin(key)), inner.description or "")


def to_plain(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """Nested dictionaries of JSON types."""
    plain: dict[str, dict[str, Any]] = config.model_dump(mode="json")
    return plain


def to_yaml(config: TrainConfig, *, comment: str = "") -> str:
    """YAML that, loaded again, gives an equal configuration; settings without a value are left out.

    Args:
        config: what to write.
        comment: lines for the head of the file, without ``#``.
    """
    kept = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in to_plain(config).items()
    }
    if "warmup_steps" in kept["training"]:
        del kept["training"]["warmup_ratio"]  # the schema takes one of the two
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body: str = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=120)
    return head + body
