"""Names: aliases, suggestions, and plugins that are broken."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from neuralforge import plugins
from neuralforge.errors import UserError
from neuralforge.models import catalogue
from neuralforge.runs.events import Event, Note


def test_every_alias_of_the_issue_is_there() -> None:
    known = catalogue.aliases()
    assert known["codet5-770m"].location == "Salesforce/codet5p-770m"
    for name in ("smollm2-135m", "stablecode-3b", "starcoder2-3b", "phi-3.5-mini", "qwen2.5-3b", "llama-3.2-1b"):
        assert name in known
    assert [size for size in ("0.5b", "1.5b", "3b", "7b") if f"qwen2.5-coder-{size}" not in known] == []
    assert "dialogpt-medium" in known
    assert all(alias.parameters > 1e8 and alias.licence for alias in known.values())


@pytest.mark.parametrize("name", ["CodeT5-770M", "Salesforce/codet5p-770m", " codet5-770m "])
def test_aliases_are_found_in_any_case_and_by_repository(name: str) -> None:
    alias = catalogue.find_alias(name)
    assert alias is not None
    assert alias.name == "codet5-770m"


@pytest.mark.parametrize(("name", "meant"), [("smolm2-135m", "smollm2-135m"), ("qwen", "qwen2.5-coder-0.5b")])
def test_unknown_names_get_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        catalogue.choose_provider(catalogue.location_of(name))
    assert meant in caught.value.hint


def test_a_missing_path_is_called_that() -> None:
    with pytest.raises(UserError, match="not a base model"):
        catalogue.choose_provider("./no/such/folder")


@pytest.mark.parametrize(
    ("location", "provider"),
    [
        ("smollm2-135m", "SmolLM2Provider"),
        ("x.GGUF", "GgufProvider"),
        ("a/b", "PretrainedProvider"),
        ("a/b@refs/pr/1", "PretrainedProvider"),
    ],
)
def test_built_ins_come_through_entry_points(location: str, provider: str) -> None:
    assert type(catalogue.choose_provider(location)).__name__ == provider


def test_broken_plugins_are_named_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy:
        def matches(self, name: str) -> bool:
            return True

        def fetch(self, name: str, **_: object) -> None: ...

        def load(self, name: str, **_: object) -> None: ...

    class Raising(Greedy):
        def matches(self, name: str) -> bool:
            raise RuntimeError("boom")

    def found(group: str) -> Iterator[SimpleNamespace]:
        common = {"group": group, "version": "1", "target": "x:y"}
        yield SimpleNamespace(name="transformers", distribution="own", value=Greedy(), error=None, **common)
        yield SimpleNamespace(name="a", distribution="one", value=None, error="ImportError: gone", **common)
        yield SimpleNamespace(name="b", distribution="two", value=object(), error=None, **common)
        yield SimpleNamespace(name="c", distribution="three", value=Raising(), error=None, **common)
        yield SimpleNamespace(name="zeta", distribution="four", value=Greedy(), error=None, **common)

    monkeypatch.setattr(plugins, "discover", found)
    told: list[Event] = []
    chosen = catalogue.choose_provider("anything", emit=told.append)
    # A plugin comes before the built-in that takes any hub id, whatever its name.
    assert chosen is not None
    assert [note.message.split("'")[1] for note in told if isinstance(note, Note)] == ["a", "b", "c"]
    assert all(isinstance(note, Note) and note.level == "warning" for note in told)
