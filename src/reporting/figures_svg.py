"""Panels as inline SVG: legible without scripts, coloured by the page's style sheet."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.reporting.figures import MOST, Axis, Panel, Series

WIDTH, HEIGHT = 400.0, 280.0
TOP, RIGHT, BOTTOM, LEFT = 10.0, 14.0, 44.0, 60.0
ROW = 26.0  # height of a category
LETTER, WIDE = 8.0, 13.0  # widths of letters at the page's font size of 13
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKERS = (
    "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0z",
    "M-3.2-3.2h6.4v6.4h-6.4z",
    "M0-4.2L4 3.1H-4z",
    "M0-4.6L4.6 0L0 4.6L-4.6 0z",
    "M0 4.2L4-3.1H-4z",
    "M-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "M0-4.6L1.3-1.4L4.6-1.2L2 .9L2.8 4.2L0 2.4L-2.8 4.2L-2 .9L-4.6-1.2L-1.3-1.4z",
)
COLORS = 7
DASHES = 4


def short(value: float) -> str:
    """A number as text for reading, four digits."""
    if not np.isfinite(value):
        return "none" if np.isnan(value) else "∞"
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, power = f"{value:.3g}".partition("e")
        if power and mantissa in ("1", "-1"):
            return f"{mantissa[:-1]}10{str(int(power)).translate(SUPERSCRIPTS)}".replace("-", "−")
        if power:
            power = str(int(power)).translate(SUPERSCRIPTS)
            return f"{mantissa}·10{power}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


@dataclass(frozen=True)
class Scale:
    """Maps values to positions along an axis; a value outside maps to the edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: list[tuple[float, str]]

    def __call__(self, value: float) -> float:
        if np.isnan(value):
            return float("nan")
        low, high, position = self.low, self.high, value
        if self.log:
            low, high = np.log(low), np.log(high)
            position = np.log(value) if value > 0 else -np.inf
        share = min(max((position - low) / (high - low), 0.0), 1.0)
        return float(self.start + share * (self.end - self.start))


