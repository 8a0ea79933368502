"""The page in a browser, the files beside it, hostile text, and what is missing or odd."""

import csv
import errno
import html
import html.parser
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from rich.console import Console

from src.comparing.record import Trial, read
from src.config import PROJECT
from src.errors import InputError
from src.report import main
from src.reporting import report
from src.reporting.comparison_page import page
from src.reporting.figures import _rate, figures
from src.reporting.page import _address
from src.reporting.report import write_report
from src.reporting.tables import csv_text, print_verdict
from tests import starting
from tests.reporting import made_up
from tests.reporting.conftest import looks_as_it_did, opened, until

KEYS = ("ranking", "curves", "sensitivity", "budget", "trials", "target", "importance", "slices",
        "stability")  # fmt: skip
Facts = dict[str, Any]
Runs = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with all its files."""
    place = made_up.write(tmp_path_factory.mktemp("comparison"), *made_up.comparison())
    write_report(place)
    return place


@pytest.fixture(scope="module", params=[(1280, "light"), (1280, "dark"), (390, "light"),
                                        (390, "dark")], ids="{0[0]}-{0[1]}".format)  # fmt: skip
def drawn(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, for tests that only look at it: to draw all figures takes seconds."""
    shown = opened(browser, folder / "report.html", *request.param)
    shown.width, shown.scheme = request.param
    yield shown
    shown.close()


def test_page_is_drawn(drawn: Any, folder: Path) -> None:
    shown, width, scheme = drawn, drawn.width, drawn.scheme
    boxes = shown.eval_on_selector_all(
        "figure .plot svg", "all => all.map(one => [one.clientWidth, one.clientHeight])"
    )
    assert len(boxes) == sum(len(figure.panels) for figure in figures(read(folder))) > 20
    assert min(map(min, boxes)) > 100
    marks = shown.eval_on_selector_all(
        "figure .mark-symbol path, figure .mark-line path",
        "all => all.map(one => one.getBoundingClientRect().width)",
    )
    assert len(marks) > 200
    assert sum(width > 0 for width in marks) > 0.9 * len(marks)
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    dark = shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    assert dark == (scheme == "dark")
    assert shown.faults == []


def test_a_page_looks_as_it_did(drawn: Any) -> None:
    """Its main figures, as a browser draws them."""
    for key in ("ranking", "curves", "sensitivity", "stability"):
        panels = drawn.locator(f"#{key} .panels")
        looks_as_it_did(panels.screenshot(), f"page-{key}-{drawn.width}-{drawn.scheme}")


@pytest.fixture(scope="module")
def used(browser: Any, folder: Path) -> Iterator[Any]:
    """The page for tests that use parts of it of which no later one asks how they were."""
    shown = opened(browser, folder / "report.html")
    yield shown
    shown.close()


def test_values_are_said_and_methods_dimmed(used: Any) -> None:
    shown = used
    curve = shown.locator("#curves figure").first
    curve.locator(".plot").hover()
    said = curve.locator(".says")
    said.wait_for()
    assert re.match(r"step: \d+\n", said.inner_text())
    assert all(name in said.inner_text() for name in made_up.METHODS)
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"
    button = shown.locator("#curves .legend button").first
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    lines = curve.locator(".mark-line path")
    until(shown, "document.querySelectorAll('#curves .mark-line path[opacity^=\"0.07\"]').length")
    opacities = [lines.nth(n).get_attribute("opacity") for n in range(lines.count())]
    assert [float(one or 1) for one in opacities] == [1, 0.07, 0.07, 0.07]
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert shown.faults == []


def test_the_table_behind_a_figure(used: Any, folder: Path) -> None:
    shown = used
    shown.locator("#ranking details.drawn summary").press("Enter")
    rows = shown.locator("#ranking details.drawn tbody tr")
    data = list(figures(read(folder))[0].rows())[1:]
    rows.first.wait_for()
    found = [rows.nth(n).locator("td").all_text_contents() for n in range(rows.count())]
    assert [row[:3] for row in found] == [row[:3] for row in data]
    assert [float(row[3]) for row in found] == pytest.approx([row[3] for row in data], rel=1e-4)
    assert [row[8] for row in found] == [row[8] for row in data]
    assert shown.faults == []


