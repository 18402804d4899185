"""Under which licence a file stands: its own SPDX mark (https://spdx.dev/ids), else the repository's licence file."""

import re
from collections.abc import Iterable

from neuralforge.data.cleaning.licence import identify_licence

_MARK = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+()-]+(?: (?:AND|OR|WITH) [\w.+()-]+)*)")
_REACH = 2_000


def file_licence(text: str) -> str | None:
    """The SPDX expression in the head of a file, or None."""
    if text.find("SPDX-License-Identifier", 0, _REACH) < 0:
        return None
    found = _MARK.search(text, 0, _REACH)
    return found[1] if found else None


def licence_of(texts: Iterable[str]) -> str | None:
    """SPDX identifier for a repository's licence files; ``A OR B`` when they name different ones; None if unknown."""
    names = {name for text in texts if (name := identify_licence(text)) is not None}
    return " OR ".join(sorted(names)) if names else None
