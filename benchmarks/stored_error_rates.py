"""How often the verdict is wrong on runs that were really trained: a table of docs/protocol.md.

    python benchmarks/stored_error_rates.py [--comparisons 1000]

Samples of tests/comparing/stored_runs.json, which `stored_runs.py` made, go through the looks of a
comparison. *Against itself*: the runs of one method are dealt out, without repetition, to four
methods. *Among themselves*: the four real methods on a sample of the seeds that all have; what all
seeds together say is what a sample should not contradict.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.error_rates import METHODS, PAIRS, Found, Generator, simulate
from src.comparing.sequential import Design, follow, spending
from src.comparing.statistics import Values
from src.metrics import direction_of, is_metric

FILE = Path(__file__).resolve().parent.parent / "tests" / "comparing" / "stored_runs.json"
SURE = 1e-3  # two-sided: with all seeds a difference surer than this is taken as the truth


class Stored(NamedTuple):
    """The values of a metric on a problem, by method; runs on common seeds, in their order."""

    problem: str
    metric: str
    values: Mapping[str, Values]

    @property
    def seeds(self) -> int:
        return len(next(iter(self.values.values())))


def stored(path: Path = FILE) -> list[Stored]:
    """Every problem and metric; a run that diverged has the worst value of the others."""
    found = []
    for problem, metrics in json.loads(path.read_text())["problems"].items():
        for metric in filter(is_metric, metrics):
            ended = [value for each in metrics[metric].values() for value in each
                     if value is not None]  # fmt: skip
            worst = direction_of(metric).worst(ended)
            values = {name: np.array([worst if value is None else value for value in each])
                      for name, each in metrics[metric].items()}  # fmt: skip
            found.append(Stored(problem, metric, values))
    return found


def against_itself(
    values: Values, shift: float, margin: float, comparisons: int, seed: int = 0
) -> Found:
    """Four disjoint samples of one method's runs, the last one shifted.

    Args:
        values: of the method's runs, 40 or more.
        shift: in standard deviations of the difference of two runs.
        margin: in the same unit.
    """
    most = len(values) // len(METHODS)
    looks = tuple(seeds for seeds in (10, 20, 40) if seeds <= most)

    def dealt(rng: Generator, shape: tuple[int, int]) -> Values:
        return rng.permutation(values)[: math.prod(shape)].reshape(shape)

    unit = math.sqrt(2) * float(values.std(ddof=1))
    return simulate(dealt, shift, margin, comparisons, looks, seed, unit)


class Agreement(NamedTuple):
    """Samples of real methods' seeds beside all of them, over pairs that all seeds tell apart.

    Args:
        pairs: how many there are.
        same: share of verdicts that say so.
        opposite: share of verdicts that say the opposite.
    """

    pairs: int
    same: float
    opposite: float


def among_themselves(known: Stored, comparisons: int, seed: int = 0) -> Agreement:
    """The four methods on half of their common seeds, drawn anew each time."""
    rng, count = np.random.default_rng(seed), known.seeds // 2
    looks = tuple(seeds for seeds in (10, 20, 40, 80) if seeds <= count)
    design = Design(looks, spending(looks, PAIRS), direction_of(known.metric))
    truth = {pair: side for pair in combinations(known.values, 2) if (side := _side(known, *pair))}
    verdicts = []
    for _ in range(comparisons):
        drawn = rng.choice(known.seeds, looks[-1], replace=False)
        course = follow({name: each[None, drawn] for name, each in known.values.items()}, design)
        verdicts += [(course.pairs[pair].verdict, side) for pair, side in truth.items()]
    if not verdicts:
        return Agreement(0, math.nan, math.nan)
    same = sum(said == side for said, side in verdicts) / len(verdicts)
    opposite = sum(said not in (side, "undecided") for said, side in verdicts) / len(verdicts)
    return Agreement(len(truth), same, opposite)


def _side(known: Stored, a: str, b: str) -> str:
    """Whether a is surely better or worse than b by all seeds; empty if neither is sure."""
    differences = known.values[a] - known.values[b]
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    mean = float(differences.mean())
    if abs(mean) <= error * NormalDist().inv_cdf(1 - SURE / 2):
        return ""
    return "better" if direction_of(known.metric).better(mean, 0) else "worse"


def table(comparisons: int, path: Path = FILE) -> Iterator[str]:
    """A row for each problem and metric, over its methods."""
    heads = ("runs", "a false difference", "falsely equivalent", "1 deviation: found",
             "2 deviations: found", "sure pairs: the same", "the opposite")  # fmt: skip
    yield f"| {' | '.join(heads)} |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for known in stored(path):
        each = known.values.values()
        false = [against_itself(it, 0, 0, comparisons).false for it in each]
        edge = [against_itself(it, 1, 1, comparisons).false_equivalent for it in each]
        one, two = ([against_itself(it, shift, 0, comparisons).power for it in each]
                    for shift in (1, 2))  # fmt: skip
        real = among_themselves(known, comparisons)
        yield (f"| {known.problem}, {known.metric} | {_range(false)} | {_range(edge)} | "
               f"{_range(one)} | {_range(two)} | {real.same:.1%} of {real.pairs} | "
               f"{real.opposite:.1%} |")  # fmt: skip


def _range(shares: list[float]) -> str:
    """The least and the most of the methods."""
    return f"{min(shares):.1%} to {max(shares):.1%}"


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--comparisons", type=int, default=1000, help="for each method")
    for line in table(parser.parse_args().comparisons):
        print(line, flush=True)


if __name__ == "__main__":
    main()
