"""What the page of one run shows, and of several: curves, settings, where they come from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from src.comparing.record import clean
from src.errors import InputError
from src.metrics import DIRECTIONS, Direction, direction_of, quantity
from src.reporting.comparison_page import counted, record, text
from src.reporting.figures import HIGHER, LOWER, Axis, Figure, Key, Panel, Series, log_fits
from src.reporting.page import Page, Section, Table, render
from src.results.folder import load_config, load_json
from src.results.identity import settings
from src.results.record import read_rows

MOST_RUNS = 56  # so many have looks of their own
MOST_METRICS = 16
MOST_POINTS = 2000  # of a run's rows that the page holds
POSITIONS = ("step", "samples", "epoch", "sample_in_epoch", "train_seconds", "wall_seconds")
FIELDS = ("setting", "value")


@dataclass(frozen=True)
class StoredRun:
    """What a run left in its folder; settings and provenance are flat."""

    name: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    result: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def status(self) -> str:
        return str(self.result.get("status", "no result yet"))

    @property
    def objective(self) -> dict[str, Any]:
        objective = self.result.get("objective")
        return objective if isinstance(objective, dict) else {}


def read_runs(folders: Sequence[Path]) -> list[StoredRun]:
    """The runs of some folders, in their order.

    Raises:
        InputError: a folder holds no run, or a damaged one, or there are too many.
    """
    if len(folders) > MOST_RUNS:
        raise InputError(f"{len(folders)} runs: at most {MOST_RUNS} fit on a page")
    return [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]


def _read(folder: Path, name: str) -> StoredRun:
    config = load_config(folder)
    result = load_json(folder, "result.json") or {}
    provenance = load_json(folder, "provenance.json") or {}
    try:
        return StoredRun(
            clean(name),
            settings(clean(config), ("resume",)),
            [clean(row) for row in _thinned(read_rows(folder))],
            clean(result),
            settings(clean(provenance), ()),
        )
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}: metrics.jsonl: {error}") from error


def _thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, or so many of them evenly, from first to last."""
    if len(rows) <= MOST_POINTS:
        return rows
    return [rows[n * (len(rows) - 1) // (MOST_POINTS - 1)] for n in range(MOST_POINTS)]


def _names(folders: Sequence[Path]) -> list[str]:
    """As much of the folders' paths as tells them apart."""
    parts = [folder.resolve().parts for folder in folders]
    depth = 1
    while len({each[-depth:] for each in parts}) < len({*parts}):
        depth += 1
    return ["/".join(each[-depth:]) for each in parts]


def runs_page(runs: Sequence[StoredRun]) -> tuple[str, list[Figure]]:
    """The whole file, and the figures on it."""
    figures = [figure for figure in [_curves(runs)] if figure.panels]
    drawn = [Section("curves", "Curves", "Curves", figure=figure) for figure in figures]
    one = len(runs) == 1
    sections = _of_one(runs[0], drawn) if one else _of_several(runs, drawn)
    title = runs[0].name if one else counted(len(runs), "run")
    about = [runs[0].status if one else "", counted(sum(len(run.rows) for run in runs), "row")]
    return render(Page(title, about, sections)), figures


def _of_one(run: StoredRun, drawn: list[Section]) -> list[Section]:
    about = {**_measured(run), **{key: run.result.get(key) for key in
             ("seed", "parameters", "weights_sha256", "config_sha256")}}  # fmt: skip
    result = [
        [key.replace("_", " "), text(value)] for key, value in about.items() if value is not None
    ]
    resolved = [[key, text(value)] for key, value in run.settings.items()]
    provenance = [[key, text(value)] for key, value in run.provenance.items()]
    return [
        Section("result", "Result", "Result", tables=[Table(FIELDS, result)]),
        *drawn,
        record("settings", "Settings", "The resolved config.", FIELDS, resolved, open_=True),
        record("provenance", "Provenance", "Where it comes from.", FIELDS, provenance),
    ]


def _measured(run: StoredRun) -> dict[str, Any]:
    objective = run.objective
    metric = str(objective.get("metric", "objective"))
    better = LOWER if objective.get("direction") == Direction.MINIMIZE else HIGHER
    label = f"{metric.replace('_', ' ')} ({better})" if objective else metric
    return {
        "status": run.status,
        label: _number(objective.get("value")),
        "steps": _number(run.result.get("steps")),
        "train_seconds": _number(run.result.get("train_seconds")),
    }


def _number(value: object) -> str:
    return f"{value:.5g}" if _is_number(value) else "–"


def _is_number(value: object) -> TypeGuard[int | float]:
    """Also one that fits into a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 1e300


def _of_several(runs: Sequence[StoredRun], drawn: list[Section]) -> list[Section]:
    measured = [_measured(run) for run in ranked(runs)]
    names = list(dict.fromkeys(key for each in measured for key in each))
    rows = [[run.name, *(text(each.get(name, "–")) for name in names)]
            for run, each in zip(ranked(runs), measured, strict=True)]  # fmt: skip
    heading = ["run", *(name.replace("_", " ") for name in names)]
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.settings)
            if len({text(run.settings.get(key, "–")) for run in runs}) > 1]  # fmt: skip
    differ = [[run.name, *(text(run.settings.get(key, "–")) for key in keys)] for run in runs]
    table = [Table(["run", *keys], differ, whole=True)] if keys else []
    said = ["Only the settings in which the runs differ; – where a run has none."
            if keys else "The runs' settings are the same."]  # fmt: skip
    return [
        Section("runs", "Runs", "Runs", ["Best first, by each run's own objective."],
                tables=[Table(heading, rows, whole=True)]),
        *drawn,
        Section("settings", "Settings", "Settings", said, tables=table,
                data=[("settings.csv", [["run", *keys], *differ])]),
    ]  # fmt: skip


def ranked(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Best first; a run without a value last; in the order given if their objectives differ."""
    first = runs[0].objective
    for name in ("metric", "direction"):
        if any(run.objective.get(name) != first.get(name) for run in runs if run.objective):
            return list(runs)
    sign = -1 if first.get("direction") == Direction.MAXIMIZE else 1

    def cost(run: StoredRun) -> float:
        value = run.objective.get("value")
        return sign * value if _is_number(value) and math.isfinite(value) else math.inf

    return sorted(runs, key=cost)


def _curves(runs: Sequence[StoredRun]) -> Figure:
    """By step: of one run, a panel for each quantity; of several, one for each metric."""
    metrics = [key for key in dict.fromkeys(key for run in runs for row in run.rows for key in row)
               if key not in POSITIONS][:MOST_METRICS]  # fmt: skip
    if len(runs) == 1:
        groups: dict[str, list[tuple[str, int, StoredRun, str]]] = {}
        for number, metric in enumerate(metrics):
            label = metric.replace("_", " ")
            groups.setdefault(quantity(metric) or metric, []).append(
                (label, number, runs[0], metric)
            )
        legend = [(metric.replace("_", " "), number) for number, metric in enumerate(metrics)]
    else:
        groups = {
            metric: [(run.name, number, run, metric) for number, run in enumerate(runs)]
            for metric in metrics
        }
        legend = [(run.name, number) for number, run in enumerate(runs)]
    panels = [_panel(name, group) for name, group in groups.items()]
    caption = "Each row of the record, by the optimizer's steps."
    if any(len(run.rows) == MOST_POINTS for run in runs):
        caption += f" Of a longer record {MOST_POINTS:,} rows are shown, evenly."
    return Figure("curves", "Curves", caption, [panel for panel in panels if panel.series], legend,
                  keys=(Key("line", "a run's evaluations, joined"),))  # fmt: skip


def _panel(name: str, group: list[tuple[str, int, StoredRun, str]]) -> Panel:
    series = []
    for label, style, run, metric in group:
        points = [(float(row["step"]), float(row[metric])) for row in run.rows
                  if _is_number(row.get("step")) and _is_number(row.get(metric))]  # fmt: skip
        if any(math.isfinite(y) for _, y in points):
            x, y = zip(*points, strict=True)
            series.append(Series(label, style, "line", x, y))
    label = name.replace("_", " ")
    known = quantity(group[0][3]) in DIRECTIONS or group[0][3] == "batch_loss"
    better = LOWER if direction_of(group[0][3]) is Direction.MINIMIZE else HIGHER
    log = log_fits([value for drawn in series for value in drawn.y])
    axis = Axis("learning rate" if name == "lr" else label, log, better=better if known else "")
    return Panel(axis.label, Axis("step"), axis, series)
