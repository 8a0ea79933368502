"""Writes the report of a comparison: the page, its figures as files and its table."""

from pathlib import Path

from src.comparing.record import Comparison, read
from src.errors import InputError
from src.files import write_whole
from src.reporting.figures import figures
from src.reporting.page import page
from src.reporting.tables import write_tables


def write_report(folder: Path) -> Path:
    """Read the comparison of a folder and write `report.html`, `figures/` and `table.*` into it.

    Raises:
        InputError: the folder holds no comparison, or a broken one, or can't be written.
    """
    comparison = read(folder)
    try:
        return _write(comparison, folder)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}") from error


def _write(comparison: Comparison, folder: Path) -> Path:
    from src.reporting.figures_paper import save

    drawn = figures(comparison)
    write_tables(comparison, folder)
    (folder / "figures").mkdir(exist_ok=True)
    for figure in drawn:
        save(figure, folder / "figures")
    path = folder / "report.html"  # written last: where it exists, nothing is missing
    write_whole(path, page(comparison, drawn).encode())
    return path
