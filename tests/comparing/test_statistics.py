"""The statistics against cases computed by hand, and their calibration."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.power import TTestPower

from src.comparing import statistics
from src.comparing.record import Summary
from src.comparing.statistics import (
    _bias_corrected,
    area,
    compare,
    detectable_effect,
    finite,
    first_reaching,
    holm,
    interval,
    paired_test,
    seeds_needed,
    seeds_within,
    summary,
)
from src.metrics import Direction


def test_wilcoxon_by_hand():
    """Ranks 1..8, all negative but the smallest: W+ = 1, so p = 2 * 2 / 2^8."""
    differences = np.array([0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8])
    p, name = paired_test(differences[None], pairs=1)
    assert name == "Wilcoxon signed-rank"
    assert p == pytest.approx(4 / 256)


def test_with_five_seeds_the_t_test_by_hand():
    """Mean 3, standard deviation sqrt(2.5), t = 3 / sqrt(2.5 / 5) = 4.2426 with 4 degrees."""
    p, name = paired_test(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), pairs=1)
    assert name == "paired t"
    assert p == pytest.approx(0.013236, abs=1e-5)  # from a table of Student's t


def test_the_number_of_pairs_decides_which_test_can_decide():
    differences = np.arange(1.0, 7.0)  # six seeds: Wilcoxon's least p is 1/32
    assert paired_test(differences[None], pairs=1)[1] == "Wilcoxon signed-rank"
    assert paired_test(differences[None], pairs=6)[1] == "paired t"


def test_holm_by_hand():
    """0.01 * 3; 0.03 * 2 = 0.06; 0.04 * 1 = 0.04, raised to the 0.06 before it."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_no_difference_at_all():
    (pair,) = compare({"a": np.ones((1, 5)), "b": np.ones((1, 5))}, Direction.MINIMIZE)
    assert (pair.difference, pair.low, pair.high, pair.p) == (0, 0, 0, 1)
    assert pair.verdict == "undecided"
    assert pair.effect is None


@pytest.mark.parametrize(("direction", "verdict"), [("minimize", "better"), ("maximize", "worse")])
def test_direction(direction, verdict):
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 0.01, (1, 10)), rng.normal(2, 0.01, (1, 10))
    assert compare({"a": a, "b": b}, Direction(direction))[0].verdict == verdict


def test_power_by_a_table():
    """Cohen's table for a two-sided paired t test at 5% and 80%: d = 0.5 needs 34, 0.8 needs 15."""
    assert seeds_needed(0.5) == 34
    assert seeds_needed(-0.8) == 15
    assert seeds_needed(1e-6) is None
    assert seeds_needed(0.5, level=0.05 / 6) > 34
    assert seeds_needed(2.0, n=9) == 10, "the seeds there are have not settled it"
    assert detectable_effect(34) == pytest.approx(0.4943, abs=1e-3)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("pairs", [1, 3, 10, 231])
def test_power_by_simulation(seeds, pairs):
    """Also with few seeds and a strict level, where solvers lose their way."""
    effect, rng = detectable_effect(seeds, 0.05 / pairs), np.random.default_rng(0)
    means = effect + rng.normal(size=40_000) / math.sqrt(seeds)
    spreads = np.sqrt(rng.chisquare(seeds - 1, 40_000) / (seeds - 1))
    t = means / spreads * math.sqrt(seeds)
    found = np.mean(2 * stats.t.sf(np.abs(t), seeds - 1) < 0.05 / pairs)
    assert found == pytest.approx(0.8, abs=0.01)
    assert seeds_needed(effect * 1.0001, level=0.05 / pairs) == seeds


def test_interval_of_a_normal_sample_is_close_to_students():
    sample = np.random.default_rng(1).normal(0.3, 1, (1, 60))
    half = 2.001 * sample.std(ddof=1) / math.sqrt(60)
    low, high = interval(sample)
    assert low == pytest.approx(sample.mean() - half, abs=0.05)
    assert high == pytest.approx(sample.mean() + half, abs=0.05)


def test_searches_that_disagree_widen_the_interval():
    rng = np.random.default_rng(2)
    seeds = rng.normal(0, 0.1, (4, 10))
    low, high = interval(seeds)
    wide_low, wide_high = interval(seeds + np.array([[-1.0], [-0.3], [0.3], [1.0]]))
    assert wide_high - wide_low > 5 * (high - low)


