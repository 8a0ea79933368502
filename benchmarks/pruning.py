"""What a pruner costs and saves: the same sweep with each pruner, over several seeds.

    python benchmarks/pruning.py --root ../shared/data
    python benchmarks/pruning.py --data digits --trials 40 --epochs 10 --seeds 20 \
        --pruners asha asha+sampler.batch=8     # what trials that are proposed at once cost

Prints, per pruner, the best validation loss (mean and standard deviation over the seeds) and the
training steps, beside the sweep without pruning. The steps are exact; they don't depend on the
machine or its load.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data", help="the folder that holds the data set")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--sweeps", default="adam")
    help_pruners = "the first is compared with; PRUNER+KEY=VALUE changes a setting"
    parser.add_argument("--pruners", nargs="+", default=["none", "asha"], help=help_pruners)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="of the config, for every sweep")
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for pruner in arguments.pruners:
            results[pruner] = []
            for seed in range(arguments.seeds):
                results[pruner].append(sweep(arguments, pruner, seed, Path(folder)))
                print(f"{pruner}, seed {seed}: {results[pruner][-1]}", flush=True)
    report(results)


def sweep(arguments: argparse.Namespace, pruner: str, seed: int, folder: Path) -> tuple[float, int]:
    """Run one sweep; return its best value and the training steps of all its trials."""
    name = re.sub(r"\W", "-", f"{pruner}-{seed}")
    command = [
        *(sys.executable, "-m", "src.train", "-m", f"sweeps={arguments.sweeps}"),
        *(f"data={arguments.data}", f"pruner={pruner.split('+')[0]}", f"seed={seed}"),
        *(f"n_trials={arguments.trials}", f"trainer.epochs={arguments.epochs}"),
        *(f"study={name}", f"storage=sqlite:///{folder}/studies.db", "trainer.threads=1"),
        *(f"hydra.sweep.dir={folder}/{name}", *pruner.split("+")[1:], *arguments.overrides),
    ]
    if arguments.data != "digits":
        command.append(f"data.root={Path(arguments.root).absolute()}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=subprocess.DEVNULL)
    files = (folder / name).glob("trial-*/result.json")
    runs = [json.loads(file.read_text()) for file in files]
    assert len(runs) == arguments.trials
    best = min(
        run["objective"]["value"] for run in runs if run["status"] in ("completed", "early_stopped")
    )
    return best, sum(run["steps"] for run in runs)


def report(results: dict[str, list[tuple[float, int]]]) -> None:
    """A line per pruner, beside the first one."""
    base = next(iter(results.values()))
    mean_base, spread = statistics.mean(v for v, _ in base), statistics.stdev(v for v, _ in base)
    print(f"{'pruner':32} {'best val_loss':>20} {'difference':>20} {'steps':>9} {'share':>6}")
    for pruner, runs in results.items():
        values, steps = [value for value, _ in runs], sum(steps for _, steps in runs)
        mean = statistics.mean(values)
        far = f"{mean - mean_base:+.5f} ({(mean - mean_base) / spread:+.2f} sd)"
        share = steps / sum(steps for _, steps in base)
        shown = f"{mean:.5f} ± {statistics.stdev(values):.5f}"
        print(f"{pruner:32} {shown:>20} {far:>20} {steps:9d} {share:6.2f}")


if __name__ == "__main__":
    main()
