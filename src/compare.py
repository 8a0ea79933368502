"""Entry point: `python -m src.compare methods=[sgd,adam]` says which method is better."""

import argparse
import json
import os
import shlex
import sys
import textwrap
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.cli import one_line_errors
from src.comparing.overall import Overall
from src.comparing.record import Comparison, read, write
from src.composing import register, slug
from src.config import CONF, OUTPUTS, PROJECT, parse
from src.errors import InputError
from src.explaining import beside, commented
from src.overrides import again, override
from src.results.place import WORKER

if TYPE_CHECKING:  # torch takes seconds to import
    from src.comparing.rounds import Steps

EPILOG = """\
n_jobs=16 is protocol.n_jobs: workers that share searches, runs and problems. They are processes
of this machine, or what hydra/launcher=NAME starts, as for a search: joblib, ray, submitit_local,
submitit_slurm, with hydra.launcher.KEY=VALUE. Several hosts want a database that all of them reach,
hydra.sweeper.storage=postgresql://USER@HOST/DATABASE. The verdict is the same for all.

A finished comparison can go on: with protocol.widen, more trials, searches or methods,
the same command trains what is missing and comes to a new verdict.

All others go to every run: data=mnist model.hidden_sizes=[200] trainer.epochs=2 ...
`python -m src.train --help` says what there is."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m src.compare",
        description=__doc__,
        epilog="\n\n".join([*_available(), "Overrides of the comparison:", _explained(), EPILOG]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", default=[], help="KEY=VALUE")
    parser.add_argument(
        "--config-dir", "-cd", help="a folder of yours with optimizer/NAME.yaml, sweeps/NAME.yaml"
    )
    parser.add_argument(
        "--cfg", "-c", choices=["job"], help="print what each method would be run with, and leave"
    )
    arguments = parser.parse_intermixed_args()
    with one_line_errors():
        register()
        overrides = [*arguments.overrides, *_search_path(arguments)]
        if arguments.cfg is not None:
            print(_composed(overrides), end="")
            return
        try:
            compare(overrides)
        except KeyboardInterrupt:
            if WORKER not in os.environ:
                print(f"interrupted; this goes on: {again()}", file=sys.stderr)
            raise


def _available() -> list[str]:
    """The names of the files of sweeps/, and of suites where there are any, wrapped."""
    names = {"Methods": _names(PROJECT / "sweeps"), "Suites": _names(CONF / "suite")}
    return [
        textwrap.fill(f"{kind}: {', '.join(files)}", 96, subsequent_indent="  ")
        for kind, files in names.items()
        if files
    ]


def _names(folder: Path) -> list[str]:
    """The files of a group, those of its folders last."""
    files = (file.relative_to(folder).with_suffix("") for file in folder.rglob("*.yaml"))
    return sorted((file.as_posix() for file in files), key=lambda name: ("/" in name, name))


def _explained() -> str:
    """The comparison's own keys, as the files of conf/ say them."""
    files = {"": CONF / "compare.yaml", "protocol.": CONF / "protocol" / "default.yaml"}
    lines = [(f"{prefix}{key}={value}".removeprefix("defaults."), text)
             for prefix, file in files.items() for key, value, text in commented(file)]  # fmt: skip
    return "\n".join(beside(line, text) for line, text in lines)


def _search_path(arguments: argparse.Namespace) -> list[str]:
    """`--config-dir`, as the override that reaches every run."""
    folder = arguments.config_dir
    if folder is None:
        return []
    if any(line.startswith("hydra.searchpath=") for line in arguments.overrides):
        raise InputError(f"--config-dir={folder}: give it or hydra.searchpath, not both")
    if not Path(folder).is_dir():
        raise InputError(f"--config-dir={folder}: no such folder")
    return [override("hydra.searchpath", [f"file://{Path(folder).absolute()}"])]


def _composed(overrides: list[str]) -> str:
    """What a comparison is asked for, and each method's config, as YAML."""
    from omegaconf import OmegaConf

    from src.comparing.making import asked_for
    from src.comparing.protocol import Plan

    asked = asked_for(overrides)
    if isinstance(asked, Plan):
        return OmegaConf.to_yaml(_asked(asked))
    return OmegaConf.to_yaml({name: _asked(plan) for name, plan in asked.plans.items()})


