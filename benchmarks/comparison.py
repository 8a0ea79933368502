"""A whole comparison, from nothing to its page, with settings that differ, in turns.

    python benchmarks/comparison.py trainer.stack=1 trainer.stack=auto [--rounds 3]
    python benchmarks/comparison.py --of 'methods=[sgd,adam] problem=wine' trainer.stack=1

Prints seconds of the clock and of the processor, those of all its processes together, and
whether both came to the same words. On a busy machine the processor's say more.
"""

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OF = "methods=[sgd,momentum,adam,muon] protocol.n_trials=12 protocol.seeds=10 protocol.n_jobs=2"


def command(overrides: list[str]) -> tuple[float, float, str]:
    """Seconds of the clock and of the processor, and the verdict."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FAIRSTEP_OUTPUTS": folder, "OMP_NUM_THREADS": "1"}
        clock, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "src.compare", *overrides],
            cwd=PROJECT,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        clock, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        (record,) = Path(folder).glob("comparisons/*/comparison.json")
        return clock, spent, str(json.loads(record.read_text())["sentence"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("settings", nargs="+", help="KEY=VALUE, one for each side")
    parser.add_argument("--of", default=OF, help="the rest of the command line")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rest = shlex.split(arguments.of)
    found: dict[str, list[tuple[float, float]]] = {each: [] for each in arguments.settings}
    words = set()
    for _ in range(arguments.rounds):
        for each, times in found.items():
            clock, spent, sentence = command([*rest, each])
            times.append((clock, spent))
            words.add(sentence)
            print(f"{each:24} {clock:8.1f} s, {spent:8.1f} s of the processor", flush=True)
    for each, times in found.items():
        low = [statistics.median(column) for column in zip(*times, strict=True)]
        print(f"median of {each}: {low[0]:.1f} s, {low[1]:.1f} s of the processor")
    print("the same words" if len(words) == 1 else f"other words: {sorted(words)}")


if __name__ == "__main__":
    main()
