"""The runs of a comparison: winners and defaults, trained on fresh seeds, some at once.

Each has its own folder, so the same command goes on after a kill.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import psutil
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from src.comparing import checks
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan
from src.comparing.record import Run, Search
from src.comparing.sequential import Need
from src.composing import slug
from src.config import Config, parse
from src.metrics import is_metric, part
from src.results import read_rows
from src.results.identity import settings
from src.results.status import Status
from src.training.run import run
from src.training.stacking import runs_at_once
from src.training.together import Together

BUSY = 0.1  # share of the processors that other processes may use while seconds are measured


@dataclass(frozen=True)
class Job:
    """One run on a fresh seed."""

    method: str
    kind: str  # tuned or default
    search: int
    seed: int
    params: Mapping[str, Any]

    @property
    def folder_name(self) -> str:
        return slug(f"{self.method}-{self.kind}-{self.search}-seed-{self.seed}")


def jobs(plan: Plan, searches: Sequence[Search], need: Need, first: bool = True) -> list[Job]:
    """The runs that a look needs, methods in turns, so that a slow hour affects all of them.

    Args:
        searches: of all methods.
        need: of the look.
        first: whether it is the first look, at which the defaults are trained, too.
    """
    start, queue = plan.protocol.first_seed, []
    for seed in range(start, start + need.seeds):
        for search in searches:
            if search.method in need.methods and search.search < need.searches:
                best = checks.best(search.trials)
                assert best is not None  # a search without a winner ends the comparison
                queue.append(Job(search.method, "tuned", search.search, seed, best.params))
        if first:
            queue += [Job(method, "default", 0, seed, {}) for method in plan.methods]
    return queue


def train_all(plan: Plan, todo: Sequence[Job], folder: Path, ledger: Ledger) -> Iterator[Run]:
    """Train jobs, some at once, or read their finished runs; yield each run at its turn.

    An error of a job is raised at its turn, so what was to be trained before it is there, as if
    they had been trained one after another.
    """
    size = min(at_once(plan), len(todo))
    hub: Together[tuple[int, Run | Exception]] | None = Together(size) if size > 1 else None
    tasks = (partial(_tried, at, plan, job, folder, hub) for at, job in enumerate(todo))
    ready: dict[int, Run | Exception] = {}
    with closing(hub.run(tasks) if hub else (task() for task in tasks)) as ended:
        for at in range(len(todo)):
            while at not in ready:
                number, outcome = next(ended)
                ready[number] = outcome
            made = ready.pop(at)
            if isinstance(made, Exception):
                raise made
            _note(ledger, todo[at])
            yield made


def at_once(plan: Plan) -> int:
    """How many of its runs may train at once, >= 1."""
    return runs_at_once(parse(plan.job(plan.methods[0])))


def _tried(
    at: int, plan: Plan, job: Job, folder: Path, hub: Together[Any] | None
) -> tuple[int, Run | Exception]:
    """The number of a job and its run, or the error with which that ended."""
    try:
        return at, _trained(plan, job, folder, hub)
    except Exception as error:
        return at, error


def train(plan: Plan, job: Job, folder: Path, ledger: Ledger) -> Run:
    """Train a job in its own folder, or read its finished run."""
    record = _trained(plan, job, folder)
    _note(ledger, job)
    return record


def _note(ledger: Ledger, job: Job) -> None:
    ledger.note("test set evaluated", f"{job.folder_name}, once, at its end")


def _trained(plan: Plan, job: Job, folder: Path, together: Together[Any] | None = None) -> Run:
    run_folder = folder / "runs" / job.folder_name
    config, text = plan.filled(job.method, _values(plan, job))
    record = _finished(plan, job, run_folder, config, text)
    if record is None and (other := _elsewhere(plan, job, folder, config, text)):
        shutil.rmtree(run_folder, ignore_errors=True)
        shutil.copytree(other, run_folder)
        record = _finished(plan, job, run_folder, config, text)
    if record is None:
        shutil.rmtree(run_folder, ignore_errors=True)  # of a run that was killed
        run_folder.mkdir(parents=True)
        clock = OtherProcesses()
        run(config, text, run_folder, quiet=True, keep_last=False, together=together)
        (run_folder / "others.json").write_text(json.dumps(clock.share()))
        record = _read(plan, job, run_folder)
    return record


def _values(plan: Plan, job: Job) -> dict[str, Any]:
    """The job's own; the set of the verdict's metric is evaluated once the run has ended."""
    given = plan.job(job.method).trainer.evaluate_at_end
    measured = sorted({*given, "test", part(plan.protocol.metric)})
    return {**job.params, "seed": job.seed, "trainer.evaluate_at_end": measured}


class OtherProcesses:
    """Measures how much of this machine other processes use, from its creation on."""

    def __init__(self) -> None:
        self.start = self._seconds()

    def share(self) -> float:
        """Their share of all processors' time since the start."""
        total, others = (now - then for now, then in zip(self._seconds(), self.start, strict=True))
        return max(0.0, others / total) if total > 0 else 0.0

    @staticmethod
    def _seconds() -> tuple[float, float]:
        """The time of all processors: the total, and the part that others used."""
        machine, process = psutil.cpu_times()._asdict(), psutil.Process().cpu_times()
        total = sum(spent for kind, spent in machine.items() if not kind.startswith("guest"))
        unused = machine["idle"] + machine.get("iowait", 0.0)
        return total, total - unused - process.user - process.system


