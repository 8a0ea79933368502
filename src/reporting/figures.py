"""The figures of a comparison, described once; the page draws them as SVG, papers use files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from src.comparing.record import Comparison, Interval, Trial
from src.comparing.words import verdict
from src.metrics import Direction
from src.reporting.figures_numbers import (
    GOOD,
    Cost,
    Sensitivity,
    best_of,
    curve,
    mean_interval,
    ranks,
    reached,
    sensitivity,
    steps_to,
    trial_cost,
)
from src.results.status import Status

Kind = Literal["line", "step", "path", "contour", "points", "mark", "interval", "bar", "cell"]
INK = 48  # the style of what belongs to no method: the last colour, the first marker and dash
SHARE = (0.0, 1.03)
LOWER, HIGHER = "lower is better", "higher is better"
QUARTILES = (0.25, 0.5, 0.75)
TARGETS = (2.0, 1.5, 1.2, 1.1, 1.0, 0.95, 0.9)
MOST_PAIRS = 6  # of the figure of looks
LENGTHS = (0.1, 0.2, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Axis:
    """One direction of a panel.

    Args:
        ticks: (position, text) of categories; none for numbers.
        reverse: whether small values lie far from the origin, as ranks do.
        mark: the position of a line across the panel.
        limits: lowest and highest position; None takes them from the values.
        better: which way is better, in words; nothing where neither is.
        upright: whether the categories of an x axis stand above it, each from bottom to top.
    """

    label: str
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    reverse: bool = False
    mark: float | None = None
    limits: tuple[float, float] | None = None
    better: str = ""
    upright: bool = False

    @property
    def title(self) -> str:
        return f"{self.label} ({self.better})" if self.better else self.label


@dataclass(frozen=True)
class Series:
    """Data drawn in one colour. `low` and `high` bound y of a line, x of an interval.

    A path joins its points in their order, a line by x. Contours are ground, not data.

    Args:
        style: the number of its colour, dashes and marker.
        hollow: drawn as minor: not completed, not tuned, single runs behind their mean.
        notes: a text for each point, shown under the pointer.
        shades, texts: of cells: how strongly each is filled, 0 most, and what stands in it.
    """

    name: str
    style: int
    kind: Kind
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    hollow: bool = False
    notes: Sequence[str] = ()
    shades: Sequence[int] = ()
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """A picture with two axes.

    Args:
        height: in pixels; none takes it from what is drawn.
    """

    title: str
    x: Axis
    y: Axis
    series: list[Series]
    height: float = 0
    subtitle: str = ""


@dataclass(frozen=True)
class Key:
    """What a kind of mark means, in the legend. `band` is the area of a line.

    The style of a cell is its shade.
    """

    kind: Kind | Literal["band"]
    text: str
    hollow: bool = False
    style: int = INK


@dataclass(frozen=True)
class Figure:
    """Panels that belong together.

    Args:
        key: names its files.
        legend: (name, style) of each method.
        keys: what the marks mean.
        note: lines that stand beneath the picture on paper.
        table: heading and rows of numbers read off the panels.
    """

    key: str
    title: str
    caption: str
    panels: list[Panel]
    legend: list[tuple[str, int]]
    table: list[list[str]] = field(default_factory=list)
    keys: tuple[Key, ...] = ()
    note: tuple[str, ...] = ()

    def rows(self) -> Iterator[list[Any]]:
        """The data, heading first, to seven digits."""
        yield ["panel", "series", "x_is", "x", "y_is", "y", "low", "high", "note"]
        for panel in self.panels:
            for series in panel.series:
                if series.kind != "contour":
                    yield from _rows(panel, series)


def _rows(panel: Panel, series: Series) -> Iterator[list[Any]]:
    x_names, y_names = dict(panel.x.ticks), dict(panel.y.ticks)
    for number, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        bounds = (series.low[number], series.high[number]) if len(series.low) else ()
        note = series.notes[number] if series.notes else ""
        x_text = x_names.get(x, _digits(x))
        y_text = y_names.get(round(y), _digits(y)) if y_names else _digits(y)
        low, high = map(_digits, bounds) if bounds else ("", "")
        yield [panel.title, series.name, panel.x.label, x_text, panel.y.label, y_text, low, high,
               note]  # fmt: skip


def _digits(value: float) -> float:
    return float(f"{value:.7g}")


def figures(comparison: Comparison) -> list[Figure]:
    """Every figure that has something to draw."""
    built = (build(comparison) for build in BUILDERS)
    return [figure for figure in built if any(panel.series for panel in figure.panels)]


def selection(comparison: Comparison) -> Cost:
    return _cost(comparison, comparison.selection_metric)


def _cost(comparison: Comparison, metric: str) -> Cost:
    return Cost(metric, comparison.direction_of(metric) is Direction.MAXIMIZE)


def _figure(
    comparison: Comparison, key: str, title: str, caption: str, panels: list[Panel],
    table: list[list[str]] | None = None, keys: tuple[Key, ...] = (),
) -> Figure:  # fmt: skip
    legend = [(name, number) for number, name in enumerate(comparison.methods)]
    drawn = [panel for panel in panels if panel.series]
    return Figure(key, title, caption, drawn, legend, table or [], keys)


def _series_of(comparison: Comparison, make: Callable[[str, int], Series | None]) -> list[Series]:
    candidates = (make(name, number) for number, name in enumerate(comparison.methods))
    return [series for series in candidates if series is not None and len(series.x)]


def ranking(comparison: Comparison) -> Figure:
    cost = Cost(comparison.metric, comparison.direction == Direction.MAXIMIZE)
    ends = "interval, which holds for all pairs and looks together; hollow: undecided"
    if not comparison.by_looks:
        ends = "95% bootstrap interval; hollow: undecided, by the interval or by the test"
    return _figure(
        comparison,
        "ranking",
        "Ranking",
        "Left: runs on fresh seeds (small), the mean and its 95% bootstrap interval (large); "
        "hollow: the method's untuned defaults. Right: differences between paired runs with their "
        f"{ends}.",
        [_results(comparison, cost), *_differences(comparison, cost)],
        keys=(
            Key("points", "a run on a fresh seed", hollow=True),
            Key("interval", "mean of the tuned runs; a decided pair; 95% interval"),
            Key("interval", "mean of untuned defaults; an undecided pair", hollow=True),
        ),
    )


def _results(comparison: Comparison, cost: Cost) -> Panel:
    ticks: list[tuple[float, str]] = []
    series: list[Series] = []
    for number, name in enumerate(comparison.methods):
        for kind in ("tuned", "default"):
            runs = comparison.of(name, kind)
            valued = [run for run in runs if run.of(cost.metric) is not None]
            if not valued:
                continue
            y, label = float(len(ticks)), name if kind == "tuned" else f"{name}, default"
            ticks.append((y, label))
            spread = [y + 0.24 * np.sin(2.4 * index) for index in range(len(valued))]
            values = [cost.of(run.of(cost.metric)) for run in valued]
            notes = [f"seed {run.seed}, search {run.search}" for run in valued]
            series.append(Series(label, number, "points", values, spread, hollow=True, notes=notes))
            mean, low, high = mean_interval(runs, cost)
            note = [f"mean of {len(valued)}"]
            series.append(
                Series(label, number, "interval", [mean], [y], [low], [high],
                       kind == "default", note)
            )  # fmt: skip
    x = cost_axis(cost, log_fits([value for drawn in series for value in drawn.x]))
    title = f"Results on the {cost.part} set"
    return Panel(title, x, Axis("", ticks=tuple(ticks), reverse=True), series)


def _differences(comparison: Comparison, cost: Cost) -> list[Panel]:
    names, ticks, series = comparison.methods, [], []
    for y, pair in enumerate(comparison.pairs):
        label = f"{pair.a} − {pair.b}"
        ticks.append((float(y), label))
        style = names.index(pair.a) if pair.a in names else 0
        numbers = [_number(bound) for bound in (pair.difference, pair.low, pair.high)]
        series.append(
            Series(label, style, "interval", [numbers[0]], [float(y)], [numbers[1]],
                   [numbers[2]], pair.verdict == "undecided",
                   [verdict(pair, comparison.withheld, comparison.measure)])
        )  # fmt: skip
    label = f"difference in {comparison.metric.replace('_', ' ')}"
    side = "above" if comparison.direction == Direction.MAXIMIZE else "below"
    x_axis = Axis(label, mark=0.0, better=f"{side} 0 the first is better")
    y_axis = Axis("", ticks=tuple(ticks), reverse=True)
    return [Panel("Differences between pairs", x_axis, y_axis, series)]


def looks(comparison: Comparison) -> Figure:
    """How the intervals of the pairs narrowed that were open longest."""
    seen: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for look in comparison.looks:
        for pair in look.pairs:
            numbers = tuple(map(_number, (pair.difference, pair.low, pair.high)))
            if np.isfinite(numbers).all():
                runs = float(look.seeds * look.searches)
                seen.setdefault((pair.a, pair.b), []).append((runs, *numbers))
    longest = sorted(
        (pair for pair in seen if len(seen[pair]) > 1), key=lambda pair: -len(seen[pair])
    )
    name = f"difference in {comparison.metric.replace('_', ' ')}"
    unit = "runs of each" if any(look.searches > 1 for look in comparison.looks) else "seeds"
    panels = []
    for a, b in longest[:MOST_PAIRS]:
        x, y, low, high = map(list, zip(*seen[a, b], strict=True))
        style = comparison.methods.index(a) if a in comparison.methods else 0
        line = Series(f"{a} − {b}", style, "line", x, y, low, high)
        panels.append(Panel(f"{a} − {b}", Axis(unit, log=True), Axis(name, mark=0.0), [line]))
    caption = (
        "The difference of each pair that went on after its first look, and the interval of each "
        "look (band), which holds for all looks and pairs together. A pair ends where the test "
        "tells it apart from 0, or where the band lies within the margin"
    )
    if comparison.margin.value is not None:
        caption += f" of ±{comparison.margin.value:.3g}"
    keys = (Key("line", "difference"), Key("band", "interval of the look"))
    return _figure(comparison, "looks", "Looks", f"{caption}.", panels, keys=keys)


def cost_axis(cost: Cost, log: bool) -> Axis:
    return Axis(cost.label, log, better=LOWER)


def ended(text: str) -> str:
    """A text as a sentence."""
    return f"{(text or 'not measured').rstrip('.')}."


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def log_fits(values: Sequence[float], wide: float = 3) -> bool:
    """Whether a log axis fits: nearly all values are positive and span a factor of `wide`."""
    finite = np.array([value for value in values if np.isfinite(value)])
    positive = finite[finite > 0]
    if not positive.size or positive.size < 0.8 * finite.size:
        return False
    return bool(positive.max() >= wide * positive.min())


def curves(comparison: Comparison) -> Figure:
    loss = Cost("val_loss")
    timing = comparison.timing
    seconds = "By training seconds" + ("" if timing.valid else " (not comparable)")
    panels = [
        _curves(comparison, loss, "step", "By step", "step"),
        _curves(comparison, loss, "train_seconds", seconds, "training seconds"),
    ]
    for name in [*comparison.directions][1:]:
        cost = _cost(comparison, f"val_{name}")
        title = f"{cost.name.capitalize()} by step"
        panels.append(_curves(comparison, cost, "step", title, "step"))
    caption = (
        "The tuned runs on validation data: median (line) and the range from the 10% to the 90% "
        "quantile (band). From where a run diverged it counts as infinitely bad; where more than "
        "10% have, the band has no upper half."
    )
    if not timing.valid:
        caption += f" Seconds may not be compared here: {ended(timing.text)}"
    keys = (Key("line", "median of the runs"), Key("band", "from the 10% to the 90% quantile"))
    return _figure(comparison, "curves", "Learning curves", caption, panels, keys=keys)


def _curves(comparison: Comparison, cost: Cost, by: str, title: str, label: str) -> Panel:
    def draw(name: str, number: int) -> Series | None:
        grid, (low, median, high) = curve(comparison.of(name), cost, by)
        if not np.isfinite(median).any():
            return None
        return Series(name, number, "line", list(grid), list(median), list(low), list(high))

    series = _series_of(comparison, draw)
    values = [value for drawn in series for value in drawn.y]
    return Panel(title, Axis(label), cost_axis(cost, log_fits(values, 1)), series)


def _rate(trial: Trial) -> tuple[str, float] | None:
    for name, value in trial.params.items():
        if name.rpartition(".")[2] == "lr" and isinstance(value, int | float):
            return name, float(value)
    return None


def _tried(comparison: Comparison, name: str, cost: Cost) -> list[tuple[float, float, str]]:
    """Each trial's learning rate, cost (infinite if it diverged or failed) and note."""
    points = []
    for trial in comparison.trials(name):
        rate = _rate(trial)
        if rate is not None and trial.state != Status.PRUNED:
            note = f"trial {trial.number}, {trial.state}"
            points.append((rate[1], trial_cost(trial, cost), note))
    return points


