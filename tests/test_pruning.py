"""`python -m src.runs --prune`: what goes, what stays and why, and who is asked."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState, create_trial

from src import pruning, runs
from src.comparing.ledger import Ledger
from src.config import PROJECT
from src.errors import InputError
from src.sweeping import removal
from src.sweeping.storage import me, open_storage
from tests.reporting import made_up
from tests.results.test_listing import a_run

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # asked by hand here

DAY = 86400
DEAD = {**me(), "pid": 2**22 + 1, "started": "1"}
Prune = Callable[..., str]


def aged(folder: Path, days: float) -> Path:
    """The folder, as if its last file had been written days ago."""
    then = time.time() - days * DAY
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then, then))
    return folder


def ended(folder: Path, days: float = 5) -> Path:
    a_run(folder, config="seed: 0\n", result={"status": "completed"})
    (folder / ".lock").touch()
    return aged(folder, days)


def a_multirun(folder: Path) -> Path:
    for number in (0, 1):
        ended(folder / f"trial-{number}")
    for name in ("multirun.yaml", "multirun.csv"):
        (folder / name).touch()
    return aged(folder, 5)


def a_study(root: Path, name: str, *, trials_in: Path | None = None, running: Any = None) -> Path:
    """A study of two trials in a database, their folders, and perhaps a running one's owner."""
    folder, url = root / "sweeps" / name, f"sqlite:///{root / 'studies.db'}"
    study = optuna.create_study(study_name=name, storage=open_storage(url, 60))
    for number in (0, 1):
        run = ended(folder / f"trial-{number}")
        (run / "trial.json").write_text(json.dumps({"storage": url, "study": name}))
        place = {"folder": str((trials_in or folder) / run.name)}
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs=place))
    if running is not None:
        trial = study.ask()
        trial.set_user_attr("owner", running)
        open_storage(url, 60).record_heartbeat(trial._trial_id)
    return aged(folder, 5)


def studies(root: Path) -> list[str]:
    url = f"sqlite:///{root / 'studies.db'}"
    return sorted(one.study_name for one in optuna.get_all_study_summaries(url))


def a_comparison(root: Path, name: str, study: str | None = None, **facts: Any) -> Path:
    """A finished comparison, with the study that one of its searches was."""
    record, lines = made_up.comparison(("adam", "sgd"), seeds=2, trials=2)
    record["searches"][0].update({"study": study, **facts} if study else facts)
    folder = made_up.write(root / "comparisons" / name, record, lines)
    for file in ("report.html", ".lock"):
        (folder / file).touch()
    ended(folder / "runs" / "adam-tuned-0-seed-1000")
    return aged(folder, 5)


@pytest.fixture
def prune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Prune:
    """Calls the entry point on a folder, and returns its standard output."""
    monkeypatch.setattr("src.config.OUTPUTS", tmp_path)

    def call(*words: str, status: int = 0, err: str = "") -> str:
        monkeypatch.setattr(sys, "argv", ["runs.py", "--prune", *words])
        code = 0
        try:
            runs.main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        told = capsys.readouterr()
        assert (code, told.err) == (status, err)
        return told.out

    return call


def chosen(root: Path, *conditions: str) -> dict[str, str | None]:
    """The names of what meets the conditions, with the reason to keep it."""
    found = pruning.choose(root, [pruning._condition(text) for text in conditions])
    return {f"{item.kind} {item.name}": reason for item, reason in found.items()}


