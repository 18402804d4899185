"""The code of a Jupyter notebook, read without running or trusting it (nbformat 3 and 4).

https://nbformat.readthedocs.io/en/latest/format_description.html
"""

import json
import re
from dataclasses import dataclass
from typing import Any

MAX_CELLS = 5_000
# `%matplotlib inline`, `!pip install`, `display?`: orders to the notebook, not code in its language.
_ORDER = re.compile(r"^[ \t]*(?:%{1,2}[A-Za-z_]|!|\?)|\?{1,2}[ \t]*$")
# Magics whose whole cell is in another language.
_CELL_MAGIC = re.compile(r"^[ \t]*%%(?!time\b|timeit\b|capture\b)")


class BadNotebook(ValueError):
    """What was read is no notebook; the message says why, in a few words fit to be counted by."""


@dataclass(frozen=True, slots=True)
class Notebook:
    """The language of a notebook's kernel, lower case, and the source of its code cells, in order."""

    language: str
    cells: tuple[str, ...]


def parse_notebook(content: bytes) -> Notebook:
    """Read the JSON of one notebook; outputs, attachments and prose are passed over.

    Raises:
        BadNotebook: not UTF-8, not JSON, nested too deeply, too many cells, or not in nbformat's shape.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as failure:
        raise BadNotebook("not UTF-8") from failure
    except RecursionError as failure:
        raise BadNotebook("nested too deeply") from failure
    except ValueError as failure:
        raise BadNotebook("not JSON") from failure
    if not isinstance(document, dict) or not isinstance(document.get("nbformat"), int):
        raise BadNotebook("not a notebook")
    cells = [source for cell in _cells(document) if (source := _code(cell)) is not None]
    return Notebook(_language(document), tuple(cells))


def _cells(document: dict[str, Any]) -> list[Any]:
    cells = document.get("cells")
    if cells is None:  # nbformat 3 had worksheets
        sheets = document.get("worksheets")
        first = sheets[0] if isinstance(sheets, list) and sheets else None
        cells = first.get("cells") if isinstance(first, dict) else None
    if not isinstance(cells, list):
        raise BadNotebook("no cells")
    if len(cells) > MAX_CELLS:
        raise BadNotebook("too many cells")
    return cells


def _code(cell: object) -> str | None:
    """The source of a code cell without notebook orders, or None for any other cell."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        if not all(isinstance(line, str) for line in source):
            raise BadNotebook("a cell that is not text")
        source = "".join(source)
    if not isinstance(source, str):
        raise BadNotebook("a cell that is not text")
    # Half of a surrogate pair can be written in JSON but not in UTF-8.
    source = source.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")
    if _CELL_MAGIC.search(source):
        return None
    code = "\n".join(line for line in source.split("\n") if not _ORDER.search(line)).strip("\n")
    return code if code.strip() else None


def _language(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    for section, key in (("language_info", "name"), ("kernelspec", "language")):
        part = metadata.get(section) if isinstance(metadata, dict) else None
        name = part.get(key) if isinstance(part, dict) else None
        if isinstance(name, str) and name.strip():
            return name.strip().lower()[:40]
    return "python"
