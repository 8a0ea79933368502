"""Entry point: `python -m src.report FOLDER` draws a comparison, or a run, again.

A comparison may be unfinished: what is missing is said. Several comparisons come onto one page if
their protocols agree; several runs do, too: their curves together, and the settings in which they
differ.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src.cli import one_line_errors
from src.config import OUTPUTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.report", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER",
                        help="comparisons' (comparison.json, runs.jsonl), or runs'")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="where to write the page of several, or of runs; by default into the "
                        "folder of the only run, or into outputs/reports/")  # fmt: skip
    arguments = parser.parse_args()
    with one_line_errors():
        print(f"report: {report(arguments.folders, arguments.out)}")


def report(folders: list[Path], out: Path | None) -> Path:
    """Write the report of comparisons or of runs; print a comparison's verdict."""
    from src.reporting import pictures, vega

    pictures.begin()  # beside what this process imports
    vega.begin()
    from src.comparing.problems import is_several, judged
    from src.comparing.record import read
    from src.comparing.together import together
    from src.errors import InputError
    from src.reporting.report import is_run, write_comparison, write_overall, write_runs
    from src.reporting.tables import print_verdict
    from src.reporting.tables_overall import print_overall

    if len(folders) == 1 and is_several(folders[0]) and out is None:
        overall = judged(folders[0])
        print_overall(overall)
        return write_overall(overall, folders[0])
    runs, alone = [is_run(folder) for folder in folders], len(folders) == 1
    name = f"{folders[0].resolve().name}-and-{len(folders) - 1}-more"
    several = out or OUTPUTS / "reports" / name
    if all(runs):
        return write_runs(folders, out or (folders[0] if alone else several))
    if any(runs):
        raise InputError(
            f"{folders[runs.index(True)]}: a run, which shares no page with a comparison"
        )
    if alone and out is not None:
        raise InputError(f"--out={out}: a comparison's report stands in its own folder")
    if alone:
        comparison = read(folders[0])
        missing = [*comparison.missing, *_awaited(folders[0], comparison.awaited)]
        comparison = comparison.model_copy(update={"missing": missing})
    else:
        comparison = together([read(folder) for folder in folders])
        several.mkdir(parents=True, exist_ok=True)
    page = write_comparison(comparison, folders[0] if alone else several)
    print_verdict(comparison)
    return page


def _awaited(folder: Path, names: Sequence[str]) -> list[str]:
    """How many runs of the next look aren't there yet."""
    absent = sum(not (folder / "runs" / name / "result.json").is_file() for name in names)
    return [f"{absent} of the {len(names)} runs of that look"] if absent else []


if __name__ == "__main__":
    main()