def test_all_kinds_and_their_names(tmp_path: Path) -> None:
    ended(tmp_path / "runs" / "2026-01-01" / "10-00-00-adam-digits")
    ended(tmp_path / "mine" / "x")
    ended(tmp_path / "sweeps" / "alone")
    ended(tmp_path / "replays" / "again")
    a_multirun(tmp_path / "sweeps" / "2026-01-01-10-00-00")
    a_study(tmp_path, "adam")
    a_comparison(tmp_path, "four")
    (tmp_path / "sweeps" / ".hidden").mkdir()
    assert chosen(tmp_path) == dict.fromkeys([
        "run 2026-01-01/10-00-00-adam-digits", "run mine/x", "run alone", "replay again",
        "multirun 2026-01-01-10-00-00", "study adam", "comparison four",
    ])  # fmt: skip
    sizes = {item.name: item.size for item in pruning.items(tmp_path)}
    folder = tmp_path / "comparisons" / "four"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sizes["four"] == sum(len(path.read_bytes()) for path in files)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["older=2d"], ["old", "older"]),
        (["older=30h"], ["old", "older"]),
        (["older=23h"], ["old", "older", "new"]),
        (["older=1w"], ["older"]),
        (["older=1500m"], ["old", "older"]),
        (["older=0.9d", "older=8.5w"], []),
        (["larger=50kB"], ["old"]),
        (["larger=0.04MB"], ["old"]),
        (["larger=1GB"], []),
        (["larger=0kB", "name=new"], ["new"]),
        (["name=old*"], ["old", "older"]),
        (["name=o?d"], ["old"]),
        (["name=[o]ld"], []),
        (["kind=study"], []),
        (["kind=run", "older=1w"], ["older"]),
    ],
)
def test_conditions(tmp_path: Path, conditions: list[str], expected: list[str]) -> None:
    for name, days in {"new": 1, "old": 5, "older": 50}.items():
        folder = ended(tmp_path / "runs" / name)
        if name == "old":
            (folder / "big").write_bytes(bytes(60_000))
        aged(folder, days)
    assert {*chosen(tmp_path, *conditions)} == {f"run {name}" for name in expected}
    assert [*chosen(tmp_path)] == ["run older", "run old", "run new"], "oldest first"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--prune: say what: older=30d, larger=1GB, name=PATTERN or kind=KIND"),
        (["older=x"], "older=x: must be a number and one of m, h, d, w, as in 30d"),
        (["older=-3d"], "older=-3d: must be a number and one of m, h, d, w, as in 30d"),
        (["larger=1"], "larger=1: must be a number and one of kB, MB, GB, as in 30MB"),
        (["kind=x"], "kind=x: must be one of run, multirun, study, comparison, replay"),
        (["name="],
         "name=: --prune takes older=30d, larger=1GB, name=PATTERN and kind=KIND"),
        (["seed=1"],
         "seed=1: --prune takes older=30d, larger=1GB, name=PATTERN and kind=KIND"),
    ],
)  # fmt: skip
def test_wrong_conditions(prune: Prune, tmp_path: Path, words: list[str], message: str) -> None:
    ended(tmp_path / "runs" / "x")
    assert prune(*words, "--yes", status=1, err=f"error: {message}\n") == ""
    assert (tmp_path / "runs" / "x").is_dir()


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    """Wherever in it the process works; what was killed goes once it has been silent for long."""
    ended(tmp_path / "runs" / "done", days=0)
    a_run(tmp_path / "runs" / "begun", config="a: 1")
    aged(a_run(tmp_path / "runs" / "killed", config="a: 1"), 1)
    (tmp_path / "sweeps" / "claimed").mkdir(parents=True)
    (a_multirun(tmp_path / "sweeps" / "waiting") / "multirun.csv").unlink()
    os.utime(tmp_path / "sweeps" / "waiting")
    a_multirun(tmp_path / "sweeps" / "many")
    lock = tmp_path / "sweeps" / "many" / "trial-1" / ".lock"
    soon = "written less than 10 minutes ago"
    expected = {
        "run done": None, "run begun": soon, "run killed": None, "study claimed": soon,
        "multirun waiting": soon, "multirun many": "a process is working there",
    }  # fmt: skip
    with FileLock(lock):
        assert chosen(tmp_path) == expected
    assert chosen(tmp_path) == {**expected, "multirun many": None}
    os.utime(lock)  # as some versions of filelock do that ask for it
    assert "multirun many" in chosen(tmp_path, "older=4d"), "asking makes nothing younger"


@pytest.mark.parametrize(
    ("owner", "reason"),
    [(me(), "a trial is running"), ({**me(), "host": "another"}, "a trial is running"),
     (DEAD, None)],
)  # fmt: skip
def test_a_study_that_is_worked_on_stays(
    tmp_path: Path, owner: dict[str, object], reason: str | None
) -> None:
    folder = a_study(tmp_path, "adam", running=owner)
    assert chosen(tmp_path) == {"study adam": reason}
    if reason:
        with pytest.raises(InputError, match="a trial of study adam is running"):
            removal.remove_study(folder)
    else:
        removal.remove_study(folder)
    assert studies(tmp_path) == (["adam"] if reason else [])


