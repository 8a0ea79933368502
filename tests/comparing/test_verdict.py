"""From pairs and runs to sentences, on made-up cases."""

import math
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from src.comparing.record import Doubt, Event, Pair, Run, Summary, Timing
from src.comparing.verdict import LAST, _basis, _diverged, judge, sentence
from tests.comparing.conftest import made_plan, made_run, made_search

NOW = datetime(2026, 1, 2, 3, 4, 5, 6)


def pair(a: str, b: str, verdict: str, seeds: int | None = None) -> Pair:
    numbers = dict.fromkeys(("difference", "low", "high", "p", "p_holm"), 0.0)
    return Pair(a=a, b=b, n=5, test="", effect=None, detectable=None, seeds_to_settle=seeds,
                verdict=verdict, **numbers)  # fmt: skip


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
    words = (("lower", "higher"), ("loss", "accuracy"))
    mirrored = low.sentence
    for word, other_word in words:
        mirrored = mirrored.replace(word, other_word)
    assert mirrored == high.sentence
    assert low.withheld == high.withheld
    assert any(one.verdict == "better" for one in low.pairs) == (searches == 1)
    for one, other in zip(low.model_dump()["pairs"], high.model_dump()["pairs"], strict=True):
        signed = ("difference", "low", "high", "effect", "speeds")
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
        ({"reference": "b"}, 5.8, [20, None, None, None, 10, 20, None, None, 10, 20]),
        ({}, 7.0, [20, 30, 20, 20, 10, 20, 20, None, 10, 20]),
        ({"target": 4.0}, 4.0, [None, None, None, None, 10, None, None, None, 10, 20]),
        ({"target": 0.0}, 0.0, [None] * 10),
        ({"reference": "b", "target": 8.0}, 8.0, [20, 20, 20, 20, 10, 20, 20, None, 10, 20]),
    ],
)
def test_the_target(asked: dict[str, Any], target: float, steps: list[int | None]) -> None:
    """What was given, or the 90% quantile of the last validation losses of the reference's tuned
    runs: of 3, 5, 6 and of 6, 6, 7, 7; the first method is the reference where none is named."""
    runs = with_curves()
    plan = made_plan(methods=("a", "b"), seeds=4, **asked)
    found = judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)
    given = "target" in asked
    told = {"metric": "val_loss", "value": pytest.approx(target), "given": given}
    assert found.target.model_dump() == told
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
    runs[1] = made_run("a", 1001, 1.0, place={"node": "n", "cpu": "A", "shared": True})
    assert judge(plan, searches, runs, {}, [], NOW).timing == Timing(
        valid=False,
        text="made on machines that workers shared: seconds can't be compared",
    )


def test_accuracies_of_tuned_runs_saturate_a_task() -> None:
    """By the set of the verdict's metric, whether that is a loss or an accuracy."""

    def found(tuned: float, default: float, metric: str = "test_loss") -> list[str]:
        runs = [
            made_run(name, seed, 1.0 + (kind == "default"), kind, test_accuracy=value,
                     val_accuracy=0.1, val_loss=1.0)
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
    """The first reason stands before it; what it rests on stands beside it."""
    plan = made_plan(methods=("a", "b"), seeds=5, searches=2)
    told = [pair("a", "b", "better")]
    text = "a is best: its test loss ends lower than that of every other method."
    assert sentence(plan, ["a", "b"], told, []) == f"{text} b ends with a higher test loss."
    doubts = [Doubt(text=text) for text in "xyx"]
    held = sentence(plan, ["a", "b"], told, doubts)
    assert held == f"Withheld: x (and 1 more). Without these doubts: {text}"
    assert sentence(plan, ["a", "b"], [], []) == "No verdict yet: the first look is still to come."


def test_what_it_rests_on() -> None:
    runs = [made_run(name, seed, 1.0 + seed) for name in "ab" for seed in (1000, 1001)]
    searches = [made_search(name) for name in "ab"]
    basis = judge(made_plan(methods=("a", "b")), searches, runs, {}, [], NOW).basis
    assert basis == (
        "On digits with mlp; a lower test loss is better. Each method was tuned in one search of "
        "4 trials and trained on 2 fresh seeds. The luck of a search is not in it: another search "
        "may find another winner, and so decide otherwise (protocol.searches=auto makes several)."
    )


def at_looks(shift: float, seeds: int = 20, noise: float = 1.0, **more: Any) -> Any:
    """a and b on so many seeds with looks at 10 and 20; b's values are higher by the shift."""
    rng = np.random.default_rng(1)
    runs = [
        made_run(name, 1000 + seed, 10 + noise * float(rng.normal()) + shift * (name == "b"))
        for name in "ab" for seed in range(seeds)
    ]  # fmt: skip
    plan = made_plan(methods=("a", "b"), seeds="auto", **more)
    return judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)


