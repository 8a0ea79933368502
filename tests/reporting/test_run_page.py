"""The page of a run and of several: what it shows, and what a hostile record does to it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from src.config import PROJECT
from src.errors import InputError
from src.report import main
from src.reporting import report, run_page
from src.reporting.report import is_run, write_runs
from src.reporting.run_page import ranked, read_runs, runs_page
from tests.reporting import made_up
from tests.reporting.conftest import opened

STORED = PROJECT / "tests" / "previous"
EVIL = "<script>alert(1)</script>&\"' $x_1$ [b] 🙂" + "n" * 200


def a_run(folder: Path, source: str = "finished", **result: Any) -> Path:
    """A copy of a stored run, with other entries in its result."""
    shutil.copytree(STORED / source, folder)
    old = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**old, **result}))
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write_rows(folder: Path, rows: list[Any]) -> None:
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def objective(value: float | None, **more: str) -> dict[str, Any]:
    return {"metric": "val_loss", "direction": "minimize", "value": value, **more}


@pytest.mark.parametrize("count", [1, 2])
def test_pages_are_drawn(browser: Any, tmp_path: Path, count: int) -> None:
    folders = [a_run(tmp_path / "one"), a_run(tmp_path / "two", "interrupted")][:count]
    page = write_runs(folders, tmp_path / "out")
    for width in (1280, 390):
        shown = opened(browser, page, width)
        assert shown.locator("figure .plot svg").count() == (3 if count == 1 else 4)
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        assert shown.faults == []
        shown.close()
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} == {
        "curves.png", "curves.svg", "curves.pdf"
    }  # fmt: skip


def test_a_runs_curves_are_its_rows(tmp_path: Path) -> None:
    rows = rows_of(STORED / "finished")
    _, (figure,) = runs_page(read_runs([a_run(tmp_path / "one")]))
    by_title = {panel.title: panel for panel in figure.panels}
    assert [*by_title] == ["loss", "accuracy", "learning rate"]
    batch, loss = by_title["loss"].series
    assert [batch.name, loss.name] == ["batch loss", "val loss"]
    assert list(loss.x) == [row["step"] for row in rows]
    assert list(loss.y) == [row["val_loss"] for row in rows]
    assert by_title["loss"].y.better == "lower is better"
    assert by_title["accuracy"].y.better == "higher is better"
    assert by_title["learning rate"].y.better == ""


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    text, _ = runs_page(read_runs([a_run(tmp_path / "one")]))
    assert "<h1>one</h1>" in text and "val loss (lower is better)" in text
    commit = "3da61c42a54115c89dc49119d668d3e14f40808a"
    for cell in ("2.0663", "completed", "seed", commit, "model.activation", "relu"):
        assert f">{cell}<" in text, cell


def test_several_runs_show_where_they_differ(tmp_path: Path) -> None:
    one, two = a_run(tmp_path / "a" / "run"), a_run(tmp_path / "b" / "run")
    config = (two / "config.yaml").read_text()
    (two / "config.yaml").write_text(config.replace("lr: 0.001", "lr: 0.01"))
    text, (figure,) = runs_page(read_runs([one, two]))
    settings = text[text.index('<section id="settings">') :]
    heads = settings[: settings.index("</thead>")]
    assert heads.count("<th ") == 2 and ">run</th>" in heads and ">optimizer.lr</th>" in heads
    assert [name for name, _ in figure.legend] == ["a/run", "b/run"]
    assert {panel.title for panel in figure.panels} == {
        "batch loss", "val loss", "val accuracy", "learning rate"
    }  # fmt: skip
    same, _ = runs_page(read_runs([one, a_run(tmp_path / "c")]))
    assert "The runs&#39; settings are the same." in same


def test_the_best_run_comes_first(tmp_path: Path) -> None:
    values = {"a": 3.0, "b": None, "c": 1.0, "d": 2.0}
    folders = [a_run(tmp_path / name, objective=objective(v)) for name, v in values.items()]
    assert [run.name for run in ranked(read_runs(folders))] == ["c", "d", "a", "b"]
    for folder, value in zip(folders, values.values(), strict=True):
        shutil.rmtree(folder)
        a_run(folder, objective=objective(value, direction="maximize"))
    assert [run.name for run in ranked(read_runs(folders))] == ["a", "d", "c", "b"]
    a_run(tmp_path / "e", objective=objective(9.0, metric="val_accuracy"))
    mixed = read_runs([*folders, tmp_path / "e"])
    assert [run.name for run in ranked(mixed)] == [*"abcde"], "which can't be compared"


def test_a_run_without_a_result_is_shown(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "one")
    for name in ("result.json", "provenance.json", "metrics.jsonl"):
        (folder / name).unlink()
    text, drawn = runs_page(read_runs([folder]))
    assert "no result yet" in text and drawn == []


def test_long_records_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_page, "MOST_POINTS", 50)
    folder = a_run(tmp_path / "one")
    write_rows(folder, [{"step": n, "val_loss": 1 / (n + 1)} for n in range(1234)])
    text, (figure,) = runs_page(read_runs([folder]))
    (series,) = figure.panels[0].series
    assert (len(series.x), series.x[0], series.x[-1]) == (50, 0, 1233)
    assert "Of a longer record 50 rows are shown, evenly." in text


ODD_ROWS = [
    {"step": 1, "val_loss": {"a": 1}, EVIL: 1.5, "x" * 300: 2},
    {"step": {"b": 2}, "val_loss": 2.0, EVIL: [3]},
    {"step": 3, "val_loss": float("nan"), EVIL: float("inf")},
    {"step": 4, "val_loss": 10**400, EVIL: True, "\ud800\u202e": 3.0},
    {"step": 5, "val_loss": 0.25, EVIL: 2.5},
]


def test_a_hostile_record_gives_a_page(browser: Any, tmp_path: Path) -> None:
    strange = {"metric": EVIL, "direction": EVIL, "value": {"c": 3}}
    folders = [a_run(tmp_path / name, status=EVIL, objective=strange) for name in ("a", "b")]
    for folder in folders:
        write_rows(folder, ODD_ROWS)
        (folder / "provenance.json").write_text(json.dumps({EVIL: {EVIL: [EVIL, None]}}))
    for given in (folders, folders[:1]):
        path = write_runs(given, tmp_path / "out")
        shown = opened(browser, path, 390)
        assert "<script>alert(1)</script>" in shown.locator("main").inner_text()
        assert shown.locator("script").count() == 3
        assert shown.evaluate("document.documentElement.scrollWidth") == 390
        assert shown.faults == []
        shown.close()
    (figure,) = runs_page(read_runs(folders[:1]))[1]
    values = {series.name: list(series.y) for panel in figure.panels for series in panel.series}
    assert values["val loss"][-1] == 0.25 and values[EVIL.replace("_", " ")][0] == 1.5


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.jsonl", "[1]\n", "holds a line that is no row"),
        ("metrics.jsonl", "{\n", "metrics.jsonl"),
        ("metrics.jsonl", '{"a": ' + "[" * 2000 + "]" * 2000 + "}\n", "metrics.jsonl"),
        ("result.json", "[]", "result.json: not what a run leaves there"),
        ("provenance.json", "{", "provenance.json"),
        ("config.yaml", "[]", "config.yaml is not a config"),
        ("config.yaml", "seed: ${oc.env:HOME}", "interpolation"),
    ],
)
def test_a_damaged_run_is_one_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    folder = a_run(tmp_path / "one")
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=said) as raised:
        read_runs([folder])
    assert "\n" not in str(raised.value)


def test_more_runs_than_looks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="57 runs: at most 56 fit on a page"):
        read_runs([tmp_path] * 57)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page of one run lies in its folder, of several in outputs/, or where --out says."""
    monkeypatch.setattr(report, "save", lambda figures, folder: folder.mkdir(parents=True))
    monkeypatch.setattr("src.report.OUTPUTS", tmp_path / "outputs")
    one, two = a_run(tmp_path / "one"), a_run(tmp_path / "two")
    compared = made_up.write(tmp_path / "compared", *made_up.comparison(("a", "b"), 2, 3))

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    assert call(one) == f"report: {one}/report.html\n"
    assert call(one, two) == f"report: {tmp_path}/outputs/reports/one-and-1-more/report.html\n"
    assert call(one, two, "--out", tmp_path / "x") == f"report: {tmp_path}/x/report.html\n"
    assert (tmp_path / "x" / "report.html").is_file()
    for arguments, said in (
        ((one, compared), f"{one}: a run, which shares no page with a comparison"),
        ((compared, "--out", "y"), "--out=y: a comparison's report stands in its own folder"),
        ((tmp_path,), f"{tmp_path}: not a comparison (no comparison.json), and not a run"),
    ):
        with pytest.raises(SystemExit) as leaving:
            call(*arguments)
        assert leaving.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {said}")
    assert is_run(one) and not is_run(compared)


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write_runs([a_run(tmp_path / "one")], tmp_path / "file")


def test_reports_need_no_torch(tmp_path: Path) -> None:
    folder = made_up.write(tmp_path / "c", *made_up.comparison(("a", "b"), 2, 3))
    run = a_run(tmp_path / "run")
    script = (
        "import sys; from pathlib import Path; from src.report import report;"
        f"report([Path({str(folder)!r})], None); report([Path({str(run)!r})], None);"
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'plotly') if m in sys.modules])"
    )  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