def test_a_figure_is_zoomed(used: Any) -> None:
    """By the wheel with Ctrl; without it, the page scrolls."""
    shown = used
    axis = shown.locator("#curves figure").first.locator(".role-axis-label text")
    before = axis.all_text_contents()
    shown.locator("#curves figure .plot").first.hover()
    shown.mouse.wheel(0, 100)
    shown.wait_for_timeout(300)
    assert axis.all_text_contents() == before
    assert shown.evaluate("scrollY") > 0
    shown.locator("#curves figure .plot").first.hover()
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -300)
    shown.keyboard.up("Control")
    shown.wait_for_timeout(300)
    assert axis.all_text_contents() != before
    assert shown.faults == []


def test_the_policy(folder: Path) -> None:
    """Nothing is loaded, nothing evaluated, and only the page's own two scripts run."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    parts = dict(part.split(" ", 1) for part in html.unescape(policy).split("; "))
    assert parts["default-src"] == "'none'"
    assert len(parts["script-src"].split()) == 2 and len(parts["style-src"].split()) == 1
    assert "unsafe" not in policy and "data:" not in policy and "http" not in policy
    assert len(text.encode()) < 2e6


def test_downloads(browser: Any, folder: Path) -> None:
    shown = opened(browser, folder / "report.html")
    shown.locator("#main details.record:not([open]) summary").first.click()
    links = shown.locator("a[download]")
    assert links.count() >= len(KEYS) + 2
    seen = [number for number in range(links.count()) if links.nth(number).is_visible()]
    assert len(seen) >= len(KEYS) + 1
    for number in seen:
        if number % 9 == 8:  # Chromium lets a page start ten downloads, and more after a second
            shown.wait_for_timeout(1500)
        with shown.expect_download() as download:
            shown.locator("a[download]").nth(number).click()
        place = download.value.path()
        rows = list(csv.reader(StringIO(place.read_text(encoding="utf-8"))))
        assert len(rows) > 1
        assert len({len(row) for row in rows}) == 1, download.value.suggested_filename
    shown.close()


def test_a_file_in_an_address_is_whole() -> None:
    """Whatever its names hold; what follows a # would be a place in the file."""
    rows = [("method", "loss"), ('# 100%41 "a", b?\nü 🎉 <&> \'$ \\', "0.1")]
    parts = urlsplit(_address(rows))
    assert parts.scheme == "data" and not parts.fragment
    shown = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head, _, content = shown.partition(",")
    assert head == "text/csv;charset=utf-8"
    assert unquote(content) == csv_text(rows)


def test_print_opens_what_is_folded(used: Any) -> None:
    shown = used
    assert shown.locator("details.record:not([open])").count() == 2
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.locator("details.record:not([open])").count() == 0
    shown.emulate_media(media="print", color_scheme="dark")
    assert shown.evaluate("getComputedStyle(document.body).color") == "rgb(27, 29, 33)"
    assert not shown.locator("nav").is_visible()


