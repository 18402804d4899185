"""``neuralforge pretrain``: from text to a small model of one's own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from neuralforge.cli.options import Json, given, option
from neuralforge.cli.present import line, show_json
from neuralforge.errors import UserError

if TYPE_CHECKING:
    from neuralforge.workflows.pretrain import Pretrained

# Which setting each option is; what it means is the schema's business.
SETTINGS = {
    "tokenizer": "tokenizer",
    "save_dir": "run.save_dir",
    "checkpoint_dir": "run.directory",
    "resume": "run.resume",
    "budget": "run.budget",
    "device": "run.device",
    "tensorboard": "run.tensorboard",
    "wandb": "run.wandb",
    "epochs": "training.epochs",
    "max_steps": "training.max_steps",
    "batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation",
    "learning_rate": "training.learning_rate",
    "max_seq_len": "training.max_seq_len",
    "gradient_checkpointing": "training.gradient_checkpointing",
    "seed": "training.seed",
    "eval_every": "evaluation.eval_every",
    "prompt": "evaluation.prompts",
    "growth": "model.growth.enabled",
}


WHAT, LOOP, RUN = "What to train", "Training", "Run"


def pretrain(
    data: Annotated[
        list[str] | None, option("--data", "Text file, JSONL file or folder; may be repeated.", WHAT, "PATH")
    ] = None,
    tokenizer: Annotated[
        str | None, option("--tokenizer", "Folder of the tokenizer (see train-tokenizer).", WHAT, "DIR")
    ] = None,
    config: Annotated[Path | None, option("--config", "YAML file of settings.", WHAT, "FILE")] = None,
    preset: Annotated[
        str | None, option("--preset", "A shape: tiny, small, medium, large or arbor-699m.", WHAT, "NAME")
    ] = None,
    growth: Annotated[
        bool | None, option("--growth/--no-growth", "Widen layers that are full while the model trains.", WHAT)
    ] = None,
    epochs: Annotated[int | None, option("--epochs", "Passes over the corpus.", LOOP, "N")] = None,
    max_steps: Annotated[int | None, option("--max-steps", "At most so many steps.", LOOP, "N")] = None,
    batch_size: Annotated[int | None, option("--batch-size", "Windows in one forward pass.", LOOP, "N")] = None,
    gradient_accumulation_steps: Annotated[
        int | None, option("--gradient-accumulation-steps", "Forward passes to one step.", LOOP, "N")
    ] = None,
    learning_rate: Annotated[float | None, option("--learning-rate", "Peak learning rate.", LOOP, "RATE")] = None,
    max_seq_len: Annotated[int | None, option("--max-seq-len", "Tokens of a window.", LOOP, "N")] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        option("--gradient-checkpointing/--no-gradient-checkpointing", "Less memory, more time.", LOOP),
    ] = None,
    seed: Annotated[int | None, option("--seed", "Seed of everything random.", LOOP, "N")] = None,
    eval_every: Annotated[int | None, option("--eval-every", "Steps between two validations.", LOOP, "N")] = None,
    prompt: Annotated[
        list[str] | None, option("--prompt", "Text to continue at each of them; may be repeated.", LOOP, "TEXT")
    ] = None,
    save_dir: Annotated[
        str | None, option("--save-dir", "Folder for the model; ./arbor if not given.", RUN, "DIR")
    ] = None,
    checkpoint_dir: Annotated[
        str | None, option("--checkpoint-dir", "Run folder: corpus, checkpoints, log.", RUN, "DIR")
    ] = None,
    resume: Annotated[
        str | None, option("--resume", "Continue a run; latest takes the newest unfinished one.", RUN, "RUN")
    ] = None,
    budget: Annotated[str | None, option("--budget", "Time for the whole command (10m, 2h).", RUN, "TIME")] = None,
    device: Annotated[str | None, option("--device", "auto, cpu, mps, cuda or cuda:N.", RUN, "NAME")] = None,
    tensorboard: Annotated[str | None, option("--tensorboard", "Write TensorBoard files.", RUN, "DIR")] = None,
    wandb: Annotated[bool | None, option("--wandb", "Report to Weights & Biases.", RUN)] = None,
    as_json: Json = False,
) -> None:
    """Train a small model of your own on text.

    Settings come from the defaults, a preset, a YAML file, NEURALFORGE_PRETRAIN_SECTION__KEY variables and the options
    below, each overriding the one before.
    """
    typed = dict(locals())
    from neuralforge.cli.progress import shown
    from neuralforge.config.load import PRETRAINING, resolve

    flags = given(SETTINGS, typed)
    if data:
        flags["datasets"] = ("--data", [{"source": place} for place in data])
    if resume is not None and (len(flags) > 1 or config or preset):
        raise UserError("A run that is resumed keeps the settings it began with.", "Give --resume alone.")
    settings = resolve(PRETRAINING, config, preset=preset, environment=os.environ, flags=flags).config
    from neuralforge.workflows.pretrain import pretrain as run_training

    with shown() as emit:
        made = run_training(settings, emit=emit)
    if as_json:
        show_json(made.to_json())
    else:
        tell(made)


def tell(made: "Pretrained") -> None:
    """The result for people."""
    line(f"{made.parameters:,} parameters after {made.steps:,} steps and {made.tokens:,} tokens.")
    if made.validation is not None:
        line(f"Lowest validation loss: {made.validation:.4f} nats per token.")
    if made.growth:
        line(f"{len(made.growth)} times a layer grew; widths now {', '.join(f'{width:,}' for width in made.widths)}.")
    line(f"Model: {made.model}")
    line(f"Run:   {made.run}")
    if made.post_trained is not None:
        from neuralforge.cli.commands.post_train import tell as tell_more

        tell_more(made.post_trained)
        return
    line(f"Try it: neuralforge generate --model {made.model} --prompt TEXT")
