"""A figure as a Vega-Lite specification: one for the page and for PNG, SVG and PDF.

A name never becomes part of an expression or a field's name: it is a value of a row, the text of
a title, or an entry of a list that an expression looks up by number.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from src.reporting.figures import INK, Axis, Figure, Panel, Series

# Okabe and Ito's colours without yellow, which colour-blind readers tell apart. Seven colours and
# eight markers: no two of 56 methods share both. The dashes tell 28 lines apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1b1d21")
MARKERS = (  # within -1 to 1, as Vega wants its own shapes
    "M-.9,0a.9,.9,0,1,0,1.8,0a.9,.9,0,1,0,-1.8,0Z",
    "M-.8,-.8H.8V.8H-.8Z",
    "M0,-1L1,.8H-1Z",
    "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "M0,1L1,-.8H-1Z",
    "M-.35,-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
    "M0,-1.15L.33,-.35L1.15,-.3L.5,.23L.7,1.05L0,.6L-.7,1.05L-.5,.23L-1.15,-.3L-.33,-.35Z",
    "M1,0L-.8,1V-1Z",
)
SHADES = ("#0b4f8a", "#6aa5d6", "#abcbe7", "#d8e5f2", "#eef0f3")  # of cells, the best first
DARK = 1  # shades on which a text is light
DASHES = [[1, 0], [8, 4], [9, 3, 2, 3], [2.5, 3]]
MOST, MOST_ALONG = 150, 300  # points that are drawn of a series, and of a line
ALONG = ("line", "step")
JOINED = (*ALONG, "path")  # whose points are joined
WIDTH, HEIGHT, ROW = 300, 190, 24  # of a panel on paper, and of a category
UPRIGHT = 60  # more than AXES, for upright categories
AXES = 55  # height of the x axis and its title, which the page's panels include
ENTRY = 19  # height of the legend's lines
FONT = "system-ui, Liberation Sans, DejaVu Sans, sans-serif"
EDGE = 0.015  # how far within the axis a value stands that has no place on it
FAINT = 0.07
LARGE = 60  # a marker's size from which it stands for a mean
NOTE = {"orient": "bottom", "anchor": "start", "fontWeight": "normal", "fontSize": 11, "offset": 12,
        "limit": 1200}  # fmt: skip
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nothing is fetched
Spec = dict[str, Any]
# The page's buttons set the picked method: its style's number, or null for none.
PICKED = {"name": "picked", "value": None}
SHOWN = "picked === null || picked === datum.s"
# Without a key the wheel scrolls the page.
ZOOM = "wheel![event.ctrlKey || event.metaKey]"
PAN = "[pointerdown[event.pointerType != 'touch'], window:pointerup] > window:pointermove!"


def theme(colors: Sequence[str] = COLORS, shades: Sequence[str] = SHADES, **others: str) -> Spec:
    """Vega's config: colours, markers and texts; by default those of the files, on white.

    Args:
        colors: of the styles.
        shades: of cells.
        others: ground, ink, soft and grid.
    """
    named = {"ground": "#ffffff", "ink": "#1b1d21", "soft": "#5b616b", "grid": "#e9ebee"} | others
    ink, soft = named["ink"], named["soft"]
    axis = {"labelColor": soft, "titleColor": ink, "domainColor": soft, "tickColor": soft,
            "gridColor": named["grid"], "labelFontSize": 11, "titleFontSize": 11.5,
            "titleFontWeight": "normal", "labelLimit": 150, "titleLimit": 330}  # fmt: skip
    return {
        "background": named["ground"],
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "title": {"color": ink, "fontSize": 12.5, "anchor": "start", "limit": 330},
        "range": {"category": [*colors], "symbol": [*MARKERS], "ordinal": [*shades]},
        "style": {"hollow": {"fill": named["ground"]}, "plain": {"stroke": ink, "color": ink},
                  "name": {"fill": ink, "color": ink},
                  "reversed": {"fill": named["ground"], "color": named["ground"]},
                  "contour": {"stroke": soft, "color": soft}},
    }  # fmt: skip


# The page's style sheet has the colours, light and dark.
PAGE = theme(
    [f"var(--c{number})" for number in range(len(COLORS))],
    [f"var(--s{number})" for number in range(len(SHADES))],
    **{name: f"var(--{name})" for name in ("ink", "soft", "grid")}, ground="var(--card)",
)  # fmt: skip


def drawing(figure: Figure) -> Spec:
    """All panels and the legend, as it is drawn for paper."""
    columns = 2 if len(figure.panels) == 4 else min(len(figure.panels), 3)
    panels = [
        _layers(panel, str(number))
        | {"title": _heading(panel), "width": WIDTH, "height": _height(panel)}
        for number, panel in enumerate(figure.panels)
    ]
    params = [_labels(panel, str(number)) for number, panel in enumerate(figure.panels)]
    whole = {"concat": panels, "columns": columns, "spacing": 22}
    return {
        "$schema": SCHEMA,
        "params": [PICKED, *(each for labels in params for each in labels)],
        "vconcat": [whole, _legend(figure, columns)],
        "spacing": 14,
        **({"title": NOTE | {"text": [*figure.note]}} if figure.note else {}),
    }


def _heading(panel: Panel) -> Spec | str:
    title = one_line(panel.title)
    return {"text": title, "subtitle": one_line(panel.subtitle)} if panel.subtitle else title


def interactive(panel: Panel, label: str) -> Spec:
    """A panel for the page, which sets its width; `label` describes it for screen readers."""
    return {
        "$schema": SCHEMA,
        "description": label,
        "width": "container",
        "height": _height(panel) + AXES,
        "autosize": {"type": "fit", "contains": "padding"},
        "params": [PICKED, *_labels(panel, "")],
        "usermeta": {
            "title": panel.title,
            "names": [series.name for series in panel.series],
            "x": panel.x.label,
            "y": panel.y.label,
            "along": _is_along(panel),
        },
        **_layers(panel, "", on_page=True),
    }


def _is_along(panel: Panel) -> bool:
    return any(series.kind in ALONG for series in panel.series)


def _labels(panel: Panel, number: str) -> list[Spec]:
    """The texts of categories, which axes look up by position."""
    axes = (("x", panel.x), ("y", panel.y))
    return [
        {"name": f"{name}Labels{number}",
         "value": {f"{position:g}": one_line(text) for position, text in axis.ticks}}
        for name, axis in axes
        if axis.ticks
    ]  # fmt: skip


def _height(panel: Panel) -> float:
    if panel.height:
        return panel.height
    sideways = any(series.kind in ("bar", "interval", "cell") for series in panel.series)
    above = UPRIGHT if panel.x.upright else 0
    return max(110, ROW * len(panel.y.ticks)) + above if sideways else HEIGHT


def _layers(panel: Panel, number: str, *, on_page: bool = False) -> Spec:
    x_limits, y_limits = bounds(panel.x, _along_x(panel)), bounds(panel.y, _along_y(panel))
    values = rows(panel, y_limits)
    kinds = {row["k"] for row in values}
    layers = [layer for kind, make in LAYERS.items() if kind in kinds for layer in make()]
    layers = [*_ground(panel), *layers]
    if on_page:
        layers += _pointed(panel)
    channels = {
        "x": _channel("x", panel.x, x_limits, f"xLabels{number}"),
        "y": _channel("y", panel.y, y_limits, f"yLabels{number}"),
    }
    if "cell" in kinds:
        channels = {name: it | {"axis": it["axis"] | {"grid": False}}
                    for name, it in channels.items()}  # fmt: skip
    for layer in layers:
        for name, channel in channels.items():
            layer["encoding"][name] = channel | layer["encoding"].get(name, {})
    _let_recur(layers, max((row["s"] for row in values), default=0))
    if panel.x.mark is not None:
        mark = {"data": {"values": [{"x": panel.x.mark}]}, "mark": _mark("rule", style="plain")}
        layers.insert(0, mark | {"encoding": {"x": channels["x"]}})
    return {"data": {"values": values}, "layer": layers}


def _let_recur(layers: list[Spec], last: int) -> None:
    """Give each style its colour, marker and dash, whichever styles there are."""
    for layer in layers:
        for name in ("color", "shape", "strokeDash"):
            if channel := layer["encoding"].get(name):
                scale = channel["scale"] | {"domain": [*range(last + 1)]}
                layer["encoding"][name] = channel | {"scale": scale}


def _channel(field: str, axis: Axis, limits: tuple[float, float], labels: str) -> Spec:
    scale = {
        "type": "log" if axis.log else "linear", "domain": [_digits(limit) for limit in limits],
        "nice": False, "reverse": axis.reverse, **({} if axis.log else {"zero": False}),
    }  # fmt: skip
    shown: Spec = {"title": _title(axis), "labelOverlap": True}
    if axis.ticks:
        shown["values"] = [position for position, _ in axis.ticks]
        shown["labelExpr"] = f"{labels}[datum.value]"
        if axis.upright:
            shown |= {"orient": "top", "labelAngle": -90, "labelOverlap": False}
    else:
        shown |= {"format": ".4~g", "tickCount": 5}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": shown}


def _title(axis: Axis) -> list[str] | None:
    """In two lines if it is long."""
    title = one_line(axis.title)
    if len(title) <= 36 or not axis.better:
        return [title] if title else None
    return [one_line(axis.label), f"({axis.better})"]


# Layers: the marks of each kind. Their x and y are the panel's, if of another column.


def _mark(kind: str, **settings: Any) -> Spec:
    """A table stands for the marks to screen readers."""
    return {"type": kind, "clip": True, "aria": False, **settings}


def _only(**values: Any) -> list[Spec]:
    return [{"filter": {"field": field, "equal": value}} for field, value in values.items()]


BOUNDED = {"filter": {"field": "low", "valid": True}}
STRETCH = [{"field": "n"}, {"field": "p"}]


def _by_style(values: Any) -> Spec:
    """A channel that tells methods apart; `values` recur."""
    return {"field": "s", "type": "nominal", "legend": None, "scale": {"range": values}}


COLOR, SHAPE, DASH = _by_style("category"), _by_style("symbol"), _by_style(DASHES)


def _opacity(value: float) -> Spec:
    return {"condition": {"test": SHOWN, "value": value}, "value": round(FAINT * value, 3)}


def _line(kind: str, interpolate: str) -> list[Spec]:
    band = {"transform": [*_only(k=kind), BOUNDED], "mark": _mark("area", interpolate=interpolate)}
    line = {
        "transform": _only(k=kind),
        "mark": _mark("line", interpolate=interpolate, strokeWidth=1.8),
    }
    return [
        band | {"encoding": {"y": {"field": "low"}, "y2": {"field": "high"}, "color": COLOR,
                             "detail": STRETCH, "opacity": _opacity(0.16)}},
        line | {"encoding": {"color": COLOR, "strokeDash": DASH, "detail": STRETCH,
                             "opacity": _opacity(1)}},
        _markers(_only(k=kind, m=1), 34, 1, hollow=False),
    ]  # fmt: skip


def _markers(chosen: list[Spec], size: float, opacity: float, *, hollow: bool) -> Spec:
    """Markers; a hollow one that is large covers the line behind it."""
    style = {"style": "hollow"} if hollow and size > LARGE else {}
    stroke = 1.8 if size > LARGE else 1.1
    return {
        "transform": chosen,
        "mark": _mark("point", filled=not hollow, size=size, strokeWidth=stroke, **style),
        "encoding": {"color": COLOR, "shape": SHAPE, "opacity": _opacity(opacity)},
    }


def _either(kind: str, size: float, opacity: float) -> list[Spec]:
    return [
        _markers(_only(k=kind, hollow=int(hollow)), size, opacity, hollow=hollow)
        for hollow in (True, False)
    ]


def _intervals() -> list[Spec]:
    rule = _mark("rule", strokeWidth=2)
    tick = _mark("tick", orient="vertical", size=10, thickness=2)
    ends: list[Spec] = [{"field": "low"}, {"field": "high"}]
    places: list[Spec] = [{"x": ends[0], "x2": ends[1]}, *({"x": end} for end in ends)]
    layers = [
        {
            "transform": [*_only(k="interval"), BOUNDED],
            "mark": mark,
            "encoding": place | {"color": COLOR, "opacity": _opacity(1)},
        }
        for mark, place in zip((rule, tick, tick), places, strict=True)
    ]
    return [*layers, *_either("interval", 95, 1)]


def _bars() -> list[Spec]:
    encoding = {"x2": {"datum": 0}, "color": COLOR, "opacity": _opacity(1)}
    bar = _mark("bar", orient="horizontal", size=15)
    return [{"transform": _only(k="bar"), "mark": bar, "encoding": encoding}]


ORDER = {"field": "i", "type": "quantitative"}


def _path() -> list[Spec]:
    path = {"color": COLOR, "strokeDash": DASH, "detail": STRETCH, "order": ORDER}
    return [
        {"transform": _only(k="path"), "mark": _mark("line", strokeWidth=1.8),
         "encoding": path | {"opacity": _opacity(1)}},
        _markers(_only(k="path", m=1), 50, 1, hollow=False),
    ]  # fmt: skip


def _ground(panel: Panel) -> list[Spec]:
    """The contours: a row holds a whole line, since they have many points."""
    lines = [
        {"p": number, "x": [*map(_digits, series.x)], "y": [*map(_digits, series.y)],
         "i": [*range(len(series.x))]}
        for number, series in enumerate(panel.series)
        if series.kind == "contour"
    ]  # fmt: skip
    if not lines:
        return []
    ground = {
        "data": {"values": lines},
        "transform": [{"flatten": ["x", "y", "i"]}],
        "mark": _mark("line", strokeWidth=0.6, opacity=0.6, style="contour"),
        "encoding": {"detail": {"field": "p"}, "order": ORDER},
    }
    return [ground]


def _pointed(panel: Panel) -> list[Spec]:
    """Zooming, and what shows the nearest point's values: on lines, those of all at its x."""
    free = [name for name, axis in (("x", panel.x), ("y", panel.y)) if not axis.ticks]
    zoom = {"type": "interval", "encodings": free, "zoom": ZOOM, "translate": PAN}
    near = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    along = _is_along(panel)
    near |= {"encodings": ["x"]} if along else {}
    chosen = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
    tooltip = {"content": "data"}
    kinds = [*(ALONG if along else LAYERS)]
    points = {
        "transform": [{"filter": {"field": "k", "oneOf": kinds}}],
        "mark": _mark("point", size=160, style="plain", tooltip=tooltip),
        "encoding": {"opacity": chosen},
        "params": [
            {"name": "near", "select": near},
            *([{"name": "zoom", "bind": "scales", "select": zoom}] if free else []),
        ],
    }
    return [points]


