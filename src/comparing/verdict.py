"""The verdict on searches and runs: a ranked table, pairs, looks and words."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from src.comparing import checks, sequential, sooner, statistics, words
from src.comparing.grids import CURVE, Scale, design, ranked, times_of, values_of
from src.comparing.protocol import Plan
from src.comparing.record import (
    Comparison,
    Doubt,
    Event,
    Look,
    Margin,
    Pair,
    Reached,
    Row,
    Run,
    Search,
    Speed,
    Summary,
    Target,
    Timing,
    runs_of,
)
from src.comparing.rounds import Rounds
from src.comparing.statistics import LEVEL, Values, finite
from src.metrics import Direction, part
from src.results.place import not_comparable

KINDS = ("tuned", "default")
SETTLED, LAST = "no pair is open", "that was the last look"


def judge(
    plan: Plan,
    searches: list[Search],
    runs: list[Run],
    environment: Mapping[str, Any],
    ledger: list[Event],
    now: datetime,
    spent: sequential.Spent | None = None,
    guess: Mapping[str, float] | None = None,
    stopped: str = "",
) -> Comparison:
    """The whole record of searches and runs, each run measured against the target.

    Args:
        spent: shares of the 5% of looks that were made, under this plan or another.
        guess: what a constant guess reaches, by metric.
        stopped: why no further look began, where one was planned.
    """
    protocol, direction = plan.protocol, plan.direction
    scale = Scale.of(plan, runs)
    runs = [_measured(run, scale.target) for run in runs]
    values = values_of(plan, runs, scale.worst)
    ranking = ranked(values, direction, scale.worst)
    values = {name: values[name] for name in ranking}
    course = sequential.follow(values, design(plan, scale, spent))
    timing = _timing(runs)
    ended = stopped or _ended(course)
    pairs = _pairs(plan, course, values, direction, scale.margin or 0.0)
    pairs = _with_speeds(plan, pairs, course, runs, scale.target, timing)
    withheld = [
        *checks.doubts(searches, pairs, _accuracies(plan, runs), protocol.max_bad),
        *_diverged(plan, runs),
        *checks.failed(plan.methods, searches, runs, direction, scale.margin),
        *checks.constant(plan.methods, runs, protocol.metric, guess or {}),
    ]
    commits = sorted({run.commit for run in runs})
    metric = protocol.metric
    measured = {*(f"test_{name}" for name in plan.directions), metric, "area"}
    return Comparison(
        name=plan.name,
        created=now.isoformat("T", "seconds"),
        hash=plan.hash(),
        metric=metric,
        direction=direction,
        directions=plan.directions,
        selection_metric=str(plan.settings()["objective.metric"]),
        sentence=sentence(plan, ranking, pairs, withheld),
        basis=_basis(plan, searches, runs, course, ended),
        margin=Margin(text=str(protocol.margin), value=scale.margin),
        looks=_looks(plan, course, values, pairs, runs, scale.margin or 0.0),
        ended=ended,
        most_runs=_most_runs(plan, course),
        missing=[],
        awaited=[],
        withheld=withheld,
        reference=protocol.reference or plan.methods[0],
        target=Target(metric=CURVE, value=scale.target, given=protocol.target is not None),
        timing=timing,
        protocol=plan.settings(),
        environment={**environment, "commits of the runs": commits},
        ledger=ledger,
        methods=ranking,
        table=[_row(runs, name, kind, measured) for kind in KINDS for name in ranking],
        pairs=pairs,
        searches=searches,
        runs=runs,
    )


def draft(
    plan: Plan,
    rounds: Rounds,
    environment: Mapping[str, Any],
    ledger: list[Event],
    now: datetime,
    guess: Mapping[str, float],
) -> Comparison:
    """The record of a comparison so far; it says what is missing."""
    runs = [*rounds.runs.values()]
    comparison = judge(
        plan, rounds.searches, runs, environment, ledger, now, rounds.spent, guess, rounds.stopped
    )
    if not rounds.searches:
        return comparison.model_copy(update={"missing": ["the searches"]})
    need = None if rounds.stopped else rounds.need()
    if need is None:
        return comparison
    missing = f"the look at {need.seeds} seeds, for which {words.listed(need.methods)} are trained"
    return comparison.model_copy(update={"missing": [missing], "awaited": rounds.awaited()})


def reach_of(pair: tuple[str, str], course: sequential.Course) -> list[sequential.Look]:
    """The looks at which a pair was open."""
    return [look for look in course.looks if any((seen.a, seen.b) == pair for seen in look.pairs)]


def _pairs(
    plan: Plan,
    course: sequential.Course,
    values: Mapping[str, Values],
    direction: Direction,
    margin: float,
) -> list[Pair]:
    """What became of each pair. One look is the fixed design: its numbers are of `compare`."""
    if not course.looks:
        return []
    if _fixed_design(course):
        first = course.looks[0]
        grids = {name: grid[: first.searches, : first.seeds] for name, grid in values.items()}
        fixed = statistics.compare(grids, direction)
        return [_fixed(pair, course.pairs[pair.a, pair.b], len(grids[pair.a])) for pair in fixed]
    looks = {pair: reach_of(pair, course)[-1] for pair in course.pairs}
    count = len(course.pairs)
    return [_seen(seen, looks[pair], values, count, margin) for pair, seen in course.pairs.items()]


def _fixed_design(course: sequential.Course) -> bool:
    """Whether there is a single look, which has the whole of the 5%."""
    return [look.share for look in course.looks] == [1.0]


def _fixed(pair: Pair, seen: sequential.Seen, searches: int) -> Pair:
    """A pair of the fixed design, which may be equivalent, too."""
    changes: dict[str, Any] = {"searches": searches, "within_margin": seen.within}
    if pair.verdict == "undecided" and seen.within:
        changes |= {"verdict": "equivalent", "seeds_to_settle": None, "searches_to_settle": None}
    return pair.model_copy(update=changes)


def _seen(
    seen: sequential.Seen,
    look: sequential.Look,
    values: Mapping[str, Values],
    pairs: int,
    margin: float,
) -> Pair:
    part = (slice(look.searches), slice(look.seeds))
    differences = values[seen.a][part] - values[seen.b][part]
    over_seeds = differences.mean(axis=0)
    spread, level = float(over_seeds.std(ddof=1)), LEVEL / pairs
    effect = float(over_seeds.mean()) / spread if spread > 0 else None
    found = seen.estimate
    seeds = searches = None
    if seen.verdict == "undecided":
        seeds, searches = statistics.to_settle(differences, level, margin - abs(found.value))
    return Pair(
        a=seen.a,
        b=seen.b,
        n=look.seeds,
        searches=look.searches,
        difference=found.value,
        low=_bounded(found.low),
        high=_bounded(found.high),
        p=found.p,
        test=found.test,
        p_holm=seen.corrected,
        effect=effect,
        detectable=statistics.detectable_effect(look.seeds, level) * spread if spread > 0 else None,
        seeds_to_settle=seeds,
        searches_to_settle=searches,
        verdict=seen.verdict,
        within_margin=seen.within,
        speeds=[],
    )


def _bounded(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _looks(
    plan: Plan,
    course: sequential.Course,
    values: Mapping[str, Values],
    pairs: Sequence[Pair],
    runs: Sequence[Run],
    margin: float,
) -> list[Look]:
    """What was seen at each look; at the only one of the fixed design, its pairs."""
    count, found = len(course.pairs), []
    for look in course.looks:
        if _fixed_design(course):
            seen = [pair.model_copy(update={"speeds": []}) for pair in pairs]
        else:
            seen = [_seen(each, look, values, count, margin) for each in look.pairs]
        end = plan.protocol.first_seed + look.seeds
        trained = sum(
            run.kind == "tuned" and (run.seed or 0) < end and run.search < look.searches
            for run in runs
        )
        found.append(
            Look(seeds=look.seeds, searches=look.searches, share=look.share, runs=trained,
                 pairs=seen)
        )  # fmt: skip
    return found


def _with_speeds(
    plan: Plan,
    pairs: Sequence[Pair],
    course: sequential.Course,
    runs: Sequence[Run],
    target: float | None,
    timing: Timing,
) -> list[Pair]:
    """The pairs with how soon each method reaches the target and those near it."""
    if target is None or not pairs:
        return [*pairs]
    looks = {(pair.a, pair.b): reach_of((pair.a, pair.b), course) for pair in pairs}
    asked = [("steps", "step", aim) for aim in sooner.targets(CURVE, target)]
    asked += [("seconds", "train_seconds", target)] if timing.valid else []
    found: dict[tuple[str, str], list[Speed]] = {pair: [] for pair in looks}
    for by, column, aim in asked:
        ratios = sooner.compare(times_of(plan, runs, aim, column), looks)
        for pair, ratio in ratios.items():
            found[pair].append(_speed(by, aim, ratio))
    return [pair.model_copy(update={"speeds": found[pair.a, pair.b]}) for pair in pairs]


def _speed(by: str, target: float, ratio: sooner.Ratio) -> Speed:
    return Speed(
        by=by,
        target=target,
        ratio=_bounded(ratio.value),
        low=ratio.low or None,
        high=_bounded(ratio.high),
        p_holm=ratio.corrected,
        missed=ratio.missed,
        verdict=ratio.verdict,
    )


def _ended(course: sequential.Course) -> str:
    """Why there are no more looks."""
    if course.need is not None:
        return ""
    is_open = any(seen.verdict == "undecided" for seen in course.pairs.values())
    return LAST if is_open else SETTLED


def _most_runs(plan: Plan, course: sequential.Course) -> int | None:
    """Runs of tuned methods, had no look settled anything."""
    return len(plan.methods) * plan.protocol.most_runs if course.looks else None


def _measured(run: Run, target: float | None) -> Run:
    reached = statistics.first_reaching(run.rows, CURVE, target) or {}
    measures = {
        "steps_to_target": reached.get("step"),
        "seconds_to_target": reached.get("train_seconds"),
        "area": statistics.area(run.rows, CURVE),
    }
    return run.model_copy(update=measures)


def _accuracies(plan: Plan, runs: Sequence[Run]) -> dict[str, list[float]]:
    """Accuracies of the tuned runs, on the set of the verdict's metric."""
    accuracy = f"{part(plan.protocol.metric)}_accuracy"
    return {
        name: finite(run.of(accuracy) for run in runs_of(runs, name, "tuned"))
        for name in plan.methods
    }


