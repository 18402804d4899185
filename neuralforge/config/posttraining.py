"""The schema of everything that can be set for training on from a model that exists."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from neuralforge.config.pretraining import PostTrainingType, TextTrainingConfig
from neuralforge.config.schema import Section
from neuralforge.config.values import Float, Int, Modules, Text


def _indices(value: Any) -> Any:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise ValueError("should be a list of layer numbers such as 0,1,2")
    for one in value:
        if isinstance(one, bool) or not str(one).isdecimal():
            raise ValueError("should be a list of layer numbers such as 0,1,2")
    return tuple(sorted({int(one) for one in value}))


Indices = Annotated[tuple[int, ...], BeforeValidator(_indices)]


class AdaptingSection(Section):
    """Whether an adapter learns instead of the model's own weights, and what becomes of it."""

    enabled: bool = Field(default=False, description="train a LoRA adapter, the model's own weights frozen")
    rank: Int = Field(default=16, ge=1, le=512, description="rank r of the update BA")
    alpha: Float | None = Field(default=None, gt=0, le=4096, description="scale; 2 x rank when not given")
    dropout: Float = Field(default=0.0, ge=0, lt=1, description="dropout before A")
    target_modules: Modules = Field(default="all-linear", description="all-linear, or names of the modules to adapt")
    merge: bool = Field(default=True, description="add the update to the weights and save a whole model; else a .lora")


class PostTrainConfig(TextTrainingConfig):
    """Everything ``neuralforge post-train`` can be told."""

    model_path: Text | None = Field(default=None, description="model to begin with: a folder, an alias, a hub id")
    training_type: PostTrainingType = Field(
        default="fine_tune",
        description="fine_tune or domain_adapt on texts, instruct on questions with their answers",
    )
    freeze_layers: Indices = Field(default=(), description="layers that stay as they are, counted from 0")
    lora: AdaptingSection = Field(default_factory=AdaptingSection)
