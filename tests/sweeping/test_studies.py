"""`python -m src.studies`: the list, one study, and its page in a browser without a network."""

import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.table import Table

from src import studies
from src.errors import InputError
from src.sweeping import show
from src.sweeping.study import DIED
from tests.reporting.conftest import opened
from tests.sweeping.conftest import Ended, Sweep

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
Show = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Show:
    monkeypatch.setattr(show, "OUTPUTS", tmp_path / "outputs")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["studies.py", *arguments])
        capsys.readouterr()
        try:
            studies.main()
            status = 0
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        return status, *capsys.readouterr()

    return run


def test_the_list(sweep: Sweep, call: Show) -> None:
    ended = sweep("sweeps=sgd", "n_trials=2", "pruner=none", study="b")
    sweep("sweeps=adam", "n_trials=1", study="a")
    status, out, err = call("--storage", ended.url)
    heading, other, one = out.splitlines()
    assert (status, err) == (0, "")
    assert heading.split() == ["study", "complete", "pruned", "failed", "running", "best", "began"]
    assert one.split()[:5] == ["b", "2", "0", "0", "0"]
    assert one.split()[5] == f"{min(trial.value or 0 for trial in ended.trials):.5g}"
    assert other.split()[0] == "a"


def known(url: str, name: str, direction: str) -> None:
    """A study of trials of every kind, whose value depends on x alone."""
    study = optuna.create_study(storage=url, study_name=name, direction=direction)
    space: Any = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    kinds = [("COMPLETE", {"seconds": 2.25}, (at % 4 / 3, at // 4 / 3)) for at in range(16)]
    kinds += [("PRUNED", {"status": "pruned"}, (0.1, 0.2)), ("PRUNED", {}, (0.9, 0.2))]
    kinds += [("PRUNED", {"status": "diverged"}, (0.3, 0.2))]
    kinds += [("PRUNED", {"status": "failed", "reason": "out of memory"}, (0.4, 0.4))]
    kinds += [("FAIL", {"reason": "a bug"}, (0.5, 0.5)), ("FAIL", {"reason": DIED}, (0.6, 0.5))]
    kinds += [("RUNNING", {}, (0.7, 0.7)), ("RUNNING", {}, (0.8, 0.7)), ("WAITING", {}, None)]
    for state, attributes, point in kinds:
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState[state],
            value=4 * point[0] ** 2 if point and state == "COMPLETE" else None,
            params=dict(zip("xy", point, strict=True)) if point else {},
            distributions=space if point else {},
            user_attrs=attributes,
        )
        study.add_trial(trial)


@pytest.fixture
def pageless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plots take a second or two."""
    monkeypatch.setattr(studies, "write_page", lambda *_: None)


@pytest.mark.usefixtures("pageless")
@pytest.mark.parametrize(
    ("direction", "best", "first"),
    [("minimize", "0", "0 0 0 0 2.2"), ("maximize", "4", "3 4 1 0 2.2")],
)
def test_the_numbers_of_a_study(
    url: str, call: Show, direction: str, best: str, first: str
) -> None:
    known(url, "known", direction)
    status, out, _ = call("--storage", url)
    began = optuna.load_study(study_name="known", storage=url).trials
    times = [one.datetime_start for one in began if one.datetime_start]
    assert status == 0 and out.splitlines()[1].split() == [
        "known", "16", "3", "2", "2", best, *f"{min(times):%Y-%m-%d %H:%M}".split(),
    ]  # fmt: skip
    status, out, _ = call("--storage", url, "known", "--top", "3")
    lines = out.splitlines()
    assert status == 0 and lines[0] == "study known: 16 complete, 3 pruned, 2 failed, 2 running"
    assert lines[1].split() == ["trial", "value", "x", "y", "seconds"]
    assert lines[2].split() == first.split()
    assert len([line for line in lines if line.startswith(" ")]) == 4 + 3, "two that run"
    shares = dict(re.findall(r"^importance of (\w): ([\d.]+)$", out, re.M))
    assert [*shares] == ["x", "y"] and float(shares["x"]) > 0.8
    assert float(shares["x"]) + float(shares["y"]) == pytest.approx(1, abs=0.011)
    assert shlex.split(lines[-1]) == ["dashboard:", "optuna-dashboard", url]
    place = show.OUTPUTS / "sweeps" / "known" / "study.html"
    assert lines[-2] == f"page:      {place}"


@pytest.mark.usefixtures("pageless")
def test_how_many_are_shown(url: str, call: Show) -> None:
    known(url, "known", "minimize")
    for top, count in ((None, 5), ("1", 1), ("99", 16)):
        _, out, _ = call("--storage", url, "known", *(["--top", top] if top else []))
        assert len(re.findall(r"^ +\d+ ", out, re.M)) == count
    status, out, err = call("--storage", url, "known", "--top", "0")
    assert status == 2 and "--top=0: must be an integer >= 1" in err


@pytest.mark.usefixtures("pageless")
def test_where_trials_run_and_whether_their_seconds_compare(
    url: str, call: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=url, study_name="s")
    now = datetime(2026, 1, 1, 12)
    owners = [
        {"host": "a/1/2", "pid": 1, "node": "n1", "job": "slurm 5_0", "cpu": "A", "shared": False},
        {"host": "b/1/2", "pid": 1},  # as it was recorded before there were launchers
        {"host": "c/1/2", "pid": 1, "node": "n2", "job": None, "cpu": "B", "shared": True},
    ]
    for minutes, owner in zip((1, 5, 60), owners, strict=True):
        trial = create_trial(state=TrialState.RUNNING, user_attrs={"owner": owner})
        trial.datetime_start = now - timedelta(minutes=minutes)
        study.add_trial(trial)
    rows = running_rows(show.running_table(study.get_trials(), now))
    assert rows == [
        ("trial 0", "n1", "slurm 5_0", "60 s"),
        ("trial 1", "b", "", "5 min"),
        ("trial 2", "n2", "", "60 min"),
    ]
    _, out, _ = call("--storage", url, "s")
    assert (
        "seconds can't be compared: they are of 2 kinds of machine (A, B) and machines that "
        "workers shared\n"
    ) in out and " slurm 5_0 " in out


def running_rows(table: Table) -> list[tuple[object, ...]]:
    return [*zip(*(column._cells for column in table.columns), strict=True)]


def test_a_database_without_studies(url: str, call: Show) -> None:
    optuna.storages.RDBStorage(url)
    assert call("--storage", url) == (0, f"no studies in {url}\n", "")
    status, _, err = call("--storage", url, "one")
    assert status == 1 and err.endswith("there are: none\n")


def test_looking_makes_no_database(call: Show, tmp_path: Path) -> None:
    assert call("--storage", f"sqlite:///{tmp_path}/new.db")[0] == 1
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--storage", "sqlite:////nowhere/x.db"], "there is no such database"),
        (["--storage", "nonsense"], "must be sqlite:///FILE or postgresql://"),
        (["--storage", "postgresql://u:secret@127.0.0.1:1/d"], "connection"),
    ],
)
def test_bad_input(call: Show, arguments: list[str], message: str) -> None:
    status, out, err = call(*arguments)
    assert status == 1 and out == "" and message in err
    assert len(err.splitlines()) == 1 and "secret" not in err


def test_an_unknown_study(sweep: Sweep, call: Show) -> None:
    ended = sweep("sweeps=sgd", "n_trials=1", study="one")
    status, out, err = call("--storage", ended.url, "won")
    assert status == 1 and out == ""
    assert err.startswith("error: won: no such study in ") and err.endswith("there are: one\n")


HEADINGS = [
    "History",
    "Learning curves of the trials",
    "Sensitivity to the learning rate",
    "Slices of the searches",
    "Parallel coordinates",
    "Importance of the parameters",
    "Distribution over trials",
    "Settings",
]
NAMES = ("none", "failed", "<one> & only")


def test_studies_with_few_trials_are_shown(
    call: Show, url: str, recwarn: pytest.WarningsRecorder, tmp_path: Path
) -> None:
    """No trial at all; only failed ones; one complete: some plots then have nothing to show."""
    for name in NAMES:
        optuna.create_study(storage=url, study_name=name)
    failed = optuna.load_study(storage=url, study_name="failed")
    failed.tell(failed.ask(), state=optuna.trial.TrialState.FAIL)
    one = optuna.load_study(storage=url, study_name=NAMES[2])
    one.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    (tmp_path / "outputs" / "sweeps" / NAMES[0]).mkdir(parents=True)  # the sweep has made it
    for name in NAMES:
        status, out, err = call("--storage", url, name)
        assert status == 0 and err == "", err
        assert f"study {name}: " in out
    pages = [(tmp_path / "outputs" / "sweeps" / name / "study.html").read_text() for name in NAMES]
    for name, page in zip(NAMES, pages, strict=True):
        title = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert f"<title>Study {title}</title>" in page and f"<h1>Study {title}</h1>" in page
        assert page.startswith("<!doctype html>") and page.count('<html lang="en">') == 1
    headings = [re.findall(r"<h2>(.*?)</h2>", page.split("<script")[0]) for page in pages]
    assert headings == [
        ["Settings"],
        ["History", "Distribution over trials", "Settings"],
        ["History", "Slices of the searches", "Importance of the parameters",
         "Distribution over trials", "Settings"],
    ]  # fmt: skip
    # A ResourceWarning is of an earlier test's connection, which the collector met only now.
    own = [each for each in recwarn if not issubclass(each.category, ResourceWarning)]
    assert not [str(warning.message) for warning in own]


@pytest.fixture
def browser() -> Iterator[object]:
    """Debian's chromium, driven by playwright."""
    place = next(filter(None, map(shutil.which, BROWSERS)), None)
    if place is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
        opened = playwright.chromium.launch(executable_path=place, args=arguments)
        yield opened
        opened.close()


def finished(sweep: Sweep) -> Ended:
    return sweep("sweeps=adam", "n_trials=8", "trainer.epochs=3", study="adam-digits-mlp")


def test_the_page_works_offline(sweep: Sweep, call: Show, browser, tmp_path: Path) -> None:
    ended = finished(sweep)
    status, out, _ = call("--storage", ended.url, "adam-digits-mlp")
    place = tmp_path / "outputs" / "sweeps" / "adam-digits-mlp" / "study.html"
    assert status == 0 and f"page:      {place}" in out
    assert out.count("importance of ") == 3
    for width, scheme in ((1280, "light"), (390, "dark")):
        page = opened(browser, place, width, scheme)
        assert page.locator("h2").all_text_contents() == HEADINGS
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.faults == []
        page.close()


@pytest.mark.slow
def test_the_dashboard_shows_a_study(sweep: Sweep, browser, tmp_path: Path) -> None:
    ended = finished(sweep)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    server = subprocess.Popen(
        [program, ended.url, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/")
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"http://127.0.0.1:{port}/dashboard")
        page.get_by_text("adam-digits-mlp").first.click()
        page.get_by_text("optimizer.lr").first.wait_for()
        page.wait_for_timeout(2000)
        page.screenshot(path=str(tmp_path / "dashboard.png"), full_page=True)
    finally:
        server.terminate()
        server.wait()


def wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.3)


def test_trials_are_counted_by_what_became_of_them() -> None:
    """One that failed by its own settings is kept as pruned, and counts as failed."""

    def made(state: TrialState, **attributes: str) -> FrozenTrial:
        value = 1.0 if state is TrialState.COMPLETE else None
        return create_trial(state=state, value=value, user_attrs=attributes)

    trials = [
        *(made(TrialState.COMPLETE) for _ in range(4)),
        *(made(TrialState.PRUNED, status="pruned") for _ in range(3)),
        *(made(TrialState.PRUNED, status="failed") for _ in range(2)),
        made(TrialState.FAIL, reason="a bug"),
        *(made(TrialState.RUNNING) for _ in range(5)),
    ]
    assert show._counts(trials) == ["4", "3", "3", "5"]


def test_a_page_that_cannot_be_written_is_one_line(
    call: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*parts: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src.reporting.report.save", full)
    study = optuna.create_study()
    study.add_trial(create_trial(value=1.0))
    with pytest.raises(InputError) as refused:
        studies.write_page(study, tmp_path / "page.html")
    assert str(refused.value) == f"{tmp_path / 'page.html'}: No space left on device"
    assert list(tmp_path.iterdir()) == []
