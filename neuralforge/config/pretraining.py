"""The schema of everything that can be set for training a model from nothing.

Frozen, unknown keys refused, like ``config.schema``; sections may hold sections (``model.growth``).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from neuralforge.config.schema import Section
from neuralforge.config.values import Device, Float, Int, Place, Seconds, Text, Words

PostTrainingType = Literal["fine_tune", "instruct", "domain_adapt"]


class GrowthSection(Section):
    """When feed-forward layers widen in training, and how far (see ``training.growing``)."""

    enabled: bool = Field(default=False, description="widen layers that are full while the model trains")
    factor: Float = Field(default=2.0, gt=1, le=16, description="width after one widening over the width before")
    max: Float = Field(default=2.0, ge=1, le=64, description="width at the end over that at the beginning, at most")
    threshold: Float = Field(default=0.95, ge=0, le=1, description="share of neurons in use from which a layer is full")
    monitor_frequency: Int = Field(default=100, ge=1, le=10**6, description="steps between two looks")
    plateau: Float = Field(default=0.02, gt=0, le=1, description="a loss that falls by less between two looks is slow")
    warmup: Int = Field(default=50, ge=0, le=10**6, description="steps until new neurons learn at the full rate")


class ArborSection(Section):
    """The shape of the model (``models.arbor``)."""

    vocab_size: Int | None = Field(default=None, ge=1, description="rows of the embedding; as the tokenizer needs")
    hidden_size: Int = Field(default=256, ge=8, le=65536, description="width of the residual stream")
    num_layers: Int = Field(default=6, ge=1, le=1024, description="layers")
    num_attention_heads: Int = Field(default=8, ge=1, le=1024, description="query heads")
    num_key_value_heads: Int | None = Field(default=None, ge=1, description="key/value heads; as many as query heads")
    intermediate_size: Int = Field(default=1024, ge=1, le=10**6, description="feed-forward width at first")
    max_position_embeddings: Int = Field(default=2048, ge=2, le=2**24, description="longest context after scaling")
    activation_function: Literal["silu", "gelu"] = Field(
        default="silu", description="of the gated feed-forward network"
    )
    layer_norm_eps: Float = Field(default=1e-5, gt=0, le=0.1, description="epsilon of RMSNorm")
    tie_word_embeddings: bool = Field(default=True, description="one matrix for embedding and head")
    dropout: Float = Field(default=0.0, ge=0, lt=1, description="dropout of what a layer adds")
    attention_dropout: Float = Field(default=0.0, ge=0, lt=1, description="dropout of attention weights")
    growth: GrowthSection = Field(default_factory=GrowthSection, description="widening in training")


class PreprocessingSection(Section):
    """What is done to each text."""

    prefix: str = Field(default="", description="put before each text")
    suffix: str = Field(default="", description="put after each text")


class FilteringSection(Section):
    """Which texts are left out."""

    min_words: Int = Field(default=0, ge=0, description="fewest words")
    max_words: Int | None = Field(default=None, ge=1, description="most words")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_words is not None and self.max_words < self.min_words:
            raise ValueError("max_words is below min_words")
        return self


class CorpusSection(Section):
    """One source of text."""

    source: Place = Field(description="text file, JSONL file or folder")
    name: Text | None = Field(default=None, description="what to call it")
    preprocessing: PreprocessingSection = Field(default_factory=PreprocessingSection)
    filtering: FilteringSection = Field(default_factory=FilteringSection)


class LearningSection(Section):
    """Batches, optimiser and schedule."""

    learning_rate: Float | None = Field(
        default=None, gt=0, le=1, description="peak learning rate of AdamW; chosen by the kind of training if not given"
    )
    scheduler: Literal["cosine", "linear", "constant"] = Field(default="cosine", description="decay after the warm-up")
    epochs: Int = Field(default=1, ge=1, le=1000, description="passes over the corpus")
    max_steps: Int | None = Field(default=None, ge=1, le=10**9, description="at most so many steps")
    warmup_steps: Int | None = Field(default=None, ge=0, le=10**6, description="steps of linear warm-up")
    warmup_ratio: Float = Field(default=0.02, ge=0, le=0.5, description="warm-up as a share of all steps")
    batch_size: Int = Field(default=8, ge=1, le=4096, description="windows in one forward pass")
    gradient_accumulation: Int = Field(default=1, ge=1, le=4096, description="forward passes to one step")
    max_seq_len: Int = Field(default=512, ge=2, le=2**20, description="tokens of a window")
    weight_decay: Float = Field(default=0.1, ge=0, le=1, description="decoupled weight decay of matrices")
    beta1: Float = Field(default=0.9, ge=0, lt=1, description="AdamW's average of gradients")
    beta2: Float = Field(default=0.95, ge=0, lt=1, description="AdamW's average of their squares")
    eps: Float = Field(default=1e-8, gt=0, le=0.1, description="AdamW's epsilon")
    max_grad_norm: Float = Field(default=1.0, ge=0, le=1e6, description="clip gradients to this norm; 0 does not")
    gradient_checkpointing: bool = Field(default=False, description="recompute activations: less memory, more time")
    seed: Int = Field(default=0, ge=0, lt=2**32, description="seed of everything random")

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_steps is not None and "warmup_ratio" in self.model_fields_set:
            raise ValueError("warmup_steps and warmup_ratio are both set; keep one")
        return self


class WatchingSection(Section):
    """What is looked at while it trains."""

    validation: Float = Field(default=0.01, ge=0, lt=0.9, description="share of documents kept out; 0 for none")
    windows: Int = Field(default=64, ge=1, le=10**6, description="windows of them that are measured")
    eval_every: Int = Field(default=200, ge=1, le=10**9, description="steps between two measurements")
    patience: Int = Field(default=0, ge=0, le=1000, description="measurements without gain before stopping; 0: never")
    prompts: Words = Field(default=(), description="texts that the model continues at each measurement")
    tokens: Int = Field(default=32, ge=1, le=4096, description="tokens of such a continuation")


class TextRunSection(Section):
    """Where it goes and how long it may take."""

    save_dir: Place | None = Field(default=None, description="folder for the finished model")
    directory: Place | None = Field(default=None, description="run folder with corpus, checkpoints and log")
    resume: Text | None = Field(default=None, description="run folder to continue")
    budget: Seconds | None = Field(default=None, ge=10, le=30 * 86400, description="time for the whole command")
    device: Device = Field(default="auto", description="auto, cpu, mps, cuda or cuda:N")
    tensorboard: Place | None = Field(default=None, description="folder for TensorBoard files")
    wandb: bool = Field(default=False, description="report to Weights & Biases")
    checkpoint_every_seconds: Seconds = Field(default=60.0, ge=1, le=86400, description="time between checkpoints")


class PostTrainingSection(Section):
    """What follows at once on a pre-training (see ``neuralforge post-train``, whose defaults hold for the rest)."""

    enabled: bool = Field(default=False, description="post-train the finished model")
    type: PostTrainingType = Field(default="fine_tune", description="fine_tune, domain_adapt or instruct")
    datasets: tuple[CorpusSection, ...] = Field(default=(), description="what it learns from then")
    learning_rate: Float | None = Field(default=None, gt=0, le=1, description="peak learning rate; chosen by type")
    epochs: Int = Field(default=1, ge=1, le=1000, description="passes over it")
    max_steps: Int | None = Field(default=None, ge=1, le=10**9, description="at most so many steps")
    lora_enabled: bool = Field(default=False, description="train an adapter and add it to the weights")
    save_dir: Place | None = Field(default=None, description="folder for the result; SAVE_DIR-post-trained")

    @model_validator(mode="after")
    def _fed(self) -> Self:
        if self.enabled and not self.datasets:
            raise ValueError("post_training is enabled and has no datasets")
        return self


class TextTrainingConfig(Section):
    """What every training of a whole model on texts can be told."""

    datasets: tuple[CorpusSection, ...] = Field(default=(), description="sources of text")
    training: LearningSection = Field(default_factory=LearningSection)
    evaluation: WatchingSection = Field(default_factory=WatchingSection)
    run: TextRunSection = Field(default_factory=TextRunSection)


class PretrainConfig(TextTrainingConfig):
    """Everything ``neuralforge pretrain`` can be told."""

    model: ArborSection = Field(default_factory=ArborSection)
    tokenizer: Place | None = Field(default=None, description="folder of the tokenizer")
    post_training: PostTrainingSection = Field(default_factory=PostTrainingSection)
