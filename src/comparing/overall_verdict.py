"""The verdict over several problems, from the comparison on each: numbers, then two sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import combinations

import numpy as np

from src.comparing import across, profiles, sequential, signed_rank
from src.comparing.overall import Overall, Place, Problem, Standing, Versus
from src.comparing.record import Comparison, Pair
from src.comparing.sooner import harder, reach
from src.comparing.statistics import LEVEL, Values, finite, holm
from src.comparing.words import against, listed, metric_name
from src.metrics import Direction

HARDER = (-0.1, -0.05, 0.0, 0.05, 0.1)  # by these shares the targets are moved
FEW = 3  # names that a sentence lists; of more it gives the number
GROUPS = 2  # of methods that it says something about


@dataclass(frozen=True)
class Measured:
    """What the comparison on one problem measured.

    Args:
        name: of the problem.
    """

    name: str
    comparison: Comparison

    @cached_property
    def costs(self) -> dict[str, dict[int, float]]:
        """Each method's costs by seed, the mean of its searches; lower is better.

        A diverged run counts as the worst of all runs that ended, as in the comparison.
        """
        runs = [run for run in self.comparison.runs if run.kind == "tuned"]
        sign = Direction(self.comparison.direction).sign
        worst = max((sign * value for value in finite(run.value for run in runs)), default=0.0)
        by_seed: dict[str, dict[int, list[float]]] = {name: {} for name in self.comparison.methods}
        for run in runs:
            if run.seed is not None and run.method in by_seed:
                cost = worst if run.value is None else sign * run.value
                by_seed[run.method].setdefault(run.seed, []).append(cost)
        return {
            name: {seed: float(np.mean(several)) for seed, several in seeds.items()}
            for name, seeds in by_seed.items()
        }

    @cached_property
    def deviation(self) -> float:
        rows = [np.array([*seeds.values()]) for seeds in self.costs.values() if len(seeds) > 1]
        return across.pooled_deviation(rows) if rows else 0.0

    def mean(self, method: str) -> float:
        return float(np.mean([*self.costs[method].values()]))

    def advantage(self, a: str, b: str) -> float:
        """How much better a ends than b over the seeds that both have."""
        shared = sorted(self.costs[a].keys() & self.costs[b].keys())
        first, second = (np.array([self.costs[name][seed] for seed in shared]) for name in (a, b))
        return across.advantage(first, second, self.deviation)

    def improvement(self, a: str, b: str) -> float:
        rows = [np.array([*self.costs[name].values()]) for name in (a, b)]
        return across.improvement(*rows)

    def doubts(self, *methods: str) -> list[str]:
        """Why what is said about these methods is withheld."""
        return [it.text for it in against(self.comparison.withheld, *methods)]

    def outcome(self, a: str, b: str) -> str:
        """Whether a was found better or worse than b here; else what the pair's verdict is."""
        for pair in self.comparison.pairs:
            if (pair.a, pair.b) == (a, b):
                return pair.verdict
            if (pair.a, pair.b) == (b, a):
                return turned(pair)
        return "undecided"

    def steps(self, method: str, share: float = 0.0) -> float:
        """The median steps to the target; infinite where half of the runs or more missed it."""
        target = self.comparison.target
        if target.value is None:
            return np.inf
        value = harder(target.metric, target.value, share)
        reached = [reach(run.rows, target.metric, value, "step") for run in
                   self.comparison.of(method)]  # fmt: skip
        return profiles.median_time([time.high for time in reached]) if reached else np.inf


def turned(pair: Pair) -> str:
    """The verdict of the second method against the first."""
    return {"better": "worse", "worse": "better"}.get(pair.verdict, pair.verdict)


def judge(
    name: str,
    comparisons: Mapping[str, Comparison],
    folders: Mapping[str, str],
    now: datetime,
) -> Overall:
    """The whole record.

    Args:
        comparisons: on each problem that has a finished one; with the same methods.
        folders: of every problem that was asked for, within the comparison's folder.
    """
    problems = [Measured(problem, comparisons[problem]) for problem in comparisons]
    missing = tuple(problem for problem in folders if problem not in comparisons)
    if not problems:
        sentence = "No problem's comparison is finished."
        return Overall(name=name, created=_text(now), missing=missing, sentence=sentence)
    methods = _ranked(problems)
    refused = refusal(len(methods), len(problems), missing)
    pairs = versus(problems, methods, tested=not missing)
    places = _places(problems, methods)
    overall = Overall(
        name=name,
        created=_text(now),
        refused=refused,
        missing=missing,
        methods=tuple(methods),
        problems=tuple(_problem(problem, folders) for problem in problems),
        places=tuple(places),
        pairs=tuple(pairs),
        standings=tuple(_standings(problems, methods, places)),
        critical=across.critical_difference(len(methods), len(problems)),
    )
    return overall.model_copy(update={"sentence": sentence_of(overall)})


