"""A comparison on a real Slurm, and on a real Ray, with a node killed under it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy

from src.comparing.claims import TABLE
from src.comparing.record import read
from src.config import PROJECT
from src.files import write_whole
from src.sweeping.storage import absolute, connecting
from tests.cluster.clusters import Cluster, Ray, Slurm, wait_for
from tests.cluster.conftest import SECONDS, SECRET, interrupt
from tests.cluster.slow import HOLD

pytestmark = pytest.mark.cluster
SMALL = ("methods=[sgd,adam]", "data=wine", "model=logreg", "pruner=none", "protocol.n_trials=3",
         "protocol.seeds=3", "protocol.name=small", "trainer.epochs=10", "trainer.stack=1",
         "hydra.sweeper.lease_seconds=6", "loss._target_=tests.cluster.slow.Held")  # fmt: skip
TRIALS = 6  # of two methods
RUNS = 12  # of two methods, tuned and default, on three seeds


class Comparing:
    """A comparison that may be disturbed and started again.

    Its runs wait where `hold` says, so a test needs no luck to find something under way.

    Args:
        folder: of its outputs.
        flags: of the command line.
        cluster: where its workers run, one on each node; None for this process alone.
        url: of the database; empty for the default one.
    """

    def __init__(
        self, folder: Path, *flags: str, cluster: Cluster | None = None, url: str = ""
    ) -> None:
        self.folder, self.url = folder, url
        self.command = [sys.executable, "-m", "src.compare", *SMALL, *flags]
        self.command += [f"hydra.sweeper.storage={url}"] if url else []
        self.environment = {
            **os.environ, **(cluster.environment if cluster else {}),
            "FAIRSTEP_OUTPUTS": str(folder), "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1",
            "FAIRSTEP_ALLOW": "tests.cluster.slow.*", "PGPASSWORD": SECRET,
        }  # fmt: skip
        self.folder.mkdir(exist_ok=True)

    def hold(self, runs: int | None) -> None:
        """Let training wait once there are so many runs; None lets it go on."""
        if runs is None:
            (self.folder / HOLD).unlink()
        else:
            write_whole(self.folder / HOLD, str(runs).encode())

    def start(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *more], env=self.environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> str:
        """What it printed, when it has ended by itself."""
        out, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, out + self.logs()
        return out

    def finish_detached(self) -> None:
        """Leave it to a process in the background, and wait until that has ended by itself."""
        out = self.finish(self.start("detach=true"))
        [pid] = re.findall(r"left to process (\d+) on ", out)
        self.until(lambda: not alive(int(pid)), "the process in the background ends")
        log = self.folder / "comparisons/small/submitter.log"
        assert "report: " in log.read_text(), log.read_text() + self.logs()

    def found(self) -> dict[str, Any]:
        """All that doesn't depend on clocks and folders."""
        found = read(self.folder / "comparisons" / "small")
        runs = [(run.seed, run.method, run.kind, run.value, run.params) for run in found.runs]
        trials = [  # one that was killed has another number
            sorted((str(trial.params), trial.value) for trial in search.trials if trial.counted)
            for search in found.searches
        ]
        verdict = (found.sentence, found.basis, found.looks, found.pairs[0].difference)
        return {"verdict": verdict, "runs": runs, "trials": trials}

    def weights(self) -> dict[str, str]:
        """The runs' last weights."""
        results = {path.parent.name: json.loads(path.read_text()) for path in self.made()}
        return {name: result["weights_sha256"] for name, result in results.items()}

    def made(self) -> list[Path]:
        return [*self.folder.glob("comparisons/small/runs/*/result.json")]

    def trained(self) -> int:
        """Trials whose training has begun."""
        return len([*self.folder.glob("sweeps/*/trial-*/config.yaml")])

    def listed(self) -> int:
        """When a submitter last told workers what is wanted, as the file system tells it."""
        return (self.folder / "comparisons/small/.work/list.json").stat().st_mtime_ns

    def nodes(self) -> set[str]:
        """On which the runs were made."""
        records = [path.with_name("provenance.json") for path in self.made()]
        return {json.loads(record.read_text())["node"] for record in records}

    def holders(self, kind: str) -> set[str]:
        """The nodes whose workers are at a search, or at a run."""
        question = sqlalchemy.select(TABLE.c.owner).where(TABLE.c.name.startswith(f"{kind} "))
        try:
            with connecting(absolute(self.url)).begin() as connection:
                return {json.loads(owner)["node"] for owner in connection.scalars(question)}
        except sqlalchemy.exc.SQLAlchemyError:  # no table yet
            return set()

    def logs(self) -> str:
        work = self.folder / "comparisons" / "small" / ".work"
        files = [*work.glob("worker-*.log"), *work.glob(".submitit/*/*log*")]
        return "\n".join(f"== {file}\n{file.read_text()[-1500:]}" for file in files)

    def until(self, holds: Callable[[], object], what: str, process: Any = None) -> None:
        """Wait, as long as the process lives."""

        def over() -> object:
            assert process is None or process.poll() is None, process.communicate()[0]
            return holds()

        try:
            wait_for(over, SECONDS, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error

    def check(self) -> None:
        """No secret anywhere, no run evaluated twice on the test set, nothing left at work."""
        for file in self.folder.rglob("*"):
            assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
        ledger = self.folder / "comparisons" / "small" / "ledger.jsonl"
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        tested = [line["detail"] for line in lines if line["event"] == "test set evaluated"]
        assert len(tested) == len({*tested}) == RUNS
        self.until(lambda: not self.workers(), "workers end")

    def workers(self) -> list[int]:
        mine = []
        for process in psutil.process_iter():
            try:
                here = process.environ().get("FAIRSTEP_OUTPUTS") == str(self.folder)
                if here and "FAIRSTEP_WORKER" in process.environ():
                    mine.append(process.pid)
            except psutil.Error:
                continue
        return mine


def alive(pid: int) -> bool:
    """Whether a process works, which may be nobody's child here."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


Found = tuple[dict[str, Any], dict[str, str]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What a comparison finds that nobody disturbs, made by one process of this machine."""
    mine = Comparing(tmp_path_factory.mktemp("alone"))
    mine.finish(mine.start())
    return mine.found(), mine.weights()


def disturbed(
    mine: Comparing, kill: Callable[[], None], restart: Callable[[], None], *, outlive: bool
) -> None:
    """A node dies in the searches, the submitter among the runs; then Ctrl-C.

    Args:
        kill: kills one of the two nodes.
        restart: starts it again.
        outlive: whether workers go on when their submitter is gone.
    """
    mine.hold(0)
    process = mine.start()
    mine.until(lambda: len(mine.holders("search")) == 2, "each node has a search", process)
    mine.until(lambda: mine.trained() == 2, "each search trains", process)
    kill()
    mine.hold(2)
    mine.until(lambda: len(mine.made()) == 2, "runs are made without that node", process)
    assert len(mine.nodes()) == 1

    restart()
    mine.until(lambda: len(mine.holders("run")) == 2, "each node has a run", process)
    process.kill()
    process.communicate()
    mine.until(lambda: outlive or not mine.workers(), "workers end with their submitter")
    assert bool(mine.workers()) == outlive
    listed, process = mine.listed(), mine.start()
    mine.until(lambda: mine.listed() > listed, "the submitter is back", process)
    mine.until(lambda: len(mine.holders("run")) == 2, "each node has a run again", process)
    mine.hold(5)
    mine.until(lambda: len(mine.made()) >= 5, "it goes on", process)
    mine.until(lambda: len(mine.holders("run")) == 2, "each node has the next run", process)
    assert "this goes on: " in interrupt(process)
    mine.until(lambda: not mine.workers(), "workers end with their jobs")
    assert not outlive or not mine.holders("run"), "what they were at is free"
    assert len(mine.made()) < RUNS
    mine.hold(None)


def check(mine: Comparing, alone: Found) -> None:
    """It found what one process alone finds, to the bit, though a trial was lost."""
    assert (mine.found(), mine.weights()) == alone
    assert len(mine.nodes()) == 2
    assert mine.trained() == TRIALS + 1, "the node took a trial with it, which was made again"
    mine.check()


def test_on_slurm(slurm: Slurm, database: str, tmp_path: Path, alone: Found) -> None:
    mine = Comparing(
        tmp_path / "outputs", "n_jobs=2", "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=main", "hydra.launcher.cpus_per_task=2",
        cluster=slurm, url=database,
    )  # fmt: skip
    disturbed(mine, lambda: slurm.kill("n2"), lambda: slurm.start_node("n2"), outlive=True)
    mine.until(lambda: not slurm.jobs(), "jobs are cancelled")
    mine.finish_detached()
    check(mine, alone)
    mine.until(lambda: not slurm.jobs(), "the queue is empty")


def test_on_ray(ray: Ray, database: str, tmp_path: Path, alone: Found) -> None:
    mine = Comparing(
        tmp_path / "outputs", "n_jobs=2", "hydra/launcher=ray",
        f"+hydra.launcher.ray.init.address={ray.address}", "+hydra.launcher.ray.remote.num_cpus=2",
        cluster=ray, url=database,
    )  # fmt: skip
    disturbed(mine, lambda: ray.kill("other"), ray.start_node, outlive=False)
    mine.finish(mine.start())
    check(mine, alone)