def _timing(runs: Sequence[Run]) -> Timing:
    shared = sum(run.together > 1 for run in runs)
    if shared:
        text = f"{shared} of {len(runs)} runs were trained at once, so their seconds hold each"
        return Timing(valid=False, text=f"{text} other's; trainer.stack=1 trains one at a time")
    if reason := not_comparable(run.place for run in runs):
        return Timing(valid=False, text=f"made on {reason}: seconds can't be compared")
    busy = sum(not run.idle for run in runs)
    if busy == 0:
        return Timing(valid=True, text="made one at a time on an otherwise idle machine")
    text = f"other programs used the processors during {busy} of {len(runs)} runs"
    return Timing(valid=False, text=f"{text}: seconds can't be compared")


def _row(runs: Sequence[Run], method: str, kind: str, measured: Collection[str]) -> Row:
    group = runs_of(runs, method, kind)

    def summary(name: str) -> Summary:
        return statistics.summary(run.of(name) for run in group)

    def reached(name: str) -> Reached:
        count = sum(run.of(name) is not None for run in group)
        return Reached(**summary(name).model_dump(), reached=count)

    summaries: Any = {name: summary(name) for name in measured}
    return Row(
        method=method,
        kind=kind,
        n=len(group),
        diverged=_count_diverged(group),
        steps_to_target=reached("steps_to_target"),
        seconds_to_target=reached("seconds_to_target"),
        **summaries,
    )


