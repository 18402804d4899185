"""What a package says of the training it came from: its manifest, and the recipe to repeat it.

A package travels: neither says where things lie on this machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neuralforge.data.records import Example
from neuralforge.workflows.material import Material, printable, public_name

if TYPE_CHECKING:
    from neuralforge.adapter.manifest import Manifest
    from neuralforge.config.schema import TrainConfig
    from neuralforge.evaluation.verdict import Verdict
    from neuralforge.models.base import BaseModel
    from neuralforge.training.trainer import LoRATrainer


def adapter_name(config: TrainConfig) -> str:
    """The name that was given, else one made from the first source."""
    from neuralforge.adapter.manifest import slug

    if config.model.adapter_name:
        return config.model.adapter_name
    data = config.dataset
    place = data.from_git or (str(data.train_file) if data.train_file else None) or data.sources[0]
    stem = public_name(place.rstrip("/")).rpartition("/")[2].removesuffix(".git").removesuffix(".jsonl")
    return slug(stem)


def manifest_of(
    trainer: LoRATrainer,
    config: TrainConfig,
    material: Material,
    used: Sequence[Example],
    judged: int,
    verdict: Verdict | None,
) -> Manifest:
    """The manifest of what ``trainer`` learned from ``used``; ``judged`` examples were held against it."""
    from neuralforge.adapter.manifest import CommitInfo, DataInfo
    from neuralforge.models.fim import ADDED_FIM

    licences = Counter(_told(example.licence or "unknown") for example in used)
    commits = material.split.train_commits
    known = {example.commit for example in used if example.commit}
    until = max([0, *(example.author_time or 0 for example in material.split.train)])
    manifest = trainer.manifest(
        adapter_name(config),
        data=DataInfo(
            examples=len(used),
            held_out=judged,
            sources=material.sources,
            funnel=material.funnel,
            languages=dict(Counter(_told(example.language) for example in used).most_common()),
            licences=dict(licences.most_common()),
        ),
        commits=CommitInfo(commits[0], commits[-1], len(known), until) if commits else None,
        verdict=None if verdict is None else verdict.to_json(),
        licence=licences.most_common(1)[0][0] if len(licences) == 1 and "unknown" not in licences else None,
        description=f"LoRA adapter of {trainer.base.name} for {', '.join(material.sources)}.",
    )
    if not config.model.add_fim_tokens:
        return manifest
    return replace(manifest, training={**manifest.training, ADDED_FIM: True})


def _told(text: str) -> str:
    """A word from the data as a manifest may carry it."""
    return printable(text)[:100]


def recipe_of(config: TrainConfig, base: BaseModel) -> str:
    """``training.yaml``: the settings to repeat the training, without the places on this machine."""
    import yaml

    settings = config.model_dump(mode="json", exclude={"run"})
    settings["model"]["base"] = base.name
    if settings["training"]["warmup_steps"] is not None:
        del settings["training"]["warmup_ratio"]  # the two exclude each other
    return yaml.safe_dump(_without_places(settings), sort_keys=False, allow_unicode=True)


def _without_places(settings: dict[str, Any]) -> dict[str, Any]:
    data = settings["dataset"]
    for key in ("from_git", "train_file", "eval_file"):
        if data.get(key):
            data[key] = public_name(str(data[key]))
    data["sources"] = [public_name(place) for place in data.get("sources", [])]
    return settings