def learning_rate(comparison: Comparison) -> Figure:
    cost = selection(comparison)
    table = [["method", f"best {cost.label}", "at learning rate", "good range", "width in decades"]]
    series, widths = [], []
    for number, name in enumerate(comparison.methods):
        tried = _tried(comparison, name, cost)
        response = sensitivity([(x, y) for x, y, _ in tried])
        if response is None:
            continue
        x, y, notes = zip(*tried, strict=True)
        series.append(Series(name, number, "points", x, y, hollow=True, notes=notes))
        series.append(Series(name, number, "line", list(response.x), list(response.y)))
        widths.append((name, number, response))
        table.append([name, *_good(response)])
    log = log_fits([value for drawn in series for value in drawn.y])
    curves = Panel(
        "One curve per method", Axis("learning rate", True), cost_axis(cost, log), series
    )
    caption = (
        "From the searches' trials, everything else as it was sampled: small marks are trials, the "
        "line joins the best trial of every third of a decade. Marks on the upper edge diverged or "
        "failed; pruned trials are left out. Right: the good range, where the line stays within "
        f"{GOOD:.0%} of the method's own best; “≥” and hollow: it ends where trials "
        "end. A method that is equally bad everywhere has a wide one too: read it with the best "
        "value."
    )
    panels = [curves, _widths(widths)]
    title = "Sensitivity to the learning rate"
    keys = (
        Key("points", "a trial", hollow=True),
        Key("line", "the best trial of each third of a decade"),
        Key("interval", "best rate and good range"),
        Key("interval", "a range that ends where trials end", hollow=True),
    )
    table = table if widths else []
    return _figure(comparison, "sensitivity", title, caption, panels, table, keys)


