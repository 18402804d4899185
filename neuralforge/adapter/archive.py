"""The one zip form of a ``.lora`` file, written and read without trusting anything in it.

Zip by APPNOTE.TXT 6.3.10, cut down until one set of files has exactly one byte sequence: entries in byte order
of their names, stored (never deflated: weights hardly shrink, zlib's output differs between builds, and what
is not inflated cannot be a bomb), 1 January 1980, permission 0644, no extra fields, comments, data descriptors,
encryption or zip64. Any zip tool reads it. The reader computes what every header byte must be and refuses
anything else, so every byte is either a fixed one, or content that the CRC (and the manifest's SHA-256) covers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from neuralforge.adapter.refusal import Refused, shown
from neuralforge.files import CHUNK

LIMIT = (1 << 31) - 1  # bytes of a whole package; every offset then fits the plain zip fields

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_ZIP_1_0 = 10  # version needed: stored files only
_MADE_BY_UNIX = 3 << 8 | _ZIP_1_0
_DATE_1980 = 1 << 5 | 1
_MODE = 0o100644 << 16
_MAX_ENTRIES = 64
_ENCRYPTED, _STORED = 1, 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in a package: ``size`` bytes with checksum ``crc``, whose local header is at ``offset``."""

    name: str
    crc: int
    size: int
    offset: int

    @property
    def local_header(self) -> bytes:
        """The bytes in front of the content."""
        name = self.name.encode("ascii")
        return (
            _LOCAL.pack(b"PK\3\4", _ZIP_1_0, 0, _STORED, 0, _DATE_1980, self.crc, self.size, self.size, len(name), 0)
            + name
        )

    @property
    def central_header(self) -> bytes:
        """The bytes in the directory at the end."""
        name = self.name.encode("ascii")
        fixed = (b"PK\1\2", _MADE_BY_UNIX, _ZIP_1_0, 0, _STORED, 0, _DATE_1980, self.crc, self.size, self.size)
        return _CENTRAL.pack(*fixed, len(name), 0, 0, 0, 0, _MODE, self.offset) + name


class Writable(Protocol):
    """Whatever takes bytes."""

    def write(self, content: bytes, /) -> int: ...


def write_archive(handle: Writable, files: Mapping[str, Path | bytes]) -> None:
    """Write ``files`` in the canonical form; the same content gives the same bytes wherever and whenever.

    A file that changes while it is written is refused rather than packed with a wrong checksum.
    """
    entries = []
    offset = 0
    for name in sorted(files):
        content = files[name]
        crc, size = _measure(content)
        entry = Entry(name, crc, size, offset)
        handle.write(entry.local_header)
        seen_crc = seen_size = 0
        for chunk in _chunks(content):
            handle.write(chunk)
            seen_crc, seen_size = zlib.crc32(chunk, seen_crc), seen_size + len(chunk)
        if (seen_crc, seen_size) != (crc, size):
            raise Refused("checksum", f"{name} changed while it was packed.", "Pack again when nothing writes to it.")
        entries.append(entry)
        offset += len(entry.local_header) + size
        if offset > LIMIT:
            raise Refused("too-large", f"The adapter is larger than {LIMIT:,} bytes.", "Use a lower rank or bf16.")
    handle.write(_directory(entries, offset))


def read_index(handle: BinaryIO, size: int, limits: Mapping[str, int]) -> dict[str, Entry]:
    """Entries of a package by name, after every header has been checked.

    Args:
        handle: the package, ``size`` bytes long.
        limits: the names that may occur, each with the most bytes it may have.

    Raises:
        Refused: with the first thing found wrong.
    """
    if size > LIMIT:
        raise Refused("too-large", f"It has {size:,} bytes; packages end at {LIMIT:,}.")
    if size < _END.size:
        raise Refused("not-a-package", "It is too short to be a package.")
    handle.seek(size - _END.size)
    end = handle.read(_END.size)
    magic, disk, start_disk, here, count, length, start, _ = _END.unpack(end)
    if magic != b"PK\5\6":
        raise Refused("not-a-package", "It is not a zip archive that ends where it should; perhaps it is cut off.")
    if 0xFFFF in (disk, start_disk, here, count) or 0xFFFFFFFF in (length, start):
        raise Refused("zip64", "It uses zip64 fields, which no package needs.")
    if count > _MAX_ENTRIES or length > _MAX_ENTRIES * 1024:
        raise Refused("too-large", f"Its directory lists {count} entries in {length:,} bytes.")
    if start + length + _END.size != size:
        raise Refused("not-canonical", "There are bytes before, between or after its parts.")
    handle.seek(start)
    directory = handle.read(length)
    entries = list(_parse_directory(directory, count))
    _check_names([entry.name for entry in entries], limits)
    offset = 0
    for entry in entries:
        if entry.size > limits[entry.name]:
            raise Refused(
                "too-large", f"{entry.name} has {entry.size:,} bytes; at most {limits[entry.name]:,} are allowed."
            )
        if entry.offset < offset or entry.offset + len(entry.local_header) + entry.size > start:
            raise Refused("overlap", f"{entry.name} shares bytes with another part or lies outside the file.")
        handle.seek(entry.offset)
        if entry.offset != offset or handle.read(len(entry.local_header)) != entry.local_header:
            raise Refused("not-canonical", f"The header of {entry.name} is not the one that this form has.")
        offset += len(entry.local_header) + entry.size
    names = [entry.name for entry in entries]
    if offset != start or names != sorted(names) or directory + end != _directory(entries, start):
        raise Refused("not-canonical", "Its directory is not the one that this form has.")
    return {entry.name: entry for entry in entries}


