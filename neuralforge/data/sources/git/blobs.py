"""Read many file contents from one ``git cat-file --batch`` without waiting for each in turn."""

from collections.abc import Sequence

from neuralforge.data.sources.git.commands import MAX_FILE_BYTES, GitProcess

# Requests are written before their answers are read. As long as they fit a pipe (64 KiB on Linux, 16 KiB at the least
# on macOS) neither side can wait for the other for ever; an oid and its newline take 65 bytes at most.
MAX_OUTSTANDING = 240
_CHUNK = 1 << 16


class BlobReader:
    """Contents by object id, in the order asked."""

    def __init__(self, process: GitProcess) -> None:
        self._process = process

    def ask(self, oids: Sequence[bytes]) -> None:
        """Request contents; at most ``MAX_OUTSTANDING`` may be unread at any time."""
        if oids:
            try:
                self._process.input.write(b"\n".join(oids) + b"\n")
                self._process.input.flush()
            except OSError as failure:
                raise self._process.failure() from failure

    def take(self) -> bytes | None:
        """The next content asked for; None when it is missing, not a file, or above the size bound.

        Raises:
            DataError: git stopped, as it does on a damaged object.
        """
        output = self._process.output
        header = output.readline()
        if not header:
            raise self._process.failure()
        parts = header.split()
        if len(parts) != 3 or not parts[2].isdigit():
            return None
        size = int(parts[2])
        if parts[1] != b"blob" or size > MAX_FILE_BYTES:
            left = size + 1
            while left:
                skipped = len(output.read(min(left, _CHUNK)))
                if not skipped:
                    raise self._process.failure()
                left -= skipped
            return None
        content = output.read(size + 1)
        if len(content) != size + 1:
            raise self._process.failure()
        return content[:-1]
