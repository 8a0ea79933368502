"""Statistics over problems, each against an independent computation."""

import numpy as np
import pytest
from scipy import stats

from src.comparing import across, sequential, signed_rank


def test_the_fewest_problems_for_so_many_pairs():
    for methods, fewest in ((2, 6), (3, 7), (4, 8), (6, 10), (10, 11), (12, 12)):
        pairs = methods * (methods - 1) // 2
        assert sequential.fewest_seeds(pairs) == fewest
        assert pairs * signed_rank.p_value(np.ones(fewest)) < 0.05
        assert pairs * signed_rank.p_value(np.ones(fewest - 1)) >= 0.05


def test_the_pooled_deviation_is_the_one_of_an_analysis_of_variance():
    rows = [np.random.default_rng(seed).normal(seed, 1 + seed, 10) for seed in range(3)]
    residuals = np.concatenate([row - row.mean() for row in rows])
    expected = np.sqrt((residuals**2).sum() / (30 - 3))
    assert across.pooled_deviation(rows) == pytest.approx(expected)


def test_an_advantage_is_in_standard_deviations_and_finite():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    assert across.advantage(a, b, 1.5) == pytest.approx(2.0)
    assert across.advantage(b, a, 1.5) == pytest.approx(-2.0)
    assert across.advantage(a, a, 0.0) == 0.0
    assert across.advantage(b, a, 0.0) == -across.CAP
    assert across.advantage(a, b, 1e-9) == across.CAP


def test_nemenyis_factors_are_those_of_the_table():
    """Demšar 2006, table 5(a), for 2 to 10 methods at 5%."""
    table = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    for methods, factor in enumerate(table, 2):
        assert across.studentized(methods) == pytest.approx(factor, abs=1e-3)


# Demšar 2006, table 6: AUC of C4.5 and three versions of it on 14 data sets.
AUC = np.array([
    [.763, .599, .954, .628, .882, .936, .661, .583, .775, 1.0, .940, .619, .972, .957],
    [.768, .591, .971, .661, .888, .931, .668, .583, .838, 1.0, .962, .666, .981, .978],
    [.771, .590, .968, .654, .886, .916, .609, .563, .866, 1.0, .965, .614, .9751, .946],
    [.798, .569, .967, .657, .898, .931, .685, .625, .875, 1.0, .962, .669, .975, .970],
])  # fmt: skip


def test_mean_ranks_are_those_of_the_literature():
    """There: mean ranks 3.143, 2.000, 2.893, 1.964, and a critical difference of 1.25."""
    np.testing.assert_allclose(across.mean_ranks(-AUC), [3.143, 2.000, 2.893, 1.964], atol=1e-3)
    assert across.critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_improvement_is_mann_and_whitneys_statistic_as_a_share():
    generator = np.random.default_rng(5)
    a, b = generator.integers(0, 6, 8).astype(float), generator.integers(1, 7, 11).astype(float)
    expected = stats.mannwhitneyu(b, a).statistic / (8 * 11)
    assert across.improvement(a, b) == pytest.approx(expected)
    assert across.improvement(a, b) == pytest.approx(1 - across.improvement(b, a))
