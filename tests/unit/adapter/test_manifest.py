import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.adapter.manifest import NAME, Manifest, PartInfo, slug, version_key
from neuralforge.adapter.refusal import Refused
from neuralforge.adapter.schema import text_problem

from .samples import a_manifest


def as_json(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(a_manifest().to_bytes())
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = content
        for key in parents:
            inner = inner[key]
        if value is KeyError:
            del inner[last]
        else:
            inner[last] = value
    return content


def test_json_there_and_back() -> None:
    manifest = a_manifest(files={"README.md": PartInfo("sha256:" + "0" * 64, 7)})
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_everything_optional_may_be_absent() -> None:
    bare = a_manifest(commits=None, verdict=None, licence=None, training={})
    assert Manifest.from_bytes(bare.to_bytes()) == bare


def test_whole_and_fractional_numbers_give_the_same_bytes() -> None:
    manifest = a_manifest()
    whole = Manifest.from_json(as_json(lora__alpha=8))
    assert whole.to_bytes() == manifest.to_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Click Style"}, "name must not be 'Click Style', such as 'my-adapter'"),
        ({"name": "../evil"}, "name must not be"),
        ({"name": "a/b"}, "name must not be"),
        ({"name": "con\n"}, "control characters"),
        ({"name": "x" * 65}, "name must not be"),
        ({"version": "1.0"}, "version must not be"),
        ({"version": "01.0.0"}, "version must not be"),
        ({"description": "\x1b[31mred"}, "description must not hold control characters"),
        ({"description": "\u202e"}, "description must not hold control characters"),
        ({"description": "x" * 3000}, "at most 2,000"),
        ({"base__digest": "sha256:../../x"}, "base.digest must not be"),
        ({"base__digest": "SHA256:" + "0" * 64}, "base.digest must not be"),
        ({"lora__rank": "8"}, "lora.rank must be a whole number"),
        ({"lora__rank": True}, "lora.rank must be a whole number"),
        ({"lora__rank": 0}, "lora.rank must be a whole number from 1"),
        ({"lora__ranc": 8}, "lora.'ranc' is unknown; did you mean 'rank'?"),
        ({"lora__use_dora": 1}, "lora.use_dora must be true or false"),
        ({"lora__target_modules": ["q.*"]}, "lora.target_modules"),
        ({"lora__layers": [-1]}, "lora.layers"),
        ({"licens": "MIT"}, "'licens' is unknown; did you mean 'licence'?"),
        ({"created": "yesterday"}, "created must not be"),
        ({"data__languages": {"python": -1}}, "data.languages"),
        ({"data__funnel__dropped": [1]}, "data.funnel.dropped"),
        ({"data__funnel": 7}, "data.funnel must be an object"),
        ({"data": KeyError}, "data is missing"),
        ({"commits__first": "HEAD"}, "commits.first must not be"),
        ({"verdict__sentence": KeyError}, "verdict.sentence is missing"),
        ({"verdict__metrics__loss": 3}, "verdict.metrics.loss must be an object"),
        ({"verdict__metrics__loss__interval": [2, 1]}, "verdict.metrics.loss.interval must be"),
        ({"verdict__metrics__loss__interval": [0, 10**400]}, "verdict.metrics.loss.interval must be"),
        ({"verdict__commits__train": ["main"]}, "verdict.commits.train[0] must not be"),
        ({"verdict__extra": "\x07"}, "control characters"),
        ({"training__x": "\x1b"}, "training must not hold control characters"),
        ({"training": {str(number): number for number in range(3000)}}, "training must hold at most"),
        ({"files": {"../x": {"digest": "sha256:" + "0" * 64, "size": 1}}}, "files has the name"),
        ({"files": {"x": {"digest": "md5:0", "size": 1}}}, "files.x.digest"),
        ({"format": 2}, "format 2; this version"),
        ({"format": "1"}, "format must be a whole number"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as caught:
        Manifest.from_json(as_json(**changes))
    assert caught.value.reason == "manifest"
    assert said in caught.value.message


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(Refused) as caught:
        Manifest.from_json(as_json(name="A B", lora__rank=-1, verdict__examples="x", colour="red"))
    assert all(word in caught.value.message for word in ("name", "lora.rank", "verdict.examples", "'colour'"))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"7", b"\xff", b"{" * 5000, b'{"a": 1e999}', b'{"a": NaN}'])
def test_what_is_no_manifest_at_all(content: bytes) -> None:
    with pytest.raises(Refused):
        Manifest.from_bytes(content)


def test_size_is_bounded() -> None:
    with pytest.raises(Refused, match="too-large"):
        Manifest.from_bytes(b" " * (1 << 21))


def test_numbers_that_json_does_not_have_are_not_written() -> None:
    with pytest.raises(Refused, match="cannot be written as JSON"):
        a_manifest(training={"loss": float("nan")}).to_bytes()
    with pytest.raises(Refused, match="name must not be"):
        a_manifest(name="No Name").to_bytes()


@given(text=st.text(max_size=100))
def test_any_text_makes_a_name(text: str) -> None:
    assert not text_problem(slug(text), NAME, 64)


def test_versions_are_ordered_as_semver_says() -> None:
    ordered = ["0.9.9", "1.0.0-1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0", "1.0.10"]
    shuffled = [ordered[place] for place in (3, 7, 0, 5, 1, 6, 2, 4)]
    assert sorted(shuffled, key=version_key) == ordered


def test_the_scale_of_lora_and_rslora() -> None:
    assert a_manifest().lora.scale == 2.0
    assert Manifest.from_json(as_json(lora__use_rslora=True)).lora.scale == 4.0
