"""The one schema of everything that can be set for a training: names, bounds, defaults, and what each means.

A ``TrainConfig`` is frozen and refuses unknown keys. Which keys were given, as opposed to left at their
default, stays visible in pydantic's ``model_fields_set``, so a planner can tell "3 epochs because the person
said so" from "3 epochs because nobody said anything".
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neuralforge.config.values import Device, Float, Int, Layers, Modules, Name, Place, Seconds, Switch, Text, Words

LATEST = "latest"
LOW_MEMORY_RANK = 8
_YES = ("true", "1", "yes", "on")
# Of the section ``run``: what may be said anew when a run is resumed. Everything else stays as it began.
SAID_ANEW = ("output", "force", "tensorboard", "wandb", "debug", "log_level")


class Section(BaseModel):
    """A group of settings: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelSection(Section):
    """What is adapted, under which name, and where it runs."""

    base: Text = Field(default="smollm2-135m", description="base model: an alias, a hub id, a folder or a GGUF file")
    adapter_name: Name | None = Field(default=None, description="name of the adapter; the source's name when not given")
    device: Device = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    add_fim_tokens: bool = Field(default=False, description="add fill-in-the-middle tokens to a base that has none")


def _twice_rank(known: dict[str, Any]) -> float:
    return 2.0 * float(known.get("rank", 8))


