"""Looks at a growing number of seeds: what is decided at each, and who must train on more.

The 5% is spent over looks and pairs. Look k has a share s_k of it, fixed beforehand; the shares sum
to 1. A pair's p at look k counts as p / s_k, and the smallest of these so far is a p-value that
holds whenever one stops: the chance that a null hypothesis ever brings it below x is at most
sum(s_k x) = x. Holm's method corrects it for the pairs, as in a comparison with one look, where
s_1 = 1. Correlation between looks would allow a little more; that it is left unused costs few
seeds (docs/protocol.md) and needs no assumption on how the looks depend on each other.

Sources: Wald's and Bonferroni's inequalities; Pocock-type spending, Lan and DeMets (1983); Holm's
method over looks, Tamhane, Xi and Gou (2021, doi 10.1002/sim.9128).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, repeat
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from src.comparing import signed_rank
from src.comparing.statistics import LEVEL, Values, holm
from src.metrics import Direction

JUST = LEVEL * (1 + 1e-9)  # a look with few seeds has its share to the last of its few sizes
NEARLY = 1 - 1e-9  # of the margin: an end that is the margin but for its last bits is not within it
Verdict = Literal["better", "worse", "equivalent", "undecided"]
Spent = Mapping[tuple[int, int], float]  # shares of looks, by their numbers of searches and seeds


class Estimate(NamedTuple):
    """What is known of a pair's difference.

    Args:
        value: the typical difference, the Hodges-Lehmann estimate.
        low, high: an interval that holds for all looks and pairs together.
        p: of the test at this look, two-sided.
        test: its name.
        p_seeds: of the test over seeds alone.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    p_seeds: float


@dataclass(frozen=True)
class Seen:
    """A pair at a look.

    Args:
        a, b: the methods; the verdict is on a.
        corrected: p, corrected for looks and pairs.
        within: whether the interval lies within the margin.
    """

    a: str
    b: str
    estimate: Estimate
    corrected: float
    verdict: Verdict
    within: bool


@dataclass(frozen=True)
class Look:
    """A look: its number of searches and seeds, its share of the 5%, and the pairs open before."""

    searches: int
    seeds: int
    share: float
    pairs: tuple[Seen, ...]


@dataclass(frozen=True)
class Need:
    """What must be trained before the next look."""

    methods: tuple[str, ...]
    searches: int
    seeds: int


@dataclass(frozen=True)
class Design:
    """What is fixed before anything is seen.

    Args:
        looks: numbers of seeds, increasing; there are as many looks.
        shares: of the level, for one look after another.
        spent: those of looks that were made before, which they keep; `shares` are for the others,
            and where there are none, what is left is shared.
        direction: of the values.
        margin: differences below it don't matter, in units of the values; 0 for none.
        searches: at the first look.
        more_searches: how many are added, instead of seeds, where searches differ more than seeds,
            or where they alone leave a pair open.
    """

    looks: tuple[int, ...]
    shares: tuple[float, ...]
    direction: Direction
    margin: float = 0.0
    searches: int = 1
    more_searches: int = 0
    spent: Spent = field(default_factory=dict)


@dataclass(frozen=True)
class Course:
    """The looks made so far, and what the next one needs; None where there is no next one."""

    looks: tuple[Look, ...] = ()
    need: Need | None = None
    pairs: Mapping[tuple[str, str], Seen] = field(default_factory=dict)


def spending(looks: Sequence[int], pairs: int, left: float = 1.0) -> tuple[float, ...]:
    """Each look's share of the level: of Pocock's type, by the look's number.

    A look with few seeds can't use all of its share, because its smallest p is 2 / 2^n and the next
    are as far apart: what it can't use goes to the next looks.

    Args:
        looks: numbers of seeds.
        pairs: that are compared.
        left: how much of the level there is for them.
    """
    shares, used = [], 0.0
    for number, seeds in enumerate(looks, 1):
        due = left * math.log1p((math.e - 1) * number / len(looks)) - used
        if number < len(looks):
            due = signed_rank.attainable(LEVEL * due / pairs, seeds) * pairs / LEVEL
        shares.append(due)
        used += due
    return tuple(shares)


def as_planned(
    looks: Sequence[int], pairs: int, spent: Spent, searches: int | None
) -> tuple[float, ...]:
    """The shares of the looks to come, if those that were made are the first of this very plan.

    Args:
        looks: as of `spending`, as they are planned now.
        spent: shares of looks that were made, under this plan or another.
        searches: of every look; None where a look may add some.
    """
    planned, places = spending(looks, pairs), sorted(spent)
    made = [spent[place] for place in places]
    alike = searches is None or [*zip(repeat(searches), looks, strict=False)][: len(made)] == places
    if alike and len(made) <= len(planned) and all(map(math.isclose, planned, made)):
        return planned[len(made) :]
    return ()


def _of_the_rest(design: Design, number: int, searches: int, spent: Spent, pairs: int) -> float:
    """The share of a look that was never planned: of what is left, with those still to come.

    Args:
        number: of the look, from 0 on.
        spent: shares of all looks that were made.
    """
    left, ahead = max(0.0, 1.0 - math.fsum(spent.values())), design.looks[number:]
    if not design.more_searches:
        ahead = tuple(seeds for seeds in ahead if (searches, seeds) not in spent)
    return spending(ahead, pairs, left)[0]


