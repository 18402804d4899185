"""Small pictures as SVG: intervals, bars and loss curves. Text in, text out; every label is escaped.

Colours are CSS custom properties, so that one picture serves light and dark pages. A picture that stands alone
(``standalone=True``) brings its own style sheet; one that is set into the report uses the page's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

Role = Literal["base", "adapter", "control", "good", "bad", "unclear"]

PALETTE = """
:root{--bg:#fff;--panel:#f6f7f9;--line:#d9dde3;--text:#1b2430;--muted:#5b6675;--base:#7a8595;--adapter:#0b6e99;
--control:#9a6b12;--good:#13744c;--bad:#b3371c;--unclear:#5b6675;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--bg:#11161d;--panel:#19202a;--line:#313b49;--text:#e6ebf2;--muted:#9aa7b8;
--base:#8d99aa;--adapter:#56b4e0;--control:#d9a441;--good:#4cc38a;--bad:#f0805f;--unclear:#9aa7b8}}
"""
CHART = """
.chart{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.chart text{fill:var(--text);stroke:var(--bg);stroke-width:4px;paint-order:stroke;stroke-linejoin:round}
.chart .muted{fill:var(--muted)}.chart .strong{font-weight:600}
.chart .grid{stroke:var(--line)}.chart .axis{stroke:var(--muted)}
"""
_FONT = 13
_SIDE = 0.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval, in the panel's unit; ``text`` is what is written beside it."""

    label: str
    value: float
    interval: tuple[float, float] | None
    text: str
    role: Role


@dataclass(frozen=True, slots=True)
class Panel:
    """Estimates on one axis around zero; ``left`` and ``right`` say what lies on either side."""

    title: str
    rows: Sequence[Estimate]
    left: str
    right: str
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar from zero; ``text`` is written beside it."""

    label: str
    value: float
    text: str
    role: Role


def forest(panels: Sequence[Panel], *, title: str, width: int = 720, standalone: bool = False) -> str:
    """Points with their intervals, a panel a unit, each with its own scale and a line at zero."""
    narrow = width < 560
    row_height = 50 if narrow else 34
    left, right = (24, 24) if narrow else (168, 190)
    parts: list[str] = []
    top = 0.0
    for panel in panels:
        bottom = top + 34 + row_height * len(panel.rows)
        ends = [end for row in panel.rows for end in (*(row.interval or ()), row.value, 0.0)]
        ticks = nice_ticks(min(ends), max(ends), 4 if narrow else 5)
        low, high = min(ticks[0], *ends), max(ticks[-1], *ends)
        # Some room on either side of zero, to say what lies there.
        room = _SIDE * (high - low)
        low, high = min(low, -room), max(high, room)

        def place(value: float, low: float = low, high: float = high) -> float:
            return left + (value - low) / (high - low or 1) * (width - left - right)

        parts.append(_text(0, top + 20, panel.title, "strong"))
        for tick in ticks:
            kind = "axis" if tick == 0 else "grid"
            parts.append(_line(place(tick), top + 32, place(tick), bottom, kind))
            parts.append(_text(place(tick), bottom + 16, f"{_number(tick)}{panel.suffix}", "muted", "middle", 11))
        for index, row in enumerate(panel.rows):
            middle = top + 34 + row_height * (index + (0.72 if narrow else 0.5))
            if narrow:
                parts.append(_text(0, middle - 14, row.label))
                parts.append(_text(width, middle - 14, row.text, "muted", "end", 12))
            else:
                parts.append(_text(0, middle + 4, row.label))
                parts.append(_text(width, middle + 4, row.text, "muted", "end", 12))
            colour = f"var(--{row.role})"
            if row.interval:
                begin, end = place(row.interval[0]), place(row.interval[1])
                parts.append(f'<path d="M{begin:.1f} {middle:.1f}H{end:.1f}" stroke="{colour}" stroke-width="3"/>')
                for edge in (begin, end):
                    parts.append(f'<path d="M{edge:.1f} {middle - 5:.1f}v10" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<circle cx="{place(row.value):.1f}" cy="{middle:.1f}" r="5.5" fill="{colour}"/>')
        parts.append(_text(left, bottom + 33, f"← {panel.left}", "muted", "start", 11))
        parts.append(_text(width - right, bottom + 33, f"{panel.right} →", "muted", "end", 11))
        top = bottom + 56
    return _frame(parts, width, top - 12, title, [_spoken(panel) for panel in panels], standalone)


def _spoken(panel: Panel) -> str:
    return f"{panel.title}: " + "; ".join(f"{row.label} {row.text}" for row in panel.rows) + "."


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], *, title: str, width: int = 720, standalone: bool = False) -> str:
    """Horizontal bars in groups; each group has its own scale, for its unit is its own."""
    left, right = (100, 120) if width < 560 else (150, 170)
    parts: list[str] = []
    top = 0.0
    for heading, entries in groups:
        parts.append(_text(0, top + 18, heading, "strong"))
        longest = max([bar.value for bar in entries if math.isfinite(bar.value)], default=0.0) or 1.0
        for index, bar in enumerate(entries):
            y = top + 30 + 28 * index
            length = max(1.0, bar.value / longest * (width - left - right)) if math.isfinite(bar.value) else 0.0
            parts.append(_text(0, y + 15, bar.label))
            parts.append(
                f'<rect x="{left}" y="{y:.1f}" width="{length:.1f}" height="20" rx="3" fill="var(--{bar.role})"/>'
            )
            parts.append(_text(left + length + 8, y + 15, bar.text, "muted", "start", 12))
        top += 30 + 28 * len(entries) + 18
    spoken = [
        f"{heading}: " + "; ".join(f"{bar.label} {bar.text}" for bar in entries) + "." for heading, entries in groups
    ]
    return _frame(parts, width, top, title, spoken, standalone)


def curve(
    training: Sequence[tuple[int, float]],
    validation: Sequence[tuple[int, float]],
    *,
    title: str,
    width: int = 720,
    height: int = 300,
    standalone: bool = False,
) -> str:
    """Loss against optimiser steps: each step faint, its running mean bold, validation as points on a line."""
    left, right, top, bottom = 46, 14, 14, 44
    training = [(step, loss) for step, loss in training if math.isfinite(loss)]
    validation = [(step, loss) for step, loss in validation if math.isfinite(loss)]
    everything = [*training, *validation]
    if not everything:
        return ""
    steps, losses = [step for step, _ in everything], [loss for _, loss in everything]
    ticks = nice_ticks(min(losses), max(losses), 5)
    low, high = min(ticks[0], *losses), max(ticks[-1], *losses)
    first, last = min(steps), max(steps)

    def place(point: tuple[float, float]) -> str:
        x = left + (point[0] - first) / (last - first or 1) * (width - left - right)
        y = height - bottom - (point[1] - low) / (high - low or 1) * (height - top - bottom)
        return f"{x:.1f} {y:.1f}"

    parts: list[str] = []
    for tick in ticks:
        level = float(place((first, tick)).split()[1])
        parts.append(_line(left, level, width - right, level, "grid"))
        parts.append(_text(left - 8, level + 4, _number(tick), "muted", "end", 11))
    for tick in (tick for tick in nice_ticks(first, last, 4 if width < 560 else 6) if first <= tick <= last):
        column = float(place((tick, low)).split()[0])
        parts.append(_text(column, height - bottom + 18, _number(tick), "muted", "middle", 11))
    parts.append(_text(width - right, height - 6, "optimiser step", "muted", "end", 11))
    shown = thin(training)
    if shown:
        parts.append(_path([place(point) for point in shown], "var(--base)", 1, 0.45))
        parts.append(_path([place(point) for point in thin(running_mean(training))], "var(--base)", 2.5, 1))
    if validation:
        parts.append(_path([place(point) for point in validation], "var(--adapter)", 2, 1))
        for point in validation:
            x, y = place(point).split()
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="var(--adapter)"/>')
    legend = [(name, role) for name, role, points in (
        ("training", "base", training), ("validation", "adapter", validation)) if points]  # fmt: skip
    start = float(left)
    for name, role in legend:
        parts.append(f'<rect x="{start:.0f}" y="{height - 15}" width="14" height="4" rx="2" fill="var(--{role})"/>')
        parts.append(_text(start + 20, height - 9, name, "muted", "start", 12))
        start += 34 + 7.5 * len(name)
    spoken = [f"{name}: {points[0][1]:.3f} at step {points[0][0]} to {points[-1][1]:.3f} at step {points[-1][0]}."
              for name, points in (("Training loss", training), ("Validation loss", validation)) if points]  # fmt: skip
    return _frame(parts, width, height, title, spoken, standalone)


def running_mean(points: Sequence[tuple[int, float]], decay: float = 0.9) -> list[tuple[int, float]]:
    """Exponential mean without the pull towards zero at its start (Kingma and Ba 2015, section 3)."""
    total = weight = 0.0
    smooth = []
    for step, loss in points:
        total, weight = decay * total + (1 - decay) * loss, decay * weight + (1 - decay)
        smooth.append((step, total / weight))
    return smooth


def thin(points: Sequence[tuple[int, float]], most: int = 600) -> list[tuple[int, float]]:
    """At most ``most`` of the points, first and last among them: more cannot be told apart."""
    if len(points) <= most:
        return list(points)
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) that cover ``low`` to ``high``.

    >>> nice_ticks(-0.17, 0.02, 4)
    [-0.2, -0.1, 0.0, 0.1]
    """
    span, largest = high - low, max(abs(low), abs(high))
    if not span > max(largest * 1e-12, 1e-290):
        # As good as one value only: ticks around it, so that it has a place on the axis.
        span = largest * 0.2 if largest > 1e-280 else 1.0
        low, high = low - span / 2, high + span / 2
    rough = span / max(1, about - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.10g}") for index in range(begin, end + 1)]


def _number(value: float) -> str:
    return f"{value:,.6g}".replace("-", "−")


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start", size: int = _FONT) -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def _line(x: float, y: float, x_end: float, y_end: float, kind: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x_end:.1f}" y2="{y_end:.1f}" class="{kind}"/>'


def _path(points: Sequence[str], colour: str, thickness: float, opacity: float) -> str:
    return (
        f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}" stroke-width="{thickness}" '
        f'stroke-opacity="{opacity}" stroke-linejoin="round" stroke-linecap="round"/>'
    )


def _frame(
    parts: Sequence[str], width: float, height: float, title: str, spoken: Sequence[str], standalone: bool
) -> str:
    described = f"<title>{escape(title)}</title><desc>{escape(' '.join(spoken))}</desc>"
    margin = 20 if standalone else 0
    box = f"{-margin} {-margin} {width + 2 * margin:.0f} {height + 2 * margin:.0f}"
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="{box}"'
    if not standalone:
        return f"{opening}>{described}{''.join(parts)}</svg>"
    ground = f'<rect x="{-margin}" y="{-margin}" width="100%" height="100%" fill="var(--bg)"/>'
    size = f' width="{width + 2 * margin:.0f}" height="{height + 2 * margin:.0f}"'
    return f"{opening}{size}>{described}<style>{PALETTE}{CHART}</style>{ground}{''.join(parts)}</svg>\n"