def test_a_study_goes_with_its_trials_in_the_database(prune: Prune, tmp_path: Path) -> None:
    """And no other study does, even if a copy of its folder names it."""
    a_study(tmp_path, "adam")
    a_study(tmp_path, "sgd")
    a_study(tmp_path, "copied", trials_in=tmp_path / "elsewhere")
    out = prune("kind=study", "name=[!s]*", "--yes")
    assert out.splitlines()[-1].startswith("nothing in ")
    assert prune("kind=study", "name=*d*m", "--yes").splitlines()[-1].startswith("removed 1 folder")
    prune("name=copied", "--yes")
    assert studies(tmp_path) == ["copied", "sgd"]
    assert [path.name for path in (tmp_path / "sweeps").iterdir()] == ["sgd"]
    (tmp_path / "studies.db").unlink()
    prune("name=sgd", "--yes")
    assert not (tmp_path / "studies.db").exists(), "a look at a database must not make one"
    assert [*(tmp_path / "sweeps").iterdir()] == []


def test_a_study_whose_database_cannot_be_read_stays(tmp_path: Path) -> None:
    """Nobody knows who works on it; one that the database never had may go."""
    a_study(tmp_path, "adam")
    optuna.delete_study(study_name="adam", storage=f"sqlite:///{tmp_path / 'studies.db'}")
    assert chosen(tmp_path) == {"study adam": None}
    open_storage.cache_clear()
    for path in tmp_path.glob("studies.db*"):
        path.write_bytes(b"no database" * 1000)
    reason = chosen(tmp_path)["study adam"]
    assert reason is not None and "studies.db" in reason and len(reason.splitlines()) == 1


def test_a_trial_that_names_no_study_is_passed_over(tmp_path: Path) -> None:
    """The next one may name it; a study that nobody names goes as a folder."""
    folder = a_study(tmp_path, "adam")
    first, *others = sorted(folder.glob("trial-*/trial.json"))
    first.write_text("{")
    assert others and removal.study_of(folder) == (f"sqlite:///{tmp_path / 'studies.db'}", "adam")
    for path in others:
        path.write_text("[]")
    assert removal.study_of(aged(folder, 5)) is None
    assert chosen(tmp_path) == {"study adam": None}


def test_a_single_run_that_a_comparison_names_stays(tmp_path: Path) -> None:
    run = aged(ended(tmp_path / "runs" / "2026-01-01" / "one"), 5)
    a_comparison(tmp_path, "four", trials=[{"number": 0, "folder": str(run)}])
    assert [*chosen(tmp_path, "kind=run").values()] == ["comparison four needs it"]


def test_a_comparison_that_cannot_be_read_keeps_what_its_ledger_names(tmp_path: Path) -> None:
    a_study(tmp_path, "adam")
    folder = a_comparison(tmp_path, "four")
    (folder / "comparison.json").write_text("{")
    assert chosen(tmp_path, "kind=study") == {"study adam": None}
    Ledger(folder).note("searched", "adam: python")
    assert chosen(tmp_path, "kind=study") == {"study adam": "comparison four needs it"}


@pytest.mark.parametrize("named", ["record", "folder", "ledger", "log"])
def test_what_a_comparison_needs_stays_unless_it_goes_too(
    prune: Prune, tmp_path: Path, named: str
) -> None:
    """Also one that isn't finished: the same command goes on with its studies."""
    study = a_study(tmp_path, "adam-1234")
    a_study(tmp_path, "adam")
    trial = {"number": 0, "folder": str(study / "trial-0")}
    facts = {"record": {"study": "adam-1234"}, "folder": {"trials": [trial]}}.get(named, {})
    folder = a_comparison(tmp_path, "four", **facts)
    if named in ("ledger", "log"):
        for name in ("comparison.json", "report.html"):
            (folder / name).unlink()
    if named == "ledger":
        Ledger(folder).note("searched", "adam-1234: python -m src.train -m")
    if named == "log":
        (folder / "adam-1234.log").touch()
    aged(folder, 5)
    needs = "comparison four needs it"
    assert chosen(tmp_path, "kind=study") == {"study adam-1234": needs, "study adam": None}
    out = prune("kind=study", "--yes")
    assert f"keep: {needs}" in next(line for line in out.splitlines() if "adam-1234" in line)
    assert studies(tmp_path) == ["adam-1234"] and study.is_dir()
    assert {*chosen(tmp_path).values()} == {None}
    with FileLock(folder / ".lock"):  # it can't go itself
        assert chosen(tmp_path)["study adam-1234"] == needs
    prune("older=1d", "--yes")
    assert studies(tmp_path) == []
    left = {path.name for path in tmp_path.rglob("*") if path.is_dir()}
    assert left == {"sweeps", "comparisons"}


