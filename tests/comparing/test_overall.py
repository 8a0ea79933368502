"""The verdict over several problems, by hand and against the functions that it is made of."""

from datetime import datetime

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from src.comparing import across
from src.comparing.overall_verdict import Measured, judge, refusal, sentence_of
from src.comparing.record import Doubt, Pair
from tests.comparing.conftest import made_problem

NOW = datetime(2026, 1, 2, 3, 4, 5)
EDGE = Doubt(check="edge", method="c", text="c: at the edge")


def judged(comparisons, missing=()):
    folders = {name: f"folder-{name}" for name in (*comparisons, *missing)}
    return judge("several", comparisons, folders, NOW)


def drawn(count, seed=0, gains=(0.0, 1.0, 3.0), **more):
    """Problems on which each method is better by its gain, in standard deviations, give or take."""
    generator = np.random.default_rng(seed)
    problems = {}
    for number in range(count):
        scale = 10.0 ** generator.integers(-3, 3)
        values = {
            name: list(scale * (50 - gain - 0.3 * generator.normal() + generator.normal(size=10)))
            for name, gain in zip("abc", gains, strict=True)
        }
        problems[f"p{number}"] = made_problem(values, **more)
    return problems


def test_costs_are_paired_by_seed_averaged_over_searches_and_a_diverged_run_is_the_worst():
    problem = made_problem({"a": [0.9, 0.7], "b": [0.8, None]}, "test_accuracy")
    again = [run.model_copy(update={"search": 1, "value": 0.5}) for run in problem.of("a")]
    problem = problem.model_copy(update={"runs": [*problem.runs, *again]})
    costs = Measured("p", problem).costs
    assert costs["a"] == {1000: pytest.approx(-0.7), 1001: pytest.approx(-0.6)}
    assert costs["b"] == {1000: -0.8, 1001: -0.5}


def test_an_advantage_uses_the_seeds_that_both_have():
    """Methods whose pairs are settled early train on fewer seeds."""
    problem = Measured("p", made_problem({"a": [1.0, 2.0], "b": [3.0, 5.0, 100.0]}))
    assert problem.advantage("a", "b") == pytest.approx(2.5 / problem.deviation)
    spread = np.sqrt((np.var([1, 2], ddof=1) + np.var([3, 5, 100], ddof=1)) / 2)
    assert problem.deviation == pytest.approx(spread)


def test_a_pair_is_tested_over_problems_whatever_their_scale():
    problems = drawn(8)
    overall = judged(problems)
    assert overall.methods == ("c", "b", "a")
    assert [(pair.a, pair.b) for pair in overall.pairs] == [("c", "b"), ("c", "a"), ("b", "a")]
    ps = []
    for pair in overall.pairs:
        values = []
        for problem in problems.values():
            runs = {name: [run.value for run in problem.of(name)] for name in "abc"}
            spread = np.sqrt(np.mean([np.var(row, ddof=1) for row in runs.values()]))
            values.append((np.mean(runs[pair.b]) - np.mean(runs[pair.a])) / spread)
        ps.append(stats.wilcoxon(values, method="exact").pvalue)
        assert pair.n == 8
        assert pair.p == pytest.approx(ps[-1])
        assert pair.low < pair.advantage < pair.high
    corrected = multipletests(ps, method="holm")[1]
    np.testing.assert_allclose([pair.p_holm for pair in overall.pairs], corrected)
    assert [pair.verdict for pair in overall.pairs] == ["better", "better", "better"]


def test_an_accuracy_is_better_where_it_is_higher():
    problems = {f"p{n}": made_problem({"a": [0.8, 0.82], "b": [0.9, 0.91]}, "test_accuracy")
                for n in range(6)}  # fmt: skip
    overall = judged(problems)
    assert overall.methods == ("b", "a")
    assert overall.pairs[0].verdict == "better"
    assert overall.pairs[0].improvement == 1
    assert overall.place("b", "p0").mean == pytest.approx(0.905)
    assert overall.place("a", "p0").rank == 2


