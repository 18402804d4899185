"""Read one layer of configuration (a YAML file or the environment) into dotted keys that remember where they stood."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 16
PREFIX = "NEURALFORGE_"
PRETRAIN_PREFIX, POSTTRAIN_PREFIX = f"{PREFIX}PRETRAIN_", f"{PREFIX}POSTTRAIN_"
_STANDARD = "tag:yaml.org,2002:"
_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "seq", "map")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: ``kind`` is default, preset, file, environment or flag; ``place`` says exactly."""

    kind: str
    place: str = ""

    def __str__(self) -> str:
        return self.place or self.kind


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration."""

    key: str
    place: str
    reason: str
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        what = f"{self.key}: " if self.key else ""
        return f"{where}{what}{self.reason}" + (f" ({self.suggestion})" if self.suggestion else "")


@dataclass(frozen=True, slots=True)
class Given:
    """One value as it was given."""

    value: Any
    origin: Origin


Layer = dict[str, Given]


class _Refused(Exception):
    """Reading cannot go on; carries the one problem that says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_yaml(path: Path, problems: list[Problem], *, kind: str = "file", name: str | None = None) -> Layer:
    """Read ``section: {key: value}`` from a YAML file; everything wrong is added to ``problems``.

    Only plain YAML is accepted: no tags that build objects, no key given twice, at most 256 KiB of text and
    10,000 nodes with aliases expanded, so a small file cannot become a large value.

    Args:
        path: the file.
        problems: receives what is wrong.
        kind: kind of the origins (``file`` or ``preset``).
        name: what to call the file in messages, its path when not given.
    """
    shown = name or str(path)
    try:
        root = _compose(path, shown)
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            raise _Refused(Problem("", _at(shown, root), "should hold sections such as model:, lora: and training:"))
        walker = _Walker(shown, kind, problems)
        return walker.sections(root)
    except _Refused as refusal:
        problems.append(refusal.problem)
        return {}


def read_environment(environment: Mapping[str, str], prefix: str = PREFIX) -> Layer:
    """Take ``NEURALFORGE_SECTION__KEY`` variables; names without a double underscore belong to others."""
    layer: Layer = {}
    for variable, value in sorted(environment.items()):
        others = (PRETRAIN_PREFIX, POSTTRAIN_PREFIX) if prefix == PREFIX else ()
        own = variable.startswith(prefix) and not variable.startswith(others)
        if own and "__" in variable:
            key = variable.removeprefix(prefix).lower().replace("__", ".")
            layer[key] = Given(value, Origin("environment", variable))
    return layer


def _compose(path: Path, shown: str) -> yaml.Node | None:
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or str(failure)
        raise _Refused(Problem("", shown, f"cannot be read: {reason}")) from failure
    if len(content) > MAX_BYTES:
        raise _Refused(Problem("", shown, f"is larger than {MAX_BYTES // 1024} KiB, too much for a configuration"))
    try:
        text = content.decode("utf-8-sig")
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as failure:
        raise _Refused(Problem("", shown, f"is not UTF-8 text (byte {failure.start})")) from failure
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise _Refused(Problem("", f"{shown}{line}", f"is not valid YAML: {failure.problem or failure}")) from failure
    except yaml.YAMLError as failure:
        raise _Refused(Problem("", shown, f"is not valid YAML: {failure}".replace("\n", " "))) from failure
    except RecursionError as failure:
        raise _Refused(Problem("", shown, "is nested too deeply")) from failure
    return node


def _at(shown: str, node: yaml.Node) -> str:
    return f"{shown}:{node.start_mark.line + 1}"


class _Walker:
    """Turns nodes into values, counting every visit so that aliases cannot multiply without bound."""

    def __init__(self, shown: str, kind: str, problems: list[Problem]) -> None:
        self.shown, self.kind, self.problems = shown, kind, problems
        self.visited = 0
        self.scalars = yaml.SafeLoader("")

    def sections(self, root: yaml.MappingNode) -> Layer:
        layer: Layer = {}
        for section, node in self.pairs(root, ""):
            if isinstance(node, yaml.MappingNode):
                for key, value in self.pairs(node, section):
                    origin = Origin(self.kind, _at(self.shown, value))
                    layer[f"{section}.{key}"] = Given(self.value(value, 2), origin)
            elif not (isinstance(node, yaml.ScalarNode) and node.tag == f"{_STANDARD}null"):
                layer[section] = Given(self.value(node, 1), Origin(self.kind, _at(self.shown, node)))
        return layer

    def pairs(self, mapping: yaml.MappingNode, section: str) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, int] = {}
        for key, value in mapping.value:
            self.count(key)
            place = _at(self.shown, key)
            if not isinstance(key, yaml.ScalarNode) or not _WORD.fullmatch(key.value):
                self.problems.append(Problem(section, place, "has a key that is not a plain word"))
                continue
            name = f"{section}.{key.value}" if section else key.value
            if key.value in seen:
                self.problems.append(Problem(name, place, f"is given twice (first on line {seen[key.value]})"))
                continue
            seen[key.value] = key.start_mark.line + 1
            yield key.value, value

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.count(node)
        if depth > MAX_DEPTH:
            raise _Refused(Problem("", _at(self.shown, node), "is nested too deeply"))
        if node.tag.removeprefix(_STANDARD) not in _TAGS:
            raise _Refused(Problem("", _at(self.shown, node), f"uses the tag {node.tag}, which is not allowed"))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return {name: self.value(item, depth + 1) for name, item in self.pairs(node, "")}
        if node.tag == f"{_STANDARD}timestamp":
            return node.value  # a date stays the text that was written
        try:
            return self.scalars.construct_object(node)
        except (ValueError, yaml.YAMLError) as failure:
            raise _Refused(Problem("", _at(self.shown, node), f"cannot be read: {node.value[:40]!r}")) from failure

    def count(self, node: yaml.Node) -> None:
        self.visited += 1
        if self.visited > MAX_NODES:
            raise _Refused(
                Problem("", _at(self.shown, node), f"holds more than {MAX_NODES:,} values, aliases expanded")
            )