def _cells_filled() -> list[Spec]:
    """Rectangles around their points, nearly touching, and what stands in them."""
    room = 0.47
    edges = {
        "left": "datum.x - ",
        "right": "datum.x + ",
        "top": "datum.y - ",
        "under": "datum.y + ",
    }
    placed = [{"calculate": f"{text}{room}", "as": name} for name, text in edges.items()]
    scale = {"domain": [*range(len(SHADES))], "range": "ordinal"}
    fill = {"field": "v", "type": "ordinal", "legend": None, "scale": scale}
    rectangle = {
        "transform": [*_only(k="cell"), *placed],
        "mark": _mark("rect"),
        "encoding": {"x": {"field": "left"}, "x2": {"field": "right"}, "y": {"field": "top"},
                     "y2": {"field": "under"}, "fill": fill, "opacity": _opacity(1)},
    }  # fmt: skip
    chosen = {"reversed": {"lt": DARK}, "name": {"gte": DARK}}
    texts = [
        {
            "transform": [*_only(k="cell"), {"filter": {"field": "v", **shades}}],
            "mark": _mark("text", style=style, fontSize=10.5),
            "encoding": {"text": {"field": "t"}, "opacity": _opacity(1)},
        }
        for style, shades in chosen.items()
    ]
    return [rectangle, *texts]