def copy_entry(handle: BinaryIO, entry: Entry, write: Callable[[bytes], object]) -> None:
    """Stream an entry's content to ``write`` in pieces, at most ``entry.size`` bytes in all.

    Raises:
        Refused: the content does not have its checksum, or the package ends early.
    """
    handle.seek(entry.offset + len(entry.local_header))
    left, crc = entry.size, 0
    while left:
        chunk = handle.read(min(CHUNK, left))
        if not chunk:
            raise Refused("not-a-package", f"It ends in the middle of {entry.name}.")
        left -= len(chunk)
        crc = zlib.crc32(chunk, crc)
        write(chunk)
    if crc != entry.crc:
        raise Refused("checksum", f"The content of {entry.name} does not have its checksum.")


def _parse_directory(directory: bytes, count: int) -> Iterator[Entry]:
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(directory):
            raise Refused("not-a-package", "Its directory is cut off.")
        head = _CENTRAL.unpack_from(directory, position)
        magic, made_by, _, flags, method, _, _, crc, packed, size, name_size, extra, comment, _, _, mode, offset = head
        raw = directory[position + _CENTRAL.size : position + _CENTRAL.size + name_size]
        position += _CENTRAL.size + name_size + extra + comment
        if magic != b"PK\1\2" or len(raw) != name_size:
            raise Refused("not-a-package", "Its directory is damaged.")
        name = raw.decode("utf-8", "backslashreplace")
        if flags & _ENCRYPTED:
            raise Refused("encrypted", f"{shown(name)} is encrypted.")
        if 0xFFFFFFFF in (packed, size, offset):
            raise Refused("zip64", f"{shown(name)} uses zip64 fields, which no package needs.")
        kind = mode >> 16 & 0o170000
        if made_by >> 8 == 3 and kind not in (0, 0o100000):
            raise Refused("special-file", f"{shown(name)} is not a plain file.")
        if name.startswith(("/", "\\")) or name[1:2] == ":":
            raise Refused("absolute-path", f"{shown(name)} is an absolute path.")
        if ".." in name.replace("\\", "/").split("/"):
            raise Refused("path-traversal", f"{shown(name)} leaves the folder.")
        if name.endswith(("/", "\\")):
            raise Refused("special-file", f"{shown(name)} is a folder.")
        if method != _STORED or packed != size:
            raise Refused("compressed", f"{shown(name)} is compressed; parts of a package are stored.")
        yield Entry(name, crc, size, offset)


def _check_names(names: list[str], limits: Mapping[str, int]) -> None:
    if len(set(names)) != len(names):
        raise Refused("duplicate-name", f"It holds {shown(next(n for n in names if names.count(n) > 1))} twice.")
    folded = [name.casefold() for name in names]
    if len(set(folded)) != len(folded):
        raise Refused(
            "case-collision", f"Two of its names differ in case only: {shown(', '.join(sorted(names)), 200)}."
        )
    unknown = sorted(set(names) - set(limits))
    if unknown:
        raise Refused("unknown-part", f"It holds {shown(unknown[0])}, which is not a part of an adapter.")


def _directory(entries: list[Entry], start: int) -> bytes:
    body = b"".join(entry.central_header for entry in entries)
    return body + _END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), len(body), start, 0)


def _measure(content: Path | bytes) -> tuple[int, int]:
    crc = size = 0
    for chunk in _chunks(content):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return crc, size


def _chunks(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            yield chunk
