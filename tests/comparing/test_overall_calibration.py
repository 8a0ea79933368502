"""Error rates of the verdict over problems, by simulation, and the tables of docs.

`python -m tests.comparing.test_overall_calibration` prints docs/several-problems.md's tables.
"""

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from scipy import stats

from src.comparing.overall_verdict import Measured, versus
from src.comparing.record import Comparison

SEEDS = 10
Draw = Callable[[Any, tuple[int, ...]], Any]


def one_sided(rng, shape):
    """Only the first method has an effect: skewed, with mean 0."""
    effects = np.zeros(shape)
    effects[0] = rng.exponential(1, shape[1]) - 1
    return effects


# How much worse a method is on a problem than on the mean of all, in standard deviations between
# seeds: (methods, problems), mean 0, spread 1.
EFFECTS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(0, 1, shape),
    "heavy tails (t, 3 degrees)": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "skewed (exponential)": lambda rng, shape: rng.exponential(1, shape) - 1,
    "skewed, of one method alone": one_sided,
}


SYMMETRIC = [*EFFECTS][:-1]  # the last is the limit that docs tell: its mean is 0, not its middle


def drawn(rng, effects, rounded=False):
    """Problems with these effects, on scales of their own; a seed's error is normal."""
    problems = []
    for number, column in enumerate(effects.T):
        values = column[:, None] + rng.normal(0, 1, (len(column), SEEDS))
        values = np.round(values) if rounded else values * 10 ** rng.uniform(-3, 3)
        methods = [f"m{n}" for n in range(len(column))]
        problem = Measured(str(number), Comparison(name="simulated", methods=methods))
        costs = {
            name: dict(enumerate(row.tolist())) for name, row in zip(methods, values, strict=True)
        }
        vars(problem)["costs"] = costs  # else it is read from runs
        problems.append(problem)
    return problems


@patch("src.comparing.across.improvement", lambda a, b: 0.5)  # the verdict doesn't depend on it
def called(problems):
    """The verdicts on each pair."""
    return [pair.verdict for pair in versus(problems, [*problems[0].costs])]


def share(rng, draw, methods, problems, repetitions, *, any_pair=True, gain=0.0, rounded=False):
    """How often a difference is called; `gain` makes the first method better by so much."""
    count = 0
    for _ in range(repetitions):
        effects = draw(rng, (methods, problems))
        effects[0] -= gain
        verdicts = called(drawn(rng, effects, rounded))
        known = verdicts if any_pair else verdicts[:1]  # of the first method and the second
        count += any(verdict in ("better", "worse") for verdict in known)
    return count / repetitions


def pooled_seeds(rng, problems, repetitions):
    """The same for a t test that takes every seed of every problem for an observation."""
    count = 0
    for _ in range(repetitions):
        effects = rng.normal(0, 1, (2, problems, 1))
        values = effects + rng.normal(0, 1, (2, problems, SEEDS))
        count += stats.ttest_1samp((values[0] - values[1]).ravel(), 0).pvalue < 0.05
    return count / repetitions


@pytest.mark.slow
@pytest.mark.parametrize("name", SYMMETRIC)
@pytest.mark.parametrize(("methods", "problems"), [(2, 8), (2, 20), (4, 8), (4, 20)])
def test_an_effect_with_mean_0_is_called_in_at_most_6_percent(name, methods, problems):
    rng = np.random.default_rng(methods * problems)
    assert share(rng, EFFECTS[name], methods, problems, 1000) <= 0.06


@pytest.mark.slow
def test_rounded_values_with_ties_are_called_no_more_often():
    rng = np.random.default_rng(5)
    assert share(rng, EFFECTS["normal"], 4, 12, 1000, rounded=True) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize(("problems", "least"), [(8, 0.45), (12, 0.7), (20, 0.9)])
def test_more_problems_find_an_effect_as_large_as_its_spread(problems, least):
    rng = np.random.default_rng(problems)
    gain = np.sqrt(2)  # the spread of a difference of two effects
    assert share(rng, EFFECTS["normal"], 2, problems, 500, gain=gain) >= least


def tables(repetitions: int) -> None:
    """Print the tables in Markdown."""
    rng = np.random.default_rng(0)
    print("| effect | methods | 8 problems | 12 problems | 20 problems |")
    print("| --- | --- | --- | --- | --- |")
    for name, draw in EFFECTS.items():
        for methods in (2, 4):
            rates = [share(rng, draw, methods, k, repetitions) for k in (8, 12, 20)]
            print(f"| {name} | {methods} | " + " | ".join(f"{rate:.1%}" for rate in rates) + " |")
    rates = [pooled_seeds(rng, k, repetitions) for k in (8, 12, 20)]
    print("| normal, all seeds pooled | 2 | " + " | ".join(f"{r:.1%}" for r in rates) + " |")
    print("\n| effect by its spread | methods | 8 problems | 12 problems | 20 problems |")
    print("| --- | --- | --- | --- | --- |")
    for size in (0.5, 1.0, 1.5, 2.0):
        for methods in (2, 4, 10):
            rates = [
                share(rng, EFFECTS["normal"], methods, k, repetitions // (methods // 2),
                      any_pair=False, gain=size * np.sqrt(2))
                for k in (8, 12, 20)
            ]  # fmt: skip
            print(f"| {size:g} | {methods} | " + " | ".join(f"{r:.0%}" for r in rates) + " |")


if __name__ == "__main__":
    tables(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