def _widths(responses: list[tuple[str, int, Sensitivity]]) -> Panel:
    ticks, series = [], []
    for y, (name, number, response) in enumerate(responses):
        ticks.append((float(y), name))
        note = f"{_good(response)[-1]} decades"
        series.append(
            Series(name, number, "interval", [response.best], [float(y)], [response.low],
                   [response.high], response.open, [note])
        )  # fmt: skip
    y_axis = Axis("", ticks=tuple(ticks), reverse=True)
    return Panel("Best rate and good range", Axis("learning rate", True), y_axis, series)


def _good(response: Sensitivity) -> list[str]:
    width = f"{'≥ ' if response.open else ''}{response.decades:.2f}"
    return [
        f"{response.y.min():.4g}",
        f"{response.best:.3g}",
        f"{response.low:.3g} to {response.high:.3g}",
        width,
    ]


def budget(comparison: Comparison) -> Figure:
    cost = selection(comparison)
    caption = (
        "Left: the best of k trials drawn at random, with replacement, from those made: median and "
        "the middle half (the bootstrap's limit, in closed form). A sampler that learns from "
        "its trials makes small budgets look better here than they were. Right: the best so far, "
        "in the order in which the trials were made, a line per search."
    )
    panels = [_drawn(comparison, cost), so_far(comparison, cost)]
    keys = (
        Key("line", "median of the best of k"),
        Key("band", "the middle half"),
        Key("step", "best so far of a search"),
    )
    return _figure(comparison, "budget", "What tuning buys", caption, panels, keys=keys)


