"""Runs for the proof of the verdict's error rates: tests/comparing/stored_runs.json.

    python benchmarks/stored_runs.py [--seeds 80] [--problems wine ...] [--out FILE]

On each problem each method is tuned in a search of 16 trials, and its winner is trained on fresh
seeds. The file holds what these runs ended with, the winners' settings, and the command and commit
that made it. What was trained is kept in outputs/stored_runs; the same command goes on there.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import optuna

from benchmarks.searches import search, train
from src.comparing.protocol import Plan, plan
from src.composing import register
from src.config import OUTPUTS, PROJECT
from src.files import write_whole
from src.overrides import python
from src.results import provenance

# Problems, and what makes their runs a tenth of a second long.
PROBLEMS = {"wine": (), "diabetes": ("trainer.epochs=10",), "digits": ("trainer.epochs=3",),
            "quadratic": ("trainer.epochs=5",)}  # fmt: skip
METHODS = ("sgd", "momentum", "adam", "schedule_free_adamw")
# Of an accuracy on few samples many values are equal.
METRICS = {"digits": ("test_loss", "test_accuracy"), "wine": ("test_loss", "test_accuracy")}
TRIALS, FIRST = 16, 1000
DIGITS = 6


class Kept:
    """A method's winner on a problem, and what its runs ended with by seed, in a file."""

    def __init__(self, asked: Plan, problem: str, method: str) -> None:
        self.asked, self.method = asked, method
        self.path = OUTPUTS / "stored_runs" / f"{problem}-{method}.json"
        self.facts: dict[str, Any] = {"winner": None, "ends": {}}
        if self.path.is_file():
            self.facts = json.loads(self.path.read_text(encoding="utf-8"))

    def train(self, seeds: range) -> None:
        """Train what is missing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory() as folder:
            if self.facts["winner"] is None:
                trials = search(self.asked, self.method, 0, TRIALS, Path(folder))
                complete = [trial for trial in trials if trial.value is not None]
                self.facts["winner"] = min(complete, key=lambda trial: trial.value).params
                self._write()
            for seed in seeds:
                if str(seed) not in self.facts["ends"]:
                    winner = self.facts["winner"]
                    result = train(self.asked, self.method, winner, seed, Path(folder))
                    self.facts["ends"][str(seed)] = result["at_end"]
                    self._write()

    def _write(self) -> None:
        write_whole(self.path, json.dumps(self.facts).encode())

    def values(self, metric: str, seeds: range) -> list[float | None]:
        """In so many digits as make no ties; None for a run that diverged."""
        ends = [self.facts["ends"][str(seed)][metric] for seed in seeds]
        return [None if end is None else float(f"{end:.{DIGITS}g}") for end in ends]


def trained(problem: str, seeds: range) -> dict[str, Any]:
    """The winners' settings, and each metric's values by method, in the order of seeds."""
    own = [f"problem={problem}", f"methods=[{','.join(METHODS)}]", *PROBLEMS[problem]]
    asked = plan([*own, "trainer.threads=1"])
    kept = {name: Kept(asked, problem, name) for name in METHODS}
    for name, each in kept.items():
        each.train(seeds)
        print(f"{problem}, {name}: {len(seeds)} runs", flush=True)
    winners = {name: each.facts["winner"] for name, each in kept.items()}
    metrics = METRICS.get(problem, ("test_loss",))
    values = {metric: {name: each.values(metric, seeds) for name, each in kept.items()}
              for metric in metrics}  # fmt: skip
    return {"settings": PROBLEMS[problem], "winners": winners, **values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=80, help="runs of each winner")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=[*PROBLEMS])
    out = PROJECT / "tests" / "comparing" / "stored_runs.json"
    parser.add_argument("--out", type=Path, default=out)
    arguments = parser.parse_args()
    register()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seeds = range(FIRST, FIRST + arguments.seeds)
    made = {name: trained(name, seeds) for name in arguments.problems}
    facts = provenance(PROJECT)
    how = {"command": python(*sys.argv), "git": facts["git"], "packages": facts["packages"]}
    content = json.dumps({"made": how, "problems": made}, separators=(",", ":"))
    write_whole(arguments.out, content.replace("],", "],\n").encode() + b"\n")


if __name__ == "__main__":
    main()
