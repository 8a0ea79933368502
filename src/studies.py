"""Entry point: `python -m src.studies` lists the studies, `... NAME` shows one."""

import argparse
from pathlib import Path
from typing import Any

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
            show_study(arguments.storage, arguments.name, arguments.top, write_page)


def write_page(study: Any, path: Path) -> None:
    """Write the page of an Optuna study, and `figures/` beside it.

    Raises:
        InputError: the folder can't be written.
    """
    from src.comparing.record import Search, clean
    from src.comparing.trials import space_of, trials_of
    from src.errors import InputError
    from src.files import write_whole
    from src.reporting.report import save
    from src.reporting.study_page import study_page
    from src.sweeping.show import importances
    from src.sweeping.study import study_direction

    search = Search(
        method=study.study_name, space=space_of(study), importance=importances(study),
        trials=trials_of(study),
    )  # fmt: skip
    signature = study.user_attrs.get("signature", {})
    curves = {trial.number: dict(trial.intermediate_values) for trial in study.get_trials()}
    text, figures = study_page(
        Search.model_validate(clean(search.model_dump())), clean(signature), curves,
        study_direction(study),
    )  # fmt: skip
    try:
        save(figures, path.parent / "figures")
        write_whole(path, text.encode())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


if __name__ == "__main__":
    main()
