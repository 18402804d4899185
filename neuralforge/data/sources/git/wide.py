"""Added lines of a UTF-16 file, which git calls binary and does not compare."""

from difflib import SequenceMatcher

from neuralforge.data.sources.git.log import Hunk

_MAX_LINES = 5_000  # SequenceMatcher's worst case grows with the square of this


def added_hunks(before: str, after: str) -> list[Hunk] | None:
    """The hunks that git would have shown for the two texts, or None when they are too long to compare here."""
    old, new = before.split("\n") if before else [], after.split("\n")
    if after.endswith("\n"):
        new.pop()
    if before.endswith("\n"):
        old.pop()
    if max(len(old), len(new)) > _MAX_LINES:
        return None
    hunks = []
    for change, old_start, old_end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if change != "equal":
            removed = "".join(f"-{line}\n" for line in old[old_start:old_end]).encode("utf-8", "replace")
            hunks.append(Hunk(new_start + 1, new_end - new_start, removed))
    return hunks