def test_a_verdict_after_looks() -> None:
    """Decided at the first look; what is there beyond it doesn't count."""
    found = at_looks(shift=9.0)
    (pair,) = found.pairs
    assert (pair.a, pair.b, pair.verdict, pair.n) == ("a", "b", "better", 10)
    assert [look.seeds for look in found.looks] == [10]
    assert found.looks[0].pairs[0].verdict == "better"
    assert (found.looks[0].runs, found.most_runs, found.ended) == (20, 40, "no pair is open")
    assert pair.low is not None and pair.low <= pair.difference <= pair.high < 0
    assert pair.seeds_to_settle is None


def test_searches_in_the_place_of_seeds() -> None:
    """The last look may come with fewer seeds than were planned, and more searches."""
    runs = [
        made_run(name, 1000 + seed, 1.0 + 0.1 * seed + search, search=search)
        for name in "ab" for search in range(2 if name == "a" else 3) for seed in range(10)
    ]  # fmt: skip
    searches = [made_search(name, number) for name in "ab" for number in range(3)]
    plan = made_plan(methods=("a", "b"), seeds="auto", looks=[10, 20])
    course: Any = SimpleNamespace(looks=("the third",))
    text = _basis(plan, searches, runs, course, LAST)
    assert "in 2 to 3 searches of" in text and "on 10 fresh seeds, at the last look." in text


def test_a_pair_that_stays_open() -> None:
    """... says how many seeds would do; its interval narrows from look to look."""
    found = at_looks(shift=0.5)
    (pair,) = found.pairs
    assert (pair.verdict, pair.n) == ("undecided", 20)
    assert pair.seeds_to_settle > 20
    first, second = (look.pairs[0] for look in found.looks)
    assert second.high - second.low < first.high - first.low
    assert found.ended == "that was the last look"
    assert "the most that were planned" in found.basis


@pytest.mark.parametrize("settings", [{"seeds": "auto", "looks": [10, 20]}, {"seeds": 20}])
@pytest.mark.parametrize(
    ("luck", "noise", "open_in"),
    [((1.0, 4.0, 0.5, 3.0), 0.5, ("searches",)), ((2.0, 2.1, 2.2, 2.3), 24.0, ("seeds",)),
     ((1.0, 4.0, 0.5, 3.0), 24.0, ("seeds", "searches"))],
)  # fmt: skip
def test_what_would_settle_a_pair_with_several_searches(
    settings: dict[str, Any], luck: tuple[float, ...], noise: float, open_in: tuple[str, ...]
) -> None:
    """More searches, more seeds, or both, whatever leaves it open: by a t test with 80% power."""
    chance = np.random.default_rng(0).normal(size=20)
    apart = {"a": (0.0,) * 4, "b": luck}
    values = {name: [own + noise * chance * (name == "b") for own in apart[name]] for name in "ab"}
    runs = [
        made_run(name, 1000 + seed, values[name][search][seed], search=search)
        for name in "ab" for search in range(4) for seed in range(20)
    ]  # fmt: skip
    searches = [made_search(name, number) for name in "ab" for number in range(4)]
    plan = made_plan(methods=("a", "b"), searches=4, margin=0.0, **settings)
    (pair,) = judge(plan, searches, runs, {}, [], NOW).pairs
    grid = np.array(values["b"])
    told = {"seeds": pair.seeds_to_settle, "searches": pair.searches_to_settle}
    for name, axis in (("seeds", 0), ("searches", 1)):
        one = grid.mean(axis=axis)
        effect = one.mean() / one.std(ddof=1)
        powers = (TTestPower().power(effect, count, 0.05) for count in range(2, 10_000))
        needed = 2 + next(at for at, power in enumerate(powers) if power >= 0.8)
        assert (needed > len(one)) == (name in open_in)
        assert told[name] == (needed if name in open_in else None)


