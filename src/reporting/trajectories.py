"""Paths of methods over contour lines of functions of two variables, as a figure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import contourpy
import numpy as np
from numpy.typing import NDArray

from src.reporting.figures import Axis, Figure, Key, Panel, Series

GRID = 80  # points of an axis at which heights are computed
START, MINIMUM = 41, 6  # styles: a square and a star in the last colour


@dataclass(frozen=True)
class Surface:
    """A function of two variables, the start of the paths, and the part to draw.

    Args:
        formula: as text, for the picture.
        value: of arrays or tensors x and y.
        start: (x, y).
        minima: none for a saddle.
        frame: (x low, x high, y low, y high).
    """

    name: str
    formula: str
    value: Callable[..., object]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    frame: tuple[float, float, float, float]


@dataclass(frozen=True)
class Path2D:
    """A method's points, (steps + 1, 2), and the learning rate that led there."""

    method: str
    rate: float
    points: NDArray[np.float64]


Panels = Sequence[tuple[Surface, Sequence[Path2D]]]


def figure(panels: Panels, settings: str, key: str) -> Figure:
    """A panel per function; the settings and each path's learning rate stand beneath.

    Args:
        panels: functions, each with a path of every method.
        settings: in words.
        key: names the figure's files.
    """
    rates = [[surface.name, *(f"{path.rate:.2g}" for path in paths)] for surface, paths in panels]
    methods = [path.method for path in panels[0][1]]
    lines = [f"lr on {row[0]}: " + ", ".join(map(" ".join, zip(methods, row[1:], strict=True)))
             for row in rates]  # fmt: skip
    keys = (
        Key("mark", "start", style=START),
        Key("mark", "minimum", style=MINIMUM),
        Key("path", "a path; its marker is its end"),
    )
    return Figure(
        key, "Trajectories", f"{settings} The grey lines join points of equal height.",
        [_panel(surface, paths) for surface, paths in panels],
        [(name, number) for number, name in enumerate(methods)],
        [["lr on", *methods], *rates], keys, (settings, *lines),
    )  # fmt: skip


def _panel(surface: Surface, paths: Sequence[Path2D]) -> Panel:
    low_x, high_x, low_y, high_y = surface.frame
    series = [*_contours(surface)]
    for number, path in enumerate(paths):
        x, y = path.points.T.tolist()
        notes = [f"step {step}" for step in range(len(x))]
        series.append(Series(path.method, number, "path", x, y, notes=notes))
    series.append(_marks("start", START, [surface.start]))
    if surface.minima:
        series.append(_marks("minimum", MINIMUM, surface.minima))
    x_axis, y_axis = Axis("x", limits=(low_x, high_x)), Axis("y", limits=(low_y, high_y))
    return Panel(surface.name, x_axis, y_axis, series, height=260, subtitle=surface.formula)


def _marks(name: str, style: int, points: Sequence[tuple[float, float]]) -> Series:
    x, y = zip(*points, strict=True)
    return Series(name, style, "mark", x, y)


def _contours(surface: Surface) -> Iterator[Series]:
    """Lines of equal height, closer together where the function is low."""
    low_x, high_x, low_y, high_y = surface.frame
    x, y = np.meshgrid(np.linspace(low_x, high_x, GRID), np.linspace(low_y, high_y, GRID))
    height = np.asarray(surface.value(x, y), dtype=float)
    levels = np.unique(np.quantile(height, np.linspace(0, 1, 18) ** 1.5))
    generator = contourpy.contour_generator(x, y, height)
    for line in chain.from_iterable(generator.lines(level) for level in levels):
        line_x, line_y = np.round(np.asarray(line), 3).T.tolist()
        yield Series("", 0, "contour", line_x, line_y)
