"""Entry point: `python -m src.runs` lists runs of any origin, newest first, or removes some."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, QuotedString, Transformer

from src import config as paths
from src.cli import distance, one_line_errors
from src.console import stdout
from src.errors import InputError
from src.overrides import parsed
from src.reporting.tables import csv_text, line, print_lines
from src.results.listing import facts, find, written

COLUMNS = ("written", "optimizer", "optimizer.lr", "data", "model", "seed", "status",
           "objective.metric", "objective.value", "folder")  # fmt: skip
COMPARED = re.compile(r"([\w.]+)(<=|>=|<|>)(.+)")
EPILOG = """A KEY is one of config.yaml or of result.json, with dots: optimizer.lr, data.batch_size,
trainer.epochs, seed, status, objective.metric, objective.value, best.val_accuracy,
at_end.test_loss, steps, train_seconds, parameters, ... Every run also has

  optimizer scheduler model data   the choice that it was made with, adam or torch/adam, say
  folder                           where it lies
  written                          when its last file was written
  origin                           run, job (of a multirun), trial, comparison or replay
  of                               the multirun, study or comparison that it is a part of

A run without a result, under way or killed, has the status "unfinished".

KEY=VALUE lists the runs that have this value; * and ? stand for any letters, and commas between
values for any of them. KEY<VALUE, KEY>=VALUE, ... compare numbers and times (the shell needs
quotes). Several of these must all be true:

  python -m src.runs optimizer=adam,lion data=mnist 'optimizer.lr>0.01'
  python -m src.runs status=diverged --columns folder,optimizer.lr,model.hidden_sizes
  python -m src.runs origin=trial of=adam-digits-mlp --sort objective.value --limit 5
  python -m src.runs 'written>2026-01-31' --format csv

--prune lists whole folders instead: run, multirun, study (with its study in the database),
comparison, replay. It asks before it removes them. These conditions must all be met:

  older=30d      nothing was written there for so long; m, h, d, w
  larger=500MB   kB, MB, GB
  name=PATTERN   its path in its folder of outputs/, with * and ?
  kind=study     run, multirun, study, comparison or replay

What a process works on stays, and what a comparison needs that doesn't go with it.

  python -m src.runs --prune older=30d kind=run
  python -m src.runs --prune name='mnist*' larger=1GB --yes"""

Facts = dict[str, Any]
Filter = tuple[str, Callable[[Any], bool]]  # a key, and what its value must be


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m src.runs",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("filters", nargs="*", metavar="KEY=VALUE", help="list only these runs")
    parser.add_argument(
        "--columns", metavar="KEY,...", default=",".join(COLUMNS), type=_columns,
        help="what to show of each; +KEY,... adds to the usual: " + " ".join(COLUMNS),
    )  # fmt: skip
    parser.add_argument("--sort", metavar="KEY", help="smallest first (default: newest first)")
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--limit", metavar="N", type=int, help="show at most so many")
    parser.add_argument(
        "--format", choices=["table", "csv"], default="table",
        help="csv: with all digits (default table)",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, help="where to look (default: outputs/, or FAIRSTEP_OUTPUTS)"
    )
    parser.add_argument("--prune", action="store_true", help="remove what meets all conditions")
    parser.add_argument("--yes", action="store_true", help="with --prune: don't ask")
    arguments = parser.parse_intermixed_args()
    if arguments.yes and not arguments.prune:
        parser.error("--yes: only with --prune")
    if arguments.limit is not None and arguments.limit < 1:
        parser.error(f"--limit={arguments.limit}: must be an integer >= 1")
    with one_line_errors():
        try:
            if arguments.prune:
                _prune(arguments)
            else:
                _list(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _columns(text: str) -> list[str]:
    added = [name.strip() for name in text.removeprefix("+").split(",") if name.strip()]
    return [*COLUMNS[:-1], *added, COLUMNS[-1]] if text.startswith("+") else added


def _prune(arguments: argparse.Namespace) -> None:
    from src.pruning import prune  # optuna takes a while to import

    prune(_folder(arguments), arguments.filters, yes=arguments.yes)


def _folder(arguments: argparse.Namespace) -> Path:
    folder: Path = (arguments.folder or paths.OUTPUTS).absolute()
    if arguments.folder is not None and not folder.is_dir():
        raise InputError(f"--folder={arguments.folder}: no such folder")
    return folder


def _list(arguments: argparse.Namespace) -> None:
    filters = [_filter(text) for text in arguments.filters]
    folder = _folder(arguments)
    runs = read(folder) if folder.is_dir() else []
    named = [*(key for key, _ in filters), *arguments.columns, *filter(None, [arguments.sort])]
    if runs:
        _check_keys(named, runs)
    chosen = [run for run in runs if all(key in run and fits(run[key]) for key, fits in filters)]
    listed = ordered(chosen, arguments.sort, arguments.reverse)[: arguments.limit]
    rows = [[run.get(key) for key in arguments.columns] for run in listed]
    if arguments.format == "csv":
        print(csv_text([arguments.columns, *rows]), end="")
        return
    console = stdout()
    if rows:
        texts = [[*map(_text, row)] for row in rows]
        print_lines(console, arguments.columns, texts, _words(arguments.columns, rows))
    count = f"{len(listed)} of " if len(listed) < len(runs) else ""
    console.print(f"{count}{len(runs)} runs in {folder}")


def read(folder: Path) -> list[Facts]:
    """The facts of all runs below a folder, newest first; a line says which can't be read."""
    runs = []
    for path in sorted(find(folder, _warn), key=written, reverse=True):
        try:
            runs.append(facts(path, folder))
        except InputError as error:
            _warn(error)
    return runs