def test_a_against_a_calls_a_difference_in_at_most_7_percent():
    """As often as it is tried: 2,000 comparisons of a method with itself, ten seeds."""
    rng = np.random.default_rng(3)
    calls = 0
    for _ in range(2000):
        values = {"a": rng.normal(0.2, 0.01, (1, 10)), "b": rng.normal(0.2, 0.01, (1, 10))}
        p, _ = paired_test(values["a"] - values["b"], 1)
        calls += p < 0.05 and compare(values, Direction.MINIMIZE)[0].verdict != "undecided"
    assert calls / 2000 <= 0.07
    assert calls > 0  # a rule that never decides would pass otherwise


@pytest.mark.parametrize("seeds", [5, 10])
def test_two_standard_deviations_are_found(seeds):
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(300):
        noise = rng.normal(0, 1, (1, seeds))  # of the paired differences
        values = {"a": noise, "b": np.full((1, seeds), 2.0)}
        found += compare(values, Direction.MINIMIZE)[0].verdict == "better"
    assert found / 300 >= (0.9 if seeds == 10 else 0.7)


def test_summary_area_and_target():
    assert summary([1.0, 3.0]) == Summary(mean=2.0, std=math.sqrt(2))
    assert summary([1.0]) == Summary(mean=1.0, std=None)
    assert summary([math.nan]) == Summary(mean=None, std=None)
    rows = [{"samples": s, "val_loss": v} for s, v in ((10, 4.0), (20, 2.0), (40, 1.0))]
    assert area(rows, "val_loss") == pytest.approx((30 + 30) / 30)
    assert first_reaching(rows, "val_loss", 2.0)["samples"] == 20
    assert first_reaching(rows, "val_loss", 0.5) is None
    assert area([*rows, {"samples": 50, "val_loss": None}], "val_loss") is None


def test_the_luck_of_searches_is_not_called_a_difference():
    """A method against itself, when each search's winner is as far from the next as two seeds."""
    generator, called = np.random.default_rng(3), 0
    for _ in range(200):
        values = {
            name: generator.normal(size=(3, 1)) + generator.normal(size=(3, 10)) for name in "ab"
        }
        called += compare(values, Direction.MINIMIZE)[0].verdict != "undecided"
    assert called <= 0.07 * 200


def test_several_searches_that_agree_find_a_difference():
    generator = np.random.default_rng(4)
    a, b = (generator.normal(scale=0.1, size=(3, 1)) + generator.normal(size=(3, 10)) for _ in "ab")
    pair = compare({"a": a, "b": b - 4}, Direction.MINIMIZE)[0]
    assert pair.verdict == "worse"
    assert compare({"a": a[:1], "b": b[:1] - 4}, Direction.MINIMIZE)[0].verdict == "worse"


def bca(sample, rng):
    """Efron and Tibshirani's 95% interval of a mean (1993, equations 14.9 to 14.15)."""
    n, mean = len(sample), sample.mean()
    means = sample[rng.integers(n, size=(100_000, n))].mean(axis=1)
    z0 = stats.norm.ppf((means < mean).mean())
    left_out = np.array([np.delete(sample, k).mean() for k in range(n)])
    apart = left_out.mean() - left_out
    a = (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)
    z = z0 + stats.norm.ppf([0.025, 0.975])
    return np.quantile(means, stats.norm.cdf(z0 + z / (1 - a * z)))


def test_the_interval_of_one_search_is_bca_at_95_percent():
    """At 90% an end would be 0.08 of the width from there, without the acceleration 0.05."""
    sample = np.random.default_rng(1).exponential(size=15)
    low, high = bca(sample, np.random.default_rng(2))
    assert interval(sample[None]) == pytest.approx((low, high), abs=0.02 * (high - low))


def test_the_interval_of_several_searches_is_bias_corrected_at_95_percent():
    """Searches are drawn, and the seeds that all of them share; worked out one draw at a time."""
    rng = np.random.default_rng(3)
    values = rng.exponential(size=(1, 8)) + rng.exponential(0.5, size=(3, 1))
    means = []
    for _ in range(20_000):
        seeds = rng.integers(8, size=8)
        means.append(np.mean([values[rng.integers(3), seeds].mean() for _ in range(3)]))
    z0 = stats.norm.ppf(np.mean(np.array(means) < values.mean()))
    low, high = np.quantile(means, stats.norm.cdf(2 * z0 + stats.norm.ppf([0.025, 0.975])))
    assert interval(values) == pytest.approx((low, high), abs=0.03 * (high - low))