def _finished(plan: Plan, job: Job, folder: Path, config: Config, text: str) -> Run | None:
    """The same run, if it has ended; None where it hasn't, or where a file is missing or broken."""
    try:
        recorded = (folder / "config.yaml").read_text(encoding="utf-8")
        if recorded != text and _repeatable(_parsed(recorded)) != _repeatable(config):
            return None
        record = _read(plan, job, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, YAMLError):
        return None
    return record if record.status != Status.INTERRUPTED else None


def _parsed(text: str) -> Config:
    return parse(cast(DictConfig, OmegaConf.create(text)))


def _elsewhere(plan: Plan, job: Job, folder: Path, config: Config, text: str) -> Path | None:
    """The folder of the same run in another comparison, beside this one.

    Its config is the same to the letter: one that only means the same is rare, and to see that
    of every comparison would take longer than many a run.
    """
    others = sorted(path.parent for path in folder.parent.glob("*/protocol.json"))
    runs = (other / "runs" / job.folder_name for other in others if other != folder)
    same = (run for run in runs if _text(run / "config.yaml") == text)
    return next((run for run in same if _finished(plan, job, run, config, text)), None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _repeatable(config: Config) -> dict[str, Any]:
    """The settings that must be equal when a comparison goes on."""
    return settings(config.model_dump(), ("logger", "data.root"))


def _read(plan: Plan, job: Job, folder: Path) -> Run:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    rows = [_of_curve(row) for row in read_rows(folder)]
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    measured, status = result["at_end"], result["status"]
    if status == Status.DIVERGED or None in measured.values():
        measured, status = dict.fromkeys(measured), Status.DIVERGED.value  # no accuracy
    return Run(
        method=job.method,
        kind=job.kind,
        search=job.search,
        seed=job.seed,
        status=status,
        params=dict(job.params),
        value=measured[plan.protocol.metric],
        steps=result["steps"],
        train_seconds=result["train_seconds"],
        idle=_others_share(folder) < BUSY,
        place={key: provenance.get(key) for key in ("node", "cpu", "shared")},
        together=provenance.get("together", 1),
        alone=provenance.get("alone", ""),
        commit=_commit(provenance.get("git") or {}),
        folder=str(folder),
        rows=rows,
        **measured,
    )


def _of_curve(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a row: where it stands, and what was measured on validation data."""
    columns = ("step", "samples", "train_seconds")
    return {
        key: row[key] for key in row if key in columns or (is_metric(key) and part(key) == "val")
    }


def _commit(git: Mapping[str, Any]) -> str:
    return f"{git.get('commit')}{' and changes' if git.get('dirty') else ''}"


def _others_share(folder: Path) -> float:
    """The share that others used during the run; 1 if a kill came before it was written."""
    try:
        return float((folder / "others.json").read_text())
    except (OSError, ValueError):
        return 1.0
