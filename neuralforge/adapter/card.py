"""The model card: ``README.md`` of a package, written from the manifest alone.

Everything that comes from elsewhere (names, paths, licences) is shown as text: Markdown and HTML in it is escaped,
control characters and direction overrides become visible escapes, so a card cannot run, hide or link to anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from neuralforge.adapter.manifest import Manifest
from neuralforge.adapter.strict_text import is_unsafe

_MARKUP = re.compile(r"([\\`*_{}\[\]()#!|~>$^])")
_BLOCK_START = re.compile(r"^(?=[-+=])|^(\d+)(?=[.)](?:\s|$))")
_AUTOLINK = re.compile(r"(?i)\b(https?|ftp|mailto)(?=:)|\b(www)(?=\.)|(?<=\w)(@)(?=\w)")
_SHOWN = 12  # rows of a count table; the manifest has all of them

_TITLES = {
    "loss": ("loss, nats per token", "lower"),
    "perplexity": ("perplexity", "lower"),
    "accuracy": ("next-token accuracy", "higher"),
    "exact_match": ("exact match", "higher"),
    "first_line_match": ("first-line match", "higher"),
    "edit_similarity": ("edit similarity", "higher"),
}


def render_card(manifest: Manifest) -> str:
    """The card in Markdown: what it is, how to use it, what it was shown to do, what it was made of, its limits."""
    sections = [
        _front_matter(manifest),
        f"# {_text(manifest.name)} {_text(manifest.version)}",
        _summary(manifest),
        _usage(manifest),
        _verdict(manifest),
        _data(manifest),
        _training(manifest),
        _limits(manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(manifest: Manifest) -> str:
    """What model hubs read. JSON strings are YAML strings."""
    rows = ["library_name: peft", "tags: [lora, code, neuralforge]"]
    if manifest.licence:
        rows.append(f"license: {_quoted(manifest.licence.lower())}")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", manifest.base.identity):
        rows.append(f"base_model: {_quoted(manifest.base.identity)}")
    return "\n".join(["---", *rows, "---"])


def _summary(manifest: Manifest) -> str:
    lora = manifest.lora
    kind = "DoRA" if lora.use_dora else "rsLoRA" if lora.use_rslora else "LoRA"
    layers = "all layers" if lora.layers is None else f"layers {_ranges(lora.layers)}"
    rows = [
        ("Base model", f"{_text(manifest.base.name)} ({_text(manifest.base.identity)})"),
        ("Base digest", _code(manifest.base.digest)),
        ("Adapter", f"{kind}, rank {lora.rank}, alpha {lora.alpha:g}, {layers}"),
        (
            "Adapted modules",
            ", ".join(map(_text, lora.target_modules[:20])) + (" …" if len(lora.target_modules) > 20 else ""),
        ),
        ("Licence", _text(manifest.licence) if manifest.licence else "none stated; ask its author before using it"),
        ("Created", _text(manifest.created)),
    ]
    what = (
        _text(manifest.description)
        if manifest.description
        else "A small adapter that teaches a base model to complete code the way one code base is written."
    )
    return what + "\n\n" + _table(("", ""), rows)


def _usage(manifest: Manifest) -> str:
    file = f"{manifest.name}.lora"
    return f"""## Use

```sh
neuralforge adapters install {file}
neuralforge test-adapter {manifest.name}
```

Unpacked, the folder is an ordinary PEFT adapter:

```python
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "unpacked-folder")
```

