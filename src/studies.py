"""Entry point: `python -m src.studies` lists the studies, `... NAME` shows one."""

import argparse

from src.cli import one_line_errors
from src.sweeping import DEFAULT_STORAGE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.studies", description=__doc__)
    parser.add_argument("name", nargs="?", help="the study to show; none lists them all")
    parser.add_argument("--storage", default=DEFAULT_STORAGE, help="the database's URL")
    parser.add_argument("--top", type=int, default=5, help="how many trials to show (default 5)")
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error(f"--top={arguments.top}: must be an integer >= 1")
    with one_line_errors():
        from src.sweeping.show import list_studies, show_study  # optuna takes a while to import

        if arguments.name is None:
            list_studies(arguments.storage)
        else:
            show_study(arguments.storage, arguments.name, arguments.top)


if __name__ == "__main__":
    main()
