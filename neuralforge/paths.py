"""Where neuralforge keeps things on this machine. Nothing here creates a folder."""

import os
from pathlib import Path


def home() -> Path:
    """The user's neuralforge folder: ``$NEURALFORGE_HOME``, else ``~/.neuralforge``."""
    override = os.environ.get("NEURALFORGE_HOME")
    return Path(override).expanduser() if override else Path.home() / ".neuralforge"


def expanded(text: str) -> Path:
    """``text`` as a path, ``~`` and ``~user`` replaced by the home folder where there is one."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 — the other one raises when there is no such user


def models_cache() -> Path:
    """Converted base models, one folder each."""
    return home() / "models"


def installed_adapters() -> Path:
    """Adapters that ``adapters install`` put on this machine."""
    return home() / "adapters"


def runs_home() -> Path:
    """Run directories of trainings that were not given one."""
    return home() / "runs"
