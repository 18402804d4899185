"""``neuralforge train``: from a repository, files or a data set to a judged adapter."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from neuralforge.cli.options import Json, given, option
from neuralforge.cli.present import duration, line, show_json, size, table
from neuralforge.errors import UserError, VerdictError

if TYPE_CHECKING:
    from neuralforge.workflows.train import TrainResult

# Which setting each option is. Nothing else connects the two: what the option means is the schema's business.
SETTINGS = {
    "from_git": "dataset.from_git",
    "dataset": "dataset.train_file",
    "source": "dataset.sources",
    "eval_file": "dataset.eval_file",
    "languages": "dataset.languages",
    "since": "dataset.since",
    "until": "dataset.until",
    "paths": "dataset.paths",
    "pattern": "dataset.patterns",
    "max_examples": "dataset.max_examples",
    "max_length": "dataset.max_length",
    "skip_bad": "dataset.skip_bad",
    "base": "model.base",
    "name": "model.adapter_name",
    "device": "model.device",
    "rank": "lora.rank",
    "alpha": "lora.alpha",
    "dropout": "lora.dropout",
    "target_modules": "lora.target_modules",
    "layers": "lora.layers",
    "rslora": "lora.use_rslora",
    "dora": "lora.use_dora",
    "learning_rate": "training.learning_rate",
    "scheduler": "training.scheduler",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "gradient_accumulation": "training.gradient_accumulation",
    "gradient_checkpointing": "training.gradient_checkpointing",
    "fp16": "training.fp16",
    "bf16": "training.bf16",
    "completion_only_loss": "training.completion_only_loss",
    "seed": "training.seed",
    "low_memory": "training.low_memory",
    "output": "run.output",
    "checkpoint_dir": "run.directory",
    "resume": "run.resume",
    "budget": "run.budget",
    "dry_run": "run.dry_run",
    "force": "run.force",
    "tensorboard": "run.tensorboard",
    "wandb": "run.wandb",
    "debug": "run.debug",
    "log_level": "run.log_level",
    "profile_memory": "run.profile_memory",
    "track_gradients": "run.track_gradients",
}


DATA, MODEL, ADAPTER, LOOP, RUN, WATCH = "What to learn from", "Base model", "Adapter", "Training", "Run", "Watching"


def train(
    from_git: Annotated[
        str | None, option("--from-git", "Repository whose history is mined.", DATA, "PATH|URL")
    ] = None,
    dataset: Annotated[str | None, option("--dataset", "JSONL file of examples.", DATA, "FILE")] = None,
    source: Annotated[
        list[str] | None,
        option("--source", "Folder, data file, or NAME:LOCATION for a source plugin; may be repeated.", DATA, "SOURCE"),
    ] = None,
    eval_file: Annotated[
        str | None, option("--eval-file", "JSONL file to judge on, instead of the newest commits.", DATA, "FILE")
    ] = None,
    languages: Annotated[
        str | None, option("--languages", "Keep only these languages (java,python,js).", DATA, "NAMES")
    ] = None,
    since: Annotated[
        str | None, option("--since", 'Oldest commit, as git says it ("6 months ago").', DATA, "DATE")
    ] = None,
    until: Annotated[str | None, option("--until", "Newest commit, as git says it.", DATA, "DATE")] = None,
    paths: Annotated[
        list[str] | None, option("--paths", "Keep only files that match; may be repeated.", DATA, "GLOB")
    ] = None,
    pattern: Annotated[
        list[str] | None, option("--pattern", 'File names for folders ("*.java"); may be repeated.', DATA, "GLOB")
    ] = None,
    max_examples: Annotated[int | None, option("--max-examples", "At most this many examples.", DATA, "N")] = None,
    max_length: Annotated[
        int | None, option("--max-length", "Tokens in one example; 0 lets the planner choose.", DATA, "N")
    ] = None,
    skip_bad: Annotated[
        bool | None,
        option("--skip-bad/--no-skip-bad", "Count and skip bad lines of a data file instead of stopping.", DATA),
    ] = None,
    base: Annotated[
        str | None, option("--base", "An alias, a hub id, a folder or a GGUF file.", MODEL, "MODEL")
    ] = None,
    device: Annotated[str | None, option("--device", "auto, cpu, mps, cuda or cuda:N.", MODEL, "NAME")] = None,
    name: Annotated[str | None, option("--name", "Name of the adapter.", ADAPTER, "NAME")] = None,
    rank: Annotated[int | None, option("--rank", "Rank of the update.", ADAPTER, "R")] = None,
    alpha: Annotated[float | None, option("--alpha", "Scale; twice the rank if left out.", ADAPTER, "A")] = None,
    dropout: Annotated[float | None, option("--dropout", "Dropout before the adapter.", ADAPTER, "P")] = None,
    target_modules: Annotated[
        str | None, option("--target-modules", "all-linear, or names such as q_proj,v_proj.", ADAPTER, "NAMES")
    ] = None,
    layers: Annotated[
        str | None,
        option("--layers", "auto, all, upper-half, or how many of the upper layers to adapt.", ADAPTER, "WHICH"),
    ] = None,
    rslora: Annotated[
        bool | None, option("--rslora/--no-rslora", "Scale by the square root of the rank (rsLoRA).", ADAPTER)
    ] = None,
    dora: Annotated[bool | None, option("--dora/--no-dora", "Decompose weights (DoRA).", ADAPTER)] = None,
    learning_rate: Annotated[float | None, option("--learning-rate", "Peak learning rate.", LOOP, "RATE")] = None,
    scheduler: Annotated[
        str | None, option("--scheduler", "linear, cosine or constant after the warm-up.", LOOP, "NAME")
    ] = None,
    epochs: Annotated[int | None, option("--epochs", "Passes over the examples.", LOOP, "N")] = None,
    batch_size: Annotated[int | None, option("--batch-size", "Examples in one forward pass.", LOOP, "N")] = None,
    gradient_accumulation: Annotated[
        int | None, option("--gradient-accumulation", "Forward passes to one step.", LOOP, "N")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        option("--gradient-checkpointing/--no-gradient-checkpointing", "Less memory, more time.", LOOP),
    ] = None,
    fp16: Annotated[bool | None, option("--fp16", "16-bit floats.", LOOP)] = None,
    bf16: Annotated[bool | None, option("--bf16", "16-bit brain floats.", LOOP)] = None,
    completion_only_loss: Annotated[
        bool | None,
        option("--completion-only-loss", "Learn only what was typed, not the code around it.", LOOP),
    ] = None,
    seed: Annotated[int | None, option("--seed", "Seed of everything random.", LOOP, "N")] = None,
    low_memory: Annotated[
        bool | None,
        option("--low-memory/--no-low-memory", "Less memory (small passes, recomputation, rank 8), more time.", LOOP),
    ] = None,
    budget: Annotated[
        str | None,
        option(
            "--budget", "Time for the whole command (5m, 1h30m); examples and epochs are chosen to fit.", RUN, "TIME"
        ),
    ] = None,
    config: Annotated[Path | None, option("--config", "YAML file of settings.", RUN, "FILE")] = None,
    preset: Annotated[
        str | None, option("--preset", "Shipped settings; see `neuralforge config presets`.", RUN, "NAME")
    ] = None,
    output: Annotated[str | None, option("--output", "The .lora file to write.", RUN, "FILE")] = None,
    checkpoint_dir: Annotated[
        str | None, option("--checkpoint-dir", "Folder of the run: checkpoints, log, report.", RUN, "FOLDER")
    ] = None,
    resume: Annotated[
        str | None, option("--resume", "Continue a run; the newest unfinished one if none is named.", RUN, "[RUN]")
    ] = None,
    dry_run: Annotated[
        bool | None, option("--dry-run", "Check everything, predict time and memory, train nothing.", RUN)
    ] = None,
    interactive: Annotated[bool, option("--interactive", "Ask for what is needed.", RUN)] = False,
    force: Annotated[bool | None, option("--force", "Succeed even when the adapter hurts.", RUN)] = None,
    tensorboard: Annotated[
        str | None, option("--tensorboard", "Folder for TensorBoard files.", WATCH, "FOLDER")
    ] = None,
    wandb: Annotated[bool | None, option("--wandb", "Report to Weights & Biases.", WATCH)] = None,
    log_level: Annotated[str | None, option("--log-level", "DEBUG, INFO, WARNING or ERROR.", WATCH, "LEVEL")] = None,
    debug: Annotated[bool | None, option("--debug", "Keep tracebacks and log everything.", WATCH)] = None,
    profile_memory: Annotated[
        bool | None, option("--profile-memory", "Record memory by phase and module.", WATCH)
    ] = None,
    track_gradients: Annotated[
        bool | None, option("--track-gradients", "Record gradient norms by module.", WATCH)
    ] = None,
    as_json: Json = False,
) -> None:
    """Train an adapter, judge it on later commits, pack it.

    Settings come from the defaults, a preset, a YAML file, NEURALFORGE_SECTION__KEY variables and the options
    below, each overriding the one before. Exits with 8 when the adapter was judged to hurt, unless --force.
    """
    typed = dict(locals())
    from neuralforge.cli.progress import shown
    from neuralforge.config.load import load_config

    flags = given(SETTINGS, typed)
    if resume is not None:
        from neuralforge.config.schema import SAID_ANEW

        allowed = {"run.resume", *(f"run.{key}" for key in SAID_ANEW)}
        others = {"--config": config, "--preset": preset, "--interactive": interactive}
        fixed = [flag for setting, (flag, _) in flags.items() if setting not in allowed]
        fixed += [flag for flag, given in others.items() if given]
        if fixed:
            raise UserError(
                f"A run that is resumed keeps the settings it began with; {', '.join(fixed)} cannot change them.",
                "Leave that out, or start a new training.",
            )
    if interactive:
        from neuralforge.cli.ask import ask_for_training

        flags |= ask_for_training(flags)
    resolved = load_config(config, preset=preset, environment=os.environ, flags=flags)
    settings = resolved.config
    if not settings.dataset.has_source and settings.run.resume is None:
        raise UserError(
            "There is nothing to train on.",
            "Give --from-git REPO, --dataset FILE or --source FOLDER, or --interactive to be asked.",
        )
    from neuralforge.workflows.train import train as run_training

    with shown("DEBUG" if settings.run.debug else settings.run.log_level) as emit:
        result = run_training(settings, emit=emit)
    if as_json:
        show_json(document(result))
    else:
        tell(result)
    if result.verdict is not None and result.verdict.outcome == "hurts" and not settings.run.force:
        raise VerdictError(
            "The adapter makes the base worse on later commits.",
            "Give it more or better examples (`neuralforge analyze-dataset`), a lower --learning-rate, or --force.",
        )


def document(result: "TrainResult") -> dict[str, Any]:
    """The result as the one JSON document."""
    return {
        "package": str(result.package) if result.package else None,
        "run": str(result.run),
        "report": str(result.report) if result.report else None,
        "plan": result.plan,
        "verdict": result.verdict.to_json() if result.verdict else None,
    }


def tell(result: "TrainResult") -> None:
    """The result for people: the plan after a dry run, else the verdict, its figures and where things are."""
    if result.verdict is None:
        table(["Planned", ""], [(key.replace("_", " "), _planned(key, value)) for key, value in result.plan.items()])
        return
    from neuralforge.cli.figures import verdict_table

    line(result.verdict.sentence)
    line()
    verdict_table(result.verdict.to_json())
    line()
    if result.package is not None:
        line(f"Adapter: {result.package} ({size(result.package.stat().st_size)})")
    if result.report is not None:
        line(f"Report:  {result.report}")
    line(f"Run:     {result.run}")


def _planned(key: str, value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if key.endswith("seconds"):
            return duration(value)
        if key.endswith(("memory", "bytes")):
            return size(value)
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return str(value)
