"""From pairs and runs to sentences, on made-up cases."""

import math
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from src.comparing.record import Doubt, Event, Pair, Run, Summary, Timing
from src.comparing.verdict import _diverged, _outcome, judge, sentence
from tests.comparing.conftest import made_plan, made_run, made_search

NOW = datetime(2026, 1, 2, 3, 4, 5, 6)


def pair(a: str, b: str, verdict: str, seeds: int | None = None) -> Pair:
    numbers = dict.fromkeys(("difference", "low", "high", "p", "p_holm"), 0.0)
    return Pair(a=a, b=b, n=5, test="", effect=None, detectable=None, seeds_to_settle=seeds,
                verdict=verdict, **numbers)  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (
            [pair("a", "b", "better"), pair("a", "c", "better"), pair("c", "b", "worse")],
            "a is better than b and c; b is better than c.",
        ),
        (
            [pair("a", "b", "undecided", 1200), pair("a", "c", "better"), pair("b", "c", "better")],
            "a is better than c; b is better than c. "
            "Undecided: a and b (about 1,200 seeds would settle it).",
        ),
        (
            [pair("a", "b", "undecided")],
            "no method is surely better than another. "
            "Undecided: a and b (no number of seeds in sight).",
        ),
    ],
)
def test_what_is_told(pairs: list[Pair], told: str) -> None:
    assert _outcome(["a", "b", "c"], pairs) == told


@pytest.mark.parametrize(("kind", "found"), [("tuned", 1), ("default", 0)])
def test_a_winner_that_diverges(kind: str, found: int) -> None:
    """A default that diverges says something of the default; a winner withholds the verdict."""
    plan: Any = SimpleNamespace(methods=("a", "b"))
    ended = [("a", "tuned", "completed"), ("b", "tuned", "completed"), ("b", kind, "diverged")]
    runs = [Run(**dict(zip(("method", "kind", "status"), one, strict=True))) for one in ended]
    doubts = _diverged(plan, runs)
    assert len(doubts) == found
    assert all("b: its winner diverged on 1" in one.text for one in doubts)
    assert {one.method for one in doubts} <= {"b"}


def test_a_comparison_in_which_every_run_diverges() -> None:
    """It ends, withheld, with nothing to compare: what it took to find out is kept."""
    runs = [
        made_run(name, seed, None, kind)
        for name in "ab" for kind in ("tuned", "default") for seed in (1000, 1001)
    ]  # fmt: skip
    searches = [made_search(name) for name in "ab"]
    found = judge(made_plan(methods=("a", "b")), searches, runs, {}, [], NOW)
    assert [one.check for one in found.withheld] == ["diverged winner"] * 2
    assert [one.verdict for one in found.pairs] == ["undecided"]
    assert found.target.value is None
    assert {row.test_loss.mean for row in found.table} == {None}


def stored(metric: str, sign: float, searches: int = 1) -> list[Run]:
    """Runs on twelve seeds: c is best and a worst where lower is better, one of c's diverged."""
    rng = np.random.default_rng(8)
    runs = []
    for place, name in enumerate("abc"):
        for search in range(searches):
            for seed in range(1000, 1012):
                value = sign * float(10 - 3 * place + rng.normal())
                value = None if (name, search, seed) == ("c", 0, 1005) else value
                more = {"val_accuracy": None, metric: value}
                runs.append(made_run(name, seed, value, search=search, **more))
    return runs


@pytest.mark.parametrize("searches", [1, 2])
def test_maximized_is_minimized_mirrored(searches: int) -> None:
    """The same runs with every value negated, by an accuracy instead of a loss."""
    judged = []
    for metric, sign in (("val_loss", 1.0), ("val_accuracy", -1.0)):
        plan = made_plan(metric, seeds=12, searches=searches)
        runs = stored(metric, sign, searches)
        found = judge(plan, [made_search(name) for name in "abc"], runs, {}, [], NOW)
        lines = [(one.method, one.n, one.diverged, one.of(metric)) for one in found.table]
        judged.append((found, lines))
    (low, low_lines), (high, high_lines) = judged
    assert (low.direction, high.direction) == ("minimize", "maximize")
    assert low.methods == high.methods == ["c", "b", "a"]
    assert low.sentence == high.sentence
    assert low.withheld == high.withheld
    assert any(one.verdict == "better" for one in low.pairs) == (searches == 1)
    for one, other in zip(low.model_dump()["pairs"], high.model_dump()["pairs"], strict=True):
        signed = ("difference", "low", "high", "effect")
        alike = {key: value for key, value in one.items() if key not in signed}
        assert alike == pytest.approx({key: other[key] for key in alike})
        assert one["difference"] == pytest.approx(-other["difference"])
        assert one["effect"] == pytest.approx(-other["effect"])
        width = one["high"] - one["low"]
        near = 1e-9 if searches == 1 else 0.03 * width  # the draws of searches aren't mirrored
        assert one["low"] == pytest.approx(-other["high"], abs=near)
        assert one["high"] == pytest.approx(-other["low"], abs=near)
    assert [line[0] for line in low_lines] == ["c", "b", "a"] * 2
    for line, other in zip(low_lines, high_lines, strict=True):
        assert line[:3] == other[:3]
        if line[3].mean is not None:
            assert line[3].mean == pytest.approx(-other[3].mean)
            assert line[3].std == pytest.approx(other[3].std)