def fewest_seeds(pairs: int) -> int:
    """The smallest number of seeds with which a look that has the whole level can decide.

    It is that of problems, where these are what is counted: all signs alike have p = 2 / 2^n, which
    is multiplied by the number of pairs. With five and one pair that is more than 5%.
    """
    return 1 + math.ceil(math.log2(max(pairs, 1) / LEVEL))


def measured(differences: Values, level: float) -> Estimate:
    """A pair's differences, shape (searches, seeds), at one look.

    The test and the interval are over seeds, each the mean of its searches. With several searches
    those of Student's t over the searches' means are added, and the larger p and the wider ends
    count: seeds don't tell how lucky a search was.

    Args:
        level: two-sided, of the interval; 0 gives none.
    """
    seeds = differences.mean(axis=0)
    value, low, high = signed_rank.estimate_and_interval(seeds, level)
    p_seeds = signed_rank.p_value(seeds)
    p, test = p_seeds, "signed rank"
    if len(differences) > 1:
        means = differences.mean(axis=1)
        spread = float(means.std(ddof=1)) / math.sqrt(len(means))
        center = float(means.mean())
        other = 0.0 if center else 1.0  # searches that found the same have no luck
        if spread > 0:
            other = float(2 * stats.t.sf(abs(center) / spread, len(means) - 1))
        half = spread * float(stats.t.isf(level / 2, len(means) - 1)) if spread > 0 else 0.0
        low, high = min(low, center - half), max(high, center + half)
        if other > p:
            p, test = other, "t over searches"
    return Estimate(value, low, high, p, test, p_seeds)


def follow(values: Mapping[str, Values], design: Design) -> Course:
    """The looks that the values allow. It depends on nothing else, so it can be asked at any time.

    Args:
        values: of each method, shape (searches, seeds), NaN where nothing was trained.
        design: of the comparison.
    """
    pairs = [*combinations(values, 2)]
    running = dict.fromkeys(pairs, 1.0)  # the smallest p / share so far
    seen: dict[tuple[str, str], Seen] = {}
    course = Course()
    searches, at, shares, spent = design.searches, 0, iter(design.shares), {**design.spent}
    for number in range(len(design.looks)):
        opened = [pair for pair in pairs if pair not in seen or seen[pair].verdict == "undecided"]
        methods = tuple(name for name in values if any(name in pair for pair in opened))
        seeds = design.looks[at]
        if not opened:
            break
        if not all(_trained(values[name], searches, seeds) for name in methods):
            return replace(course, need=Need(methods, searches, seeds))
        if (place := (searches, seeds)) not in spent:
            share = next(shares, None)
            rest = partial(_of_the_rest, design, number, searches, spent, len(pairs))
            spent[place] = rest() if share is None else share
        share = spent[place]
        level = LEVEL * share / len(pairs)
        for a, b in opened:
            part = (slice(searches), slice(seeds))
            estimate = measured(values[a][part] - values[b][part], level)
            counts = min(1.0, estimate.p / share) if share > 0 else 1.0
            running[a, b] = min(running[a, b], counts)
            seen[a, b] = Seen(a, b, estimate, 1.0, "undecided", False)
        corrected = dict(zip(pairs, holm([running[pair] for pair in pairs]), strict=True))
        for pair in opened:
            seen[pair] = _judged(seen[pair], corrected[pair], design)
        look = Look(searches, seeds, share, tuple(seen[pair] for pair in opened))
        course = Course((*course.looks, look), None, dict(seen))
        made = {name: values[name][:searches, :seeds] for name in methods}
        still = [seen[pair] for pair in opened if seen[pair].verdict == "undecided"]
        if design.more_searches and (lucky(made) or _blocked(still, level)):
            searches += design.more_searches
        else:
            at += 1
    return course


def _trained(values: Values, searches: int, seeds: int) -> bool:
    rows, columns = values.shape
    enough = rows >= searches and columns >= seeds
    return enough and not bool(np.isnan(values[:searches, :seeds]).any())


def _judged(seen: Seen, corrected: float, design: Design) -> Seen:
    estimate = seen.estimate
    room = design.margin * NEARLY
    within = -room < estimate.low and estimate.high < room
    verdict: Verdict = "undecided"
    if corrected <= JUST and estimate.value != 0:
        verdict = "better" if design.direction.better(estimate.value, 0) else "worse"
    elif within:
        verdict = "equivalent"
    return replace(seen, corrected=corrected, verdict=verdict, within=within)


def _blocked(pairs: Sequence[Seen], level: float) -> bool:
    """Whether seeds alone would tell a pair apart, and only the searches leave it open."""
    return any(pair.estimate.p_seeds <= level for pair in pairs)


def lucky(values: Mapping[str, Values]) -> bool:
    """Whether winners differ more from search to search than from seed to seed.

    The variance between searches is that of their means, less what seeds add to it.

    Args:
        values: of each method, shape (searches, seeds), 2 or more of each.
    """
    between, within = 0.0, 0.0
    for grid in values.values():
        noise = float(grid.var(axis=1, ddof=1).mean())
        between += max(0.0, float(grid.mean(axis=1).var(ddof=1)) - noise / grid.shape[1])
        within += noise
    return between > within
