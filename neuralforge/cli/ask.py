"""Questions of ``--interactive``: what is needed, each with a good default."""

import sys
from pathlib import Path
from typing import Any

import typer

from neuralforge.adapter.manifest import slug
from neuralforge.errors import UserError


def ask_for_training(given: dict[str, tuple[str, Any]]) -> dict[str, tuple[str, Any]]:
    """Ask for source, base, name and budget where ``given`` has no answer yet.

    Raises:
        UserError: nobody can answer because stdin is not a terminal.
    """
    if not sys.stdin.isatty():
        raise UserError(
            "--interactive asks questions, and stdin is not a terminal.",
            "Run it in a terminal, or answer with --from-git, --base, --name and --budget.",
        )
    answers: dict[str, tuple[str, Any]] = {}

    def ask(key: str, question: str, default: str) -> str:
        answer = str(typer.prompt(question, default=default, err=True)).strip()
        answers[key] = ("--interactive", answer)
        return answer

    source = "adapter"
    if not {"dataset.from_git", "dataset.train_file", "dataset.sources"} & set(given):
        here = Path.cwd()
        source = ask("dataset.from_git", "Repository, data file (.jsonl) or folder to learn from", str(here))
        if source.endswith(".jsonl"):
            answers["dataset.train_file"] = answers.pop("dataset.from_git")
        elif Path(source).is_dir() and not _is_repository(Path(source)):
            answers["dataset.sources"] = ("--interactive", [answers.pop("dataset.from_git")[1]])
    else:
        known = next(
            given[key] for key in ("dataset.from_git", "dataset.train_file", "dataset.sources") if key in given
        )
        source = str(known[1][0] if isinstance(known[1], (list, tuple)) else known[1])
    if "model.base" not in given:
        ask("model.base", "Base model", "smollm2-135m")
    if "model.adapter_name" not in given:
        ask("model.adapter_name", "Name of the adapter", suggested_name(source))
    if "run.budget" not in given:
        ask("run.budget", "Time for the whole training", "15m")
    return answers


def suggested_name(source: str) -> str:
    """A valid adapter name from the last part of a path or URL."""
    last = source.rstrip("/\\").replace("\\", "/").rpartition("/")[2].removesuffix(".git").removesuffix(".jsonl")
    return slug(last)


def _is_repository(folder: Path) -> bool:
    """A worktree (``.git`` as a folder or file), a folder inside one, or a bare repository."""
    inside = any((place / ".git").exists() for place in (folder.resolve(), *folder.resolve().parents))
    return inside or (folder / "HEAD").is_file()
