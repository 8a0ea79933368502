"""Trials that fail by their settings, and disks that are full."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import psycopg
import pytest
import sqlalchemy
import torch
from filelock import Timeout
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from src import train
from src.errors import InputError
from src.sweeping import failures, storage
from src.sweeping.progress import SweepProgress, summary
from src.sweeping.study import DIED, GIVEN_UP, INTERRUPTED, MAX_DEATHS, Outcome, SharedStudy
from src.sweeping.workers import last_words
from src.training import run
from tests.killing import ended as ended_child
from tests.killing import fork
from tests.sweeping.conftest import (
    Project,
    Server,
    Sweep,
    forget_connections,
    open_study,
    states,
    trials_of,
)
from tests.sweeping.test_study import finish_all

ROOM = "the same command goes on when there is room"
MORE_THAN_ANY = 2**47  # bytes: beyond the addresses that a process has


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def refusal(name: str, **settings: object) -> Exception:
    from src.targets import build

    target = {"_target_": f"src.models.{name}", **settings}
    with pytest.raises(InputError) as caught:
        build("model", target, torch.nn.Module, 64, 10)
    return caught.value


def allocation() -> Exception:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(MORE_THAN_ANY, dtype=torch.uint8)
    return caught.value


BY_SETTINGS: dict[str, tuple[Any, str | None]] = {
    "torch's allocator": (allocation, "out of memory"),
    "a model beyond any size": (lambda: refusal("MLP", hidden_sizes=[2**40]), "out of memory"),
    "one beyond all integers": (lambda: refusal("MLP", hidden_sizes=[2**40] * 2), "out of memory"),
    "Python's": (lambda: MemoryError(), "out of memory"),
    "the system's": (lambda: OSError(12, "Cannot allocate memory"), "out of memory"),
    "a GPU's": (lambda: torch.OutOfMemoryError("CUDA out of memory."), "out of memory"),
    "a class": (
        lambda: refusal("MLP", hidden_sizes=[0]),
        "hidden_sizes must be integers >= 1, got [0]",
    ),
    "a class in a step": (lambda: ValueError("width 3 is odd"), "width 3 is odd"),
    "the schema": (
        lambda: caused(InputError("data.batch_size=0: must be >= 1"), ValueError("1 error\n...")),
        "data.batch_size=0: must be >= 1",
    ),
    "a bug": (lambda: RuntimeError("shapes differ"), None),
    "a folder": (lambda: caused(InputError("x"), PermissionError(13, "Permission denied")), None),
    "the database": (lambda: caused(InputError("x"), sqlalchemy.exc.SQLAlchemyError()), None),
}  # fmt: skip


@pytest.mark.parametrize("kind", BY_SETTINGS)
def test_what_fails_by_its_settings(kind: str) -> None:
    make, reason = BY_SETTINGS[kind]
    assert failures.by_settings(make()) == reason


def test_what_is_kept_of_a_failure(tmp_path: Path) -> None:
    error = caused(ValueError("odd\n  width " + "9" * 5000), RuntimeError("its cause"))
    kept = failures.failure(error, tmp_path)
    text = (tmp_path / "error.txt").read_text()
    assert "its cause" in text and text.endswith("9" * 5000 + "\n")
    assert kept.state is TrialState.PRUNED and kept.value is None and kept.bad
    assert kept.attributes == {
        "status": "failed",
        "error": "9" * 1999 + "\n",
        "reason": ("odd width " + "9" * 5000)[:300],
    }
    bug = failures.failure(KeyError("lr"), tmp_path)
    assert bug.state is TrialState.FAIL and not bug.bad
    assert bug.attributes["reason"] == "KeyError: 'lr'"


def test_a_failure_whose_folder_is_gone_is_still_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    (gone / "error.txt").mkdir()  # where nothing can be written
    assert failures.failure(MemoryError(), gone).attributes["reason"] == "out of memory"


def test_a_trial_is_not_to_blame_for_a_full_disk(tmp_path: Path) -> None:
    for named, place in ((None, str(tmp_path)), ("/x/y", "/x/y")):
        full = OSError(28, "No space left on device", named)
        with pytest.raises(OSError) as raised:
            failures.failure(caused(ValueError("can't be saved"), full), tmp_path)
        assert (raised.value.errno, raised.value.filename) == (28, place)
    assert not (tmp_path / "error.txt").exists()


URL = "postgresql+psycopg://me:secret@host/db"
ENDS: dict[str, tuple[Any, str]] = {
    "a refusal": (lambda: InputError("a: b"), "a: b"),
    "a full disk": (
        lambda: OSError(28, "No space left on device", "/x/y"),
        f"/x/y: No space left on device; {ROOM}",
    ),
    "a folder": (lambda: PermissionError(13, "Permission denied"), "/runs: Permission denied"),
    "an error of no number": (lambda: OSError("odd"), "/runs: odd"),
    "the database's lock, which is an OSError too": (
        lambda: Timeout("/x/db.lock"),
        "the study's database postgresql+psycopg://me:***@host/db can't be used: The file lock "
        "'/x/db.lock' could not be acquired.",
    ),
    "the database": (
        lambda: caused(optuna.exceptions.StorageInternalError("x"), ValueError("gone\nfar away")),
        "the study's database postgresql+psycopg://me:***@host/db can't be used: gone far away",
    ),
}


@pytest.mark.parametrize("kind", ENDS)
def test_what_ends_a_sweep_is_one_line(kind: str) -> None:
    make, line = ENDS[kind]
    assert str(failures.cannot_go_on(make(), Path("/runs"), URL)) == line


def failed(reason: str, state: TrialState = TrialState.PRUNED) -> FrozenTrial:
    return create_trial(
        state=state,
        intermediate_values={1: float("nan")} if state is TrialState.PRUNED else {},
        user_attrs={"status": "failed", "reason": reason},
    )


def test_the_summary_counts_reasons() -> None:
    trials = [
        failed("hidden_sizes must be integers >= 1, got [0]"),
        failed("out of memory"),
        failed("out of memory"),
        create_trial(value=1.0, user_attrs={"status": "completed"}),
        create_trial(state=TrialState.FAIL, user_attrs={"reason": DIED}),
        create_trial(state=TrialState.FAIL, user_attrs={"reason": INTERRUPTED}),
    ]
    assert summary(trials) == (
        "3 trials: 2 out of memory, 1 hidden_sizes must be integers >= 1, got [0]"
    )
    assert summary(trials[3:]) is None
    assert summary(trials[:1]) == "1 trial: 1 hidden_sizes must be integers >= 1, got [0]"


def test_reasons_that_differ_in_numbers_are_one() -> None:
    trials = [failed(f"width must be below 30, got {width}") for width in (42, 7e9, 42)]
    assert summary(trials) == "3 trials: 3 width must be below 30, got …"
    many = [failed(word * 30, TrialState.FAIL) for word in ("ab ", "cd ", "ef ", "gh ", "ij ")]
    text = summary([*many, many[4]]) or ""
    assert text.startswith("6 trials: 2 ij ij ") and text.endswith(", 2 of other reasons")
    assert len(text) < 400


def failing(
    monkeypatch: pytest.MonkeyPatch, error: Exception, beyond: float, rows: int = 0
) -> None:
    """Trials whose learning rate lies beyond a limit raise an error, after some rows."""
    real = run._ending

    def instead(config: Any, session: Any, row: Any, stop: Any) -> str | None:
        ended = real(config, session, row, stop)
        if config.optimizer["lr"] > beyond and len(session.record.rows) > rows:
            raise error
        return ended

    monkeypatch.setattr(run, "_ending", instead)


def test_trials_that_run_out_of_memory_count_and_never_end_a_sweep(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, allocation(), 0.01)
    ended = sweep("sweeps=sgd", "n_trials=8", "pruner=none", "hydra.sweeper.max_failures=1")
    bad = [one for one in ended.trials if one.params["optimizer.lr"] > 0.01]
    assert ended.status == 0 and ended.err == ""
    assert len(ended.trials) == 8 and 1 < len(bad) < 8
    for trial in bad:
        assert trial.state is TrialState.PRUNED and trial.value is None
        assert trial.user_attrs["status"] == "failed"
        assert trial.user_attrs["reason"] == "out of memory"
        text = (Path(trial.user_attrs["folder"]) / "error.txt").read_text()
        assert "Traceback" in text and "can't allocate memory" in text
    assert {one.state for one in ended.trials if one not in bad} == {TrialState.COMPLETE}
    lines = ended.out.splitlines()
    assert f"failed: {len(bad)} trials: {len(bad)} out of memory" in lines
    assert f"  | 8/8 (0 pruned, {len(bad)} failed), best " in ended.out
    number = next(one.number for one in bad)
    assert sum(line.startswith(f"trial {number} failed (out of memory)") for line in lines) == 1


def test_a_sweep_whose_trials_all_fail_ends_without_a_best(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, MemoryError(), 0.0)
    ended = sweep("sweeps=sgd", "n_trials=7")
    assert ended.status == 0 and ended.err == "" and states(ended.trials) == {"PRUNED": 7}
    assert ended.out.splitlines()[-2:] == [
        "failed: 7 trials: 7 out of memory",
        "study s: no trial was completed",
    ]
    assert not (ended.folder / "best.yaml").exists()


@pytest.mark.parametrize(
    "pruner",
    [
        "none",
        "asha",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("median", "hyperband", "threshold")
        ),
    ],
)
def test_every_pruner_works_beside_trials_that_fail(
    sweep: Sweep, pruner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, MemoryError(), 0.1, rows=1)
    ended = sweep("sweeps=sgd", "n_trials=8", f"pruner={pruner}", "trainer.epochs=3")
    assert ended.status == 0 and ended.err == "" and len(ended.trials) == 8
    bad = [one for one in ended.trials if one.user_attrs["status"] == "failed"]
    assert bad and all(one.value is None for one in bad)
    assert all(one.user_attrs["status"] == "failed" or one.value for one in ended.trials)


SAMPLERS = {
    "tpe": (optuna.samplers.TPESampler, 20),
    "gp": (optuna.samplers.GPSampler, 15),
    "cmaes": (optuna.samplers.CmaEsSampler, 15),
}


@pytest.mark.parametrize(
    "name",
    [
        "cmaes",
        pytest.param("tpe", marks=pytest.mark.slow),
        pytest.param("gp", marks=pytest.mark.slow),
    ],
)
def test_samplers_learn_where_trials_fail(url: str, name: str) -> None:
    """The value falls towards a cliff, beyond which trials fail."""
    kind, most = SAMPLERS[name]
    space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    study = open_study(
        url, 40, space=space, default={"x": 0.1, "y": 0.1}, sampler=lambda seed: kind(seed=seed)
    )
    bad, points = 0, set()
    while trial := study.next_trial():
        x, y = trial.params["x"], trial.params["y"]
        points.add((x, y))
        bad += y > 0.5
        outcome = Outcome(TrialState.COMPLETE, (x - 0.3) ** 2 - y, {"status": "completed"})
        if y > 0.5:
            outcome = Outcome(TrialState.PRUNED, None, {"status": "failed", "reason": "cliff"})
        study.finish(trial, outcome)
    assert len(points) == 40, "a point was proposed again"
    assert bad <= most


def test_what_a_failed_trial_reported_before_does_not_count(url: str) -> None:
    study = open_study(url, 1)
    trial = study.next_trial()
    assert trial is not None
    trial.report(0.01, 1)
    study.finish(trial, Outcome(TrialState.PRUNED, None, {"status": "failed"}))
    (frozen,) = study.trials()
    assert frozen.state is TrialState.PRUNED and frozen.value is None


def test_the_states_that_are_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    from src.comparing.trials import _trial
    from src.sweeping.show import list_studies

    study = open_study(url, 3)
    outcomes = [
        Outcome(TrialState.COMPLETE, 0.5, {"status": "completed"}),
        Outcome(TrialState.FAIL, None, {"status": "failed", "reason": "RuntimeError: bug"}),
        Outcome(TrialState.PRUNED, None, {"status": "failed", "reason": "out of memory"}),
        Outcome(TrialState.PRUNED, None, {"status": "diverged"}),
    ]
    for outcome in outcomes:
        trial = study.next_trial()
        assert trial is not None
        study.finish(trial, outcome)
    assert study.next_trial() is None
    progress = SweepProgress(study)
    progress.update()
    text = progress._state()
    assert text.startswith("(1 pruned, 2 failed), best 0.5")
    list_studies(url)
    assert capsys.readouterr().out.splitlines()[-1].split()[:5] == ["test", "1", "1", "2", "0"]
    entries = [_trial(one, study.direction) for one in study.trials()]
    assert [(one.state, one.counted) for one in entries] == [
        ("complete", True),
        ("failed", False),
        ("failed", True),
        ("diverged", True),
    ]
    assert [one.value for one in entries] == [0.5, None, None, None]


# Full disks.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    forget_connections()
    subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may wait for a full disk (but Optuna, which tries some things five times)."""

    def sleep(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s")

    monkeypatch.setattr(storage, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    optunas = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("optuna.storages._rdb.storage.time", optunas)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "which",
    [
        "runs",
        pytest.param("database", marks=pytest.mark.slow),
        pytest.param("both", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_ends_a_sweep_in_one_line(
    sweep: Sweep, small_disk: Path, tmp_path: Path, which: str
) -> None:
    runs = small_disk / "runs" if which != "database" else tmp_path / "runs"
    url = f"sqlite:///{small_disk if which != 'runs' else tmp_path}/s.db"
    command = ["sweeps=sgd", "n_trials=30", "pruner=none", f"storage={url}"]
    command += [f"hydra.sweep.dir={runs}"]
    first = sweep(*command)
    assert first.status == 1
    assert len(first.err.splitlines()) == 1 and first.err.startswith("error: ")
    assert str(small_disk) in first.err and first.err.endswith(f"; {ROOM}\n")
    before = trials_of(url, "s")
    done = [one for one in before if one.state is TrialState.COMPLETE]
    assert 0 < len(done) < 30
    if which == "runs":
        assert f"{runs}/trial-{len(done)}" in first.err and "No space left on device" in first.err
        assert states(before) == {"COMPLETE": len(done), "FAIL": 1, "WAITING": 1}
        assert before[-2].user_attrs["reason"] == INTERRUPTED
    enlarge(small_disk)
    second = sweep(*command)
    after = trials_of(url, "s")
    assert second.status == 0, second.err
    assert states(after)["COMPLETE"] == 30 and not {"RUNNING", "WAITING"} & set(states(after))
    assert [one for one in after if one.number < len(done)] == done
    assert "failed: " not in second.out and "best: trial" in second.out


@pytest.mark.usefixtures("impatient")
def test_a_file_that_may_not_grow_ends_a_sweep_in_one_line(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a full disk does, and where nothing can be mounted."""
    from src.results import Record

    url, runs = f"sqlite:///{tmp_path}/studies.db", tmp_path / "sweeps" / "s"
    command = ["sweeps=sgd", "n_trials=4", "pruner=none", "trainer.threads=1", "model=logreg"]
    command += ["trainer.epochs=2", "study=s", f"storage={url}", f"hydra.sweep.dir={runs}"]
    real, calls, (reader, writer) = Record.row, [], os.pipe()  # a file would be limited, too

    def full(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 4:  # in the second trial
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        real(*arguments)

    def action() -> None:
        os.dup2(writer, 2)
        sys.argv = ["train.py", "-m", *command]
        monkeypatch.setattr(Record, "row", full)
        train.main()

    assert ended_child(fork(action, tmp_path / "log")) == 1
    os.close(writer)
    with os.fdopen(reader) as errors:
        place = runs / "trial-1" / "metrics.jsonl"
        assert errors.read() == f"error: {place}: File too large; {ROOM}\n"
    assert states(trials_of(url, "s")) == {"COMPLETE": 1, "RUNNING": 1}, "it couldn't be told"
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *command])
    train.main()
    trials = trials_of(url, "s")
    assert states(trials) == {"COMPLETE": 4, "FAIL": 1}
    assert trials[2].params == trials[1].params


def tell_until_it_is_full(study: SharedStudy) -> str:
    with pytest.raises(InputError) as caught:
        finish_all(study)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_a_full_database_is_not_waited_for(url: str) -> None:
    study = open_study(url, 400)
    with study.storage.engine.connect() as connected:
        pages = connected.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 1}")

    sqlalchemy.event.listen(study.storage.engine, "connect", limit)
    study.storage.engine.dispose()
    assert tell_until_it_is_full(study) == (
        f"the study's database {url} can't be used: database or disk is full; {ROOM}"
    )
    sqlalchemy.event.remove(study.storage.engine, "connect", limit)
    study.storage.engine.dispose()
    done = study.counted()
    assert len(finish_all(open_study(url, done + 5))) == 5


def test_a_database_that_may_not_grow_is_not_waited_for(url: str, tmp_path: Path) -> None:
    """SQLite calls it an I/O error: the disk is asked."""

    def action() -> None:
        forget_connections()
        study = open_study(url, 400)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        text = tell_until_it_is_full(study)
        assert text == f"the study's database {url} can't be used: File too large; {ROOM}", text

    assert ended_child(fork(action, tmp_path / "log")) == 0, (tmp_path / "log").read_text()


@pytest.mark.usefixtures("impatient")
def test_a_database_on_a_full_disk_is_refused_in_one_line(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(490_000))
    with pytest.raises(InputError, match=f"storage=sqlite.*full|No space left.*; {ROOM}") as caught:
        open_study(f"sqlite:///{small_disk}/studies.db")
    assert len(str(caught.value).splitlines()) == 1


def test_other_errors_of_a_database_are_waited_for(tmp_path: Path) -> None:
    """An I/O error where there is room, and a server's that isn't about its disk."""
    refused = psycopg.errors.lookup("57P03")("the database system is starting up")
    for cause in (refused, sqlite_error("disk I/O error", 10)):
        assert storage._full(caused(optuna.exceptions.StorageInternalError(""), cause),
                             f"sqlite:///{tmp_path}/x.db") is None  # fmt: skip
    full = psycopg.errors.lookup("53100")('could not extend file "x": No space left on device')
    text = storage._full(caused(optuna.exceptions.StorageInternalError(""), full), None)
    assert text == f'could not extend file "x": No space left on device; {ROOM}'


def sqlite_error(text: str, code: int) -> Exception:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def test_a_servers_full_disk_is_not_waited_for(running_server: Server, small_disk: Path) -> None:
    enlarge(small_disk)
    closed = [one for one in small_disk.parents if Path(tempfile.gettempdir()) in one.parents]
    for folder in closed:  # pytest's own
        folder.chmod(folder.stat().st_mode | 0o011)
    shutil.chown(small_disk, running_server.user)
    running_server.sql(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    running_server.sql("CREATE DATABASE small TABLESPACE small")
    study = open_study(running_server.url("small"), 4000)
    (small_disk / "filler").write_bytes(bytes(free(small_disk)))
    text = tell_until_it_is_full(study)
    assert "No space left on device" in text and "127.0.0.1" in text and text.endswith(ROOM)
    (small_disk / "filler").unlink()
    done = study.counted()
    assert len(finish_all(open_study(running_server.url("small"), done + 2))) == 2
    forget_connections()
    running_server.sql("DROP DATABASE small WITH (FORCE)")
    running_server.sql("DROP TABLESPACE small")


def free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_bsize


def test_the_last_words_of_a_worker_whose_log_is_on_a_full_disk(small_disk: Path) -> None:
    log = small_disk / "worker-0.log"
    log.write_text("")
    (small_disk / "filler").write_bytes(bytes(500_000))
    assert last_words(log) == f"{small_disk}: No space left on device; {ROOM}"
    (small_disk / "filler").unlink()
    log.write_text("error: boom\n")
    assert last_words(log) == f"boom (see {log})"


@pytest.mark.slow
@pytest.mark.parametrize("which", ["runs", "database", "both"])
def test_two_workers_on_a_full_disk(project: Project, small_disk: Path, which: str) -> None:
    runs = small_disk / "runs" if which != "database" else project.folder / "runs"
    project.url = f"sqlite:///{small_disk if which != 'runs' else project.folder}/s.db"
    command = ["-m", "sweeps=sgd", "n_jobs=2", "n_trials=40", "pruner=none", "trainer.epochs=1"]
    command += ["model=logreg", "trainer.threads=1", "study=s", f"storage={project.url}"]
    command += [f"hydra.sweep.dir={runs}"]
    first = project.run(*command)
    assert first.returncode == 1
    (line,) = first.stderr.splitlines()
    assert line.startswith("error: a worker gave up: ") and ROOM in line
    assert str(small_disk) in line
    enlarge(small_disk)
    second = project.run(*command)
    assert second.returncode == 0, second.stderr
    left = states(project.trials("s"))
    assert left["COMPLETE"] == 40 and not {"RUNNING", "WAITING", "PRUNED"} & set(left)


def test_a_trial_whose_process_died_too_often_is_a_bad_one(url: str) -> None:
    study = open_study(url, 2)
    for _ in range(MAX_DEATHS + 1):
        trial = study.next_trial()
        assert trial is not None and trial.params == {"x": 0.1}
        study.storage.set_trial_user_attr(trial._trial_id, "owner", {**storage.me(), "pid": 2**22})
    assert len(finish_all(study)) == 1
    given_up = study.trials()[MAX_DEATHS]
    assert given_up.params == {"x": 0.1} and given_up.value is None
    assert given_up.state is TrialState.PRUNED
    assert (given_up.user_attrs["status"], given_up.user_attrs["reason"]) == ("failed", GIVEN_UP)
    assert summary(study.trials()) == "1 trial: 1 its process died 4 times"
