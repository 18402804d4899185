"""How long training takes to reach a given loss on later commits, beside TRL's SFTTrainer.

    python3 -m venv trl-env && trl-env/bin/pip install torch==2.13.0 trl==1.16.0 peft==0.21.2 transformers==5.23.0
    python benchmarks/time_to_loss.py REPOSITORY --trl-python trl-env/bin/python --output time-to-loss.json

Mines the repository once and gives every run the same examples, held-out tokens, base, rank and number of epochs.
Every run has a process of its own and all cores; they run one after another. Batch size and, where no rate is named,
learning rate and schedule are each side's own. Runs:

    neuralforge        neuralforge's loop, its default settings
    neuralforge-upper  the same with adapters on the upper half of the layers only
    defaults           SFTTrainer as it comes: fp32 weights, bf16 autocast, gradient checkpointing, rate 2e-5, linear
    defaults-RATE      the same flags, with a rate of the grid, warm-up and linear decay
    best-RATE          bf16 weights, no gradient checkpointing, a rate of the grid, warm-up and linear decay
    plain-RATE         as best, without autocast around the bf16 weights
    whole-RATE         as best, with loss on the context too, as neuralforge takes it

The loss (nats per supervised token, all held-out examples) is taken every so many steps with the clock stopped; when
a run reached a loss is interpolated between those. The target is the lowest loss that a run of TRL ends with; beside
it stands when a run reached the loss that each run of TRL itself ended with. Tokens are real ones, never padding.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

Record = dict[str, Any]
RUN = Path(__file__).with_name("time_to_loss_run.py")
RUNS = "neuralforge,neuralforge-upper,defaults,defaults-1e-3,best-3e-4,best-1e-3,best-3e-3,whole-1e-3"


def prepare(chosen: argparse.Namespace, folder: Path) -> Record:
    """Mine, split and encode into ``folder``: base/, train.jsonl, tokens.json. Returns what the data are."""
    from neuralforge.data.jsonl import write_examples
    from neuralforge.data.pipeline import CleaningOptions, collect
    from neuralforge.data.pipeline import prepare as split_by_time
    from neuralforge.data.records import Funnel
    from neuralforge.data.sources.base import SourceOptions, open_source
    from neuralforge.data.split import SplitOptions
    from neuralforge.models.loading import load_base_model
    from neuralforge.runs.events import silent
    from neuralforge.tokens.encoding import encode

    funnel = Funnel()
    source = open_source("git", str(chosen.repository), SourceOptions())
    found = collect(source, options=CleaningOptions(), funnel=funnel, emit=silent)
    split = split_by_time(found, SplitOptions(at_most=chosen.held_out), funnel)
    base = load_base_model(chosen.base)
    model: Any = base.model
    model.save_pretrained(folder / "base")
    base.tokenizer.save_pretrained(folder / "base")
    newest = sorted(split.train, key=lambda example: example.author_time or 0)
    encoded = encode(newest, base, max_length=chosen.max_length)[-chosen.examples :]
    held_out = encode(split.held_out, base, max_length=chosen.max_length)
    write_examples(folder / "train.jsonl", [newest[one.example] for one in encoded])
    content = {
        name: [{"ids": one.ids.tolist(), "loss": one.loss.astype(int).tolist()} for one in sequences]
        for name, sequences in (("train", encoded), ("held_out", held_out))
    }
    (folder / "tokens.json").write_text(json.dumps(content), encoding="utf-8")
    return {
        "repository": chosen.repository.resolve().name,
        "base": base.identity,
        "examples": len(encoded),
        "tokens": sum(len(one.ids) for one in encoded),
        "held_out": len(held_out),
        "held_out_tokens": sum(one.supervised for one in held_out),
    }


def crossing(points: list[list[float]], target: float) -> float | None:
    """Seconds until the loss first was ``target``, linear between measurements; None if it never was."""
    for (_, earlier, high), (_, later, low) in pairwise(points):
        if low <= target:
            share = 0.0 if high <= target else (high - target) / (high - low)
            return earlier + share * (later - earlier)
    return None


def compare(runs: list[Record], asked: float | None) -> Record:
    """Targets, when each run reached them, and how many times longer than the first run that took."""
    others = [run for run in runs if not run["name"].startswith("neuralforge")]
    ends = {run["name"]: run["points"][-1][2] for run in others}
    targets = ends | {"target": asked if asked is not None else min(ends.values(), default=runs[0]["points"][-1][2])}
    reached = {
        name: {run["name"]: crossing(run["points"], loss) for run in runs} for name, loss in targets.items()
    }  # fmt: skip
    print(f"\nTarget: {targets['target']:.4f} nats per token\n")
    print(f"{'run':<19}{'rate':>8}{'s/step':>8}{'tokens/s':>10}{'ex./s':>7}{'GiB':>6}{'loss at end':>12}"
          f"{'total s':>9}{'s to target':>13}{'ratio':>8}")  # fmt: skip
    first = reached["target"][runs[0]["name"]]
    for run in runs:
        at, seconds = reached["target"][run["name"]], run["seconds"]
        run["times"] = (at or seconds) / first if first else None
        time_shown = f"{at:.1f}" if at is not None else f"> {seconds:.1f}"
        ratio = f"{'' if at is not None else '> '}{run['times']:.2f}" if run["times"] else "-"
        print(f"{run['name']:<19}{run['rate']:>8.0e}{seconds / run['steps']:>8.2f}{run['tokens'] / seconds:>10,.0f}"
              f"{run['examples'] / seconds:>7.2f}{run['peak_bytes'] / 2**30:>6.2f}{run['points'][-1][2]:>12.4f}"
              f"{seconds:>9.1f}{time_shown:>13}{ratio:>8}")  # fmt: skip
    for name, loss in ends.items():
        its, own = reached[name][name], reached[name][runs[0]["name"]]
        if its and own:
            print(
                f"The {loss:.4f} that {name} ended with: {its:.1f} s there, {own:.1f} s here ({its / own:.2f} times)."
            )
    return {"targets": targets, "reached": reached}


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, help="a git repository")
    parser.add_argument(
        "--trl-python", help="a Python interpreter that has TRL; without one, only the runs of neuralforge"
    )
    parser.add_argument("--runs", default=RUNS, help="comma-separated; ratios are to the first (default: %(default)s)")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--examples", type=int, default=480, help="the newest so many")
    parser.add_argument("--held-out", type=int, default=64, help="examples of later commits at most")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of one sequence")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="at most so many, with the schedule fitted to them")
    parser.add_argument("--seconds", type=float, help="stop each run after so much training")
    parser.add_argument("--every", type=int, default=5, help="steps between measurements of the loss")
    parser.add_argument("--target", type=float, help="a loss, instead of the lowest that TRL ends with")
    parser.add_argument("--group-by-length", action="store_true", help="let TRL batch sequences of like length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file of everything measured")
    chosen = parser.parse_args()
    names = [name for name in chosen.runs.split(",") if chosen.trl_python or name.startswith("neuralforge")]
    runs: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(chosen, Path(folder))
        print(json.dumps(data), flush=True)
        kept = ("base", "rank", "max_length", "epochs", "steps", "seconds", "every", "seed", "group_by_length")
        for name in names:
            settings = {key: getattr(chosen, key) for key in kept} | {"name": name}
            python = sys.executable if name.startswith("neuralforge") else chosen.trl_python
            command = [python, str(RUN), json.dumps(settings), folder]
            subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "HF_HUB_OFFLINE": "1"})
            runs.append(json.loads(Path(folder, "result.json").read_text()))
            print(f"{name}: {runs[-1]['seconds']:.1f} s, loss {runs[-1]['points'][-1][2]:.4f}", flush=True)
    outcome = compare(runs, chosen.target)
    if chosen.output:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        about = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "data": data}
        chosen.output.write_text(json.dumps(about | outcome | {"runs": runs}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
