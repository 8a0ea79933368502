"""The statistics against cases computed by hand, and their calibration."""

import math

import numpy as np
import pytest
from scipy import stats

from src.comparing.statistics import (
    area,
    compare,
    detectable_effect,
    first_reaching,
    holm,
    interval,
    paired_test,
    seeds_needed,
    summary,
)


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
    assert holm([]) == []


def test_no_difference_at_all():
    (pair,) = compare({"a": np.ones((1, 5)), "b": np.ones((1, 5))}, "minimize")
    assert (pair.difference, pair.low, pair.high, pair.p) == (0, 0, 0, 1)
    assert pair.verdict == "undecided"
    assert pair.effect is None


@pytest.mark.parametrize(("direction", "verdict"), [("minimize", "better"), ("maximize", "worse")])
def test_direction(direction, verdict):
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 0.01, (1, 10)), rng.normal(2, 0.01, (1, 10))
    assert compare({"a": a, "b": b}, direction)[0].verdict == verdict


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
        calls += p < 0.05 and compare(values, "minimize")[0].verdict != "undecided"
    assert calls / 2000 <= 0.07
    assert calls > 0  # a rule that never decides would pass otherwise


@pytest.mark.parametrize("seeds", [5, 10])
def test_two_standard_deviations_are_found(seeds):
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(300):
        noise = rng.normal(0, 1, (1, seeds))  # of the paired differences
        values = {"a": noise, "b": np.full((1, seeds), 2.0)}
        found += compare(values, "minimize")[0].verdict == "better"
    assert found / 300 >= (0.9 if seeds == 10 else 0.7)


def test_summary_area_and_target():
    assert summary([1.0, 3.0]) == {"mean": 2.0, "std": pytest.approx(math.sqrt(2))}
    assert summary([1.0]) == {"mean": 1.0, "std": None}
    assert summary([math.nan]) == {"mean": None, "std": None}
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
        called += compare(values, "minimize")[0].verdict != "undecided"
    assert called <= 0.07 * 200


def test_several_searches_that_agree_find_a_difference():
    generator = np.random.default_rng(4)
    a, b = (generator.normal(scale=0.1, size=(3, 1)) + generator.normal(size=(3, 10)) for _ in "ab")
    pair = compare({"a": a, "b": b - 4}, "minimize")[0]
    assert pair.verdict == "worse"
    assert compare({"a": a[:1], "b": b[:1] - 4}, "minimize")[0].verdict == "worse"