It belongs to the base model with the digest above and is refused on any other."""


def _verdict(manifest: Manifest) -> str:
    verdict = manifest.verdict
    if verdict is None:
        return "## Verdict\n\nThis adapter has not been judged: nothing is known of whether it helps."
    rows = []
    for name, metric in verdict["metrics"].items():
        title, better = _TITLES.get(name, (_text(name), ""))
        rows.append(
            (
                title,
                _figure(metric["base"]),
                _figure(metric["adapter"]),
                _interval(metric["interval"]),
                better,
            )
        )
    commits = verdict["commits"]
    judged = f"Judged on {verdict['examples']:,} examples"
    if commits["held_out"]:
        judged += f" from the commits {_span(commits['held_out'])}, which the training never saw"
    if commits["train"]:
        judged += f"; trained on the commits {_span(commits['train'])}"
    table = _table(("metric", "base", "with adapter", "95 % interval of the difference", "better"), rows)
    return f"## Verdict\n\n**{_text(verdict['sentence'])}**\n\n{judged}.\n\n{table}"


def _data(manifest: Manifest) -> str:
    data = manifest.data
    parts = [f"## Data\n\nTrained on {data.examples:,} examples; {data.held_out:,} were held out."]
    if data.sources:
        parts.append(
            "Sources: " + ", ".join(map(_text, data.sources[:_SHOWN])) + ("." if len(data.sources) <= _SHOWN else " …")
        )
    if manifest.commits:
        found = manifest.commits
        parts.append(f"History: {found.count:,} commits, {_span((found.first, found.last))}.")
    if data.funnel:
        funnel = data.funnel
        parts.append(
            f"Of {funnel['seen']:,} candidates {funnel['kept']:,} were kept. The others, by reason:\n\n"
            + _counts("reason", funnel["dropped"])
            if funnel["dropped"]
            else f"Of {funnel['seen']:,} candidates {funnel['kept']:,} were kept."
        )
    if data.languages:
        parts.append(_counts("language", data.languages))
    if data.licences:
        parts.append("Licences of the files trained on:\n\n" + _counts("licence", data.licences))
    return "\n\n".join(parts)


def _training(manifest: Manifest) -> str:
    rows = [
        (_text(name.replace("_", " ")), _text(value if isinstance(value, str) else json.dumps(value)))
        for name, value in sorted(manifest.training.items())
        if not isinstance(value, (dict, list))
    ]
    if not rows:
        return ""
    return "## Training\n\n`training.yaml` holds everything needed to repeat it.\n\n" + _table(
        ("setting", "value"), rows
    )


def _limits(manifest: Manifest) -> str:
    points = [
        "It completes code; it does not know whether the code is right. Review what it writes.",
        "It leans towards the names, idioms and habits of its training data, outdated ones included.",
        "What was measured holds for later commits of the same history; elsewhere it may help less or hurt.",
    ]
    if manifest.verdict is None:
        points[2] = "Whether it helps at all was not measured."
    if not manifest.data.licences:
        points.append("The licences of the training data are not recorded.")
    return "## Limits\n\n" + "\n".join(f"- {point}" for point in points)


def _text(value: object) -> str:
    """Untrusted text as inert inline Markdown on one line."""
    text = "".join(_visible(character) for character in str(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = _MARKUP.sub(r"\\\1", text)
    # An autolink needs its scheme in one piece; a zero-size comment would be HTML, so a character reference splits it.
    text = _AUTOLINK.sub(lambda found: f"&#{ord(found[0][0])};{found[0][1:]}", text)
    return _BLOCK_START.sub(lambda found: f"{found[1] or ''}\\", text)


def _visible(character: str) -> str:
    return f"U+{ord(character):04X}" if is_unsafe(character) else character


def _code(value: str) -> str:
    """A code span for values of a known harmless alphabet; anything else as text."""
    return f"`{value}`" if re.fullmatch(r"[A-Za-z0-9:./_-]+", value) else _text(value)


def _quoted(value: str) -> str:
    return json.dumps("".join(_visible(character) for character in value), ensure_ascii=True)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counts(title: str, counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    rows = [(_text(name), f"{count:,}") for name, count in ordered[:_SHOWN]]
    if len(ordered) > _SHOWN:
        rows.append(("all others", f"{sum(count for _, count in ordered[_SHOWN:]):,}"))
    return _table((title, "examples"), rows)


def _span(commits: Any) -> str:
    return " to ".join(_code(str(commit)[:12]) for commit in dict.fromkeys(commits))


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _interval(value: list[float] | None) -> str:
    return "–" if value is None else f"{value[0]:+.3g} to {value[1]:+.3g}".replace("-", "−")


def _ranges(numbers: Iterable[int]) -> str:
    """``15–29`` for runs, ``1, 3`` for single ones."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in runs)
