"""Entry point: `python -m src.report FOLDER` draws a finished comparison, or a run, again.

Several runs come onto one page: their curves together, and the settings in which they differ.
"""

import argparse
from pathlib import Path

from src.cli import one_line_errors
from src.config import OUTPUTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.report", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER",
                        help="a comparison's (comparison.json, runs.jsonl), or runs'")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="where to write the page of runs; by default into the run's folder, "
                        "or into outputs/reports/")  # fmt: skip
    arguments = parser.parse_args()
    with one_line_errors():
        print(f"report: {report(arguments.folders, arguments.out)}")


def report(folders: list[Path], out: Path | None) -> Path:
    """Write the report of a comparison or of runs; print a comparison's verdict."""
    from src.comparing.problems import is_several, judged
    from src.comparing.record import read
    from src.errors import InputError
    from src.reporting.report import is_run, write_comparison, write_overall, write_runs
    from src.reporting.tables import print_verdict
    from src.reporting.tables_overall import print_overall

    if len(folders) == 1 and is_several(folders[0]) and out is None:
        overall = judged(folders[0])
        print_overall(overall)
        return write_overall(overall, folders[0])
    runs = [is_run(folder) for folder in folders]
    if all(runs):
        alone = len(folders) == 1
        name = f"{folders[0].resolve().name}-and-{len(folders) - 1}-more"
        return write_runs(folders, out or (folders[0] if alone else OUTPUTS / "reports" / name))
    if len(folders) > 1:
        raise InputError(f"{folders[runs.index(False)]}: a comparison; only runs share a page")
    if out is not None:
        raise InputError(f"--out={out}: a comparison's report stands in its own folder")
    comparison = read(folders[0])
    page = write_comparison(comparison, folders[0])
    print_verdict(comparison)
    return page


if __name__ == "__main__":
    main()
