"""What a plain multirun says of its jobs: each as it starts, and a table of all, best first."""

import sys
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from yaml import CSafeLoader, load

from src.console import stdout
from src.errors import InputError
from src.files import write_whole
from src.metrics import Direction
from src.reporting.tables import csv_text, print_table
from src.results.folder import load_json
from src.results.status import BAD, COMPLETE, Status

FILE = "multirun.csv"
RESULT = ("status", "metric", "direction", "value", "steps", "train_seconds")  # of each job
NOT_BEGUN = "not begun"
LAST = (*BAD, NOT_BEGUN)


@dataclass(frozen=True)
class Job:
    """A job and how it ended.

    Args:
        folder: relative to the multirun's; empty for a job that was not begun.
        overrides: as they were given, by key.
        result: RESULT and `at_end.METRIC`; a job that left no result has a status alone.
    """

    folder: str
    overrides: dict[str, str]
    result: dict[str, Any]

    @property
    def rank(self) -> tuple[int, str, float]:
        """Sorts complete jobs by their metric, best first; then the others, failed ones last."""
        status, value = self.result["status"], self.result.get("value")
        group = 0 if status in COMPLETE else LAST.index(status) + 2 if status in LAST else 1
        if value is None:
            return group, "", inf
        cost = Direction(self.result["direction"]).sign * value
        return group, self.result["metric"], cost


def report(config: DictConfig, plan: Sequence[Sequence[str]]) -> None:
    """Print the table of a multirun that has ended, and write it beside the jobs.

    Args:
        config: the multirun's, `hydra` included.
        plan: each job's overrides, if they are known.
    """
    folder, console = Path(config.hydra.sweep.dir), stdout()
    jobs = begun(folder, str(config.hydra.output_subdir))
    if not jobs:
        return
    waiting = [Job("", _by_key(lines), {"status": NOT_BEGUN}) for lines in plan[len(jobs) :]]
    jobs = sorted([*jobs, *waiting], key=lambda job: job.rank)
    shared = _shared(jobs) if len(jobs) > 1 else {}
    console.print()
    if shared:
        console.print(f"all jobs: {' '.join(f'{key}={text}' for key, text in shared.items())}")
    names, *rows = _cells(jobs, shared)
    print_table(console, names, rows, left=["job", *jobs[0].overrides, "status"])
    try:
        write_whole(folder / FILE, csv_text(flat(jobs)).encode())
    except OSError as error:
        print(f"warning: {error.filename}: {error.strerror}", file=sys.stderr)
        return
    console.print(f"table: {folder / FILE}")


def _shared(jobs: Sequence[Job]) -> dict[str, str]:
    """The overrides that all jobs have."""
    first, *others = (job.overrides for job in jobs)
    return {
        key: text for key, text in first.items() if all(other.get(key) == text for other in others)
    }


def begun(folder: Path, subdir: str) -> list[Job]:
    """The jobs that a multirun has begun, first to last.

    Args:
        folder: of the multirun.
        subdir: of a job's folder, where Hydra keeps the job's overrides.
    """
    kept = [path for path in folder.rglob("overrides.yaml") if path.parent.name == subdir]
    return [_read(folder, path) for path in sorted(kept, key=lambda path: path.stat().st_mtime_ns)]


def _read(folder: Path, kept: Path) -> Job:
    job, result = kept.parent.parent, {}
    with suppress(InputError):  # who opens the folder is told what is wrong
        result = load_json(job, "result.json") or {}
    facts = {**result, **result.get("objective", {})}
    values = {key: facts.get(key) for key in RESULT}
    at_end = {f"at_end.{key}": value for key, value in result.get("at_end", {}).items()}
    status = result.get("status", Status.FAILED.value)
    overrides = _by_key(load(kept.read_text(encoding="utf-8"), CSafeLoader))
    return Job(str(job.relative_to(folder)), overrides, {**values, **at_end, "status": status})


def _by_key(lines: Iterable[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {key.lstrip("+"): text for key, _, text in pairs}


def _cells(jobs: Sequence[Job], shared: Container[str]) -> list[list[str]]:
    """The table as text, heading first: what differs between the jobs, and how they ended."""
    keys = [key for key in _keys(job.overrides for job in jobs) if key not in shared]
    at_end = [key for key in _keys(job.result for job in jobs) if key.startswith("at_end.")]
    objectives = {_objective(job) for job in jobs} - {""}
    heading = objectives.pop() if len(objectives) == 1 else "objective"
    rows = [["job", *keys, "status", heading, *at_end, "seconds"]]
    for job in jobs:
        value = _number(job.result.get("value"))
        named = value if heading == _objective(job) else f"{_objective(job)} {value}".strip()
        numbers = [named, *(_number(job.result.get(key)) for key in at_end)]
        seconds = _number(job.result.get("train_seconds"), ".1f")
        texts = [job.overrides.get(key, "") for key in keys]
        rows.append([job.folder, *texts, job.result["status"], *numbers, seconds])
    return rows


def _objective(job: Job) -> str:
    """The metric and its direction; empty without a result."""
    metric = job.result.get("metric")
    return f"{metric} ({job.result['direction']})" if metric else ""


def _number(value: Any, form: str = ".5g") -> str:
    return format(value, form) if isinstance(value, int | float) else ""


def flat(jobs: Sequence[Job]) -> list[list[Any]]:
    """All overrides and results, unrounded, heading first."""
    keys = _keys(job.overrides for job in jobs)
    columns = dict.fromkeys([*RESULT, *_keys(job.result for job in jobs)])
    rows: list[list[Any]] = [["job", *keys, *columns]]
    for job in jobs:
        overrides = [_typed(job.overrides.get(key, "")) for key in keys]
        rows.append([job.folder, *overrides, *(job.result.get(key) for key in columns)])
    return rows


def _typed(text: str) -> float | str:
    """A number, which no spreadsheet takes for a formula, or the text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _keys(dicts: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for each in dicts for key in each))
