"""The verdict on searches and runs: a ranked table, pairs and a sentence."""

from collections.abc import Collection, Mapping, Sequence
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
from src.composing import problem_name
from src.metrics import Direction, direction_of, part

KINDS = ("tuned", "default")
CURVE = "val_loss"  # metric of learning curves and targets: validation data only


def judge(
    plan: Plan,
    searches: list[Search],
    runs: list[Run],
    environment: Mapping[str, Any],
    ledger: list[Event],
    now: datetime,
) -> Comparison:
    """The whole record of searches and runs, each run measured against the target."""
    direction = direction_of(plan.protocol.metric, directions=plan.directions)
    reference = plan.protocol.reference or plan.methods[0]
    protocol_target = plan.protocol.target
    target = _median_final(runs, reference) if protocol_target is None else protocol_target
    runs = [_measured(run, target) for run in runs]
    values = _values(plan, runs, direction)
    pairs = statistics.compare(values, direction)
    withheld = [
        *checks.doubts(searches, pairs, _accuracies(plan, runs), plan.protocol.max_bad),
        *_diverged(plan, runs),
    ]
    commits = sorted({run.commit for run in runs})
    metric, ranking = plan.protocol.metric, [*values]
    measured = {*(f"test_{name}" for name in plan.directions), metric, "area"}
    return Comparison(
        name=plan.name,
        created=now.isoformat("T", "seconds"),
        hash=plan.hash(),
        metric=metric,
        direction=direction,
        directions=plan.directions,
        selection_metric=str(plan.settings()["objective.metric"]),
        sentence=sentence(plan, ranking, pairs, withheld, checks.budgets(searches)),
        withheld=withheld,
        reference=reference,
        target=Target(metric=CURVE, value=target, given=protocol_target is not None),
        timing=_timing(runs),
        protocol=plan.settings(),
        environment={**environment, "commits of the runs": commits},
        ledger=ledger,
        methods=ranking,
        table=[_row(runs, name, kind, measured) for kind in KINDS for name in ranking],
        pairs=pairs,
        searches=searches,
        runs=runs,
    )


def _median_final(runs: Sequence[Run], reference: str) -> float | None:
    """The median final value of the reference's runs; None if all diverged."""
    finals = [run.rows[-1][CURVE] for run in runs_of(runs, reference, "tuned") if run.rows]
    values = finite(finals)
    return float(median(values)) if values else None


def _measured(run: Run, target: float | None) -> Run:
    reached = statistics.first_reaching(run.rows, CURVE, target) or {}
    measures = {
        "steps_to_target": reached.get("step"),
        "seconds_to_target": reached.get("train_seconds"),
        "area": statistics.area(run.rows, CURVE),
    }
    return run.model_copy(update=measures)


def _values(plan: Plan, runs: Sequence[Run], direction: Direction) -> dict[str, statistics.Values]:
    """Each method's values, (searches, seeds), the best method first. A diverged run counts as the
    worst run that ended."""
    finite_values = finite(run.value for run in runs) or [0.0]  # all diverged: all are equal
    worst = direction.worst(finite_values)
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
    """Accuracies of the tuned runs, on the set of the verdict's metric."""
    accuracy = f"{part(plan.protocol.metric)}_accuracy"
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
        count = _count_diverged(runs_of(runs, name, "tuned"))
        if count:
            text = f"{name}: its winner diverged on {count} of the fresh seeds"
            doubts.append(Doubt(check="diverged winner", method=name, text=text))
    return doubts


def _count_diverged(runs: Sequence[Run]) -> int:
    return sum(run.status == "diverged" for run in runs)


def sentence(
    plan: Plan,
    ranking: Sequence[str],
    pairs: Sequence[Pair],
    withheld: Sequence[Doubt],
    budgets: Mapping[str, int],
) -> str:
    """The verdict in a sentence; `budgets` are the trials of each search."""
    config = plan.configs[plan.methods[0]]
    choices = config.hydra.runtime.choices
    what = f"{choices.data} with {choices.model}"
    if choices.get("problem") or choices.get("loss") != "cross_entropy":
        what = problem_name(config)
    count = plan.protocol.searches
    searched = "one search" if count == 1 else f"{count} searches"
    least, most = min(budgets.values()), max(budgets.values())
    trials = f"{least} to {most} trials" if least < most else f"{most} trial{'s' * (most != 1)}"
    how = (
        f"On {what}, each tuned in {searched} of {trials} and "
        f"trained on {plan.protocol.seeds} fresh seeds"
    )
    outcome = _outcome(ranking, pairs)
    if withheld:
        reasons = "; ".join(dict.fromkeys(doubt.text for doubt in withheld))
        return f"Withheld: {reasons}. {how}, without that doubt: {outcome}"
    return f"{how}: {outcome}"


def _outcome(ranking: Sequence[str], pairs: Sequence[Pair]) -> str:
    """The decided and the undecided pairs, in words."""
    wins = [(pair.a, pair.b) if pair.verdict == "better" else (pair.b, pair.a)
            for pair in pairs if pair.verdict != "undecided"]  # fmt: skip
    parts = []
    for name in ranking:
        beaten = [loser for winner, loser in wins if winner == name]
        if beaten:
            parts.append(f"{name} is better than {_list(beaten)}")
    outcome = "; ".join(parts) or "no method is surely better than another"
    undecided = [_open(pair) for pair in pairs if pair.verdict == "undecided"]
    return f"{outcome}. Undecided: {'; '.join(undecided)}." if undecided else f"{outcome}."


def _open(pair: Pair) -> str:
    seeds = pair.seeds_to_settle
    settle = f"about {seeds:,} seeds would settle it" if seeds else "no number of seeds in sight"
    return f"{pair.a} and {pair.b} ({settle})"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
