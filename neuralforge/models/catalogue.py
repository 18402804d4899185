"""Short names for bases, and the choice of the provider that serves a name."""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from neuralforge import plugins
from neuralforge.errors import UserError
from neuralforge.models.providers.base import BaseModelProvider
from neuralforge.runs.events import Emit, Note, silent

GROUP = "neuralforge.base_models"
DEFAULT = "smollm2-135m"
# This provider takes any hub id, so it is asked when no other one wants the name.
LAST = "transformers"


@dataclass(frozen=True, slots=True)
class Alias:
    """A line of ``aliases.yaml``: short name, where the base is, and what is known about it before it is fetched."""

    name: str
    location: str
    licence: str
    parameters: int
    architecture: str
    fim: bool


@functools.cache
def aliases() -> dict[str, Alias]:
    """Every short name that neuralforge knows, in the order of the file."""
    text = resources.files("neuralforge.models").joinpath("aliases.yaml").read_text(encoding="utf-8")
    return {name: Alias(name=name, **known) for name, known in yaml.safe_load(text).items()}


def find_alias(name: str) -> Alias | None:
    """The alias with that short name or that hub repository (in any case), or None."""
    wanted = name.strip().lower()
    for alias in aliases().values():
        if wanted in (alias.name, alias.location.lower()):
            return alias
    return None


def location_of(name: str) -> str:
    """What a provider is asked for: the alias's location, else the name as it is."""
    alias = find_alias(name)
    return alias.location if alias else name.strip()


def choose_provider(location: str, *, emit: Emit = silent) -> BaseModelProvider:
    """The provider that serves ``location``. Broken plugins are named through ``emit`` and skipped.

    Raises:
        UserError: nobody serves it; the nearest known names are suggested.
    """
    found = sorted(plugins.discover(GROUP), key=lambda plugin: (plugin.name == LAST, plugin.name))
    for plugin in found:
        if plugin.error is not None or not isinstance(plugin.value, BaseModelProvider):
            reason = plugin.error or "it does not have the methods matches, fetch and load"
            emit(
                Note(f"The base-model plugin {plugin.name!r} of {plugin.distribution} is skipped: {reason}", "warning")
            )
            continue
        try:
            wanted = plugin.value.matches(location)
        except Exception as failure:
            emit(
                Note(
                    f"The base-model plugin {plugin.name!r} is skipped: {type(failure).__name__}: {failure}", "warning"
                )
            )
            continue
        if wanted:
            return plugin.value
    raise _unknown(location)


def _unknown(name: str) -> UserError:
    if name.startswith((".", "/", "~")) or Path(name).exists():
        return UserError(
            f"{name} is not a base model.",
            "Give a folder with config.json and safetensors files, or a .gguf file.",
        )
    near = difflib.get_close_matches(name.lower(), aliases(), n=3, cutoff=0.4)
    # "qwen" alone is far from "qwen2.5-coder-0.5b" by edit distance, yet it is what the person means.
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if len(word) > 2]
    near += [known for known in aliases() if known not in near and any(word in known for word in words)]
    suggestion = f"Did you mean {' or '.join(near[:4])}? " if near else ""
    return UserError(
        f"There is no base model named {name!r}.",
        f"{suggestion}Known names: `neuralforge models list`. A hub id looks like owner/name; a path must exist.",
    )