LAYERS: dict[str, Callable[[], list[Spec]]] = {
    "bar": _bars,
    "cell": _cells_filled,
    "path": _path,
    "line": lambda: _line("line", "linear"),
    "step": lambda: _line("step", "step-after"),
    "points": lambda: _either("points", 30, 0.7),
    "interval": _intervals,
    "mark": lambda: _either("mark", 110, 1),
}


# Rows: what is drawn of a series.


def rows(panel: Panel, limits: tuple[float, float]) -> list[Spec]:
    """The drawn points: kind k, style s, the series' number n, x, y, and what else there is.

    A y without a place on the axis, whose ends are `limits`, stands at its upper edge, with `is`
    saying what it is. No number is NaN or infinite.
    """
    return [
        {"k": series.kind, "s": series.style, "n": number, **row}
        for number, series in enumerate(panel.series)
        if series.kind != "contour"
        for row in _series_rows(series, panel.y, limits)
    ]


def _series_rows(series: Series, axis: Axis, limits: tuple[float, float]) -> Iterator[Spec]:
    along = series.kind in JOINED
    indices = drawn_points(series)
    marked = _marked(series, indices) if along else set()
    part = 0
    for index in indices:
        x, y = float(series.x[index]), float(series.y[index])
        if math.isnan(x + y) or math.isinf(x) or (along and math.isinf(y)):
            part += 1  # the line has a gap
            continue
        row: Spec = {"x": _digits(x), "y": _digits(y)}
        if series.kind == "points" and not limits[0] <= y <= limits[1]:
            row |= {"y": _digits(_edge(axis, limits)), "is": "∞" if math.isinf(y) else f"{y:.4g}"}
        if along:
            row |= {"p": part, **({"m": 1} if index in marked else {})}
            row |= {"i": index} if series.kind == "path" else {}
        elif series.kind == "cell":
            row |= {"v": series.shades[index], "t": one_line(series.texts[index])}
        elif series.kind != "bar":
            row["hollow"] = int(series.hollow)
        if series.notes:
            row["note"] = series.notes[index]
        yield row | _bounds_of(series, index, y)


