"""A figure's specification: what is drawn of its data, in which marks, and with no name in code."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert

from src.comparing.record import read
from src.reporting import charts
from src.reporting.charts import bounds, drawing, drawn_points, interactive, rows, theme, thinned
from src.reporting.figures import Axis, Figure, Key, Panel, Series, figures
from tests.reporting import made_up
from tests.reporting.conftest import looks_as_it_did

INF, NAN = math.inf, math.nan


def panel(*series: Series, x: Axis | None = None, y: Axis | None = None) -> Panel:
    return Panel("title", x or Axis("x"), y or Axis("y"), [*series])


def drawn(*series: Series, **axes: Axis) -> list[dict[str, Any]]:
    of = panel(*series, **axes)
    return rows(of, bounds(of.y, [y for one in series for y in one.y]))


@pytest.fixture(scope="module", params=[2, 6, 12])
def described(request: pytest.FixtureRequest, tmp_path_factory: Any) -> list[Figure]:
    """Every figure of 2, 6 or 12 methods."""
    names = tuple(f"method-{n}" for n in range(request.param))
    place = made_up.write(tmp_path_factory.mktemp("c"), *made_up.comparison(names, 4, 6))
    return figures(read(place))


def test_the_data_of_a_specification_are_the_figures_data(described: list[Figure]) -> None:
    """To seven digits: every finite point, with its bounds and note."""
    seen = 0
    for figure in described:
        for of in figure.panels:
            spec = interactive(of, "label")
            found = {(n, row["x"], row["y"]): row for row in spec["data"]["values"]
                     if not row.get("is") for n in [row["n"]]}  # fmt: skip
            for number, series in enumerate(of.series):
                for index, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
                    if not (math.isfinite(x) and math.isfinite(y)):
                        continue
                    row = found[number, float(f"{x:.7g}"), float(f"{y:.7g}")]
                    assert (row["k"], row["s"]) == (series.kind, series.style)
                    if series.notes:
                        assert row["note"] in series.notes
                    if len(series.low) and math.isfinite(series.low[index]):
                        assert row["low"] == float(f"{series.low[index]:.7g}")
                    seen += 1
    assert seen > 300


def test_page_and_paper_draw_the_same(described: list[Figure]) -> None:
    """The same rows, scales and marks; the page adds what the pointer needs."""
    for figure in described:
        on_paper = drawing(figure)["vconcat"][0]["concat"]
        for of, paper in zip(figure.panels, on_paper, strict=True):
            page = interactive(of, "label")
            assert page["data"] == paper["data"]
            marks = [layer["mark"] for layer in paper["layer"]]
            assert [layer["mark"] for layer in page["layer"]][: len(marks)] == marks
            for name in ("x", "y"):
                one, other = (chart["layer"][-1]["encoding"][name]["scale"]
                              for chart in (page, paper))  # fmt: skip
                assert one == other


@pytest.mark.slow  # Altair takes seconds for each figure
def test_specifications_are_vega_lite(described: list[Figure]) -> None:
    """By the schema, as Altair has it; a specification that another one resembles is left out."""
    import altair as alt  # takes seconds

    checked: dict[str, Any] = {}
    for figure in described:
        checked[_form(drawing(figure))] = alt.VConcatChart, drawing(figure)
        for of in figure.panels:
            spec = interactive(of, "label")
            json.dumps(spec, allow_nan=False)
            checked[_form(spec)] = alt.LayerChart, spec
    for chart, spec in checked.values():
        chart.from_dict(_thin(spec))


def _thin(spec: Any) -> Any:
    """With one of each list's values that are rows; the schema says nothing of the others."""
    if isinstance(spec, dict):
        return {key: value[:1] if key == "values" and value and isinstance(value[0], dict)
                else _thin(value) for key, value in spec.items()}  # fmt: skip
    return [_thin(each) for each in spec] if isinstance(spec, list) else spec


