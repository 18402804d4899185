"""The program ``neuralforge``: finds the command, runs it, and turns errors into words and exit codes."""

import difflib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from neuralforge import __version__
from neuralforge.cli.catalogue import CATALOGUE
from neuralforge.cli.shape import SETTINGS, Overview
from neuralforge.errors import Interrupted, NeuralForgeError

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 unusable data, 4 the run stopped, "
    "5 an adapter cannot be trusted or does not fit, 6 a network or index failed, 7 forbidden by privacy rules, "
    "8 the adapter was judged to hurt, 130 interrupted."
)

program = typer.Typer(
    cls=Overview, add_completion=False, rich_markup_mode=None, context_settings=SETTINGS, epilog=EXIT_CODES
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neuralforge {__version__}")
        raise typer.Exit


@program.callback(invoke_without_command=True)
def neuralforge(
    ctx: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train, prove and share a small code model of your own, from your own repository, on the hardware you have."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def build() -> Any:
    """The whole program as one command, for ``main``, completion and tests."""
    command = get_command(program)
    command.name = "neuralforge"
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line; errors become words on stderr and the returned exit code.

    A bug keeps its traceback; so does any error under ``--debug``.
    """
    try:
        outcome = build().main(arguments, prog_name="neuralforge", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except NeuralForgeError as failure:
        if "--debug" in arguments and not isinstance(failure, Interrupted):
            import traceback

            traceback.print_exc()
        _say(failure.message, failure.hint)
        return failure.exit_code
    except TyperException as failure:
        return _usage(failure, arguments)
    except (KeyboardInterrupt, typer.Abort):
        _say("Stopped.", "")
        return Interrupted.exit_code
    except BrokenPipeError:
        # Whoever read our output went away: nothing is left to say, and Python must not try to at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _usage(failure: TyperException, arguments: list[str]) -> int:
    if type(failure).__name__ == "NoArgsIsHelpError":
        typer.echo(failure.message)
        return 0
    context = getattr(failure, "ctx", None)
    named = [entry.name for entry in CATALOGUE if entry.name in arguments[:1]]
    path = context.command_path if context is not None else " ".join(["neuralforge", *named])
    message, _, guess = failure.format_message().partition(" Did you mean")
    possible = getattr(failure, "possibilities", None)
    if possible:
        message, guess = failure.message, f" {difflib.get_close_matches(failure.message, possible, 1, 0)[0]}?"
    meant = f"Did you mean{guess} " if guess else ""
    _say(message, f"{meant}`{path} --help` lists what it takes.")
    return 2


def _say(message: str, hint: str) -> None:
    from neuralforge.cli.present import say_error

    say_error(message, hint)