def test_too_few_problems_are_refused_with_the_reason():
    overall = judged(drawn(6))
    assert {pair.verdict for pair in overall.pairs} == {"refused"}
    assert {pair.p for pair in overall.pairs} == {None}
    assert overall.refused == (
        "with 3 methods it takes 7 problems or more to call any difference (5% for all 3 pairs "
        "together), and there are 6"
    )
    assert overall.refused in overall.sentence
    assert judged(drawn(7)).refused == ""
    assert refusal(2, 6) == ""
    assert refusal(2, 5) == "it takes 6 problems or more to call a difference, and there are 5"


def test_problems_where_a_method_is_in_doubt_are_left_out_of_its_pairs():
    problems = drawn(9)
    for name in ("p0", "p1"):
        problems[name] = problems[name].model_copy(update={"withheld": [EDGE]})
    overall = judged(problems)
    found = {(pair.a, pair.b): (pair.n, pair.withheld) for pair in overall.pairs}
    assert found == {
        ("c", "b"): (7, ("p0", "p1")), ("c", "a"): (7, ("p0", "p1")), ("b", "a"): (9, ()),
    }  # fmt: skip
    assert overall.place("c", "p0").doubt == "c: at the edge"
    assert not overall.place("c", "p0").unbeaten
    assert overall.place("c", "p2").unbeaten
    assert overall.place("b", "p0").doubt == ""
    second = {"p0": problems["p2"].model_copy(update={"withheld": [EDGE]})}
    second["p0"] = second["p0"].model_copy(
        update={"withheld": [EDGE.model_copy(update={"method": "a"})]}
    )
    found = {(pair.a, pair.b): pair.withheld for pair in judged(problems | second).pairs}
    assert found == {("c", "b"): ("p1",), ("c", "a"): ("p0", "p1"), ("b", "a"): ("p0",)}
    whole = EDGE.model_copy(update={"method": None})
    held = {name: it.model_copy(update={"withheld": [whole]}) for name, it in problems.items()}
    assert {(pair.n, pair.verdict) for pair in judged(held).pairs} == {(0, "refused")}


def test_wins_ties_and_losses_are_the_verdicts_on_the_problems():
    """Seen from the method that ranks first, whichever a comparison names first."""
    problems = drawn(5)
    verdicts = ["better", "better", "worse", "equivalent", "undecided"]
    for (name, problem), verdict in zip([*problems.items()], verdicts, strict=True):
        pairs = [Pair(a="a", b="b", verdict=verdict)]
        problems[name] = problem.model_copy(update={"pairs": pairs})
    overall = judged(problems)
    pair = next(it for it in overall.pairs if {it.a, it.b} == {"a", "b"})
    assert (pair.a, pair.wins, pair.ties, pair.losses) == ("b", 1, 2, 2)
    unbeaten = {standing.method: standing.unbeaten for standing in overall.standings}
    assert unbeaten == {"a": 4, "b": 3, "c": 5}


