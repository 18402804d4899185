"""Every error that neuralforge raises on purpose, as one tree.

    NeuralForgeError          exit 1   something failed that fits no family below
    ├── UserError             exit 2   the command line, the configuration or a path is wrong
    ├── DataError             exit 3   a data set, a repository or an example cannot be used
    ├── RunError              exit 4   training stopped: disk, memory, lock, checkpoint
    │   └── Interrupted       exit 130 stopped by the person; progress is saved
    ├── TrustError            exit 5   an adapter, archive or signature cannot be trusted or does not fit
    ├── RemoteError           exit 6   a network, hub or registry call failed
    ├── PrivacyError          exit 7   consent, encryption or erasure rules forbid it
    └── VerdictError          exit 8   the adapter was judged to hurt

Each carries a message (what was wrong, and where) and a hint (what to do next). Foreign exceptions are
wrapped with ``raise ... from`` where they cross a file, network or plugin boundary; anything that reaches
the terminal as another type is a bug and keeps its traceback.
"""


class NeuralForgeError(Exception):
    """Base of the tree. ``message`` is one sentence or short paragraph; ``hint`` says what to do next."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(NeuralForgeError):
    """The command line, a configuration file or a path is wrong."""

    exit_code = 2


class DataError(NeuralForgeError):
    """A data set, a repository or a single example cannot be used."""

    exit_code = 3


class RunError(NeuralForgeError):
    """Training cannot start or go on: disk, memory, lock or checkpoint."""

    exit_code = 4


class Interrupted(RunError):
    """The person stopped the run; what was learned so far is on disk."""

    exit_code = 130


class TrustError(NeuralForgeError):
    """An adapter or archive is malformed, unsafe, or does not fit the base model."""

    exit_code = 5


class RemoteError(NeuralForgeError):
    """A package index, hub or registry did not give what was asked."""

    exit_code = 6


class PrivacyError(NeuralForgeError):
    """Consent, encryption or erasure rules forbid the operation."""

    exit_code = 7


class VerdictError(NeuralForgeError):
    """The adapter was judged to hurt and nobody insisted on keeping it."""

    exit_code = 8