class LoraSection(Section):
    """The shape of the adapter (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Int = Field(default=16, ge=1, le=512, description="rank r of the update BA; 8 with low_memory")
    alpha: Float = Field(default_factory=_twice_rank, gt=0, le=4096, description="scale; 2 x rank when not given")
    dropout: Float = Field(default=0.0, ge=0, lt=1, description="dropout before A")
    target_modules: Modules = Field(default="all-linear", description="all-linear, or names of the modules to adapt")
    layers: Layers = Field(
        default="auto", description="auto, all, upper-half, or how many of the upper layers to adapt"
    )
    use_rslora: bool = Field(
        default=False, description="scale by alpha / sqrt(r) (Kalajdzievski 2023, arXiv 2312.03732)"
    )
    use_dora: bool = Field(default=False, description="weight decomposition (Liu et al. 2024, arXiv 2402.09353)")


class TrainingSection(Section):
    """The loop: batches, optimiser, schedule, precision, and when to stop."""

    batch_size: Int | None = Field(
        default=None, ge=1, le=4096, description="sequences in one forward pass; chosen by the base when not given"
    )
    gradient_accumulation: Int = Field(default=1, ge=1, le=4096, description="forward passes to one optimiser step")
    parallel_steps: Int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="steps computed side by side, applied in turn; 2 when not given and a step is one sequence",
    )
    int8: Switch = Field(
        default="auto", description="8-bit products with frozen weights: auto where that is faster, on, off"
    )
    sampled_softmax: bool = Field(
        default=True, description="compute the softmax over the tokens of the examples and a sample of all others"
    )
    learning_rate: Float | None = Field(
        default=None, gt=0, le=1, description="peak learning rate of AdamW; chosen by batch and base when not given"
    )
    loraplus_lr_ratio: Float = Field(
        default=4.0, gt=0, le=64, description="rate of B over that of A (LoRA+, Hayou et al. 2024, arXiv 2402.12354)"
    )
    scheduler: Literal["cosine", "linear", "constant"] = Field(default="linear", description="decay after the warm-up")
    epochs: Int = Field(
        default=3, ge=1, le=1000, description="passes over the examples; with a budget at most so many, 4 if not given"
    )
    warmup_steps: Int | None = Field(default=None, ge=0, le=10**6, description="steps of linear warm-up")
    warmup_ratio: Float = Field(default=0.05, ge=0, le=0.5, description="warm-up as a share of all steps")
    weight_decay: Float = Field(default=0.0, ge=0, le=1, description="decoupled weight decay")
    max_grad_norm: Float = Field(
        default=1.0, ge=0, le=1e6, description="clip gradients to this norm; 0 leaves them alone"
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations: less memory, more time")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto takes what is fast here"
    )
    completion_only_loss: bool = Field(
        default=False,
        description="learn only what was typed, not the code around it (prompts of other data are never learned)",
    )
    early_stopping_patience: Int = Field(
        default=3, ge=0, le=1000, description="evaluations without gain; 0 never stops early, nor does a budget"
    )
    eval_every: Int | None = Field(
        default=None, ge=1, le=10**6, description="steps between evaluations; chosen when not given"
    )
    seed: Int = Field(default=0, ge=0, lt=2**32, description="seed of everything random")
    low_memory: bool = Field(
        default=False, description="small passes, recomputation, a smaller adapter: less memory, more time"
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_steps is not None and "warmup_ratio" in self.model_fields_set:
            raise ValueError("warmup_steps and warmup_ratio are both set; keep one")
        return self


class DatasetSection(Section):
    """Where examples come from and which of them are used."""

    from_git: Text | None = Field(default=None, description="repository (path or URL) whose history is mined")
    sources: Words = Field(default=(), description="folders, data files, or NAME:LOCATION for a source plugin")
    train_file: Place | None = Field(default=None, description="JSONL file of examples to train on")
    eval_file: Place | None = Field(
        default=None, description="JSONL file of examples to judge on, instead of a split by time"
    )
    max_length: Int = Field(
        default=384, ge=0, le=131072, description="tokens in one example; 0 lets the planner choose"
    )
    languages: Words | None = Field(default=None, description="keep only these languages")
    since: Text | None = Field(default=None, description="oldest commit date, as git understands it (6 months ago)")
    until: Text | None = Field(default=None, description="newest commit date, as git understands it")
    paths: Words = Field(default=(), description="keep only files that match one of these globs")
    patterns: Words = Field(default=(), description="file name patterns for folders without history (*.java)")
    max_examples: Int | None = Field(
        default=None, ge=1, le=10**8, description="at most this many examples, the newest first"
    )
    held_out_share: Float = Field(
        default=0.1, gt=0, lt=0.9, description="share of the newest examples kept for the verdict"
    )
    held_out_limit: Int = Field(
        default=200, ge=1, le=100_000, description="at most this many examples kept for the verdict"
    )
    skip_bad: bool = Field(default=False, description="count and skip bad lines of a data file instead of stopping")
    fim: Switch = Field(default="auto", description="fill-in-the-middle: auto when the base has the tokens, on, off")
    fim_rate: Float = Field(default=0.5, ge=0, le=1, description="share of examples shown as fill-in-the-middle")

    @property
    def has_source(self) -> bool:
        """Whether there is anything to train on."""
        return bool(self.from_git or self.sources or self.train_file)


class EvaluationSection(Section):
    """How thoroughly base and adapter are compared on the held-out examples."""

    generate_limit: Int = Field(
        default=32, ge=0, le=100_000, description="examples that both complete; 0 completes none"
    )


class RunSection(Section):
    """Where results go, how long it may take, what is watched, and what happens on the way."""

    output: Place | None = Field(default=None, description="the .lora file to write; NAME.lora when not given")
    directory: Place | None = Field(default=None, description="run directory with checkpoints, log and report")
    resume: Text | None = Field(
        default=None, description=f"run directory to continue; {LATEST} takes the newest unfinished"
    )
    budget: Seconds | None = Field(
        default=None, ge=10, le=30 * 86400, description="time for the whole command (5m, 1h30m)"
    )
    dry_run: bool = Field(default=False, description="check everything, predict time and memory, train nothing")
    force: bool = Field(
        default=False, description="keep the adapter, and succeed, even when the verdict is that it hurts"
    )
    tensorboard: Place | None = Field(default=None, description="folder for TensorBoard files")
    wandb: bool = Field(default=False, description="report to Weights & Biases")
    debug: bool = Field(default=False, description="keep tracebacks and log everything")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="what the terminal shows"
    )
    profile_memory: bool = Field(default=False, description="record memory by phase and module")
    track_gradients: bool = Field(default=False, description="record gradient norms by module")
    checkpoint_every_seconds: Seconds = Field(default=60.0, ge=1, le=86400, description="time between checkpoints")


class TrainConfig(Section):
    """Everything ``neuralforge train`` can be told."""

    model: ModelSection = Field(default_factory=ModelSection)
    lora: LoraSection = Field(default_factory=LoraSection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    dataset: DatasetSection = Field(default_factory=DatasetSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    run: RunSection = Field(default_factory=RunSection)

    @model_validator(mode="before")
    @classmethod
    def _small_adapter(cls, content: Any) -> Any:
        """With little memory the adapter is half as large, unless its rank was given."""
        training = content.get("training") if isinstance(content, dict) else None
        if not isinstance(training, dict) or str(training.get("low_memory")).lower() not in _YES:
            return content
        lora = content.get("lora", {})
        return content | {"lora": {"rank": LOW_MEMORY_RANK, **lora}} if isinstance(lora, dict) else content


def sections_of(schema: type[Section]) -> dict[str, type[Section]]:
    """The fields of ``schema`` that hold keys of their own."""
    found = {name: field.annotation for name, field in schema.model_fields.items()}
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, Section)}


SECTIONS = sections_of(TrainConfig)
