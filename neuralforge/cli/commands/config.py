"""``neuralforge config``: what would be used, where each value comes from, and whether a file is right."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from neuralforge.cli.options import Json
from neuralforge.cli.present import line, show_json, table
from neuralforge.cli.shape import Command, command_group
from neuralforge.errors import UserError

Pretrain = Annotated[bool, typer.Option("--pretrain", help="Of `neuralforge pretrain` instead of train.")]
PostTrain = Annotated[bool, typer.Option("--post-train", help="Of `neuralforge post-train` instead of train.")]

group = command_group("Show, check and explain configurations.")


@group.command("show", cls=Command)
def show(
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="YAML file.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", metavar="NAME", help="Shipped preset.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="A value on top; may be repeated.")
    ] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what is at its default.")] = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print a YAML file that gives the same settings.")] = False,
    as_json: Json = False,
) -> None:
    """Show every setting, its value and where that came from."""
    from neuralforge.config.describe import rows, to_yaml
    from neuralforge.config.load import load_config

    resolved = load_config(config, preset=preset, environment=os.environ, flags=_flags(settings or []))
    found = [row for row in rows(resolved) if not changed or row.origin != "default"]
    if as_json:
        show_json({row.key: {"value": row.value, "from": row.origin} for row in found})
    elif as_yaml:
        typer.echo(to_yaml(resolved.config), nl=False)
    else:
        table(["Setting", "Value", "From", "Meaning"], [(r.key, _shown(r.value), r.origin, r.meaning) for r in found])


@group.command("validate", cls=Command)
def validate(
    config: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file.")],
    pretrain: Pretrain = False,
    post_train: PostTrain = False,
    as_json: Json = False,
) -> None:
    """Check a configuration file and name everything that is wrong with it."""
    from neuralforge.config.load import resolve

    kind = _kind(pretrain, post_train)
    resolved = resolve(kind, config)
    if as_json:
        show_json({"file": str(config), "valid": True, "settings": len(resolved.origins)})
    else:
        line(f"{config} is valid: {len(resolved.origins)} settings, the rest at their defaults.")


@group.command("presets", cls=Command)
def presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this preset as YAML.")] = None,
    pretrain: Pretrain = False,
    post_train: PostTrain = False,
    as_json: Json = False,
) -> None:
    """List the shipped presets, or print one."""
    from neuralforge.config.load import preset_names, preset_text, resolve

    kind = _kind(pretrain, post_train)
    if name is not None and not as_json:
        typer.echo(preset_text(name, kind), nl=False)
        return
    names = preset_names(kind) if name is None else [name]
    about = {each: preset_text(each, kind).splitlines()[0].removeprefix("# ") for each in names}
    if as_json:
        given = {each: resolve(kind, preset=each) for each in names}
        show_json({each: {"about": about[each], "sets": sorted(given[each].origins)} for each in names})
    else:
        table(["Preset", "For"], about.items())


def _kind(pretrain: bool, post_train: bool) -> Any:
    from neuralforge.config.load import POSTTRAINING, PRETRAINING, TRAINING

    if pretrain and post_train:
        raise UserError("--pretrain and --post-train exclude each other.", "Give one of them.")
    return PRETRAINING if pretrain else POSTTRAINING if post_train else TRAINING


def _flags(settings: list[str]) -> dict[str, tuple[str, object]]:
    flags: dict[str, tuple[str, object]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or "." not in key:
            raise UserError(f"--set {setting} is not SECTION.KEY=VALUE.", "For example --set lora.rank=16.")
        flags[key.strip()] = (f"--set {key.strip()}", value)
    return flags


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value)
