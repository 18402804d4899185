"""``report.html``: one file that shows what an adapter was trained on, how, and what it is worth.

It loads nothing, runs nothing (its content security policy forbids both) and escapes everything it is given: the
code in it comes from repositories that nobody has vetted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from string import Template
from typing import Any

from neuralforge.evaluation.report.difference import marked
from neuralforge.evaluation.report.pictures import HELP, LABELS, shown, signed, verdict_picture, verdict_role
from neuralforge.evaluation.report.svg import CHART, PALETTE, curve
from neuralforge.evaluation.verdict import Sample

_WIDE, _NARROW = 900, 380
_COMPARED = "Base against adapter"
_NOTHING = "<i>(nothing)</i>"
_TONES = {"helps": ("helps", "It helps"), "hurts": ("hurts", "It hurts")}


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything the report may show; what is empty or None is left out.

    Attributes:
        title: name of the adapter.
        manifest: ``metadata.json`` of the package (or its parts that are known).
        training: (optimiser step, loss) in nats per token.
        validation: the same for validation during training.
        funnel: ``Funnel.to_json()``.
        verdict: ``Verdict.to_json()``.
        samples: held-out examples side by side.
        settings: what was configured, by name.
        machine: what it ran on, by name.
        control: ``Control.to_json()``.
        subtitle: a line under the title.
    """

    title: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    training: Sequence[tuple[int, float]] = ()
    validation: Sequence[tuple[int, float]] = ()
    funnel: Mapping[str, Any] | None = None
    verdict: Mapping[str, Any] | None = None
    samples: Sequence[Sample] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    control: Mapping[str, Any] | None = None
    subtitle: str = ""


def render_report(data: ReportData) -> str:
    """The whole page as text."""
    sections = (
        _header(data),
        _verdict(data.verdict),
        _control(data.control),
        _curve(data),
        _samples(data.samples),
        _funnel(data.funnel),
        _facts(data),
    )
    template = resources.files(__package__).joinpath("template.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=_safe(f"{data.title}: report"), palette=PALETTE, chart=CHART, body="\n".join(filter(None, sections))
    )


def _header(data: ReportData) -> str:
    base = data.manifest.get("base")
    about = [data.subtitle] if data.subtitle else []
    if isinstance(base, Mapping):
        about.append(f"An adapter for {base.get('name') or base.get('identity')}")
    version = data.manifest.get("version")
    name = f"{_safe(data.title)} <small>{_safe(version)}</small>" if version else _safe(data.title)
    return f"<header><h1>{name}</h1>{''.join(f'<p>{_safe(line)}</p>' for line in about)}</header>"