def bounds(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    """The lowest and highest value of an axis; on a log axis far outliers are cut off."""
    if axis.ticks:
        positions = [position for position, _ in axis.ticks]
        return min(positions) - 0.5, max(positions) + 0.5
    if axis.limits:
        return axis.limits
    row = np.array([*values, *([] if axis.mark is None else [axis.mark])], dtype=float)
    row = row[np.isfinite(row) & ((row > 0) | (not axis.log))]
    if not row.size:
        return (0.1, 1.0) if axis.log else (0.0, 1.0)
    low, high = float(row.min()), float(row.max())
    if axis.log:
        high = min(high, low * 1e6) if row.size > 1 else high
        spread = max((high / low) ** 0.05, 1.02)
        return low / spread, high * spread
    spread = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - spread, high + spread


def ticks(low: float, high: float, log: bool) -> list[tuple[float, str]]:
    """About five round values."""
    if log and high / low > 8:
        powers = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
        every = -(-len(powers) // 7) or 1
        factors = (1, 2, 5) if len(powers) < 3 else (1,)
        marks = [f * 10.0**p for p in range(powers.start - 1, powers.stop) for f in factors]
        inside = [mark for mark in marks if low <= mark <= high]
        return [(mark, short(mark)) for mark in inside[:: every if len(factors) == 1 else 1]]
    step = 10.0 ** np.floor(np.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (factor * step) <= 5.5)
    first = np.ceil(low / step) * step
    marks = [first + n * step for n in range(int((high - first) / step + 1e-9) + 1)]
    return [(mark, short(round(mark, 12))) for mark in marks]


def scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    low, high = bounds(axis, values)
    if axis.reverse:
        start, end = end, start
    return Scale(low, high, start, end, axis.log, list(axis.ticks) or ticks(low, high, axis.log))


@dataclass(frozen=True)
class Frame:
    """The scales and the size of a panel, in pixels."""

    x: Scale
    y: Scale
    width: float
    height: float
    left: float


def frame(panel: Panel) -> Frame:
    horizontal = any(series.kind in ("bar", "interval") for series in panel.series)
    height, left = HEIGHT, LEFT
    if horizontal:
        height = max(150.0, TOP + BOTTOM + ROW * len(panel.y.ticks))
        left = 14 + max(_width(_cut(text)) for _, text in panel.y.ticks)
    xs = [x for series in panel.series for x in series.x]
    for series in panel.series:
        xs += [*series.low, *series.high] if series.kind == "interval" else []
    ys = [y for series in panel.series for y in series.y]
    lines = [series for series in panel.series if series.kind == "line"]
    ys += [y for series in lines for y in (*series.low, *series.high)]
    x = scale(panel.x, xs, left, WIDTH - RIGHT)
    return Frame(x, scale(panel.y, ys, height - BOTTOM, TOP), WIDTH, height, left)


def _width(text: str) -> float:
    """The approximate width of a text; the font isn't known here."""
    return sum(WIDE if letter in "mwMW@%" else LETTER for letter in text)


def _cut(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def svg(panel: Panel, frame: Frame, label: str) -> str:
    """The panel as SVG; `label` describes it for screen readers."""
    parts = [*_grid(panel, frame), *(_drawn(series, frame) for series in panel.series)]
    return (
        f'<svg viewBox="0 0 {frame.width:g} {frame.height:g}" role="img" tabindex="0" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
    )


def _grid(panel: Panel, frame: Frame) -> list[str]:
    bottom, right = frame.height - BOTTOM, frame.width - RIGHT
    parts = []
    for value, text in _thinned(frame.x.ticks, frame.x):
        x = frame.x(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom:.1f}"/>')
        anchor = "end" if x > right - 8 and len(text) > 4 else "middle"
        parts.append(_label(text, min(x, right + 6), bottom + 17, anchor))
    for value, text in frame.y.ticks:
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{frame.left:.1f} {y:.1f}H{right}"/>')
        parts.append(_label(_cut(text), frame.left - 6, y + 4, "end"))
    parts.append(f'<path class="axis" d="M{frame.left:.1f} {TOP}V{bottom:.1f}H{right}"/>')
    if panel.x.mark is not None:
        mark_x = frame.x(panel.x.mark)
        parts.append(f'<path class="mark" d="M{mark_x:.1f} {TOP}V{bottom:.1f}"/>')
    middle = (frame.left + right) / 2
    parts.append(_label(panel.x.label, middle, frame.height - 8, "middle", "name"))
    if panel.y.label:
        turn = f' transform="rotate(-90 13 {(TOP + bottom) / 2:.1f})"'
        parts.append(_label(panel.y.label, 13, (TOP + bottom) / 2, "middle", "name", turn))
    return parts


def _thinned(ticks: list[tuple[float, str]], x: Scale) -> list[tuple[float, str]]:
    """As many ticks as there is room for their texts."""
    widest = max((_width(_cut(text, 14)) for _, text in ticks), default=1.0) + 8
    every = max(1, int(np.ceil(widest * len(ticks) / abs(x.end - x.start))))
    return [(value, _cut(text, 14)) for value, text in ticks[::every]]


def _label(text: str, x: float, y: float, anchor: str, kind: str = "tick", more: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>'
        f"{html.escape(text)}</text>"
    )


def _drawn(series: Series, frame: Frame) -> str:
    body = {"line": _line, "step": _line, "points": _points, "interval": _interval, "bar": _bar}
    style = series.style
    kind = f"s c{style % COLORS} d{style % DASHES}{' hollow' if series.hollow else ''}"
    return f'<g class="{kind}" data-m="{style}">{body[series.kind](series, frame)}</g>'


def _runs(xs: Sequence[float], ys: Sequence[float]) -> list[list[tuple[float, float]]]:
    """The stretches of points without a gap."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if np.isfinite(x) and np.isfinite(y):
            stretches[-1].append((x, y))
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _path(points: Sequence[tuple[float, float]], frame: Frame, stepped: bool = False) -> str:
    spots = [(f"{frame.x(x):.1f}", f"{frame.y(y):.1f}") for x, y in points]
    first, *others = spots
    joined = "".join(f"H{x}V{y}" if stepped else f"L{x} {y}" for x, y in others)
    return f"M{first[0]} {first[1]}{joined}"


def _line(series: Series, frame: Frame) -> str:
    parts = []
    if len(series.low):
        band_points = band(series)
        if band_points:
            lower = [(x, low) for x, low, _ in band_points]
            upper = [(x, high) for x, _, high in reversed(band_points)]
            parts.append(f'<path class="band" d="{_path(lower + upper, frame)}z"/>')
    stretches = _runs(series.x, series.y)
    for stretch in stretches:
        parts.append(f'<path class="line" d="{_path(stretch, frame, series.kind == "step")}"/>')
    points = [point for stretch in stretches for point in stretch]
    count = len(points) if len(points) < 9 else 6
    shown = [points[round(n)] for n in np.linspace(0, len(points) - 1, count)]
    parts += [_marker(series.style, frame.x(x), frame.y(y)) for x, y in shown]
    return "".join(parts)


def band(series: Series) -> list[tuple[float, float, float]]:
    """x, low and high; an infinite high is replaced by the line, or the band would cover all."""
    rows = zip(series.x, series.y, series.low, series.high, strict=True)
    return [
        (x, low, high if np.isfinite(high) else y)
        for x, y, low, high in rows
        if np.isfinite(low) and np.isfinite(y)
    ]


def _marker(style: int, x: float, y: float, kind: str = "m", more: str = "") -> str:
    if np.isnan(x) or np.isnan(y):
        return ""
    shape = MARKERS[style % len(MARKERS)]
    return f'<path class="{kind}" transform="translate({x:.1f} {y:.1f}){more}" d="{shape}"/>'


def drawn_points(series: Series) -> list[int]:
    """Indices of the drawn points: all, or MOST of them, evenly over the sorted x."""
    if len(series.x) <= MOST:
        return list(range(len(series.x)))
    order = np.argsort(np.array(series.x))
    return [int(order[n]) for n in np.linspace(0, len(order) - 1, MOST).astype(int)]


def _points(series: Series, frame: Frame) -> str:
    spots = ((frame.x(series.x[n]), frame.y(series.y[n])) for n in drawn_points(series))
    return "".join(_marker(series.style, x, y) for x, y in spots)


def _interval(series: Series, frame: Frame) -> str:
    x, y = frame.x(series.x[0]), frame.y(series.y[0])
    low, high = frame.x(series.low[0]), frame.x(series.high[0])
    whisker = ""
    if not np.isnan(low + high):
        whisker = f'<path class="whisker" d="M{low:.1f} {y - 5:.1f}v10m0-5H{high:.1f}m0-5v10"/>'
    return whisker + _marker(series.style, x, y, "big m", " scale(1.5)")


def _bar(series: Series, frame: Frame) -> str:
    parts = []
    for x, y in zip(series.x, series.y, strict=True):
        if np.isfinite(x):
            width = max(frame.x(x) - frame.left, 1)
            corner = f'x="{frame.left:.1f}" y="{frame.y(y) - 8:.1f}"'
            parts.append(f'<rect class="bar" {corner} width="{width:.1f}" height="16"/>')
    return "".join(parts)


def pointed(panel: Panel, frame: Frame) -> dict[str, Any]:
    """The data from which the page's script shows the values under the pointer."""
    along = any(series.kind in ("line", "step") for series in panel.series)
    names = dict(panel.x.ticks)
    listed = []
    for series in panel.series:
        if along and series.kind == "points":
            continue
        spots = []
        for n in drawn_points(series) if series.kind == "points" else range(len(series.x)):
            x, y = series.x[n], series.y[n]
            spot = (frame.x(x), frame.y(y))
            if np.isnan(spot).any():
                continue
            x_text = names.get(x, short(x))
            text = _spot_text(series, n, along)
            spots.append([round(spot[0], 1), round(spot[1], 1), x_text, text])
        listed.append({"name": series.name, "style": series.style, "spots": spots})
    return {"along": along, "x": panel.x.label, "series": listed,
            "box": [frame.left, TOP, frame.width - RIGHT, frame.height - BOTTOM]}  # fmt: skip


def _spot_text(series: Series, n: int, along: bool) -> str:
    text = short(series.y[n]) if along else ""
    if len(series.low):
        text += f" ({short(series.low[n])} to {short(series.high[n])})"
    if not along and series.kind == "points" and not _spread(series):
        text += f"{short(series.y[n])}"
    note = series.notes[n] if series.notes else ""
    return f"{text} {note}".strip()


def _spread(series: Series) -> bool:
    """Whether y only spreads the points within a category."""
    return any(note.startswith("seed ") for note in series.notes[:1])
