"""``neuralforge monitor``: a run as seen from another terminal."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralforge.cli.options import Json
from neuralforge.cli.present import clean, duration, line, show_json, size

if TYPE_CHECKING:
    from neuralforge.runs.directory import RunDirectory
    from neuralforge.runs.view import RunStatus

REPAINT_SECONDS = 0.5
PIPE_SECONDS = 5.0


def monitor(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run, as the training printed it.")],
    once: Annotated[bool, typer.Option("--once", help="Show the present state and end.")] = False,
    as_json: Json = False,
) -> None:
    """Follow a run from another terminal.

    Ends when the run does. In a pipe it writes one line every few seconds instead of repainting.
    """
    from dataclasses import asdict

    from neuralforge.runs.directory import RunDirectory
    from neuralforge.runs.log import read_events
    from neuralforge.runs.view import summarise

    directory = RunDirectory.open_existing(run)
    if as_json or once:
        status = summarise(read_events(directory.events_path)) if directory.events_path.exists() else summarise([])
        if as_json:
            show_json({"run": str(run), "in_use": directory.in_use(), **asdict(status)})
        else:
            for text in picture(run, status, directory.in_use()):
                line(text)
    elif sys.stdout.isatty():
        _repaint(run, directory)
    else:
        _follow_plainly(directory)


def picture(run: Path, status: "RunStatus", in_use: bool) -> list[str]:
    """The state of a run as lines: where it is, its figures, its loss curve, its warnings."""
    import math

    from neuralforge.cli.plot import curve

    outcome = "killed" if status.outcome == "running" and not in_use else status.outcome
    lines = [
        f"{run.name}: {outcome}, {status.phase or 'starting'}, {duration(status.elapsed)} so far",
        summary(status),
    ]
    points = [(float(step), loss) for step, loss in status.curve if math.isfinite(loss)]
    if len(points) > 1:
        lines += ["", "training loss (nats per token) by step", *curve(points)]
    if status.best_validation is not None and math.isfinite(status.best_validation):
        lines.append(f"best held-out loss {status.best_validation:.3f}")
    return lines + [f"Warning: {warning}" for warning in status.warnings[-3:]]


def summary(status: "RunStatus") -> str:
    """The figures of the present phase on one line."""
    parts = []
    if status.total:
        parts.append(f"{status.done:,}/{status.total:,} {status.unit}")
    elif status.done:
        parts.append(f"{status.done:,} {status.unit}")
    if status.loss is not None and status.phase == "train":
        parts.append(f"loss {status.loss:.3f}")
        parts.append(f"{status.tokens_per_second or 0:,.0f} tokens/s")
        parts.append(f"{size(status.memory)} memory")
    if status.seconds_left is not None and status.outcome == "running":
        parts.append(f"{duration(status.seconds_left)} left")
    return ", ".join(parts) or status.detail or "no figures yet"


def _repaint(run: Path, directory: "RunDirectory") -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from neuralforge.runs.log import read_events
    from neuralforge.runs.view import RunView

    view = RunView()

    def painting(in_use: bool) -> Text:
        return Text("\n".join(map(clean, picture(run, view.status(), in_use))))

    with Live(console=Console(), refresh_per_second=4) as live:
        painted = 0.0
        for logged in read_events(directory.events_path, follow=True, alive=directory.in_use):
            view.add(logged)
            if time.monotonic() - painted >= REPAINT_SECONDS:
                painted = time.monotonic()
                live.update(painting(in_use=True))
        live.update(painting(in_use=directory.in_use()))


def _follow_plainly(directory: "RunDirectory") -> None:
    from neuralforge.runs.events import Finished, Phase
    from neuralforge.runs.log import read_events
    from neuralforge.runs.view import RunView

    view, said = RunView(), -PIPE_SECONDS
    for logged in read_events(directory.events_path, follow=True, alive=directory.in_use):
        view.add(logged)
        now = time.monotonic()
        if isinstance(logged.event, (Phase, Finished)) or now - said >= PIPE_SECONDS:
            said = now
            status = view.status()
            line(f"{status.outcome if status.outcome != 'running' else status.phase}: {summary(status)}")
            sys.stdout.flush()
