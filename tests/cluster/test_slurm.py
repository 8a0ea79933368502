"""Sweeps and plain multiruns on a real Slurm of two nodes, and what may happen to them."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.clusters import Slurm
from tests.cluster.conftest import SECONDS, Sweep, interrupt, kill_worker
from tests.sweeping.conftest import Server

pytestmark = pytest.mark.cluster
SLURM = "hydra/launcher=submitit_slurm"


@pytest.fixture
def sweep(slurm: Slurm, database: str, tmp_path: Path) -> Callable[..., Sweep]:
    return lambda *flags: Sweep(slurm, database, tmp_path, SLURM, *flags)


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
    mine = sweep("n_jobs=3", "n_trials=14", "trainer.epochs=250", "hydra.launcher.partition=main")
    process = mine.start()
    kill_worker(mine)
    mine.until(lambda: mine.counted() >= 1, "a trial counts")

    slurm.kill("n2")  # and all that runs on it
    before = mine.counted()
    mine.until(lambda: mine.counted() > before, "the other node goes on")
    slurm.start_node("n2")

    urgent = slurm.call(
        "sbatch", "-p", "urgent", "-w", "n1", "-c2", "-o/dev/null", "--wrap=sleep 8"
    )
    before = mine.counted()
    mine.until(lambda: mine.counted() > before, f"goes on after a preemption ({urgent})")

    server.stop("immediate")
    time.sleep(2)
    server.start()

    process.kill()
    process.communicate()
    before = mine.counted()
    mine.until(lambda: mine.counted() > before, "workers need no submitter")
    jobs = {*slurm.jobs()}
    process = mine.start()
    before = mine.counted()
    mine.until(lambda: mine.counted() > before, "it goes on")
    assert process.stdout and process.stdout.readline(), "the submitter is there and tells of it"
    assert len({*slurm.jobs()} | jobs) <= 6, "workers that were left count among the new ones"

    mine.until(mine.running, "a trial runs")
    out = interrupt(process)
    assert "this goes on: " in out
    mine.until(lambda: not slurm.jobs() and not mine.workers(), "jobs are cancelled")
    assert not mine.running(), f"trials are put back\n{mine.running()}\n{mine.logs()}"

    mine.finish(mine.start())
    mine.check(14)
    assert mine.again(), "no fault hit a trial"
    for trial in mine.again()[:2]:
        mine.replayed(trial)


def test_a_time_limit(slurm: Slurm, sweep: Callable[..., Sweep]) -> None:
    """Slurm ends a job whose time is over: its trial is put back, and the submitter sends another.

    Slurm looks for such jobs every 30 s, which the trial outlasts.
    """
    mine = sweep(
        "n_jobs=1", "n_trials=1", "trainer.epochs=40", "loss._target_=tests.cluster.slow.Slow",
        "hydra.launcher.timeout_min=60",
    )  # fmt: skip
    mine.environment["FAIRSTEP_ALLOW"] = "tests.cluster.slow.*"
    process = mine.start()
    mine.until(mine.running, "a trial runs")
    first, [job] = max(trial.number for trial in mine.trials()), slurm.jobs()
    assert f"slurm {job}" in mine.shown(), "who looks at the study sees who runs it"
    told = slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    mine.until(lambda: job not in slurm.jobs(), f"its job ends {told}")
    mine.until(lambda: any(trial.number > first for trial in mine.running()), "it runs again")
    mine.finish(process)
    mine.check(1)
    assert mine.again()
