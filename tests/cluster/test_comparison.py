"""A comparison on a real Slurm, and on a real Ray, with a node killed under it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from src.comparing.record import read
from src.config import PROJECT
from tests.cluster.clusters import Cluster, Ray, Slurm, wait_for
from tests.cluster.conftest import SECONDS, SECRET, interrupt

pytestmark = pytest.mark.cluster
SMALL = ("methods=[sgd,adam]", "data=wine", "model=logreg", "pruner=none", "protocol.n_trials=3",
         "protocol.seeds=3", "protocol.name=small", "trainer.epochs=300",
         "hydra.sweeper.lease_seconds=6")  # fmt: skip


class Comparing:
    """A comparison that may be disturbed and started again.

    Args:
        folder: of its outputs.
        flags: of the command line.
        cluster: where its workers run, or none.
    """

    def __init__(self, folder: Path, *flags: str, cluster: Cluster | None = None) -> None:
        self.folder = folder
        self.command = [sys.executable, "-m", "src.compare", *SMALL, *flags]
        self.environment = {
            **os.environ, **(cluster.environment if cluster else {}),
            "FAIRSTEP_OUTPUTS": str(folder), "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1",
            "PGPASSWORD": SECRET,
        }  # fmt: skip

    def start(self) -> subprocess.Popen[str]:
        self.folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            self.command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """All that doesn't depend on clocks and folders, when it has ended by itself."""
        out, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, out + self.logs()
        return self.found()

    def found(self) -> dict[str, Any]:
        found = read(self.folder / "comparisons" / "small")
        runs = [(run.seed, run.method, run.kind, run.value, run.params) for run in found.runs]
        trials = [  # one that was killed has another number
            sorted((str(trial.params), trial.value) for trial in search.trials if trial.counted)
            for search in found.searches
        ]
        verdict = (found.sentence, found.basis, found.looks, found.pairs[0].difference)
        return {"verdict": verdict, "runs": runs, "trials": trials}

    def made(self) -> list[Path]:
        return [*self.folder.glob("comparisons/small/runs/*/result.json")]

    def listed(self) -> int:
        """When a submitter last told workers what is wanted, as the file system tells it."""
        return (self.folder / "comparisons/small/.work/list.json").stat().st_mtime_ns

    def nodes(self) -> set[str]:
        """On which the runs were made."""
        records = [path.with_name("provenance.json") for path in self.made()]
        return {json.loads(record.read_text())["node"] for record in records}

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
        assert len(tested) == len({*tested}) == 12
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


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a comparison finds that nobody disturbs, with one worker on this machine."""
    mine = Comparing(tmp_path_factory.mktemp("alone"))
    return mine.finish(mine.start())


def disturbed(mine: Comparing, kill: Callable[[], None], restart: Callable[[], None]) -> Any:
    """A node dies in the searches, the submitter among the runs; then Ctrl-C."""
    process = mine.start()
    studies = mine.folder / "sweeps"
    mine.until(lambda: [*studies.glob("*/trial-*")], "a search has begun", process)
    kill()
    mine.until(mine.made, "runs are made without that node", process)
    restart()
    process.kill()
    process.communicate()
    before, listed = len(mine.made()), mine.listed()
    process = mine.start()
    mine.until(lambda: mine.listed() > listed, "the submitter is back", process)
    mine.until(lambda: len(mine.made()) > before, "it goes on", process)
    assert "this goes on: " in interrupt(process)
    mine.until(lambda: not mine.workers(), "workers end with their jobs")
    found = mine.finish(mine.start())
    mine.check()
    return found


def test_on_slurm(slurm: Slurm, database: str, tmp_path: Path, alone: Any) -> None:
    mine = Comparing(
        tmp_path / "outputs", "n_jobs=3", "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=main", f"hydra.sweeper.storage={database}",
        cluster=slurm,
    )  # fmt: skip
    found = disturbed(mine, lambda: slurm.kill("n2"), lambda: slurm.start_node("n2"))
    assert found == alone
    assert mine.nodes() == {"n1", "n2"}
    mine.until(lambda: not slurm.jobs(), "the queue is empty")


def test_on_ray(ray: Ray, database: str, tmp_path: Path, alone: Any) -> None:
    mine = Comparing(
        tmp_path / "outputs", "n_jobs=3", "hydra/launcher=ray",
        f"+hydra.launcher.ray.init.address={ray.address}", f"hydra.sweeper.storage={database}",
        cluster=ray,
    )  # fmt: skip
    found = disturbed(mine, lambda: ray.kill("other"), ray.start_node)
    assert found == alone
    assert len(mine.nodes()) == 2
