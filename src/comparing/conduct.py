"""Carrying a comparison out: search each method, train the winners and the defaults again.

Everything is kept where it is made, so that the same command goes on after a kill: searches in
their studies, runs in their folders.
"""

import json
import math
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import psutil
from hydra import compose, initialize_config_dir
from optuna.trial import FrozenTrial, TrialState

from src.comparing import checks
from src.comparing.protocol import Plan
from src.config import CONF, Config, job_config, parse
from src.errors import InputError
from src.results import digest, read_rows
from src.run import run, snapshot

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
BUSY = 25.0  # percent of this machine's processors that others may use while seconds are measured


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
        return f"{self.method}-{self.kind}-{self.search}-seed-{self.seed}"


class Ledger:
    """What was done when, test set included; one line per event, never rewritten."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "ledger.jsonl"

    def note(self, event: str, detail: str) -> None:
        line = {"time": datetime.now().isoformat("T", "seconds"), "event": event, "detail": detail}
        with open(self.place, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> list[dict[str, Any]]:
        if not self.place.is_file():
            return []
        return [json.loads(line) for line in self.place.read_text(encoding="utf-8").splitlines()]


def search(plan: Plan, method: str, number: int, ledger: Ledger) -> dict[str, Any]:
    """Search one method, wider if its best lies at an edge and the protocol says so."""
    wider: dict[str, str] = {}
    found = _search(plan, method, number, wider, ledger)
    for _ in range(plan.protocol.widen):
        more = widened(found)
        if not more:
            break
        wider |= more
        found = _search(plan, method, number, wider, ledger)
    return found


def _search(
    plan: Plan, method: str, number: int, wider: Mapping[str, str], ledger: Ledger
) -> dict[str, Any]:
    suffix = f"-wider-{digest(dict(wider))[:6]}" if wider else ""
    name = f"{plan.name}-{method}-{number}{suffix}"
    command = [sys.executable, "-m", "src.train", "-m", f"sweeps={method}", *plan.overrides]
    command += [f"{key}={space}" for key, space in wider.items()]
    command += [f"seed={number}", f"n_trials={plan.protocol.n_trials}", f"study={name}"]
    command += [f"n_jobs={plan.protocol.n_jobs}"]
    print(
        f"searching {method} ({number + 1} of {plan.protocol.searches}): study {name}", flush=True
    )
    done = subprocess.run(command)
    if done.returncode in (130, 143) or done.returncode < 0:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise InputError(f"the search of {method} ended with status {done.returncode}")
    found = read_search(plan, method, number, name)
    ledger.note("searched", f"{name}: {shlex.join(command[1:])}")
    return found


def read_search(plan: Plan, method: str, number: int, name: str) -> dict[str, Any]:
    """A finished search, as comparison.json keeps it."""
    from src.sweeping.show import _importances, load

    config = plan.configs[method].hydra.sweeper
    study = load(str(config.storage), name)
    trials = study.get_trials(deepcopy=False)
    sign = 1 if study.direction is optuna.study.StudyDirection.MINIMIZE else -1
    space = next(one.distributions for one in trials if one.state is TrialState.COMPLETE)
    signature = study.user_attrs["signature"]
    own = ("optimizer", "space", "search", "hash", "seed")
    shared = {key: value for key, value in signature.items() if not key.startswith(own)}
    return {
        "method": method,
        "search": number,
        "study": name,
        "hash": signature["hash"],
        "shared_hash": digest(shared),
        "space": {
            key: {"low": item.low, "high": item.high, "log": item.log}
            for key, item in space.items()
            if isinstance(item, optuna.distributions.FloatDistribution)
        },
        "importance": _importances(study),
        "trials": [_trial(one, sign) for one in trials if one.state in STATES],
    }


def _trial(trial: FrozenTrial, sign: int) -> dict[str, Any]:
    status = trial.user_attrs.get("status")
    state = "diverged" if status == "diverged" else STATES[trial.state]
    value = trial.value if state == "complete" else None
    return {
        "number": trial.number,
        "state": state,
        "value": value,
        "cost": None if value is None else sign * value,  # lower is better, whatever the metric
        "params": trial.params,
        "seconds": trial.user_attrs.get("seconds"),
        "steps": trial.last_step,
        "folder": trial.user_attrs.get("folder"),
    }


def widened(found: Mapping[str, Any]) -> dict[str, str]:
    """Overrides that move by a decade each edge at which the best lies."""
    wider = {}
    for name, side in checks.edges(found).items():
        space = found["space"][name]
        low, high = space["low"], space["high"]
        low, high = (low / 10, high) if side == "low" else (low, high * 10)
        if name.startswith("search.one_minus_"):
            high = min(high, 1.0)  # 1 - beta beyond 1 is no beta
        wider[name] = f"tag(log, interval({low!r}, {high!r}))"
    return wider


def jobs(plan: Plan, searches: list[dict[str, Any]]) -> list[Job]:
    """The runs on fresh seeds, methods in turns, so that a slow hour hits all alike."""
    first, made = plan.protocol.first_seed, []
    for seed in range(first, first + plan.protocol.seeds):
        for found in searches:
            best = checks.best(found["trials"])
            if best is None:
                raise InputError(f"{found['method']}: no trial was completed, so there's no winner")
            made.append(Job(found["method"], "tuned", found["search"], seed, best["params"]))
        made += [Job(method, "default", 0, seed, {}) for method in plan.methods]
    return made


def train(plan: Plan, job: Job, folder: Path, ledger: Ledger) -> dict[str, Any]:
    """Train a job in its own folder, or read what it left; as runs.jsonl keeps it."""
    place = folder / "runs" / job.folder_name
    with initialize_config_dir(str(CONF)):
        values = [f"{key}={value!r}" for key, value in job.params.items()]
        sets = sorted({"test", plan.protocol.metric.split("_")[0]})
        own = [f"seed={job.seed}", f"trainer.evaluate_at_end=[{','.join(sets)}]"]
        overrides = [f"sweeps={job.method}", *plan.overrides, *values, *own]
        cfg = job_config(compose("config", overrides=overrides))
    config = parse(cfg)
    result = _finished(place, config)
    if result is None:
        shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
        place.mkdir(parents=True)
        idle = psutil.cpu_percent(interval=0.1) < BUSY
        result = run(config, snapshot(cfg), place, lambda row: False)
        (place / "idle.json").write_text(json.dumps(idle))
        ledger.note("test set evaluated", f"{job.folder_name}, once, at its end")
    return _row(plan, job, place)


def _finished(place: Path, config: Config) -> dict[str, Any] | None:
    """The result of the same run, if it has ended."""
    try:
        result: dict[str, Any] = json.loads((place / "result.json").read_text(encoding="utf-8"))
        complete = (place / "idle.json").is_file() and result["status"] != "interrupted"
    except (OSError, ValueError):
        return None
    same = result.get("config_sha256") == digest(config.model_dump())
    return result if same and complete else None


def _row(plan: Plan, job: Job, place: Path) -> dict[str, Any]:
    result = json.loads((place / "result.json").read_text(encoding="utf-8"))
    kept = ("step", "samples", "train_seconds", "val_loss", "val_accuracy")
    rows = [{key: row.get(key) for key in kept} for row in read_rows(place)]
    return {
        "method": job.method,
        "kind": job.kind,
        "search": job.search,
        "seed": job.seed,
        "status": result["status"],
        "params": dict(job.params),
        **{name: result["at_end"].get(name) for name in ("test_loss", "test_accuracy")},
        "value": {**(result["final"] or {}), **result["at_end"]}.get(plan.protocol.metric),
        "steps": result["steps"],
        "train_seconds": result["train_seconds"],
        "idle": json.loads((place / "idle.json").read_text()),
        "folder": str(place),
        "rows": rows,
    }


def finite(values: list[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None and math.isfinite(value))
