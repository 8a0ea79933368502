"""Shows finished studies: a list of all, or one study with its plots as an offline page."""

import html
import shlex
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import plotly.io
import sqlalchemy
from optuna.trial import TrialState
from rich.table import Table
from sqlalchemy.engine import make_url

from src.config import OUTPUTS
from src.console import stdout
from src.errors import InputError
from src.sweeping.progress import best_trial, top_table
from src.sweeping.storage import absolute, shown
from src.sweeping.study import is_failed, study_direction

PLOTS: dict[str, Callable[[optuna.Study], Any]] = {
    "History": optuna.visualization.plot_optimization_history,
    "Learning curves of the trials": optuna.visualization.plot_intermediate_values,
    "Slices": optuna.visualization.plot_slice,
    "Parallel coordinates": optuna.visualization.plot_parallel_coordinate,
    "Importance of the parameters": optuna.visualization.plot_param_importances,
}


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


def show_study(url: str, name: str, top: int) -> None:
    """Print one study and write its page.

    Raises:
        InputError: there is no such database, or no such study.
    """
    study = load(url, name)
    trials, console = study.get_trials(deepcopy=False), stdout()
    counts = dict(zip(("complete", "pruned", "failed", "running"), _counts(trials), strict=True))
    console.print(f"study {name}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    console.print(top_table(trials, study_direction(study), top))
    for parameter, share in importances(study).items():
        console.print(f"importance of {parameter}: {share:.2f}")
    path = OUTPUTS / "sweeps" / name / "study.html"
    write_page(study, path)
    console.print(f"page:      {path}")
    console.print(f"dashboard: {shlex.join(['optuna-dashboard', shown(absolute(url))])}")


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


def _counts(trials: list[optuna.trial.FrozenTrial]) -> list[str]:
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


def write_page(study: optuna.Study, path: Path) -> None:
    """Write all plots and the plotting library to one file, so that it works offline."""
    parts, library = [], True
    for title, plot in PLOTS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figure = plot(study)
        figure.update_layout(title_text="")  # the page has a heading for it
        figure_html = plotly.io.to_html(figure, full_html=False, include_plotlyjs=library)
        parts.append(f"<h2>{html.escape(title)}</h2>\n{figure_html}")
        library = False
    name = html.escape(study.study_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:1rem auto;"
        f"padding:0 1rem}}</style>\n<h1>Study {name}</h1>\n" + "\n".join(parts),
        encoding="utf-8",
    )
