"""How a comparison searches: its commands, its restarts, and what it reads of a study."""

import copy
import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.comparing import outlook, searching
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan, plan
from src.comparing.record import Search, Trial
from src.comparing.searching import Searches, first_trials, read_search, widened
from src.composing import register
from src.errors import InputError
from src.launching import local
from src.sweeping import storage
from tests.comparing.test_checks import search, trial

WON = [Trial(number=0, state="complete", cost=0.0)]


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_search_is_told_nothing_of_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_jobs: int
) -> None:
    """Nor of the cores, so that it finds the same whoever makes it."""
    register()
    begun: list[list[str]] = []
    monkeypatch.setattr(searching, "read_search", lambda *_: Search(method="", trials=WON))
    monkeypatch.setattr(Searches, "_carry_out", lambda _, command, *more: begun.append(command))
    arguments = ["methods=[adam,sgd]", f"n_jobs={n_jobs}", "hydra/launcher=local"]
    asked = plan([*arguments, "trainer.threads=2"])
    Searches(asked, tmp_path, Ledger(tmp_path)).search("adam", 0)
    assert begun == [
        ["-m", "src.train", "-m", "sweeps=adam", "objective.row=last", "pruner=none",
         "trainer.threads=2", "seed=0", "n_trials=16", f"study={asked.study('adam', 0)}"]
    ]  # fmt: skip


@pytest.fixture(scope="module")
def asked() -> Plan:
    register()
    return plan(["methods=[adam,sgd]", "protocol.n_trials=3", "protocol.searches=2"])


def with_protocol(made: Plan, **changes: Any) -> Plan:
    return replace(made, protocol=made.protocol.model_copy(update=changes))


