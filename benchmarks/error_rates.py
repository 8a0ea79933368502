"""How often the verdict of a comparison is wrong, and how many seeds it takes: docs/protocol.md.

    python benchmarks/error_rates.py [--comparisons 1000]

Made-up values of four methods on common seeds go through the looks that a comparison makes. In the
first table all methods are the same; in the next two one differs from three alike, by the standard
deviation of its paired differences times the number given. In the last one winners of one method
differ from search to search: what is said about them is true of them, and wrong of the method.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.comparing.sequential import Course, Design, follow, spending
from src.comparing.statistics import Values
from src.metrics import Direction

LOOKS = (10, 20, 40, 80, 160)
METHODS = "abcd"
PAIRS = 6
Generator = np.random.Generator
Draw = Callable[[Generator, tuple[int, int]], Values]


def _rounded(rng: Generator, shape: tuple[int, int]) -> Values:
    """Accuracies on 360 images, by the number of right ones: many are equal."""
    return rng.binomial(360, 0.95, shape).astype(float)


NOISE: Mapping[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed (exponential)": lambda rng, shape: rng.exponential(size=shape),
    "very skewed (log-normal)": lambda rng, shape: rng.lognormal(0, 1.5, shape),
    "heavy-tailed (t, 2 degrees)": lambda rng, shape: rng.standard_t(2, shape),
    "rounded accuracies (ties)": _rounded,
}


LUCK = (("normal", 0.0), ("normal", 0.5), ("normal", 1.0), ("normal", 2.0), ("normal", 4.0),
        ("skewed (exponential)", 2.0), ("heavy-tailed (t, 2 degrees)", 2.0))  # fmt: skip


class Found(NamedTuple):
    """What simulated comparisons came to.

    Args:
        false: share with a difference between methods that are the same.
        power: share of pairs with a difference that were found to differ, with the right sign.
        seeds: mean number of seeds at which these pairs ended.
        equivalent: share of pairs of the same methods called equivalent.
        false_equivalent: share of comparisons with "equivalent" for a pair that differs.
        runs: mean number of runs of a method.
    """

    false: float
    power: float
    seeds: float
    equivalent: float
    false_equivalent: float
    runs: float


class Luck(NamedTuple):
    """How winners differ from search to search.

    Args:
        spread: standard deviation of the difference of two winners of one method, in standard
            deviations of paired differences.
        searches: of each method at the first look.
        more: searches that are added at a look.
        draw: the winners' differences from their method's mean, up to a factor.
    """

    spread: float = 0.0
    searches: int = 1
    more: int = 0
    draw: Draw = NOISE["normal"]


ONE = Luck()


def deviation(draw: Draw) -> float:
    """The standard deviation of the difference of two values."""
    return float(np.std(np.diff(draw(np.random.default_rng(1), (2, 100_000)), axis=0)))


def simulate(
    draw: Draw, shift: float, margin: float, comparisons: int, looks: tuple[int, ...] = LOOKS,
    seed: int = 0, unit: float | None = None, luck: Luck = ONE,
) -> Found:  # fmt: skip
    """Comparisons of a, b and c, which are the same, with d, whose values are higher.

    Args:
        draw: the methods' values on common seeds, but for what a seed gives to all.
        shift: of d, in standard deviations of paired differences.
        margin: in the same unit.
        comparisons: how many.
        looks: numbers of seeds.
        unit: that standard deviation; None to draw it.
        luck: of the searches.
    """
    rng = np.random.default_rng(seed)
    unit = deviation(draw) if unit is None else unit
    design = Design(looks, spending(looks, PAIRS), Direction.MINIMIZE, margin * unit,
                    luck.searches, luck.more)  # fmt: skip
    searches = luck.searches + luck.more * (len(looks) - 1)
    spread = luck.spread * unit / deviation(luck.draw)
    outcomes = []
    for _ in range(comparisons):
        values = draw(rng, (len(METHODS) * searches, looks[-1]))
        of_seeds = rng.integers(-3, 4, looks[-1])  # whole, so that ties stay ties
        grid = values.reshape(len(METHODS), searches, -1) + of_seeds
        if spread:
            grid += spread * luck.draw(rng, (len(METHODS), searches))[..., None]
        grid[-1] += shift * unit
        outcomes.append(follow(dict(zip(METHODS, grid, strict=True)), design))
    return _summary(outcomes, shift)


def _pairs(course: Course) -> dict[str, tuple[str, int, int]]:
    """Each pair's verdict, and the seeds and runs of a method at which it ended."""
    ended = {seen.a + seen.b: look for look in course.looks for seen in look.pairs}
    return {a + b: (seen.verdict, ended[a + b].seeds, ended[a + b].seeds * ended[a + b].searches)
            for (a, b), seen in course.pairs.items()}  # fmt: skip


