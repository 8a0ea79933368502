"""The numbers behind the figures, against what is worked out by hand or by drawing."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

from src.comparing.record import Reached, Run, Summary, Trial
from src.reporting.figures_numbers import (
    Cost,
    best_of,
    curve,
    mean_interval,
    quantiles,
    ranks,
    reached,
    sensitivity,
    steps_to,
    trial_cost,
)
from src.reporting.tables import csv_text, escape_latex, spread, value

LOSS = Cost("val_loss")


def run(rows: list[dict[str, float]] | None = None, **more: Any) -> Run:
    return Run(method="a", **{"status": "completed", "rows": rows or [], **more})


def made(losses: list[float | None], status: str = "completed", search: int = 0) -> Run:
    rows = [{"step": 10 * (n + 1), "val_loss": loss} for n, loss in enumerate(losses)]
    return run(rows, status=status, search=search, test_loss=losses[-1])


def test_cost() -> None:
    assert Cost("val_accuracy", True).of(0.9) == pytest.approx(0.1)
    assert Cost("val_accuracy").label == "validation error"
    assert Cost("score", True).of(3.0) == -3
    assert LOSS.of(None) == math.inf
    assert LOSS.of(0.75) == 0.75
    assert Cost("val_accuracy").of(0.75) == 0.25, "an error, whoever asks"


@pytest.mark.parametrize(
    ("cost", "label", "part"),
    [
        (LOSS, "validation loss", "validation"),
        (Cost("test_accuracy", True), "test error", "test"),
        (Cost("train_loss"), "training loss", "training"),
        (Cost("val_f1_score", True), "−(validation f1 score)", "validation"),
        (Cost("area"), "area", "area"),
    ],
)
def test_a_cost_is_named(cost: Cost, label: str, part: str) -> None:
    assert (cost.label, cost.part) == (label, part)


def test_curve_takes_quantiles_step_by_step() -> None:
    grid, (low, median, high) = curve([made([3, 1]), made([5, 2]), made([4, 9])], LOSS, "step")
    assert list(grid) == [10, 20]
    assert list(median) == [4, 2]
    assert low == pytest.approx([3.2, 1.2])
    assert high == pytest.approx([4.8, 7.6])


def test_diverged_runs_are_infinitely_bad_and_ended_ones_stay() -> None:
    short_ones = [made([1.0]), made([9.0], "diverged")]
    grid, (_, median, _) = curve([made([2.0, 2.0]), *short_ones], LOSS, "step")
    assert list(grid) == [10, 20]
    assert list(median) == [2, 2]
    _, (_, median, _) = curve([made([2.0, 2.0]), short_ones[1]], LOSS, "step")
    assert list(median) == [5.5, math.inf]
    _, (_, median, _) = curve([made([2.0, None]), made([2.0, 1.0])], LOSS, "step")
    assert list(median) == [2, math.inf]


def test_steps_to() -> None:
    runs = [made([3, 1]), made([1, 3]), made([3, 3])]
    assert list(steps_to(runs, LOSS, 1.0)) == [20, 10, math.inf]


def test_reached_counts_those_that_never_do() -> None:
    assert reached([30, None, 10, 20]) == ([10, 20, 30], [0.25, 0.5, 0.75])


@pytest.mark.parametrize("count", [1, 3, 7])
def test_best_of_is_the_bootstraps_limit(count: int) -> None:
    values = np.random.default_rng(1).permutation(12) * 1.0
    drawn = np.random.default_rng(2).choice(values, (200_000, count)).min(axis=1)
    expected = np.quantile(drawn, (0.27, 0.47, 0.74), method="inverted_cdf")
    assert best_of(list(values), count, (0.27, 0.47, 0.74)) == pytest.approx(list(expected))


def test_best_of_one_is_a_quantile() -> None:
    assert best_of([4.0, 1.0, math.inf, 2.0], 1, (0.25, 0.5, 0.75, 1.0)) == [1, 2, 4, math.inf]


def test_good_range_ends_where_the_line_crosses() -> None:
    found = sensitivity([(1e-3, 2.0), (1e-2, 1.0), (1e-1, 1.2), (1.0, math.inf)])
    assert found is not None
    assert found.best == 1e-2
    assert math.log10(found.low) == pytest.approx(-2.1)  # a tenth of the way up to 2
    assert math.log10(found.high) == pytest.approx(-1.5)  # half of the way up to 1.2
    assert found.decades == pytest.approx(0.6)
    assert not found.open


def test_good_range_is_open_where_trials_end() -> None:
    found = sensitivity([(1e-3, 2.0), (1e-2, 1.0), (1e-1, 1.05)])
    assert found is not None
    assert found.open
    assert found.high == pytest.approx(1e-1)
    assert sensitivity([(1e-3, math.inf)]) is None


def test_bins_keep_their_best() -> None:
    found = sensitivity([(1.1e-3, 3.0), (1.2e-3, 1.0), (1.3e-3, 2.0)])
    assert found is not None
    assert list(found.y) == [1.0]


def test_the_lower_of_equals_stands_for_a_bin() -> None:
    found = sensitivity([(1.3e-3, 1.0), (1.1e-3, 1.0), (1.2e-3, 1.0)])
    assert found is not None
    assert list(found.x) == [1.1e-3]


def test_the_line_between_trials_that_are_no_decade_apart() -> None:
    """Half of the way from 1 to 1.2, so half of the 0.6 decades between them."""
    found = sensitivity([(1e-2, 1.0), (10**-1.4, 1.2), (10**-2.4, 1.4)])
    assert found is not None
    assert math.log10(found.high) == pytest.approx(-1.7)
    assert math.log10(found.low) == pytest.approx(-2.1)  # a quarter of 0.4


def test_a_cost_at_the_limit_is_still_good() -> None:
    """A tenth above 1, to the bit: nothing was tried that is worse."""
    found = sensitivity([(1e-3, 2.0), (1e-2, 1.0), (1e-1, 1.1)])
    assert found is not None
    assert found.open and found.high == pytest.approx(1e-1)


def test_ranks() -> None:
    assert ranks([3.0, 1.0, math.inf, math.nan, 1.0]) == [3, 1.5, 4.5, 4.5, 1.5]


def test_mean_interval() -> None:
    runs = [run(search=0, test_loss=value) for value in np.random.default_rng(0).normal(5, 1, 40)]
    mean, low, high = mean_interval(runs, Cost("test_loss"))
    assert mean == pytest.approx(np.mean([one.test_loss for one in runs]))
    spread = np.std([one.test_loss for one in runs]) / math.sqrt(40)
    # At 90% it would be wide by 3.29 times the spread.
    assert (low, high) == pytest.approx((mean - 1.96 * spread, mean + 1.96 * spread), abs=0.015)
    apart = [run(search=n // 20, test_loss=float(n // 20)) for n in range(40)]
    assert mean_interval(apart, Cost("test_loss"))[1:] == (0, 1)  # two searches: all lies in them
    assert math.isnan(mean_interval(runs[:1], Cost("test_loss"))[1])


def test_the_mean_interval_of_searches_that_disagree() -> None:
    """Searches are drawn, and the seeds that all of them share, as for differences between pairs;
    a run without a value is left out of each draw. Worked out draw by draw."""
    rng = np.random.default_rng(4)
    searches = np.array([rng.exponential(size=8), 2 + rng.exponential(size=8)])
    searches[1, 5:] = np.nan
    runs = [
        run(search=search, seed=seed, test_loss=None if np.isnan(value) else value)
        for (search, seed), value in np.ndenumerate(searches)
    ]
    means = []
    for _ in range(20_000):
        seeds = rng.integers(8, size=8)
        drawn = np.concatenate([searches[rng.integers(2), seeds] for _ in range(2)])
        means += [] if np.isnan(drawn).all() else [np.nanmean(drawn)]
    mean, low, high = mean_interval(runs, Cost("test_loss"))
    assert mean == pytest.approx(np.nanmean(searches))
    below = stats.norm.ppf(np.mean(np.array(means) < mean))
    ends = stats.norm.cdf(2 * below + stats.norm.ppf([0.025, 0.975]))
    expected = np.quantile(means, ends)
    assert (low, high) == pytest.approx(tuple(expected), abs=0.03 * (expected[1] - expected[0]))


def test_the_mean_interval_of_runs_without_a_value() -> None:
    """They are left out; an accuracy is turned into an error."""
    runs = [run(search=0, test_accuracy=value) for value in (0.5, None, 0.5, None)]
    assert mean_interval(runs, Cost("test_accuracy", True)) == (0.5, 0.5, 0.5)
    one = mean_interval(runs[:2], Cost("test_accuracy", True))
    assert one[0] == 0.5
    assert all(map(math.isnan, one[1:]))
    assert all(map(math.isnan, mean_interval(runs[1:2], Cost("test_accuracy", True))))


def test_thousands_of_runs_take_little_memory() -> None:
    """All that is drawn of 5,000 at once would be 160 MB."""
    runs = [run(test_loss=float(n)) for n in range(5000)]
    tracemalloc.start()
    mean, low, high = mean_interval(runs, Cost("test_loss"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40e6
    half = 1.96 * 5000 / math.sqrt(12 * 5000)  # of a uniform distribution
    assert (mean, low, high) == (
        2499.5,
        pytest.approx(mean - half, abs=4),
        pytest.approx(mean + half, abs=4),
    )


def test_quantiles_of_infinite_costs() -> None:
    """The worst counts as the largest, and nothing between it and another is a number."""
    values = np.array([[1.0, math.inf], [2.0, 1.0], [3.0, math.inf]])
    found = quantiles(values, (0.0, 0.25, 0.5, 1.0))
    assert found.tolist() == [[1, 1], [1.5, math.inf], [2, math.inf], [3, math.inf]]


def test_curves_by_seconds_stand_where_most_runs_are() -> None:
    """From where all have begun to where half have ended: 60 points, interpolated."""

    def timed(*seconds: float) -> Run:
        return run([{"train_seconds": one, "val_loss": 20 - one} for one in seconds])

    runs = [timed(1.0, 3.0, 5.0), timed(2.0, 3.5, 4.0), timed(0.5, 1.0, 8.0)]
    grid, (_, median, _) = curve(runs, LOSS, "train_seconds")
    assert grid == pytest.approx(np.linspace(2, 5, 60))
    inner = grid < 4
    assert median[inner] == pytest.approx(20 - grid[inner])
    assert median[-1] == pytest.approx(15)


def test_curves_leave_out_what_is_missing() -> None:
    grid, found = curve([], LOSS, "step")
    assert (grid.shape, found.shape) == ((0,), (3, 0))
    untimed = run([{"val_loss": 1.0}])
    grid, (_, median, _) = curve([untimed, made([3.0, 2.0])], LOSS, "step")
    assert (list(grid), list(median)) == ([10, 20], [3, 2])
    late = run([{"step": 20, "val_loss": 1.0}])
    grid, (_, median, _) = curve([late, made([3.0, 3.0, 3.0])], LOSS, "step")
    assert (list(grid), list(median)) == ([20, 30], [2, 2]), "from where all are known"


def test_long_curves_are_thinned_to_their_ends() -> None:
    grid, (_, median, _) = curve([made([float(n) for n in range(1000)])], LOSS, "step")
    assert len(grid) == 120
    assert (grid[0], grid[-1], median[0], median[-1]) == (10, 10_000, 0, 999)
    assert np.ptp(np.diff(grid)) <= 10
    assert len(curve([made([1.0] * 120)], LOSS, "step")[0]) == 120
    assert len(curve([made([1.0] * 119)], LOSS, "step")[0]) == 119


def test_only_a_complete_trial_has_a_cost() -> None:
    accuracy = Cost("val_accuracy", True)
    assert trial_cost(Trial(number=0, state="complete", value=0.75), accuracy) == 0.25
    assert trial_cost(Trial(number=0, state="pruned", value=0.75), accuracy) == math.inf
    assert trial_cost(Trial(number=0, state="diverged"), accuracy) == math.inf


def test_a_good_range_of_negative_costs() -> None:
    """A tenth above -2 is -1.8: half of the way up to -1.6, a quarter of that to -1.2."""
    found = sensitivity([(1e-3, -1.2), (1e-2, -2.0), (1e-1, -1.6), (1e-8, math.inf), (0.0, -9.0)])
    assert found is not None
    assert list(found.x) == [1e-3, 1e-2, 1e-1]
    assert math.log10(found.low) == pytest.approx(-2.25)
    assert math.log10(found.high) == pytest.approx(-1.5)
    assert not found.open


def test_a_good_range_that_is_open_below() -> None:
    found = sensitivity([(1e-3, 1.0), (1e-2, 1.05), (1e-1, 3.0)])
    assert found is not None
    assert (found.best, found.low, found.open) == (1e-3, pytest.approx(1e-3), True)
    alone = sensitivity([(1e-3, 1.0)])
    assert alone is not None
    assert (alone.decades, alone.open) == (0, True)


def test_a_bin_is_a_third_of_a_decade() -> None:
    """Its borders lie at 1, 2.154, 4.642 and 10 times a power of ten."""
    points = [(1.0, 3.0), (2.1, 2.0), (2.2, 5.0), (4.6, 4.0), (4.7, 7.0), (9.9, 6.0), (10.1, 8.0)]
    found = sensitivity(points)
    assert found is not None
    assert list(found.x) == [2.1, 4.6, 9.9, 10.1]
    assert list(found.y) == [2, 4, 6, 8]


def test_texts() -> None:
    assert spread(0.123456, 0.00789) == "0.1235 ± 0.0079"
    assert spread(794.2, 60.3) == "794 ± 60"
    assert value(Reached(mean=5.0, std=None, reached=1), 3) == "5 (1 of 3)"
    assert value(Summary()) == "–"


def test_spreadsheets_run_no_name() -> None:
    assert csv_text([["=1+1", "-a", -0.5, None, 'a"b']]) == '\'=1+1,\'-a,-0.5,,"a""b"\n'


def test_latex_specials() -> None:
    text = r"\a{b}_c^d~$5&6#7%<e>|"
    expected = (
        r"\textbackslash{}a\{b\}\_c\textasciicircum{}d\textasciitilde{}\$5\&6\#7\%"
        r"\textless{}e\textgreater{}\textbar{}"
    )
    assert escape_latex(text) == expected
    assert escape_latex("1.0 ± 0.1") == r"1.0 $\pm$ 0.1"
