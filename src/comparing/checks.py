"""Reasons to withhold a verdict, in words."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from statistics import fmean
from typing import NamedTuple

from src.comparing.record import (
    Choices,
    Doubt,
    Interval,
    Pair,
    Run,
    Search,
    Trial,
    runs_of,
)
from src.metrics import Direction, quantity
from src.results.status import BAD, Status

# A method whose space contains another's can be worse only because its search was too short.
CONTAINS = {"momentum": ("sgd",), "nesterov": ("sgd",), "adamw": ("adam",)}
EDGE = 0.05  # of the space's width, in its own scale, from either end
INSIDE = 0.25  # of it, from either end; a trial as good further in speaks against an edge
SATURATED = 0.9995  # beyond this accuracy methods can hardly differ
FEWEST = 4  # complete trials that a winner is chosen from
ENOUGH = 10  # complete trials after which a default that holds its own was tested fairly
HARDLY = 0.1  # share of a constant guess's cost that a winner must save

Space = Mapping[str, Interval | Choices]


class Edge(NamedTuple):
    """The end of its space, low or high, at which the best value of a parameter lies."""

    side: str
    value: float
    space: Interval


def doubts(
    searches: Sequence[Search],
    pairs: Sequence[Pair],
    accuracies: Mapping[str, Sequence[float]],
    max_bad: float,
) -> list[Doubt]:
    """Every reason to withhold the verdict.

    Args:
        searches: one or more of each method.
        pairs: of the tuned methods.
        accuracies: test accuracies of each method's tuned runs.
        max_bad: share of diverged and failed trials that is too many.
    """
    return [
        *at_an_edge(searches),
        *under_tuned(pairs, {search.method: search.space for search in searches}),
        *too_many_bad(searches, max_bad),
        *unequal_budgets(searches),
        *unequal_schedules(searches),
        *saturated(accuracies),
        *too_few_complete(searches),
    ]


def at_an_edge(searches: Sequence[Search]) -> list[Doubt]:
    """Methods of which half of the searches or more end at the same edge.

    Of several searches some end at one by chance; where the space is too narrow, most do.
    """
    made = Counter(search.method for search in searches)
    met: dict[tuple[str, str, str], list[tuple[Search, Edge]]] = {}
    for search in searches:
        for name, edge in edges(search).items():
            if not _as_good_inside(search, name, edge.space):
                met.setdefault((search.method, name, edge.side), []).append((search, edge))
    doubts = []
    for (method, name, _), found in met.items():
        if 2 * len(found) < made[method]:
            continue
        for search, (_, value, space) in found:
            text = (
                f"{search.method}: the best {name}, {value:.3g}, lies at the edge of its space "
                f"[{space.low:g}, {space.high:g}]; the best may lie beyond"
            )
            if space.log:
                text += " (protocol.widen=1 widens the space and goes on)"
            doubts.append(Doubt(check="edge", method=search.method, text=text))
    return doubts


def edges(search: Search) -> dict[str, Edge]:
    """The parameters whose best value lies at an edge."""
    trial = best(search.trials)
    if trial is None:
        return {}
    at_edge = {}
    for name, space in search.space.items():
        if isinstance(space, Choices) or space.low == space.high:  # nothing lies beyond a choice
            continue
        value, position = trial.params[name], _position(trial.params[name], space)
        natural = name.startswith("search.one_minus_") and space.high == 1  # no beta beyond 0
        if position < EDGE or (position > 1 - EDGE and not natural):
            at_edge[name] = Edge("low" if position < EDGE else "high", value, space)
    return at_edge


def _as_good_inside(search: Search, name: str, space: Interval) -> bool:
    """Whether a trial as good as the best lies in the middle half: the parameter matters little.

    Its best value then lies anywhere, at an edge as often as elsewhere. A search is widened all
    the same (`edges`): what it finds must not depend on the margin, which may be another later.
    """
    first = best(search.trials)
    if first is None or first.cost is None or search.margin is None:
        return False
    return any(
        trial.cost <= first.cost + search.margin
        and INSIDE <= _position(trial.params[name], space) <= 1 - INSIDE
        for trial in search.trials
        if trial.state == "complete" and trial.cost is not None
    )


def _position(value: float, space: Interval) -> float:
    """Where a value lies in its space, from 0 to 1, in the space's own scale."""
    scale = math.log if space.log else float
    low, high, own = (scale(item) for item in (space.low, space.high, value))
    return (own - low) / (high - low)