@pytest.mark.parametrize(("metric", "worst"), [("test_loss", 9.0), ("test_accuracy", 1.0)])
def test_a_diverged_run_counts_as_the_worst_that_ended(metric: str, worst: float) -> None:
    """Also of the defaults' and of other methods; a's own are 2 and 4."""
    ended = [("a", 1000, 2.0, "tuned"), ("a", 1001, 4.0, "tuned"), ("a", 1002, None, "tuned"),
             *(("b", seed, 6.0, "tuned") for seed in (1000, 1001, 1002)),
             ("b", 1000, 9.0, "default"), ("b", 1001, 1.0, "default")]  # fmt: skip
    runs = [made_run(*one) for one in ended]
    plan = made_plan(metric, methods=("a", "b"), seeds=3)
    found = judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)
    (pair,) = found.pairs
    assert {pair.a, pair.b} == {"a", "b"}
    sign = 1 if pair.a == "a" else -1
    assert pair.difference == pytest.approx(sign * ((2 + 4 + worst) / 3 - 6))
    assert found.methods == (["a", "b"] if metric == "test_loss" else ["b", "a"])
    (line,) = [one for one in found.table if (one.method, one.kind) == ("a", "tuned")]
    assert (line.n, line.diverged) == (3, 1)
    assert line.test_loss.model_dump() == {"mean": 3.0, "std": pytest.approx(math.sqrt(2))}


def rows(*losses: float | None) -> list[dict[str, Any]]:
    return [
        {"step": 10 * n, "samples": 100 * n, "train_seconds": 0.5 * n, "val_loss": loss}
        for n, loss in enumerate(losses, 1)
    ]


def with_curves() -> list[Run]:
    """Of b the last tuned losses are 3, 5 and 6, and one diverged; its default ends far below."""
    return [
        made_run("a", 1000, 1.0, rows=rows(9.0, 5.0, 7.0)),
        made_run("a", 1001, 1.0, rows=rows(9.0, 8.0, 6.0)),
        made_run("a", 1002, 1.0, rows=rows(9.0, 7.0)),
        made_run("a", 1003, 1.0, rows=rows(9.0, 6.0)),
        made_run("b", 1000, 2.0, rows=rows(1.0, 3.0)),
        made_run("b", 1001, 2.0, rows=rows(9.0, 5.0)),
        made_run("b", 1002, 2.0, rows=rows(9.0, 6.0)),
        made_run("b", 1003, None, rows=rows(9.0, None)),
        made_run("b", 1000, 9.0, "default", rows=rows(0.25, 0.125)),
        made_run("a", 1000, 9.0, "default", rows=rows(9.0, 4.0)),
    ]


@pytest.mark.parametrize(
    ("asked", "target", "steps"),
    [
        ({"reference": "b"}, 5.0, [20, None, None, None, 10, 20, None, None, 10, 20]),
        ({}, 6.5, [20, 30, None, 20, 10, 20, 20, None, 10, 20]),
        ({"target": 4.0}, 4.0, [None, None, None, None, 10, None, None, None, 10, 20]),
        ({"target": 0.0}, 0.0, [None] * 10),
        ({"reference": "b", "target": 8.0}, 8.0, [20, 20, 20, 20, 10, 20, 20, None, 10, 20]),
    ],
)
def test_the_target(asked: dict[str, Any], target: float, steps: list[int | None]) -> None:
    """What was given, or the median of the last validation losses of the reference's tuned runs;
    the first method is the reference where none is named."""
    runs = with_curves()
    plan = made_plan(methods=("a", "b"), seeds=4, **asked)
    found = judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)
    given = "target" in asked
    assert found.target.model_dump() == {"metric": "val_loss", "value": target, "given": given}
    assert found.reference == asked.get("reference", "a")
    assert [one.steps_to_target for one in found.runs] == steps
    assert [one.seconds_to_target for one in found.runs] == [step and step / 20 for step in steps]


def test_the_table_by_hand() -> None:
    runs = with_curves()
    plan = made_plan(methods=("a", "b"), seeds=4, reference="b")
    found = judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)
    kinds = [(one.method, one.kind, one.n) for one in found.table]
    assert kinds == [("a", "tuned", 4), ("b", "tuned", 4), ("a", "default", 1),
                     ("b", "default", 1)]  # fmt: skip
    a, b = found.table[:2]
    assert a.steps_to_target.model_dump() == {"mean": 20.0, "std": None, "reached": 1}
    steps = {"mean": 15.0, "std": pytest.approx(50**0.5), "reached": 2}
    assert b.steps_to_target.model_dump() == steps
    assert b.seconds_to_target.mean == pytest.approx(0.75)
    assert a.area.mean == pytest.approx((6.5 + 7.75 + 8 + 7.5) / 4)
    assert b.area.mean == pytest.approx((2 + 7 + 7.5) / 3)
    assert a.test_loss == Summary(mean=1.0, std=0.0)
    assert b.diverged == 1
    assert found.table[2].test_loss == Summary(mean=9.0, std=None)


