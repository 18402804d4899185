"""Put a configuration together: defaults < preset < YAML < environment < flags, with the origin of every value.

All that is wrong is found and said at once: each problem with its dotted key, the line of the file (or the
variable, or the flag), the reason, and what may have been meant.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neuralforge.config.layers import Given, Layer, Origin, Problem, read_environment, read_yaml
from neuralforge.config.schema import SECTIONS, TrainConfig
from neuralforge.errors import UserError

LATER = {
    "optimization.ewc_lambda": "continual learning",
    "optimization.replay_buffer_size": "continual learning",
    "training.focus_on": "topic selection",
    "dataset.features": "topic selection",
}
DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A valid configuration and, for every dotted key that was given, where the value came from."""

    config: TrainConfig
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
            "`neuralforge config show` lists every key with its value; `neuralforge config presets` the presets.",
        )


def load_config(
    path: Path | None = None,
    *,
    preset: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, Any]] | None = None,
) -> Resolved:
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
        layers.append(_preset(preset, problems))
    if path is not None:
        layers.append(read_yaml(path, problems))
    if environment is not None:
        layers.append(read_environment(environment))
    layers.append({key: Given(value, Origin("flag", flag)) for key, (flag, value) in (flags or {}).items()})
    merged: Layer = {}
    for layer in layers:
        merged |= _one_home(layer, problems)
    config = _validated(merged, problems)
    if problems or config is None:
        raise ConfigError(problems)
    return Resolved(config, {key: given.origin for key, given in merged.items()})


def preset_names() -> list[str]:
    """Names of the shipped presets."""
    return sorted(item.name.removesuffix(".yaml") for item in _presets().iterdir() if item.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """The YAML of a shipped preset; its first line is a comment that says what it is for.

    Raises:
        UserError: there is none of that name.
    """
    if name not in preset_names():
        raise UserError(f"There is no preset named {name!r}.", f"Presets: {', '.join(preset_names())}.")
    return (_presets() / f"{name}.yaml").read_text(encoding="utf-8")


def _presets() -> Traversable:
    return resources.files("neuralforge.config") / "presets"


def _preset(name: str, problems: list[Problem]) -> Layer:
    names = preset_names()
    if name not in names:
        guess = _meant(name, names) or f"presets: {', '.join(names)}"
        problems.append(Problem("", "--preset", f"there is no preset named {name!r}", guess))
        return {}
    with resources.as_file(_presets() / f"{name}.yaml") as path:
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


def _validated(merged: Layer, problems: list[Problem]) -> TrainConfig | None:
    tree: dict[str, Any] = {}
    for key, given in merged.items():
        section, _, name = key.partition(".")
        fields = _fields().get(section)
        if fields is None or name not in fields:
            problems.append(_unknown(key, given.origin, is_section=fields is not None and not name))
        elif given.value is not None or _takes_none(section, name):
            tree.setdefault(section, {})[name] = given.value
        else:
            problems.append(Problem(key, given.origin.place, "has no value"))
    try:
        config = TrainConfig.model_validate(tree)
    except ValidationError as failure:
        for error in failure.errors(include_url=False, include_context=False):
            if error["type"] == "default_factory_not_called":
                continue  # alpha waits for a rank that is wrong, which is said already
            problems.append(_explained(error["loc"], error["type"], error["msg"], error.get("input"), merged))
        return None
    return config


def _fields() -> dict[str, list[str]]:
    return {section: list(kind.model_fields) for section, kind in SECTIONS.items()}


def _takes_none(section: str, name: str) -> bool:
    field = SECTIONS[section].model_fields[name]
    return field.default is None and field.default_factory is None


def _unknown(key: str, origin: Origin, *, is_section: bool) -> Problem:
    section = key.partition(".")[0]
    later = LATER.get(key) or ("continual learning" if section == "optimization" else None)
    if later:
        comes = "it comes with `neuralforge learn`, which this version does not have"
        reason = f"belongs to {later}; {comes}" if later == "continual learning" else f"{later} is not in this version"
        return Problem(key, origin.place, reason, "remove it")
    if is_section:
        return Problem(key, origin.place, "is a section and should hold keys, one a line below it")
    return Problem(key, origin.place, "is not a known key", _meant(key, _keys()))


def _keys() -> list[str]:
    return [f"{section}.{name}" for section, names in _fields().items() for name in names]


def _meant(word: str, known: list[str]) -> str:
    """A suggestion: the known word whose last part is closest, the same section breaking ties."""
    section, _, name = word.rpartition(".")

    def closeness(candidate: str) -> float:
        its_section, _, its_name = candidate.rpartition(".")
        ratio = difflib.SequenceMatcher(None, name, its_name).ratio
        return ratio() + (0.1 if its_section == section else 0.0) if ratio() >= 0.7 else 0.0

    best = max(known, key=closeness)
    return f"did you mean {best}?" if closeness(best) else ""


def _explained(loc: tuple[int | str, ...], kind: str, message: str, value: Any, merged: Layer) -> Problem:
    key = ".".join(str(part) for part in loc[:2])
    origin = merged[key].origin if key in merged else DEFAULT
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
