"""The numbers behind the figures, against what is worked out by hand or by drawing."""

import math

import numpy as np
import pytest

from src.reporting.figures_numbers import (
    Cost,
    best_of,
    curve,
    mean_interval,
    ranks,
    reached,
    sensitivity,
    steps_to,
)
from src.reporting.figures_svg import short, ticks
from src.reporting.tables import csv_text, escape_latex, spread, value

LOSS = Cost("val_loss")


def made(
    losses: list[float | None], status: str = "completed", search: int = 0
) -> dict[str, object]:
    rows = [{"step": 10 * (n + 1), "val_loss": loss} for n, loss in enumerate(losses)]
    return {"rows": rows, "status": status, "search": search, "test_loss": losses[-1]}


def test_cost() -> None:
    assert Cost("val_accuracy", True).of(0.9) == pytest.approx(0.1)
    assert Cost("val_accuracy").label == "validation error"
    assert Cost("score", True).of(3.0) == -3
    assert LOSS.of(None) == math.inf


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


def test_ranks() -> None:
    assert ranks([3.0, 1.0, math.inf, math.nan, 1.0]) == [3, 1.5, 4.5, 4.5, 1.5]


def test_mean_interval() -> None:
    runs = [
        {"search": 0, "test_loss": value} for value in np.random.default_rng(0).normal(5, 1, 40)
    ]
    mean, low, high = mean_interval(runs, Cost("test_loss"))
    assert mean == pytest.approx(np.mean([run["test_loss"] for run in runs]))
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(40), rel=0.25)
    apart = [{"search": n // 20, "test_loss": float(n // 20)} for n in range(40)]
    assert mean_interval(apart, Cost("test_loss"))[1:] == (0, 1)  # two searches: all lies in them
    assert math.isnan(mean_interval(runs[:1], Cost("test_loss"))[1])


def test_texts() -> None:
    assert short(1e-5) == "10⁻⁵"
    assert short(-2.5e-7) == "−2.5·10⁻⁷"
    assert short(0.1234567) == "0.1235"
    assert short(-math.inf) == "∞"
    assert spread(0.123456, 0.00789) == "0.1235 ± 0.0079"
    assert spread(794.2, 60.3) == "794 ± 60"
    assert value({"mean": 5.0, "std": None, "reached": 1}, 3) == "5 (1 of 3)"
    assert value(None) == "–"


@pytest.mark.parametrize("low", [1e-12, 0.013, 0.9, 7.0])
@pytest.mark.parametrize("times", [1.05, 3.0, 20.0, 1e4, 1e9])
def test_ticks_are_few_and_inside(low: float, times: float) -> None:
    for log in (True, False):
        marks = [mark for mark, _ in ticks(low, low * times, log)]
        assert 2 <= len(marks) <= 9
        assert min(marks) >= low * (1 - 1e-9)
        assert max(marks) <= low * times * (1 + 1e-9)


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