def _verdict(verdict: Mapping[str, Any] | None) -> str:
    if not verdict:
        return ""
    tone, headline = _TONES.get(str(verdict.get("outcome")), ("none", "No evidence"))
    metrics: Mapping[str, Any] = verdict.get("metrics") or {}
    parts = [
        f'<section id="verdict" class="verdict {tone}"><strong>{headline}</strong>'
        f"<p>{_prose(_without_outcome(verdict))}</p></section>"
    ]
    if not metrics:
        return parts[0]
    picture = "".join(
        f'<div class="{name}">{verdict_picture(metrics, title=_COMPARED, width=width, standalone=False)}</div>'
        for name, width in (("wide", _WIDE), ("narrow", _NARROW))
    )
    cluster = verdict.get("cluster") or {}
    how = "Bars are 95 % intervals of the difference, adapter − base"
    if cluster:
        how += f", by paired bootstrap over {cluster.get('count')} {cluster.get('unit')}s"
    parts.append(f"<h2>{_COMPARED}</h2><p class=muted>{_prose(how)}.</p>{picture}")
    rows = "".join(_metric_row(name, entry) for name, entry in metrics.items() if name in LABELS)
    parts.append(
        '<div class="scroll"><table class="metrics"><caption>Held-out examples, never trained on.</caption><thead><tr>'
        "<th scope=col>Metric</th><th scope=col>Base</th><th scope=col>Adapter</th>"
        f"<th scope=col>Difference</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
    return "\n".join(parts)


def _without_outcome(verdict: Mapping[str, Any]) -> str:
    """The sentence without the outcome that it begins with: the headline above it says that already."""
    sentence, outcome = str(verdict.get("sentence", "")), str(verdict.get("outcome"))
    if not sentence.lower().startswith(f"{outcome}: "):
        return sentence
    rest = sentence[len(outcome) + 2 :]
    return rest[:1].upper() + rest[1:]


def _metric_row(name: str, entry: Mapping[str, Any]) -> str:
    before, after, spread = float(entry["base"]), float(entry["adapter"]), entry.get("interval")
    interval = (float(spread[0]), float(spread[1])) if spread else None
    role = verdict_role(name, interval)
    if name in ("loss", "perplexity"):
        places = 3 if name == "loss" else 2
        change = f"{after - before:+.{places}f}".replace("-", "−")
        around = f"{interval[0]:+.{places}f} to {interval[1]:+.{places}f}".replace("-", "−") if interval else ""
    else:
        change = f"{signed((after - before) * 100)} points"
        around = f"{signed(interval[0] * 100)} to {signed(interval[1] * 100)}" if interval else ""
    note = HELP[name] + (f", {entry['examples']} examples" if "examples" in entry else "")
    return (
        f"<tr><th scope=row>{LABELS[name]}<small>{_safe(note)}</small></th><td>{shown(name, before)}</td>"
        f'<td>{shown(name, after)}</td><td><span class="{role}">{_safe(change)}</span>'
        f"{f'<br><small>{_safe(around)}</small>' if around else ''}</td></tr>"
    )


def _control(control: Mapping[str, Any] | None) -> str:
    if not control:
        return ""
    return f"<h2>Was it this repository?</h2><p>{_prose(control.get('sentence', ''))}</p>"


def _curve(data: ReportData) -> str:
    pictures = [
        (name, curve(data.training, data.validation, title="Loss during training", width=width, height=height))
        for name, width, height in (("wide", _WIDE, 300), ("narrow", _NARROW, 260))
    ]
    if not pictures[0][1]:
        return ""
    drawn = "".join(f'<div class="{name}">{picture}</div>' for name, picture in pictures)
    return f"<h2>Loss during training</h2><p class=muted>Nats per token; the bold line is a running mean.</p>{drawn}"


def _samples(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    shown_samples = "".join(_sample(sample, opened=number < 2) for number, sample in enumerate(samples))
    return (
        "<h2>Side by side</h2><p class=muted>Held-out examples, evenly spaced, not chosen by result. "
        "Underlined: where a completion departs from what was really written.</p>" + shown_samples
    )


def _sample(sample: Sample, *, opened: bool) -> str:
    place = sample.path.encode("utf-8", "replace").decode() if sample.path else sample.language
    commit = f" at {sample.commit[:10]}" if sample.commit else ""
    columns = (
        ("Really written", escape(_clean(sample.target))),
        (f"Base, loss {sample.base_loss:.3f}", marked(_clean(sample.target), _clean(sample.base))),
        (f"Adapter, loss {sample.adapter_loss:.3f}", marked(_clean(sample.target), _clean(sample.adapter))),
    )
    texts = "".join(
        f"<div><h4>{_safe(heading)}</h4><pre class=wrap tabindex=0><code>{text or _NOTHING}</code></pre></div>"
        for heading, text in columns
    )
    better = sample.base_loss - sample.adapter_loss
    note = f"loss {signed_loss(-better)} nats per token"
    return (
        f"<details{' open' if opened else ''}><summary><h3>{_safe(place)}<small>{_safe(commit)}</small></h3>"
        f'<small class="{"good" if better > 0 else "bad"}">{note}</small></summary>'
        f'<div class="sample"><h4>Before it</h4><pre tabindex=0><code>{_safe(sample.prompt)}</code></pre>'
        f'<div class="texts">{texts}</div></div></details>'
    )


def signed_loss(value: float) -> str:
    """Three decimals, a sign, a true minus."""
    return f"{value:+.3f}".replace("-", "−")


def _funnel(funnel: Mapping[str, Any] | None) -> str:
    if not funnel or not funnel.get("seen"):
        return ""
    seen, kept = int(funnel["seen"]), int(funnel.get("kept", 0))
    dropped: Mapping[str, Any] = funnel.get("dropped") or {}
    rows = [("found", seen, ""), *((str(reason), int(number), "") for reason, number in dropped.items())]
    rows.append(("kept", kept, " kept"))
    lines = "".join(
        f"<tr><th scope=row>{_safe(reason)}</th><td>{number:,}</td><td aria-hidden=true>"
        f'<span class="bar{kind}" style="width:{100 * number / seen:.2f}%"></span></td></tr>'
        for reason, number, kind in rows
    )
    commits = f" from {int(funnel['commits']):,} commits" if funnel.get("commits") else ""
    return (
        f"<h2>What it was made from</h2><p class=muted>{kept:,} of {seen:,} candidates{commits} were kept; "
        "each of the others left for one reason.</p>"
        f'<div class="scroll"><table class="funnel"><thead><tr><th scope=col>Reason</th><th scope=col>Examples</th>'
        f"<th scope=col><span hidden>Share</span></th></tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _facts(data: ReportData) -> str:
    manifest = data.manifest
    identity = {
        "base": _part(manifest, "base", "identity"),
        "base digest": _part(manifest, "base", "digest"),
        "licence": manifest.get("licence"),
        "created": manifest.get("created"),
    }
    commits = (data.verdict or {}).get("commits") or {}
    identity["trained on commits"] = _range(commits.get("train"))
    identity["judged on commits"] = _range(commits.get("held_out"))
    tables = [
        _pairs("Settings", flatten(data.settings)),
        _pairs("Package", [(name, value) for name, value in identity.items() if value]),
        _pairs("Machine", flatten(data.machine)),
    ]
    written = [table for table in tables if table]
    if not written:
        return ""
    first, rest = written[0], "".join(written[1:])
    return f'<div class="columns"><div>{first}</div><div>{rest}</div></div>'


def _part(manifest: Mapping[str, Any], section: str, name: str) -> Any:
    found = manifest.get(section)
    return found.get(name) if isinstance(found, Mapping) else None


def _range(commits: Sequence[str] | None) -> str:
    if not commits:
        return ""
    ends = dict.fromkeys((commits[0][:12], commits[-1][:12]))
    return " to ".join(ends)


def _pairs(heading: str, rows: Iterable[tuple[str, Any]]) -> str:
    lines = "".join(f"<tr><th scope=row>{_safe(name)}</th><td>{_safe(value)}</td></tr>" for name, value in rows)
    return f'<h2>{heading}</h2><table class="pairs"><tbody>{lines}</tbody></table>' if lines else ""


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows: ``{"lora": {"rank": 8}}`` becomes ``("lora.rank", "8")``; None is left out."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows.extend(flatten(value, f"{prefix}{name}."))
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value))))
        elif value is not None:
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def _clean(text: str) -> str:
    """Text that any browser can show: characters that are not text become visible replacements."""
    readable = text.encode("utf-8", "replace").decode()
    return "".join(
        character if character in "\n\t" or (character >= " " and not "\x7f" <= character <= "\x9f") else "\ufffd"
        for character in readable.replace("\r\n", "\n")
    )


def _safe(value: Any) -> str:
    return escape(_clean(str(value)))


def _prose(value: Any) -> str:
    """A sentence, escaped, with numbers and their percent signs kept on one line."""
    return _safe(value).replace(" %", "&nbsp;%")
