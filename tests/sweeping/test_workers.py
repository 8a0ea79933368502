"""Workers: how they are started, started again, and how they end."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest
from optuna.trial import TrialState

from src.errors import InputError
from src.launching import local
from src.launching.local import LocalWorkers
from src.launching.workers import PARENT, is_orphan
from src.results.place import WORKER
from src.sweeping import workers
from src.sweeping.progress import SweepProgress
from src.sweeping.study import MAX_DEATHS, Outcome, SharedStudy
from tests.sweeping.conftest import open_study
from tests.sweeping.test_study import finish_all


def run(count: int, study: SharedStudy, progress: SweepProgress, folder: Path) -> None:
    workers.run_workers(count, LocalWorkers(folder), study, progress, folder)


@pytest.mark.parametrize(("kills", "status"), [(3 * workers.MAX_RESTARTS, 0), (100, 1)])
def test_killed_workers_are_restarted_while_trials_count(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int, status: int
) -> None:
    """Each trial may take its process down a few times; a machine that kills all ends the sweep."""
    study, started = open_study(url, 4), 0

    def start(number: int, folder: Path, gpu: str | None) -> subprocess.Popen[bytes]:
        nonlocal started
        started += 1
        trial = study.next_trial() if started % workers.MAX_RESTARTS == 0 and kills < 100 else None
        if trial is not None:
            study.finish(trial, Outcome(TrialState.PRUNED, None, {"status": "failed"}))
        if started > kills:
            finish_all(study)
        return subprocess.Popen(["sh", "-c", "exit 0" if started > kills else "kill -9 $$"])

    monkeypatch.setattr(local, "start_process", start)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.05)
    if status:
        with pytest.raises(InputError, match="every worker was killed"):
            run(1, study, SweepProgress(study), tmp_path)
        assert started == 1 + workers.MAX_RESTARTS
    else:
        run(1, study, SweepProgress(study), tmp_path)
        assert started == kills + 1 and study.counted() == 4


def test_each_worker_is_started_again_by_itself(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed one under its own number; one that has nothing more to do is let go."""
    study, started = open_study(url, 2), []

    def start(number: int, folder: Path, gpu: str | None) -> subprocess.Popen[bytes]:
        started.append(number)
        if len(started) == 6:
            finish_all(study)
        kills = number == 1 and started.count(1) < 4
        return subprocess.Popen(["sh", "-c", "kill -9 $$" if kills else "exit 0"])

    monkeypatch.setattr(local, "start_process", start)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.05)
    run(3, study, SweepProgress(study), tmp_path)
    assert started == [0, 1, 2, 1, 1, 1]


def test_as_many_restarts_as_workers_may_need(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three may die often enough to show that a trial kills it."""
    study, started = open_study(url, 2), []

    def start(number: int, folder: Path, gpu: str | None) -> subprocess.Popen[bytes]:
        started.append(number)
        return subprocess.Popen(["sh", "-c", "kill -9 $$"])

    monkeypatch.setattr(local, "start_process", start)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.01)
    with pytest.raises(InputError, match=r"was complete \(0 of 2 trials, running: \[\]\)"):
        run(3, study, SweepProgress(study, quiet=True), tmp_path)
    assert len(started) == 3 + 3 * 5 and workers.MAX_RESTARTS == 5 > MAX_DEATHS + 1


def test_a_worker_that_gives_up_ends_all_with_its_last_words(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, processes = open_study(url, 2), []

    def start(number: int, folder: Path, gpu: str | None) -> subprocess.Popen[bytes]:
        words = {0: "exec sleep 60", 1: "echo first; echo error: no such thing; exit 1"}[number]
        with open(folder / f"worker-{number}.log", "wb") as log:
            processes.append(subprocess.Popen(["sh", "-c", words], stdout=log))
        return processes[-1]

    monkeypatch.setattr(local, "start_process", start)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.05)
    with pytest.raises(InputError) as raised:
        run(2, study, SweepProgress(study, quiet=True), tmp_path / "new" / "s")
    log = tmp_path / "new" / "s" / "worker-1.log"
    assert str(raised.value) == f"a worker gave up: no such thing (see {log})"
    assert processes[0].returncode == -15, "it was asked to end"


def test_how_a_worker_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command, told whose worker it is; out of reach of Ctrl-C; its log is added to."""
    script = tmp_path / "own.py"
    script.write_text(
        "import os, sys\n"
        "names = ('FAIRSTEP_WORKER', 'FAIRSTEP_PARENT', 'HYDRA_FULL_ERROR', 'KEPT')\n"
        "print(sys.argv[1:], [os.environ.get(name) for name in names])\n"
        "print(os.getpgid(0) == os.getpid(), sys.stdin.read() == '', flush=True)\n"
        "print('mistake', file=sys.stderr)\n"
    )
    monkeypatch.setattr(sys, "orig_argv", ["python", str(script), "-m", "a b"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("KEPT", "yes")
    (tmp_path / "worker-7.log").write_text("before\n")
    assert local.start_process(7, tmp_path, None).wait() == 0
    facts = ["1", str(os.getpid()), None, "yes"]
    assert (tmp_path / "worker-7.log").read_text().splitlines() == [
        "before", f"['-m', 'a b'] {facts}", "True True", "mistake",
    ]  # fmt: skip


def test_a_worker_whose_controller_is_gone_is_an_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT, raising=False)
    assert not is_orphan(), "it is no worker"
    monkeypatch.setenv(PARENT, str(os.getppid()))
    assert not is_orphan()
    monkeypatch.setenv(PARENT, str(os.getppid() + 1))
    assert is_orphan()


def test_searches_of_one_study_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that a comparison starts; workers of a study share it."""
    folder, entered = tmp_path / "new" / "study", Event()

    def enter() -> None:
        with workers.in_turn(folder):
            entered.set()

    monkeypatch.delenv(PARENT, raising=False)
    monkeypatch.delenv(WORKER, raising=False)
    with workers.in_turn(folder):
        assert not folder.exists(), "nobody's child takes no turn"
    monkeypatch.setenv(PARENT, str(os.getppid()))
    with workers.in_turn(folder):
        assert (folder / ".lock").exists()
        other = Thread(target=enter, daemon=True)
        other.start()
        assert not entered.wait(0.3)
        monkeypatch.setenv(WORKER, "1")
        with workers.in_turn(folder):
            pass
    assert entered.wait(5), "it was let in afterwards"
    other.join()
    monkeypatch.delenv(WORKER)
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"/file/x: Not a directory"),
        workers.in_turn(tmp_path / "file" / "x"),
    ):
        pass


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    polite = subprocess.Popen(["sleep", "60"])
    assert workers.end(polite) == -15
    deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; echo; sleep 60"], stdout=subprocess.PIPE)
    assert deaf.stdout and deaf.stdout.readline()  # it is deaf from now on
    real = deaf.wait
    monkeypatch.setattr(deaf, "wait", lambda timeout=None: real(timeout and 0.2))
    assert workers.end(deaf) == -9


def test_the_last_words_of_a_worker(tmp_path: Path) -> None:
    log = tmp_path / "worker-0.log"
    for text, words in (("", "(nothing)"), ("a\nerror: b\n\n", "b"), ("a\nb c", "b c")):
        log.write_text(text)
        assert workers.last_words(log) == f"{words} (see {log})"