def _bounds_of(series: Series, index: int, y: float) -> dict[str, Any]:
    """Its low and high; an infinite high is replaced by y, or the band would cover all."""
    if not len(series.low):
        return {}
    low, high = float(series.low[index]), float(series.high[index])
    if not math.isfinite(low) or math.isnan(high):
        return {}
    return {"low": _digits(low), "high": _digits(high if math.isfinite(high) else y),
            **({} if math.isfinite(high) else {"open": 1})}  # fmt: skip


def _edge(axis: Axis, limits: tuple[float, float]) -> float:
    low, high = limits
    return high / (high / low) ** EDGE if axis.log else high - EDGE * (high - low)


def _digits(value: float) -> float:
    return float(f"{value:.7g}")


def drawn_points(series: Series) -> list[int]:
    """Indices of the drawn points: all, or so many evenly over them; a line's from end to end."""
    along = series.kind in ALONG
    most = MOST_ALONG if along else MOST
    if len(series.x) <= most or series.kind in ("path", "contour"):
        return list(range(len(series.x)))
    order = np.arange(len(series.x)) if along else np.argsort(np.array(series.x), kind="stable")
    return [int(order[n]) for n in np.linspace(0, len(order) - 1, most).astype(int)]


def _marked(series: Series, indices: Sequence[int]) -> set[int]:
    """The points of a line that have a marker: all of few, six of many; of a path its end."""
    finite = [n for n in indices if math.isfinite(series.x[n]) and math.isfinite(series.y[n])]
    if series.kind == "path":
        return {*finite[-1:]}
    count = len(finite) if len(finite) < 9 else 6
    return {finite[round(n)] for n in np.linspace(0, len(finite) - 1, count)}


