"""Writes reports: the page, its figures as files and a comparison's table."""

import json
from collections.abc import Sequence
from pathlib import Path

from src.comparing.overall import Overall
from src.comparing.overall import write as write_record
from src.comparing.record import FILE, Comparison, read
from src.errors import InputError
from src.files import write_whole
from src.reporting import charts, figures_overall, tables_overall, vega
from src.reporting.comparison_page import page
from src.reporting.figures import Figure, figures
from src.reporting.overall_page import page as overall_page
from src.reporting.pictures import ENDINGS, draw_all
from src.reporting.run_page import read_runs, runs_page
from src.reporting.tables import write_tables


def write_report(folder: Path) -> Path:
    """Read the comparison of a folder and write `report.html`, `figures/` and `table.*` into it.

    Raises:
        InputError: the folder holds no comparison, or a broken one, or can't be written.
    """
    return write_comparison(read(folder), folder)


def write_comparison(comparison: Comparison, folder: Path, *, files: bool = True) -> Path:
    """Write `report.html`, `figures/` and `table.*` of a comparison into a folder.

    Args:
        files: whether `figures/` is written, too, which takes most of the time; else it is emptied.

    Raises:
        InputError: the folder can't be written.
    """
    try:
        return _write(comparison, folder, files)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}") from error


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run rather than a comparison.

    Raises:
        InputError: it holds neither.
    """
    if (folder / FILE).is_file():
        return False
    if (folder / "config.yaml").is_file():
        return True
    raise InputError(f"{folder}: not a comparison (no {FILE}), and not a run (no config.yaml)")


def write_runs(folders: Sequence[Path], out: Path) -> Path:
    """Write the page of one run or several, and `figures/` beside it, into the folder `out`.

    Raises:
        InputError: a folder holds no run, or a damaged one, or `out` can't be written.
    """
    text, drawn = runs_page(read_runs(folders))
    path = out / "report.html"
    try:
        save(drawn, out / "figures")
        write_whole(path, text.encode())
    except OSError as error:
        raise InputError(f"{out}: {error.strerror or error}") from error
    return path


def _write(comparison: Comparison, folder: Path, files: bool) -> Path:
    drawn = figures(comparison)
    write_tables(comparison, folder)
    _pictures(drawn, folder, files)
    path = folder / "report.html"
    write_whole(path, page(comparison, drawn).encode())
    return path


def write_overall(overall: Overall, folder: Path, *, files: bool = True) -> Path:
    """Write the record, `report.html`, `figures/` and the tables over several problems.

    Args:
        files: whether `figures/` is written, too.

    Raises:
        InputError: the folder can't be written.
    """
    drawn = figures_overall.figures(overall)
    path = folder / "report.html"
    try:
        write_record(overall, folder)
        tables_overall.write_tables(overall, folder)
        _pictures(drawn, folder, files)
        write_whole(path, overall_page(overall, drawn).encode())
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}") from error
    return path


def _pictures(drawn: Sequence[Figure], folder: Path, files: bool) -> None:
    """Write the files, or remove those of an earlier page, which would contradict this one."""
    if files:
        vega.begin()
        save(drawn, folder / "figures")
        return
    for figure in drawn:
        for ending in ENDINGS:
            (folder / "figures" / f"{figure.key}.{ending}").unlink(missing_ok=True)


def save(figures: Sequence[Figure], folder: Path) -> None:
    """Write `folder/KEY.png`, `.svg` and `.pdf` of each figure, for papers."""
    folder.mkdir(parents=True, exist_ok=True)
    specs = [json.dumps(charts.drawing(figure), allow_nan=False) for figure in figures]
    for figure, files in zip(figures, draw_all(specs, charts.theme()), strict=True):
        for ending, content in files.items():
            write_whole(folder / f"{figure.key}.{ending}", content)
