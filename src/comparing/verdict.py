"""From searches and runs to a ranked table, pairs, and a sentence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np

from src.comparing import checks, statistics
from src.comparing.protocol import Plan
from src.comparing.record import (
    Comparison,
    Doubt,
    Event,
    Pair,
    Reached,
    Row,
    Run,
    Search,
    Summary,
    Target,
    Timing,
    runs_of,
)
from src.comparing.statistics import finite
from src.metrics import Direction, direction_of

KINDS = ("tuned", "default")
CURVE = "val_loss"  # of learning curves and targets: validation data only


def judge(
    plan: Plan,
    searches: list[Search],
    runs: list[Run],
    environment: Mapping[str, Any],
    ledger: list[Event],
    now: datetime,
) -> Comparison:
    """The whole record of searches and runs; of the runs with what the target says of each."""
    direction = direction_of(plan.protocol.metric)
    reference = plan.protocol.reference or plan.methods[0]
    given = plan.protocol.target
    target = _median_final(runs, reference) if given is None else given
    runs = [_measured(run, target) for run in runs]
    values = _values(plan, runs, direction)
    pairs = statistics.compare(values, direction)
    withheld = [
        *checks.doubts(searches, pairs, _accuracies(plan, runs), plan.protocol.max_bad),
        *_diverged(plan, runs),
    ]
    commits = sorted({run.commit for run in runs})
    metric, ranking = plan.protocol.metric, [*values]
    return Comparison(
        name=plan.name,
        created=now.isoformat("T", "seconds"),
        hash=plan.hash(),
        metric=metric,
        direction=direction,
        selection_metric=str(plan.settings()["objective.metric"]),
        sentence=sentence(plan, ranking, pairs, withheld, checks.budgets(searches)),
        withheld=withheld,
        reference=reference,
        target=Target(metric=CURVE, value=target, given=given is not None),
        timing=_timing(runs),
        protocol=plan.settings(),
        environment={**environment, "commits of the runs": commits},
        ledger=ledger,
        methods=ranking,
        table=[_row(runs, name, kind, metric) for kind in KINDS for name in ranking],
        pairs=pairs,
        searches=searches,
        runs=runs,
    )


def _median_final(runs: Sequence[Run], reference: str) -> float | None:
    """None if all of the reference's runs diverged."""
    finals = [run.rows[-1][CURVE] for run in runs_of(runs, reference, "tuned") if run.rows]
    values = finite(finals)
    return float(median(values)) if values else None


def _measured(run: Run, target: float | None) -> Run:
    reached = statistics.first_reaching(run.rows, CURVE, target) or {}
    found = {
        "steps_to_target": reached.get("step"),
        "seconds_to_target": reached.get("train_seconds"),
        "area": statistics.area(run.rows, CURVE),
    }
    return run.model_copy(update=found)


def _values(plan: Plan, runs: Sequence[Run], direction: Direction) -> dict[str, statistics.Values]:
    """Each method's values, (searches, seeds), the best method's first. A diverged run counts as
    the worst that ended."""
    known = finite(run.value for run in runs) or [0.0]  # all diverged: all are equal
    worst = direction.worst(known)
    values = {}
    for name in plan.methods:
        grid = np.full((plan.protocol.searches, plan.protocol.seeds), worst)
        for run in runs_of(runs, name, "tuned"):
            if run.value is not None and run.seed is not None:
                grid[run.search, run.seed - plan.protocol.first_seed] = run.value
        values[name] = grid
    ranking = direction.ranked(plan.methods, lambda name: float(values[name].mean()))
    return {name: values[name] for name in ranking}


def _accuracies(plan: Plan, runs: Sequence[Run]) -> dict[str, list[float]]:
    """Of the tuned runs, on the set of the verdict's metric."""
    accuracy = f"{plan.protocol.metric.split('_')[0]}_accuracy"
    return {
        name: finite(run.of(accuracy) for run in runs_of(runs, name, "tuned"))
        for name in plan.methods
    }


def _timing(runs: Sequence[Run]) -> Timing:
    busy = sum(not run.idle for run in runs)
    if busy == 0:
        return Timing(valid=True, text="made one at a time on an otherwise idle machine")
    text = f"other programs used the processors during {busy} of {len(runs)} runs"
    return Timing(valid=False, text=f"{text}: seconds can't be compared")


def _row(runs: Sequence[Run], method: str, kind: str, metric: str) -> Row:
    mine = runs_of(runs, method, kind)

    def summary(name: str) -> Summary:
        return statistics.summary(run.of(name) for run in mine)

    def reached(name: str) -> Reached:
        count = sum(run.of(name) is not None for run in mine)
        return Reached(**summary(name).model_dump(), reached=count)

    measured: Any = {name: summary(name) for name in ("test_loss", "test_accuracy", metric, "area")}
    return Row(
        method=method,
        kind=kind,
        n=len(mine),
        diverged=_count_diverged(mine),
        steps_to_target=reached("steps_to_target"),
        seconds_to_target=reached("seconds_to_target"),
        **measured,
    )


def _diverged(plan: Plan, runs: Sequence[Run]) -> list[Doubt]:
    found = []
    for name in plan.methods:
        count = _count_diverged(runs_of(runs, name, "tuned"))
        if count:
            text = f"{name}: its winner diverged on {count} of the fresh seeds"
            found.append(Doubt(check="diverged winner", method=name, text=text))
    return found


def _count_diverged(runs: Sequence[Run]) -> int:
    return sum(run.status == "diverged" for run in runs)


def sentence(
    plan: Plan,
    ranking: Sequence[str],
    pairs: Sequence[Pair],
    withheld: Sequence[Doubt],
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
        reasons = "; ".join(dict.fromkeys(doubt.text for doubt in withheld))
        return f"Withheld: {reasons}. {how}, without that doubt: {told}"
    return f"{how}: {told}"


def _told(ranking: Sequence[str], pairs: Sequence[Pair]) -> str:
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


def _open(pair: Pair) -> str:
    seeds = pair.seeds_to_settle
    settle = f"about {seeds:,} seeds would settle it" if seeds else "no number of seeds in sight"
    return f"{pair.a} and {pair.b} ({settle})"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
