"""``neuralforge post-train``: a model that exists, taught more."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from neuralforge.cli.options import Json, given, option
from neuralforge.cli.present import line, show_json
from neuralforge.errors import UserError

if TYPE_CHECKING:
    from neuralforge.workflows.post_train import PostTrained

# Which setting each option is; what it means is the schema's business.
SETTINGS = {
    "model": "model_path",
    "type": "training_type",
    "freeze_layers": "freeze_layers",
    "lora": "lora.enabled",
    "rank": "lora.rank",
    "alpha": "lora.alpha",
    "dropout": "lora.dropout",
    "target_modules": "lora.target_modules",
    "merge": "lora.merge",
    "epochs": "training.epochs",
    "max_steps": "training.max_steps",
    "batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation",
    "learning_rate": "training.learning_rate",
    "max_seq_len": "training.max_seq_len",
    "gradient_checkpointing": "training.gradient_checkpointing",
    "seed": "training.seed",
    "eval_every": "evaluation.eval_every",
    "validation": "evaluation.validation",
    "prompt": "evaluation.prompts",
    "save_dir": "run.save_dir",
    "checkpoint_dir": "run.directory",
    "resume": "run.resume",
    "budget": "run.budget",
    "device": "run.device",
    "tensorboard": "run.tensorboard",
    "wandb": "run.wandb",
}
WHAT, ADAPTER, LOOP, RUN = "What to train", "Adapter", "Training", "Run"


def post_train(
    model: Annotated[str | None, option("--model", "A folder, an alias or a hub id.", WHAT, "MODEL")] = None,
    type: Annotated[str | None, option("--type", "fine_tune, domain_adapt or instruct.", WHAT, "TYPE")] = None,
    data: Annotated[
        list[str] | None,
        option("--data", "Text, JSONL or folder; JSONL of answers to instruct; may be repeated.", WHAT, "PATH"),
    ] = None,
    config: Annotated[Path | None, option("--config", "YAML file of settings.", WHAT, "FILE")] = None,
    preset: Annotated[str | None, option("--preset", "fine-tune, instruct or domain-adapt.", WHAT, "NAME")] = None,
    freeze_layers: Annotated[
        str | None, option("--freeze-layers", "Layers that stay as they are (0,1,2).", WHAT, "NUMBERS")
    ] = None,
    lora: Annotated[
        bool | None, option("--lora/--no-lora", "Train an adapter instead of the model's own weights.", ADAPTER)
    ] = None,
    rank: Annotated[int | None, option("--rank", "Rank of the update.", ADAPTER, "R")] = None,
    alpha: Annotated[float | None, option("--alpha", "Scale; twice the rank if left out.", ADAPTER, "A")] = None,
    dropout: Annotated[float | None, option("--dropout", "Dropout before the adapter.", ADAPTER, "P")] = None,
    target_modules: Annotated[
        str | None, option("--target-modules", "all-linear, or names such as q_proj,v_proj.", ADAPTER, "NAMES")
    ] = None,
    merge: Annotated[
        bool | None, option("--merge/--no-merge", "Save a whole model, or a .lora package.", ADAPTER)
    ] = None,
    epochs: Annotated[int | None, option("--epochs", "Passes over the data.", LOOP, "N")] = None,
    max_steps: Annotated[int | None, option("--max-steps", "At most so many steps.", LOOP, "N")] = None,
    batch_size: Annotated[int | None, option("--batch-size", "Sequences in one forward pass.", LOOP, "N")] = None,
    gradient_accumulation_steps: Annotated[
        int | None, option("--gradient-accumulation-steps", "Forward passes to one step.", LOOP, "N")
    ] = None,
    learning_rate: Annotated[
        float | None, option("--learning-rate", "Peak learning rate; chosen by type if left out.", LOOP, "RATE")
    ] = None,
    max_seq_len: Annotated[int | None, option("--max-seq-len", "Tokens of a sequence.", LOOP, "N")] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        option("--gradient-checkpointing/--no-gradient-checkpointing", "Less memory, more time.", LOOP),
    ] = None,
    seed: Annotated[int | None, option("--seed", "Seed of everything random.", LOOP, "N")] = None,
    eval_every: Annotated[int | None, option("--eval-every", "Steps between two validations.", LOOP, "N")] = None,
    validation: Annotated[
        float | None, option("--validation", "Share of the data that is kept out.", LOOP, "SHARE")
    ] = None,
    prompt: Annotated[
        list[str] | None, option("--prompt", "Text to continue at each validation; may be repeated.", LOOP, "TEXT")
    ] = None,
    save_dir: Annotated[
        str | None, option("--save-dir", "Folder for the model (with --no-merge, a .lora file).", RUN, "DIR")
    ] = None,
    checkpoint_dir: Annotated[
        str | None, option("--checkpoint-dir", "Run folder: data, checkpoints, log.", RUN, "DIR")
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
    """Train on from a model: texts, a domain, or answers.

    Settings come from the defaults, a preset, a YAML file, NEURALFORGE_POSTTRAIN_SECTION__KEY variables and the options
    below, each overriding the one before.
    """
    typed = dict(locals())
    from neuralforge.cli.progress import shown
    from neuralforge.config.load import POSTTRAINING, resolve

    flags = given(SETTINGS, typed)
    if data:
        flags["datasets"] = ("--data", [{"source": place} for place in data])
    if resume is not None and (len(flags) > 1 or config or preset):
        raise UserError("A run that is resumed keeps the settings it began with.", "Give --resume alone.")
    settings = resolve(POSTTRAINING, config, preset=preset, environment=os.environ, flags=flags).config
    from neuralforge.workflows.post_train import post_train as run_training

    with shown() as emit:
        made = run_training(settings, emit=emit)
    if as_json:
        show_json(made.to_json())
    else:
        tell(made)


def tell(made: "PostTrained") -> None:
    """The result for people."""
    line(f"{made.trained:,} parameters learned in {made.steps:,} steps from {made.tokens:,} tokens.")
    if made.before is not None and made.after is not None:
        change = f"{made.before:.4f} to {made.after:.4f}"
        line(f"Validation loss: {change} nats per token ({made.after / made.before - 1:+.1%}).")
    packed = made.output.suffix == ".lora"
    line(f"{'Adapter' if packed else 'Model'}: {made.output}")
    line(f"Run:   {made.run}")
    line(f"Try it: neuralforge generate {'--adapter' if packed else '--model'} {made.output} --prompt TEXT")