def _drawn(comparison: Comparison, cost: Cost) -> Panel:
    def draw(name: str, number: int) -> Series | None:
        costs = [trial_cost(trial, cost) for trial in comparison.trials(name)]
        if not np.isfinite(costs).any():
            return None
        counts = range(1, len(costs) + 1)
        low, median, high = zip(*(best_of(costs, k, QUARTILES) for k in counts), strict=True)
        return Series(name, number, "line", list(map(float, counts)), median, low, high)

    series = _series_of(comparison, draw)
    log = log_fits([value for drawn in series for value in drawn.y])
    title = "Best of k trials"
    return Panel(title, Axis("trials", _long(series)), cost_axis(cost, log), series)


def _long(series: list[Series]) -> bool:
    return max((len(drawn.x) for drawn in series), default=0) > 8


def so_far(comparison: Comparison, cost: Cost) -> Panel:
    """The best value by the number of trials, a line per search."""
    series = []
    for search in comparison.searches:
        costs = [trial_cost(trial, cost) for trial in search.trials]
        if search.method not in comparison.methods or not np.isfinite(costs).any():
            continue
        style = comparison.methods.index(search.method)
        best = list(np.minimum.accumulate(costs))
        counts = [float(k) for k in range(1, len(costs) + 1)]
        series.append(Series(search.method, style, "step", counts, best))
    log = log_fits([value for drawn in series for value in drawn.y])
    title = "Best so far, as searched"
    return Panel(title, Axis("trials", _long(series)), cost_axis(cost, log), series)


