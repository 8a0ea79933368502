"""The tables of a comparison over several problems."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from src.comparing.overall import Overall, Place, Problem, Standing, Versus
from src.console import stdout
from src.metrics import Direction
from src.reporting.tables import number, print_table, spread, write_table

NEAR = ("-0.05", "0.05")  # other targets of the score that the table has
HERE = "better, alike or worse: as the verdicts on each of these problems say"
BEYOND = (
    "beyond them: whether the same is to be expected of other problems like these, by an exact "
    "signed-rank test with the problems as observations, corrected for the pairs (Holm)"
)
ADVANTAGE = (
    "advantage: by how much the first typically ends better, in standard deviations between the "
    "seeds of a method (the estimate that belongs to that test)"
)
SCORE = (
    "score: AlgoPerf's, the mean from 1 to 4 of the share of problems on which the method needs at "
    "most so many times the steps of the soonest; in brackets for targets 5% easier and 5% harder"
)
BEST = "among the best: no method was found to end better there"


def standing_heading(overall: Overall) -> list[str]:
    return ["method", "mean rank ↓", "among the best on", "target reached on", "score ↑"]


def standings(overall: Overall) -> list[list[str]]:
    """A row of text for each method."""
    count = len(overall.problems)
    return [
        [it.method, f"{it.rank:.2f}", f"{it.unbeaten} of {count}", f"{it.reached} of {count}",
         _score(it)]
        for it in overall.standings
    ]  # fmt: skip


def _score(standing: Standing) -> str:
    near = ", ".join(f"{standing.scores[key]:.2f}" for key in NEAR)
    return f"{standing.scores['0']:.2f} ({near})"


PAIRS = ("pair", "better", "alike", "worse", "withheld", "advantage ↑", "95% interval",
         "better runs", "p (Holm)", "beyond them")  # fmt: skip
RUNS = "better runs: the probability that a run of the first ends better than one of the second"


def pairs(overall: Overall) -> list[list[str]]:
    """A row of text for each pair, as headed by PAIRS."""
    rows = []
    for pair in overall.pairs:
        known = pair.low is not None and pair.high is not None
        ends = f"{_signed(pair.low)} to {_signed(pair.high)}" if known else "–"
        share = "–" if pair.improvement is None else f"{pair.improvement:.0%}"
        p = "–" if pair.p_holm is None else f"{pair.p_holm:.2g}"
        said = [str(it) for it in (pair.wins, pair.ties, pair.losses, len(pair.withheld))]
        rows.append([f"{pair.a} against {pair.b}", *said, _signed(pair.advantage), ends, share, p,
                     pair.verdict])  # fmt: skip
    return rows


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


PLACES = ("problem", "method", "metric", "mean ± standard deviation", "rank", "gap", "steps")


def places(overall: Overall) -> list[list[str]]:
    """A row of text for each method on each problem, as headed by PLACES."""
    problems = {problem.name: problem for problem in overall.problems}
    return [_place(problems[place.problem], place) for place in overall.places]


def _place(problem: Problem, place: Place) -> list[str]:
    mean = number(place.mean or 0.0) if place.std is None else spread(place.mean or 0.0, place.std)
    steps = "–" if place.steps is None else f"{place.steps:,.0f}"
    arrow = "↑" if problem.direction == Direction.MAXIMIZE else "↓"
    metric = f"{problem.metric.replace('_', ' ')} {arrow}"
    return [place.problem, place.method, metric, mean, f"{place.rank:g}", f"{place.gap:.2f}", steps]


def flat_standings(overall: Overall) -> list[list[Any]]:
    scores = [*overall.standings[0].scores] if overall.standings else []
    names = [f"score_at_{100 * float(key):+g}%" for key in scores]
    rows = [[it.method, it.rank, it.unbeaten, it.reached, *it.scores.values()]
            for it in overall.standings]  # fmt: skip
    return [["method", "mean_rank", "unbeaten_on", "reached", *names], *rows]


def flat_pairs(overall: Overall) -> list[list[Any]]:
    names = ["a", "b", "wins", "ties", "losses", "withheld", "n", "advantage", "low", "high", "p",
             "p_holm", "improvement", "verdict"]  # fmt: skip
    return [names, *(_flat(pair, names) for pair in overall.pairs)]


def flat_places(overall: Overall) -> list[list[Any]]:
    names = ["problem", "method", "mean", "std", "rank", "gap", "unbeaten", "steps", "ratio",
             "doubt"]  # fmt: skip
    return [[*names[:4], "problem_rank", *names[5:]],
            *(_flat(place, names) for place in overall.places)]  # fmt: skip


def _flat(of: Versus | Place, names: Sequence[str]) -> list[Any]:
    values = [getattr(of, name) for name in names]
    return [
        ", ".join(value)
        if isinstance(value, tuple)
        else {True: "yes", False: "no"}[value]
        if isinstance(value, bool)
        else value
        for value in values
    ]


def write_tables(overall: Overall, folder: Path) -> None:
    """Write the three tables, each as LaTeX, Markdown, CSV and Parquet."""
    if not overall.problems:
        return
    notes = {"standings": [BEST, SCORE], "pairs": [HERE, ADVANTAGE, RUNS, BEYOND], "places": []}
    heading = standing_heading(overall)
    write_table(folder, "standings", heading, standings(overall), flat_standings(overall),
                below=notes["standings"])  # fmt: skip
    if overall.pairs:
        write_table(folder, "pairs", PAIRS, pairs(overall), flat_pairs(overall),
                    below=notes["pairs"])  # fmt: skip
    write_table(folder, "places", PLACES, places(overall), flat_places(overall))


def print_overall(overall: Overall, console: Console | None = None) -> None:
    """Print the methods' standings and the sentence."""
    console = console or stdout()
    if overall.standings:
        print_table(console, standing_heading(overall), standings(overall))
        for note in (BEST, SCORE):
            console.print(note, markup=False)
    for problem in overall.problems:
        console.print(f"{problem.name}: {problem.sentence}", markup=False)
    for name in overall.missing:
        console.print(f"{name}: not finished", markup=False)
    console.print(f"\n{overall.sentence}", style="bold", markup=False)
