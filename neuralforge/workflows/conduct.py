"""What every long run has around it: the lock, the log, a state that tells how it ended, and the way to go on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from neuralforge import paths
from neuralforge.errors import Interrupted, NeuralForgeError, RunError, UserError
from neuralforge.runs import sinks
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Emit, Finished
from neuralforge.runs.log import EventLog


@contextmanager
def conducted(run: RunDirectory, verb: str, listeners: Sequence[Emit], emit: Emit) -> Iterator[Emit]:
    """Work inside a locked run directory; yields what tells the caller, the log and the listeners.

    Args:
        verb: the command that goes on with such a run: ``neuralforge VERB --resume RUN``.

    Raises:
        RunError: somebody else works there, or the machine lacked what the work needed.
        Interrupted: stopped by Ctrl-C; the hint says how to go on.
    """
    command = f"neuralforge {verb} --resume {shlex.quote(str(run.path))}"
    with ExitStack() as stack:
        stack.enter_context(run.lock())
        emit = sinks.tee(emit, stack.enter_context(EventLog(run.events_path)), *listeners)
        try:
            run.update(outcome="running", resume=command)
            yield emit
        except Interrupted as stop:
            run.update(outcome="interrupted", detail=stop.message)
            emit(Finished("interrupted"))
            raise Interrupted(stop.message, f"Go on with `{command}`.") from None
        except KeyboardInterrupt:
            run.update(outcome="interrupted")
            emit(Finished("interrupted"))
            raise Interrupted("Stopped.", f"Go on with `{command}`.") from None
        except Exception as failure:
            _try_to_note(run, str(failure))
            emit(Finished("failed", {"error": str(failure)}))
            explained = _explained(failure, run, command)
            if explained is None:
                raise
            raise explained from failure
        run.update(outcome="done", phase="done")


def watchers(tensorboard: Path | None, wandb: bool, name: str, settings: dict[str, Any]) -> list[Emit]:
    """Listeners outside a run's folder; made before anything else, for they may not be there."""
    found: list[Emit] = []
    if tensorboard:
        found.append(sinks.tensorboard(tensorboard))
    if wandb:
        found.append(sinks.wandb(name, settings))
    return found


def run_to_resume(asked: str, verb: str, ready: str) -> RunDirectory:
    """The run directory that was named, or the newest unfinished one of that verb that has the file ``ready``.

    Raises:
        UserError: there is none. RunError: it is none of a run, or of another verb.
    """
    from neuralforge.config.schema import LATEST

    if asked != LATEST:
        run = RunDirectory.open_existing(paths.expanded(asked))
        if _verb(run) not in (verb, ""):
            raise UserError(f"The run {run.path} is of `neuralforge {_verb(run)}`.", f"Go on: `{run.state.resume}`.")
        if run.state.outcome == "done":
            raise UserError(f"The run {run.path} is finished.", f"What it made is {run.state.config.get('output')}.")
        return run
    home = paths.runs_home()
    for state in sorted(home.glob("*/state.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            run = RunDirectory.open_existing(state.parent)
        except RunError:  # not one that can be gone on with; it says so when it is named
            continue
        unfinished = run.state.outcome != "done" and (run.path / ready).exists()
        if unfinished and _verb(run) in (verb, "") and not run.in_use():
            return run
    raise UserError(f"There is no unfinished run in {home}.", "Name the run directory: --resume RUN.")


def _verb(run: RunDirectory) -> str:
    """The command that the run is of; empty where it was stopped before it said so."""
    return [*run.state.resume.split(), "", ""][1]


def _explained(failure: Exception, run: RunDirectory, command: str) -> RunError | None:
    """What the machine lacked, in our words; None for what explains itself or cannot be explained."""
    if isinstance(failure, NeuralForgeError):
        if isinstance(failure, RunError) and isinstance(failure.__cause__, OSError):
            return RunError(failure.message, f"{failure.hint} Then go on with `{command}`.")
        return None
    if isinstance(failure, OSError):
        return RunError(
            f"A file of the run {run.path} cannot be written or read: {failure}.",
            f"Free some space or mend its permissions, then go on with `{command}`.",
        )
    if _out_of_memory(failure):
        return RunError(
            f"There is not enough memory: {str(failure).partition(chr(10))[0]}",
            f"Close other programs and go on with `{command}`, or start again with --low-memory, a shorter "
            "--max-length or a smaller --batch-size.",
        )
    return None


def _out_of_memory(failure: Exception) -> bool:
    """Whether that is what PyTorch meant: on a processor it says so only in words."""
    return isinstance(failure, MemoryError) or (
        isinstance(failure, RuntimeError) and re.search(r"out of memory|not enough memory", str(failure)) is not None
    )


def _try_to_note(run: RunDirectory, message: str) -> None:
    """Say in the state that the run failed, where even that can still be written."""
    try:
        run.update(outcome="failed", detail=message)
    except NeuralForgeError:
        return
