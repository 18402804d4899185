"""Put a configuration together: defaults < preset < YAML < environment < flags, with the origin of every value.

There are three kinds (``Kind``): of ``train``, of ``pretrain``, whose variables begin with ``NEURALFORGE_PRETRAIN_``,
and of ``post-train``, whose variables begin with ``NEURALFORGE_POSTTRAIN_``.

All that is wrong is found and said at once: each problem with its dotted key, the line of the file (or the
variable, or the flag), the reason, and what may have been meant.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from neuralforge.config.layers import (
    POSTTRAIN_PREFIX,
    PREFIX,
    PRETRAIN_PREFIX,
    Given,
    Layer,
    Origin,
    Problem,
    read_environment,
    read_yaml,
)
from neuralforge.config.posttraining import PostTrainConfig
from neuralforge.config.pretraining import PretrainConfig
from neuralforge.config.schema import Section, TrainConfig, sections_of
from neuralforge.errors import UserError

LATER = {
    "optimization.ewc_lambda": "continual learning",
    "optimization.replay_buffer_size": "continual learning",
    "training.focus_on": "topic selection",
    "dataset.features": "topic selection",
}
DEFAULT = Origin("default")


Config = TypeVar("Config", bound=Section)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Config]):
    """One kind of configuration.

    Attributes:
        schema: its sections. presets: folder of its presets. variables: what names of its variables begin with.
        spellings: translates second spellings in a layer to the one key that holds the matter.
    """

    schema: type[Config]
    presets: str
    variables: str
    spellings: Callable[[Layer, list[Problem]], Layer]

    @property
    def sections(self) -> dict[str, type[Section]]:
        """The fields that hold keys of their own."""
        return sections_of(self.schema)


@dataclass(frozen=True, slots=True)
class Resolved(Generic[Config]):
    """A valid configuration and, for every dotted key that was given, where the value came from."""

    config: Config
    origins: Mapping[str, Origin]

    def origin(self, key: str) -> Origin:
        """Where ``section.key`` came from."""
        return self.origins.get(key, DEFAULT)


class ConfigError(UserError):
    """A configuration with one or more ``problems``."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        listed = "; ".join(str(problem) for problem in problems)
        count = "" if len(problems) == 1 else f"{len(problems)} problems: "
        super().__init__(
            f"The configuration cannot be used. {count}{listed}.",
            "`neuralforge config show` lists the keys of train, `neuralforge config presets` the presets.",
        )


def load_config(
    path: Path | None = None,
    *,
    preset: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, Any]] | None = None,
) -> Resolved[TrainConfig]:
    """Resolve a configuration of ``train``; see ``resolve``."""
    return resolve(TRAINING, path, preset=preset, environment=environment, flags=flags)


def resolve(
    kind: Kind[Config],
    path: Path | None = None,
    *,
    preset: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, Any]] | None = None,
) -> Resolved[Config]:
    """Resolve a configuration.

    Args:
        path: YAML file, or None.
        preset: name of a shipped preset, or None.
        environment: variables to look at, usually ``os.environ``; None for none.
        flags: dotted key to (the flag as typed, value).

    Raises:
        ConfigError: anything is wrong; it lists everything.
    """
    problems: list[Problem] = []
    layers: list[Layer] = []
    if preset is not None:
        layers.append(_preset(kind, preset, problems))
    if path is not None:
        layers.append(read_yaml(path, problems))
    if environment is not None:
        layers.append(read_environment(environment, kind.variables))
    layers.append({key: Given(value, Origin("flag", flag)) for key, (flag, value) in (flags or {}).items()})
    merged: Layer = {}
    for layer in layers:
        merged |= kind.spellings(_dotted(kind, layer), problems)
    config = _validated(kind, merged, problems)
    if problems or config is None:
        raise ConfigError(problems)
    return Resolved(config, {key: given.origin for key, given in merged.items()})


def _dotted(kind: Kind[Any], layer: Layer) -> Layer:
    """``layer`` with every section inside a section as keys of its own, so that a later layer replaces only those."""
    found: Layer = {}
    for key, given in layer.items():
        section, _, name = key.partition(".")
        inner = sections_of(kind.sections[section]) if section in kind.sections else {}
        if name in inner and isinstance(given.value, dict) and given.value:
            found |= {f"{key}.{one}": Given(value, given.origin) for one, value in given.value.items()}
        else:
            found[key] = given
    return found


