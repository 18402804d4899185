"""The folder of one training: its lock, its state, its checkpoints and its event log.

    RUN/
      state.json     what was asked, how far it came, how to go on (replaced atomically)
      lock           held by the process that works here
      events.jsonl   one event a line
      checkpoints/   see runs/checkpoints.py

``state.json`` is what makes a folder a run: it is there from the first moment the folder has its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from neuralforge import paths
from neuralforge.errors import DataError, RunError, UserError
from neuralforge.files import read_json, sync_folder, write_json
from neuralforge.runs import locks

FORMAT = 1
STATE_FILE = "state.json"
LOCK_FILE = "lock"
OUTCOMES = ("running", "done", "interrupted", "failed")


@dataclass(frozen=True, slots=True)
class RunState:
    """What ``state.json`` holds.

    Attributes:
        name: the adapter's name.
        config: the resolved configuration, as plain JSON values.
        phase: the last phase that began (see ``runs.events.Phase``).
        outcome: ``running`` until the run ends, then ``done``, ``interrupted`` or ``failed``.
        resume: the command line that continues this run, empty when there is nothing to continue.
        detail: one sentence for people, such as the error that ended the run.
        format: version of this file's shape.
    """

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    phase: str = ""
    outcome: str = "running"
    resume: str = ""
    detail: str = ""
    format: int = FORMAT

    @classmethod
    def from_json(cls, content: Any, source: Path) -> RunState:
        """Read the parsed ``state.json``; unknown keys are refused, missing ones take their default."""
        problems = []
        kinds = {"config": dict, "format": int}
        if not isinstance(content, dict):
            problems.append("it is not a JSON object")
        else:
            known = {item.name for item in fields(cls)}
            problems += [f"unknown key {key!r}" for key in content if key not in known]
            problems += [
                f"{key!r} has the wrong type"
                for key, value in content.items()
                if key in known and (not isinstance(value, kinds.get(key, str)) or isinstance(value, bool))
            ]
            if "name" not in content:
                problems.append("'name' is missing")
            if not problems and content.get("format", FORMAT) != FORMAT:
                problems.append(f"format {content['format']} is not {FORMAT}")
            if not problems and content.get("outcome", "running") not in OUTCOMES:
                problems.append(f"outcome {content['outcome']!r} is not one of {', '.join(OUTCOMES)}")
        if problems:
            raise RunError(
                f"{source} is not the state of a run: {'; '.join(problems)}.",
                "The folder is damaged or belongs to something else; start the training in a new folder.",
            )
        return cls(**content)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's folder. Make one with :meth:`create`, come back to it with :meth:`open_existing`."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of a ``CheckpointStore``."""
        return self.path / "checkpoints"

    @property
    def events_path(self) -> Path:
        """File of an ``EventLog``."""
        return self.path / "events.jsonl"

    @property
    def state_path(self) -> Path:
        return self.path / STATE_FILE

    @property
    def state(self) -> RunState:
        """The state as it is on disk now.

        Raises:
            RunError: missing or damaged.
        """
        try:
            content = read_json(self.state_path)
        except DataError as failure:
            raise RunError(
                f"{self.path} is not a run: {failure.message}",
                "Give the folder that the training printed, or start a new training.",
            ) from failure
        return RunState.from_json(content, self.state_path)

    def update(self, **changes: Any) -> RunState:
        """Replace fields of the state and write it atomically; returns the new state."""
        state = replace(self.state, **changes)
        write_json(self.state_path, asdict(state))
        return state

    @contextlib.contextmanager
    def lock(self) -> Iterator[RunDirectory]:
        """Be the only process that works in this folder.

        Raises:
            RunError: another process is; its id is named. A killed process holds nothing.
        """
        with locks.exclusive(self.path / LOCK_FILE, f"The run {self.path}"):
            yield self

    def in_use(self) -> bool:
        """Whether a process holds the lock now."""
        return locks.is_held(self.path / LOCK_FILE)

    @classmethod
    def create(cls, path: Path | None, name: str, config: Mapping[str, Any] | None = None) -> RunDirectory:
        """Make a new run folder, complete with its state, or nothing at all.

        Args:
            path: where; None for ``NAME-1``, ``NAME-2`` … under ``paths.runs_home()``.
            name: the adapter's name.
            config: what the state remembers of the request, plain JSON values.

        Raises:
            UserError: the folder holds files that are not a run's, or a run that should be resumed instead.
            RunError: a run is at work there, or the folder cannot be written.
        """
        state = RunState(name=name, config=dict(config or {}))
        if path is None:
            number = 1
            while True:
                candidate = paths.runs_home() / f"{name}-{number}"
                if not candidate.exists() and cls._place(candidate, state):
                    return cls(candidate)
                number += 1
        path = path.resolve()
        run = cls(path)
        if not os.path.lexists(path) and cls._place(path, state):
            return run
        if not path.is_dir():
            raise UserError(f"{path} is a file, not a folder.", "Choose another folder for the run.")
        present = _entries(path)
        if not present:
            write_json(run.state_path, asdict(state))  # into the folder itself: it may be a mount point
            return run
        if run.in_use():
            holder = locks.holder(path / LOCK_FILE)
            raise RunError(
                f"The run {path} is in use by {f'process {holder}' if holder else 'another process'}.",
                "Wait for it, stop it, or use another folder.",
            )
        if run.state_path.is_file():
            raise UserError(
                f"{path} already holds a run ({run.state.outcome}).",
                f"Continue it with `{run.state.resume or 'neuralforge train --resume RUN'}`, or choose another folder.",
            )
        raise UserError(
            f"{path} holds files that are not a run's ({', '.join(map(ascii, present[:3]))}"
            f"{' …' if len(present) > 3 else ''}).",
            "Choose a new or empty folder; nothing in there was touched.",
        )

    @classmethod
    def open_existing(cls, path: Path) -> RunDirectory:
        """The run in ``path``.

        Raises:
            RunError: no such folder, or its state is missing or damaged.
        """
        run = cls(path.resolve())
        _ = run.state
        return run

    @staticmethod
    def _place(path: Path, state: RunState) -> bool:
        """Put a finished run folder under ``path``; False when somebody else put something there meanwhile."""
        temporary = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o777 & ~umask)
            content = json.dumps(asdict(state), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            with (Path(temporary) / STATE_FILE).open("w", encoding="utf-8") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            try:
                # Only an empty folder may be replaced by a folder; everything else fails and stays as it was.
                Path(temporary).rename(path)
            except OSError:
                if os.path.lexists(path):
                    return False
                raise
            temporary = ""
            sync_folder(path.parent)
        except OSError as failure:
            raise RunError(
                f"Cannot create the run folder {path}: {failure.strerror or failure}.",
                "Check free space and permissions, or choose another folder.",
            ) from failure
        finally:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)
        return True


def _entries(folder: Path) -> list[str]:
    """Names in a folder, sorted."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as failure:
        raise RunError(
            f"Cannot read the folder {folder}: {failure.strerror or failure}.",
            "Check its permissions, or choose another folder.",
        ) from failure
