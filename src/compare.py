"""Entry point: `python -m src.compare methods=[sgd,adam]` says which method is better."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from src.cli import one_line_errors
from src.config import OUTPUTS, PROJECT, parse, register
from src.errors import InputError

EPILOG = """Overrides of the comparison: methods=[...], protocol.KEY=VALUE (conf/protocol).
All others go to every run: data=mnist model.hidden_sizes=[200] trainer.epochs=2 ..."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m src.compare",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE")
    arguments = parser.parse_args()
    with one_line_errors():
        register()
        try:
            compare(arguments.overrides)
        except KeyboardInterrupt:
            command = shlex.join(["python", "-m", "src.compare", *arguments.overrides])
            print(f"interrupted; this goes on: {command}", file=sys.stderr)
            raise


def compare(overrides: list[str]) -> dict[str, Any]:
    """Carry a comparison out, or go on with it; write its folder and print the verdict.

    Raises:
        InputError: a setting is wrong, or the folder holds another comparison.
    """
    from src.comparing.protocol import plan as make_plan
    from src.reporting.report import write_report
    from src.reporting.tables import print_protocol, print_verdict

    plan = make_plan(overrides)
    folder = OUTPUTS / "comparisons" / plan.name
    print_protocol(plan.settings())
    known = _known(folder, plan.hash(), plan.settings())
    if known is None:
        try:
            known = _conduct(plan, folder)
        except OSError as error:
            reason = f"{error.filename or folder}: {error.strerror or error}"
            raise InputError(f"{reason}; the same command goes on") from error
        write_report(folder)
    print_verdict(known)
    print(f"report: {folder / 'report.html'}")
    return known


def _known(folder: Path, expected: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The finished comparison of this folder; None if it isn't finished."""
    place = folder / "comparison.json"
    asked = folder / "protocol.json"
    if asked.is_file() and (folder / "ledger.jsonl").is_file():  # and something was done for it
        theirs = json.loads(asked.read_text(encoding="utf-8"))
        differ = sorted(k for k in {*theirs, *settings} if theirs.get(k) != settings.get(k))
        if differ:
            key = differ[0]
            raise InputError(
                f"{folder} holds another comparison: {key} was {theirs.get(key, 'absent')}, "
                f"is {settings.get(key, 'absent')}; choose another protocol.name"
            )
    if not place.is_file() or not (folder / "report.html").is_file():
        return None
    comparison: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return comparison if comparison["hash"] == expected else None


def _conduct(plan: Any, folder: Path) -> dict[str, Any]:
    from src.comparing.conduct import jobs, train
    from src.comparing.ledger import Ledger
    from src.comparing.searching import Searches
    from src.comparing.verdict import judge
    from src.files import write_whole
    from src.results import provenance
    from src.run import alone, assemble

    for method in plan.methods:  # a mistake is found before a folder is made
        assemble(parse(plan.job(method)))
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        write_whole(folder / "protocol.json", json.dumps(plan.settings(), indent=2).encode())
        ledger = Ledger(folder)
        searches = Searches(plan, folder, ledger).run()
        todo, runs = jobs(plan, searches), []
        for number, job in enumerate(todo, 1):
            runs.append(train(plan, job, folder, ledger))
            value = runs[-1]["value"]
            shown = "diverged" if value is None else f"{plan.protocol.metric} {value:.5g}"
            print(f"run {number}/{len(todo)}: {job.folder_name}: {shown}", flush=True)
        comparison = judge(plan, searches, runs, provenance(PROJECT), ledger.read())
        lines = "".join(json.dumps(one) + "\n" for one in runs)
        write_whole(folder / "runs.jsonl", lines.encode())
        write_whole(
            folder / "comparison.json", json.dumps(comparison, indent=1).encode(), flush=True
        )
    return comparison


if __name__ == "__main__":
    main()
