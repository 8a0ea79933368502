"""A comparison on a real Slurm, and on a real Ray, with a node killed under it."""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy

from src.comparing.claims import TABLE
from src.comparing.record import read
from src.sweeping.storage import absolute, connecting
from tests.cluster.clusters import Cluster, Ray, Slurm
from tests.cluster.conftest import SECONDS, Disturbed, interrupt

pytestmark = pytest.mark.cluster
SMALL = ("methods=[sgd,adam]", "data=wine", "model=logreg", "pruner=none", "protocol.n_trials=3",
         "protocol.seeds=3", "protocol.name=small", "trainer.epochs=10", "trainer.stack=1",
         "hydra.sweeper.lease_seconds=6")  # fmt: skip
TRIALS = 6  # of two methods
RUNS = 12  # of two methods, tuned and default, on three seeds


class Comparing(Disturbed):
    """A comparison.

    Args:
        folder: of its outputs.
        flags: of the command line.
        cluster: where its workers run, one on each node; None for this process alone.
        url: of the database; empty for the default one.
    """

    counts, work = "comparisons/*/runs/*/result.json", "comparisons/small/.work"

    def __init__(
        self, folder: Path, *flags: str, cluster: Cluster | None = None, url: str = ""
    ) -> None:
        self.url = url
        storage = [f"hydra.sweeper.storage={url}"] if url else []
        super().__init__(cluster, folder, "src.compare", *SMALL, *flags, *storage)

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

    def check(self) -> None:
        """No secret anywhere, no run evaluated twice on the test set, nothing left at work."""
        self.has_no_secret()
        ledger = self.folder / "comparisons" / "small" / "ledger.jsonl"
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        tested = [line["detail"] for line in lines if line["event"] == "test set evaluated"]
        assert len(tested) == len({*tested}) == RUNS
        self.until(lambda: not self.workers(), "workers end")


def alive(pid: int) -> bool:
    """Whether a process works, which may be nobody's child here."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


Found = tuple[dict[str, Any], dict[str, str]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What a comparison finds that nobody disturbs, made by one process of this machine."""
    with closing(Comparing(tmp_path_factory.mktemp("alone"))) as mine:
        mine.finish(mine.start())
        return mine.found(), mine.weights()


@pytest.fixture
def compare(database: str, tmp_path: Path, ends: ExitStack) -> Callable[..., Comparing]:
    """Starts comparisons that are ended with the test."""

    def compare(cluster: Cluster, *flags: str) -> Comparing:
        mine = Comparing(tmp_path / "outputs", "n_jobs=2", *flags, cluster=cluster, url=database)
        return ends.enter_context(closing(mine))

    return compare


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
    out, _ = process.communicate(timeout=SECONDS)
    assert re.search(r"^searched .*, running: 1 on \S+$", out, re.MULTILINE), out
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


@pytest.mark.xdist_group("slurm")
def test_on_slurm(slurm: Slurm, compare: Callable[..., Comparing], alone: Found) -> None:
    mine = compare(
        slurm, "hydra/launcher=submitit_slurm", "hydra.launcher.partition=main",
        "hydra.launcher.cpus_per_task=2",
    )  # fmt: skip
    disturbed(mine, lambda: slurm.kill("n2"), lambda: slurm.start_node("n2"), outlive=True)
    mine.until(lambda: not slurm.jobs(), "jobs are cancelled")
    mine.finish_detached()
    check(mine, alone)
    mine.until(lambda: not slurm.jobs(), "the queue is empty")


@pytest.mark.xdist_group("ray")
def test_on_ray(ray: Ray, compare: Callable[..., Comparing], alone: Found) -> None:
    mine = compare(
        ray, "hydra/launcher=ray", f"+hydra.launcher.ray.init.address={ray.address}",
        "+hydra.launcher.ray.remote.num_cpus=2",
    )  # fmt: skip
    disturbed(mine, lambda: ray.kill("other"), ray.start_node, outlive=False)
    mine.finish(mine.start())
    check(mine, alone)