def trials(comparison: Comparison) -> Figure:
    cost = selection(comparison)

    def shares(name: str, number: int) -> Series | None:
        costs = [trial_cost(trial, cost) for trial in comparison.trials(name)]
        x, y = reached(costs)
        return Series(name, number, "step", [x[0], *x], [0.0, *y]) if x else None

    series = _series_of(comparison, shares)
    log = log_fits([value for drawn in series for value in drawn.x])
    y = Axis("share of trials", limits=SHARE, better=HIGHER)
    all_trials = Panel("Share of trials at most this bad", cost_axis(cost, log), y, series)
    caption = (
        "How good a trial was, whatever its parameters: a curve far to the left and steep belongs "
        "to a method that is easy to tune. Trials that were pruned, diverged or failed count among "
        "all, so a curve may end below 1."
    )
    return _figure(
        comparison, "trials", "Distribution over trials", caption,
        [all_trials, _states(comparison)],
        keys=(Key("step", "share of the trials"), Key("bar", "share of trials completed")),
    )  # fmt: skip


def _states(comparison: Comparison) -> Panel:
    """The share of completed trials, with counts by state."""
    ticks: list[tuple[float, str]] = []
    series: list[Series] = []
    for number, name in enumerate(comparison.methods):
        trials = comparison.trials(name)
        complete = sum(trial.state == "complete" for trial in trials)
        if not trials:
            continue
        y = float(len(ticks))
        ticks.append((y, name))
        states = sorted({trial.state for trial in trials})
        counts = [f"{sum(t.state == s for t in trials)} {s}" for s in states]
        share = complete / len(trials)
        note = ", ".join(counts)
        series.append(Series(name, number, "bar", [share], [y], notes=[note]))
    y_axis = Axis("", ticks=tuple(ticks), reverse=True)
    return Panel(
        "Share of trials completed",
        Axis("share of trials", limits=SHARE, better=HIGHER),
        y_axis,
        series,
    )


def target(comparison: Comparison) -> Figure:
    goal = comparison.target
    timing = comparison.timing
    seconds = "Seconds, tuned" + ("" if timing.valid else " (not comparable)")
    caption = "The share of runs that have reached the target by then."
    if goal.value is not None:
        metric = goal.metric.replace("_", " ").replace("val", "validation")
        reference = comparison.reference or "a method"
        whose = "was given" if goal.given else f"is where the runs of {reference} end"
        caption = (
            f"The share of runs that have reached a {metric} of {goal.value:.4g} by then; the "
            f"target {whose}. A curve that ends below 1 leaves out runs that never got there."
        )
    panels = [
        _profile(comparison, "tuned", "steps_to_target", "Steps, tuned", "step"),
        _profile(comparison, "tuned", "seconds_to_target", seconds, "training seconds"),
        _profile(comparison, "default", "steps_to_target", "Steps, untuned defaults", "step"),
    ]
    keys = (Key("step", "share of the runs that are there"),)
    return _figure(comparison, "target", "Steps to the target", caption, panels, keys=keys)


def _profile(comparison: Comparison, kind: str, key: str, title: str, label: str) -> Panel:
    def draw(name: str, number: int) -> Series | None:
        x, y = reached([run.of(key) for run in comparison.of(name, kind)])
        return Series(name, number, "step", [x[0], *x], [0.0, *y]) if x else None

    series = _series_of(comparison, draw)
    log = log_fits([value for drawn in series for value in drawn.x])
    return Panel(
        title,
        Axis(label, log, better=LOWER),
        Axis("share of runs", limits=SHARE, better=HIGHER),
        series,
    )