def test_values_stand_by_their_search_and_their_seed() -> None:
    """In whatever order the runs come: pairs are of the same seed."""
    worth = {("a", 0): (1.0, 2.0, 4.0), ("a", 1): (8.0, 16.0, 32.0), ("b", 0): (0.5, 1.5, 2.5),
             ("b", 1): (3.5, 4.5, 5.5)}  # fmt: skip
    runs = [
        made_run(name, 500 + n, value, search=search)
        for (name, search), values in worth.items() for n, value in enumerate(values)
    ]  # fmt: skip
    plan = made_plan(methods=("a", "b"), seeds=3, searches=2, first_seed=500)
    searches = [made_search(name, number) for name in "ab" for number in (0, 1)]
    (pair,) = judge(plan, searches, runs[::-1], {}, [], NOW).pairs
    b, a = (np.array([worth[name, 0], worth[name, 1]]) for name in "ba")
    assert (pair.a, pair.b, pair.n) == ("b", "a", 3)
    assert pair.difference == pytest.approx((b - a).mean())
    over_seeds = (b - a).mean(axis=0)
    assert pair.effect == pytest.approx(over_seeds.mean() / over_seeds.std(ddof=1))


def test_what_a_comparison_keeps() -> None:
    """What it was told, and what of the runs says how far their seconds can be trusted."""
    about: list[dict[str, Any]] = [{}, {"idle": False, "commit": "b"}, {}, {"commit": "a"}]
    seeds = [(name, seed) for name in "ab" for seed in (1000, 1001)]
    runs = [made_run(*one, 1.0, **more) for one, more in zip(seeds, about, strict=True)]
    plan, ledger = made_plan(methods=("a", "b")), [Event(event="e")]
    searches = [made_search(name) for name in "ab"]
    found = judge(plan, searches, runs, {"python": "3"}, ledger, NOW)
    assert found.environment == {"python": "3", "commits of the runs": ["a", "b", "c"]}
    assert found.timing.valid is False
    assert "during 1 of 4 runs" in found.timing.text
    assert (found.name, found.hash, found.ledger) == ("n", "h", ledger)
    assert (found.selection_metric, found.metric) == ("val_loss", "test_loss")
    assert found.created == "2026-01-02T03:04:05"
    assert (found.searches, found.protocol) == (searches, plan.settings())
    parts = (found, found.target, found.timing, *found.table, *found.pairs)
    assert all(one.model_fields_set >= {*type(one).model_fields} for one in parts), "none forgotten"
    runs[1] = made_run("a", 1001, 1.0)
    assert judge(plan, searches, runs, {}, [], NOW).timing == Timing(
        valid=True, text="made one at a time on an otherwise idle machine"
    )


def test_accuracies_of_tuned_runs_saturate_a_task() -> None:
    """By the set of the verdict's metric, whether that is a loss or an accuracy."""

    def found(tuned: float, default: float, metric: str = "test_loss") -> list[str]:
        runs = [
            made_run(name, seed, 1.0, kind, test_accuracy=value, val_accuracy=0.1, val_loss=1.0)
            for name in "ab" for kind, value in (("tuned", tuned), ("default", default))
            for seed in (1000, 1001)
        ]  # fmt: skip
        plan = made_plan(metric, methods=("a", "b"))
        judged = judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)
        return [one.check for one in judged.withheld]

    assert found(1.0, 0.5) == ["saturated"]
    assert found(0.5, 1.0) == []
    assert found(1.0, 1.0, "val_loss") == []


def test_the_sentence() -> None:
    """How it was done, what was found, and every doubt once, before all."""
    plan = made_plan(methods=("a", "b"), seeds=5, searches=2)
    told = [pair("a", "b", "better")]
    how = "On digits with mlp, each tuned in 2 searches of 3 trials and trained on 5 fresh seeds"
    budgets = {"a 0": 3, "b 0": 3}
    assert sentence(plan, ["a", "b"], told, [], budgets) == f"{how}: a is better than b."
    doubts = [Doubt(text=text) for text in "xyx"]
    held = sentence(plan, ["a", "b"], told, doubts, budgets)
    assert held == f"Withheld: x; y. {how}, without that doubt: a is better than b."
    once = made_plan(methods=("a", "b"))
    assert "in one search of 1 trial and" in sentence(once, ["a"], told, [], {"a 0": 1})
    assert "of 2 to 4 trials and" in sentence(once, ["a"], told, [], {"a 0": 4, "b 0": 2})
