"""Kill a training at random moments, resume it until it ends, and compare every byte with one that was left alone.

    python benchmarks/kills.py REPOSITORY [--kills 50] [--seed 0] [--base MODEL] [-- FLAGS OF neuralforge train]

Runs `neuralforge train` once undisturbed. Then, so many times: starts it again in a new folder, kills it with SIGKILL
(the whole process group) and goes on with `--resume`, which is killed again up to twice more. The first kill falls
anywhere in the time the undisturbed run took, or, every third time, a few milliseconds after a save of a checkpoint
began. A run that was killed before its examples were stored cannot be resumed and says so; it is started anew.

Compared: the package's adapter, and the last checkpoint's weights, optimiser with random state, and counters (all
but the seconds spent). Exits with 1 if anything differs or a run does not end. Flags after `--` replace
`--epochs 1 --max-examples 60 --max-length 128 --layers 4`; a tiny local base folder makes a quick version.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLAGS = ["--epochs", "1", "--max-examples", "60", "--max-length", "128", "--layers", "4"]
ENVIRONMENT = {"NEURALFORGE_RUN__CHECKPOINT_EVERY_SECONDS": "1", "NEURALFORGE_EVALUATION__GENERATE_LIMIT": "2"}
MOST_KILLS = 3
RUN_ERROR = 4


class Unfinished(Exception):
    """A run could not be brought to its end; the message is what it said."""


@dataclass(slots=True)
class Attempt:
    """One training and what was done to it. ``kills`` are (seconds since its start, phase, inside a save)."""

    folder: Path
    kills: list[tuple[float, str, bool]] = field(default_factory=list)
    restarts: int = 0
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        """The run directory; a restart has a new one."""
        return self.folder / f"run-{self.restarts}"

    @property
    def package(self) -> Path:
        return self.folder / f"adapter-{self.restarts}.lora"

    def state(self) -> dict[str, Any]:
        """``state.json``, or nothing while there is none."""
        try:
            content: dict[str, Any] = json.loads((self.run / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def saving(self) -> bool:
        """Whether a checkpoint is being written."""
        try:
            return any(entry.name.startswith(".saving-") for entry in os.scandir(self.run / "checkpoints"))
        except FileNotFoundError:
            return False


class Killer:
    """Starts trainings, and ends some of them early."""

    def __init__(self, repository: Path, base: str, flags: list[str], seed: int) -> None:
        self.begin = ["--from-git", str(repository), "--base", base, "--name", "killed", *flags]
        self.chooser = random.Random(seed)
        self.seconds, self.saves = 0.0, 0
        self.running: subprocess.Popen[bytes] | None = None
        program = Path(sys.executable).with_name("neuralforge")
        self.program = [str(program)] if program.exists() else [sys.executable, "-m", "neuralforge"]

    def start(self, attempt: Attempt) -> subprocess.Popen[bytes]:
        """Begin the training, or resume it if there is something to resume."""
        if (attempt.run / "state.json").exists():
            arguments = ["--resume", str(attempt.run)]
        else:
            arguments = [*self.begin, "--checkpoint-dir", str(attempt.run), "--output", str(attempt.package)]
        # Standard error goes to a file: a pipe that nobody empties would stop the program.
        with (attempt.folder / "errors").open("wb") as errors:
            self.running = subprocess.Popen(
                [*self.program, "train", *arguments, "--force"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=errors, start_new_session=True, env=ENVIRONMENT | dict(os.environ),
            )  # fmt: skip
        return self.running

    def close(self) -> None:
        """End what is still running: it has a session of its own, so Ctrl-C does not reach it."""
        if self.running is not None and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()

    def finish(self, attempt: Attempt, process: subprocess.Popen[bytes]) -> None:
        """Wait for its end; start anew what says that it cannot be resumed."""
        while (code := self.ended(process)) != 0:
            said = (attempt.folder / "errors").read_text(encoding="utf-8", errors="replace").strip()
            if code != RUN_ERROR or (attempt.run / "data.json").exists():
                raise Unfinished(f"exit {code}: {said}")
            attempt.restarts += 1
            process = self.start(attempt)
        attempt.digests = digests(attempt)

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit code, or Unfinished if it takes beyond all measure."""
        try:
            return process.wait(timeout=10 * self.seconds + 600)
        except subprocess.TimeoutExpired:
            self.close()
            raise Unfinished(f"still at work after {10 * self.seconds + 600:.0f} s") from None

    def undisturbed(self, folder: Path) -> Attempt:
        """The run that all others are compared with; its time and its saves are the range of the kills."""
        attempt = Attempt(folder)
        folder.mkdir()
        began = time.monotonic()
        process, before = self.start(attempt), False
        while process.poll() is None:
            now = attempt.saving()
            self.saves += now and not before
            before = now
            time.sleep(0.001)
        self.finish(attempt, process)
        self.seconds = time.monotonic() - began
        return attempt

    def disturbed(self, folder: Path, inside_save: bool) -> Attempt:
        """A run that was killed at least once, brought to its end."""
        while True:
            attempt = Attempt(folder)
            folder.mkdir()
            wanted = self.chooser.choice(range(1, MOST_KILLS + 1))
            process = self.start(attempt)
            while len(attempt.kills) < wanted and self.kill(attempt, process, inside_save and not attempt.kills):
                if attempt.state().get("outcome") == "done":
                    break
                process = self.start(attempt)
            done = attempt.state().get("outcome") == "done"
            if done and process.returncode is not None and process.returncode < 0:
                attempt.digests = digests(attempt)  # killed after everything was written
            else:
                self.finish(attempt, process)
            if attempt.kills:
                return attempt
            shutil.rmtree(folder)  # it was quicker than the moment that was drawn for it

    def kill(self, attempt: Attempt, process: subprocess.Popen[bytes], inside_save: bool) -> bool:
        """Kill at the drawn moment; False if the process ended first."""
        began = time.monotonic()
        moment = self.chooser.uniform(0.0, self.seconds)
        pause = self.chooser.uniform(0.0, 0.01)
        saves, before = self.chooser.randint(1, max(1, self.saves)), False
        while process.poll() is None:
            if inside_save:
                now = attempt.saving()
                saves -= now and not before
                before = now
                due = saves == 0
            else:
                due = time.monotonic() - began >= moment
            if due:
                if inside_save:
                    time.sleep(pause)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if process.returncode != -signal.SIGKILL:
                    return False  # it ended in the same instant
                phase = str(attempt.state().get("phase") or "before training")
                attempt.kills.append((time.monotonic() - began, phase, attempt.saving()))
                return True
            time.sleep(0.0005 if inside_save else 0.01)
        return False


