"""Entry-point plugins: find them, load them, and never let a broken one stop the program."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from neuralforge.errors import UserError

GROUPS = ("neuralforge.sources", "neuralforge.base_models")


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point. ``value`` is the loaded object, or None when ``error`` says why it did not load."""

    group: str
    name: str
    distribution: str
    version: str
    target: str
    value: object | None
    error: str | None


def discover(group: str) -> Iterator[Plugin]:
    """Load every entry point of ``group`` in name order; a failure becomes ``Plugin.error``."""
    for entry in sorted(metadata.entry_points(group=group), key=lambda found: found.name):
        value, error = None, None
        try:
            value = entry.load()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as failure:  # a plugin may even call sys.exit() while it is imported
            error = f"{type(failure).__name__}: {failure}"
        owner = entry.dist
        yield Plugin(
            group=group,
            name=entry.name,
            distribution=owner.name if owner else "unknown",
            version=owner.version if owner else "unknown",
            target=entry.value,
            value=value,
            error=error,
        )


def load(group: str, name: str) -> object:
    """The object behind one entry point, loaded alone so that broken neighbours do not matter.

    Raises:
        UserError: no plugin has that name, or it cannot be loaded.
    """
    entries = metadata.entry_points(group=group)
    chosen = [entry for entry in entries if entry.name == name]
    if not chosen:
        known = ", ".join(sorted(entry.name for entry in entries)) or "none"
        raise UserError(f"No plugin named {name!r} in {group}.", f"Installed: {known}. See `neuralforge plugins`.")
    try:
        loaded: object = chosen[0].load()
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as failure:
        raise UserError(
            f"The plugin {name!r} ({chosen[0].value}) cannot be loaded: {type(failure).__name__}: {failure}",
            "Reinstall or remove the package that provides it; `neuralforge plugins` names it.",
        ) from failure
    return loaded