def importance(comparison: Comparison) -> Figure:
    panels = []
    for number, name in enumerate(comparison.methods):
        shares = _importance(comparison, name)
        if shares:
            ticks = tuple((float(y_value), text) for y_value, text in enumerate(shares))
            x, y = list(shares.values()), [y_value for y_value, _ in ticks]
            bars = [Series(name, number, "bar", x, y)]
            axis = Axis("", ticks=ticks, reverse=True)
            panels.append(Panel(name, Axis("share of the variance", limits=SHARE), axis, bars))
    caption = (
        "How much of the differences between a method's trials goes with each parameter; the mean "
        "over its searches. With few trials this is rough."
    )
    title, keys = "Importance of the parameters", (Key("bar", "share of the variance"),)
    return _figure(comparison, "importance", title, caption, panels, keys=keys)


def _importance(comparison: Comparison, name: str) -> dict[str, float]:
    by_parameter: dict[str, list[float]] = {}
    for search in comparison.searches:
        if search.method == name:
            for parameter, share in search.importance.items():
                by_parameter.setdefault(parameter, []).append(_number(share))
    means = {parameter: float(np.mean(shares)) for parameter, shares in by_parameter.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def slices(comparison: Comparison) -> Figure:
    cost = selection(comparison)
    panels = []
    for number, name in enumerate(comparison.methods):
        names = {key for trial in comparison.trials(name) for key in trial.params}
        for parameter in sorted(names):
            panels.append(_slice(comparison, name, number, parameter, cost))
    caption = (
        "Every trial over each of its parameters, across the whole space searched. Hollow marks "
        "are pruned trials at the value they had by then; marks on the upper edge have no value: "
        "they diverged, failed or were pruned before their first."
    )
    keys = (Key("points", "a complete trial"), Key("points", "any other trial", hollow=True))
    return _figure(comparison, "slices", "Slices of the searches", caption, panels, keys=keys)


def _slice(comparison: Comparison, name: str, style: int, parameter: str, cost: Cost) -> Panel:
    trials = [trial for trial in comparison.trials(name) if parameter in trial.params]
    xs, ticks = _positions([trial.params[parameter] for trial in trials])
    series = []
    for hollow in (True, False):
        points = [
            (x_value, cost.of(trial.value), f"trial {trial.number}, {trial.state}")
            for x_value, trial in zip(xs, trials, strict=True)
            if (trial.state != "complete") == hollow
        ]
        if points:
            x, y, notes = zip(*points, strict=True)
            series.append(Series(name, style, "points", x, y, hollow=hollow, notes=notes))
    values = [value for drawn in series for value in drawn.y]
    limits, log = _space(comparison, name, parameter)
    if limits is None:
        log = not ticks and log_fits(xs, 10)
    x_axis = Axis(parameter, log, ticks, limits=limits)
    return Panel(name, x_axis, cost_axis(cost, log_fits(values)), series)


def _space(
    comparison: Comparison, name: str, parameter: str
) -> tuple[tuple[float, float] | None, bool]:
    """The ends of a parameter's space over all searches, with a margin, and whether it is log."""
    dimensions = [item.space.get(parameter) for item in comparison.searches if item.method == name]
    spaces = [item for item in dimensions if isinstance(item, Interval) and _has_width(item)]
    if not spaces:
        return None, False
    low, high = min(item.low for item in spaces), max(item.high for item in spaces)
    if any(item.log for item in spaces):
        margin = (high / low) ** 0.04
        return (low / margin, high * margin), True
    return (low - 0.04 * (high - low), high + 0.04 * (high - low)), False


def _has_width(space: Interval) -> bool:
    """Whether an axis can have its two ends."""
    return space.low < space.high and (space.low > 0 or not space.log)


def _positions(values: list[Any]) -> tuple[list[float], tuple[tuple[float, str], ...]]:
    """Positions on an axis: numbers themselves, other values as categories with ticks."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values], ()
    names = sorted({str(value) for value in values})
    positions = [float(names.index(str(value))) for value in values]
    return positions, tuple((float(position), name) for position, name in enumerate(names))


def stability(comparison: Comparison) -> Figure:
    caption = (
        "Would another choice have ranked the methods otherwise? Ranks by metric, by how hard the "
        "target is (median steps to a multiple of the target's value; never reaching it ranks "
        "last), by tuning budget (median best of k trials) and by length of training (median "
        "validation loss there). Lines that cross are ranks that depend on the choice."
    )
    panels = [
        _bumps(comparison, "By metric", "metric", _by_metric(comparison)),
        _bumps(comparison, "By target", "multiple of the target's value", _by_target(comparison)),
        _bumps(comparison, "By tuning budget", "trials", _by_budget(comparison)),
        _bumps(comparison, "By length of training", "share of the steps", _by_length(comparison)),
    ]
    keys = (Key("line", "a method's rank"),)
    return _figure(comparison, "stability", "Stability of the ranks", caption, panels, keys=keys)


def _bumps(
    comparison: Comparison, title: str, label: str, columns: dict[str, list[float]]
) -> Panel:
    """Draw ranks; `columns` has a value per method for each choice, lower is better."""
    ranked = {name: row for name, row in columns.items() if np.isfinite(row).any()}
    if not ranked or len(comparison.methods) < 2:
        return Panel(title, Axis(label), Axis("rank"), [])
    xs = [float(index) for index in range(len(ranked))]
    table = np.array([ranks(row) for row in ranked.values()])
    series = [
        Series(name, number, "line", xs, [float(rank) for rank in table[:, number]])
        for number, name in enumerate(comparison.methods)
    ]
    x = Axis(label, ticks=tuple(zip(xs, ranked, strict=True)))
    y_ticks = tuple((float(n + 1), str(n + 1)) for n in range(len(comparison.methods)))
    return Panel(title, x, Axis("rank", ticks=y_ticks, reverse=True, better="1 is best"), series)


def _medians(comparison: Comparison, cost: Cost) -> list[float]:
    """Each method's median over its tuned runs; a run without a value counts as the worst."""
    rows = [[cost.of(run.of(cost.metric)) for run in comparison.of(n)] for n in comparison.methods]
    return [float(np.median(row)) if row else np.inf for row in rows]


def _by_metric(comparison: Comparison) -> dict[str, list[float]]:
    cost = Cost(comparison.metric, comparison.direction == Direction.MAXIMIZE)
    metrics = {
        **({} if cost.part == "test" else {cost.label: cost}),
        **{
            name.replace("_", " "): _cost(comparison, f"test_{name}")
            for name in comparison.directions
        },
        "steps": Cost("steps_to_target"),
        "seconds": Cost("seconds_to_target"),
        "area": Cost("area"),
    }
    if not comparison.timing.valid:
        del metrics["seconds"]
    return {name: _medians(comparison, cost) for name, cost in metrics.items()}


def _by_target(comparison: Comparison) -> dict[str, list[float]]:
    goal = comparison.target
    if goal.value is None:
        return {}
    cost = Cost(goal.metric)
    value = cost.of(goal.value)

    def column(factor: float) -> list[float]:
        times = (steps_to(comparison.of(name), cost, factor * value) for name in comparison.methods)
        return [float(np.median(steps)) if steps.size else np.inf for steps in times]

    return {f"{factor:g}": column(factor) for factor in TARGETS}


def _by_budget(comparison: Comparison) -> dict[str, list[float]]:
    cost = selection(comparison)
    rows = [[trial_cost(t, cost) for t in comparison.trials(name)] for name in comparison.methods]
    most = max(map(len, rows), default=0)
    counts = [2**power for power in range(most.bit_length()) if 2**power <= most]
    return {
        str(count): [best_of(row, count, [0.5])[0] if row else np.inf for row in rows]
        for count in counts
    }


def _by_length(comparison: Comparison) -> dict[str, list[float]]:
    medians = [curve(comparison.of(name), Cost("val_loss"), "step") for name in comparison.methods]
    steps = max((grid[-1] for grid, _ in medians if grid.size), default=0)

    def column(share: float) -> list[float]:
        return [
            float(np.interp(share * steps, grid, np.minimum(median, 1e300), left=np.inf))
            if grid.size
            else np.inf
            for grid, (_, median, _) in medians
        ]

    return {f"{share:.0%}": column(share) for share in LENGTHS} if steps else {}


BUILDERS = (
    ranking,
    looks, curves, learning_rate, budget, trials, target, importance, slices, stability,
)  # fmt: skip
