"""Every command, in the order of the flow: what ``neuralforge --help`` shows, and where each one lives.

The table stands apart from the commands so that the overview costs no import; a test holds each line here
equal to the first line of the command's own docstring.
"""

from dataclasses import dataclass

STAGES = ("Data", "Models", "Training", "Judging", "Adapters", "Shell")


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. ``target`` is ``module:name`` below ``cli.commands``: a function, or a Typer for a group."""

    name: str
    stage: str
    target: str
    help: str


CATALOGUE = (
    Entry("extract-dataset", "Data", "extract_dataset:extract_dataset", "Mine examples from a git repository."),
    Entry("create-dataset", "Data", "create_dataset:create_dataset", "Make examples from files without history."),
    Entry("analyze-dataset", "Data", "analyze_dataset:analyze_dataset", "Show what a data set holds and lacks."),
    Entry("clean-dataset", "Data", "clean_dataset:clean_dataset", "Filter, deduplicate, balance and split a data set."),
    Entry("models", "Models", "models:group", "List, fetch, show and remove base models."),
    Entry(
        "train-tokenizer",
        "Models",
        "train_tokenizer:train_tokenizer",
        "Train a byte-level BPE tokenizer on your own text.",
    ),
    Entry("train", "Training", "train:train", "Train an adapter, judge it on later commits, pack it."),
    Entry("pretrain", "Models", "pretrain:pretrain", "Train a small model of your own on text."),
    Entry("post-train", "Models", "post_train:post_train", "Train on from a model: texts, a domain, or answers."),
    Entry("generate", "Models", "generate:generate", "Continue a prompt with a model or an adapter."),
    Entry("export", "Models", "export:export", "Write a model in a form that loads without neuralforge."),
    Entry("config", "Training", "config:group", "Show, check and explain configurations."),
    Entry("monitor", "Training", "monitor:monitor", "Follow a run from another terminal."),
    Entry("test-adapter", "Judging", "test_adapter:judge_adapter", "Judge an adapter against its base."),
    Entry("benchmark", "Judging", "benchmark:benchmark", "Measure accuracy, latency, perplexity and memory."),
    Entry("ab-test", "Judging", "ab_test:ab_test", "Compare two adapters on the same examples."),
    Entry("adapters", "Adapters", "adapters:group", "List, show, install, remove and compare adapters."),
    Entry("plugins", "Shell", "plugins:plugins", "List installed plugins and what is wrong with them."),
    Entry("doctor", "Shell", "doctor:doctor", "Report what this machine can do."),
    Entry("completion", "Shell", "completion:group", "Print or install shell completion."),
)
