"""The page over several problems: its figures' numbers, its tables, and how it looks."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from src.comparing.overall import Overall
from src.comparing.overall_verdict import judge
from src.comparing.profiles import score
from src.reporting import charts, tables_overall
from src.reporting.figures import Figure
from src.reporting.figures_overall import GAPS, figures
from src.reporting.report import write_overall
from tests.reporting import made_overall, made_up
from tests.reporting.conftest import looks_as_it_did, opened
from tests.reporting.made_overall import METHODS, NOW, PROBLEMS


@pytest.fixture(scope="module")
def overall() -> Overall:
    return made_overall.overall()


@pytest.fixture(scope="module")
def drawn(overall: Overall) -> dict[str, Figure]:
    return {figure.key: figure for figure in figures(overall)}


@pytest.fixture(scope="module")
def folder(overall: Overall, tmp_path_factory: Any) -> Path:
    place: Path = tmp_path_factory.mktemp("overall")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.reporting.report.save", lambda figures, folder: None)  # slow
        write_overall(overall, place)
    return place


def test_the_overview_has_a_cell_for_each_method_on_each_problem(
    overall: Overall, drawn: dict[str, Figure]
) -> None:
    (panel,) = drawn["overview"].panels
    assert [series.name for series in panel.series] == [*overall.methods]
    assert [name for _, name in panel.x.ticks] == [*PROBLEMS]
    for series in panel.series:
        for x, shade, text in zip(series.x, series.shades, series.texts, strict=True):
            place = overall.place(series.name, PROBLEMS[int(x)])
            assert text == ("?" if place.doubt else f"{place.rank:g}")
            assert (shade == 0) == place.unbeaten
            if shade:
                low, high = (0.0, *GAPS, math.inf)[shade - 1 : shade + 1]
                assert low < place.gap <= high
    assert {shade for series in panel.series for shade in series.shades} == {0, 1, 2, 3, 4}


def test_cells_of_steps_are_multiples_of_the_soonest(
    overall: Overall, drawn: dict[str, Figure]
) -> None:
    (panel,) = drawn["soonest"].panels
    for x, problem in enumerate(PROBLEMS):
        column = [series.texts[x] for series in panel.series]
        assert column.count("1.0") >= 1
        missed = [overall.place(name, problem).steps is None for name in overall.methods]
        assert [text == "–" for text in column] == missed


def test_profiles_and_scores_are_drawn_as_they_are(
    overall: Overall, drawn: dict[str, Figure]
) -> None:
    profile, scores = drawn["profiles"].panels
    for line, points, name in zip(profile.series, scores.series, overall.methods, strict=True):
        places = [place for place in overall.places if place.method == name]
        ratios = np.array([math.inf if it.ratio is None else it.ratio for it in places])
        for x, y in zip(line.x, line.y, strict=True):
            assert y == sum(ratios <= x) / len(ratios)
        assert [*points.x] == [-10, -5, 0, 5, 10]
        assert points.y[2] == pytest.approx(score(ratios))


def test_wins_and_ranks_are_drawn_as_they_are(overall: Overall, drawn: dict[str, Figure]) -> None:
    ranks, wins = drawn["order"].panels
    for series, standing in zip(ranks.series, overall.standings, strict=True):
        assert series.x == [standing.rank]
        assert series.high[0] - series.low[0] == pytest.approx(overall.critical)
    cells = {}
    for series in wins.series:
        for x, *cell in zip(series.x, series.texts, series.shades, strict=True):
            cells[series.name, overall.methods[int(x)]] = cell
    assert len(cells) == 12 * 11
    for pair in overall.pairs:
        assert cells[pair.a, pair.b][0] == str(pair.wins)
        assert cells[pair.b, pair.a][0] == str(pair.losses)
        assert (cells[pair.a, pair.b][1] == 0) == (pair.verdict == "better")
        assert (cells[pair.b, pair.a][1] == 0) == (pair.verdict == "worse")
    assert any(pair.verdict == "better" for pair in overall.pairs)


def test_a_cell_lies_around_its_point(drawn: dict[str, Figure]) -> None:
    svg = vl_convert.vegalite_to_svg(json.dumps(charts.drawing(drawn["overview"])))
    assert svg.count("mark-rect") == 1
    (panel,) = drawn["overview"].panels
    rows = charts.rows(panel, (0, 1))
    assert len(rows) == 144
    assert {row["k"] for row in rows} == {"cell"}
    assert rows[0].keys() == {"k", "s", "n", "x", "y", "v", "t", "note"}


@pytest.mark.slow  # Altair takes seconds for each figure
def test_specifications_are_vega_lite(drawn: dict[str, Figure]) -> None:
    import altair as alt  # takes seconds

    for figure in drawn.values():
        alt.VConcatChart.from_dict(charts.drawing(figure))
        for panel in figure.panels:
            alt.LayerChart.from_dict(charts.interactive(panel, "label"))


def test_shades_are_the_style_sheets() -> None:
    css = (Path(charts.__file__).parent / "page.css").read_text()
    light = css[: css.index("@media")]
    for number, shade in enumerate(charts.SHADES):
        assert f"--s{number}: {shade}" in light
        assert css.count(f"--s{number}: #") == 2


def test_tables_hold_the_numbers(overall: Overall, folder: Path) -> None:
    pairs = pd.read_parquet(folder / "pairs.parquet")
    assert len(pairs) == 66
    first = overall.pairs[0]
    assert pairs.loc[0, ["a", "b", "wins", "losses"]].tolist() == [
        first.a, first.b, first.wins, first.losses,
    ]  # fmt: skip
    assert pairs.loc[0, "advantage"] == pytest.approx(first.advantage)
    assert pairs["withheld"].str.contains("digits_logreg").sum() == 11
    with open(folder / "places.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 144
    place = overall.place(rows[5]["method"], rows[5]["problem"])
    assert float(rows[5]["mean"]) == pytest.approx(place.mean)
    standings = pd.read_parquet(folder / "standings.parquet")
    assert standings["method"].tolist() == [*overall.methods]
    assert standings["score_at_+5%"].tolist() == [it.scores["0.05"] for it in overall.standings]
    for name in ("standings", "pairs", "places"):
        assert (folder / f"{name}.md").read_text().count("\n| ") > 10
        assert r"\bottomrule" in (folder / f"{name}.tex").read_text()
    again = Overall.model_validate_json((folder / "overall.json").read_text())
    assert again == overall


def test_the_terminal_says_what_the_page_says(
    overall: Overall, capsys: pytest.CaptureFixture[str]
) -> None:
    tables_overall.print_overall(replace_missing(overall))
    said = capsys.readouterr().out
    assert overall.sentence in said
    assert "late: not finished" in said
    assert f"muon                        {overall.standings[0].rank:.2f}" in said


def replace_missing(overall: Overall) -> Overall:
    return overall.model_copy(update={"missing": ("late",)})


def test_the_page_says_what_is_missing_and_links_to_what_is_there(tmp_path: Path) -> None:
    found = made_overall.comparisons(METHODS[:3], PROBLEMS[:2], 3)
    part = judge(
        "part", found, {"digits_mlp": "digits_mlp", "digits_logreg": "x", "late": "l"}, NOW
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.reporting.report.save", lambda figures, folder: None)
        text = write_overall(part, tmp_path).read_text()
    assert "⚠ Verdict withheld" in text
    assert "Nothing is said about other problems: late isn&#39;t finished." in text
    assert '<a href="digits_mlp/report.html">digits_mlp</a>' in text
    assert "2 of 3 problems" in text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.reporting.report.save", lambda figures, folder: None)
        nothing = judge("none", {}, {"late": "late"}, NOW)
        text = write_overall(nothing, tmp_path).read_text()
    assert "No problem&#39;s comparison is finished." in text


def test_names_are_never_code(tmp_path: Path) -> None:
    """Hostile names of methods and problems, as in a comparison's own page."""
    names = made_up.HOSTILE[:3]
    harmless = [f"name-{n}" for n in range(3)]
    found = [figures(made_overall.overall(tuple(them), (them[0], "p", *them[1:])))
             for them in (names, harmless)]  # fmt: skip
    for hostile, plain in zip(*found, strict=True):
        code = [json.dumps(_expressions(charts.drawing(figure))) for figure in (hostile, plain)]
        assert code[0] == code[1]