def _form(value: Any) -> str:
    """What a specification looks like without its numbers and words."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_form(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dict.fromkeys(map(_form, value))) + "]"
    return type(value).__name__


def test_a_point_without_a_place_stands_at_the_edge() -> None:
    series = Series("a", 0, "points", [1.0, 2.0, 3.0], [1.0, INF, NAN], hollow=True)
    first, second = drawn(series, y=Axis("y", limits=(0.0, 2.0)))
    assert first == {"k": "points", "s": 0, "n": 0, "x": 1, "y": 1, "hollow": 1}
    assert second == {**first, "x": 2, "y": pytest.approx(1.97), "is": "∞"}
    far = Series("a", 0, "points", [1.0, 2.0], [1.0, 1e9])
    row = drawn(far, y=Axis("y", log=True))[1]
    assert row["is"] == "1e+09" and 5e5 < row["y"] < 2e6


def test_a_line_has_a_gap_where_a_value_is_missing() -> None:
    ys = [1.0, 2.0, NAN, 3.0, INF, 4.0]
    found = drawn(Series("a", 3, "line", [*map(float, range(6))], ys))
    assert [(row["x"], row["p"]) for row in found] == [(0, 0), (1, 0), (3, 1), (5, 2)]
    assert {row["s"] for row in found} == {3}


def test_a_band_without_an_upper_half() -> None:
    line = Series("a", 0, "line", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0],
                  [0.5, 1.5, INF], [1.5, INF, INF])  # fmt: skip
    first, second, third = drawn(line)
    assert (first["low"], first["high"]) == (0.5, 1.5) and "open" not in first
    assert (second["low"], second["high"], second["open"]) == (1.5, 2, 1)
    assert "low" not in third


def test_what_has_no_end_is_not_drawn() -> None:
    bars = Series("a", 0, "bar", [3.0, NAN], [0.0, 1.0])
    assert [row["x"] for row in drawn(bars)] == [3]
    mean = Series("a", 0, "interval", [2.0], [0.0], [NAN], [NAN])
    (row,) = drawn(mean)
    assert "low" not in row and row["x"] == 2


def test_of_very_many_points_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly over x, whatever their order; a line from end to end; of few, all."""
    series = Series("a", 0, "points", [5.0, 1.0, 4.0, 2.0, 3.0], [0.0] * 5)
    assert drawn_points(series) == [0, 1, 2, 3, 4]
    assert thinned(Figure("k", "t", "c", [panel(series)], [])) == ""
    monkeypatch.setattr(charts, "MOST", 3)
    assert [series.x[n] for n in drawn_points(series)] == [1.0, 3.0, 5.0]
    said = thinned(Figure("k", "t", "c", [panel(series)], []))
    assert said.startswith("Thinned: of a series of up to 5 points 3 marks are drawn")
    monkeypatch.setattr(charts, "MOST_ALONG", 3)
    assert drawn_points(Series("a", 0, "line", [0.0] * 9, [0.0] * 9)) == [0, 4, 8]


@pytest.mark.parametrize(
    ("axis", "values", "expected"),
    [
        (Axis("x", ticks=((1.0, "a"), (3.0, "b"))), [9.0], (0.5, 3.5)),
        (Axis("x", limits=(2.0, 5.0)), [9.0], (2, 5)),
        (Axis("x"), [0.0, 10.0, NAN, INF], (-0.5, 10.5)),
        (Axis("x"), [4.0], (3.8, 4.2)),
        (Axis("x"), [], (0, 1)),
        (Axis("x", mark=-10.0), [10.0], (-11, 11)),
        (Axis("x", log=True), [-1.0, 0.0], (0.1, 1)),
        (Axis("x", log=True), [1.0, 1e9], (10**-0.3, 10**6.3)),
    ],
)
def test_bounds(axis: Axis, values: list[float], expected: tuple[float, float]) -> None:
    assert bounds(axis, values) == pytest.approx(expected)


def test_twenty_methods_are_told_apart() -> None:
    """No two share colour and marker, nor colour and dash."""
    sizes = (len(charts.COLORS), len(charts.MARKERS), len(charts.DASHES))
    looks = [[style % size for size in sizes] for style in range(20)]
    assert len({(color, marker) for color, marker, _ in looks}) == 20
    assert len({(color, dash) for color, _, dash in looks}) == 20


