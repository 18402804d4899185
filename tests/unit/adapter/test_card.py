import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.adapter.card import render_card
from neuralforge.adapter.manifest import BaseInfo, DataInfo, LoraInfo
from neuralforge.adapter.strict_text import is_unsafe

from .samples import a_manifest


def test_it_says_what_one_wants_to_know() -> None:
    card = render_card(a_manifest())
    for said in (
        "# click-style 1.0.0",
        "smollm2-135m",
        "rank 4",
        "neuralforge adapters install click-style.lora",
        "neuralforge test-adapter click-style",
        "Helps: on 40 examples",
        "| loss, nats per token | 2.5 | 2.165 | −0.41 to −0.26 | lower |",
        "Of 600 candidates 520 were kept",
        "| merge | 80 |",
        "| BSD-3-Clause | 520 |",
        "## Limits",
        'license: "apache-2.0"',
    ):
        assert said in card


def test_what_is_not_known_is_said_too() -> None:
    card = render_card(a_manifest(verdict=None, licence=None, commits=None, data=DataInfo(10), training={}))
    assert "has not been judged" in card
    assert "none stated" in card
    assert "licences of the training data are not recorded" in card


def test_layers_and_kinds() -> None:
    lora = LoraInfo(4, 8.0, 0.0, ("q_proj",), layers=(15, 16, 17, 29), use_dora=True)
    assert "DoRA, rank 4, alpha 8, layers 15–17, 29" in render_card(a_manifest(lora=lora))


def test_long_tables_are_cut_but_add_up() -> None:
    data = DataInfo(100, languages={f"language{number}": 1 for number in range(20)})
    assert "| all others | 8 |" in render_card(a_manifest(data=data))


@pytest.mark.parametrize(
    ("hostile", "never"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("<img src=x onerror=alert(1)>", "<img"),
        ("[click](javascript:alert(1))", "[click]("),
        ("![x](http://evil.example/x.png)", "![x]("),
        ("see https://evil.example now", "https://"),
        ("see www.evil.example now", "www."),
        ("\x1b]0;title\x07", "\x1b"),
        ("\u202egnp.exe", "\u202e"),
        ("line\n# heading", "\n# heading"),
        ("a | b", "a | b"),
        ("`code`", "`code`"),
    ],
)
def test_hostile_text_is_shown_as_text(hostile: str, never: str) -> None:
    clean = a_manifest()
    verdict = {
        **(clean.verdict or {}),
        "sentence": hostile,
        "metrics": {hostile: {"base": 1.0, "adapter": 1.0, "interval": None}},
    }
    card = render_card(
        a_manifest(
            description=hostile,
            licence=hostile,
            base=BaseInfo(hostile, hostile, hostile),
            data=replace(clean.data, sources=(hostile,), languages={hostile: 1}, licences={hostile: 1}),
            training={hostile: hostile},
            verdict=verdict,
        )
    )
    body = card.split("---\n", 2)[2]
    assert never not in body
    assert not any(is_unsafe(character) and character != "\n" for character in card)


@given(text=st.text(max_size=80))
def test_no_text_escapes_its_place(text: str) -> None:
    card = render_card(a_manifest(description="D" + text, training={}))
    assert not re.search(r"(?<!\\)[<\[]", card.split("---\n", 2)[2].split("| Base model")[0])
    assert len(card.splitlines()) == len(render_card(a_manifest(description="D", training={})).splitlines())