def preset_names(kind: Kind[Any] | None = None) -> list[str]:
    """Names of the shipped presets, of ``train`` if no other kind is given."""
    found = _presets(kind or TRAINING).iterdir()
    return sorted(item.name.removesuffix(".yaml") for item in found if item.name.endswith(".yaml"))


def preset_text(name: str, kind: Kind[Any] | None = None) -> str:
    """The YAML of a shipped preset; its first line is a comment that says what it is for.

    Raises:
        UserError: there is none of that name.
    """
    if name not in preset_names(kind):
        raise UserError(f"There is no preset named {name!r}.", f"Presets: {', '.join(preset_names(kind))}.")
    return (_presets(kind or TRAINING) / f"{name}.yaml").read_text(encoding="utf-8")


def _presets(kind: Kind[Any]) -> Traversable:
    return resources.files("neuralforge.config") / kind.presets


def _preset(kind: Kind[Any], name: str, problems: list[Problem]) -> Layer:
    names = preset_names(kind)
    if name not in names:
        guess = _meant(name, names) or f"presets: {', '.join(names)}"
        problems.append(Problem("", "--preset", f"there is no preset named {name!r}", guess))
        return {}
    with resources.as_file(_presets(kind) / f"{name}.yaml") as path:
        return read_yaml(path, problems, kind="preset", name=f"preset {name}")


def _one_home(layer: Layer, problems: list[Problem]) -> Layer:
    """Move the guide's second spellings (``fp16: true``, ``language: rust``) to the one key that holds the matter."""
    moved = dict(layer)
    wanted: list[str] = []
    for name in ("fp16", "bf16"):
        given = moved.pop(f"training.{name}", None)
        if given is None:
            continue
        switch = str(given.value).lower()
        if switch not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            problems.append(Problem(f"training.{name}", given.origin.place, "should be true or false"))
        elif switch in ("true", "1", "yes", "on"):
            wanted.append(name)
            before = moved.get("training.precision")
            if len(wanted) > 1 or (before is not None and before.value not in (name, "auto")):
                other = wanted[0] if len(wanted) > 1 else f"precision {before.value if before else ''}"
                problems.append(Problem(f"training.{name}", given.origin.place, f"contradicts {other}; keep one"))
            else:
                moved["training.precision"] = Given(name, given.origin)
    single = moved.pop("dataset.language", None)
    if single is not None:
        if "dataset.languages" in moved:
            problems.append(Problem("dataset.language", single.origin.place, "contradicts languages; keep one"))
        else:
            moved["dataset.languages"] = single
    return moved


# The guides' names of settings of ``pretrain`` and ``post-train``.
_SPELLINGS = {
    "training.per_device_train_batch_size": "training.batch_size",
    "training.per_device_batch_size": "training.batch_size",
    "training.gradient_accumulation_steps": "training.gradient_accumulation",
    "training.lr_scheduler_type": "training.scheduler",
    "training.eval_steps": "evaluation.eval_every",
    "model.rms_norm_eps": "model.layer_norm_eps",
    "model.ffn_dim": "model.intermediate_size",
}


def _renamed(layer: Layer, problems: list[Problem]) -> Layer:
    moved: Layer = {}
    for key, given in layer.items():
        home = _SPELLINGS.get(key, key)
        if home in moved or (home != key and home in layer):
            problems.append(Problem(key, given.origin.place, f"contradicts {home}; keep one"))
        moved[home] = given
    return moved


TRAINING = Kind(TrainConfig, "presets", PREFIX, _one_home)
PRETRAINING = Kind(PretrainConfig, "presets/pretrain", PRETRAIN_PREFIX, _renamed)
POSTTRAINING = Kind(PostTrainConfig, "presets/post-train", POSTTRAIN_PREFIX, _renamed)