def _summary(courses: Sequence[Course], shift: float) -> Found:
    outcomes = [*map(_pairs, courses)]
    same = [[ended for pair, ended in pairs.items() if "d" not in pair or not shift]
            for pairs in outcomes]  # fmt: skip
    apart = [[ended for pair, ended in pairs.items() if "d" in pair] for pairs in outcomes]
    decided = ("better", "worse")
    return Found(
        false=_share(any(verdict in decided for verdict, *_ in pairs) for pairs in same),
        power=_share(verdict == "better" for pairs in apart for verdict, *_ in pairs),
        seeds=float(np.mean([seeds for pairs in apart for _, seeds, _ in pairs])),
        equivalent=_share(verdict == "equivalent" for pairs in same for verdict, *_ in pairs),
        false_equivalent=_share(
            any(verdict == "equivalent" for verdict, *_ in pairs) for pairs in apart
        ),
        runs=float(np.mean([runs for pairs in apart for *_, runs in pairs])),
    )


def _share(cases: Iterator[bool]) -> float:
    return float(np.mean([*cases]))


def tables(comparisons: int) -> Iterator[str]:
    """The tables of docs/protocol.md, line by line."""
    yield "| a method against itself, four times | a false difference in |"
    yield "| --- | ---: |"
    for name, draw in NOISE.items():
        yield f"| {name} | {simulate(draw, 0, 0, comparisons).false:.1%} of comparisons |"
    yield ""
    yield "| difference | found | seeds, mean | found by 10 seeds | by 40 seeds |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for shift in (0.5, 1.0, 2.0):
        found, few, fixed = (
            simulate(NOISE["normal"], shift, 0, comparisons, looks)
            for looks in (LOOKS, (10,), (40,))
        )
        yield (f"| {shift:g} standard deviations | {found.power:.1%} | {found.seeds:.1f} | "
               f"{few.power:.1%} | {fixed.power:.1%} |")  # fmt: skip
    yield ""
    heads = ("margin: 1 standard deviation", "no difference", "a difference of the margin")
    yield f"| {' | '.join(heads)} |"
    yield "| --- | ---: | ---: |"
    for name, draw in NOISE.items():
        same, apart = (simulate(draw, shift, 1.0, comparisons) for shift in (0.0, 1.0))
        yield (f"| {name} | {same.equivalent:.1%} of pairs equivalent | "
               f"{apart.false_equivalent:.1%} of comparisons |")  # fmt: skip
    yield ""
    yield from by_luck(comparisons)


def by_luck(comparisons: int) -> Iterator[str]:
    """The table of what is said about methods whose winners differ from search to search."""
    draw = NOISE["normal"]
    heads = ("winners of a method differ by", "one search: false", "auto: false",
             "2 deviations: found", "runs of a method", "a margin of 1: equivalent",
             "falsely")  # fmt: skip
    yield f"| {' | '.join(heads)} |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for kind, spread in LUCK:
        one, auto = (Luck(spread, *searches, NOISE[kind]) for searches in ((1, 0), (3, 3)))
        lone, same, apart, alike, edge = (
            simulate(draw, shift, margin, comparisons, luck=luck)
            for luck, shift, margin in (
                (one, 0, 0), (auto, 0, 0), (auto, 2, 0), (auto, 0, 1), (auto, 1, 1)
            )
        )  # fmt: skip
        yield (f"| {spread:g} deviations, {kind} | {lone.false:.1%} | {same.false:.1%} | "
               f"{apart.power:.1%} | {apart.runs:.0f} | {alike.equivalent:.1%} | "
               f"{edge.false_equivalent:.1%} |")  # fmt: skip


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--comparisons", type=int, default=1000, help="for each row")
    for line in tables(parser.parse_args().comparisons):
        print(line, flush=True)


if __name__ == "__main__":
    main()
