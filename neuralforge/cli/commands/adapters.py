"""``neuralforge adapters``: what is installed here, and what is in a package."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralforge.cli.options import Adapter, Force, Json
from neuralforge.cli.present import line, show_json, size, table
from neuralforge.cli.shape import Command, command_group

if TYPE_CHECKING:
    from neuralforge.adapter.manifest import Manifest
    from neuralforge.adapter.store import Installed

group = command_group("List, show, install, remove and compare adapters.")


@group.command("list", cls=Command)
def list_command(as_json: Json = False) -> None:
    """List the installed adapters."""
    from neuralforge.workflows.adapters import list_adapters

    found = list_adapters()
    if as_json:
        show_json([_summary(item) for item in found])
    elif not found:
        line("No adapters are installed. `neuralforge adapters install FILE.lora` installs one.")
    else:
        rows = []
        for item in found:
            manifest = item.manifest
            about = item.problem if manifest is None else _outcome(manifest)
            rows.append((item.reference, manifest.base.name if manifest else "-", size(item.size), about))
        table(["Adapter", "Base", "Size", "Verdict"], rows, numbers=["Size"])


@group.command("show", cls=Command)
def show(adapter: Adapter, as_json: Json = False) -> None:
    """Show what an adapter is, what it learned from, and its verdict."""
    from neuralforge.workflows.adapters import show_adapter

    manifest = show_adapter(adapter)
    if as_json:
        show_json(manifest.to_json())
    else:
        tell(manifest)


@group.command("install", cls=Command)
def install(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A .lora file or its unpacked folder.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Check a package and install it under its name and version."""
    from neuralforge.workflows.adapters import install_adapter

    installed = install_adapter(package, force=force)
    if as_json:
        show_json(_summary(installed))
    else:
        line(f"Installed {installed.reference} in {installed.path}.")


@group.command("remove", cls=Command)
def remove(
    adapter: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="An installed adapter; all its versions.")],
    as_json: Json = False,
) -> None:
    """Remove an installed adapter."""
    from neuralforge.workflows.adapters import remove_adapter

    gone = remove_adapter(adapter)
    if as_json:
        show_json([item.reference for item in gone])
    else:
        line(f"Removed {', '.join(item.reference for item in gone)}.")


@group.command("diff", cls=Command)
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A .lora file, its unpacked folder, or an installed name.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    as_json: Json = False,
) -> None:
    """Compare two adapters: what they say of themselves, and what they do to the base's weights."""
    from neuralforge.workflows.adapters import diff_adapters

    found = diff_adapters(a, b)
    if as_json:
        show_json({"identical": found.identical, **asdict(found)})
        return
    if found.identical:
        line("The two are identical.")
        return
    changes = [*found.settings, *found.manifest]
    table(["What", "a", "b"], [(change.field, _short(change.a), _short(change.b)) for change in changes])
    line()
    if found.modules is None:
        line("Their bases differ, so their weights cannot be compared.")
        return
    rows = [
        (
            module.module,
            f"{module.norm_a:.4f}",
            f"{module.norm_b:.4f}",
            f"{module.norm_difference:.4f}",
            _cosine(module.cosine),
        )
        for module in found.modules
    ]
    rows.append(
        (
            "all modules",
            f"{found.norm_a or 0:.4f}",
            f"{found.norm_b or 0:.4f}",
            f"{found.norm_difference or 0:.4f}",
            _cosine(found.cosine),
        )
    )
    headings = ["|a|", "|b|", "|a - b|", "Cosine"]
    table(["Module", *headings], rows, numbers=headings)


def tell(manifest: "Manifest") -> None:
    """The manifest as a list of facts, then the verdict's figures."""
    from neuralforge.cli.figures import verdict_table

    lora, data = manifest.lora, manifest.data
    variant = "".join([", rsLoRA" if lora.use_rslora else "", ", DoRA" if lora.use_dora else ""])
    facts: list[tuple[str, object]] = [
        ("name", f"{manifest.name} {manifest.version}"),
        ("about", manifest.description),
        ("created", manifest.created),
        ("base", f"{manifest.base.name} ({manifest.base.identity})"),
        ("base digest", manifest.base.digest),
        ("adapter", f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}{variant}"),
        ("modules", ", ".join(lora.target_modules)),
        ("examples", f"{data.examples:,} trained on, {data.held_out:,} held out"),
        ("sources", ", ".join(data.sources)),
        ("languages", ", ".join(f"{name} {count:,}" for name, count in data.languages.items())),
        ("commits", f"{manifest.commits.first} to {manifest.commits.last}" if manifest.commits else ""),
        ("licence", manifest.licence or ""),
    ]
    table(["Fact", "Value"], [(name, value) for name, value in facts if value])
    line()
    if manifest.verdict is None:
        line("It carries no verdict.")
    else:
        line(manifest.verdict["sentence"])
        line()
        verdict_table(dict(manifest.verdict))


def _summary(item: "Installed") -> dict[str, object]:
    return {
        "name": item.name,
        "version": item.version,
        "path": str(item.path),
        "size": item.size,
        "base": item.manifest.base.identity if item.manifest else None,
        "verdict": item.manifest.verdict["sentence"] if item.manifest and item.manifest.verdict else None,
        "problem": item.problem or None,
    }


def _outcome(manifest: "Manifest") -> str:
    return str((manifest.verdict or {}).get("outcome", "none"))


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"