def test_without_a_terminal_it_only_lists(prune: Prune, tmp_path: Path) -> None:
    folder = ended(tmp_path / "runs" / "2026-01-01" / "x")
    err = "error: nothing was removed: there is no terminal to ask on; add --yes\n"
    lines = prune("kind=run", status=1, err=err).splitlines()
    assert lines[0].split() == ["kind", "name", "written", "size"]
    assert lines[1].split()[:2] == ["run", "2026-01-01/x"] and lines[1].endswith("remove")
    assert lines[2].startswith("1 folder of 1 can go, ")
    assert folder.is_dir()
    assert prune("kind=run", "--yes").splitlines()[-1].startswith("removed 1 folder, ")
    assert not folder.parent.exists() and (tmp_path / "runs").is_dir()
    assert prune("kind=run", "--yes") == f"nothing in {tmp_path} meets kind=run\n"


@pytest.mark.parametrize("answer", ["y", "YES ", "n", "", "yo", None])
def test_on_a_terminal_it_asks(
    prune: Prune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    def ask(question: str) -> str:
        assert question == "remove 2 folders for good? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    folders = [ended(tmp_path / "runs" / name) for name in "ab"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", ask)
    prune("kind=run")
    gone = answer in ("y", "YES ")
    assert [folder.is_dir() for folder in folders] == [not gone] * 2


def test_what_changed_while_it_asked_stays(
    prune: Prune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (ended(tmp_path / "runs" / name) for name in ("first", "second"))

    def ask(question: str) -> str:
        (first / "result.json").unlink()  # it was taken up
        return "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", ask)
    assert prune("kind=run").splitlines()[-1].startswith("removed 1 folder, ")
    assert first.is_dir() and not second.exists()


def test_one_that_cannot_go_costs_a_line(
    prune: Prune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that came between the list and the removal keeps its folder."""
    first, second = (ended(tmp_path / "runs" / name) for name in ("first", "second"))
    monkeypatch.setattr(pruning, "in_use", lambda item: None)
    with FileLock(first / ".lock"):
        err = f"warning: not removed: {first}: another process is working there\n"
        assert prune("kind=run", "--yes", err=err).splitlines()[-1].startswith("removed 1 folder, ")
    assert first.is_dir() and not second.exists()


def test_a_removal_that_was_killed_is_finished_by_the_next(prune: Prune, tmp_path: Path) -> None:
    ended(tmp_path / "runs" / "a")
    half = ended(tmp_path / "runs" / f"{pruning.REMOVED}1")
    assert [*chosen(tmp_path)] == ["run a"]
    prune("name=a", "--yes")
    assert not half.exists() and [*(tmp_path / "runs").iterdir()] == []


def test_links_are_neither_followed_nor_removed(prune: Prune, tmp_path: Path) -> None:
    outside = ended(tmp_path / "outside" / "x")
    root = tmp_path / "root"
    for name in ("runs", "sweeps", "comparisons"):
        (root / name).mkdir(parents=True)
        (root / name / "link").symlink_to(outside)
    (ended(root / "runs" / "a") / "link").symlink_to(outside)
    aged(root / "runs" / "a", 5)
    prune("older=0m", "--yes", "--folder", str(root))
    assert {path.name for path in outside.iterdir()} == {"config.yaml", "result.json", ".lock"}
    assert not (root / "runs" / "a").exists()
    assert len([*root.rglob("link")]) == 3


def test_it_needs_no_torch(tmp_path: Path) -> None:
    a_study(tmp_path, "adam")
    code = (
        "import sys, src.runs; src.runs.main(); "
        "sys.exit(3 * bool({'torch', 'sklearn', 'matplotlib'} & {*sys.modules}))"
    )
    words = ["--prune", "kind=study", "--yes", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    told = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert studies(tmp_path) == []
