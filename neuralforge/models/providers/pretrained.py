"""A folder or a hub repository in the layout of transformers."""

from __future__ import annotations

import re

from neuralforge import paths
from neuralforge.models import hub
from neuralforge.models.base import BaseModel
from neuralforge.models.digest import weights_digest
from neuralforge.models.providers.base import BaseFiles
from neuralforge.runs.events import Emit

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(@[A-Za-z0-9][\w./-]{0,99})?")


class PretrainedProvider:
    """Serves folders and hub ids ``owner/name`` or ``owner/name@revision``."""

    def matches(self, name: str) -> bool:
        """An existing folder, or anything in the shape of a hub id."""
        return paths.expanded(name).is_dir() or _HUB_ID.fullmatch(name) is not None

    def fetch(self, name: str, *, offline: bool, emit: Emit) -> BaseFiles:
        """The folder itself, or the hub's files in its own cache on this machine."""
        from neuralforge.models.reading import check_folder

        folder = paths.expanded(name)
        if folder.is_dir():
            check_folder(folder)
            return BaseFiles(folder, folder.resolve().name, weights_digest(folder), None)
        repository, _, revision = name.partition("@")
        snapshot = hub.snapshot(repository, revision or None, offline=offline, emit=emit)
        check_folder(snapshot.folder)
        return BaseFiles(snapshot.folder, repository, weights_digest(snapshot.folder), snapshot.licence)

    def load(self, name: str, *, dtype: str | None, device: str, offline: bool, emit: Emit) -> BaseModel:
        """Load it; errors as in :func:`neuralforge.models.loading.load_base_model`."""
        from neuralforge.models.reading import read_base

        return read_base(self.fetch(name, offline=offline, emit=emit), name=name, dtype=dtype, device=device)


PROVIDER = PretrainedProvider()