def digests(attempt: Attempt) -> dict[str, str]:
    """SHA-256 of everything that a resumed run must have in common with one that never stopped."""
    with zipfile.ZipFile(attempt.package) as package:
        found = {"adapter": hashlib.sha256(package.read("adapter_model.safetensors")).hexdigest()}
    last = max((attempt.run / "checkpoints").glob("step-*"))
    for path in sorted(last.iterdir()):
        content = path.read_bytes()
        if path.name == "checkpoint.json":  # digests of the others, the counters' too
            continue
        if path.name == "state.json":
            counters = json.loads(content)
            counters.pop("elapsed")
            content = json.dumps(counters, sort_keys=True).encode()
        found[path.name] = hashlib.sha256(content).hexdigest()
    return found | {"step": last.name.partition(".")[0]}


def main() -> int:
    """Parse, run, and say how many were equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--kills", type=int, default=50, help="trainings to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--base", default="smollm2-135m")
    own, flags = sys.argv[1:], FLAGS
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    chosen = parser.parse_args(own)
    killer = Killer(chosen.repository.resolve(), chosen.base, flags, chosen.seed)
    equal, counts = 0, Counter[str]()
    with tempfile.TemporaryDirectory() as place, closing(killer):
        reference = killer.undisturbed(Path(place) / "undisturbed")
        print(f"undisturbed: {killer.seconds:.1f} s, {killer.saves} saves seen, {reference.digests['step']}")
        for name, digest in reference.digests.items():
            print(f"  {name:<24} {digest[:32]}")
        for number in range(1, chosen.kills + 1):
            folder = Path(place) / str(number)
            try:
                attempt = killer.disturbed(folder, inside_save=number % 3 == 0)
            except Unfinished as failure:
                print(f"{number:>3}  did not end: {failure}", flush=True)
                continue
            different = [name for name in reference.digests if attempt.digests.get(name) != reference.digests[name]]
            equal += not different
            counts.update(f"in {phase}" if phase[:6] != "before" else phase for _, phase, _ in attempt.kills)
            counts.update({"inside a save": sum(saving for _, _, saving in attempt.kills)})
            counts.update({"started anew": attempt.restarts})
            kills = ", ".join(f"{at:.2f} s ({phase}{', saving' * saving})" for at, phase, saving in attempt.kills)
            verdict = f"DIFFERENT: {', '.join(different)}" if different else "equal"
            print(
                f"{number:>3}  {verdict:<8} killed after {kills}{'; started anew' * bool(attempt.restarts)}", flush=True
            )
            shutil.rmtree(folder)
    print(f"{equal} of {chosen.kills} ended bitwise equal; " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    return 0 if equal == chosen.kills else 1


if __name__ == "__main__":
    sys.exit(main())
