"""What a search's pruner and length cost and find: the winner's loss on fresh seeds.

    python benchmarks/searches.py [--seeds 2] [--methods sgd adam] [--problems digits wine]

For each way (PRUNER:TRIALS, with settings as in asha+pruner.reduction_factor=4:16) it prints, over
problems, methods and seeds of the search: the optimizer's steps over those of the first way, the
winner's mean test loss over that of the first way's winner (geometric mean and its standard error,
then by method), and how many searches had fewer complete trials than a verdict takes. Steps and
losses are exact; they don't depend on the machine or its load. A search that is longer than
another begins as that one does, so of each pruner only the longest is made.
"""

import argparse
import copy
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import optuna
from omegaconf import OmegaConf
from optuna.trial import TrialState

from src.comparing.checks import FEWEST
from src.comparing.protocol import Plan, plan
from src.comparing.refused import distributions
from src.composing import register
from src.config import parse
from src.results.status import COMPLETE
from src.sweeping.samplers import make_sampler
from src.sweeping.study import inside
from src.targets import build
from src.training.run import run, snapshot

FRESH = range(1000, 1003)
FOLDERS = count()


class Trial(NamedTuple):
    """A trial: its settings, its validation loss (None if it was pruned or diverged), its steps."""

    params: dict[str, Any]
    value: float | None
    steps: int


class Way(NamedTuple):
    """A pruner with its overrides, and the number of trials."""

    pruner: str
    trials: int

    @classmethod
    def of(cls, text: str) -> "Way":
        pruner, _, trials = text.rpartition(":")
        return cls(pruner, int(trials))

    def __str__(self) -> str:
        return f"{self.pruner}:{self.trials}"


class Found(NamedTuple):
    """What a search came to: the winner's mean loss, steps of all trials, complete trials."""

    loss: float
    steps: int
    complete: int


def train(
    plan: Plan, method: str, params: Mapping[str, Any], seed: int, folder: Path,
    stop: Callable[[Any], bool] = lambda row: False,
) -> dict[str, Any]:  # fmt: skip
    """A run's result; nothing is kept of it."""
    cfg = copy.deepcopy(plan.job(method))
    for name, value in {**params, "seed": seed, "trainer.evaluate_at_end": ["test"]}.items():
        OmegaConf.update(cfg, name, value, force_add=True)
    place = folder / f"run-{next(FOLDERS)}"
    place.mkdir()
    result = run(parse(cfg), snapshot(cfg), place, stop=stop, quiet=True, keep_last=False)
    shutil.rmtree(place)
    return result


def search(plan: Plan, method: str, seed: int, trials: int, folder: Path) -> Iterator[Trial]:
    """The trials of a search as a comparison makes it, without a database."""
    space, config = plan.spaces[method], parse(plan.job(method))
    study = optuna.create_study(pruner=build("pruner", config.pruner, optuna.pruners.BasePruner))
    values = {key: OmegaConf.select(plan.configs[method], key) for key in space}
    default = {key: space[key].stored(value) for key, value in values.items()}
    if inside(default, distributions(space)):
        study.enqueue_trial(default)
    for number in range(trials):
        study.sampler = make_sampler(config.sampler, distributions(space), seed, number)
        trial, rows = study.ask(distributions(space)), count(1)

        def stop(row: Any, trial: optuna.Trial = trial, rows: Iterator[int] = rows) -> bool:
            trial.report(row["val_loss"], next(rows))
            return trial.should_prune()

        params = {key: space[key].value(stored) for key, stored in trial.params.items()}
        result = train(plan, method, params, seed, folder, stop)
        is_complete = result["status"] in COMPLETE
        value = result["objective"]["value"] if is_complete else None
        study.tell(trial, value, None if is_complete else TrialState.PRUNED)
        yield Trial(params, value, result["steps"])


def cell(ways: Sequence[Way], problem: str, method: str, seed: int) -> dict[Way, Found]:
    """What each way finds for a method on a problem."""
    found = {}
    with tempfile.TemporaryDirectory() as place:

        @cache
        def loss(items: tuple[tuple[str, Any], ...]) -> float:
            """The mean test loss on fresh seeds; a diverged run's is infinite."""
            ends = [train(asked, method, dict(items), seed, Path(place)) for seed in FRESH]
            values = [end["at_end"]["test_loss"] for end in ends]
            return math.inf if None in values else fmean(values)

        for pruner in dict.fromkeys(way.pruner for way in ways):
            name, *settings = pruner.split("+")
            asked = plan([f"methods=[{method},{'adam' if method != 'adam' else 'sgd'}]",
                          f"problem={problem}", f"pruner={name}",
                          *(f"++{setting}" for setting in settings),
                          "trainer.threads=1"])  # fmt: skip
            own = [way for way in ways if way.pruner == pruner]
            most = max(way.trials for way in own)
            trials = [*search(asked, method, seed, most, Path(place))]
            for way in own:
                part = trials[: way.trials]
                complete = [trial for trial in part if trial.value is not None]
                best = min(complete, key=lambda trial: trial.value)
                steps = sum(trial.steps for trial in part)
                found[way] = Found(loss((*best.params.items(),)), steps, len(complete))
    return found


def report(cells: Mapping[tuple[str, str, int], Mapping[Way, Found]]) -> Iterator[str]:
    """A Markdown table, a row for each way."""
    methods = [*dict.fromkeys(method for _, method, _ in cells)]
    first = next(iter(next(iter(cells.values()))))
    heads = ["pruner:trials", "steps", "loss", *methods, f"fewer than {FEWEST} complete"]
    yield f"| {' | '.join(heads)} |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for way in next(iter(cells.values())):
        steps = fmean(each[way].steps / each[first].steps for each in cells.values())
        logs = {name: [math.log(each[way].loss / each[first].loss)
                       for (_, method, _), each in cells.items() if method == name]
                for name in methods}  # fmt: skip
        every = [value for values in logs.values() for value in values]
        error = stdev(every) / math.sqrt(len(every))
        few = sum(each[way].complete < FEWEST for each in cells.values())
        row = [f"{way}", f"{steps:.2f}", f"{math.exp(fmean(every)):.3f} ± {error:.3f}",
               *(f"{math.exp(fmean(logs[name])):.3f}" for name in methods),
               f"{few} of {len(cells)}"]  # fmt: skip
        yield f"| {' | '.join(row)} |"


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    methods = ["sgd", "adam", "muon", "schedule_free_adamw"]
    parser.add_argument("--methods", nargs="+", default=methods)
    problems = ["digits", "wine", "diabetes", "spirals"]
    parser.add_argument("--problems", nargs="+", default=problems)
    later = "asha+pruner.min_early_stopping_rate=2:16"
    ways = ["none:16", "none:8", "asha:16", "asha:32", later]
    parser.add_argument("--ways", nargs="+", default=ways, help="PRUNER:TRIALS")
    parser.add_argument("--seeds", type=int, default=2, help="of the searches")
    arguments = parser.parse_args()
    register()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked, cells = [Way.of(text) for text in arguments.ways], {}
    for seed in range(arguments.seeds):
        for problem in arguments.problems:
            for method in arguments.methods:
                key = problem, method, seed
                cells[key] = cell(asked, *key)
                shown = {str(way): each for way, each in cells[key].items()}
                print(*key, {way: (round(it.loss, 5), it.steps, it.complete)
                             for way, it in shown.items()}, flush=True)  # fmt: skip
        print("\n".join(report(cells)), flush=True)


if __name__ == "__main__":
    main()