def test_files(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for key in KEYS:
        assert (folder / "figures" / f"{key}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.parse(folder / "figures" / f"{key}.svg")
        assert (folder / "figures" / f"{key}.pdf").read_bytes().startswith(b"%PDF")
    rows = list(csv.DictReader(StringIO((folder / "table.csv").read_text())))
    table = parquet.read_table(folder / "table.parquet").to_pylist()
    assert [row["method"] for row in rows] == [row["method"] for row in table]
    assert [row["method"] for row in table[:4]] == list(made_up.METHODS)
    loss = made_up.comparison()[0]["table"][0]["test_loss"]
    assert table[0]["test_loss_mean"] == loss["mean"] == float(rows[0]["test_loss_mean"])
    assert table[0]["rank"] == 1
    assert table[-1]["rank"] is None
    lines = (folder / "table.md").read_text().splitlines()
    markdown = [line for line in lines if line.startswith("|")]
    assert len(markdown) == len(rows) + 2
    assert len({line.count("|") for line in markdown}) == 1
    latex = (folder / "table.tex").read_text()
    assert latex.count(r"\\") == len(rows) + 3  # the heading, and what its marks mean
    assert r"$\pm$" in latex


def test_drawn_again_is_the_same(folder: Path) -> None:
    """A PDF's writer lists what a page uses in another order each time."""
    files = sorted(place for place in folder.rglob("*.*") if place.suffix not in (".jsonl", ".pdf"))
    before = {place: place.read_bytes() for place in files}
    write_report(folder)
    assert {place: place.read_bytes() for place in files} == before


class Tags(html.parser.HTMLParser):
    """Which elements and attributes a page holds."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.scripts = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen |= {name for name, _ in attributes}
        self.scripts += tag == "script"
        for name, value in attributes:
            assert name != "href" or (value or "").startswith(("#", "data:text/csv"))


def hostile(text: str, facts: Facts) -> None:
    """Put the text wherever a text can stand."""
    for key in ("name", "sentence", "hash", "created"):
        facts[key] = text
    facts["withheld"] = [{"check": text, "method": text, "text": text}]
    facts["timing"]["text"] = text
    facts["protocol"] = {text: text}
    facts["environment"] = {text: {text: [text]}}
    facts["ledger"] = [{"time": text, "event": text, "detail": text}]
    for search in facts["searches"]:
        search["importance"] = {text: 1.0}
        for trial in search["trials"]:
            trial["params"][text] = text


def test_hostile_text(browser: Any, tmp_path: Path) -> None:
    facts, runs = made_up.comparison(made_up.HOSTILE, seeds=3, trials=6)
    hostile("".join(made_up.HOSTILE) + "</script><img src=x onerror=alert(4)>\ud800", facts)
    write_report(made_up.write(tmp_path, facts, runs))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.scripts == 3
    assert not any(name.startswith("on") for name in tags.seen)
    shown = opened(browser, tmp_path / "report.html", 390)
    assert shown.locator("img").count() == 0
    assert "<script>alert(1)</script>" in shown.locator("h1").inner_text()
    shown.locator("#curves figure .plot").first.hover()
    shown.locator("#curves .says").first.wait_for()
    assert "<script>" in shown.locator("#curves .says").first.inner_text()
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    assert shown.faults == []
    shown.close()
    for place in (tmp_path / "figures").glob("*.svg"):
        ElementTree.parse(place)
    latex = (tmp_path / "table.tex").read_text()
    assert not re.search(r"\\input|(?<!\\)[#%_]|\\\\(?!\n)", latex)
    for line in (tmp_path / "table.md").read_text().splitlines():
        assert len(re.findall(r"(?<!\\)\|", line)) == (10 if line.startswith("|") else 0)
        assert not re.search(r"(?<!\\)[<`*$]", line)
    printed = StringIO()
    print_verdict(read(tmp_path), Console(file=printed, width=300))
    assert "\u202e" not in printed.getvalue()
    assert "[" not in printed.getvalue().splitlines()[0]


def one_method(facts: Facts, runs: Runs) -> None:
    facts["methods"] = facts["methods"][:1]
    facts["table"] = [row for row in facts["table"] if row["method"] == "adam"]
    facts["searches"] = facts["searches"][:1]
    facts["pairs"] = []
    runs[:] = [run for run in runs if run["method"] == "adam"]


def no_completed_trial(facts: Facts, runs: Runs) -> None:
    for search in facts["searches"]:
        for trial in search["trials"]:
            trial.update(state="failed", value=None)


def all_diverged(facts: Facts, runs: Runs) -> None:
    none = {"mean": None, "std": None}
    for row in facts["table"]:
        row.update(test_loss=none, test_accuracy=none, area=none, diverged=row["n"])
        row.update(steps_to_target={**none, "reached": 0}, seconds_to_target={**none, "reached": 0})
    for run in runs:
        run.update(status="diverged", test_loss=None, test_accuracy=None, area=None)
        run.update(steps_to_target=None, seconds_to_target=None)
        run["rows"] = [{**row, "val_loss": None, "val_accuracy": None} for row in run["rows"][:2]]
    for one in facts["pairs"]:
        one.update(difference=None, low=None, high=None, p=None, p_holm=None, effect=None)
        one.update(detectable=None, seeds_to_settle=None, verdict="undecided")


def one_seed(facts: Facts, runs: Runs) -> None:
    runs[:] = [run for run in runs if run["seed"] == 0]
    for row in facts["table"]:
        row["n"] = 1
        for value in row.values():
            if isinstance(value, dict):
                value["std"] = None


def some_diverge(facts: Facts, runs: Runs) -> None:
    for run in runs[::3]:
        run.update(status="diverged", test_loss=None, rows=run["rows"][:4])


def no_importance(facts: Facts, runs: Runs) -> None:
    for search in facts["searches"]:
        search["importance"] = {}


def nothing_but_names(facts: Facts, runs: Runs) -> None:
    name, methods = facts["name"], facts["methods"]
    facts.clear()
    facts.update(name=name, methods=methods)
    runs.clear()


def no_rows_no_trials(facts: Facts, runs: Runs) -> None:
    for search in facts["searches"]:
        search["trials"] = []
    for run in runs:
        run["rows"] = []


def accuracies(facts: Facts, runs: Runs) -> None:
    facts.update(metric="test_accuracy", direction="maximize", selection_metric="val_accuracy")
    for search in facts["searches"]:
        for trial in search["trials"]:
            trial["value"] = trial["value"] and 1 - 0.3 * trial["value"]


def equal_values(facts: Facts, runs: Runs) -> None:
    for run in runs:
        run.update(test_loss=0.0, test_accuracy=1.0)
        run["rows"] = [{**row, "val_loss": 0.0, "val_accuracy": 1.0} for row in run["rows"]]


ODD = (
    one_method, no_completed_trial, all_diverged, one_seed, some_diverge, no_importance,
    nothing_but_names, no_rows_no_trials, accuracies, equal_values,
)  # fmt: skip


BENT = (all_diverged, equal_values, some_diverge)


def ignored(figures: list[Any], folder: Path) -> None:
    """Writing the files takes most of the time."""


@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__)
@pytest.mark.filterwarnings("error")
def test_odd_comparisons_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Facts, Runs], None]
) -> None:
    facts, runs = made_up.comparison(seeds=4, trials=6)
    change(facts, runs)
    made_up.write(tmp_path, facts, runs)
    if change not in BENT:
        monkeypatch.setattr(report, "save", ignored)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert not re.search(r'="(?!data:)[^"]*\b(nan|inf)\b[^"]*"[ />]', text)
    json.loads(re.search(r'id="data">(.*?)</script>', text)[1], parse_constant=pytest.fail)
    drawn = {figure.key for figure in figures(read(tmp_path))}
    missing = {
        no_completed_trial: {"sensitivity", "budget"},
        no_importance: {"importance"},
        nothing_but_names: set(KEYS),
        no_rows_no_trials: {"curves", "sensitivity", "budget", "trials", "slices"},
        one_method: {"stability"},
        all_diverged: {"curves", "target"},
    }
    assert drawn == set(KEYS) - missing.get(change, set())
    print_verdict(read(tmp_path))


def test_not_a_comparison(tmp_path: Path) -> None:
    answer = starting.run(["-m", "src.report", str(tmp_path)], PROJECT, {**os.environ})
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert f"error: {tmp_path}: not a comparison" in answer.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"name": "x"}', "methods is missing"),
        ('{"name": "x", "methods": [], "searches": [{}]}', "method"),
        ('{"name": "x", "methods": ["a"], "table": [{"method": "a"}]}', "kind"),
    ],
)
def test_broken_comparison(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "comparison.json").write_text(content)
    (tmp_path / "runs.jsonl").write_text("")
    with pytest.raises(InputError, match=said):
        write_report(tmp_path)
    assert not list(tmp_path.glob("report.html"))


def test_broken_runs(tmp_path: Path) -> None:
    facts, runs = made_up.comparison(seeds=1)
    made_up.write(tmp_path, facts, runs)
    whole = (tmp_path / "runs.jsonl").read_text()
    (tmp_path / "runs.jsonl").write_text(whole[:-20])
    with pytest.raises(InputError, match=f"line {len(runs)}: not JSON"):
        write_report(tmp_path)
    (tmp_path / "runs.jsonl").unlink()
    with pytest.raises(InputError, match="runs are missing"):
        write_report(tmp_path)


def test_withheld_verdict_is_explained(tmp_path: Path) -> None:
    facts, runs = made_up.comparison(seeds=2, trials=3)
    made_up.write(tmp_path, facts, runs)
    stands = page(read(tmp_path), [])
    assert "Verdict" in stands and "ithheld" not in stands.partition("<main")[0]
    told = {}
    for method in ("sgd", None):
        facts["withheld"] = [{"check": "edge", "method": method, "text": "best lr at the edge: 5"}]
        made_up.write(tmp_path, facts, runs)
        told[method] = page(read(tmp_path), [])
        assert "best lr at the edge: 5" in told[method]
    assert "Verdict withheld" in told[None] and "Why it is withheld" in told[None]
    assert "Verdict, withheld in part" in told["sgd"] and "What is withheld" in told["sgd"]
    assert "a verdict on these methods before" in told["sgd"]


def test_thousands_of_runs(tmp_path: Path) -> None:
    facts, runs = made_up.comparison(seeds=2, trials=4)
    lines = [json.dumps({**run, "seed": seed}) for seed in range(200) for run in runs[::2]]
    made_up.write(tmp_path, facts, [])
    (tmp_path / "runs.jsonl").write_text("\n".join(lines) + "\n")
    text = page(read(tmp_path), figures(read(tmp_path)))
    (data,) = re.findall(r'id="data">(.*?)</script>', text)
    panels = json.loads(data)["panels"]
    assert max(len(panel["data"]["values"]) for panel in panels) == 8 * (150 + 1)
    content = re.search(r'download="ranking.csv" href="data:text/csv;[^,]*,(.*?)"', text)
    assert content
    assert unquote(content[1]).count("\n") == 1 + 8 * (200 + 1) + 6
    assert "1,600 runs" in text
    assert "Thinned: of a series of up to 200 points 150 marks are drawn, 300 points" in text


def test_a_report_that_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes | str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("src.reporting.report.write_whole", full)
    monkeypatch.setattr(sys, "argv", ["report", str(folder)])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 1
    assert capsys.readouterr().err == f"error: {folder}: No space left on device\n"


def test_the_command_draws_again_and_tells_the_verdict(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "report.html"
    before = place.read_bytes()
    place.unlink()
    monkeypatch.setattr(sys, "argv", ["report.py", str(folder)])
    main()
    assert place.read_bytes() == before
    out = capsys.readouterr().out
    print_verdict(read(folder))
    assert out == f"{capsys.readouterr().out}report: {place}\n"


def test_a_trial_without_a_rate_has_no_point() -> None:
    def rate(**params: Any) -> tuple[str, float] | None:
        return _rate(Trial(number=0, params=params))

    assert rate(**{"optimizer.lr": 0.1, "optimizer.momentum": 0.9}) == ("optimizer.lr", 0.1)
    assert rate(**{"optimizer.momentum": 0.9, "trainer.mylr": 1}) is None
    assert rate(**{"optimizer.lr": "high"}) is None


def test_a_report_has_its_tables_and_each_figure_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[str, Path]] = []
    monkeypatch.setattr(
        report, "save",
        lambda figures, folder: saved.extend((figure.key, folder) for figure in figures),
    )  # fmt: skip
    made_up.write(tmp_path, *made_up.comparison(methods=("adam", "sgd"), seeds=2, trials=4))
    assert write_report(tmp_path) == tmp_path / "report.html"
    assert saved == [(figure.key, tmp_path / "figures") for figure in figures(read(tmp_path))]
    names = {path.name for path in tmp_path.iterdir()} - {"comparison.json", "runs.jsonl"}
    kinds = [".tex", ".md", ".csv", ".parquet"]
    tables = {f"{name}{kind}" for name in ("table", "pairs", "means") for kind in kinds}
    assert names == {"report.html", *tables}


def test_a_page_without_picture_files_leaves_none_of_an_earlier_one(tmp_path: Path) -> None:
    comparison = made_up.comparison(methods=("adam", "sgd"), seeds=2, trials=4)
    made_up.write(tmp_path, *comparison)
    (tmp_path / "figures").mkdir()
    earlier = [tmp_path / "figures" / f"ranking.{ending}" for ending in ("svg", "png", "pdf")]
    own = tmp_path / "figures" / "mine.png"
    for path in (*earlier, own):
        path.touch()
    report.write_comparison(read(tmp_path), tmp_path, files=False)
    assert (tmp_path / "report.html").is_file()
    assert [*(tmp_path / "figures").iterdir()] == [own]


def test_seconds_that_may_be_compared_are_compared(tmp_path: Path) -> None:
    """Without a caveat, and as a choice that could have ranked the methods otherwise."""
    facts, runs = made_up.comparison(seeds=3, trials=4)
    said = {}
    for valid in (True, False):
        facts["timing"] = {"valid": valid, "text": "others were at work."}
        comparison = read(made_up.write(tmp_path, facts, runs))
        drawn = {figure.key: figure for figure in figures(comparison)}
        by_metric = drawn["stability"].panels[0]
        said[valid] = [text for _, text in by_metric.x.ticks]
        text = page(comparison, [*drawn.values()])
        assert ("others were at work" in drawn["curves"].caption) is not valid
        assert ("† seconds may not be compared: others were at work." in text) is not valid
    assert said[True] == ["loss", "accuracy", "steps", "seconds", "area"]
    assert said[False] == ["loss", "accuracy", "steps", "area"]
