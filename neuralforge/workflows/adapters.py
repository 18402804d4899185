"""Adapters on this machine: list, show, install, remove, compare."""

from pathlib import Path

from neuralforge.adapter import compare, store
from neuralforge.adapter.compare import AdapterDifference
from neuralforge.adapter.manifest import Manifest
from neuralforge.adapter.store import Installed


def list_adapters() -> list[Installed]:
    """Every installed adapter, damaged ones with their problem."""
    return store.installed()


def show_adapter(adapter: str | Path) -> Manifest:
    """The manifest of ``name``, ``name@version``, a ``.lora`` file or a folder."""
    return store.show(adapter)


def install_adapter(package: Path, *, force: bool = False) -> Installed:
    """Check a package and install it under its name and version; ``force`` replaces other content there."""
    return store.install(store.resolve(package), force=force)


def remove_adapter(adapter: str) -> list[Installed]:
    """Delete ``name@version`` or all versions of ``name``; returns what is gone."""
    return store.remove(adapter)


def diff_adapters(a: str | Path, b: str | Path) -> AdapterDifference:
    """What differs between two adapters, in their manifests and in what they do to the base's weights."""
    return compare.diff(store.resolve(a), store.resolve(b))
