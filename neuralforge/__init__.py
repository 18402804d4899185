"""neuralforge: a small code model of your own, trained from your own repository and proven on its later commits.

The rooms, from the street to the cellar; a room imports only what stands below it (ARCHITECTURE.md says why,
``tests/architecture`` holds it):

    cli/         the program: commands, tables, JSON, exit codes
    workflows/   one verb a file; the same functions are the public Python API
    config/      the schema of every setting, and where each value came from
    evaluation/  metrics, intervals, the verdict, the report
    training/    the one loop over LoRA adapters, its objective, schedule and checkpoints
    tokens/      examples to token ids with a loss mask; batches
    models/      base models: where they come from, how they are loaded, generation
    adapter/     the .lora package: pack, unpack safely, install, compare
    data/        examples: sources, cleaning, split by time, statistics
    runs/        run folders, locks, checkpoints on disk, events
    errors.py files.py paths.py plugins.py   the ground floor, standard library only

An example is mined by a source in ``data``, cleaned, split by time, encoded in ``tokens``, trained on in
``training``, packed by ``adapter`` and judged in ``evaluation``; ``workflows/train.py`` reads in that order.

The names below load on first use (PEP 562), so ``import neuralforge`` costs nothing:

    from neuralforge import load_config, train
    result = train(load_config(flags={"dataset.from_git": ("", "./repo"), "run.budget": ("", "5m")}).config)
    print(result.verdict.sentence)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralforge.config.load import load_config
    from neuralforge.config.schema import TrainConfig
    from neuralforge.errors import NeuralForgeError
    from neuralforge.workflows.ab_test import ab_test
    from neuralforge.workflows.analyze_dataset import analyze_dataset
    from neuralforge.workflows.benchmark import benchmark
    from neuralforge.workflows.clean_dataset import clean_dataset
    from neuralforge.workflows.create_dataset import create_dataset
    from neuralforge.workflows.doctor import diagnose
    from neuralforge.workflows.extract_dataset import extract_dataset
    from neuralforge.workflows.test_adapter import test_adapter
    from neuralforge.workflows.train import train

__version__ = "0.1.0"

__all__ = [
    "NeuralForgeError",
    "TrainConfig",
    "ab_test",
    "analyze_dataset",
    "benchmark",
    "clean_dataset",
    "create_dataset",
    "diagnose",
    "extract_dataset",
    "load_config",
    "test_adapter",
    "train",
]

_HOMES = {
    "NeuralForgeError": "errors",
    "TrainConfig": "config.schema",
    "load_config": "config.load",
    "diagnose": "workflows.doctor",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"neuralforge.{_HOMES.get(name, f'workflows.{name}')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
