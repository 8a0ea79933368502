"""Entry point: `python -m src.compare methods=[sgd,adam]` says which method is better."""

import argparse
import json
import sys
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

from src.cli import one_line_errors
from src.comparing.overall import Overall
from src.comparing.record import Comparison, read, write
from src.composing import register, slug
from src.config import CONF, OUTPUTS, PROJECT, parse
from src.errors import InputError
from src.explaining import beside, commented
from src.overrides import again, override
from src.results.identity import differing

EPILOG = """All others go to every run: data=mnist model.hidden_sizes=[200] trainer.epochs=2 ...
`python -m src.train --help` says what there is."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m src.compare",
        description=__doc__,
        epilog=f"Overrides of the comparison:\n\n{_explained()}\n\n{EPILOG}",
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
            print(f"interrupted; this goes on: {again()}", file=sys.stderr)
            raise


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

    from src.comparing.problems import several as over_problems
    from src.comparing.protocol import plan as make_plan

    if several := over_problems(overrides):
        return OmegaConf.to_yaml({name: _asked(plan) for name, plan in several.plans.items()})
    return OmegaConf.to_yaml(_asked(make_plan(overrides)))


def _asked(plan: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    runs = {name: OmegaConf.to_container(plan.job(name), resolve=True) for name in plan.methods}
    protocol = plan.protocol.model_dump()
    return {"methods": [*plan.methods], "protocol": protocol, "runs": runs}


def compare(overrides: list[str]) -> Comparison | Overall:
    """Carry a comparison out, or go on with it; write its folder and print the verdict.

    Raises:
        InputError: a setting is wrong, or the folder holds another comparison.
    """
    from src.comparing.problems import several as over_problems
    from src.comparing.protocol import plan as make_plan
    from src.reporting.tables import print_protocol, print_verdict

    if several := over_problems(overrides):
        return _over(several)
    plan = make_plan(overrides)
    folder = OUTPUTS / "comparisons" / plan.name
    print_protocol(plan.settings())
    known = _carried_out(plan, folder)
    print_verdict(known)
    print(f"report: {folder / 'report.html'}")
    return known


def _carried_out(plan: Any, folder: Path) -> Comparison:
    """The comparison on one problem: what is finished is read."""
    from src.reporting.report import write_report

    known = _known(folder, plan)
    if known is None:
        try:
            known = _conduct(plan, folder)
        except OSError as error:
            reason = f"{error.filename or folder}: {error.strerror or error}"
            raise InputError(f"{reason}; the same command goes on") from error
        write_report(folder)
    return known


def _over(several: Any) -> Overall:
    """The comparison on each problem, one after another; the page over all is drawn after each.

    A problem whose comparison can't be made doesn't keep the others from theirs.
    """
    from src.comparing.problems import begin, judged
    from src.reporting.report import write_overall
    from src.reporting.tables_overall import print_overall, print_plans

    print_plans(several.plans)
    for plan in several.plans.values():
        _check(plan)
    folder, failures = OUTPUTS / "comparisons" / several.name, []
    begin(several, folder)
    for number, (name, plan) in enumerate(several.plans.items(), 1):
        print(f"\nproblem {number}/{len(several.plans)}: {name}", flush=True)
        try:
            print(_carried_out(plan, folder / slug(name)).sentence, flush=True)
        except InputError as error:
            failures.append(f"{name}: {error}")
            print(f"not finished: {error}", file=sys.stderr)
            continue
        overall = judged(folder)
        write_overall(overall, folder)
    if failures:
        raise InputError(f"{'; '.join(failures)}. The same command goes on")
    print()
    print_overall(overall)
    print(f"report: {folder / 'report.html'}")
    return overall


def _known(folder: Path, plan: Any) -> Comparison | None:
    """The finished comparison of this folder; None if it isn't finished.

    Raises:
        InputError: the folder holds what another comparison has trained.
    """
    differ = _differing(folder, plan.settings())
    if differ and (any(folder.glob("runs/*")) or (folder / "comparison.json").exists()):
        raise InputError(
            f"{folder} holds another comparison: {differ[0]}; choose another protocol.name"
        )
    if not (folder / "report.html").is_file():
        return None
    try:
        comparison = read(folder)
    except InputError:  # missing or broken: it is made again from what was trained
        return None
    return comparison if comparison.hash == plan.hash() else None


def _differing(folder: Path, settings: dict[str, Any]) -> list[str]:
    """What the comparison that was begun here was asked for otherwise; nothing, if none was."""
    path = folder / "protocol.json"
    if not path.is_file():
        return []
    try:
        theirs = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        way = f"move {folder} away, or choose another protocol.name"
        raise InputError(f"{path} can't be read: {error}; {way}") from error
    return differing(theirs, json.loads(json.dumps(settings)))


def _conduct(plan: Any, folder: Path) -> Comparison:
    from src.comparing.conduct import jobs, train
    from src.comparing.ledger import Ledger
    from src.comparing.searching import Searches
    from src.comparing.verdict import judge
    from src.files import write_whole
    from src.results import alone, provenance

    _check(plan)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if _differing(folder, plan.settings()):  # of which nothing is left but its searches
            (folder / "ledger.jsonl").unlink(missing_ok=True)
        write_whole(folder / "protocol.json", json.dumps(plan.settings(), indent=2).encode())
        ledger = Ledger(folder)
        searches = Searches(plan, folder, ledger).run()
        todo, runs = jobs(plan, searches), []
        for number, job in enumerate(todo, 1):
            runs.append(train(plan, job, folder, ledger))
            value = runs[-1].value
            shown = "diverged" if value is None else f"{plan.protocol.metric} {value:.5g}"
            print(f"run {number}/{len(todo)}: {job.folder_name}: {shown}", flush=True)
        now, events = datetime.now(), ledger.read()
        comparison = judge(plan, searches, runs, provenance(PROJECT), events, now)
        write(comparison, folder)
    return comparison


def _check(plan: Any) -> None:
    """Build every method and open the database: a mistake is found before a folder is made."""
    from src.sweeping.storage import absolute, open_storage
    from src.training.rehearsal import check

    for method in plan.methods:
        check(parse(plan.job(method)))
        _try_space(plan, method)
    sweeper = plan.configs[plan.methods[0]].hydra.sweeper
    open_storage(absolute(str(sweeper.storage)), sweeper.lease_seconds)


def _try_space(plan: Any, method: str) -> None:
    """Refuse a space in which nothing works; what works in parts only is the search's affair."""
    from omegaconf import OmegaConf

    from src.comparing.refused import sampled
    from src.training.rehearsal import check

    reasons = []
    for point in sampled(plan.spaces[method]):
        job = deepcopy(plan.job(method))
        for name, value in point.items():
            OmegaConf.update(job, name, value, force_add=True)
        try:
            check(parse(job))
            return
        except InputError as error:
            reasons.append(str(error))
    raise InputError(f"hydra.sweeper.params: nothing works in the space of {method}: {reasons[0]}")


if __name__ == "__main__":
    main()
