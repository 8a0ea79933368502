"""Draws paths of methods over contour lines of functions of two variables, without torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only: no window is ever opened

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

# Okabe and Ito's colours, which any colour vision can tell apart, each with a dash pattern.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")


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
    """A method's points, (steps + 1, 2), and its label."""

    label: str
    points: NDArray[np.float64]


def draw(panels: Sequence[tuple[Surface, Sequence[Path2D]]], settings: str, stem: Path) -> None:
    """Draw a panel per function, with the settings beneath; write `stem`.png and `stem`.svg."""
    columns = 3
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.6 * columns, 4.9 * rows), layout="constrained", squeeze=False
    )
    for axis, (surface, paths) in zip(axes.flat, panels, strict=False):
        _panel(axis, surface, paths)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
        axis.text(0, 0.98, settings, va="top", fontsize=9.5, linespacing=1.5)
    if len(panels) == axes.size:
        figure.supxlabel(settings, fontsize=9)
    for suffix in (".png", ".svg"):
        figure.savefig(f"{stem}{suffix}", dpi=90, metadata=_undated(suffix))
    plt.close(figure)


def _undated(suffix: str) -> dict[str, None]:
    """Leave the date out, so that the same picture gives the same file."""
    return {"Date": None} if suffix == ".svg" else {}


def _panel(axis: Axes, surface: Surface, paths: Sequence[Path2D]) -> None:
    low_x, high_x, low_y, high_y = surface.frame
    x, y = np.meshgrid(np.linspace(low_x, high_x, 150), np.linspace(low_y, high_y, 150))
    height = np.asarray(surface.value(x, y), dtype=float)
    levels = np.quantile(height, np.linspace(0, 1, 18) ** 1.5)
    axis.contour(x, y, height, levels=np.unique(levels), colors="0.75", linewidths=0.6)
    for number, path in enumerate(paths):
        color, dash = COLORS[number % len(COLORS)], DASHES[number % len(DASHES)]
        axis.plot(*path.points.T, dash, color=color, linewidth=1.6, label=path.label)
        axis.plot(*path.points[-1], "o", color=color, markersize=4)
    axis.plot(*surface.start, "s", color="black", markersize=5)
    for minimum in surface.minima:
        axis.plot(*minimum, "*", color="black", markersize=11)
    axis.set(xlim=(low_x, high_x), ylim=(low_y, high_y), xlabel="x", ylabel="y")
    axis.set_title(f"{surface.name}\n{surface.formula}", fontsize=9.5)
    axis.legend(fontsize=7.5, loc="best", framealpha=0.85)
