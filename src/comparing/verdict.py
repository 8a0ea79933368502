"""From searches and runs to a ranked table, pairs, and a sentence."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np

from src.comparing import checks, statistics
from src.comparing.conduct import finite
from src.comparing.protocol import Plan
from src.metrics import Direction, direction_of
from src.results.status import Status

CURVE = "val_loss"  # of learning curves and targets: validation data only


def judge(
    plan: Plan,
    searches: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    environment: Mapping[str, Any],
    ledger: list[dict[str, Any]],
) -> dict[str, Any]:
    """The comparison, as comparison.json keeps it; adds to each run what its target says."""
    direction = direction_of(plan.protocol.metric)
    reference = plan.protocol.reference or plan.methods[0]
    given = plan.protocol.target
    target = _median_final(runs, reference) if given is None else given
    for one in runs:
        reached = statistics.first_reaching(one["rows"], CURVE, target)
        one["steps_to_target"] = reached and reached["step"]
        one["seconds_to_target"] = reached and reached["train_seconds"]
        one["area"] = statistics.area(one["rows"], CURVE)
    ranking = _ranking(plan, runs, direction)
    values = _values(plan, runs, direction)
    pairs = statistics.compare({name: values[name] for name in ranking}, direction)
    accuracy = f"{plan.protocol.metric.split('_')[0]}_accuracy"
    accuracies = {
        name: list(finite([one[accuracy] for one in _of(runs, name, "tuned")]))
        for name in plan.methods
    }
    withheld = [
        *checks.doubts(searches, pairs, accuracies, plan.protocol.max_bad),
        *_diverged(plan, runs),
    ]
    metrics = dict.fromkeys(("test_loss", "test_accuracy", plan.protocol.metric))
    table = [
        _line(runs, name, kind, metrics) for kind in ("tuned", "default") for name in plan.methods
    ]
    commits = sorted({one["commit"] for one in runs})
    busy = sum(not one["idle"] for one in runs)
    return {
        "name": plan.name,
        "created": datetime.now().isoformat("T", "seconds"),
        "hash": plan.hash(),
        "metric": plan.protocol.metric,
        "direction": direction.value,
        "selection_metric": str(plan.settings()["objective.metric"]),
        "sentence": sentence(plan, ranking, pairs, withheld, checks.budgets(searches)),
        "withheld": withheld,
        "reference": reference,
        "target": {"metric": CURVE, "value": target, "given": given is not None},
        "timing": {
            "valid": busy == 0,
            "text": "made one at a time on an otherwise idle machine"
            if busy == 0
            else f"other programs used the processors during {busy} of {len(runs)} runs: "
            "seconds can't be compared",
        },
        "protocol": plan.settings(),
        "environment": {**environment, "commits of the runs": commits},
        "ledger": ledger,
        "methods": ranking,
        "table": sorted(table, key=lambda line: (line["kind"] != "tuned", _rank(ranking, line))),
        "pairs": [pair.as_dict() for pair in pairs],
        "searches": searches,
        "runs": "runs.jsonl",
    }


def _of(runs: list[dict[str, Any]], method: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in runs if one["method"] == method and one["kind"] == kind]


def _median_final(runs: list[dict[str, Any]], reference: str) -> float | None:
    """None if all of the reference's runs diverged."""
    finals = [one["rows"][-1][CURVE] for one in _of(runs, reference, "tuned") if one["rows"]]
    values = list(finite(finals))
    return float(median(values)) if values else None


def _values(plan: Plan, runs: list[dict[str, Any]], direction: Direction) -> dict[str, Any]:
    """Each method's values, (searches, seeds). A diverged run counts as the worst that ended."""
    known = list(finite([one["value"] for one in runs])) or [0.0]  # all diverged: all are equal
    worst = direction.worst(known)
    values = {}
    for name in plan.methods:
        grid = np.full((plan.protocol.searches, plan.protocol.seeds), worst)
        for one in _of(runs, name, "tuned"):
            if one["value"] is not None:
                grid[one["search"], one["seed"] - plan.protocol.first_seed] = one["value"]
        values[name] = grid
    return values


def _ranking(plan: Plan, runs: list[dict[str, Any]], direction: Direction) -> list[str]:
    values = _values(plan, runs, direction)
    return direction.ranked(plan.methods, lambda name: float(values[name].mean()))


def _rank(ranking: Sequence[str], line: Mapping[str, Any]) -> int:
    return ranking.index(line["method"])


def _line(
    runs: list[dict[str, Any]], method: str, kind: str, metrics: Iterable[str]
) -> dict[str, Any]:
    mine = _of(runs, method, kind)
    line: dict[str, Any] = {"method": method, "kind": kind, "n": len(mine)}
    line["diverged"] = sum(one["status"] == Status.DIVERGED for one in mine)
    for name in (*metrics, "area"):
        line[name] = statistics.summary(list(finite([one[name] for one in mine])))
    for name in ("steps_to_target", "seconds_to_target"):
        reached = list(finite([one[name] for one in mine]))
        line[name] = {**statistics.summary(reached), "reached": len(reached)}
    return line


def _diverged(plan: Plan, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for name in plan.methods:
        count = sum(one["status"] == Status.DIVERGED for one in _of(runs, name, "tuned"))
        if count:
            text = f"{name}: its winner diverged on {count} of the fresh seeds"
            found.append({"check": "diverged winner", "method": name, "text": text})
    return found


def sentence(
    plan: Plan,
    ranking: Sequence[str],
    pairs: Sequence[statistics.Pair],
    withheld: Sequence[Mapping[str, Any]],
    budgets: Mapping[str, int],
) -> str:
    """The verdict for a reader in a hurry; `budgets` are the trials of each search."""
    choices = plan.configs[plan.methods[0]].hydra.runtime.choices
    count = plan.protocol.searches
    searched = "one search" if count == 1 else f"{count} searches"
    least, most = min(budgets.values()), max(budgets.values())
    trials = f"{least} to {most} trials" if least < most else f"{most} trial{'s' * (most != 1)}"
    how = (
        f"On {choices.data} with {choices.model}, each tuned in {searched} of {trials} and "
        f"trained on {plan.protocol.seeds} fresh seeds"
    )
    told = _told(ranking, pairs)
    if withheld:
        reasons = "; ".join(dict.fromkeys(str(one["text"]) for one in withheld))
        return f"Withheld: {reasons}. {how}, without that doubt: {told}"
    return f"{how}: {told}"


def _told(ranking: Sequence[str], pairs: Sequence[statistics.Pair]) -> str:
    """Who is better than whom, and what is open."""
    wins = [(one.a, one.b) if one.verdict == "better" else (one.b, one.a)
            for one in pairs if one.verdict != "undecided"]  # fmt: skip
    parts = []
    for name in ranking:
        beaten = [loser for winner, loser in wins if winner == name]
        if beaten:
            parts.append(f"{name} is better than {_list(beaten)}")
    told = "; ".join(parts) or "no method is surely better than another"
    undecided = [_open(one) for one in pairs if one.verdict == "undecided"]
    return f"{told}. Undecided: {'; '.join(undecided)}." if undecided else f"{told}."


def _open(pair: statistics.Pair) -> str:
    seeds = pair.seeds_to_settle
    settle = f"about {seeds:,} seeds would settle it" if seeds else "no number of seeds in sight"
    return f"{pair.a} and {pair.b} ({settle})"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