def best(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the lowest cost; None if there is none."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return Direction.MINIMIZE.best(complete, attrgetter("cost"))


def under_tuned(pairs: Sequence[Pair], spaces: Mapping[str, Space]) -> list[Doubt]:
    """Losses to a method that the own space contains, but for those that don't matter."""
    doubts = []
    for pair in pairs:
        for loser, winner, lost in (
            (pair.a, pair.b, pair.verdict == "worse"),
            (pair.b, pair.a, pair.verdict == "better"),
        ):
            if lost and not pair.within_margin and contains(loser, winner, spaces):
                text = (
                    f"{loser} loses to {winner}, which its search space contains: it was searched "
                    "too little (raise protocol.n_trials)"
                )
                doubts.append(Doubt(check="under-tuned", method=loser, text=text))
    return doubts


def contains(loser: str, winner: str, spaces: Mapping[str, Space]) -> bool:
    """Whether the loser's space contains the winner's; widening may have changed either."""
    large_folder, _, large_name = loser.rpartition("/")
    small_folder, _, small_name = winner.rpartition("/")
    inside = (*CONTAINS.get(large_name, ()), large_name.removesuffix("_inclusive"))
    kin = loser != winner and large_folder == small_folder and small_name in inside
    large, small = spaces.get(loser, {}), spaces.get(winner, {})
    return kin and all(_holds(large[name], space) for name, space in small.items() if name in large)


def _holds(large: Interval | Choices, small: Interval | Choices) -> bool:
    if isinstance(large, Interval) and isinstance(small, Interval):
        return large.low <= small.low and large.high >= small.high
    if isinstance(large, Choices) and isinstance(small, Choices):
        return all(choice in large.choices for choice in small.choices)
    return False


def too_many_bad(searches: Sequence[Search], max_bad: float) -> list[Doubt]:
    doubts = []
    for search in searches:
        trials = search.trials
        bad = sum(trial.state in BAD for trial in trials)
        if trials and bad / len(trials) > max_bad:
            text = (
                f"{search.method}: {bad} of {len(trials)} trials diverged or failed; its space "
                "reaches far beyond what works, so little of its budget was a search"
            )
            doubts.append(Doubt(check="bad trials", method=search.method, text=text))
    return doubts


def too_few_complete(searches: Sequence[Search]) -> list[Doubt]:
    """A winner of two or three complete trials was hardly chosen."""
    doubts = []
    for search in searches:
        count = sum(trial.state == "complete" for trial in search.trials)
        if count < FEWEST:
            best = (
                "the only complete trial" if count == 1 else f"the best of {count} complete trials"
            )
            pruned = any(trial.state == Status.PRUNED for trial in search.trials)
            way = "raise protocol.n_trials" + ", or take pruner=none" * pruned
            text = f"{search.method}: its winner is {best}, too few to choose from ({way})"
            doubts.append(Doubt(check="few trials", method=search.method, text=text))
    return doubts


def failed(
    methods: Sequence[str],
    searches: Sequence[Search],
    runs: Sequence[Run],
    direction: Direction,
    margin: float | None,
) -> list[Doubt]:
    """Winners that end no better than their method's default on the same seeds.

    After ten complete trials or more, a default within the margin of the winner is simply good.
    """
    doubts = []
    for name in methods:
        own = [search for search in searches if search.method == name]
        complete = min(
            (sum(trial.state == "complete" for trial in search.trials) for search in own), default=0
        )
        means = _paired_means(runs, name)
        if means is None or direction.better(*means):
            continue
        if complete >= ENOUGH and abs(means[0] - means[1]) <= (margin or 0.0):
            continue
        text = (
            f"{name}: what its search found is no better than its default, which was never tuned; "
            "the search failed (raise protocol.n_trials, or search where the default lies)"
        )
        doubts.append(Doubt(check="failed search", method=name, text=text))
    return doubts


def _paired_means(runs: Sequence[Run], method: str) -> tuple[float, float] | None:
    """Means of a method's winners and of its default, over seeds on which both ended."""
    default = {
        run.seed: run.value for run in runs_of(runs, method, "default") if run.value is not None
    }
    both = [
        (run.value, default[run.seed])
        for run in runs_of(runs, method, "tuned")
        if run.value is not None and run.seed in default
    ]
    if not both:
        return None
    tuned, untuned = zip(*both, strict=True)
    return fmean(tuned), fmean(untuned)


def constant(
    methods: Sequence[str], runs: Sequence[Run], metric: str, guess: Mapping[str, float]
) -> list[Doubt]:
    """Winners that are hardly better than a guess which is the same for every input.

    Args:
        guess: what that guess reaches, by quantity: loss, accuracy.
    """
    kind = quantity(metric)
    if kind not in guess:
        return []
    cost = (lambda value: 1 - value) if kind == "accuracy" else float
    doubts = []
    for name in methods:
        values = [run.value for run in runs_of(runs, name, "tuned") if run.value is not None]
        if values and cost(fmean(values)) > (1 - HARDLY) * cost(guess[kind]):
            text = (
                f"{name}: its winner reaches {fmean(values):.4g}, hardly better than a constant "
                f"guess ({guess[kind]:.4g}); the search failed, or the runs are too short (raise "
                "protocol.n_trials or trainer.epochs)"
            )
            doubts.append(Doubt(check="no better than a guess", method=name, text=text))
    return doubts


def budgets(searches: Sequence[Search]) -> dict[str, int]:
    """The number of trials that count, by search."""
    return {
        f"{search.method} {search.search}": sum(trial.counted for trial in search.trials)
        for search in searches
    }


def unequal_budgets(searches: Sequence[Search]) -> list[Doubt]:
    counts = budgets(searches)
    doubts = []
    if len(set(counts.values())) > 1:
        text = f"the searches had unequal budgets: {counts}"
        doubts.append(Doubt(check="budget", text=text))
    if len({search.shared_hash for search in searches}) > 1:
        text = "the studies were made with different data, models, trainers or objectives"
        doubts.append(Doubt(check="protocol", text=text))
    return doubts


def unequal_schedules(searches: Sequence[Search]) -> list[Doubt]:
    tuned = {search.method: bool(search.schedule) for search in searches}
    names = {way: [name for name, is_so in tuned.items() if is_so is way] for way in (True, False)}
    if not names[True] or not names[False]:
        return []
    text = (
        f"the schedule was searched for {', '.join(names[True])} and not for "
        f"{', '.join(names[False])}: search it for all methods, or for none"
    )
    return [Doubt(check="schedule", text=text)]


def saturated(accuracies: Mapping[str, Sequence[float]]) -> list[Doubt]:
    full = [
        name
        for name, values in accuracies.items()
        if values and sum(values) / len(values) >= SATURATED
    ]
    if len(full) < 2:
        return []
    text = (
        f"{', '.join(full)} all reach an accuracy of {SATURATED:.2%} or more: this task can't "
        "tell them apart; choose a harder one, or a smaller budget"
    )
    return [Doubt(check="saturated", text=text)]