def _diverged(plan: Plan, runs: Sequence[Run]) -> list[Doubt]:
    doubts = []
    for name in plan.methods:
        own = runs_of(runs, name, "tuned")
        if count := _count_diverged(own):
            text = f"{name}: its winner diverged on {count} of the fresh seeds"
            if len({run.search for run in own}) > 1:
                text = f"{name}: its winners diverged in {count} of {len(own)} runs"
            doubts.append(Doubt(check="diverged winner", method=name, text=text))
    return doubts


def _count_diverged(runs: Sequence[Run]) -> int:
    return sum(run.status == "diverged" for run in runs)


def sentence(
    plan: Plan, ranking: Sequence[str], pairs: Sequence[Pair], withheld: Sequence[Doubt]
) -> str:
    """The verdict in at most two sentences; it leaves methods in doubt aside."""
    if not pairs:
        return "No verdict yet: the first look is still to come."
    metric, margin = plan.protocol.metric, str(plan.protocol.margin)
    reference = (plan.protocol.reference or plan.methods[0]) if margin.endswith("%") else ""
    return words.headline(ranking, pairs, metric, plan.direction, margin, withheld, reference)


def _basis(
    plan: Plan, searches: Sequence[Search], runs: Sequence[Run], course: sequential.Course,
    ended: str,
) -> str:  # fmt: skip
    """What the verdict rests on."""
    if not course.looks:
        return ""
    budgets = checks.budgets(searches).values()
    least, most = min(budgets), max(budgets)
    trials = f"{least} to {most} trials" if least < most else f"{most} trial{'s' * (most != 1)}"
    tuned = [runs_of(runs, name, "tuned") for name in plan.methods]
    seeds = [len({run.seed for run in own}) for own in tuned]
    several = [len({run.search for run in own}) for own in tuned]
    planned, metric = plan.protocol.numbers_of_seeds, plan.protocol.metric
    last = ", the most that were planned" if max(seeds) >= planned[-1] else ", at the last look"
    way = "lower" if plan.direction is Direction.MINIMIZE else "higher"
    facts = {
        "problem": plan.problem,
        "better": f"a {way} {words.metric_name(metric)} is better",
        "ended": {SETTLED: ", until no pair was open", LAST: last}.get(ended, "")
        if len(planned) > 1
        else "",
    }
    return words.basis(facts, seeds, several, trials)
