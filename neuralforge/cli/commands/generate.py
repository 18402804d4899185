"""``neuralforge generate``: let a model, or an adapter, write."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from neuralforge.cli.options import Json, OnDevice, Precision
from neuralforge.cli.present import flow, note, show_json
from neuralforge.errors import DataError, UserError

if TYPE_CHECKING:
    from neuralforge.workflows.generate import Completion


def generate(
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="Text to continue; standard input if left out.")
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Ask for one prompt after the other; Ctrl-D ends.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Model: an alias, a hub id, a folder or a GGUF file."),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="ADAPTER", help="A .lora file, its folder or an installed name.")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", metavar="N", help="Write at most so many tokens.")] = 50,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", help="Above 0 draws; 0 takes the likeliest token.")
    ] = 0.8,
    top_p: Annotated[
        float, typer.Option("--top-p", metavar="P", help="Draw among the likeliest tokens with this share; 1: all.")
    ] = 0.9,
    top_k: Annotated[int, typer.Option("--top-k", metavar="K", help="Draw among so many tokens; 0: all.")] = 50,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", metavar="R", help="Above 1 repeats less.")
    ] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="End before this text; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Draw the same again.")] = None,
    device: OnDevice = "cpu",
    dtype: Precision = None,
    as_json: Json = False,
) -> None:
    """Continue a prompt with a model or an adapter."""
    from neuralforge.cli.progress import shown
    from neuralforge.models.sampling import Sampling
    from neuralforge.workflows.generate import Completion, generator

    if interactive and (prompt is not None or as_json):
        raise UserError(
            "--interactive asks for prompts itself and answers in text.", "Leave out --interactive, --prompt or --json."
        )
    sampling = Sampling(temperature, top_p, top_k, repetition_penalty, seed)
    given = None if interactive else _given(prompt)
    with shown() as emit, generator(model, adapter, device=device, dtype=dtype, emit=emit) as writer:
        for text in _asked() if given is None else [given]:
            done = Completion()
            try:
                for piece in writer.write(text, done, max_tokens=max_tokens, sampling=sampling, stop=stop or ()):
                    if not as_json:
                        flow(piece)
            except DataError as failure:
                if not interactive:
                    raise
                note(f"{failure.message} {failure.hint}")
                continue
            if as_json:
                show_json(done.to_json())
            else:
                flow("\n")
                note(_account(done))


def _given(prompt: str | None) -> str:
    if prompt is not None:
        return prompt
    if sys.stdin.isatty():
        raise UserError("There is no prompt.", "Give --prompt TEXT, --interactive, or a text on standard input.")
    return sys.stdin.read()


def _asked() -> Iterator[str]:
    """Lines from the person at the terminal until the end of input."""
    while True:
        typer.echo("> ", nl=False, err=True)  # not through input(), which may write it among the results
        try:
            text = input()
        except EOFError:
            return
        if text:
            yield text


def _account(done: "Completion") -> str:
    told = done.to_json()
    return f"{done.tokens} tokens in {done.seconds:.1f} s, {told['tokens_per_second']} a second; ended by {done.ended}."
