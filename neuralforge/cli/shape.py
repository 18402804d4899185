"""The look of help: plain text, commands grouped by stage, options grouped by matter, modules loaded when needed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from neuralforge.cli.catalogue import CATALOGUE, STAGES, Entry

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Command(TyperCommand):
    """A command whose options are listed under the panels they were declared with."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a panel, in order of first appearance."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                panel = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
                panels.setdefault(panel, []).append(record)
        for title, records in panels.items():
            with formatter.section(title):
                formatter.write_dl(records)


class ResumableCommand(Command):
    """A command on which ``--resume`` may stand alone and then means the newest unfinished run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--resume`` its value before the parser asks for one."""
        filled: list[str] = []
        for position, word in enumerate(args):
            filled.append(word)
            follower = args[position + 1] if position + 1 < len(args) else "-"
            if word == "--resume" and follower.startswith("-"):
                filled.append("latest")
        return super().parse_args(ctx, filled)


class Overview(TyperGroup):
    """The program: commands come from the catalogue and are imported when one is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Names in the order of the flow."""
        return [entry.name for entry in CATALOGUE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Import the one command that was asked for."""
        for entry in CATALOGUE:
            if entry.name == cmd_name:
                return load(entry)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve by the catalogue, so that a mistyped name is met with the closest one."""
        names: Any = dict.fromkeys(self.list_commands(ctx))
        self.commands = names  # only the names are read, to suggest one
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write one section a stage, without importing a command."""
        for stage in STAGES:
            with formatter.section(stage):
                formatter.write_dl([(entry.name, entry.help) for entry in CATALOGUE if entry.stage == stage])


def load(entry: Entry) -> Any:
    """Build the command behind a line of the catalogue."""
    module, _, name = entry.target.partition(":")
    target = getattr(import_module(f"neuralforge.cli.commands.{module}"), name)
    if isinstance(target, typer.Typer):
        return get_command(target)
    return single(entry.name, target)


def single(name: str, function: Callable[..., None]) -> Any:
    """A function as a command of its own."""
    shell = typer.Typer(add_completion=False, rich_markup_mode=None)
    kind = ResumableCommand if name == "train" else Command
    shell.command(name, cls=kind, context_settings=SETTINGS, no_args_is_help=False)(function)
    return get_command(shell)


def command_group(help: str) -> typer.Typer:
    """A Typer for a group of commands such as ``models``; called alone it shows its help."""
    return typer.Typer(
        help=help,
        add_completion=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings=SETTINGS,
    )
