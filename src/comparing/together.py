"""Several comparisons as one, where they asked for the same: their methods on common seeds."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from src.comparing import statistics, words
from src.comparing.record import Comparison, Doubt, Pair, Row, Run, runs_of
from src.comparing.statistics import Values
from src.comparing.words import against
from src.errors import InputError
from src.metrics import Direction
from src.results.identity import differing

# What may differ: which methods there were, and how long the looks went on.
FREE = ("methods", *(f"protocol.{key}" for key in (
    "searches", "seeds", "looks", "seconds", "reference", "target", "margin", "max_bad",
)))  # fmt: skip


def together(comparisons: Sequence[Comparison]) -> Comparison:
    """The methods of all comparisons, ranked; every pair on the seeds that all methods have.

    Pairs are judged as at a single look: over several comparisons no looks were planned.

    Raises:
        InputError: the comparisons differ in more than their methods, or have no seeds in common.
    """
    first = comparisons[0]
    for other in comparisons[1:]:
        _check(first, other)
    runs, searches, methods, doubts = [], [], [], []
    rows: dict[tuple[str, str], Row] = {}
    source = _sources(comparisons)
    for comparison in comparisons:
        fresh = [name for name in comparison.methods if source[name] is comparison]
        methods += fresh
        runs += [run for run in comparison.runs if run.method in fresh]
        searches += [search for search in comparison.searches if search.method in fresh]
        doubts += against(comparison.withheld, *fresh)
        rows |= {(row.method, row.kind): row for row in comparison.table if row.method in fresh}
    direction = Direction(first.direction)
    values = _common(methods, runs, direction)
    ranking = direction.ranked(methods, lambda name: float(values[name].mean()))
    pairs = statistics.compare({name: values[name] for name in ranking}, direction)
    searches_each, seeds = values[ranking[0]].shape
    rests_on = _basis(comparisons, searches_each, seeds)
    facts = _facts(comparisons, ranking, runs, pairs, doubts, rests_on)
    places = product(("tuned", "default"), ranking)
    table = [rows[name, kind] for kind, name in places if (name, kind) in rows]
    return first.model_copy(update={**facts, "searches": searches, "table": table})


def _sources(comparisons: Sequence[Comparison]) -> dict[str, Comparison]:
    """For each method the comparison that has most of its runs; of equal ones the first."""
    names = [name for comparison in comparisons for name in comparison.methods]
    return {
        name: max(
            (one for one in comparisons if name in one.methods),
            key=lambda one: len(runs_of(one.runs, name, "tuned")),
        )
        for name in dict.fromkeys(names)
    }


def _facts(
    comparisons: Sequence[Comparison],
    ranking: list[str],
    runs: list[Run],
    pairs: list[Pair],
    withheld: list[Doubt],
    basis: str,
) -> dict[str, Any]:
    first = comparisons[0]
    direction = Direction(first.direction)
    return {
        "name": " + ".join(comparison.name for comparison in comparisons),
        "sentence": words.headline(ranking, pairs, first.metric, direction, "", withheld),
        "basis": basis,
        "methods": ranking,
        "withheld": withheld,
        "runs": runs,
        "pairs": pairs,
        "looks": [],
        "ended": "",
        "most_runs": None,
        "missing": [f"{each.name}: {text}" for each in comparisons for text in each.missing],
    }  # fmt: skip


def _basis(comparisons: Sequence[Comparison], searches: int, seeds: int) -> str:
    names = words.listed([comparison.name for comparison in comparisons])
    number = "one search" if searches == 1 else f"{searches} searches"
    return (
        f"Drawn together from {names}, on {number} of each method and the {seeds} seeds that all "
        f"have. {words.luck(searches)}"
    )


def _check(first: Comparison, other: Comparison) -> None:
    mine, theirs = (
        {key: value for key, value in comparison.protocol.items()
         if key not in FREE and not key.startswith("method.")}
        for comparison in (first, other)
    )  # fmt: skip
    if differ := differing(mine, theirs):
        raise InputError(
            f"{first.name} and {other.name} can't be drawn together: {differ[0]}"
            + (f" (and {len(differ) - 1} more)" if differ[1:] else "")
        )


def _common(methods: Sequence[str], runs: Sequence[Run], direction: Direction) -> dict[str, Values]:
    """Each method's values, (searches, seeds), where all methods have them."""
    worst = direction.worst(statistics.finite(run.value for run in runs) or [0.0])
    of: dict[str, list[dict[int, float]]] = {}  # values by seed, for each search of a method
    for name in methods:
        own = runs_of(runs, name, "tuned")
        of[name] = [
            {run.seed: worst if run.value is None else run.value
             for run in own if run.search == search and run.seed is not None}
            for search in range(1 + max((run.search for run in own), default=0))
        ]  # fmt: skip
    shared = {
        count: sorted(set.intersection(*({*by} for own in of.values() for by in own[:count])))
        for count in range(1, 1 + min(map(len, of.values())))
    }
    # Where searches were stopped among their seeds, those count that have most runs together.
    searches = max(shared, key=lambda count: count * len(shared[count]))
    seeds = shared[searches]
    if len(seeds) < 2:
        raise InputError("these comparisons have fewer than two fresh seeds in common")
    return {
        name: np.array([[by[seed] for seed in seeds] for by in own[:searches]])
        for name, own in of.items()
    }