@pytest.mark.parametrize(
    ("margin", "value", "verdict"), [("5%", 0.5, "equivalent"), (0.02, 0.02, "undecided")]
)
def test_the_margin(margin: str | float, value: float, verdict: str) -> None:
    """A share of the reference's mean, which is near 10, or a number."""
    found = at_looks(shift=0.0, noise=0.1, margin=margin)
    assert found.margin.value == pytest.approx(value, rel=0.02)
    assert found.pairs[0].verdict == verdict


def test_the_margin_of_an_accuracy_is_a_share_of_its_error() -> None:
    runs = [made_run(name, seed, 0.9, test_accuracy=0.9) for name in "ab" for seed in (1000, 1001)]
    plan = made_plan("test_accuracy", methods=("a", "b"))
    found = judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)
    assert found.margin.value == pytest.approx(0.05 * 0.1)


def test_a_later_run_moves_neither_target_nor_margin() -> None:
    """They are those of the first look."""
    one, other = at_looks(shift=0.3, seeds=10), at_looks(shift=0.3)
    assert len(other.looks) == 2
    kept = [(found.target.value, found.margin.value) for found in (one, other)]
    runs = [run for run in other.runs if run.method == "a" and run.seed < 1010]
    assert kept[1][0] == pytest.approx(np.quantile([run.rows[-1]["val_loss"] for run in runs], 0.9))
    assert kept[1][1] == pytest.approx(0.05 * np.mean([run.value for run in runs]))


def test_fixed_seeds_may_be_equivalent_too() -> None:
    """One look is the design of before, with the margin beside it."""
    rng = np.random.default_rng(2)
    runs = [made_run(name, 1000 + seed, 10 + 0.01 * float(rng.normal()))
            for name in "ab" for seed in range(12)]  # fmt: skip
    plan = made_plan(methods=("a", "b"), seeds=12)
    found = judge(plan, [made_search(name) for name in "ab"], runs, {}, [], NOW)
    assert (found.pairs[0].verdict, found.pairs[0].within_margin) == ("equivalent", True)
    assert found.pairs[0].test == "Wilcoxon signed-rank"


def test_steps_and_seconds_to_the_target() -> None:
    """a takes half of b's steps on every seed; seconds count only on an idle machine."""
    runs = []
    for seed in range(12):
        for name, slow in (("a", 1), ("b", 2)):
            curve = [{"step": 10 * n, "samples": n, "train_seconds": 0.1 * n,
                      "val_loss": max(1.0, 5.0 - n / slow)} for n in range(1, 12)]  # fmt: skip
            runs.append(made_run(name, 1000 + seed, 1.0, rows=curve))
    plan = made_plan(methods=("a", "b"), seeds=12, target=2.5)
    searches = [made_search(name) for name in "ab"]
    (pair,) = judge(plan, searches, runs, {}, [], NOW).pairs
    assert [(speed.by, speed.target) for speed in pair.speeds] == [
        ("steps", 2.5), ("steps", pytest.approx(2.375)), ("steps", pytest.approx(2.625)),
        ("seconds", 2.5),
    ]  # fmt: skip
    for speed in pair.speeds:
        assert (speed.ratio, speed.verdict) == (pytest.approx(0.5), "sooner")
        assert speed.low == speed.high == pytest.approx(0.5)
    for more in ({"idle": False}, {"together": 4}, {"idle": False, "together": 4}):
        others = [runs[0].model_copy(update=more), *runs[1:]]
        found = judge(plan, searches, others, {}, [], NOW)
        assert {speed.by for speed in found.pairs[0].speeds} == {"steps"}
        assert found.timing == Timing(valid=False, text=(
            "1 of 24 runs were trained at once, so their seconds hold each other's; "
            "trainer.stack=1 trains one at a time" if "together" in more else
            "other programs used the processors during 1 of 24 runs: seconds can't be compared"
        ))  # fmt: skip
