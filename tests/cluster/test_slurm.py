"""Sweeps and plain multiruns on a real Slurm of two nodes, and what may happen to them."""

import json
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from tests.cluster.clusters import Slurm
from tests.cluster.conftest import SECONDS, Sweep, interrupt, kill_worker
from tests.sweeping.conftest import Server

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("slurm")]
SLURM = "hydra/launcher=submitit_slurm"


@pytest.fixture
def sweep(slurm: Slurm, database: str, tmp_path: Path, ends: ExitStack) -> Callable[..., Sweep]:
    return lambda *flags: ends.enter_context(
        closing(Sweep(slurm, database, tmp_path, SLURM, *flags))
    )


def test_a_sweep(slurm: Slurm, sweep: Callable[..., Sweep]) -> None:
    """Four workers on two nodes; nobody is left in the queue."""
    mine = sweep("n_jobs=4", "n_trials=12", "trainer.epochs=30", "hydra.launcher.partition=main")
    out = mine.finish(mine.start())
    mine.check(12)
    owners = [trial.user_attrs["owner"] for trial in mine.trials()]
    assert {owner["node"] for owner in owners} == {"n1", "n2"}
    assert all(owner["job"].startswith("slurm ") and owner["shared"] for owner in owners)
    assert "running: " in out and " on n1" in out and "best: trial" in out
    mine.until(lambda: not slurm.jobs(), "the queue is empty")
    told = subprocess.run(
        [*mine.command, "n_trials=12"], env=mine.environment, cwd=mine.folder,
        capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert "best: trial" in told.stdout and not slurm.jobs(), "a complete study starts nobody"


def test_a_plain_multirun(slurm: Slurm, sweep: Callable[..., Sweep]) -> None:
    """Each job in a folder of its own, with the bits that it has here, and one table."""
    mine, weights = sweep(), {}
    for where, launcher in (("there", SLURM), ("here", "hydra/launcher=local")):
        command = [*mine.command[:3], "-m", "seed=1,2", "model=logreg", "trainer.epochs=1",
                   f"hydra.sweep.dir={mine.folder / where}", launcher]  # fmt: skip
        done = subprocess.run(
            command, env=mine.environment, cwd=mine.folder, capture_output=True, text=True,
            timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "table: " in done.stdout and "completed" in done.stdout
        results = [mine.folder / where / f"trial-{number}" / "result.json" for number in (0, 1)]
        weights[where] = [json.loads(path.read_text())["weights_sha256"] for path in results]
    assert weights["there"] == weights["here"]


def test_faults(slurm: Slurm, server: Server, sweep: Callable[..., Sweep]) -> None:
    """One sweep, disturbed in every way that a cluster has; the same command goes on."""
    mine = sweep("n_jobs=3", "n_trials=24", "trainer.epochs=5", "hydra.launcher.partition=main")
    mine.hold(0)
    process = mine.start()
    mine.until(lambda: len(mine.at_work()) == 3, "three workers train")
    hit = [*lose_a_worker_and_a_node(slurm, mine), preempt(slurm, mine)]
    mine.until(lambda: len(mine.at_work()) >= 2, "two workers train, and a third may wait")

    server.stop("immediate")
    time.sleep(2)
    server.start()

    process.kill()
    process.communicate(timeout=SECONDS)
    jobs = slurm.jobs()
    hit.append(cancel_one(slurm, mine))
    mine.go_on("workers need no submitter")
    process = mine.start()
    mine.until(lambda: len(slurm.jobs()) == 3, "workers that were left count among the new ones")
    assert len({*slurm.jobs()} & {*jobs}) == 2
    mine.until(lambda: tells_of_a_trial(process, mine), "the submitter is there")

    mine.until(mine.running, "a trial runs")
    hit.append({trial.number for trial in mine.running()})
    out = interrupt(process)
    assert "this goes on: " in out
    mine.until(lambda: not slurm.jobs() and not mine.workers(), "jobs are cancelled")
    assert not mine.running(), f"trials are put back\n{mine.running()}\n{mine.logs()}"

    mine.hold(None)
    mine.finish(mine.start())
    mine.check(24)
    assert all(mine.has_put_back(trials) for trials in hit) and mine.again()
    for trial in mine.again()[:2]:
        mine.replayed(trial)


def lose_a_worker_and_a_node(slurm: Slurm, mine: Sweep) -> tuple[set[int], set[int]]:
    """A worker of n1 is killed, and n2 with all that runs on it; returns trials that were hit."""
    here, there = at(mine, "n1")[0], at(mine, "n2")
    kill_worker(mine, here)
    slurm.kill("n2")
    mine.go_on("the other node goes on")
    slurm.start_node("n2")
    return {here.number}, {trial.number for trial in there}


def preempt(slurm: Slurm, mine: Sweep) -> set[int]:
    """A job that takes all of n1; returns trials that were hit."""
    mine.until(lambda: at(mine, "n1"), "n1 is at work")
    hit = {trial.number for trial in at(mine, "n1")}
    urgent = slurm.call(
        "sbatch", "-p", "urgent", "-w", "n1", "-c2", "-o/dev/null", "--wrap=sleep 3"
    )
    mine.until(lambda: mine.has_put_back(hit), f"trials are put back at a preemption ({urgent})")
    mine.until(mine.running, "somebody is at work")
    mine.go_on(f"goes on after a preemption ({urgent})")
    return hit


def cancel_one(slurm: Slurm, mine: Sweep) -> set[int]:
    """A job is cancelled; returns trials that were hit."""
    job = next(iter(mine.at_work()))
    hit = {t.number for t in mine.running() if t.user_attrs["owner"]["job"] == job}
    slurm.call("scancel", number := job.removeprefix("slurm "))
    mine.until(lambda: number not in slurm.jobs(), "it ends")
    return hit


def at(mine: Sweep, node: str) -> list[FrozenTrial]:
    """The trials that run on a node."""
    return [trial for trial in mine.running() if trial.user_attrs["owner"]["node"] == node]


def tells_of_a_trial(process: subprocess.Popen[str], mine: Sweep) -> bool:
    """Whether a submitter has said something; lets one more trial end, for it to tell of."""
    assert process.stdout is not None
    told = select.select([process.stdout], [], [], 0)[0]
    if not told:
        mine.go_on("it goes on")
    return bool(told)


def test_a_time_limit(slurm: Slurm, sweep: Callable[..., Sweep]) -> None:
    """Slurm ends a job whose time is over: its trial is put back, and the submitter sends another.

    Slurm looks for such jobs every 30 s. To submitit a job that was to have more than ten minutes
    was preempted, and begins again with the minute that this one is left with.
    """
    mine = sweep("n_jobs=1", "n_trials=1", "trainer.epochs=1", "hydra.launcher.timeout_min=10")
    mine.hold(0)
    process = mine.start()
    mine.until(mine.running, "a trial runs")
    first, [job] = max(trial.number for trial in mine.trials()), slurm.jobs()
    assert f"slurm {job}" in mine.shown(), "who looks at the study sees who runs it"
    told = slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    mine.until(lambda: job not in slurm.jobs(), f"its job ends {told}")
    mine.until(lambda: any(trial.number > first for trial in mine.running()), "it runs again")
    mine.hold(None)
    mine.finish(process)
    mine.check(1)
    assert mine.has_put_back({first})


def test_a_job_that_is_requeued(slurm: Slurm, sweep: Callable[..., Sweep]) -> None:
    """Told in time that another takes its place, a job puts its trial back, and waits in the queue.

    It begins again with a worker of the same number; the submitter sends nobody in its place.
    """
    mine = sweep("n_jobs=1", "n_trials=2", "trainer.epochs=1", "hydra.launcher.partition=main")
    mine.hold(0)
    with slurm.having("SlurmctldParameters=preempt_send_user_signal"):
        process = mine.start()
        mine.until(mine.running, "a trial runs")
        [trial], [job] = mine.running(), slurm.jobs()
        node = trial.user_attrs["owner"]["node"]
        urgent = ["sbatch", "-purgent", f"-w{node}", "-c2", "-o/dev/null", "--wrap=sleep 3"]
        told = slurm.call(*urgent)
        mine.until(lambda: mine.has_put_back({trial.number}), f"its trial is put back {told}")
        mine.until(lambda: mine.at_work(), f"it begins again {told}")
        assert slurm.restarts(job) == 1 and [*mine.at_work()] == [f"slurm {job}"]
        mine.hold(None)
        mine.finish(process)
    mine.check(2)
    assert len([*mine.folder.glob("**/*_submitted.pkl")]) == 1, "nobody was sent in its place"
    [again] = mine.again()
    mine.replayed(again)
