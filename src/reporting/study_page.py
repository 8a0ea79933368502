"""What the page of a study shows: its trials over time, over their parameters, and their curves."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from src.comparing.record import Comparison, Interval, Search, Trial
from src.metrics import Direction
from src.reporting import figures
from src.reporting.comparison_page import counted, record, text
from src.reporting.figures import Axis, Figure, Key, Panel, Series, cost_axis, log_fits
from src.reporting.figures_numbers import Cost, trial_cost
from src.reporting.page import Page, Section, render
from src.results.status import Status

BEST = 0.25  # the share of trials that stands out in parallel coordinates
GOOD, OTHER = 0, 5  # styles


def study_page(
    search: Search,
    signature: Mapping[str, Any],
    curves: Mapping[int, Mapping[int, float]],
    direction: Direction,
) -> tuple[str, list[Figure]]:
    """The whole file, and the figures on it.

    Args:
        search: the study's trials.
        signature: the settings that all trials share.
        curves: by a trial's number, its value at each evaluation, counted from 1.
        direction: of the values.
    """
    metric = str(signature.get("objective.metric", "value"))
    as_compared = Comparison(
        name=search.method, methods=[search.method], searches=[search], metric=metric,
        selection_metric=metric, direction=direction,
    )  # fmt: skip
    cost = figures.selection(as_compared)
    drawn = [
        _history(as_compared, cost),
        _curves(search, curves, cost),
        figures.learning_rate(as_compared),
        figures.slices(as_compared),
        _parallel(search, cost),
        figures.importance(as_compared),
        figures.trials(as_compared),
    ]
    drawn = [figure for figure in drawn if figure.panels]
    sections = [Section(each.key, each.title, each.title, figure=each) for each in drawn]
    settings = [[key, text(value)] for key, value in signature.items()]
    sections.append(record("settings", "Settings", "What all its trials share.",
                           ("setting", "value"), settings))  # fmt: skip
    states = [trial.state for trial in search.trials]
    about = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return render(
        Page(f"Study {search.method}", [counted(len(states), "trial"), *about], sections)
    ), drawn


def _history(comparison: Comparison, cost: Cost) -> Figure:
    """Each trial's value by its number, and the best so far."""
    (search,) = comparison.searches
    series = [*_marks(search, cost)]
    if series:
        series += figures.so_far(comparison, cost).series
    log = log_fits([y for each in series for y in each.y])
    panel = Panel("Value of each trial", Axis("trial, from 1"), cost_axis(cost, log), series)
    keys = (
        Key("points", "a complete trial"),
        Key("points", "any other trial", hollow=True),
        Key("step", "the best so far"),
    )
    caption = "Marks on the upper edge have no value: the trial diverged or failed."
    return Figure("history", "History", caption, [panel] if series else [], [], keys=keys)


def _marks(search: Search, cost: Cost) -> Iterator[Series]:
    for hollow in (True, False):
        points = [
            (float(number), cost.of(trial.value), f"trial {trial.number}, {trial.state}")
            for number, trial in enumerate(search.trials, 1)
            if (trial.state != "complete") == hollow
        ]
        if points:
            x, y, notes = zip(*points, strict=True)
            yield Series(search.method, GOOD, "points", x, y, hollow=hollow, notes=notes)


def _curves(search: Search, curves: Mapping[int, Mapping[int, float]], cost: Cost) -> Figure:
    """The value at each evaluation, a line per trial."""
    series = []
    legend = {"complete": GOOD, Status.PRUNED.value: 1, Status.DIVERGED.value: 2,
              Status.FAILED.value: 3}  # fmt: skip
    for trial in search.trials:
        points = sorted(curves.get(trial.number, {}).items())
        if any(math.isfinite(value) for _, value in points):
            x, y = zip(*((float(n), cost.of(value)) for n, value in points), strict=True)
            style = legend.get(trial.state, OTHER)
            series.append(Series(f"trial {trial.number}, {trial.state}", style, "line", x, y))
    log = log_fits([y for each in series for y in each.y])
    panel = Panel("By evaluation", Axis("evaluation"), cost_axis(cost, log), series)
    used = {each.style for each in series}
    shown = [(state, style) for state, style in legend.items() if style in used]
    keys = (Key("line", "a trial"),)
    caption = "What each trial reported, evaluation by evaluation."
    title = "Learning curves of the trials"
    return Figure("curves", title, caption, [panel] if series else [], shown, keys=keys)


def _parallel(search: Search, cost: Cost) -> Figure:
    """A line per complete trial across all parameters, each over the range of its space."""
    names = [
        name for name, space in search.space.items() if _position(space, _low(space)) is not None
    ]
    complete = sorted(
        (trial for trial in search.trials
         if math.isfinite(trial_cost(trial, cost)) and all(name in trial.params for name in names)),
        key=lambda trial: trial_cost(trial, cost),
    )  # fmt: skip
    good = math.ceil(BEST * len(complete))
    series = [_line(trial, search, names, rank < good) for rank, trial in enumerate(complete)]
    ticks = tuple((float(n), name) for n, name in enumerate(names))
    y = Axis("share of the range searched", limits=(-0.03, 1.03))
    panel = Panel("All parameters", Axis("parameter", ticks=ticks), y, series[::-1])
    legend = [("best quarter", GOOD), ("other complete trials", OTHER)]
    caption = (
        "From 0, the low end of a parameter's space, to 1, its high end; by logarithm where it "
    )
    caption += "was searched so. Choices stand in the order of the space."
    shown = [panel] if len(names) > 1 and series else []
    keys = (Key("line", "a complete trial"),)
    return Figure("parallel", "Parallel coordinates", caption, shown, legend, keys=keys)


def _line(trial: Trial, search: Search, names: list[str], good: bool) -> Series:
    places = [_position(search.space[name], trial.params[name]) for name in names]
    y = [math.nan if place is None else place for place in places]
    x = [float(n) for n in range(len(names))]
    return Series(f"trial {trial.number}", GOOD if good else OTHER, "line", x, y)


def _low(space: Any) -> Any:
    return space.low if isinstance(space, Interval) else space.choices[0]


def _position(space: Any, value: Any) -> float | None:
    """Where in its space a value lies, from 0 to 1; None where it can't be said."""
    if not isinstance(space, Interval):
        choices = [str(choice) for choice in space.choices]
        if len(choices) < 2 or str(value) not in choices:
            return None
        return choices.index(str(value)) / (len(choices) - 1)
    if not isinstance(value, int | float) or not space.low < space.high:
        return None
    low, high, at = float(space.low), float(space.high), float(value)
    if space.log:
        if min(low, at) <= 0:
            return None
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)
