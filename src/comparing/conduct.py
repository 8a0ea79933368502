"""The runs of a comparison: winners and defaults, trained on fresh seeds one after another.

Each is kept in its own folder, so that the same command goes on after a kill.
"""

import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from src.comparing import checks
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan
from src.comparing.record import Run, Search
from src.composing import slug
from src.config import Config, parse
from src.results import read_rows
from src.results.identity import settings
from src.results.status import Status
from src.training.run import run, snapshot

BUSY = 0.1  # of this machine's processors that others may use while seconds are measured


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


def jobs(plan: Plan, searches: list[Search]) -> list[Job]:
    """The runs on fresh seeds, methods in turns, so that a slow hour hits all alike."""
    first, made = plan.protocol.first_seed, []
    for seed in range(first, first + plan.protocol.seeds):
        for found in searches:
            best = checks.best(found.trials)
            assert best is not None  # a search without a winner has ended the comparison
            made.append(Job(found.method, "tuned", found.search, seed, best.params))
        made += [Job(method, "default", 0, seed, {}) for method in plan.methods]
    return made


def train(plan: Plan, job: Job, folder: Path, ledger: Ledger) -> Run:
    """Train a job in its own folder, or read what it left."""
    place = folder / "runs" / job.folder_name
    cfg = _config(plan, job)
    config = parse(cfg)
    made = _finished(plan, job, place, config)
    if made is None:
        shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
        place.mkdir(parents=True)
        clock = Others()
        run(config, snapshot(cfg), place, quiet=True, keep_last=False)
        (place / "others.json").write_text(json.dumps(clock.share()))
        made = _read(plan, job, place)
    ledger.note("test set evaluated", f"{job.folder_name}, once, at its end")
    return made


def _config(plan: Plan, job: Job) -> DictConfig:
    """The job's: what decides the verdict is measured when the run has ended, whatever set it is
    of."""
    cfg = copy.deepcopy(plan.job(job.method))
    measured = {*cfg.trainer.evaluate_at_end, "test", plan.protocol.metric.split("_")[0]}
    own = {**job.params, "seed": job.seed, "trainer.evaluate_at_end": sorted(measured)}
    for name, value in own.items():
        OmegaConf.update(cfg, name, value, force_add=True)  # a dimension may be a key of its own
    return cfg


class Others:
    """Measures how much of this machine other processes use from now on."""

    def __init__(self) -> None:
        self.began = self._seconds()

    def share(self) -> float:
        """Of all processors' time since then."""
        whole, others = (now - then for now, then in zip(self._seconds(), self.began, strict=True))
        return max(0.0, others / whole) if whole > 0 else 0.0

    @staticmethod
    def _seconds() -> tuple[float, float]:
        """Of all processors: in all, and used by others."""
        machine, own = psutil.cpu_times()._asdict(), psutil.Process().cpu_times()
        whole = sum(spent for kind, spent in machine.items() if not kind.startswith("guest"))
        unused = machine["idle"] + machine.get("iowait", 0.0)
        return whole, whole - unused - own.user - own.system


def _finished(plan: Plan, job: Job, place: Path, config: Config) -> Run | None:
    """What the same run left, if it has ended; None also where a file of it is missing or broken,
    for then it is trained again."""
    try:
        made = _read(plan, job, place)
        recorded = parse(cast(DictConfig, OmegaConf.load(place / "config.yaml")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, YAMLError):
        return None
    return made if _kept(recorded) == _kept(config) and made.status != Status.INTERRUPTED else None


def _kept(config: Config) -> dict[str, Any]:
    """All but what may change while a comparison is taken up again."""
    return settings(config.model_dump(), ("logger", "data.root"))


def _read(plan: Plan, job: Job, place: Path) -> Run:
    result = json.loads((place / "result.json").read_text(encoding="utf-8"))
    kept = ("step", "samples", "train_seconds", "val_loss", "val_accuracy")
    rows = [{key: row.get(key) for key in kept} for row in read_rows(place)]
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
        idle=_others(place) < BUSY,
        commit=_commit(place),
        folder=str(place),
        rows=rows,
        **measured,
    )


def _commit(place: Path) -> str:
    git = json.loads((place / "provenance.json").read_text(encoding="utf-8")).get("git") or {}
    return f"{git.get('commit')}{' and changes' if git.get('dirty') else ''}"


def _others(place: Path) -> float:
    """What others used during the run; all, if a kill came before it was written."""
    try:
        return float((place / "others.json").read_text())
    except (OSError, ValueError):
        return 1.0
