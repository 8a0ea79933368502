"""What a trial costs beside its training, by what the database holds, and where that goes.

    python benchmarks/trials.py              # the random sampler, beside 0 to 10,000 trials
    python benchmarks/trials.py --samplers tpe
    python benchmarks/trials.py --growth     # whole studies of 10 to 10,000 trials, and memory

One worker on an SQLite file trains a logistic regression on the digits. Each row is a process of
its own, forked before any thread starts. Seconds are the processor's, which other work on the
machine changes little; the clock's stand beside them. A part's seconds are those that no part
within it has; `training` holds steps and evaluations, also those at the end.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from optuna.distributions import distribution_to_json

from src import train
from src.sweeping import progress, report, sweeper
from src.sweeping.storage import open_storage
from src.sweeping.study import SharedStudy
from src.training import evaluation, loop, run

FORK = multiprocessing.get_context("fork")
STORED = (0, 100, 1_000, 10_000)
COMMON = ("-m", "sweeps=adam", "data=digits", "trainer.threads=1", "n_jobs=1")
# Of each part the functions that it consists of; whoever calls them doesn't count their seconds.
PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "training": ((evaluation, "evaluate"),),
    "claim": ((SharedStudy, "next_trial"),),
    "note": ((SharedStudy, "note"),),
    "report": ((report.TrialReport, "should_prune"),),
    "tell": ((SharedStudy, "finish"),),
    "show": ((progress.SweepProgress, "update"),),
    "start": ((progress.SweepProgress, "__enter__"),),
    "build": ((run, "assemble"), (run, "Pair")),
    "record": (
        *((run.Record, name) for name in ("config", "provenance", "row", "patch", "result")),
        (run.Session, "facts"),
        (run, "result"),
    ),
    "run": ((sweeper, "run"),),
    "config": ((sweeper.StudySweeper, "_train"),),
    "rest": ((sweeper.StudySweeper, "_work"),),
}


APART = ("training", "start")  # what isn't a trial's cost beside its training


class Meter:
    """Seconds of the processor and of the clock, by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, Counter[str]] = {"cpu": Counter(), "clock": Counter()}
        self.open: list[str] = []
        self.since = self._now()

    def _now(self) -> dict[str, float]:
        return {"cpu": time.process_time(), "clock": time.perf_counter()}

    def _charge(self) -> None:
        now = self._now()
        for kind, seconds in self.seconds.items():
            if self.open:
                seconds[self.open[-1]] += now[kind] - self.since[kind]
        self.since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._charge()
        self.open.append(name)
        try:
            yield
        finally:
            self._charge()
            self.open.pop()

    def watch(self) -> None:
        """Measure the functions of `PARTS`, and the steps of training."""
        for name, functions in PARTS.items():
            for owner, function in functions:
                setattr(owner, function, self._measured(name, getattr(owner, function)))
        run.train = self._steps(loop.train)  # type: ignore[attr-defined]

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any, **settings: Any) -> Any:
            with self.part(name):
                return function(*arguments, **settings)

        return measured

    def _steps(self, train: Callable[..., Any]) -> Callable[..., Any]:
        def steps(*arguments: Any, **settings: Any) -> Iterator[Any]:
            rows = iter(train(*arguments, **settings))
            while True:
                with self.part("training"):
                    row = next(rows, None)
                if row is None:
                    return
                yield row

        return steps


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns in a forked process."""
    with ProcessPoolExecutor(1, FORK) as pool:
        return pool.submit(function, *arguments).result()


def sweep(folder: str, n_trials: int, sampler: str, overrides: list[str]) -> None:
    """Go on with the study until it has so many trials."""
    where = [f"storage=sqlite:///{folder}/studies.db", "study=s", f"hydra.sweep.dir={folder}/s"]
    words = [*COMMON, "model=logreg", f"sampler={sampler}", "pruner=none", *where, *overrides]
    sys.argv = ["train.py", *words, f"n_trials={n_trials}"]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        train.main()


def fill(folder: str, count: int, studies: int) -> None:
    """Give the study trials that ended before, at random points; and the database more studies."""
    storage = open_storage(f"sqlite:///{folder}/studies.db", 60)
    study = optuna.load_study(study_name="s", storage=storage)
    of, now, random = study.trials[-1], "2026-01-01 00:00:00.000000", np.random.default_rng(0)
    names = {name: distribution_to_json(item) for name, item in of.distributions.items()}
    with storage.engine.begin() as connection:

        def write(table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
            marks = ", ".join("?" * len(columns.split(", ")))
            if rows:
                statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
                connection.exec_driver_sql(statement, rows)

        first, ids = of._trial_id + 1, range(of._trial_id + 1, of._trial_id + 1 + count)
        write(
            "trials",
            "trial_id, number, study_id, state, datetime_start, datetime_complete",
            [(i, of.number + 1 + i - first, study._study_id, "COMPLETE", now, now) for i in ids],
        )
        write(
            "trial_values",
            "trial_id, objective, value, value_type",
            [(i, 0, float(random.random()), "FINITE") for i in ids],
        )
        write(
            "trial_params",
            "trial_id, param_name, param_value, distribution_json",
            [
                (i, name, float(random.uniform(item.low, item.high)), names[name])
                for i in ids
                for name, item in of.distributions.items()
            ],
        )
        attributes = {**of.user_attrs, "proposal": None}
        write(
            "trial_user_attributes",
            "trial_id, key, value_json",
            [
                (i, key, json.dumps(value if value is not None else i - first + of.number))
                for i in ids
                for key, value in attributes.items()
            ],
        )
        write(
            "trial_intermediate_values",
            "trial_id, step, intermediate_value, intermediate_value_type",
            [(i, step, 0.5, "FINITE") for i in ids for step in range(1, 3)],
        )
        write("studies", "study_name", [(f"other-{number}",) for number in range(studies)])


def measure(folder: str, stored: int, trials: int, sampler: str, overrides: list[str]) -> Any:
    """Seconds of each part per trial, by kind, beside so many stored trials."""
    meter = Meter()
    meter.watch()
    sweep(folder, 3 + stored + trials, sampler, overrides)
    return {kind: {name: value / trials for name, value in seconds.items()}
            for kind, seconds in meter.seconds.items()}  # fmt: skip


def show(sampler: str, arguments: argparse.Namespace) -> None:
    """A row per number of stored trials."""
    parts = [name for name in PARTS if name not in APART]
    print(f"{sampler}, milliseconds a trial, of the processor ({arguments.trials} trials)")
    heads = "".join(f"{name:>8}" for name in parts)
    print(f"{'stored':>7} {'beside':>8} {'clock':>8} {'training':>8}{heads}")
    for stored in arguments.stored:
        with tempfile.TemporaryDirectory() as folder:
            in_a_process(sweep, folder, 3, "random", arguments.overrides)
            in_a_process(fill, folder, stored, arguments.studies)
            found = in_a_process(
                measure, folder, stored, arguments.trials, sampler, arguments.overrides
            )
        cpu, clock = ({name: 1000 * value for name, value in found[kind].items()}
                      for kind in ("cpu", "clock"))  # fmt: skip
        beside, waited = (
            sum(kind.values()) - sum(kind[name] for name in APART) for kind in (cpu, clock)
        )
        row = "".join(f"{cpu.get(name, 0):8.2f}" for name in parts)
        print(f"{stored:7} {beside:8.1f} {waited:8.1f} {cpu['training']:8.1f}{row}", flush=True)


def whole(folder: str, trials: int, overrides: list[str]) -> list[float]:
    """Milliseconds of each trial but the first, of the processor and by the clock, and the MB by
    which memory grew meanwhile."""
    finish, at = SharedStudy.finish, list[tuple[float, float, float]]()

    def measured(*arguments: Any) -> None:
        finish(*arguments)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        at.append((1000 * time.process_time(), 1000 * time.perf_counter(), memory))

    SharedStudy.finish = measured  # type: ignore[method-assign]
    sweep(folder, trials, "random", overrides)
    (cpu, clock, memory), (end, stop, most), others = at[0], at[-1], len(at) - 1
    return [(end - cpu) / others, (stop - clock) / others, most - memory]


def show_growth(arguments: argparse.Namespace) -> None:
    """A row per length of a study."""
    print("one study; the first trial, which loads and finds out things, isn't counted")
    print(f"{'trials':>7} {'ms each':>8} {'clock':>8} {'MB more':>8}")
    short = ["trainer.epochs=1", *arguments.overrides]
    for trials in arguments.lengths:
        with tempfile.TemporaryDirectory() as folder:
            cpu, clock, grown = in_a_process(whole, folder, trials, short)
        print(f"{trials:7} {cpu:8.1f} {clock:8.1f} {grown:8.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40, help="that are measured in each row")
    parser.add_argument("--stored", type=int, nargs="+", default=STORED)
    parser.add_argument("--studies", type=int, default=0, help="others in the database")
    parser.add_argument("--samplers", nargs="+", default=["random"])
    parser.add_argument("--growth", action="store_true", help="whole studies instead")
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("overrides", nargs="*", help="of the config, for every sweep")
    arguments = parser.parse_args()
    if arguments.growth:
        show_growth(arguments)
        return
    for sampler in arguments.samplers:
        show(sampler, arguments)


if __name__ == "__main__":
    main()