def _asked(plan: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    runs = {name: OmegaConf.to_container(plan.job(name), resolve=True) for name in plan.methods}
    protocol = plan.protocol.model_dump()
    return {"methods": [*plan.methods], "protocol": protocol, "runs": runs}


def compare(overrides: list[str]) -> Comparison | Overall | None:
    """Carry a comparison out, or go on with it; write its folder and print the verdict.

    Returns:
        Its record; None if only the plan was asked for, or if it was left to another process.

    Raises:
        InputError: a setting is wrong, or the folder holds another comparison.
    """
    from src.reporting import pictures, vega

    elsewhere = any(item.startswith(("hydra/launcher", "detach", "dry_run")) for item in overrides)
    if WORKER not in os.environ and not elsewhere:
        pictures.begin()  # beside what this process imports
        vega.begin()
    import alembic.command  # noqa: F401, which Optuna imports for a database

    import src.sweeping.sweeper  # noqa: F401, for the searches
    from src.comparing import outlook, place
    from src.comparing.making import asked_for, help_out
    from src.comparing.protocol import Plan
    from src.launching.spare import set_aside

    asked = asked_for(overrides)
    set_aside()  # before pandas is imported, a database opened, or a device asked for
    from src.reporting.tables import print_verdict

    if not isinstance(asked, Plan):
        return _over(asked)
    plan = place.placed(asked, OUTPUTS / "comparisons")
    folder = OUTPUTS / "comparisons" / plan.name
    if WORKER in os.environ:
        help_out({"": plan}, folder)
        return None
    told = [*outlook.lines(plan), *outlook.workers(plan), f"folder: {folder}"]
    print("\n".join(told), flush=True)
    place.check(folder, plan.settings())
    if plan.dry_run:
        return None
    if plan.detach and _known(folder, plan) is None:
        _check(plan)
        _leave(folder)
        return None
    results: list[Comparison | InputError] = []
    _carry_out({"": plan}, folder, lambda _, result: results.append(result))
    [result] = results
    if isinstance(result, InputError):
        raise result
    print_verdict(result)
    print(f"report: {folder / 'report.html'}")
    return result


def _over(several: Any) -> Overall | None:
    """The comparison on each problem; the page over all is drawn after each.

    A problem whose comparison can't be made doesn't keep the others from theirs.
    """
    from src.comparing.making import help_out
    from src.comparing.outlook import workers
    from src.comparing.problems import begin, judged, lines
    from src.reporting.report import write_overall
    from src.reporting.tables_overall import print_overall
    from src.results import alone

    folder = OUTPUTS / "comparisons" / several.name
    names = {slug(name): name for name in several.plans}
    plans = {folder: several.plans[name] for folder, name in names.items()}
    if WORKER in os.environ:
        help_out(plans, folder)
        return None
    told = [*lines(several), *workers(next(iter(plans.values()))), f"folder: {folder}"]
    print("\n".join(told), flush=True)
    if several.dry_run:
        return None

    failures: dict[str, str] = {}
    left, finished = {*plans}, []

    def at_end(name: str, result: Comparison | InputError) -> None:
        left.discard(name)
        if isinstance(result, InputError):
            failures[names[name]] = str(result)
            print(f"{names[name]}: not finished: {result}", file=sys.stderr)
        else:
            print(f"{names[name]}: {result.sentence}", flush=True)
            finished.append(name)
        if finished and (not left or finished[-1] == name):
            write_overall(judged(folder), folder, files=not left)

    guesses = {name: _check(plan) for name, plan in plans.items()}
    begin(several, folder)
    if several.detach and None in [_known(folder / name, plan) for name, plan in plans.items()]:
        _leave(folder)
        return None
    with alone(folder):
        _carry_out(plans, folder, at_end, guesses)
    if failures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise InputError(f"{reasons}. The same command goes on")
    print()
    overall = judged(folder)
    print_overall(overall)
    print(f"report: {folder / 'report.html'}")
    return overall


def _leave(folder: Path) -> None:
    """Leave the comparison to a process in the background; refuse where one is at it by now."""
    from src.comparing.pieces import cannot_go_on
    from src.launching.detaching import detach
    from src.results import alone

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            pass
        detach(folder, "its workers end", page=shlex.quote(str(folder / "report.html")))
    except OSError as error:
        raise cannot_go_on(error, folder) from error


def _carry_out(
    plans: dict[str, Any],
    folder: Path,
    at_end: Callable[[str, Comparison | InputError], None],
    guesses: dict[str, dict[str, float]] | None = None,
) -> None:
    """The comparison on each problem; what is finished is read.

    Args:
        plans: by the problems' folders within that of the comparison.
        at_end: called with each comparison that has ended, or with why it can't be made.
        guesses: what `_check` returned, if the plans were checked.
    """
    from src.comparing.making import team
    from src.comparing.pieces import cannot_go_on

    submitter, steps = team(plans, folder), {}
    for number, (name, plan) in enumerate(plans.items(), 1):
        head = f"\nproblem {number}/{len(plans)}: {plan.problem}" if name else ""
        steps[name] = _steps(plan, folder, name, head, guesses, submitter.where)
    try:
        submitter.carry_out(steps, at_end)
    except OSError as error:
        raise cannot_go_on(error, folder) from error


def _steps(
    plan: Any,
    root: Path,
    name: str,
    head: str,
    guesses: dict[str, dict[str, float]] | None,
    where: Callable[[], str],
) -> "Steps[Comparison]":
    """The comparison on one problem; `where` says which hosts make something."""
    from src.comparing.pieces import cannot_go_on
    from src.reporting.report import write_report

    folder = root / name
    if head:
        print(head, flush=True)
    known = _known(folder, plan)
    if known is None:
        try:
            guess = _check(plan) if guesses is None else guesses[name]
            known = yield from _conduct(plan, folder, guess, name, where)
        except OSError as error:
            raise cannot_go_on(error, folder) from error
        write_report(folder)
    return known


def _known(folder: Path, plan: Any) -> Comparison | None:
    """The finished comparison of this folder; None if it isn't finished, or another was asked."""
    if not (folder / "report.html").is_file():
        return None
    try:
        comparison = read(folder)
    except InputError:  # missing or broken: it is made again from what was trained
        return None
    finished = comparison.hash == plan.hash() and not comparison.missing
    return comparison if finished else None


def _conduct(
    plan: Any, folder: Path, guess: dict[str, float], name: str, where: Callable[[], str]
) -> "Steps[Comparison]":
    from src.comparing import outlook, place
    from src.comparing.ledger import Ledger
    from src.comparing.rounds import Rounds
    from src.comparing.verdict import draft
    from src.files import write_whole
    from src.reporting.report import write_comparison
    from src.results import alone, provenance

    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if place.foreign(folder, plan.settings()):  # of which nothing is left but its searches
            for file in ("ledger.jsonl", place.FILE):
                (folder / file).unlink(missing_ok=True)
        ledger = Ledger(folder)
        for change in place.changed(folder, plan.settings()):
            ledger.note("asked anew", change)
        write_whole(folder / "protocol.json", json.dumps(plan.settings(), indent=2).encode())
        environment = provenance(PROJECT)

        def at_look(rounds: Rounds) -> None:
            comparison = draft(plan, rounds, environment, ledger.read(), datetime.now(), guess)
            if not comparison.missing:  # where a finished one has a page, nothing is to be drawn
                (folder / "report.html").unlink(missing_ok=True)
            write(comparison, folder)
            if not comparison.missing:
                return
            text = outlook.left(plan, rounds.searches, len(rounds.runs))
            print("; ".join(filter(None, [f"to come: {comparison.missing[0]}", text])), flush=True)
            if comparison.looks:
                print(
                    f"after {comparison.looks[-1].seeds} seeds: {comparison.sentence}", flush=True
                )
                write_comparison(comparison, folder, files=False)

        yield from Rounds(plan, folder, at_look, name, where).steps()
    return read(folder)


def _check(plan: Any) -> dict[str, float]:
    """Build every method and open the database: a mistake is found before a folder is made.

    Returns:
        What a constant guess reaches on the data.
    """
    from src.comparing.guess import constant_guess
    from src.sweeping.storage import absolute, open_storage
    from src.training.rehearsal import check

    for method in plan.methods:
        data = check(parse(plan.job(method)))
        _try_space(plan, method)
    sweeper = plan.configs[plan.methods[0]].hydra.sweeper
    open_storage(absolute(str(sweeper.storage)), sweeper.lease_seconds)
    return constant_guess(data.train.targets)


def _try_space(plan: Any, method: str) -> None:
    """Refuse a space in which nothing works; what works in parts only is the search's affair."""
    from src.comparing.refused import sampled
    from src.training.rehearsal import check

    reasons = []
    for point in sampled(plan.spaces[method]):
        try:
            check(plan.filled(method, point)[0])
            return
        except InputError as error:
            reasons.append(str(error))
    raise InputError(f"hydra.sweeper.params: nothing works in the space of {method}: {reasons[0]}")


if __name__ == "__main__":
    main()