def test_a_pair_must_be_surer_the_more_pairs_there_are():
    """c beats a by all seven signs, p = 2/128; b beats a but for the smallest, p = 4/128."""
    gaps = [-1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    problems = {}
    for number, gap in enumerate(gaps):
        values = {"a": 100.0, "b": 100.0 - gap, "c": 99.5 - 20.0 * (number % 2)}
        problems[f"p{number}"] = made_problem({k: [v, v + 1.0] for k, v in values.items()})
    found = {(pair.a, pair.b): pair for pair in judged(problems).pairs}
    assert found["c", "a"].p == pytest.approx(2 / 128)
    assert found["c", "a"].verdict == "better"
    assert found["b", "a"].p == pytest.approx(4 / 128)
    assert found["b", "a"].p_holm > 0.05
    assert found["b", "a"].verdict == "undecided"


def test_untuned_defaults_and_single_seeds_take_no_part():
    problem = made_problem({"a": [1.0, 2.0], "b": [3.0, 5.0], "c": [7.0]})
    default = [run.model_copy(update={"kind": "default", "value": 50.0}) for run in problem.runs]
    measured = Measured("p", problem.model_copy(update={"runs": [*problem.runs, *default]}))
    assert measured.costs["a"] == {1000: 1.0, 1001: 2.0}
    assert measured.deviation == pytest.approx(np.sqrt((0.5 + 2.0) / 2))


def test_ranks_gaps_and_scores():
    curves = {"a": [3.0, 2.0, 1.0, 0.9], "b": [1.0, 1.0, 1.0, 1.0], "c": [3.0, 3.0, 3.0, 3.0]}
    values = {"a": [0.9, 1.1], "b": [0.9, 1.1], "c": [2.9, 3.1]}
    target = {"metric": "val_loss", "value": 1.0}
    overall = judged({"p": made_problem(values, curves=curves, target=target)})
    assert [overall.place(name, "p").rank for name in "abc"] == [1.5, 1.5, 3]
    assert [overall.place(name, "p").steps for name in "abc"] == [300, 100, None]
    assert [overall.place(name, "p").ratio for name in "abc"] == [3, 1, None]
    assert overall.place("c", "p").gap == pytest.approx(2 / np.std([0.9, 1.1], ddof=1))
    scores = {it.method: it.scores for it in overall.standings}
    assert scores["a"]["0"] == pytest.approx(1 / 3)
    assert scores["b"]["0"] == 1
    assert scores["c"]["0"] == 0
    assert scores["b"]["0.05"] == 0  # no longer reached, when it is harder
    assert scores["a"]["0.05"] == 1  # 0.95 is reached by a alone
    assert {it.method: it.reached for it in overall.standings} == {"a": 1, "b": 1, "c": 0}
    other = made_problem({"a": [3.9, 4.1], "b": [2.9, 3.1], "c": [0.9, 1.1]})
    both = judged({"p": made_problem(values), "q": other})
    assert {it.method: it.rank for it in both.standings} == {"a": 2.25, "b": 1.75, "c": 2}
    assert both.place("a", "q").gap == pytest.approx(3 / np.std([0.9, 1.1], ddof=1))
    assert overall.critical == pytest.approx(across.critical_difference(3, 1))


def test_the_sentence_has_two_parts_for_any_number_of_methods():
    assert judged(drawn(8)).sentence == (
        "On these 8 problems, by test loss (lower is better), c is among the best on 8, b on 8 and "
        "a on 8. On other problems like these, expect c to end better than b and a, and b to end "
        "better than a."
    )
    counted = made_problem({"a": [0.9, 0.8], "b": [0.9, 0.7]}, metric="test_accuracy")
    own = judged({"p": counted, "q": made_problem({"a": [0.1, 0.2], "b": [0.1, 0.3]})})
    assert own.sentence.startswith("On these 2 problems, by each problem's own metric, a is among ")
    none = judged(drawn(8, gains=(0.0, 0.0, 0.0)))
    assert none.sentence.endswith("For other problems like these, 8 don't tell any two apart.")
    many = {f"m{number:02}": [float(number), number + 0.5] for number in range(12)}
    overall = judged({f"p{n}": made_problem(many) for n in range(12)})
    assert "m00 to end better than 11 others" in sentence_of(overall)
    assert len(sentence_of(overall)) < 350


def test_what_is_missing_is_said_and_nothing_is_made_of_nothing():
    overall = judged(drawn(2), missing=["later"])
    assert overall.missing == ("later",)
    overall = judged(drawn(8), missing=["later"])
    assert {pair.verdict for pair in overall.pairs} == {"refused"}
    assert overall.refused == "later isn't finished"
    assert judged({}, missing=["later"]).methods == ()
