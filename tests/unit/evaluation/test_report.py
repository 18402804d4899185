"""The report: complete, escaped, self-contained; the pictures: well-formed XML."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neuralforge.evaluation.report.difference import marked
from neuralforge.evaluation.report.page import ReportData, flatten, render_report
from neuralforge.evaluation.report.pictures import verdict_picture
from neuralforge.evaluation.report.svg import Bar, bars, curve, nice_ticks, running_mean, thin
from neuralforge.evaluation.verdict import Sample

EVIL = '</script><script>alert(1)</script><img src=x onerror="x">&\x00\x1b\ud800'
METRICS = {
    "loss": {"base": 2.5, "adapter": 2.2, "interval": [-0.35, -0.25]},
    "perplexity": {"base": 12.2, "adapter": 9.0, "interval": [-3.6, -2.7]},
    "accuracy": {"base": 0.52, "adapter": 0.51, "interval": [-0.02, -0.001]},
    "exact_match": {"base": 0.0, "adapter": 0.0, "interval": None},
    "edit_similarity": {"base": 0.4, "adapter": 0.5, "interval": [-0.01, 0.2], "examples": 32},
}


class Strict(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = frozenset({"meta", "br", "path", "circle", "line", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def full(text: str) -> ReportData:
    return ReportData(
        title=text,
        manifest={"version": text, "base": {"name": text, "identity": text, "digest": text}, "licence": text},
        training=[(1, 3.0), (2, 2.5), (3, float("nan"))],
        validation=[(3, 2.4)],
        funnel={"seen": 10, "kept": 4, "commits": 3, "dropped": {text: 6}},
        verdict={
            "outcome": "helps",
            "sentence": f"Helps: {text}",
            "metrics": METRICS,
            "commits": {"train": [text, text], "held_out": [text]},
            "cluster": {"unit": text, "count": 9},
        },
        samples=[Sample(text, text, text, text, text, text, text, 2.0, 1.0)],
        settings={text: {text: [text]}},
        machine={"processor": text},
        control={"sentence": text},
        subtitle=text,
    )


def parse(page: str) -> Strict:
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_hostile_text_stays_text() -> None:
    page = render_report(full(EVIL))
    tags = parse(page).seen
    assert not {"script", "img", "link", "iframe", "object", "embed", "a"} & {
        t for t, a in tags if a.get("class") != "skip"
    }
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    page.encode("utf-8")
    assert "\x00" not in page
    assert "\x1b" not in page


def test_nothing_is_loaded() -> None:
    page = render_report(full("plain"))
    assert "default-src 'none'" in page
    for _, attributes in parse(page).seen:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import", page)


def test_everything_known_is_shown() -> None:
    page = render_report(full("plain"))
    for heading in (
        "It helps",
        "Base against adapter",
        "Loss during training",
        "Side by side",
        "What it was made from",
    ):
        assert heading in page
    for heading in ("Settings", "Package", "Machine", "Was it this repository?"):
        assert heading in page
    assert "Next-token accuracy" in page
    assert "<h1>plain <small>plain</small></h1>" in page


def test_an_empty_report_is_still_a_page() -> None:
    page = render_report(ReportData(title="nothing yet"))
    parse(page)
    assert "Side by side" not in page


@pytest.mark.parametrize(("outcome", "headline"), [("hurts", "It hurts"), ("no evidence", "No evidence")])
def test_headlines(outcome: str, headline: str) -> None:
    assert headline in render_report(ReportData("x", verdict={"outcome": outcome, "sentence": "s"}))


@given(st.text(alphabet="ab <&\n+-", max_size=40), st.text(alphabet="ab <&\n+-", max_size=40))
def test_marking_changes_no_text(wanted: str, found: str) -> None:
    from html import unescape

    html = marked(wanted, found)
    assert unescape(re.sub(r"</?mark>", "", html)) == found
    if wanted == found:
        assert "<mark>" not in html


@pytest.mark.parametrize("width", [380, 720])
def test_pictures_are_xml(width: int) -> None:
    for picture in (
        verdict_picture(METRICS, title="A & B", width=width),
        bars(
            [("Loss <nats>", [Bar("base", 2.5, "2.5", "base"), Bar("none", float("nan"), "–", "adapter")])], title="t"
        ),
        curve([(1, 3.0), (2, 2.0)], [(2, 2.1)], title="t", width=width, standalone=True),
    ):
        root = ElementTree.fromstring(picture)
        assert root.tag.endswith("svg")
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert "nan" not in picture


def test_colours_follow_meaning() -> None:
    picture = verdict_picture(METRICS, title="t")
    assert picture.count('r="5.5" fill="var(--good)"') == 2  # loss and perplexity
    assert picture.count('r="5.5" fill="var(--bad)"') == 1  # accuracy
    assert picture.count('r="5.5" fill="var(--unclear)"') == 2


def test_a_curve_of_nothing_is_nothing() -> None:
    assert curve([], [], title="t") == ""
    assert "<svg" in curve([(1, 2.0)], [], title="one point")


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 8))
@example(0.0, 5e-324, 2)
@example(0.0, 5e-324, 3)
@example(1.0, 1.0 + 2e-16, 3)
def test_ticks_cover_the_range(one: float, other: float, about: int) -> None:
    low, high = sorted((one, other))
    ticks = nice_ticks(low, high, about)
    assert ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 2 * about + 2
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack


def test_the_running_mean_starts_where_the_curve_starts() -> None:
    assert running_mean([(1, 3.0), (2, 3.0)]) == [(1, pytest.approx(3.0)), (2, pytest.approx(3.0))]


def test_thinning_keeps_both_ends() -> None:
    points = [(step, float(step)) for step in range(5000)]
    kept = thin(points, 100)
    assert len(kept) == 100
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_settings_are_flattened() -> None:
    rows = flatten({"lora": {"rank": 8, "targets": ["q", "v"]}, "name": None})
    assert rows == [("lora.rank", "8"), ("lora.targets", "q, v")]