@pytest.mark.parametrize("shape", [(1, 30), (3, 10)])
def test_many_runs_are_drawn_in_parts(monkeypatch, shape):
    values = np.random.default_rng(6).normal(size=shape)
    at_once = interval(values)
    monkeypatch.setattr(statistics, "BLOCK", 777)
    assert interval(values) == at_once


def test_an_interval_passes_over_what_is_missing():
    values = np.random.default_rng(7).normal(size=(1, 12))
    apart = np.insert(values, [0, 4], np.nan, axis=1)
    assert interval(apart) == interval(values)
    assert interval(np.array([[np.nan, 2.0], [2.0, np.nan]])) == (2, 2)


def test_the_bias_correction_moves_both_ends():
    """Of 1000 means 400 lie below the estimate: by z = -0.2533 the ends are moved twice."""
    means = np.arange(1.0, 1001.0)
    low, high = stats.norm.cdf(2 * -0.253347 + np.array([-1.959964, 1.959964]))
    expected = (1 + 999 * low, 1 + 999 * high)
    assert _bias_corrected(means, 400.5) == pytest.approx(expected, abs=0.01)
    tied = np.concatenate([means[:390], np.full(20, 400.5), means[410:]])  # which count half
    assert _bias_corrected(tied, 400.5) == pytest.approx(expected, abs=0.01)


