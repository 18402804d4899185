"""What a training within a time budget gains on later commits: one line of a table a repository and budget.

    python benchmarks/verdicts.py REPOSITORY [...] [--budgets 5m,15m] [--controls] [-- FLAGS OF neuralforge train]

Runs the installed `neuralforge train --from-git REPOSITORY --budget B` as anyone would, and times the whole command,
from mining to verdict. With --controls, `neuralforge benchmark --controls` then trains as long on the standard
library and says which share of the improvement is the repository's own; that is not part of the time shown. Prints
Markdown; --output writes what the commands said as JSON, --keep leaves the packages and reports in a folder.
Nothing else should be at work on the machine: the budget is spent on what the machine can do at the time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]
HURTS = 8
COLUMNS = (
    "repository", "budget", "commits", "examples", "held out", "base loss", "adapter loss", "change", "95 % interval",
    "own share", "wall time", "peak memory",
)  # fmt: skip


class Failed(Exception):
    """A command ended with an error; the message is what it said."""


def run(arguments: list[str]) -> tuple[Record, float, int]:
    """One neuralforge command with --json: (what it printed, wall seconds, peak resident bytes)."""
    program = Path(sys.executable).with_name("neuralforge")
    command = [str(program)] if program.exists() else [sys.executable, "-m", "neuralforge"]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, *arguments, "--json"], stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        code = process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if code not in (0, HURTS):
            raise Failed(f"exit {code}: {errors.read().decode(errors='replace').strip()[-2_000:]}")
        content: Record = json.loads(output.read())
    return content, seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1_024)


def measure(repository: Path, budget: str, chosen: argparse.Namespace, flags: list[str], folder: Path) -> Record:
    """Train, and judge against the control if asked: one line of the table as a record."""
    name = f"{repository.name}-{budget}"
    package = folder / f"{name}.lora"
    places = ["--output", str(package), "--checkpoint-dir", str(folder / name)]
    trained, seconds, peak = run(
        ["train", "--from-git", str(repository), "--base", chosen.base, "--budget", budget, *places, *flags]
    )
    counted = subprocess.run(
        ["git", "-C", str(repository), "rev-list", "--count", "HEAD"], capture_output=True, check=True, text=True
    )
    record = {"repository": repository.name, "budget": budget, "commits": int(counted.stdout), "seconds": seconds,
              "peak_bytes": peak, "plan": trained["plan"], "verdict": trained["verdict"]}  # fmt: skip
    if chosen.controls:
        judged, record["control_seconds"], _ = run(
            ["benchmark", "--adapter", str(package), "--base", chosen.base, "--metrics", "perplexity",
             "--from-git", str(repository), "--controls"]
        )  # fmt: skip
        record["control"] = judged["control"]
    return record


def line(record: Record) -> str:
    """The record as a line of the Markdown table."""
    verdict = record["verdict"]
    loss, relative = verdict["metrics"]["loss"], verdict["relative_loss"]
    share = record.get("control", {}).get("share")
    cells = (
        record["repository"],
        record["budget"],
        f"{record['commits']:,}",
        f"{record['plan']['examples']:,}",
        f"{verdict['examples']:,}",
        f"{loss['base']:.3f}",
        f"{loss['adapter']:.3f}",
        f"{relative['change']:+.1%}",
        " to ".join(f"{bound:+.1%}" for bound in relative["interval"]) if relative["interval"] else "–",
        f"{share:.0%}" if share is not None else "–",
        f"{record['seconds']:.0f} s",
        f"{record['peak_bytes'] / 2**30:.2f} GiB",
    )
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Parse, run, print the table; 1 if a command failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="+", type=Path, metavar="REPOSITORY")
    parser.add_argument("--budgets", default="5m,15m", help="comma-separated (default: %(default)s)")
    parser.add_argument("--controls", action="store_true", help="also train on unrelated code")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--output", type=Path, help="JSON file of what the commands said")
    parser.add_argument("--keep", type=Path, help="folder for the packages and run directories")
    own, flags = sys.argv[1:], list[str]()
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    chosen = parser.parse_args(own)
    records: list[Record] = []
    failures = 0
    with tempfile.TemporaryDirectory() as place:
        folder = (chosen.keep or Path(place)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
        for repository in chosen.repositories:
            for budget in chosen.budgets.split(","):
                try:
                    records.append(measure(repository.resolve(), budget, chosen, flags, folder))
                except Failed as failure:
                    failures += 1
                    print(f"{repository.name}, {budget}: {failure}", file=sys.stderr, flush=True)
                    continue
                print(line(records[-1]), flush=True)
                if chosen.output:
                    chosen.output.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
