"""Runs for the proof of the verdict's error rates: tests/comparing/stored_runs.json.

    python benchmarks/stored_runs.py [--seeds 80] [--out tests/comparing/stored_runs.json]

On each problem each method is tuned as a comparison tunes it, and its winner is trained on fresh
seeds. The file holds what they ended with, the winners' settings, and the command and commit that
made it. The searches and runs lie in outputs/stored_runs; the same command goes on there.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.comparing.checks import best
from src.comparing.conduct import jobs, train
from src.comparing.ledger import Ledger
from src.comparing.protocol import plan
from src.comparing.record import Run
from src.comparing.searching import Searches
from src.comparing.sequential import Need
from src.composing import register
from src.config import OUTPUTS, PROJECT
from src.files import write_whole
from src.overrides import python
from src.results import provenance

PROBLEMS = ("digits", "spirals", "wine", "diabetes", "quadratic")
METHODS = ("sgd", "adam", "muon", "schedule_free_adamw")
# Losses, and accuracies on few samples, of which many are equal.
METRICS = {"digits": ("test_loss", "test_accuracy"), "spirals": ("test_loss", "test_accuracy")}
DIGITS = 6


def trained(problem: str, seeds: int) -> dict[str, Any]:
    """The winners' settings, and each metric's values by method, in the order of seeds."""
    own = [f"problem={problem}", f"methods=[{','.join(METHODS)}]", "pruner=none"]
    asked = plan([*own, "trainer.threads=1", f"protocol.seeds={seeds}"])
    folder = OUTPUTS / "stored_runs" / problem
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder)
    searches = Searches(asked, folder, ledger).run()
    runs: dict[str, list[Run]] = {name: [] for name in METHODS}
    for job in jobs(asked, searches, Need(METHODS, 1, seeds), first=False):
        runs[job.method].append(train(asked, job, folder, ledger))
    winners = {search.method: trial.params for search in searches if (trial := best(search.trials))}
    metrics = METRICS.get(problem, ("test_loss",))
    values = {metric: {name: [_short(run.of(metric)) for run in runs[name]] for name in METHODS}
              for metric in metrics}  # fmt: skip
    return {"winners": winners, **values}


def _short(value: float | None) -> float | None:
    """So many digits as make no ties; None for a run that diverged."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=80, help="runs of each winner")
    out = PROJECT / "tests" / "comparing" / "stored_runs.json"
    parser.add_argument("--out", type=Path, default=out)
    arguments = parser.parse_args()
    register()
    made = {name: trained(name, arguments.seeds) for name in PROBLEMS}
    facts = provenance(PROJECT)
    how = {"command": python(*sys.argv), "git": facts["git"], "packages": facts["packages"]}
    content = json.dumps({"made": how, "problems": made}, separators=(",", ":"))
    write_whole(arguments.out, content.replace('},"', '},\n"').encode() + b"\n")


if __name__ == "__main__":
    main()