def test_the_command_of_each_search(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches of a method differ in their seeds and in their studies, and in nothing else."""
    begun: list[list[str]] = []
    monkeypatch.setattr(Searches, "_carry_out", lambda _, command, *more: begun.append(command))

    def read(_: Plan, method: str, number: int, study: str) -> Search:
        return Search(method=method, search=number, study=study, trials=WON)

    monkeypatch.setattr(searching, "read_search", read)
    ledger = Ledger(tmp_path)
    order = [("adam", 0), ("sgd", 0), ("adam", 1), ("sgd", 1)]
    found = [Searches(asked, tmp_path, ledger).search(*one) for one in order]
    assert [(one.method, one.search, one.study) for one in found] == [
        (*one, asked.study(*one)) for one in order
    ]
    assert len({asked.study(*one) for one in order}) == 4
    assert begun == [
        ["-m", "src.train", "-m", f"sweeps={method}", "objective.row=last", "pruner=none",
         f"seed={number}", "n_trials=3", f"study={asked.study(method, number)}"]
        for method, number in order
    ]  # fmt: skip
    noted = [(line.event, line.detail.partition(": python ")) for line in ledger.read()]
    assert [event for event, _ in noted] == ["searched"] * 4
    assert [detail[0] for _, detail in noted] == [asked.study(*one) for one in order]
    assert noted[0][1][2] == " ".join(begun[0])


def at_edges(lr: float, low: float, high: float) -> Search:
    space = {"optimizer.lr": {"low": low, "high": high, "log": True}}
    return search(space=space, trials=[trial(0, **{"optimizer.lr": lr})], study="x")


@pytest.mark.parametrize(
    ("widen", "spaces"),
    [
        (0, [None]),
        (1, [None, "1e-05, 1.0"]),
        (2, [None, "1e-05, 1.0", "1e-05, 10.0"]),
        (5, [None, "1e-05, 1.0", "1e-05, 10.0"]),
    ],
)
def test_a_space_is_widened_until_its_best_lies_within(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widen: int, spaces: list[Any]
) -> None:
    """Each wider search is a study of its own, which begins anew; the last one is kept."""
    found = iter([at_edges(0.09, 1e-5, 0.1), at_edges(0.9, 1e-5, 1.0), at_edges(0.9, 1e-5, 10.0)])
    begun: list[tuple[list[str], str]] = []
    monkeypatch.setattr(Searches, "_carry_out", lambda _, *told: begun.append((told[0], told[1])))
    monkeypatch.setattr(searching, "read_search", lambda *_: next(found))
    monkeypatch.setattr(Searches, "_works", lambda *_: True)
    made = with_protocol(asked, widen=widen)
    last = Searches(made, tmp_path, Ledger(tmp_path))._search("adam", 1)
    told = [[part for part in command if part.startswith("++")] for command, _ in begun]
    assert told == [
        [f"++optimizer.lr=tag(log, interval({space}))"] if space else [] for space in spaces
    ]
    names = [name for _, name in begun]
    assert names[0] == asked.study("adam", 1)
    assert len({*names}) == len(names)
    assert all(name.startswith(f"{names[0]}-wider-") for name in names[1:])
    assert all(f"study={name}" in command and "seed=1" in command for command, name in begun)
    assert last.space["optimizer.lr"].high == (0.1, 1.0, 10.0)[len(spaces) - 1]


def test_a_space_is_widened_only_to_what_the_method_takes(asked: Plan, tmp_path: Path) -> None:
    made = plan(["methods=[adam,sgd]", "model=logreg", "trainer.threads=1"])
    searches = Searches(made, tmp_path, Ledger(tmp_path))
    assert searches._works("adam", "optimizer.lr", 10.0)
    assert not searches._works("adam", "optimizer.lr", -1.0)
    assert not searches._works("adam", "search.one_minus_beta1", 1.5)


def test_a_search_without_a_winner(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Searches, "_carry_out", lambda *_: None)
    monkeypatch.setattr(
        searching, "read_search",
        lambda *_: Search(method="adam", study="S", trials=[trial(0, "pruned")]),
    )  # fmt: skip
    with pytest.raises(InputError, match="adam: no trial of study S was completed"):
        Searches(asked, tmp_path, Ledger(tmp_path)).search("adam", 0)


def test_whole_numbers_and_betas_are_widened_by_a_decade_at_most() -> None:
    def at(name: str, value: float, low: float, high: float) -> dict[str, str]:
        space = {name: {"low": low, "high": high, "log": True}}
        return widened(search(space=space, trials=[trial(0, **{name: value})]))

    beta = "search.one_minus_beta1"
    assert at(beta, 0.2, 0.002, 0.2) == {beta: "tag(log, interval(0.002, 1.0))"}
    assert at(beta, 0.05, 0.002, 0.05) == {beta: "tag(log, interval(0.002, 0.5))"}
    assert at(beta, 0.002, 0.002, 0.2) == {beta: "tag(log, interval(0.0002, 0.2))"}
    assert at("n", 64, 4, 64) == {"n": "int(tag(log, interval(4, 640)))"}
    assert at("n", 4, 4, 64) == {"n": "int(tag(log, interval(1, 64)))"}
    both = search(
        space={name: {"low": 0.1, "high": 10.0, "log": True} for name in ("x", "y")},
        trials=[trial(0, x=0.1, y=10.0)],
    )
    assert widened(both) == {
        "x": "tag(log, interval(0.01, 10.0))", "y": "tag(log, interval(0.1, 100.0))"
    }  # fmt: skip


class Process:
    """Stands in for a sweep's process: polled once while it is at work."""

    def __init__(self, status: int) -> None:
        self.answers = [None, status]

    def poll(self) -> int | None:
        return self.answers.pop(0)

    def wait(self, timeout: float) -> int:
        raise subprocess.TimeoutExpired("a sweep", timeout)


def ends(
    made: Plan, folder: Path, monkeypatch: pytest.MonkeyPatch, *life: tuple[int, int]
) -> tuple[Searches, list[list[str]]]:
    """Searches whose sweeps end with a status, and a number of trials that count by then."""
    commands: list[list[str]] = []
    counts, lives = [0], iter(life)

    def start(_: Searches, command: list[str], log: Path) -> Any:
        status, counts[0] = next(lives)
        commands.append(command)
        log.write_text("error: why\n")
        return Process(status)

    monkeypatch.setattr(searching, "POLL_SECONDS", 0)
    monkeypatch.setattr(Searches, "_start", start)
    monkeypatch.setattr(Searches, "_state", lambda *_: (counts[0], "so far"))
    return Searches(made, folder, Ledger(folder)), commands


COMMAND = ["-m", "src.train"]


def test_a_killed_search_is_started_again(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches, begun = ends(asked, tmp_path, monkeypatch, (-9, 1), (-9, 2), (0, 3))
    searches._carry_out(COMMAND, "study", "adam")
    assert begun == [COMMAND] * 3
    assert searches.bar.tasks[0].completed == 3


def test_a_search_goes_on_as_long_as_trials_count(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six starts in a row without another trial are enough; one more trial, and it may try on."""
    made = with_protocol(asked, n_trials=30)
    stuck = [(-9, 7)] * 6
    searches, begun = ends(made, tmp_path, monkeypatch, *[(-9, n) for n in range(1, 8)], *stuck)
    with pytest.raises(InputError, match="the search of adam gave up: why"):
        searches._carry_out(COMMAND, "study", "adam")
    assert len(begun) == 13


def test_a_search_that_never_counts_a_trial(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches, begun = ends(asked, tmp_path, monkeypatch, *[(-9, 0)] * 6)
    with pytest.raises(InputError, match="the search of adam gave up: why"):
        searches._carry_out(COMMAND, "study", "adam")
    assert len(begun) == 6


def test_a_search_that_is_complete_is_not_begun(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches, begun = ends(asked, tmp_path, monkeypatch, (0, 3))
    searches._carry_out(COMMAND, "study", "adam")
    searches._carry_out(COMMAND, "study", "adam")
    assert len(begun) == 1


def test_a_search_that_is_unfinished_goes_on(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of its three trials are there, from a comparison that was killed."""
    searches, begun = ends(asked, tmp_path, monkeypatch, (0, 2), (0, 3))
    searches._carry_out(COMMAND, "study", "adam")
    searches._carry_out(COMMAND, "study", "adam")
    assert len(begun) == 2


@pytest.mark.parametrize("status", [1, 2])
def test_a_search_that_gives_up(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    searches, begun = ends(asked, tmp_path, monkeypatch, (status, 0))
    with pytest.raises(InputError, match="the search of adam gave up: why"):
        searches._carry_out(COMMAND, "study", "adam")
    assert len(begun) == 1


@pytest.mark.parametrize("status", [130, 143])
def test_a_search_that_was_asked_to_end(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    searches, _ = ends(asked, tmp_path, monkeypatch, (status, 0))
    with pytest.raises(KeyboardInterrupt):
        searches._carry_out(COMMAND, "study", "adam")


def test_the_process_of_a_search(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs the command, knows its parent, and what it prints is added to its log.

    It is a sweep of its own, also where a worker of the comparison starts it.
    """
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("FAIRSTEP_WORKER", "1")
    searches, log = Searches(asked, tmp_path, Ledger(tmp_path)), tmp_path / "log"
    log.write_text("before\n")
    code = (
        "import os, sys; print(sys.stdin.read(), os.environ['FAIRSTEP_PARENT'], "
        "os.environ.get('HYDRA_FULL_ERROR'), os.environ.get('FAIRSTEP_WORKER'), "
        "os.getpgid(0) == os.getpid(), flush=True); "
        "print('aside', file=sys.stderr)"
    )
    process = searches._start(["-c", code], log)
    assert process.wait(timeout=30) == 0
    assert log.read_text() == f"before\n {os.getpid()} None None True\naside\n"


def test_a_search_starts_in_a_copy_that_was_set_aside(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is one, and unless it was killed."""
    answers, given = [Process(0), None], []

    class Aside:
        def start(self, *arguments: Any) -> Any:
            given.append(arguments)
            return answers[len(given) - 1]

    monkeypatch.setattr(local, "spare", Aside)
    searches, log = Searches(asked, tmp_path, Ledger(tmp_path)), tmp_path / "log"
    assert searches._start(["-c", "raise SystemExit(3)"], log) is answers[0]
    assert searches._start(["-c", "raise SystemExit(3)"], log).wait(timeout=30) == 3
    (command, path, environment), _ = given
    assert (command, path) == (["-c", "raise SystemExit(3)"], log)
    assert "PATH" in environment and "HYDRA_FULL_ERROR" not in environment


SPACE = {"optimizer.lr": FloatDistribution(1e-3, 1.0, log=True), "n": IntDistribution(1, 9),
         "model.activation": CategoricalDistribution(("relu", "tanh"))}  # fmt: skip


def tried(state: TrialState, value: float | None = None, **more: Any) -> FrozenTrial:
    params = {"optimizer.lr": 0.5, "n": 3, "model.activation": "tanh"}
    return create_trial(
        state=state, value=value, params=params, distributions=SPACE,
        user_attrs=more.pop("user_attrs", {}), **more,
    )  # fmt: skip


def attributes(**more: Any) -> dict[str, Any]:
    return {"user_attrs": more}


ENDED = [
    tried(TrialState.COMPLETE, 0.25, **attributes(seconds=1.5, steps=7, folder="/f",
          overrides=["optimizer.lr=0.5", "model.activation=tanh", "n=4", "seed=1"])),
    tried(TrialState.COMPLETE, 0.75, intermediate_values={10: 3.0, 20: 0.75}),
    tried(TrialState.PRUNED, intermediate_values={10: 3.0, 20: 2.0}),
    tried(TrialState.PRUNED, **attributes(status="diverged")),
    tried(TrialState.PRUNED, **attributes(status="failed")),
    tried(TrialState.FAIL, **attributes(reason="broken")),
    tried(TrialState.FAIL, **attributes(reason="its process died")),
    tried(TrialState.FAIL, **attributes(reason="interrupted")),
    tried(TrialState.RUNNING),
]  # fmt: skip


@pytest.fixture(scope="module")
def studies(asked: Plan, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Studies `minimize`, `maximize` and `begun` in a database, and a plan that searches there."""
    url = storage.absolute(f"sqlite:///{tmp_path_factory.mktemp('studies')}/studies.db")
    opened = storage.open_storage(url, 60)
    signature = {
        "hash": "H", "seed": 4, "optimizer.lr": 1, "space.lr": 2, "search.x": 3,
        "objective.metric": "val_loss", "data.name": "digits",
    }  # fmt: skip
    begun = [ENDED[2], ENDED[8]]
    for name, trials in (("minimize", ENDED), ("maximize", ENDED), ("begun", begun)):
        direction = "maximize" if name == "maximize" else "minimize"
        study = optuna.create_study(storage=opened, study_name=name, direction=direction)
        study.set_user_attr("signature", signature)
        study.add_trials(trials)
    configs = copy.deepcopy(asked.configs)
    for config in configs.values():
        config.hydra.sweeper.storage = url
    return replace(asked, configs=configs)


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_what_is_read_of_a_search(studies: Plan, direction: str, sign: int) -> None:
    """A cost is lower where a trial is better; trials that were made good leave no trace."""
    found = read_search(with_protocol(studies, n_trials=5), "adam", 1, direction)
    assert (found.method, found.search, found.study) == ("adam", 1, direction)
    trials = found.trials
    assert [one.number for one in trials] == [0, 1, 2, 3, 4, 5]
    states = ["complete", "complete", "pruned", "diverged", "failed", "failed"]
    assert [one.state for one in trials] == states
    assert [one.counted for one in trials] == [True] * 5 + [False]
    assert [one.value for one in trials] == [0.25, 0.75, 2.0, None, None, None]
    assert [one.cost for one in trials] == [sign * 0.25, sign * 0.75, None, None, None, None]
    assert trials[0].model_dump(include={"seconds", "steps", "folder", "params"}) == {
        "seconds": 1.5, "steps": 7, "folder": "/f",
        "params": {"optimizer.lr": 0.5, "n": 4, "model.activation": "tanh"},
    }  # fmt: skip
    assert trials[1].params == {"optimizer.lr": 0.5, "n": 3, "model.activation": "tanh"}
    assert found.model_dump()["space"] == {
        "optimizer.lr": {"low": 1e-3, "high": 1.0, "log": True},
        "n": {"low": 1, "high": 9, "log": False},
        "model.activation": {"choices": ["relu", "tanh"]},
    }
    assert found.hash == "H"
    assert found.importance.keys() <= {"optimizer.lr", "n", "model.activation"}
    best = searching.checks.best(trials)
    assert best is not None
    assert best.number == (0 if direction == "minimize" else 1)


@pytest.mark.parametrize(
    ("margin", "verdict", "selection", "expected"),
    [
        ("5%", "test_loss", "val_loss", 0.05 * 0.25),
        ("5%", "test_accuracy", "val_loss", 0.05 * 0.25),
        ("10%", "test_loss", "val_accuracy", 0.1 * (1 - 0.25)),  # of the error
        (0.01, "test_loss", "val_loss", 0.01),
        (0.01, "test_accuracy", "val_loss", None),  # a number of another metric
    ],
)
def test_how_far_apart_trials_are_as_good(
    studies: Plan, margin: str | float, verdict: str, selection: str, expected: float | None
) -> None:
    """The margin of the comparison, at the best trial, whose value is 0.25."""
    configs = copy.deepcopy(studies.configs)
    configs["adam"].objective.metric = selection
    made = with_protocol(replace(studies, configs=configs), margin=margin, metric=verdict)
    assert read_search(made, "adam", 1, "minimize").margin == pytest.approx(expected)


def test_a_longer_study_is_read_as_far_as_asked() -> None:
    """A search of two trials is the beginning of one of four; what failed between is kept."""
    trials = [Trial(number=n, state="complete", counted=n != 1) for n in range(5)]
    assert [trial.number for trial in first_trials(trials, 2)] == [0, 1, 2]
    assert first_trials(trials, 4) == first_trials(trials, 9) == trials
    assert first_trials([], 3) == []


def test_searches_share_all_but_what_is_the_methods_own(studies: Plan) -> None:
    shared = read_search(studies, "adam", 1, "begun").shared_hash
    url = str(studies.configs["adam"].hydra.sweeper.storage)
    study = optuna.load_study(study_name="begun", storage=url)
    signature = study.user_attrs["signature"]
    own = {"hash": "G", "seed": 5, "optimizer.lr": 7, "optimizer._target_": "x", "search.y": 1}
    study.set_user_attr("signature", {**signature, **own})
    assert read_search(studies, "adam", 1, "begun").shared_hash == shared
    study.set_user_attr("signature", {**signature, "data.name": "mnist"})
    assert read_search(studies, "adam", 1, "begun").shared_hash != shared


@pytest.mark.parametrize(
    ("study", "state"),
    [
        ("minimize", (5, "5 trials, 2 pruned, 1 failed, best 0.25")),
        ("maximize", (5, "5 trials, 2 pruned, 1 failed, best 0.75")),
        ("begun", (1, "1 trials, 1 pruned")),
        ("another", (0, "")),
    ],
)
def test_the_state_of_a_search(
    studies: Plan, tmp_path: Path, study: str, state: tuple[int, str]
) -> None:
    """One that diverged is among the pruned ones there."""
    assert Searches(studies, tmp_path, Ledger(tmp_path))._state(study, "adam") == state


def test_a_search_is_watched_until_it_ends(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal its bar follows the study; one that is to stop is asked to end."""
    searches = Searches(asked, tmp_path, Ledger(tmp_path))
    searches.console._force_terminal = True
    monkeypatch.setattr(searching, "POLL_SECONDS", 0.01)
    states = iter([(0, ""), (1, "best 0.5")])
    monkeypatch.setattr(searches, "_state", lambda name, method: next(states, (2, "best 0.25")))
    task = searches.bar.add_task("study", total=3, state="")
    code = "import time; time.sleep(0.5); raise SystemExit(7)"
    process = subprocess.Popen([sys.executable, "-c", code])
    assert searches._wait(process, task, "study", "adam") == 7
    shown = searches.bar.tasks[task]
    assert (shown.completed, shown.fields["state"]) == (2, "best 0.25")


def test_a_search_ends_with_whoever_makes_it(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose submitter is gone; before the error leaves, the process has ended."""

    def orphan() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(searching, "POLL_SECONDS", 0.01)
    searches = Searches(asked, tmp_path, Ledger(tmp_path), orphan)
    task = searches.bar.add_task("study", total=3, state="")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(KeyboardInterrupt):
        searches._wait(process, task, "study", "adam")
    assert process.poll() == -signal.SIGTERM


def test_the_time_left_is_told_after_the_first_trials_and_each_search(
    studies: Plan, tmp_path: Path
) -> None:
    """Once while it goes on, then at its end."""
    made = with_protocol(studies, n_trials=5, looks=[10, 20])
    searches, out = Searches(made, tmp_path, Ledger(tmp_path)), io.StringIO()
    searches.console.file, searches.console._force_terminal = out, False
    searches.seconds["earlier"], searches.counted["earlier"] = [30.0, 50.0], 2
    searches._tell_first("earlier", "adam", "2 trials")
    searches._tell_first("earlier", "adam", "3 trials")
    [line] = out.getvalue().splitlines()
    runs = outlook.runs(made)
    left = 2 * 2 * 5 - 2  # two searches of two methods
    least, most = (outlook.duration(40.0 * (left + count)) for count in runs)
    assert line == f"searching adam: 2 trials; about {least} to {most} left"
    searches._carry_out(["-m", "src.train"], "minimize", "adam")
    assert searches.counted == {"earlier": 2, "minimize": 5}
    last = out.getvalue().splitlines()[-1]
    assert last.startswith("searched adam: 5 trials, 2 pruned, 1 failed, best 0.25; about ")
    searches.seconds.clear()
    assert searches._with_left("begun") == "begun"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_search_is_told_by_lines_or_by_a_bar(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    searches, out = Searches(asked, tmp_path, Ledger(tmp_path), where=lambda: ", x"), io.StringIO()
    searches.console.file, searches.console._force_terminal = out, terminal
    states = iter([(1, "1 trial"), (1, "1 trial"), (3, "3 trials, best 0.5")])
    monkeypatch.setattr(searches, "_state", lambda name, method: next(states))
    monkeypatch.setattr(searches, "_start", lambda command, log: None)
    monkeypatch.setattr(searches, "_wait", lambda *told: 0)
    searches._carry_out(["-m", "src.train"], "adam-digits", "adam")
    lines = ["searching adam: study adam-digits", "searched adam: 3 trials, best 0.5, x"]
    assert out.getvalue().splitlines() == ([] if terminal else lines)
    (task,) = searches.bar.tasks
    assert (task.total, task.completed) == (3, 3)
    assert (task.description, task.fields["state"]) == ("adam-digits", "3 trials, best 0.5")
    made = Searches(asked, tmp_path, Ledger(tmp_path))
    assert made.bar.disable is not made.console.is_terminal
    assert made.bar.live.console is made.console


def test_a_space_of_a_key_of_ones_own_can_be_widened(asked: Plan, tmp_path: Path) -> None:
    searches = Searches(asked, tmp_path, Ledger(tmp_path))
    assert searches._works("sgd", "search.mine", 0.5)


def test_each_edge_is_widened_by_itself() -> None:
    """One of a linear scale, and one beyond which nothing works, hinder no other."""
    space = {
        "optimizer.x": {"low": 0.0, "high": 1.0, "log": False},
        "optimizer.y": {"low": 1e-3, "high": 1.0, "log": True},
        "optimizer.lr": {"low": 1e-3, "high": 1.0, "log": True},
    }
    point = {"optimizer.x": 0.99, "optimizer.y": 0.99, "optimizer.lr": 0.99}
    found = search(space=space, trials=[trial(0, **point)], study="x")
    wider = widened(found, lambda name, value: name != "optimizer.y")
    assert wider == {"optimizer.lr": "tag(log, interval(0.001, 10.0))"}