def _text(now: datetime) -> str:
    return now.isoformat("T", "seconds")


def _ranked(problems: Sequence[Measured]) -> list[str]:
    """The methods, best mean rank first."""
    methods = problems[0].comparison.methods
    ranks = across.mean_ranks(_costs(problems, methods))
    order = np.argsort(ranks, kind="stable")
    return [methods[number] for number in order]


def _costs(problems: Sequence[Measured], methods: Sequence[str]) -> Values:
    return np.array([[problem.mean(method) for problem in problems] for method in methods])


def versus(
    problems: Sequence[Measured], methods: Sequence[str], *, tested: bool = True
) -> list[Versus]:
    """Every pair of methods over all problems.

    Args:
        tested: whether a difference may be called.
    """
    names = list(combinations(methods, 2))
    fewest = sequential.fewest_seeds(len(names)) if tested else len(problems) + 1
    pairs = [_versus(problems, a, b, fewest) for a, b in names]
    corrected = holm([1.0 if pair.p is None else pair.p for pair in pairs])
    return [_decided(pair, p_holm) for pair, p_holm in zip(pairs, corrected, strict=True)]


def _versus(problems: Sequence[Measured], a: str, b: str, fewest: int) -> Versus:
    held = [problem.name for problem in problems if problem.doubts(a, b)]
    said = [problem for problem in problems if problem.name not in held]
    outcomes = [problem.outcome(a, b) for problem in said]
    wins, losses = outcomes.count("better"), outcomes.count("worse")
    pair = Versus(a=a, b=b, wins=wins, losses=losses, ties=len(said) - wins - losses,
                  withheld=(*held,), n=len(said))  # fmt: skip
    if not said:
        return pair
    values = np.array([problem.advantage(a, b) for problem in said])
    low, high = signed_rank.interval(values, values, LEVEL)
    measures = {
        "advantage": signed_rank.estimate(values),
        "low": _maybe(low),
        "high": _maybe(high),
        "improvement": float(np.mean([problem.improvement(a, b) for problem in said])),
        "p": signed_rank.p_value(values) if len(said) >= fewest else None,
    }
    return pair.model_copy(update=measures)


def _decided(pair: Versus, p_holm: float) -> Versus:
    if pair.p is None or pair.advantage is None:
        return pair
    better = "better" if pair.advantage > 0 else "worse"
    verdict = better if p_holm < LEVEL else "undecided"
    return pair.model_copy(update={"p_holm": p_holm, "verdict": verdict})


def refusal(methods: int, problems: int, missing: Sequence[str] = ()) -> str:
    """Why nothing is said beyond the problems; empty if there are enough of them.

    While problems are missing there is no test: it would be one of several looks.
    """
    if missing:
        are = "isn't" if len(missing) == 1 else "aren't"
        return f"{_few(missing, 'problems')} {are} finished"
    pairs = methods * (methods - 1) // 2
    fewest = sequential.fewest_seeds(pairs)
    if problems >= fewest:
        return ""
    return (
        f"with {methods} methods it takes {fewest} problems or more to call any difference "
        f"(5% for all {pairs} pairs together), and there are {problems}"
        if pairs > 1
        else f"it takes {fewest} problems or more to call a difference, and there are {problems}"
    )


def _places(problems: Sequence[Measured], methods: Sequence[str]) -> list[Place]:
    places = []
    for problem in problems:
        costs = np.array([problem.mean(method) for method in methods])
        ranks = across.mean_ranks(costs[:, None])
        steps = np.array([problem.steps(method) for method in methods])
        ratios = profiles.ratios(steps)
        best = methods[int(np.argmin(costs))]
        for number, method in enumerate(methods):
            values = np.array([*problem.costs[method].values()])
            sign = Direction(problem.comparison.direction).sign
            others = [other for other in methods if other != method]
            doubt = "; ".join(problem.doubts(method))
            beaten = any(problem.outcome(method, other) == "worse" for other in others)
            place = Place(
                problem=problem.name,
                method=method,
                mean=sign * float(costs[number]),
                std=float(values.std(ddof=1)) if len(values) > 1 else None,
                rank=float(ranks[number]),
                gap=max(0.0, problem.advantage(best, method)),
                unbeaten=not beaten and not doubt,
                doubt=doubt,
                steps=_maybe(steps[number]),
                ratio=_maybe(ratios[number]),
            )
            places.append(place)
    return places