def _expressions(spec: Any) -> Any:
    """What Vega compiles: expressions and fields' names."""
    if isinstance(spec, dict):
        kept = ("expr", "labelExpr", "calculate", "test", "filter", "field", "as")
        return [[key, value if key in kept else _expressions(value)]
                for key, value in spec.items() if key != "values"]  # fmt: skip
    return [_expressions(each) for each in spec] if isinstance(spec, list) else None


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (1280, "dark")])
def test_twelve_methods_on_twelve_problems_are_readable(
    browser: Any, folder: Path, width: int, scheme: str
) -> None:
    """Every cell's text lies within its cell, the page isn't wider than the screen, and the heat
    maps look as they did."""
    shown = opened(browser, folder / "report.html", width, scheme)
    assert not shown.faults
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    cells = shown.locator("#overview .mark-rect path")
    assert cells.count() == 144
    room = cells.first.bounding_box()["width"]
    for text in shown.locator("#overview .mark-text.role-mark text").all()[::7]:
        assert text.bounding_box()["width"] <= room
    for key in ("overview", "order"):
        panels = shown.locator(f"#{key} .panels")
        panels.scroll_into_view_if_needed()
        looks_as_it_did(panels.screenshot(), f"overall-{key}-{width}-{scheme}")
    shown.close()
