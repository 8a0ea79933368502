"""The figures as PNG and SVG files, for papers."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from src.files import write_whole
from src.reporting.figures import Axis, Figure, Panel, Series
from src.reporting.figures_numbers import Floats
from src.reporting.figures_svg import (
    BOTTOM,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    band,
    drawn_points,
    frame,
    short,
    ticks,
)

# Its import sets matplotlib to draw files only.
from src.reporting.trajectories import COLORS, DASHES  # isort: skip

import matplotlib.pyplot as plt  # isort: skip
from matplotlib.axes import Axes  # isort: skip
from matplotlib.figure import Figure as Drawing  # isort: skip
from matplotlib.lines import Line2D  # isort: skip
from matplotlib.ticker import NullLocator  # isort: skip

MARKERS = ("o", "s", "^", "D", "v", "P", "*")
COLUMNS = 3
UNIT = 4.1 / WIDTH  # inches
TITLE, LEGEND = 30.0, 24.0  # heights of a panel's title and of a legend's line, in units
Box = tuple[float, float, float, float]
STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "svg.hashsalt": "fairstep",  # the same picture is the same file
    "text.parse_math": False,  # dollars in a name are no formula
}


def save(figure: Figure, folder: Path) -> None:
    """Write `folder/KEY.png` and `.svg`."""
    with plt.rc_context(STYLE):
        drawing = draw(figure)
        for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
            content = io.BytesIO()
            drawing.savefig(content, format=suffix[1:], dpi=160, metadata=metadata)
            write_whole(folder / f"{figure.key}{suffix}", content.getvalue())
        plt.close(drawing)


def draw(figure: Figure) -> Drawing:
    """Draw the panels as the page does; their margins are known, so no layout is searched."""
    count = len(figure.panels)
    columns = 2 if count == 4 else min(count, COLUMNS)  # four: two rows of two
    frames = [frame(panel) for panel in figure.panels]
    rows = [frames[n : n + columns] for n in range(0, len(frames), columns)]
    heights = [max(panel_frame.height for panel_frame in row) + TITLE for row in rows]
    across = max(1, min(len(figure.legend), 3 * columns))
    legend = LEGEND * -(-len(figure.legend) // across) + 10
    size = np.array([columns * WIDTH, sum(heights) + legend])
    drawing = plt.figure(figsize=tuple(size * UNIT))
    for number, (panel, panel_frame) in enumerate(zip(figure.panels, frames, strict=True)):
        row, column = divmod(number, columns)
        corner = (column * WIDTH + panel_frame.left, size[1] - sum(heights[:row]) - TITLE)
        _panel(drawing.add_axes(_box(corner, panel_frame, size)), panel, panel_frame)
    names = [plain(name) for name, _ in figure.legend]
    handles = [_handle(style) for _, style in figure.legend]
    drawing.legend(handles, names, loc="lower center", ncols=across, frameon=False)
    return drawing


def _box(corner: tuple[float, float], frame: Frame, size: Floats) -> Box:
    """Left, bottom, width and height as shares of the drawing; `corner` is the upper left."""
    width, height = frame.width - RIGHT - frame.left, frame.height - TOP - BOTTOM
    left, top = corner
    return (left / size[0], (top - height) / size[1], width / size[0], height / size[1])


def plain(text: str) -> str:
    """The text as one line; a hair space keeps matplotlib from hiding a leading underscore."""
    text = re.sub(r"\s+", " ", text)
    text = text if len(text) <= 48 else text[:47] + "…"
    return f"\u200a{text}" if text.startswith("_") else text


def _color(style: int) -> str:
    return COLORS[style % len(COLORS)]


def _handle(style: int) -> Line2D:
    dash: Any = DASHES[style % len(DASHES)]
    return Line2D(
        [], [], color=_color(style), linestyle=dash,
        marker=MARKERS[style % len(MARKERS)], markersize=4.5,
    )  # fmt: skip


def _panel(axis: Axes, panel: Panel, frame: Frame) -> None:
    for direction, settings, scale in (("x", panel.x, frame.x), ("y", panel.y, frame.y)):
        _axis(axis, direction, settings, (scale.low, scale.high))
    for series in panel.series:
        _series(axis, series, (frame.y.low, frame.y.high))
    if panel.x.mark is not None:
        axis.axvline(panel.x.mark, color="0.4", linewidth=0.9)
    axis.set_title(plain(panel.title), fontsize=9.5)


def _axis(axis: Axes, direction: str, settings: Axis, limits: tuple[float, float]) -> None:
    axis.set(**{f"{direction}label": plain(settings.label)})
    if settings.log:
        axis.set(**{f"{direction}scale": "log"})
    axis.set(**{f"{direction}lim": limits[::-1] if settings.reverse else limits})
    if settings.ticks:
        every = max(1, len(settings.ticks) // 12) if direction == "x" else 1
        ticks = settings.ticks[::every]
        axis.set(**{f"{direction}ticks": [position for position, _ in ticks]})
        axis.set(**{f"{direction}ticklabels": [plain(text) for _, text in ticks]})
    elif settings.log:
        drawn_axis = getattr(axis, f"{direction}axis")
        marks = _marks(limits)
        drawn_axis.set_minor_locator(NullLocator())
        axis.set(**{f"{direction}ticks": marks})
        axis.set(**{f"{direction}ticklabels": [short(mark) for mark in marks]})
        axis.set(**{f"{direction}lim": limits})


def _marks(limits: tuple[float, float]) -> list[float]:
    return [value for value, _ in ticks(*limits, True)]


def _series(axis: Axes, series: Series, limits: tuple[float, float]) -> None:
    color, marker = _color(series.style), MARKERS[series.style % len(MARKERS)]
    x, y = np.array(series.x, dtype=float), np.clip(np.array(series.y, dtype=float), *limits)
    if series.kind in ("line", "step"):
        _line(axis, series, x, limits)
    elif series.kind == "points":
        face = "none" if series.hollow else color
        indices = drawn_points(series)
        axis.scatter(x[indices], y[indices], s=12, marker=marker, facecolors=face, edgecolors=color,
                     linewidths=0.7, alpha=0.65, clip_on=False)  # fmt: skip
    elif series.kind == "interval":
        error = None if np.isnan([*series.low, *series.high]).any() else _errors(series)
        axis.errorbar(x, y, xerr=error, fmt=marker, color=color, capsize=3, linewidth=1.4,
                      markerfacecolor="white" if series.hollow else color)  # fmt: skip
    else:
        axis.barh(y, x, height=0.6, color=color)


def _errors(series: Series) -> list[list[float]]:
    mean, low, high = series.x[0], series.low[0], series.high[0]
    # A bias-corrected interval may miss its mean.
    return [[max(mean - low, 0)], [max(high - mean, 0)]]


def _line(axis: Axes, series: Series, x: Floats, limits: tuple[float, float]) -> None:
    color = _color(series.style)
    y = np.array(series.y, dtype=float)
    y[~np.isfinite(y)] = np.nan
    drawn = "steps-post" if series.kind == "step" else "default"
    dash = DASHES[series.style % len(DASHES)]
    marker, every = MARKERS[series.style % len(MARKERS)], max(1, len(y) // 6)
    axis.plot(
        x, y, dash, color=color, drawstyle=drawn, linewidth=1.5, markersize=4, marker=marker,
        markevery=every,
    )  # fmt: skip
    if len(series.low) and band(series):
        x_band, low, high = np.array(band(series)).T
        low, high = np.clip(low, *limits), np.clip(high, *limits)
        axis.fill_between(x_band, low, high, color=color, alpha=0.15, linewidth=0)
