"""How many trials a second PostgreSQL hands out, by the number of workers.

    python benchmarks/claims.py postgresql://USER@HOST/DATABASE
    python benchmarks/claims.py postgresql://USER@HOST/DATABASE --cpu

Each worker is a process that takes trials of one study as a sweep's worker does, notes a folder,
and reports a value at once: trials without training. The study is new for each row. Connections
are the most that the server had for these workers, read from `pg_stat_activity`.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import optuna
import sqlalchemy
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.trial import TrialState

from src.metrics import Direction
from src.sweeping.storage import absolute
from src.sweeping.study import Outcome, SharedStudy

FORK = multiprocessing.get_context("fork")
SPACE = {name: FloatDistribution(1e-4, 1.0, log=True) for name in ("a", "b", "c")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of a database that may be filled")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="for which each row claims")
    parser.add_argument("--before", type=int, default=0, help="trials that the study has already")
    parser.add_argument("--cpu", action="store_true", help="processor time by the study's size")
    arguments = parser.parse_args()
    if arguments.cpu:
        measure_cpu(arguments.url)
        return
    print(f"{'workers':>7} {'claims/s':>9} {'ms each':>8} {'slowest ms':>10} {'connections':>11}")
    for count in arguments.workers:
        name = f"claims-{count}-{time.time_ns()}"
        row = measure(arguments.url, name, count, arguments.seconds, arguments.before)
        print("{:7} {:9.1f} {:8.1f} {:10.0f} {:11}".format(count, *row), flush=True)


def open_study(url: str, name: str) -> SharedStudy:
    return SharedStudy(
        url=absolute(url), name=name, direction=Direction.MINIMIZE, space=SPACE,
        default=dict.fromkeys(SPACE, 0.1), signature={"hash": "1"}, n_trials=10**9,
        lease_seconds=60, sampler=lambda number: optuna.samplers.RandomSampler(seed=number),
        pruner=optuna.pruners.NopPruner(),
    )  # fmt: skip


FILL = """
WITH made AS (
    INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete)
    SELECT n, :study, 'COMPLETE', now(), now() FROM generate_series(1, :count) n
    RETURNING trial_id, number
), valued AS (
    INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT trial_id, 0, 1.0, 'FINITE' FROM made
), noted AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, 'proposal', number::text FROM made
)
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
SELECT trial_id, name, 0.5, :distribution FROM made, unnest(ARRAY['a', 'b', 'c']) name
"""


def fill(study: SharedStudy, count: int) -> None:
    """Give a study trials that ended before."""
    values = {
        "study": study.study._study_id,
        "count": count,
        "distribution": distribution_to_json(SPACE["a"]),
    }
    with study.storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text(FILL), values)


def measure(
    url: str, name: str, count: int, seconds: float, before: int
) -> tuple[float, float, float, int]:
    """Claims per second of all workers, a claim's median and slowest ms, connections."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    maker = FORK.Process(target=lambda: fill(open_study(url, name), before))
    maker.start()
    maker.join()
    ready, go, taken = FORK.Semaphore(0), FORK.Event(), FORK.Queue()
    processes = [
        FORK.Process(target=work, args=(url, name, ready.release, go, seconds, taken))
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    go.set()
    most, times = 0, list[float]()
    for _ in processes:
        most = max(most, connections(url))
        times += taken.get()
    for process in processes:
        process.join()
    return len(times) / seconds, 1000 * statistics.median(times), 1000 * max(times), most


def work(
    url: str, name: str, ready: Callable[[], None], go: object, seconds: float, taken: object
) -> None:
    """Take trials for so many seconds; hand back how long each took to claim."""
    study, times = open_study(url, name), []
    study.trials()  # what a worker reads when it starts isn't a claim
    ready()
    go.wait()  # type: ignore[attr-defined]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        trial = study.next_trial()
        times.append(time.perf_counter() - started)
        assert trial is not None
        study.note(trial, {"folder": "somewhere", "overrides": []})
        study.finish(trial, Outcome(TrialState.COMPLETE, 1.0, {"seconds": 0.0}))
    taken.put(times)  # type: ignore[attr-defined]


def measure_cpu(url: str) -> None:
    """Print what a worker computes itself: to read a study, to claim a trial, and to end one."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{'trials':>7} {'reading s':>9} {'claim ms':>8} {'rest ms':>7}")
    for before in (0, 1_000, 10_000, 100_000):
        study = open_study(url, f"cpu-{time.time_ns()}")
        fill(study, before)
        started = time.process_time()
        study.trials()
        reading, claim, rest = time.process_time() - started, list[float](), list[float]()
        for _ in range(12):
            started = time.process_time()
            trial, _ = study._claim()
            claimed = time.process_time()
            assert trial is not None and study._suggest(trial)
            study.note(trial, {"folder": "somewhere", "overrides": []})
            study.finish(trial, Outcome(TrialState.COMPLETE, 1.0, {"seconds": 0.0}))
            claim.append(1000 * (claimed - started))
            rest.append(1000 * (time.process_time() - claimed))
        row = (before, reading, statistics.median(claim), statistics.median(rest))
        print("{:7} {:9.1f} {:8.1f} {:7.1f}".format(*row), flush=True)


def connections(url: str) -> int:
    """Connections of the study's workers, without this one."""
    engine = sqlalchemy.create_engine(absolute(url), poolclass=sqlalchemy.NullPool)
    question = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(question).scalar_one()) - 1


if __name__ == "__main__":
    main()