def _warn(error: object) -> None:
    print(f"warning: {line(error)}", file=sys.stderr)


def _check_keys(named: Iterable[str], runs: Iterable[Facts]) -> None:
    """Refuse a key that no run has."""
    known = {key for run in runs for key in run}
    for key in named:
        if key not in known:
            near = min(sorted(known), key=lambda other: distance(key, other))
            raise InputError(f"{key}: no run has such a key; did you mean {near}?")


def ordered(runs: Sequence[Facts], key: str | None, reverse: bool) -> list[Facts]:
    """By a key, smallest first, those without a value last either way; without a key as given."""
    if key is None:
        return [*reversed(runs)] if reverse else [*runs]
    having = [run for run in runs if run.get(key) is not None]
    lacking = [run for run in runs if run.get(key) is None]
    return [*sorted(having, key=lambda run: _sorting(run[key]), reverse=reverse), *lacking]


def _sorting(value: Any) -> tuple[bool, Any]:
    """Numbers before texts, which can't be compared with them."""
    return (False, value) if isinstance(value, int | float) else (True, str(value))


def _filter(text: str) -> Filter:
    if compared := COMPARED.fullmatch(text):
        key, sign, limit = compared.groups()
        return key, lambda value: _compares(value, sign, limit)
    (override,) = parsed([text])
    wanted = _values(override)
    return override.key_or_group, lambda value: any(_is(value, each) for each in wanted)


def _values(override: Override) -> list[Any]:
    """The values that an override gives: one, or those between commas."""
    if not override.is_choice_sweep():
        return [override.value()]
    values = override.sweep_iterator(Transformer.identity)
    return [value.text if isinstance(value, QuotedString) else value for value in values]


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return fnmatchcase(str(value), wanted.replace("[", "[[]"))
    if isinstance(value, str):  # a digest of digits alone, say
        return value == str(wanted)
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _compares(value: Any, sign: str, limit: str) -> bool:
    """Whether a number or a time is on this side of a limit."""
    if isinstance(value, str):
        first: Any = value
        second: Any = limit
    else:
        try:
            first, second = float(value), float(limit)
        except (TypeError, ValueError):
            return False
    signs = {"<": first < second, "<=": first <= second, ">": first > second}
    return bool(signs.get(sign, first >= second))


def _words(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The columns that hold more than numbers."""
    numbers = (int, float, type(None))
    held = zip(columns, zip(*rows, strict=True), strict=True)
    return [name for name, values in held if not all(isinstance(v, numbers) for v in values)]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.5g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
