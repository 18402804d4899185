#!/usr/bin/env python3
"""How long does `neuralforge --help` take? Wall time of the installed program, median and extremes of N starts.

python benchmarks/startup.py [--runs 20]
"""

import argparse
import json
import statistics
import subprocess
import sysconfig
import time
from pathlib import Path

PROGRAM = Path(sysconfig.get_path("scripts")) / "neuralforge"


def main() -> None:
    """Start the program again and again; the first start, which may read from disk, is left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    runs = parser.parse_args().runs
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run([PROGRAM, "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - began) * 1000)
    kept = sorted(times[1:])
    print(json.dumps({"runs": runs, "median_ms": round(statistics.median(kept), 1), "least_ms": round(kept[0], 1),
                      "most_ms": round(kept[-1], 1)}))  # fmt: skip


if __name__ == "__main__":
    main()
