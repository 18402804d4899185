"""``neuralforge completion``: scripts that let a shell finish commands and options."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from neuralforge.cli.options import Force
from neuralforge.cli.present import line
from neuralforge.cli.shape import Command, command_group
from neuralforge.errors import UserError
from neuralforge.files import write_text

group = command_group("Print or install shell completion.")


class Shell(StrEnum):
    """The shells that are served."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


Choice = Annotated[
    Shell | None, typer.Argument(metavar="[SHELL]", help="bash, zsh, fish or powershell; $SHELL if left out.")
]


@group.command("show", cls=Command)
def show(shell: Choice = None) -> None:
    """Print the completion script of a shell."""
    typer.echo(_script(shell or _present()), nl=False)


@group.command("install", cls=Command)
def install(shell: Choice = None, force: Force = False) -> None:
    """Put the completion script where the shell looks for it.

    Nothing but that one file is written; where a line in a start-up file is needed, it is shown.
    """
    chosen = shell or _present()
    target, advice = _place(chosen)
    content = _script(chosen)
    if target.exists() and target.read_text(encoding="utf-8", errors="replace") != content and not force:
        raise UserError(f"{target} exists and differs.", "Give --force to replace it.")
    write_text(target, content)
    line(f"Wrote {target}.")
    line(advice)


@group.command("write", cls=Command)
def write(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write one script for each shell.")],
) -> None:
    """Write the scripts of all shells into a folder, for packagers."""
    from neuralforge.cli.scripts import FILES

    for shell in Shell:
        write_text(folder / FILES[shell], _script(shell))
    line(f"Wrote {len(Shell)} scripts into {folder}.")


def _script(shell: Shell) -> str:
    from neuralforge.cli.app import build
    from neuralforge.cli.scripts import script

    return script(shell, build())


def _present() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name.removesuffix(".exe")
    name = {"pwsh": "powershell"}.get(name, name)
    if name not in list(Shell):
        raise UserError("Cannot tell which shell this is.", f"Name it: {', '.join(Shell)}.")
    return Shell(name)


def _place(shell: Shell) -> tuple[Path, str]:
    """Where the script goes, and what else has to be so for the shell to find it."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    match shell:
        case Shell.bash:
            target = data / "bash-completion" / "completions" / "neuralforge"
            return target, f"New terminals complete if bash-completion is installed; otherwise add: source {target}"
        case Shell.zsh:
            target = data / "zsh" / "site-functions" / "_neuralforge"
            return target, f"Add to ~/.zshrc before compinit, if it is not there: fpath+=({target.parent})"
        case Shell.fish:
            return config / "fish" / "completions" / "neuralforge.fish", "New terminals complete."
        case Shell.powershell:
            target = config / "powershell" / "neuralforge.ps1"
            return target, f"Add to the file that $PROFILE names: . {target}"