def _maybe(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _standings(
    problems: Sequence[Measured], methods: Sequence[str], places: Sequence[Place]
) -> list[Standing]:
    ranks = across.mean_ranks(_costs(problems, methods))
    scores = {harder: _scores(problems, methods, harder) for harder in HARDER}
    standings = []
    for number, method in enumerate(methods):
        own = [place for place in places if place.method == method]
        standing = Standing(
            method=method,
            rank=float(ranks[number]),
            unbeaten=sum(place.unbeaten for place in own),
            reached=sum(place.steps is not None for place in own),
            scores={f"{harder:g}": row[number] for harder, row in scores.items()},
        )
        standings.append(standing)
    return standings


def _scores(problems: Sequence[Measured], methods: Sequence[str], harder: float) -> list[float]:
    times = [[problem.steps(method, harder) for problem in problems] for method in methods]
    return [profiles.score(row) for row in profiles.ratios(np.array(times))]


def _problem(problem: Measured, folders: Mapping[str, str]) -> Problem:
    comparison = problem.comparison
    counts = [len(seeds) for seeds in problem.costs.values()]
    return Problem(
        name=problem.name,
        folder=folders.get(problem.name, ""),
        metric=comparison.metric,
        direction=comparison.direction,
        deviation=problem.deviation,
        seeds=(min(counts), max(counts)),
        target_metric=comparison.target.metric,
        target=comparison.target.value,
        sentence=comparison.sentence,
    )


def sentence_of(overall: Overall) -> str:
    """The verdict in two sentences: what holds on these problems, and what beyond them."""
    return f"{_here(overall)} {_beyond(overall)}"


def _here(overall: Overall) -> str:
    count = len(overall.problems)
    these = "this problem" if count == 1 else f"these {count} problems"
    first, *others = sorted(overall.standings, key=lambda standing: -standing.unbeaten)
    parts = [f"{first.method} is among the best on {first.unbeaten}"]
    parts += [f"{it.method} on {it.unbeaten}" for it in others[: FEW - 1]]
    if rest := others[FEW - 1 :]:
        number = "the other one" if len(rest) == 1 else f"each of the other {len(rest)}"
        parts.append(f"{number} on {rest[0].unbeaten}{' or fewer' * (len(rest) > 1)}")
    return f"On {these}, {_by(overall)}{listed(parts)}."


def _by(overall: Overall) -> str:
    """Which metric decides, and which way it is better."""
    metrics = {(it.metric, it.direction) for it in overall.problems if it.metric}
    if len(metrics) != 1:
        return "by each problem's own metric, " if metrics else ""
    [(metric, direction)] = metrics
    way = "lower" if direction == Direction.MINIMIZE else "higher"
    return f"by {metric_name(metric)} ({way} is better), "


def _beyond(overall: Overall) -> str:
    if overall.refused:
        return f"Nothing is said about other problems: {overall.refused}."
    groups = _groups(overall)
    if not groups:
        return f"For other problems like these, {len(overall.problems)} don't tell any two apart."
    parts = [
        f"{_few(winners, 'methods')} to end better than {_few(losers, 'others')}"
        for losers, winners in [*groups.items()][:GROUPS]
    ]
    rest = " (the table has more pairs)" if len(groups) > GROUPS else ""
    return f"On other problems like these, expect {', and '.join(parts)}{rest}."


def _groups(overall: Overall) -> dict[tuple[str, ...], list[str]]:
    """The methods that are better than the same others, by those; who beats most comes first."""
    wins: dict[str, list[str]] = {name: [] for name in overall.methods}
    for pair in overall.pairs:
        if pair.verdict in ("better", "worse"):
            winner, loser = (pair.a, pair.b) if pair.verdict == "better" else (pair.b, pair.a)
            wins[winner].append(loser)
    groups: dict[tuple[str, ...], list[str]] = {}
    for winner in sorted(wins, key=lambda name: -len(wins[name])):
        if losers := tuple(name for name in overall.methods if name in wins[winner]):
            groups.setdefault(losers, []).append(winner)
    return groups


def _few(names: Sequence[str], kind: str) -> str:
    """The names; of many their number."""
    return listed(names) if len(names) <= FEW else f"{len(names)} {kind}"
