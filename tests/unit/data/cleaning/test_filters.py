import random
from collections import Counter

import pytest

from neuralforge.data.cleaning import duplicates
from neuralforge.data.cleaning.balance import balance_by_language, caps
from neuralforge.data.cleaning.duplicates import ExactDuplicates, NearDuplicates
from neuralforge.data.cleaning.licence import identify_licence, is_licence_file
from neuralforge.data.cleaning.quality import QualityLimits, fault
from neuralforge.data.records import Example, Funnel

GOOD = "def area(width: float, height: float) -> float:\n    return width * height\n"


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (GOOD, None),
        ("width = f(y, 1)", None),
        ("// Größe der Fläche", None),
        ("", "quality: empty"),
        (" \n\t\n", "quality: empty"),
        ("x" * 9_000, "quality: too long"),
        ("}\n)", "quality: trivial"),
        ("else:\n    pass\n", "quality: trivial"),
        ("return\n}\n", "quality: trivial"),
        ("a = 1", "quality: trivial"),
        ("name\x00\x01\x02 = value\x03", "quality: not text"),
        ("var " + "a=b;" * 200, "quality: minified"),
        ("TABLE = [" + "0x1f, 2048, 17, " * 12 + "]", "quality: few letters"),
        ("    add_item(one)\n" * 20, "quality: repetitive"),
    ],
)
def test_quality(completion: str, reason: str | None) -> None:
    assert fault(Example("", completion, kind="hunk"), QualityLimits()) == reason


@pytest.mark.parametrize("kind", ["chat", "instruction", "text"])
def test_prose_is_not_held_to_the_rules_of_code(kind: str) -> None:
    assert fault(Example("", "yes", kind=kind), QualityLimits()) is None
    assert fault(Example("", "word " * 200, kind=kind), QualityLimits()) is None
    assert fault(Example("", "\x00\x01", kind=kind), QualityLimits()) == "quality: not text"


def test_exact_duplicates_need_equal_context() -> None:
    seen = ExactDuplicates()
    assert not seen.seen(Example("a", "b"))
    assert seen.seen(Example("a ", " b\n"))
    assert not seen.seen(Example("c", "b"))


def test_near_duplicates() -> None:
    seen = NearDuplicates()
    body = "".join(f"    value_{number} = compute_{number}(first, {number})\n" for number in range(20))
    assert not seen.seen(Example("", body))
    assert seen.seen(Example("", body.replace("value_3", "renamed")))
    assert seen.seen(Example("other", body.replace("    ", "\t")))
    assert not seen.seen(Example("", body.replace("compute", "make").replace("first", "second")))


def test_short_completions_are_compared_with_what_stands_before() -> None:
    seen = NearDuplicates()
    assert not seen.seen(Example("def one(self):\n    log(self.first, level=3)\n", "    return None"))
    assert not seen.seen(Example("class Two:\n    def other(me, that):\n", "    return None"))


def test_the_index_forgets_but_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "GENERATION", 10)
    seen = NearDuplicates()
    examples = [Example("", " ".join(f"w{number}x{k}" for k in range(30))) for number in range(25)]
    assert not any(seen.seen(example) for example in examples)
    assert seen.near(examples[24])
    assert seen.near(examples[12])
    assert not seen.near(examples[0])
    for_ever = NearDuplicates(bounded=False)
    for example in examples:
        for_ever.add(example)
    assert for_ever.near(examples[0])


def test_spacing_and_odd_characters_make_no_difference() -> None:
    seen = NearDuplicates()
    odd = "first = '\udc80' + second\n" * 5
    assert not seen.seen(Example("", odd))
    assert seen.seen(Example("", odd.replace(" = ", "=")))
    assert not seen.seen(Example("", ""))
    assert seen.seen(Example("", "  "))


def test_what_is_near_a_later_one_only_is_found_among_all_that_were_added() -> None:
    words = [f"word{number}" for number in range(90)]
    first, second, third = (" ".join(words[start : start + 70]) for start in (0, 7, 14))
    held_out = NearDuplicates(0.8, bounded=False)
    held_out.add(Example("", first))
    assert not held_out.near(Example("", third))
    held_out.add(Example("", second))
    assert held_out.near(Example("", third))


LICENCES = {
    "MIT": "Permission is hereby granted, free of charge, to any person ... The above copyright notice and this "
    "permission notice shall be included in all copies",
    "Apache-2.0": "            Apache License\n            Version 2.0, January 2004",
    "BSD-3-Clause": "Redistribution and use in source and binary forms, with or without ...\n * Neither the name of",
    "BSD-2-Clause": "Redistribution and use in source and binary\nforms ... in binary form must reproduce",
    "GPL-3.0-only": "GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007",
    "GPL-2.0-only": "GNU GENERAL PUBLIC LICENSE\n Version 2, June 1991",
    "LGPL-2.1-only": "GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999",
    "AGPL-3.0-only": "GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007 ... GNU General Public License",
    "MPL-2.0": "Mozilla Public License Version 2.0",
    "ISC": "Permission to use, copy, modify, and/or distribute this software for any\npurpose "
    "... provided that the above copyright notice",
    "Unlicense": "This is free and unencumbered software released into the public domain.",
    "MIT OR Apache-2.0": "// SPDX-License-Identifier: MIT OR Apache-2.0\nfn main() {}",
}


@pytest.mark.parametrize("name", LICENCES)
def test_licences_are_identified(name: str) -> None:
    assert identify_licence(LICENCES[name]) == name
    commented = "\n".join(f"# {line}" for line in LICENCES[name].splitlines())
    assert identify_licence(commented) == name


def test_a_licence_that_speaks_of_another_is_itself() -> None:
    gpl = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n" + "words " * 500
    assert identify_licence(gpl + "13. Use with the GNU Affero General Public License.") == "GPL-3.0-only"
    mpl = "Mozilla Public License Version 2.0\n==================\n" + "words " * 500
    secondary = "the GNU General Public License, Version 2.0, the GNU Affero General Public License, Version 3.0"
    assert identify_licence(mpl + secondary) == "MPL-2.0"


def test_unknown_licences_are_unknown() -> None:
    assert identify_licence("") is None
    assert identify_licence("All rights reserved. This is our own licence.") is None
    assert identify_licence("The MIT License (MIT)\n\nCopyright me") == "MIT"
    assert is_licence_file("LICENSE.md")
    assert is_licence_file("Copying")
    assert is_licence_file("LICENSE-MIT")
    assert not is_licence_file("license_check.py")


def test_balance_caps_every_language_at_a_multiple_of_the_median() -> None:
    assert caps(Counter(a=1_000, b=100, c=90), 2.0) == {"a": 200, "b": 100, "c": 90}
    assert caps(Counter(a=1_000, b=3), 0.01) == {"a": 50, "b": 3}
    assert caps(Counter(a=1_000), 1.0) == {"a": 1_000}


def test_balance_does_not_depend_on_order_and_keeps_it() -> None:
    examples = [Example("", f"text {n}", language="python" if n % 10 else "go") for n in range(600)]
    funnel = Funnel(seen=600, kept=600)
    kept = balance_by_language(examples, 0.4, funnel)
    assert kept == [example for example in examples if example in kept]
    assert Counter(example.language for example in kept) == {"python": 120, "go": 60}
    assert funnel.dropped == {"balance: python": 420}
    assert funnel.kept == len(kept)
    shuffled = list(examples)
    random.Random(1).shuffle(shuffled)
    assert {e.completion for e in balance_by_language(shuffled, 0.4, Funnel())} == {e.completion for e in kept}