def thinned(figure: Figure) -> str:
    """Says how many points of how many are drawn; nothing where all are."""
    counts = [
        (len(drawn_points(series)), len(series.x))
        for panel in figure.panels
        for series in panel.series
        if len(drawn_points(series)) < len(series.x)
    ]
    if not counts:
        return ""
    most = max(of for _, of in counts)
    return (
        f"Thinned: of a series of up to {most:,} points {MOST} marks are drawn, {MOST_ALONG} "
        "points of a line, evenly; the data hold all."
    )


def _along_x(panel: Panel) -> list[float]:
    values = [x for series in panel.series for x in series.x]
    for series in panel.series:
        values += [*series.low, *series.high] if series.kind == "interval" else []
        values += [0.0] if series.kind == "bar" else []
    return values


def _along_y(panel: Panel) -> list[float]:
    values = [y for series in panel.series for y in series.y]
    lines = [series for series in panel.series if series.kind in ALONG]
    return values + [y for series in lines for y in (*series.low, *series.high)]


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


# The legend on paper; the page has buttons.


def _legend(figure: Figure, columns: int) -> Spec:
    """Methods with their lines and markers, then what the kinds of marks mean."""
    width = columns * (WIDTH + 60)
    methods = [{"k": "method", "s": style, "t": one_line(name)} for name, style in figure.legend]
    keys = [
        {"k": key.kind, "s": key.style, "hollow": int(key.hollow), "t": one_line(key.text)}
        for key in figure.keys
    ]
    entries = [*_cells(methods, width, 180, 0)]
    entries += _cells(keys, width, 360, len({entry["y"] for entry in entries}) * ENTRY)
    height = len({entry["y"] for entry in entries}) * ENTRY
    return {
        "data": {"values": entries},
        "width": width,
        "height": height,
        "view": {"stroke": None},
        "layer": _entry_layers(width, height),
    }


