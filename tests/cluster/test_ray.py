"""Sweeps and plain multiruns on a real Ray of two nodes, and what may happen to them."""

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from tests.cluster.clusters import Ray
from tests.cluster.conftest import SECONDS, Sweep, interrupt, kill_worker

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("ray")]


def on_other(trial: FrozenTrial) -> bool:
    """Whether it runs on the other node than Ray's head."""
    return bool(trial.user_attrs["owner"]["node"] == "127.0.0.2")


@pytest.fixture
def launcher(ray: Ray) -> tuple[str, ...]:
    return "hydra/launcher=ray", f"+hydra.launcher.ray.init.address={ray.address}"


@pytest.fixture
def sweep(
    ray: Ray, database: str, tmp_path: Path, launcher: tuple[str, ...], ends: ExitStack
) -> Callable[..., Sweep]:
    return lambda *flags: ends.enter_context(
        closing(Sweep(ray, database, tmp_path, *launcher, *flags))
    )


def test_a_sweep(sweep: Callable[..., Sweep]) -> None:
    mine = sweep("n_jobs=4", "n_trials=12", "trainer.epochs=100")
    out = mine.finish(mine.start())
    mine.check(12)
    owners = [trial.user_attrs["owner"] for trial in mine.trials()]
    nodes = {owner["node"] for owner in owners}
    assert len(nodes) == 2 and "127.0.0.2" in nodes, "Ray knows the head by the machine's address"
    assert all(owner["job"].startswith("ray ") and owner["shared"] for owner in owners)
    assert "best: trial" in out


def test_a_plain_multirun(sweep: Callable[..., Sweep], launcher: tuple[str, ...]) -> None:
    mine = sweep()
    command = [*mine.command[:3], "-m", "seed=1,2", "model=logreg", "trainer.epochs=1",
               f"hydra.sweep.dir={mine.folder / 'there'}", *launcher]  # fmt: skip
    done = subprocess.run(
        command, env=mine.environment, cwd=mine.folder, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0 and "table: " in done.stdout, done.stdout + done.stderr
    results = [mine.folder / "there" / f"trial-{number}" / "result.json" for number in (0, 1)]
    found = [json.loads(path.read_text()) for path in results]
    assert [result["seed"] for result in found] == [1, 2]


def test_faults(ray: Ray, sweep: Callable[..., Sweep]) -> None:
    """A worker, a node and the submitter are killed; then Ctrl-C; the same command goes on."""
    mine = sweep("n_jobs=3", "n_trials=16", "trainer.epochs=5")
    mine.hold(0)
    process = mine.start()
    mine.until(lambda: len(mine.at_work()) == 3, "three workers train")
    there = {trial.number for trial in mine.running() if on_other(trial)}
    here = next(trial for trial in mine.running() if not on_other(trial))
    kill_worker(mine, here)
    ray.kill("other")
    mine.go_on("the other node goes on")

    process.kill()
    process.communicate(timeout=SECONDS)
    mine.until(lambda: not mine.workers(), "Ray ends the jobs of a driver that is gone")
    ray.start_node()
    process = mine.start()
    mine.go_on("it goes on")
    mine.until(mine.running, "a trial runs")
    jobs = mine.at_work()
    put_back = {t.number for t in mine.running() if t.user_attrs["owner"]["job"] in jobs}
    interrupt(process)
    assert not put_back & {trial.number for trial in mine.running()}, mine.logs()
    mine.until(lambda: not mine.workers(), "workers end with their jobs")

    mine.hold(None)
    mine.finish(mine.start())
    mine.check(16)
    assert there and mine.has_put_back({here.number}) and mine.has_put_back(there)
    assert put_back and mine.has_put_back(put_back)
    mine.replayed(mine.again()[0])
