"""``neuralforge models``: the bases that adapters are trained on."""

from typing import TYPE_CHECKING, Annotated

import typer

from neuralforge.cli.options import Json
from neuralforge.cli.present import line, show_json, size, table
from neuralforge.cli.shape import Command, command_group

if TYPE_CHECKING:
    from neuralforge.workflows.models import ModelDetails, ModelEntry

group = command_group("List, fetch, show and remove base models.")

Name = Annotated[str, typer.Argument(metavar="MODEL", help="An alias, a hub id, a folder or a GGUF file.")]


@group.command("list", cls=Command)
def list_command(as_json: Json = False) -> None:
    """List the known bases and which of them are on this machine."""
    from dataclasses import asdict

    from neuralforge.workflows.models import list_models

    found = list_models()
    if as_json:
        show_json([asdict(entry) for entry in found])
        return
    rows = [(e.name, _parameters(e), e.licence or "?", _here(e), e.location) for e in found]
    table(["Model", "Weights", "Licence", "On this machine", "From"], rows, numbers=["Weights"])


@group.command("pull", cls=Command)
def pull(
    name: Name,
    offline: Annotated[bool, typer.Option("--offline", help="Use only what is on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a base onto this machine, converting it if need be."""
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.models import pull_model

    with shown() as emit:
        details = pull_model(name, offline=offline, emit=emit)
    tell(details, as_json=as_json)


@group.command("show", cls=Command)
def show(name: Name, as_json: Json = False) -> None:
    """Describe a base; fetches nothing."""
    from neuralforge.workflows.models import show_model

    tell(show_model(name), as_json=as_json)


@group.command("remove", cls=Command)
def remove(name: Name, as_json: Json = False) -> None:
    """Delete a base that neuralforge fetched; your own folders are never touched."""
    from neuralforge.workflows.models import remove_model

    freed = remove_model(name)
    if as_json:
        show_json({"model": name, "freed": freed})
    else:
        line(f"Removed {name}: {size(freed)} freed.")


def tell(details: "ModelDetails", *, as_json: bool) -> None:
    """One base in full."""
    from dataclasses import asdict

    if as_json:
        show_json(asdict(details))
        return
    entry = details.entry
    fim = {True: "yes", False: "no", None: "unknown"}[entry.fim]
    facts = [
        ("name", entry.name),
        ("from", entry.location),
        ("identity", details.identity),
        ("digest", details.digest),
        ("licence", entry.licence),
        ("architecture", entry.architecture),
        ("weights", _parameters(entry)),
        ("fill-in-the-middle", fim),
        ("on this machine", _here(entry)),
        *((key.replace("_", " "), value) for key, value in details.config.items() if key != "model_type"),
    ]
    table(["Fact", "Value"], [(name, value) for name, value in facts if value is not None])


def _parameters(entry: "ModelEntry") -> str:
    count = entry.parameters
    if count is None:
        return "?"
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def _here(entry: "ModelEntry") -> str:
    return "-" if entry.folder is None else f"{entry.folder} ({size(entry.size or 0)})"
