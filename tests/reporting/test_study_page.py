"""What a study's figures show, against its trials."""

import math
from typing import Any

import pytest

from src.comparing.record import Choices, Interval, Search
from src.metrics import Direction
from src.reporting.figures import Figure
from src.reporting.study_page import _position, study_page

SPACE = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.0, "high": 0.8},
    "act": {"choices": ["relu", "gelu", None]},
    "same": {"low": 2, "high": 2},
    "alone": {"choices": [1]},
}
TRIALS = [
    {"number": 0, "state": "complete", "value": 0.5,
     "params": {"lr": 1e-2, "momentum": 0.4, "act": "gelu", "same": 2, "alone": 1}},
    {"number": 1, "state": "diverged", "params": {"lr": 1.0, "momentum": 0.0, "act": "relu"}},
    {"number": 3, "state": "complete", "value": 0.25,
     "params": {"lr": 1e-4, "momentum": 0.8, "act": None, "same": 2, "alone": 1}},
    {"number": 4, "state": "pruned", "value": 0.9, "params": {"lr": 1e-3, "momentum": 0.2}},
]  # fmt: skip
CURVES = {0: {2: 0.5, 1: 1.0}, 1: {1: math.nan}, 3: {1: 0.25}, 4: {1: 0.9}, 9: {}}


def drawn(direction: Direction = Direction.MINIMIZE, **signature: Any) -> dict[str, Figure]:
    search = Search.model_validate(
        {"method": "s", "space": SPACE, "trials": TRIALS, "importance": {"lr": 0.9}}
    )
    _, figures = study_page(search, signature, CURVES, direction)
    return {figure.key: figure for figure in figures}


def test_the_history() -> None:
    (panel,) = drawn()["history"].panels
    other, complete, best = panel.series
    assert (list(complete.x), list(complete.y)) == ([1, 3], [0.5, 0.25])
    assert (list(other.x), list(other.y), other.hollow) == ([2, 4], [math.inf, 0.9], True)
    assert (list(best.x), list(best.y)) == ([1, 2, 3, 4], [0.5, 0.5, 0.25, 0.25])
    assert panel.y.title == "value (lower is better)"


def test_the_curves_of_the_trials() -> None:
    figure = drawn()["curves"]
    first, third, fourth = figure.panels[0].series
    assert (list(first.x), list(first.y)) == ([1, 2], [1.0, 0.5])
    assert [series.name for series in (third, fourth)] == ["trial 3, complete", "trial 4, pruned"]
    assert figure.legend == [("complete", first.style), ("pruned", fourth.style)]


def test_parallel_coordinates() -> None:
    """Of complete trials, over parameters with more than one place; the best drawn last."""
    (panel,) = drawn()["parallel"].panels
    assert [name for _, name in panel.x.ticks] == ["lr", "momentum", "act"]
    other, best = panel.series
    assert list(best.y) == pytest.approx([0, 1, 1])
    assert list(other.y) == pytest.approx([0.5, 0.5, 0.5])
    assert best.style != other.style


def test_larger_values_may_be_better() -> None:
    figures = drawn(Direction.MAXIMIZE)
    best = figures["history"].panels[0].series[-1]
    assert list(best.y) == [-0.5] * 4
    assert figures["history"].panels[0].y.title == "−(value) (lower is better)"
    accuracy = drawn(Direction.MAXIMIZE, **{"objective.metric": "val_accuracy"})
    best = accuracy["history"].panels[0].series[-1]
    assert list(best.y) == [0.5] * 4
    assert accuracy["history"].panels[0].y.title == "validation error (lower is better)"


def test_a_study_without_trials() -> None:
    text, figures = study_page(Search(method="<s>"), {}, {}, Direction.MINIMIZE)
    assert figures == [] and "<h1>Study &lt;s&gt;</h1>" in text and "0 trials" in text


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (Interval(low=1, high=9), 3, 0.25),
        (Interval(low=0.01, high=100.0, log=True), 1.0, 0.5),
        (Interval(low=0.0, high=100.0, log=True), 1.0, None),
        (Interval(low=0.01, high=100.0, log=True), 0.0, None),
        (Interval(low=1, high=1), 1, None),
        (Interval(low=1, high=9), "3", None),
        (Interval(low=1, high=9), None, None),
        (Choices(choices=["a", "b", "c"]), "b", 0.5),
        (Choices(choices=["a", "b", "c"]), "d", None),
        (Choices(choices=["a"]), "a", None),
    ],
)
def test_where_a_value_lies_in_its_space(space: Any, value: Any, expected: float | None) -> None:
    assert _position(space, value) == (expected if expected is None else pytest.approx(expected))
