"""Shows finished studies: a list of all, or one study."""

import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table
from sqlalchemy.engine import make_url

from src.config import OUTPUTS
from src.console import stdout
from src.errors import InputError
from src.results.place import not_comparable
from src.sweeping.progress import best_trial, duration, top_table
from src.sweeping.storage import absolute, shown
from src.sweeping.study import study_direction
from src.sweeping.tally import is_failed


def list_studies(url: str) -> None:
    """Print every study of the database: trials by state, best value, start."""
    summaries = optuna.get_all_study_summaries(_existing(url))
    table = Table(box=None)
    for heading in ("study", "complete", "pruned", "failed", "running", "best", "began"):
        table.add_column(heading, justify="left" if heading == "study" else "right")
    for summary in sorted(summaries, key=lambda summary: summary.study_name):
        study = optuna.load_study(study_name=summary.study_name, storage=absolute(url))
        trials = study.get_trials(deepcopy=False)
        counts = _counts(trials)
        best = best_trial(trials, study_direction(study))
        value = f"{best.value:.5g}" if best else ""
        start = f"{summary.datetime_start:%Y-%m-%d %H:%M}" if summary.datetime_start else ""
        table.add_row(summary.study_name, *counts, value, start)
    stdout().print(table if summaries else f"no studies in {shown(url)}")


def show_study(
    url: str, name: str, top: int, write_page: Callable[[optuna.Study, Path], None]
) -> None:
    """Print one study and write its page.

    Args:
        top: how many trials to print.
        write_page: writes the page of a study to a file.

    Raises:
        InputError: there is no such database, or no such study.
    """
    study = load(url, name)
    trials, console = study.get_trials(deepcopy=False), stdout()
    counts = dict(zip(("complete", "pruned", "failed", "running"), _counts(trials), strict=True))
    console.print(f"study {name}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    console.print(top_table(trials, study_direction(study), top))
    if reason := not_comparable(map(_place, trials)):
        console.print(f"seconds can't be compared: they are of {reason}")
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    if running:
        console.print(running_table(running, datetime.now()))
    for parameter, share in importances(study).items():
        console.print(f"importance of {parameter}: {share:.2f}")
    path = OUTPUTS / "sweeps" / name / "study.html"
    write_page(study, path)
    console.print(f"page:      {path}")
    console.print(f"dashboard: {shlex.join(['optuna-dashboard', shown(absolute(url))])}")


def _place(trial: FrozenTrial) -> dict[str, Any]:
    """Where a trial ran, and beside how many."""
    attributes = trial.user_attrs
    return {**attributes.get("owner", {}), "together": attributes.get("together")}


def running_table(trials: Iterable[FrozenTrial], now: datetime) -> Table:
    """The trials that run: where, in which job of a launcher, and for how long."""
    table = Table(box=None)
    for heading in ("running", "host", "job", "age"):
        table.add_column(heading, justify="right" if heading == "age" else "left")
    for trial in trials:
        owner = trial.user_attrs.get("owner", {})
        host = owner.get("node") or str(owner.get("host", "?")).partition("/")[0]
        age = duration((now - (trial.datetime_start or now)).total_seconds())
        table.add_row(f"trial {trial.number}", host, owner.get("job") or "", age)
    return table


def load(url: str, name: str) -> optuna.Study:
    """A study that must exist."""
    try:
        return optuna.load_study(study_name=name, storage=_existing(url))
    except KeyError as error:
        summaries = optuna.get_all_study_summaries(absolute(url))
        existing = ", ".join(sorted(summary.study_name for summary in summaries)) or "none"
        raise InputError(f"{name}: no such study in {shown(url)}; there are: {existing}") from error


def _existing(url: str) -> str:
    """The absolute URL; a look at a database must not create one."""
    url = absolute(url)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        raise InputError(f"--storage={shown(url)}: there is no such database; no sweep has run yet")
    try:
        sqlalchemy.create_engine(url).connect().close()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise InputError(f"--storage={shown(url)}: {' '.join(str(error).split())}") from error
    return url


def _counts(trials: list[FrozenTrial]) -> list[str]:
    counts = Counter(trial.state for trial in trials)
    failed = sum(is_failed(trial) for trial in trials)
    bad = sum(is_failed(trial) and trial.state is TrialState.PRUNED for trial in trials)
    complete, running = counts[TrialState.COMPLETE], counts[TrialState.RUNNING]
    return [str(count) for count in (complete, counts[TrialState.PRUNED] - bad, failed, running)]


def importances(study: optuna.Study) -> dict[str, float]:
    """Shares of the variance of the objective; equal where there are too few trials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study)