def _validated(kind: Kind[Config], merged: Layer, problems: list[Problem]) -> Config | None:
    tree: dict[str, Any] = {}
    sections = kind.sections
    # What holds others comes first, so that a flag for one key within it finds its place.
    for key, given in sorted(merged.items(), key=lambda item: item[0].count(".")):
        section, *rest = key.split(".")
        fields = sections[section].model_fields if section in sections else None
        if fields is None and not rest and section in kind.schema.model_fields:
            tree[section] = given.value
        elif fields is None or not rest or rest[0] not in fields:
            problems.append(_unknown(kind, key, given.origin, is_section=fields is not None and not rest))
        elif given.value is not None or _takes_none(sections[section], rest[0]):
            _put(tree, [section, *rest], given.value)
        else:
            problems.append(Problem(key, given.origin.place, "has no value"))
    try:
        return kind.schema.model_validate(tree)
    except ValidationError as failure:
        for error in failure.errors(include_url=False, include_context=False):
            if error["type"] == "default_factory_not_called":
                continue  # alpha waits for a rank that is wrong, which is said already
            problems.append(_explained(error["loc"], error["type"], error["msg"], error.get("input"), merged))
        return None


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = tree.get(part)
        tree[part] = dict(inner) if isinstance(inner, dict) else {}
        tree = tree[part]
    tree[path[-1]] = value


def _takes_none(section: type[Section], name: str) -> bool:
    field = section.model_fields[name]
    return field.default is None and field.default_factory is None


def _unknown(kind: Kind[Any], key: str, origin: Origin, *, is_section: bool) -> Problem:
    section = key.partition(".")[0]
    later = LATER.get(key) or ("continual learning" if section == "optimization" else None)
    if later:
        comes = "it comes with `neuralforge learn`, which this version does not have"
        reason = f"belongs to {later}; {comes}" if later == "continual learning" else f"{later} is not in this version"
        return Problem(key, origin.place, reason, "remove it")
    if is_section:
        return Problem(key, origin.place, "is a section and should hold keys, one a line below it")
    known = [f"{section}.{name}" for section, fields in kind.sections.items() for name in fields.model_fields]
    return Problem(key, origin.place, "is not a known key", _meant(key, known))


def _meant(word: str, known: list[str]) -> str:
    """A suggestion: the known word whose last part is closest, the same section breaking ties."""
    section, _, name = word.rpartition(".")

    def closeness(candidate: str) -> float:
        its_section, _, its_name = candidate.rpartition(".")
        ratio = difflib.SequenceMatcher(None, name, its_name).ratio
        return ratio() + (0.1 if its_section == section else 0.0) if ratio() >= 0.7 else 0.0

    best = max(known, key=closeness)
    return f"did you mean {best}?" if closeness(best) else ""


def _placed(loc: tuple[int | str, ...], merged: Layer) -> tuple[str, Origin]:
    """The dotted key of an error, as far as the value as given has such a place, and where it stood."""
    for size in range(len(loc), 0, -1):
        key = ".".join(str(part) for part in loc[:size])
        if key not in merged:
            continue
        value, origin = merged[key].value, merged[key].origin
        for part in loc[size:]:
            if isinstance(value, dict) and isinstance(part, str):
                key, value = f"{key}.{part}", value.get(part)
            elif isinstance(value, list) and isinstance(part, int):
                key, value = f"{key}[{part}]", value[part]
            else:
                break
        return key, origin
    return ".".join(str(part) for part in loc[:2]), DEFAULT


def _explained(loc: tuple[int | str, ...], kind: str, message: str, value: Any, merged: Layer) -> Problem:
    key, origin = _placed(loc, merged)
    reason = message.removeprefix("Value error, ").replace("Input should be", "should be")
    if kind == "string_type":
        reason = "should be text; put quotes around it"
    elif kind == "string_pattern_mismatch" and key == "model.adapter_name":
        reason = "should be 1 to 64 letters, digits, dots, dashes or underscores, and begin with a letter or digit"
    elif kind == "string_pattern_mismatch" and key == "model.device":
        reason = "should be auto, cpu, mps, cuda or cuda:N"
    reason = reason[:1].lower() + reason[1:]
    if len(loc) > 1 and value is not None:
        shown = repr(value)
        reason += f", not {shown[:60]}{'…' if len(shown) > 60 else ''}"
    guess = ""
    if kind == "literal_error" and isinstance(value, str):
        choices = message.replace("Input should be", "").replace(" or ", ", ").replace("'", "").split(",")
        close = difflib.get_close_matches(value, [choice.strip() for choice in choices], n=1)
        guess = f"did you mean {close[0]}?" if close else ""
    return Problem(key, origin.place, reason, guess)
