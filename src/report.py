"""Entry point: `python -m src.report FOLDER` draws a finished comparison again."""

import argparse
from pathlib import Path

from src.cli import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="where comparison.json and runs.jsonl are")
    arguments = parser.parse_args()
    with one_line_errors():
        from src.comparing.record import read
        from src.reporting.report import write_report  # matplotlib takes a while to import
        from src.reporting.tables import print_verdict

        page = write_report(arguments.folder)
        print_verdict(read(arguments.folder))
        print(f"report: {page}")


if __name__ == "__main__":
    main()
