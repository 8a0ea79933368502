"""What data look like: a Vega-Lite specification by the kind of inputs and targets."""

import base64
import io
import json
from typing import Any

import numpy as np
import vl_convert
from numpy.typing import NDArray
from PIL import Image

from src.reporting.charts import COLORS, SCHEMA, Spec, theme

Array = NDArray[Any]
TILES, SIGNALS, POINTS, BARS = 24, 10, 800, 30  # drawn at most
SIZE, TILE = 300, 48  # of a panel, and of a picture's side


def pictures(
    name: str, inputs: Array, targets: Array, classes: int | None, vocabulary: int | None
) -> dict[str, bytes]:
    """The data as svg and png.

    Args:
        name: above the picture.
        inputs: (n, ...), of the training set.
        targets: (n, ...).
        classes, vocabulary: of targets and of inputs, where these are indices.
    """
    panels = [_inputs(inputs, targets, classes, vocabulary), _targets(targets, classes)]
    spec = {
        "$schema": SCHEMA,
        "title": {"text": name, "fontSize": 14, "offset": 10},
        "hconcat": panels,
        "spacing": 30,
        "padding": 12,
    }
    svg = vl_convert.vegalite_to_svg(json.dumps(spec, allow_nan=False), config=theme())
    return {"svg": svg.encode(), "png": vl_convert.svg_to_png(svg, scale=2)}


def _inputs(inputs: Array, targets: Array, classes: int | None, vocabulary: int | None) -> Spec:
    """The panel that suits the inputs' shape."""
    shape = inputs.shape[1:]
    if vocabulary is not None:
        short = len(shape) == 1 and shape[0] <= 3 and targets.ndim == 1
        return _pairs(inputs, targets, classes) if short else _tokens(inputs, vocabulary)
    if len(shape) == 3 and shape[0] in (1, 3):
        return _tiles(inputs, targets, classes)
    if len(shape) == 2 and shape[0] == 1:
        return _signals(inputs[:, 0], targets, classes)
    return _plane(inputs.reshape(len(inputs), -1), targets, classes)


