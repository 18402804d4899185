"""How single settings are read: lists from "a,b", times from "5m", YAML's ``on``/``off`` taken back as words."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from neuralforge import paths
from neuralforge.adapter.manifest import NAME, slug

ALL_LINEAR = "all-linear"
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,127}")


def seconds(value: Any) -> Any:
    """Turn ``"90"``, ``"90s"``, ``"5m"``, ``"1h30m"`` or a number into seconds.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, bool):
        raise ValueError("should be a time such as 90s, 5m or 1h30m")
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip().lower())
        if not found or not any(found.groups()):
            raise ValueError("should be a time such as 90s, 5m or 1h30m")
        hours, minutes, rest = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + rest
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


def _finite(value: float) -> float:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("should be a finite number")
    return value


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _modules(value: Any) -> Any:
    if value == ALL_LINEAR:
        return value
    names = _listed(value)
    if not isinstance(names, (list, tuple)) or not names:
        raise ValueError(f"should be {ALL_LINEAR} or a list of module names such as [q_proj, v_proj]")
    for name in names:
        if not isinstance(name, str) or not _MODULE.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a module")
    return tuple(names)


def _layers(value: Any) -> Any:
    if value in ("auto", "all", "upper-half"):
        return value
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() and len(value) < 6 else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1024:
        raise ValueError("should be auto, all, upper-half, or how many of the upper layers to adapt")
    return number


def _switch(value: Any) -> Any:
    return ("on" if value else "off") if isinstance(value, bool) else value


def _printable(value: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("should not contain control characters")
    return value


def _adapter_name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise ValueError(f"should be lower-case letters, digits and . _ - between them, such as {slug(value)}")
    return value


def _place(value: Any) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("should not be empty")
        return paths.expanded(_printable(value))
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_printable)]
Name = Annotated[str, AfterValidator(_adapter_name)]
Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")]
Place = Annotated[Path, BeforeValidator(_place)]
Words = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
Int = Annotated[int, BeforeValidator(_number)]
Float = Annotated[float, BeforeValidator(_number), AfterValidator(_finite)]
Seconds = Annotated[float, BeforeValidator(seconds), AfterValidator(_finite)]
Modules = Annotated[Literal["all-linear"] | tuple[str, ...], BeforeValidator(_modules)]
Layers = Annotated[Literal["auto", "all", "upper-half"] | int, BeforeValidator(_layers)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]
