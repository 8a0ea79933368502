"""What can withhold a verdict, each said in words."""

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from src.comparing.statistics import Pair
from src.metrics import Direction
from src.results.status import BAD, Status

# A method whose space contains another's can't be worse than it, except by searching too little.
CONTAINS = {"momentum": ("sgd",), "nesterov": ("sgd",), "adamw": ("adam",)}
EDGE = 0.05  # of the space's width, in its own scale, from either end
SATURATED = 0.9995  # accuracy beyond which methods can hardly differ

Doubt = dict[str, Any]  # check, method, text


def doubts(
    searches: Sequence[Mapping[str, Any]],
    pairs: Sequence[Pair],
    accuracies: Mapping[str, Sequence[float]],
    max_bad: float,
) -> list[Doubt]:
    """Every reason to withhold the verdict.

    Args:
        searches: as in comparison.json.
        pairs: of the tuned methods.
        accuracies: test accuracies of each method's tuned runs.
        max_bad: share of diverged and failed trials that is too many.
    """
    return [
        *at_an_edge(searches),
        *under_tuned(pairs, {one["method"]: one["space"] for one in searches}),
        *too_many_bad(searches, max_bad),
        *unequal_budgets(searches),
        *saturated(accuracies),
    ]


def at_an_edge(searches: Sequence[Mapping[str, Any]]) -> list[Doubt]:
    found = []
    for search in searches:
        for name in edges(search):
            value, space = best(search["trials"])["params"][name], search["space"][name]
            text = (
                f"{search['method']}: the best {name}, {value:.3g}, lies at the edge of its space "
                f"[{space['low']:g}, {space['high']:g}]; the best may lie beyond"
            )
            if space["log"]:
                text += " (protocol.widen=1 widens the space and goes on)"
            found.append({"check": "edge", "method": search["method"], "text": text})
    return found


def edges(search: Mapping[str, Any]) -> dict[str, str]:
    """The parameters whose best value lies at an edge, and which: low or high."""
    trial = best(search["trials"])
    if trial is None:
        return {}
    found = {}
    for name, space in search["space"].items():
        if "choices" in space or space["low"] == space["high"]:  # nothing lies beyond a choice
            continue
        scale = math.log if space["log"] else float
        low, high, value = (
            scale(item) for item in (space["low"], space["high"], trial["params"][name])
        )
        place = (value - low) / (high - low)
        natural = name.startswith("search.one_minus_") and space["high"] == 1  # no beta beyond 0
        if place < EDGE or (place > 1 - EDGE and not natural):
            found[name] = "low" if place < EDGE else "high"
    return found


def best(trials: Sequence[Mapping[str, Any]]) -> Any:
    """The complete trial with the lowest cost; None if there is none."""
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return Direction.MINIMIZE.best(complete, itemgetter("cost"))


def under_tuned(pairs: Sequence[Pair], spaces: Mapping[str, Mapping[str, Any]]) -> list[Doubt]:
    found = []
    for pair in pairs:
        for loser, winner, lost in (
            (pair.a, pair.b, pair.verdict == "worse"),
            (pair.b, pair.a, pair.verdict == "better"),
        ):
            if lost and contains(loser, winner, spaces):
                text = (
                    f"{loser} loses to {winner}, which its search space contains: it was searched "
                    "too little (raise protocol.n_trials)"
                )
                found.append({"check": "under-tuned", "method": loser, "text": text})
    return found


def contains(loser: str, winner: str, spaces: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all that the winner could try was open to the loser; widening may have changed it."""
    (ours, _, large_name), (theirs, _, small_name) = loser.rpartition("/"), winner.rpartition("/")
    inside = (*CONTAINS.get(large_name, ()), large_name.removesuffix("_inclusive"))
    kin = loser != winner and ours == theirs and small_name in inside
    large, small = spaces.get(loser, {}), spaces.get(winner, {})
    return kin and all(_holds(large[name], space) for name, space in small.items() if name in large)


def _holds(large: Mapping[str, Any], small: Mapping[str, Any]) -> bool:
    if "choices" in large or "choices" in small:
        return {*small.get("choices", ())} <= {*large.get("choices", ())}
    return bool(large["low"] <= small["low"] and large["high"] >= small["high"])


def too_many_bad(searches: Sequence[Mapping[str, Any]], max_bad: float) -> list[Doubt]:
    found = []
    for search in searches:
        trials = search["trials"]
        bad = sum(trial["state"] in BAD for trial in trials)
        if trials and bad / len(trials) > max_bad:
            text = (
                f"{search['method']}: {bad} of {len(trials)} trials diverged or failed; its space "
                "reaches far beyond what works, so little of its budget was a search"
            )
            found.append({"check": "bad trials", "method": search["method"], "text": text})
    return found


def budgets(searches: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of each search, the trials that count."""
    return {
        f"{search['method']} {search['search']}": sum(
            trial.get("counted", trial["state"] != Status.FAILED) for trial in search["trials"]
        )
        for search in searches
    }


def unequal_budgets(searches: Sequence[Mapping[str, Any]]) -> list[Doubt]:
    counts = budgets(searches)
    shared = {search["shared_hash"] for search in searches}
    found = []
    if len(set(counts.values())) > 1:
        text = f"the searches had unequal budgets: {counts}"
        found.append({"check": "budget", "method": None, "text": text})
    if len(shared) > 1:
        text = "the studies were made with different data, models, trainers or objectives"
        found.append({"check": "protocol", "method": None, "text": text})
    return found


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
    return [{"check": "saturated", "method": None, "text": text}]