@given(
    arrays(float, st.tuples(st.integers(1, 3), st.integers(2, 6)), elements=st.integers(-9, 9)),
    st.integers(-5, 5),
)
@settings(max_examples=25, deadline=None)
def test_an_interval_follows_a_shift_a_scale_and_the_sign(values, shift):
    low, high = interval(values)
    assert low <= high
    moved = interval(2 * values + shift)
    assert moved == pytest.approx((2 * low + shift, 2 * high + shift), abs=1e-9)
    if len(values) == 1:  # else random draws of searches make it true only nearly
        assert interval(-values) == pytest.approx((-high, -low), abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_by_its_definition(p_values):
    """The least level at which the procedure rejects: it goes down from the smallest p, and stops
    at the first that it keeps."""
    expected = {}
    ordered, reached = sorted(range(len(p_values)), key=p_values.__getitem__), 0.0
    for left, number in enumerate(ordered):
        reached = max(reached, (len(p_values) - left) * p_values[number])
        expected[number] = min(reached, 1.0)
    with mock.patch("gc.collect"):  # statsmodels collects all garbage each time, which is slow
        found = holm(p_values)
    assert found == pytest.approx([expected[n] for n in range(len(p_values))])


@given(st.integers(15, 300), st.sampled_from([1, 3, 10, 91]))
@settings(max_examples=30, deadline=None)
def test_what_n_seeds_detect_has_a_power_of_80_percent(n, pairs):
    effect = detectable_effect(n, 0.05 / pairs)
    assert TTestPower().power(effect, n, 0.05 / pairs) == pytest.approx(0.8, abs=1e-3)


def least_seeds(effect, level, start):
    """By trying one after another."""
    power = TTestPower().power
    return next(n for n in range(start, 10_000) if power(effect, n, level) >= 0.8)


def test_every_number_of_three_pairs():
    """Each from SciPy, statsmodels or its formula; with three pairs the level is 5% / 3."""
    rng = np.random.default_rng(5)
    seeds = rng.normal(0, 0.5, 10)  # of which the differences know nothing
    noise = dict(zip("abc", rng.normal(0, 1, (3, 10)), strict=True))
    values = {name: (seeds + noise[name])[None] for name in "abc"}
    values["b"] = values["b"] + 0.5
    values["c"] = values["c"] + 3
    found = compare(values, Direction.MINIMIZE)
    assert [(one.a, one.b, one.n) for one in found] == [("a", "b", 10), ("a", "c", 10),
                                                        ("b", "c", 10)]  # fmt: skip
    for one in found:
        a, b = values[one.a][0], values[one.b][0]
        assert one.p == pytest.approx(stats.wilcoxon(a, b).pvalue)
        assert one.test == "Wilcoxon signed-rank"
        assert one.difference == pytest.approx(a.mean() - b.mean())
        spread = math.sqrt(((a - b - (a - b).mean()) ** 2).sum() / 9)
        assert one.effect == pytest.approx((a - b).mean() / spread)
        power = TTestPower().power(one.detectable / spread, 10, 0.05 / 3)
        assert power == pytest.approx(0.8, abs=1e-3)
        assert (one.low, one.high) == interval((a - b)[None])
    # Of those for c every rank is on one side, p = 2 / 2^10; that of a and b is the largest.
    assert [one.p_holm for one in found] == pytest.approx([found[0].p, 6 / 1024, 6 / 1024])
    assert [one.verdict for one in found] == ["undecided", "better", "better"]
    assert found[0].seeds_to_settle == least_seeds(found[0].effect, 0.05 / 3, 11)
    assert [one.seeds_to_settle for one in found[1:]] == [None, None]


def one_pair(differences):
    values = np.atleast_2d(np.array(differences, dtype=float))
    return compare({"a": values, "b": np.zeros_like(values)}, Direction.MINIMIZE)[0]


def test_both_the_test_and_the_interval_must_decide():
    """The ranks of twelve seeds say better, their mean doesn't; with three seeds the other way."""
    sure = one_pair([-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8, -0.9, -1.0, -1.1, 9.0])
    assert sure.p == pytest.approx(stats.wilcoxon([*range(-11, 0), 12]).pvalue)
    assert sure.p < 0.05
    assert sure.low < 0 < sure.high
    few = one_pair([-1.0, -2.0, -3.0])
    assert few.p == pytest.approx(stats.ttest_1samp([1, 2, 3], 0).pvalue)
    assert few.high < 0 < 0.05 < few.p
    assert (sure.verdict, few.verdict) == ("undecided", "undecided")


def test_with_several_searches_the_larger_p_counts():
    """Searches that disagree are no evidence, however many seeds; nor are seeds that do."""
    rng = np.random.default_rng(6)
    searches = np.array([[0.1], [1.0], [2.5]]) + rng.normal(0, 0.01, (3, 12))
    p, name = paired_test(searches, pairs=1)
    assert name == "paired t over searches"
    assert p == pytest.approx(stats.ttest_1samp(searches.mean(axis=1), 0).pvalue)
    seeds = rng.normal(0.3, 1.0, (1, 12)) + np.array([[0.0], [1e-3], [2e-3]])
    p, name = paired_test(seeds, pairs=1)
    assert name == "Wilcoxon signed-rank"
    assert p == pytest.approx(stats.wilcoxon(seeds.mean(axis=0)).pvalue)


def test_too_little_to_test():
    assert paired_test(np.full((1, 4), 0.5), pairs=1) == (1.0, "none: too few seeds")
    assert paired_test(np.array([[0.5]]), pairs=1) == (1.0, "none: too few seeds")
    assert paired_test(np.array([[0.5, 0.7]]), pairs=1)[1] == "paired t"
    # Searches that found the same have no luck: p is 2 / 2^9.
    assert paired_test(np.ones((3, 9)), pairs=1) == (2 / 2**9, "Wilcoxon signed-rank")
    assert paired_test(np.array([[1.0, -1.0] * 8] * 3), pairs=1)[0] == 1.0
    single = one_pair([0.5])
    assert (single.low, single.high, single.effect, single.detectable) == (0.5, 0.5, None, None)
    alike = one_pair([0.5] * 4)
    assert (alike.low, alike.high, alike.effect, alike.seeds_to_settle) == (0.5, 0.5, None, None)
    two = one_pair([0.5, 1.0])  # of which the deviation is 0.25 times the root of 2
    assert two.effect == pytest.approx(0.75 / (0.25 * math.sqrt(2)))
    assert paired_test(np.array([[0.0, 0.0, 1.0, 2.0]]), pairs=1)[1] == "paired t"


@pytest.mark.parametrize("n", [2, 9, 33, 34, 50])
def test_seeds_needed_are_more_than_there_are(n):
    assert seeds_needed(0.5, n) == max(34, n + 1)


@pytest.mark.parametrize(("room", "level"), [(2.0, 0.05 / 6), (1.0, 0.05), (0.3, 0.01)])
def test_so_many_seeds_lie_within_a_margin_in_four_of_five_cases(room, level):
    def share(seeds):
        drawn = np.random.default_rng(0).normal(size=(20_000, seeds))
        half = stats.t.isf(level / 2, seeds - 1) * drawn.std(axis=1, ddof=1) / math.sqrt(seeds)
        return float((np.abs(drawn.mean(axis=1)) + half < room).mean())

    seeds = seeds_within(room, level)
    assert share(seeds) > 0.78 and share(seeds - 1) < 0.82
    assert seeds_within(1e-3, level) is None


def test_seeds_needed_have_a_least_and_a_most():
    assert seeds_needed(50.0) == 2
    assert seeds_needed(detectable_effect(100_000) * (1 + 1e-9)) == 100_000
    assert seeds_needed(detectable_effect(100_001) * (1 + 1e-9)) is None


@pytest.mark.parametrize("estimate", [0.0, 11.0])
def test_an_estimate_beyond_all_means_has_ends(estimate):
    low, high = _bias_corrected(np.arange(1.0, 11.0), estimate)
    assert 1 <= low <= high <= 10


def test_the_first_row_at_a_target():
    """A loss reaches it from above, an accuracy from below; a row without a value doesn't."""
    rows = [
        {"val_loss": None, "val_accuracy": 0.2},
        {"val_loss": 3.0, "val_accuracy": 0.5},
        {"val_loss": 1.0, "val_accuracy": 0.9},
        {"val_loss": 2.0, "val_accuracy": 0.7},
    ]
    assert first_reaching(rows, "val_loss", 2.0) is rows[2]
    assert first_reaching(rows, "val_accuracy", 0.5) is rows[1]
    assert first_reaching(rows, "val_accuracy", 0.8) is rows[2]
    assert first_reaching(rows, "val_accuracy", 0.95) is None
    assert first_reaching(rows, "val_loss", None) is None


def test_the_area_is_a_mean_over_samples():
    """(4 + 2) / 2 over 10 samples, (2 + 1) / 2 over 20, after the first row."""
    rows = [{"samples": s, "val_loss": v} for s, v in ((10, 4.0), (20, 2.0), (40, 1.0))]
    assert area(rows, "val_loss") == pytest.approx((10 * 3 + 20 * 1.5) / 30)
    assert area(rows[:2], "val_loss") == pytest.approx(3)
    assert area(rows[:1], "val_loss") is None
    assert area([], "val_loss") is None


def test_a_summary_leaves_out_what_is_not_finite():
    assert summary([1.0, math.inf, 2.0, 6.0]).model_dump() == {
        "mean": pytest.approx(3.0), "std": pytest.approx(math.sqrt(7))
    }  # fmt: skip
    assert summary([]) == Summary(mean=None, std=None)


def test_the_corrected_p_decides():
    """The negative ranks 1 and 5 of ten sum up to 6: p = 28 / 1024, as a table says. Of three
    pairs with that p none is decided."""
    a = np.array([[-0.1, 0.2, 0.3, 0.4, -0.5, 0.6, 0.7, 0.8, 0.9, 1.0]])
    alone = one_pair(a)
    assert (alone.p, alone.p_holm) == (pytest.approx(28 / 1024), alone.p)
    assert (alone.verdict, alone.low > 0) == ("worse", True)
    for one in compare({"a": a, "b": 0 * a, "c": 2 * a}, Direction.MINIMIZE):
        assert (one.p, one.p_holm) == pytest.approx((28 / 1024, 84 / 1024))
        assert (one.verdict, one.low <= 0 <= one.high) == ("undecided", False)


def test_an_interval_decides_by_where_zero_lies():
    """Not by any other number: this one holds 1, and decides."""
    differences = np.linspace(0.6, 1.5, 10)
    (pair,) = compare({"a": differences[None], "b": np.zeros((1, 10))}, Direction.MINIMIZE)
    assert 0 < pair.low < 1 < pair.high
    assert (pair.verdict, pair.seeds_to_settle) == ("worse", None)


def test_two_seeds_could_find_something_too():
    values = {"a": np.array([[1.0, 2.0]]), "b": np.array([[0.0, 0.0]])}
    (pair,) = compare(values, Direction.MINIMIZE)
    spread = np.std([1.0, 2.0], ddof=1)
    assert pair.detectable == pytest.approx(detectable_effect(2, 0.05) * spread)
    assert pair.effect == pytest.approx(1.5 / spread)


def test_finite() -> None:
    assert [*finite([1.0, None, float("inf"), float("nan"), -2.0, 0.0])] == [1.0, -2.0, 0.0]


def test_the_interval_of_two_seeds_reaches_from_one_to_the_other() -> None:
    """A quarter of the draws is the one twice, a quarter the other: 95% hold both."""
    low, high = interval(np.array([[0.25, 1.0]]))
    assert (low, high) == (0.25, 1.0)