def _tiles(inputs: Array, targets: Array, classes: int | None) -> Spec:
    """The first pictures, with their classes."""
    columns, values = 6, []
    for number, picture in enumerate(inputs[:TILES]):
        row, column = divmod(number, columns)
        label = str(int(targets[number])) if classes and targets.ndim == 1 else ""
        values.append({"x": column, "y": -row, "url": _data_url(picture), "label": label})
    rows = -(-len(values) // columns)
    place = {"x": _blind("x"), "y": _blind("y")}
    text = {"type": "text", "dy": -TILE / 2 - 7, "fontSize": 10}
    return {
        "title": f"the first {len(values)} of {len(inputs):,} training inputs",
        "width": columns * (TILE + 8),
        "height": rows * (TILE + 20),
        "data": {"values": values},
        "layer": [
            {"mark": {"type": "image", "width": TILE, "height": TILE},
             "encoding": {**place, "url": {"field": "url", "type": "nominal"}}},
            {"mark": text, "encoding": {**place, "text": {"field": "label", "type": "nominal"}}},
        ],
    }  # fmt: skip


def _blind(field: str) -> Spec:
    return {"field": field, "type": "ordinal", "axis": None,
            **({"sort": "descending"} if field == "y" else {})}  # fmt: skip


def _data_url(picture: Array) -> str:
    """A picture, (channels, height, width), as a PNG; its own least and largest value are the ends
    of the scale."""
    low, high = float(picture.min()), float(picture.max())
    levels = np.rint(255 * (picture - low) / ((high - low) or 1)).astype(np.uint8)
    tall = levels.transpose(1, 2, 0) if len(levels) == 3 else levels[0]
    picture_file = io.BytesIO()
    enlarged = max(1, 2 * TILE // picture.shape[1])
    size = (picture.shape[2] * enlarged, picture.shape[1] * enlarged)
    Image.fromarray(tall).resize(size, Image.Resampling.NEAREST).save(picture_file, "PNG")
    return "data:image/png;base64," + base64.b64encode(picture_file.getvalue()).decode()


def _signals(signals: Array, targets: Array, classes: int | None) -> Spec:
    """A signal of each class, one above the other; the first ones, where there are no classes."""
    first = [*range(min(SIGNALS, len(signals)))]
    if classes:
        first = [int(np.argmax(targets == each)) for each in range(min(classes, SIGNALS))]
    values = [
        {"x": place, "y": float(signals[row][place]), "row": number}
        for number, row in enumerate(first)
        for place in range(signals.shape[1])
    ]
    return {
        "title": "a training input of each class" if classes else "the first training inputs",
        "data": {"values": values},
        "facet": {"row": {"field": "row", "header": {"title": None, "labelAngle": 0}}},
        "spec": {
            "width": SIZE,
            "height": 26,
            "mark": {"type": "line", "color": COLORS[0]},
            "encoding": {
                "x": {"field": "x", "type": "quantitative", "title": "place"},
                "y": {"field": "y", "type": "quantitative", "axis": None},
            },
        },
        "spacing": 2,
    }


def _pairs(inputs: Array, targets: Array, classes: int | None) -> Spec:
    """What belongs to each pair of first tokens."""
    rows = [
        {"x": int(pair[0]), "y": int(pair[1]), "target": target.item()}
        for pair, target in zip(inputs, targets, strict=True)
    ]
    return {
        "title": "the training set: the target by the first two tokens",
        "width": SIZE,
        "height": SIZE,
        "data": {"values": rows},
        "mark": {"type": "square", "opacity": 1, "size": max(6, 0.9 * (SIZE / _span(inputs)) ** 2)},
        "encoding": {
            "x": _axis("x", "first token"),
            "y": _axis("y", "second token"),
            "color": _color(classes),
        },
    }


def _span(inputs: Array) -> int:
    return int(np.ptp(inputs[:, :2], axis=0).max()) + 1


def _tokens(inputs: Array, vocabulary: int) -> Spec:
    """How often the most common tokens occur."""
    counts = np.bincount(inputs.flatten(), minlength=vocabulary)
    common = np.argsort(-counts, kind="stable")[:BARS]
    values = [{"token": int(each), "share": float(counts[each] / inputs.size)} for each in common]
    return {
        "title": f"the {len(values)} most common of {vocabulary} tokens",
        "width": SIZE,
        "height": 14 * len(values),
        "data": {"values": values},
        "mark": {"type": "bar", "color": COLORS[0]},
        "encoding": {
            "x": _axis("share", "share of the training set's tokens"),
            "y": {"field": "token", "type": "nominal", "sort": None},
        },
    }


def _plane(rows: Array, targets: Array, classes: int | None) -> Spec:
    """Two numbers as they are; of more, the two directions in which they vary most."""
    rows, several = rows[:POINTS].astype(float), targets.ndim > 1
    names, title = ("x₁", "x₂"), "training inputs"
    if rows.shape[1] == 1:
        rows = np.stack([rows[:, 0], np.zeros(len(rows))], 1)
    elif rows.shape[1] > 2:
        rows = rows - rows.mean(0)
        rows = rows @ np.linalg.svd(rows, full_matrices=False)[2][:2].T
        names = ("first principal component", "second")
        title = "training inputs where they vary most"
    values = [
        {"x": float(x), "y": float(y), "target": 0 if several else target.item()}
        for (x, y), target in zip(rows, targets[: len(rows)], strict=True)
    ]
    color = {"value": COLORS[0]} if several else _color(classes)
    return {
        "title": title,
        "width": SIZE,
        "height": SIZE,
        "data": {"values": values},
        "mark": {"type": "circle", "size": 22, "opacity": 0.75},
        "encoding": {"x": _axis("x", names[0]), "y": _axis("y", names[1]), "color": color},
    }


def _targets(targets: Array, classes: int | None) -> Spec:
    """How often each class occurs, or how the numbers are spread."""
    flat = targets.flatten()
    panel: Spec = {"title": "training targets", "width": SIZE, "height": 200}
    values: list[Spec]
    if classes:
        counts = np.bincount(flat.astype(int), minlength=classes)
        common = sorted(np.argsort(-counts, kind="stable")[:BARS])
        values = [{"class": int(each), "count": int(counts[each])} for each in common]
        place = {"field": "class", "type": "nominal", "sort": None,
                 "axis": {"labelAngle": 0, "labelOverlap": True}}  # fmt: skip
        if classes > BARS:
            panel["title"] = f"the {BARS} most common of {classes} classes"
    else:
        counts, edges = np.histogram(flat, BARS)
        values = [
            {"class": float(low), "to": float(high), "count": int(count)}
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ]
        place = {"field": "class", "type": "quantitative", "title": "target",
                 "bin": {"binned": True}}  # fmt: skip
    encoding: Spec = {"x": place, "y": _axis("count", "number")}
    if not classes:
        encoding["x2"] = {"field": "to"}
    mark = {"type": "bar", "color": COLORS[2]}
    return {**panel, "data": {"values": values}, "mark": mark, "encoding": encoding}


def _axis(field: str, title: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"zero": False},
        "axis": {"tickCount": 5},
    }


def _color(classes: int | None) -> Spec:
    """A colour of its own for each of a few classes; a scale for many, and for numbers."""
    if classes and classes <= len(COLORS):
        kind = {"type": "nominal", "scale": {"domain": [*range(classes)],
                                             "range": [*COLORS[:classes]]}}  # fmt: skip
    else:
        kind = {"type": "quantitative", "scale": {"scheme": "viridis"}}
    return {"field": "target", "title": "class" if classes else "target", **kind}
