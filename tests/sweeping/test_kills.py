"""SIGKILL at random moments, to real sweeps: the controller, a worker, or both."""

import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from optuna.trial import FrozenTrial, TrialState

from src.sweeping.study import DIED, GIVEN_UP, MAX_DEATHS
from tests.starting import Command
from tests.sweeping.conftest import Project, states

STUDY = "adam-digits-mlp"


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def strike(project: Project, process: Command, victim: str, chance: random.Random) -> None:
    """Kill the controller, one of its workers, or all of them at once."""
    workers = project.workers(process)
    if victim != "controller" and workers:
        for pid in workers if victim == "all" else [chance.choice(workers)]:
            kill(pid)
    if victim != "worker" or not workers:
        process.kill()
        process.communicate()


def storm(project: Project, n_jobs: int, n_trials: int, kills: int, seed: int) -> None:
    """Start the sweep again after each kill of its controller, until it ends by itself."""
    chance, done = random.Random(seed), 0
    command = ["-m", "sweeps=adam", f"n_jobs={n_jobs}", f"n_trials={n_trials}"]
    command += ["trainer.epochs=60", "trainer.threads=1"]
    process = project.start(*command)
    deadline = time.monotonic() + 60 * kills + 120
    while done < kills:
        assert time.monotonic() < deadline
        before = project.begun(STUDY)
        wait_for(lambda before=before: project.begun(STUDY) > before, 60)
        time.sleep(chance.uniform(0, 1.2 * seconds_of_a_trial(project)))
        if process.poll() is not None:  # the study was complete before all kills, or worse
            raise AssertionError(process.communicate())
        strike(project, process, chance.choice(["controller", "worker", "all"]), chance)
        done += 1
        if process.poll() is not None:
            process = project.start(*command)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    check(project, project.trials(STUDY), n_trials, kills)


def seconds_of_a_trial(project: Project) -> float:
    """So that about half of the kills hit the trial that was waited for, on any machine."""
    attributes = [one.user_attrs for one in project.trials(STUDY) if one.value is not None]
    taken = [each["seconds"] for each in attributes if "seconds" in each]  # it reads meanwhile
    return statistics.median(taken) if taken else 1.0


def wait_for(holds: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)


def check(project: Project, trials: list[FrozenTrial], n_trials: int, kills: int) -> None:
    left = states(trials)
    assert left["COMPLETE"] + left.get("PRUNED", 0) == n_trials
    assert set(left) <= {"COMPLETE", "PRUNED", "FAIL"}
    assert left.get("FAIL", 0) <= 2 * kills, "no more than the trials then running are lost"
    again = {one.user_attrs["retries"]: one for one in trials if "retries" in one.user_attrs}
    for trial in trials:
        if trial.state is TrialState.FAIL:
            assert trial.user_attrs["reason"] in (DIED, GIVEN_UP)
            begun = len(trial.params) == 3  # else it is proposed again, by the same sampler
            if begun and trial.user_attrs.get("deaths", 0) < MAX_DEATHS:
                assert again[trial.number].system_attrs["fixed_params"] == trial.params
    folders = [one.user_attrs["folder"] for one in trials if "folder" in one.user_attrs]
    found = list((project.folder / "outputs" / "sweeps" / STUDY).glob("trial-*"))
    assert len(set(folders)) == len(folders) >= len(found)
    counted = [one for one in trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    points = [tuple(one.params.values()) for one in counted]
    assert len(set(points)) == len(points), "a trial was counted twice"


@pytest.mark.slow
def test_kills_leave_no_trace_in_the_search(project: Project) -> None:
    """One worker, killed now and then, proposes and prunes what an undisturbed one does."""
    command = ["-m", "sweeps=adam", "n_trials=12", "trainer.epochs=20", "trainer.threads=1"]
    undisturbed = project.start(*command, "study=undisturbed")
    assert undisturbed.wait(timeout=200) == 0
    chance = random.Random(7)
    for number in (1, 5, 9):  # a default, a random start, a modelled point: all kinds of proposal
        process = project.start(*command, "study=killed")
        wait_for(lambda number=number: project.begun("killed") > number, 60)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
    assert project.start(*command, "study=killed").wait(timeout=200) == 0
    died = [one for one in project.trials("killed") if one.state is TrialState.FAIL]
    assert died, "no kill hit a trial"
    assert made(project.trials("killed")) == made(project.trials("undisturbed"))


def made(trials: list[FrozenTrial]) -> list[tuple[object, ...]]:
    """What became of each proposal, in their order; a trial that died has no part in it."""
    return [
        (one.params, one.state, one.value, one.last_step)
        for one in trials
        if one.state is not TrialState.FAIL
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("n_jobs", "kills"), [(1, 20), (2, 12)])
def test_a_sweep_survives_kills(project: Project, n_jobs: int, kills: int) -> None:
    """So many kills that they are over before forty trials are, though a spared worker goes on."""
    storm(project, n_jobs=n_jobs, n_trials=40, kills=kills, seed=n_jobs)


def test_ctrl_c_on_a_controller_with_workers(project: Project) -> None:
    """The command that goes on is printed, the trials are put back, and no process is left."""
    command = ["-m", "sweeps=adam", "n_jobs=2", "n_trials=4", "pruner=none", "trainer.threads=1"]
    process = project.start(*command, "trainer.epochs=10000")
    wait_for(lambda: states(project.trials(STUDY)).get("RUNNING") == 2, 60)
    wait_for(lambda: all("folder" in one.user_attrs for one in project.trials(STUDY)[:2]), 10)
    workers = project.workers(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert err.startswith("interrupted; this goes on: python -m src.train -m sweeps=adam n_jobs=2")
    assert len(workers) == 2 and not any(os.path.exists(f"/proc/{pid}/exe") for pid in workers)
    assert states(project.trials(STUDY)) == {"FAIL": 2, "WAITING": 2}


@pytest.mark.slow
def test_workers_end_after_their_controller(project: Project) -> None:
    command = ["-m", "sweeps=adam", "n_jobs=2", "n_trials=500", "trainer.threads=1"]
    process = project.start(*command, "trainer.epochs=1")
    wait_for(lambda: project.begun(STUDY) >= 2, 60)
    workers = project.workers(process)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in workers), 30)
    left = [pid for pid in workers if os.path.exists(f"/proc/{pid}/exe")]
    for pid in left:
        kill(pid)
    assert len(workers) == 2 and not left
    assert "RUNNING" not in states(project.trials(STUDY))
