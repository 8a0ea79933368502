"""What a sweep costs beside its training, and how fast it is beside the stock plugin.

    python benchmarks/sweeps.py

The tutorial's model (one hidden layer of 100) on the digits, Adam's space. Each kind of sweep runs
in a process of its own, in turns, `--repeat` times; figures are medians. Rates are counted from
the first trial's start to the last one's end, so that starting Python is left out; the seconds of
the whole command stand beside them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
COMMON = ("model=mlp", "data=digits", "trainer.threads=1")
OURS = ("sweeps=adam", *COMMON)
# The stock plugin, asked for two workers; its launcher runs them one after the other.
STOCK = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=2", "experiment=adam_space", *COMMON)
STOCK += ("--config-dir", str(PROJECT / "benchmarks" / "stock"))
KINDS: dict[str, tuple[str, ...]] = {
    "1 worker, no pruning": (*OURS, "pruner=none"),
    "1 worker": OURS,
    "2 workers": (*OURS, "n_jobs=2"),
    "stock plugin, 2 workers": STOCK,
}


@dataclass
class Measured:
    """One sweep: trials per minute, seconds of the command, milliseconds beside training."""

    rate: float
    seconds: float
    overhead: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="of the config, for every sweep")
    arguments = parser.parse_args()
    found: dict[str, list[Measured]] = {kind: [] for kind in KINDS}
    for turn in range(arguments.repeat):
        for kind in KINDS:
            found[kind].append(measure(kind, arguments.trials, arguments.overrides))
            print(f"turn {turn}, {kind}: {found[kind][-1]}", file=sys.stderr, flush=True)
    report(found)
    report_reading()


def measure(kind: str, trials: int, overrides: list[str]) -> Measured:
    """Run one sweep on a database of its own."""
    import optuna

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/studies.db"
        command = [sys.executable, "-m", "src.train", "-m", *KINDS[kind], *overrides]
        command += [f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.storage={url}"]
        command += ["hydra.sweeper.study_name=s", f"hydra.sweep.dir={folder}/s"]
        started = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        study = optuna.load_study(study_name="s", storage=url)
        done = [trial for trial in study.trials if trial.datetime_complete]
        assert len(done) == trials
        first = min(trial.datetime_start for trial in done)
        span = (max(trial.datetime_complete for trial in done) - first).total_seconds()
        runs = [json.loads(path.read_text()) for path in Path(folder).glob("s/*/result.json")]
        assert len(runs) == trials
        trained = sum(run["train_seconds"] + run["eval_seconds"] for run in runs)
    return Measured(60 * trials / span, seconds, 1000 * (span - trained) / trials)


def report(found: dict[str, list[Measured]]) -> None:
    print(f"{'':26} {'trials/min':>10} {'command s':>10} {'ms/trial beside training':>26}")
    for kind, runs in found.items():
        rate = statistics.median(run.rate for run in runs)
        seconds = statistics.median(run.seconds for run in runs)
        overhead = statistics.median(run.overhead for run in runs)
        # Two workers train at once, so the span says nothing about one trial's cost.
        shown = f"{overhead:.0f}" if kind != "2 workers" else "-"
        print(f"{kind:26} {rate:10.0f} {seconds:10.1f} {shown:>26}")
    for kind, other in (("2 workers", "1 worker"), ("2 workers", "stock plugin, 2 workers")):
        ratios = [a.rate / b.rate for a, b in zip(found[kind], found[other], strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{kind} : {other} = {statistics.median(ratios):.2f} (in turn: {each})")


def report_reading() -> None:
    """What `load` costs the first time in a process, and for every trial after that."""
    sys.path.insert(0, str(PROJECT))
    from src.data import load

    times = []
    for _ in range(2):
        started = time.perf_counter()
        load({"_target_": "src.data.digits.load"}, 0.2, 0)
        times.append(1000 * (time.perf_counter() - started))
    print(f"reading the data: {times[0]:.1f} ms for the first trial, {times[1]:.3f} ms after")


if __name__ == "__main__":
    main()
