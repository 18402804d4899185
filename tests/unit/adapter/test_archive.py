"""Archives that an attacker made with other tools: each is refused for its own reason, from its headers alone."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.adapter.archive import copy_entry, read_index, write_archive
from neuralforge.adapter.package import LIMITS, read_manifest, unpack
from neuralforge.adapter.refusal import Refused

NAMES = {"a": 100, "B": 100, "weights": 100_000}


def index(content: bytes) -> dict[str, bytes]:
    handle = io.BytesIO(content)
    found = {}
    for name, entry in read_index(handle, len(content), NAMES).items():
        pieces: list[bytes] = []
        copy_entry(handle, entry, pieces.append)
        found[name] = b"".join(pieces)
    return found


def canonical(files: dict[str, bytes]) -> bytes:
    handle = io.BytesIO()
    write_archive(handle, files)
    return handle.getvalue()


files = st.dictionaries(st.sampled_from(sorted(NAMES)), st.binary(max_size=100))


@given(content=files)
def test_reading_undoes_writing(content: dict[str, bytes]) -> None:
    assert index(canonical(content)) == content


@given(content=files)
def test_the_order_of_names_does_not_matter(content: dict[str, bytes]) -> None:
    assert canonical(dict(reversed(content.items()))) == canonical(content)


@settings(max_examples=300)
@given(content=files, data=st.data())
def test_another_byte_is_never_the_same_archive(content: dict[str, bytes], data: st.DataObject) -> None:
    changed = bytearray(canonical(content))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refused):
        index(bytes(changed))


@given(content=st.binary(max_size=200))
def test_noise_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        index(content)


def made(fill: Callable[[zipfile.ZipFile], object]) -> bytes:
    handle = io.BytesIO()
    with zipfile.ZipFile(handle, "w") as archive:
        fill(archive)
    return handle.getvalue()


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("weights", bytes(50 << 20), zipfile.ZIP_DEFLATED)


def twice(archive: zipfile.ZipFile) -> None:
    archive.writestr("a", b"1")
    with pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", b"2")


HOSTILE: list[tuple[str, Callable[[zipfile.ZipFile], object]]] = [
    ("absolute-path", lambda z: z.writestr("/etc/passwd", b"x")),
    ("absolute-path", lambda z: z.writestr("C:evil", b"x")),
    ("absolute-path", lambda z: z.writestr("\\\\host\\share", b"x")),
    ("path-traversal", lambda z: z.writestr("../evil", b"x")),
    ("path-traversal", lambda z: z.writestr("a/../../evil", b"x")),
    ("path-traversal", lambda z: z.writestr("a\\..\\..\\evil", b"x")),
    ("special-file", lambda z: z.writestr(entry("a", stat.S_IFLNK | 0o777), b"/etc/passwd")),
    ("special-file", lambda z: z.writestr(entry("a", stat.S_IFCHR | 0o666), b"")),
    ("special-file", lambda z: z.writestr(entry("a", stat.S_IFIFO | 0o666), b"")),
    ("special-file", lambda z: z.writestr("folder/", b"")),
    ("duplicate-name", twice),
    ("case-collision", lambda z: (z.writestr("a", b"1"), z.writestr("A", b"2"))),
    ("case-collision", lambda z: (z.writestr("straße", b"1"), z.writestr("STRASSE", b"2"))),
    ("unknown-part", lambda z: z.writestr("evil.pkl", b"x")),
    ("unknown-part", lambda z: z.writestr("a/b", b"x")),
    ("unknown-part", lambda z: z.writestr("a\u202e", b"x")),
    ("compressed", bomb),
    ("compressed", lambda z: z.writestr("a", b"x" * 50, zipfile.ZIP_LZMA)),
    ("too-large", lambda z: z.writestr("a", b"x" * 101)),
    ("too-large", lambda z: [z.writestr(f"n{number}", b"") for number in range(70)]),
    ("not-canonical", lambda z: z.writestr("a", b"x")),
    ("not-a-package", lambda z: (z.writestr("a", b"x"), setattr(z, "comment", b"hello"))),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "fill"), HOSTILE)
def test_hostile_archives(reason: str, fill: Callable[[zipfile.ZipFile], object]) -> None:
    with pytest.raises(Refused) as caught:
        index(made(fill))
    assert caught.value.reason == reason
    assert caught.value.message.isprintable()


def field(content: bytes, place: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, place, value)
    return bytes(changed)


def test_forged_fields() -> None:
    good = canonical({"a": b"12345", "weights": bytes(1000)})
    first = good.index(b"PK\1\2")
    second = good.index(b"PK\1\2", first + 1)
    end = good.index(b"PK\5\6")
    cases = {
        "encrypted": field(good, first + 8, "<H", 1),
        "compressed": field(good, first + 20, "<L", 4),
        "zip64": field(good, first + 42, "<L", 0xFFFFFFFF),
        "overlap": field(good, second + 42, "<L", 3),
        "too-large": field(field(good, first + 20, "<L", 90_000), first + 24, "<L", 90_000),
    }
    for reason, content in cases.items():
        with pytest.raises(Refused) as caught:
            index(content)
        assert caught.value.reason == reason
    for place, form, value, reason in [
        (end + 8, "<H", 0xFFFF, "zip64"),
        (end + 16, "<L", 0xFFFFFFFF, "zip64"),
        (end + 10, "<H", 3, "not-a-package"),
        (end + 16, "<L", 7, "not-canonical"),
        (end + 12, "<L", 1 << 30, "too-large"),
    ]:
        with pytest.raises(Refused) as caught:
            index(field(good, place, form, value))
        assert caught.value.reason == reason


def test_the_whole_package_is_bounded(tmp_path: Path) -> None:
    """A sparse file of 3 GB costs nothing to refuse."""
    with (tmp_path / "huge.lora").open("wb") as handle:
        handle.truncate(3 << 30)
    with pytest.raises(Refused, match="too-large"):
        read_manifest(tmp_path / "huge.lora")


def test_a_part_that_is_larger_than_its_limit_is_refused_before_it_is_read(package: Path, tmp_path: Path) -> None:
    parts = dict.fromkeys(LIMITS, b"{}")
    with (tmp_path / "a.lora").open("wb") as handle:
        write_archive(handle, {**parts, "metadata.json": b" " * (2 << 20)})
    with pytest.raises(Refused, match="too-large"):
        unpack(tmp_path / "a.lora", tmp_path / "out")