def _cells(entries: list[Spec], width: int, room: int, top: int) -> Iterator[Spec]:
    """Entries with their places, row by row, each at least `room` wide."""
    across = max(1, width // room)
    for number, entry in enumerate(entries):
        row, column = divmod(number, across)
        left = column * width // across
        yield {**entry, "x": left + 16, "left": left, "right": left + 32, "text": left + 40,
               "y": top + row * ENTRY}  # fmt: skip


def _entry_layers(width: int, height: int) -> list[Spec]:
    room = {"x": [0, width], "y": [height - ENTRY / 2, -ENTRY / 2]}

    def layer(kinds: list[str], mark: Spec, across: str, **encoding: Any) -> Spec:
        places = {
            name: {"field": field, "type": "quantitative", "axis": None,
                   "scale": {"domain": room[name], "nice": False, "zero": False}}
            for name, field in (("x", across), ("y", "y"))
        }  # fmt: skip
        chosen = {"filter": {"field": "k", "oneOf": kinds}}
        return {"transform": [chosen], "mark": mark, "encoding": {**places, **encoding}}

    def rule(kinds: list[str], thick: float, opacity: float = 1, **encoding: Any) -> Spec:
        mark = _mark("rule", strokeWidth=thick, opacity=opacity)
        return layer(kinds, mark, "left", x2={"field": "right"}, color=COLOR, **encoding)

    def marker(kind: str, size: float, hollow: bool) -> Spec:
        drawn = _markers(_only(k=kind, hollow=int(hollow)), size, 1, hollow=hollow)
        placed = layer([kind], drawn["mark"] | {"opacity": 1}, "x", color=COLOR, shape=SHAPE)
        return placed | {"transform": drawn["transform"]}

    text = _mark("text", align="left", baseline="middle", fontSize=11, style="name", limit=330)
    dot = _mark("point", filled=True, size=40, opacity=1)
    layers = [
        rule(["band"], 12, 0.25),
        rule(["bar"], 12),
        _shade_entries(layer),
        rule(["line", "step", "path", "interval"], 2),
        rule(["method"], 1.8, strokeDash=DASH),
        layer(["method"], dot, "x", color=COLOR, shape=SHAPE),
        *(marker("points", 30, hollow) for hollow in (True, False)),
        marker("mark", 110, False),
        *(marker("interval", 95, hollow) for hollow in (True, False)),
        layer(["method", "band", *LAYERS], text, "text", text={"field": "t"}),
    ]
    _let_recur(layers, INK)  # the last style of all
    return layers


def _shade_entries(layer: Callable[..., Spec]) -> Spec:
    scale = {"domain": [*range(len(SHADES))], "range": "ordinal"}
    fill = {"field": "s", "type": "ordinal", "legend": None, "scale": scale}
    square = _mark("point", shape="square", size=170, opacity=1, strokeWidth=0)
    return layer(["cell"], square, "x", fill=fill)


def one_line(text: str, most: int = 70) -> str:
    """The text with its white space made single spaces, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
