"""One training of ``time_to_loss.py``, in a process of its own: neuralforge's, or TRL's in another environment.

    python benchmarks/time_to_loss_run.py SETTINGS FOLDER

``time_to_loss.py`` prepares FOLDER and starts this; SETTINGS is one JSON object. Writes FOLDER/result.json. Nothing
of neuralforge is imported for a run of TRL. The clock stands still while the held-out loss is measured.
"""

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_bytes() -> int:
    """Most resident memory of this process. ``getrusage`` would count its parent's from before the start, too."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)


class Stopwatch:
    """Seconds of training at each measured loss; ``now`` is handed in, so the clock can stand still meanwhile."""

    def __init__(self, seconds: float | None) -> None:
        self.limit, self.began, self.paused = seconds, 0.0, 0.0
        self.points: list[tuple[int, float, float]] = []

    def start(self, loss: float) -> None:
        """Begin, at the base's loss."""
        self.points.append((0, 0.0, loss))
        self.began = time.perf_counter()

    def seconds(self) -> float:
        """Of training, so far."""
        return time.perf_counter() - self.began - self.paused

    def measured(self, step: int, loss: float, stopped_at: float) -> None:
        """Note a loss that was measured between ``stopped_at`` (perf_counter) and now."""
        self.points.append((step, stopped_at - self.began - self.paused, loss))
        self.paused += time.perf_counter() - stopped_at

    @property
    def expired(self) -> bool:
        return self.limit is not None and self.seconds() >= self.limit


def train_ours(settings: Record, folder: Path) -> Record:
    """One run of neuralforge's loop."""
    import numpy as np

    from neuralforge.data.jsonl import read_examples
    from neuralforge.models.loading import load_base_model
    from neuralforge.runs.events import Evaluated, Event, Step
    from neuralforge.tokens.encoding import Encoded
    from neuralforge.tokens.overlap import HeldOut
    from neuralforge.training.loop import steps_per_epoch
    from neuralforge.training.scoring import score
    from neuralforge.training.trainer import LoRATrainer

    content = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))["held_out"]
    held_out = [
        Encoded(np.array(one["ids"], np.int32), np.array(one["loss"], np.bool_), index, str(index))
        for index, one in enumerate(content)
    ]
    watch = Stopwatch(settings["seconds"])
    after_step, tokens = 0.0, 0

    def listen(event: Event) -> None:
        nonlocal after_step, tokens
        if isinstance(event, Step):
            after_step, tokens = time.perf_counter(), event.tokens
        elif isinstance(event, Evaluated):
            watch.measured(event.step, event.loss, after_step)

    trainer = LoRATrainer(
        load_base_model(settings["base"]), rank=settings["rank"], alpha=2 * settings["rank"], emit=listen,
        layers="upper-half" if settings["name"].endswith("upper") else "all", max_length=settings["max_length"],
        epochs=settings["epochs"], max_steps=settings["steps"], eval_every=settings["every"],
        early_stopping_patience=0, seed=settings["seed"],
    )  # fmt: skip
    examples = list(read_examples(folder / "train.jsonl"))
    # As `train` does: what context would give away of a held-out completion carries no loss.
    unlearned = HeldOut(held_out).unlearned
    encoded = [one for one in map(unlearned, trainer.encode(examples)) if one.loss.any()]
    before = np.concatenate([one.nll for one in score(trainer.base, held_out)])
    watch.start(float(before.mean(dtype=np.float64)))

    def pace(step: int, total: int) -> int:
        return min(total, step + 1) if watch.expired else total  # the last step is measured, so there is one more

    result = trainer.fit(encoded, held_out, pace=pace)
    done = result.state.step
    passes = done / steps_per_epoch(len(encoded), trainer.settings.batch_size, trainer.settings.gradient_accumulation)
    return {
        "points": watch.points,
        "seconds": watch.points[-1][1],
        "steps": done,
        "tokens": tokens,
        "examples": round(passes * len(examples)),
        "rate": trainer.settings.learning_rate,
    }


def train_trl(settings: Record, folder: Path) -> Record:
    """One run of SFTTrainer; imports nothing of neuralforge."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(cores())
    content = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    rows = [{"input_ids": one["ids"], "completion_mask": one["loss"]} for one in content["train"]]
    kind, _, rate = settings["name"].partition("-")
    options: Record = {}
    if rate:
        options = {"learning_rate": float(rate), "lr_scheduler_type": "linear", "warmup_steps": 0.05}
    if kind in ("best", "plain", "whole"):
        options |= {"gradient_checkpointing": False, "model_init_kwargs": {"dtype": "bfloat16"}}
    if kind == "plain":
        options["bf16"] = False
    if settings["group_by_length"] and kind != "defaults":
        options["train_sampling_strategy"] = "group_by_length"
    watch = Stopwatch(settings["seconds"])

    def held_out_loss(model: Any) -> float:
        """Nats per supervised token; the head only where there is loss, as the other side does it."""
        inner, total, count = model.get_base_model(), 0.0, 0
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=trainer.args.bf16):
            for one in content["held_out"]:
                ids = torch.tensor([one["ids"]])
                marked = torch.tensor(one["loss"], dtype=torch.bool)[1:]
                hidden = inner.model(input_ids=ids).last_hidden_state[0, :-1][marked]
                logits = inner.lm_head(hidden).float()
                total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:][marked], reduction="sum"))
                count += len(logits)
        model.train()
        return total / count

    class Listener(TrainerCallback):  # type: ignore[misc]
        """Measures, and ends the run when its time is up."""

        def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
            watch.start(held_out_loss(model))

        def on_step_end(self, _: Any, state: Any, control: Any, *, model: Any, **__: Any) -> None:
            now = time.perf_counter()
            control.should_training_stop = control.should_training_stop or watch.expired
            if state.global_step % settings["every"] == 0 or control.should_training_stop:
                watch.measured(state.global_step, held_out_loss(model), now)

    trainer = SFTTrainer(
        model=str(folder / "base"),
        args=SFTConfig(
            output_dir=str(folder / "trl"), use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True,
            num_train_epochs=settings["epochs"], max_steps=settings["steps"] or -1,
            completion_only_loss=kind != "whole",
            **options,
        ),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=settings["rank"], lora_alpha=2 * settings["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[Listener()],
    )  # fmt: skip
    collator, counts = trainer.data_collator, list[tuple[int, int]]()

    def counting(features: list[Record]) -> Any:
        counts.append((len(features), sum(len(one["input_ids"]) for one in features)))
        return collator(features)

    trainer.data_collator = counting
    trainer.train()
    steps = trainer.state.global_step  # a batch may have been laid out ahead of the last step
    return {
        "points": watch.points,
        "seconds": watch.points[-1][1],
        "steps": steps,
        "tokens": sum(tokens for _, tokens in counts[:steps]),
        "examples": sum(examples for examples, _ in counts[:steps]),
        "rate": trainer.args.learning_rate,
    }


def main() -> None:
    """Train as told and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", help="JSON object")
    parser.add_argument("folder", type=Path, help="what time_to_loss.py prepared")
    chosen = parser.parse_args()
    settings = json.loads(chosen.settings)
    result = (train_ours if settings["name"].startswith("neuralforge") else train_trl)(settings, chosen.folder)
    result |= {"name": settings["name"], "peak_bytes": peak_bytes()}
    (chosen.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
