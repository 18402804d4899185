"""A .gguf file as a base: checked, converted once into the cache, found again by its checksum."""

from __future__ import annotations

import re
from pathlib import Path

from neuralforge import files, paths
from neuralforge.errors import UserError
from neuralforge.models import cache
from neuralforge.models.base import BaseModel
from neuralforge.models.providers.base import BaseFiles
from neuralforge.runs.events import Emit, Phase


class GgufProvider:
    """Serves every name that ends in ``.gguf``. The digest of such a base is the SHA-256 of the file."""

    def matches(self, name: str) -> bool:
        """By the ending alone, so that a mistyped path is reported as that."""
        return name.lower().endswith(".gguf")

    def fetch(self, name: str, *, offline: bool, emit: Emit) -> BaseFiles:  # noqa: ARG002
        """The converted files; needs no network.

        Raises:
            UserError: no such file.
            TrustError: the file is malformed.
            DataError: its architecture cannot be read.
        """
        path = paths.expanded(name)
        if not path.is_file():
            raise UserError(f"There is no file {name}.", "Check the path of the .gguf file.")
        from neuralforge.models.gguf.header import read_header

        read_header(path)  # a malformed file is refused before it is hashed
        digest = files.sha256(path)
        stem = re.sub(r"[^a-z0-9.]+", "-", path.stem.lower()).strip("-.")[:60] or "model"

        def build(folder: Path) -> cache.Origin:
            from neuralforge.models.gguf.convert import convert

            emit(Phase("convert", f"{path.name} to safetensors, once"))
            header = convert(path.resolve(), folder, emit=emit)
            licence = header.fields.get("general.license")
            return cache.Origin(path.name, digest, licence if isinstance(licence, str) else None)

        return cache.converted(f"gguf-{stem}-{digest[7:19]}", build, emit=emit)

    def load(self, name: str, *, dtype: str | None, device: str, offline: bool, emit: Emit) -> BaseModel:
        """Load it; errors as in :func:`neuralforge.models.loading.load_base_model`."""
        from neuralforge.models.reading import read_base

        return read_base(self.fetch(name, offline=offline, emit=emit), name=name, dtype=dtype, device=device)


PROVIDER = GgufProvider()
