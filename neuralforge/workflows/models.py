"""List, fetch, describe and remove base models. Torch is only imported when a base has to be converted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralforge import files, paths
from neuralforge.errors import NeuralForgeError, UserError
from neuralforge.models import cache, hub
from neuralforge.models.catalogue import Alias, aliases, find_alias, location_of
from neuralforge.runs.events import Emit, silent


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One base: what is known of it, and its place and size in bytes where it is on this machine.

    ``parameters`` counts weights; ``fim`` says whether it was trained on fill-in-the-middle; both are None for a
    base that is in no catalogue.
    """

    name: str
    location: str
    licence: str | None
    parameters: int | None
    architecture: str | None
    fim: bool | None
    folder: Path | None
    size: int | None


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """A base in full. ``digest`` and ``config`` (the interesting part of config.json) need it on this machine."""

    entry: ModelEntry
    identity: str | None
    digest: str | None
    config: dict[str, Any]


_SHOWN = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
    "tie_word_embeddings",
)


def list_models() -> list[ModelEntry]:
    """Every named base, then every other one that was converted on this machine; no network."""
    named = [_entry_of(alias) for alias in aliases().values()]
    others = [_converted_entry(key) for key in cache.installed() if key not in aliases()]
    return named + others


def pull_model(name: str, *, offline: bool = False, emit: Emit = silent) -> ModelDetails:
    """Bring a base onto this machine, converting it if need be, and describe it.

    Raises:
        UserError: unknown name.
        RemoteError: it cannot be fetched.
        TrustError: what came is not what was expected, or not safe to read.
    """
    from neuralforge.models.loading import fetch_base_model

    found = fetch_base_model(name, offline=offline, emit=emit)
    alias = find_alias(name)
    entry = _entry(name, alias, found.licence, found.folder)
    return ModelDetails(entry, found.identity, found.digest, _config(found.folder))


def show_model(name: str) -> ModelDetails:
    """Describe a base by what the catalogue and the files on this machine say; fetches nothing.

    Raises:
        UserError: unknown name.
    """
    location = location_of(name)
    found = cache.lookup(location) if location in cache.installed() else None
    if found is not None:
        entry = _entry(location, find_alias(name), found.licence, found.folder)
        return ModelDetails(entry, found.identity, found.digest, _config(found.folder))
    alias = find_alias(name)
    folder = _hub_folder(location) or _own_folder(name)
    if alias is None and folder is None:
        raise _not_here(name)
    if folder is None:
        return ModelDetails(_entry(name, alias, None, None), None, None, {})
    from neuralforge.models.digest import weights_digest

    identity = alias.location if alias else name
    return ModelDetails(_entry(name, alias, None, folder), identity, weights_digest(folder), _config(folder))


def remove_model(name: str) -> int:
    """Delete a base from this machine and return the bytes freed. Folders of your own are never touched.

    Raises:
        UserError: it is not in a cache of this machine.
    """
    if _own_folder(name) is not None or Path(name).is_file():
        raise UserError(f"{name} is yours, not a copy that neuralforge made.", "Delete it yourself if you want to.")
    location = location_of(name)
    if "/" in location:
        freed = hub.remove(location.partition("@")[0])
    else:
        freed = cache.remove(location) if location in cache.folders() else 0
    if freed == 0:
        raise _not_here(name)
    return freed


def _entry_of(alias: Alias) -> ModelEntry:
    folder = cache.folder_of(alias.location) if alias.location in cache.installed() else _hub_folder(alias.location)
    return _entry(alias.name, alias, None, folder)


def _converted_entry(key: str) -> ModelEntry:
    return _entry(key, None, None, cache.folder_of(key))


def _entry(name: str, alias: Alias | None, licence: str | None, folder: Path | None) -> ModelEntry:
    config = _config(folder) if folder is not None else {}
    return ModelEntry(
        name=alias.name if alias else name,
        location=alias.location if alias else name,
        licence=(alias.licence if alias else None) or licence,
        parameters=alias.parameters if alias else None,
        architecture=alias.architecture if alias else config.get("model_type"),
        fim=alias.fim if alias else None,
        folder=folder,
        size=cache.folder_size(folder) if folder is not None else None,
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = files.read_json(folder / "config.json", 4 << 20)
    except NeuralForgeError:  # a listing goes on where loading would stop
        return {}
    return {key: config[key] for key in _SHOWN if key in config} if isinstance(config, dict) else {}


def _hub_folder(location: str) -> Path | None:
    if "/" not in location or paths.expanded(location).exists():
        return None
    repository, _, revision = location.partition("@")
    found = hub.cached(repository, revision or None)
    return found.folder if found else None


def _own_folder(name: str) -> Path | None:
    folder = paths.expanded(name)
    return folder if (folder / "config.json").is_file() else None


def _not_here(name: str) -> UserError:
    return UserError(
        f"There is no base model {name!r} on this machine.",
        "`neuralforge models list` shows what is here; `neuralforge models pull NAME` fetches one.",
    )
