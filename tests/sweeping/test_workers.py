"""Workers: how they are started, started again, and how they end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from optuna.trial import Trial, TrialState

from src.errors import InputError
from src.launching import local
from src.launching.local import LocalWorkers
from src.launching.workers import PARENT, is_orphan
from src.results.place import WORKER
from src.sweeping import workers
from src.sweeping.progress import SweepProgress
from src.sweeping.study import MAX_DEATHS, Outcome, SharedStudy
from src.sweeping.sweeper import StudySweeper
from tests.sweeping.conftest import Sweep, open_study, states, trials_of
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


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are copies of this process, though pytest may have given it threads."""
    monkeypatch.setattr(local, "can_be_copied", lambda: True)
    monkeypatch.setattr("src.sweeping.sweeper.bears_forks", lambda: True)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.05)


def weights(folder: Path) -> dict[str, str]:
    """The digest of each trial's weights."""
    results = {path.parent.name: path.read_text() for path in folder.glob("trial-*/result.json")}
    return {name: json.loads(text)["weights_sha256"] for name, text in results.items()}


@pytest.mark.usefixtures("copies")
def test_copies_are_workers(sweep: Sweep) -> None:
    """They make the trials of the study, each its own; the bits are those of one process."""
    common = ("sweeps=adam", "n_trials=6", "pruner=none", "sampler=random")
    ended = sweep(*common, "n_jobs=2")
    assert ended.status == 0, ended.err
    assert states(ended.trials) == {"COMPLETE": 6}
    owners = {trial.user_attrs["owner"]["pid"] for trial in ended.trials}
    assert len(owners) == 2 and os.getpid() not in owners
    assert all(trial.user_attrs["owner"]["shared"] for trial in ended.trials)
    assert [(ended.folder / f"worker-{n}.log").read_text() for n in (0, 1)] == ["", ""]
    assert ended.out.count("completed") == 6 and "best: trial" in ended.out
    assert WORKER not in os.environ, "this process is none"
    alone = sweep(*common, study="alone")
    assert weights(alone.folder) == weights(ended.folder)


@pytest.mark.usefixtures("copies")
def test_copies_on_a_server(sweep: Sweep, postgres_url: str) -> None:
    """A connection to it serves one process."""
    settings = ("sweeps=adam", "n_jobs=2", "n_trials=4", "pruner=none", f"storage={postgres_url}")
    ended = sweep(*settings)
    assert ended.status == 0, ended.err
    trials = trials_of(postgres_url, "s")
    assert states(trials) == {"COMPLETE": 4}
    assert os.getpid() not in {trial.user_attrs["owner"]["pid"] for trial in trials}


@pytest.mark.usefixtures("copies")
def test_a_copy_says_its_mistake_in_its_log(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, as a process that started anew would."""

    def give_up(self: StudySweeper, study: SharedStudy) -> None:
        raise InputError("no such thing")

    monkeypatch.setattr(StudySweeper, "_work", give_up)
    ended = sweep("sweeps=adam", "n_jobs=2", "n_trials=2")
    log = ended.folder / "worker-0.log"
    assert ended.status == 1 and ended.err.startswith("error: a worker gave up: no such thing")
    assert log.read_text() == "error: no such thing\n"


@pytest.mark.usefixtures("copies")
def test_a_copy_that_was_asked_to_end_puts_its_trial_back(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And the controller names the command."""
    controller, begun = os.getpid(), tmp_path / "begun"

    def run(self: StudySweeper, study: SharedStudy, trial: Trial) -> Outcome:
        begun.touch()
        time.sleep(60)
        raise AssertionError("unreachable")

    def wait(self: LocalWorkers, seconds: float) -> None:
        if begun.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(StudySweeper, "_run", run)
    monkeypatch.setattr(LocalWorkers, "wait", wait)
    ended = sweep("sweeps=adam", "n_jobs=2", "n_trials=2")
    assert os.getpid() == controller and ended.status == 130
    assert ended.err.startswith("interrupted; this goes on: ")
    assert states(ended.trials).keys() <= {"FAIL", "WAITING"} and ended.trials
    assert (ended.folder / "worker-0.log").read_text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="it asks Linux")
@pytest.mark.usefixtures("copies")
def test_copies_share_no_connection(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SQLite's locks belong to a process, and a server's connection serves one."""
    shared = []

    def start(self: LocalWorkers, numbers: Sequence[int]) -> None:
        open_files = [file.resolve() for file in Path("/proc/self/fd").iterdir()]
        shared.extend(file for file in open_files if file.is_relative_to(tmp_path))
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalWorkers, "start", start)
    assert sweep("sweeps=adam", "n_jobs=2", "n_trials=2").status == 130 and shared == []


@pytest.mark.usefixtures("copies")
def test_copies_draw_their_own_numbers(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's generator is copied, too."""
    monkeypatch.setattr(StudySweeper, "_work", lambda *_: print(np.random.random()))
    ended = sweep("sweeps=adam", "n_jobs=2", "n_trials=2")
    assert "every worker was killed before study s was complete" in ended.err
    drawn = [(ended.folder / f"worker-{number}.log").read_text() for number in (0, 1)]
    assert all(drawn) and drawn[0] != drawn[1]
