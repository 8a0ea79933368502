"""How often the verdict of a comparison is wrong, and how many seeds it takes: docs/protocol.md.

    python benchmarks/error_rates.py [--comparisons 1000] [--tables luck]

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
FEWER = 4  # what isn't a small share takes fewer comparisons
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


def by_noise(comparisons: int) -> Iterator[str]:
    """A method against itself."""
    yield "| a method against itself, four times | a false difference in |"
    yield "| --- | ---: |"
    for name, draw in NOISE.items():
        yield f"| {name} | {simulate(draw, 0, 0, comparisons).false:.1%} of comparisons |"


def by_difference(comparisons: int) -> Iterator[str]:
    """What looks find, and fixed designs."""
    yield "| difference | found | seeds, mean | found by 10 seeds | by 40 seeds |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for shift in (0.5, 1.0, 2.0):
        found, few, fixed = (
            simulate(NOISE["normal"], shift, 0, comparisons // FEWER, looks)
            for looks in (LOOKS, (10,), (40,))
        )
        yield (f"| {shift:g} standard deviations | {found.power:.1%} | {found.seeds:.1f} | "
               f"{few.power:.1%} | {fixed.power:.1%} |")  # fmt: skip


def by_margin(comparisons: int) -> Iterator[str]:
    """What is called equivalent."""
    heads = ("margin: 1 standard deviation", "no difference", "a difference of the margin")
    yield f"| {' | '.join(heads)} |"
    yield "| --- | ---: | ---: |"
    for name, draw in NOISE.items():
        same = simulate(draw, 0, 1.0, comparisons // FEWER)
        apart = simulate(draw, 1.0, 1.0, comparisons)
        yield (f"| {name} | {same.equivalent:.1%} of pairs equivalent | "
               f"{apart.false_equivalent:.1%} of comparisons |")  # fmt: skip


def by_luck(comparisons: int) -> Iterator[str]:
    """What is said about methods whose winners differ from search to search."""
    draw, fewer = NOISE["normal"], comparisons // FEWER
    heads = ("winners of a method differ by", "one search: false", "auto: false",
             "auto: falsely equivalent", "2 deviations: found", "runs of a method",
             "a margin of 1: equivalent")  # fmt: skip
    yield f"| {' | '.join(heads)} |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for kind, spread in LUCK:
        auto = Luck(spread, 3, 3, NOISE[kind])
        one = simulate(draw, 0, 0, fewer, luck=Luck(spread, draw=NOISE[kind]))
        same = simulate(draw, 0, 0, comparisons, luck=auto)
        edge = simulate(draw, 1, 1, comparisons, luck=auto)
        apart = simulate(draw, 2, 0, fewer, luck=auto)
        alike = simulate(draw, 0, 1, fewer, luck=auto)
        yield (f"| {spread:g} deviations, {kind} | {one.false:.1%} | {same.false:.1%} | "
               f"{edge.false_equivalent:.1%} | {apart.power:.1%} | {apart.runs:.0f} | "
               f"{alike.equivalent:.1%} |")  # fmt: skip


TABLES: Mapping[str, Callable[[int], Iterator[str]]] = {
    "noise": by_noise, "difference": by_difference, "margin": by_margin, "luck": by_luck
}  # fmt: skip


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    of = f"for each false share; a {FEWER}th of them for the others"
    parser.add_argument("--comparisons", type=int, default=1000, help=of)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=[*TABLES])
    arguments = parser.parse_args()
    for name in arguments.tables:
        for line in TABLES[name](arguments.comparisons):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
