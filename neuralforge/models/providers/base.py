"""What a source of base models must offer. An entry point in ``neuralforge.base_models`` names such an object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from neuralforge.models.base import BaseModel
from neuralforge.runs.events import Emit


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base on disk: a folder with ``config.json``, safetensors and tokenizer files.

    Attributes:
        folder: where it is.
        identity: canonical id (hub id, package id or file name).
        digest: ``sha256:…`` that adapters are bound to, the same on every machine.
        licence: SPDX identifier, or None when unknown.
    """

    folder: Path
    identity: str
    digest: str
    licence: str | None


@runtime_checkable
class BaseModelProvider(Protocol):
    """Serves some names. Built-in: ``smollm2``, ``gguf``, ``transformers``; others come as plugins."""

    def matches(self, name: str) -> bool:
        """Whether this provider serves ``name``; cheap, without network, without torch."""
        ...

    def fetch(self, name: str, *, offline: bool, emit: Emit) -> BaseFiles:
        """Bring the files onto this machine (once) and say where they are.

        Raises:
            RemoteError: they are not here and cannot be had.
            TrustError: what came is not what was expected, or is not safe to read.
        """
        ...

    def load(self, name: str, *, dtype: str | None, device: str, offline: bool, emit: Emit) -> BaseModel:
        """Fetch what is missing and load the base into memory; ``dtype`` is fp32, bf16, fp16 or None (fastest)."""
        ...
