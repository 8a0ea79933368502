"""The figures of a comparison over several problems."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from src.comparing.overall import Overall, Place, Versus
from src.comparing.profiles import LONGEST, profile
from src.reporting.figures import SHARE, Axis, Figure, Key, Panel, Series

GAPS = (2.0, 5.0, 10.0)  # standard deviations between seeds, where the shades change
RATIOS = (1.1, 1.5, 2.0, LONGEST)  # multiples of the soonest method's steps, likewise
SHARES = (0.5, 0.25, 0.0)  # of the problems, likewise
MISSED = len(RATIOS)  # the palest shade
HIGHER = "higher is better"


def figures(overall: Overall) -> list[Figure]:
    """Every figure that has something to draw; the one to look at first comes first."""
    if not overall.problems:
        return []
    return [overview(overall), order(overall), soonest(overall), profiles(overall)]


def overview(overall: Overall) -> Figure:
    caption = (
        "The number is a method's rank on the problem, by the mean of the verdict's metric over "
        "fresh seeds. The strongest cells are among the best: no method was found to end better "
        "there. The others are paler the further their mean is from the best mean, in standard "
        "deviations between the seeds of a method. “?”: the verdict on it is withheld."
    )
    keys = (
        Key("cell", "among the best", style=0),
        *(Key("cell", f"within {gap:g} standard deviations of the best", style=shade)
          for shade, gap in enumerate(GAPS, 1)),
        Key("cell", "further off", style=len(GAPS) + 1),
    )  # fmt: skip
    panel = _cells(overall, "Rank on each problem", _ended)
    return Figure("overview", "Methods and problems", caption, [panel], [], keys=keys)


def _cells(
    overall: Overall, title: str, cell: Callable[[Overall, Place], tuple[int, str, str]]
) -> Panel:
    """A row of cells for each method; `cell` gives shade, text and note of a place."""
    names = [problem.name for problem in overall.problems]
    series = []
    for number, method in enumerate(overall.methods):
        places = [overall.place(method, name) for name in names]
        shades, texts, notes = zip(*(cell(overall, place) for place in places), strict=True)
        xs, ys = [*map(float, range(len(names)))], [float(number)] * len(names)
        series.append(Series(method, number, "cell", xs, ys, notes=notes, shades=shades,
                             texts=texts))  # fmt: skip
    return Panel(title, _categories(names, "problem", upright=True),
                 _categories(overall.methods), series)  # fmt: skip


def _categories(names: Sequence[str], label: str = "", *, upright: bool = False) -> Axis:
    """An x axis if upright, else a y axis whose first category is on top."""
    ticks = tuple((float(position), name) for position, name in enumerate(names))
    return Axis(label, ticks=ticks, upright=upright, reverse=not upright)


def _ended(overall: Overall, place: Place) -> tuple[int, str, str]:
    shade = 0 if place.unbeaten else 1 + sum(place.gap > gap for gap in GAPS)
    metric = next(it.metric for it in overall.problems if it.name == place.problem)
    mean = "no value" if place.mean is None else f"{place.mean:.4g}"
    spread = "" if place.std is None else f" ± {place.std:.2g}"
    note = f"{metric.replace('_', ' ')} {mean}{spread}; {place.gap:.2g} SD from the best"
    doubt = f"; withheld: {place.doubt}" if place.doubt else ""
    return shade, "?" if place.doubt else f"{place.rank:g}", note + doubt


def soonest(overall: Overall) -> Figure:
    caption = (
        "Steps to the target of each problem: the median over fresh seeds, a miss slower than any "
        "hit, divided by those of the soonest method. The target is a validation loss that the "
        "reference method reaches, unless it was given (the table of problems has it). A step "
        "costs some methods more than others."
    )
    keys = (
        Key("cell", f"at most {RATIOS[0]:g} times the soonest", style=0),
        *(Key("cell", f"at most {ratio:g} times", style=shade)
          for shade, ratio in enumerate(RATIOS[1:], 1)),
        Key("cell", "longer, or missed (–)", style=MISSED),
    )  # fmt: skip
    panel = _cells(overall, "Steps to the target, as multiples of the soonest", _reached)
    return Figure("soonest", "How soon", caption, [panel], [], keys=keys)


def profiles(overall: Overall) -> Figure:
    caption = (
        "Left, Dolan and Moré's profile: the share of problems on which a method takes at most so "
        "many times the soonest method's steps. Right, AlgoPerf's score: the mean of that profile "
        f"from 1 to {LONGEST:g}, and what it would be were all targets harder or easier. Lines "
        "that cross are an order that depends on the target. Both depend on which methods take "
        "part."
    )
    legend = [(name, number) for number, name in enumerate(overall.methods)]
    panels = [_profiles(overall), _scores(overall)]
    return Figure("profiles", "Profiles of how soon", caption, panels, legend)


def _reached(overall: Overall, place: Place) -> tuple[int, str, str]:
    if place.ratio is None or place.steps is None:
        return MISSED, "–", "never reached by half of the runs"
    shade = sum(place.ratio > ratio for ratio in RATIOS)
    text = f"{place.ratio:.1f}" if place.ratio < 10 else f"{place.ratio:.0f}"
    return shade, text, f"{place.steps:,.0f} steps, {place.ratio:.3g} times the soonest"


def _profiles(overall: Overall) -> Panel:
    """The profiles, on one grid, so that all can be read off at any x."""
    ratios = {
        method: np.array([
            np.inf if place.ratio is None else place.ratio
            for place in overall.places if place.method == method
        ])
        for method in overall.methods
    }  # fmt: skip
    rises = [x for row in ratios.values() for x in profile(row)[0]]
    end = max([LONGEST, *(1.1 * x for x in rises)])
    grid = np.unique([1.0, *rises, end])
    series = [
        Series(name, number, "step", grid.tolist(), [float(np.mean(row <= x)) for x in grid])
        for number, (name, row) in enumerate(ratios.items())
    ]
    x_axis = Axis("multiple of the soonest method's steps", log=True, limits=(1.0, float(end)))
    y_axis = Axis("share of problems", limits=SHARE, better=HIGHER)
    return Panel("Profile", x_axis, y_axis, series)


def _scores(overall: Overall) -> Panel:
    series = []
    for number, standing in enumerate(overall.standings):
        xs = [100 * float(harder) for harder in standing.scores]
        series.append(Series(standing.method, number, "line", xs, [*standing.scores.values()]))
    x_axis = Axis("targets made harder by, %", mark=0.0)
    return Panel("Score", x_axis, Axis("score", limits=SHARE, better=HIGHER), series)


def order(overall: Overall) -> Figure:
    critical = overall.critical or math.nan
    caption = (
        f"Left: mean rank over {len(overall.problems)} problems; two methods whose bars don't "
        f"overlap differ by more than the critical difference, {critical:.2f} (Nemenyi, 5%). "
        "Right: on how many problems the method of the row was found to end better than that of "
        "the column; in the strongest cells it is better on other problems like these, too, by the "
        "exact test over problems, which alone decides that. Mean ranks depend on which methods "
        "take part; a pair's test doesn't."
    )
    keys = (
        Key("interval", "mean rank ± half the critical difference"),
        Key("cell", "better on problems like these", style=0),
        *(Key("cell", f"better on more than {share:.0%} of these problems", style=shade)
          for shade, share in enumerate(SHARES, 1) if share),
        Key("cell", "on fewer", style=len(SHARES)),
        Key("cell", "on none", style=len(SHARES) + 1),
    )  # fmt: skip
    panels = [_ranks(overall, critical), _wins(overall)]
    return Figure("order", "Over all problems", caption, panels, [], keys=keys)


def _ranks(overall: Overall, critical: float) -> Panel:
    series = [
        Series(it.method, number, "interval", [it.rank], [float(number)],
               [it.rank - critical / 2], [it.rank + critical / 2])
        for number, it in enumerate(overall.standings)
    ]  # fmt: skip
    x_axis = Axis("mean rank", better="lower is better")
    return Panel("Mean rank", x_axis, _categories(overall.methods), series)


def _wins(overall: Overall) -> Panel:
    """The methods against each other: problems on which that of the row is better."""
    sides = {}
    for pair in overall.pairs:
        sides[pair.a, pair.b] = pair.wins, pair.verdict == "better", pair
        sides[pair.b, pair.a] = pair.losses, pair.verdict == "worse", pair
    series = []
    for number, method in enumerate(overall.methods):
        cells = [(x, *_side(*sides[method, other]))
                 for x, other in enumerate(overall.methods) if other != method]  # fmt: skip
        xs, shades, texts, notes = zip(*cells, strict=True)
        series.append(Series(method, number, "cell", [*map(float, xs)], [float(number)] * len(xs),
                             notes=notes, shades=shades, texts=texts))  # fmt: skip
    return Panel("Wins on these problems", _categories(overall.methods, "than", upright=True),
                 _categories(overall.methods), series)  # fmt: skip


def _side(wins: int, decided: bool, pair: Versus) -> tuple[int, str, str]:
    """Shade, text and note of one method against another."""
    share = wins / pair.n if pair.n else 0.0
    shade = 0 if decided else 1 + sum(share <= limit for limit in SHARES)
    note = f"{pair.a} against {pair.b}: {pair.wins} better, {pair.ties} alike, {pair.losses} worse"
    held = f", {len(pair.withheld)} withheld" if pair.withheld else ""
    return shade, str(wins), f"{note}{held}; beyond them {pair.verdict}"