def test_colours_are_the_style_sheets() -> None:
    css = (Path(charts.__file__).parent / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    found = re.findall(r"--c\d: (#\w+)", light)
    assert found == [*charts.COLORS]
    assert len(re.findall(r"--c\d: (#\w+)", dark)) == len(found)


def linear(color: str) -> np.ndarray:
    parts = np.array([int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira and Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip


@pytest.mark.parametrize("blindness", BLIND)
def test_colours_stay_apart_for_colour_blind_readers(blindness: str) -> None:
    """By their distance in CIELAB: 2.3 is just noticed."""
    seen = [lab(np.clip(np.array(BLIND[blindness]) @ linear(c), 0, 1)) for c in charts.COLORS]
    apart = [np.linalg.norm(a - b) for n, a in enumerate(seen) for b in seen[:n]]
    assert min(apart) > 8


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ rgb / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


HOSTILE = ("image", "datum.x", "a.b[0]", "\\", "'; alert(1); '", "${x}", '"', *made_up.HOSTILE)


def code(spec: Any, key: str = "") -> Iterator[str]:
    """Every text of a specification that Vega reads as code or as a field's name."""
    if isinstance(spec, dict):
        for name, value in spec.items():
            if name == "values" and key == "data":
                continue  # rows
            if name in ("title", "description", "usermeta"):
                continue  # texts
            if name == "params" and isinstance(value, list):
                yield from (each["name"] for each in value)
                yield from (str(each.get("select", "")) for each in value)
                continue
            yield from code(value, name)
    elif isinstance(spec, list):
        for each in spec:
            yield from code(each, key)
    elif isinstance(spec, str):
        yield spec


def test_a_name_is_never_code() -> None:
    found = []
    for name in ("plain", *HOSTILE):
        points = Series(name, 0, "points", [1.0], [0.0], hollow=True, notes=[name])
        ticks = ((0.0, name),)
        axes = {"x": Axis(name, better=name), "y": Axis(name, ticks=ticks)}
        of = Panel(name, axes["x"], axes["y"], [points])
        figure = Figure("k", name, name, [of], [(name, 0)], keys=(Key("points", name),))
        found.append([*code(drawing(figure)), *code(interactive(of, name))])
    assert all(each == found[0] for each in found)
    assert "picked === null || picked === datum.s" in found[0]


def test_names_are_drawn_as_they_are() -> None:
    names = ["a & b < c", '"x" $y_1$ [x]', "🙂", "n" * 200]
    lines = [Series(name, n, "line", [0.0, 1.0], [n, n + 1.0]) for n, name in enumerate(names)]
    legend = [(name, n) for n, name in enumerate(names)]
    figure = Figure("k", "t", "c", [panel(*lines)], legend)
    svg = vl_convert.vegalite_to_svg(json.dumps(drawing(figure)), config=theme())
    for text in ("a &amp; b &lt; c", '"x" $y_1$ [x]', "🙂"):
        assert f">{text}<" in svg.replace("&quot;", '"')
    assert re.search(r">n{40,}…<", svg)


def test_an_axis_says_which_way_is_better(described: list[Figure]) -> None:
    """Wherever it is a metric, a share of successes, or a rank."""
    neither = {"", "step", "training seconds", "learning rate", "trials", "metric",
               "multiple of the target's value", "share of the steps", "share of the variance",
               "optimizer.lr", "optimizer.momentum"}  # fmt: skip
    for figure in described:
        for of in figure.panels:
            for axis in (of.x, of.y):
                assert bool(axis.better) or axis.label in neither, axis


def test_every_kind_of_mark_is_explained(described: list[Figure]) -> None:
    for figure in described:
        drawn_kinds = {series.kind for of in figure.panels for series in of.series}
        assert drawn_kinds <= {key.kind for key in figure.keys}, figure.key
        hollow = {series.kind for of in figure.panels for series in of.series if series.hollow}
        assert hollow <= {key.kind for key in figure.keys if key.hollow}, figure.key
        legend = drawing(figure)["vconcat"][1]["data"]["values"]
        assert [each["t"] for each in legend] == [
            *(name for name, _ in figure.legend), *(key.text for key in figure.keys)
        ]  # fmt: skip


@pytest.mark.parametrize("count", [2, 6, 12])
@pytest.mark.parametrize("key", ["ranking", "curves", "sensitivity", "slices", "stability"])
def test_pictures_look_as_they_did(tmp_path: Path, key: str, count: int) -> None:
    """As they are drawn for paper."""
    names = tuple(f"method-{n}" for n in range(count))
    comparison = read(made_up.write(tmp_path, *made_up.comparison(names, 4, 6)))
    (figure,) = [figure for figure in figures(comparison) if figure.key == key]
    png = vl_convert.vegalite_to_png(json.dumps(drawing(figure)), config=theme(), scale=1)
    looks_as_it_did(png, f"{key}-{count}")
