"""Mutants written by hand: each must be caught, and by the tests it names."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import ROOT
from tests.mutants.worker import Copy, Job, failing_anyway, outcomes

SECONDS = 300.0


@dataclass(frozen=True)
class Fixed:
    """``old``, which stands once in the file, is replaced by ``new``; ``tests`` are arguments."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self) -> bytes:
        text = (ROOT / self.file).read_text()
        if text.count(self.old) != 1:
            raise SystemExit(f"{self.name}: {self.old!r} is {text.count(self.old)} times in it")
        return text.replace(self.old, self.new).encode()


def read(file: str) -> list[Fixed]:
    listed = tomllib.loads(Path(__file__).with_name(file).read_text())["mutant"]
    return [Fixed(**{**one, "tests": tuple(one["tests"])}) for one in listed]


def run(file: str, names: list[str], copies: list[Copy]) -> int:
    """Print a line for each; 1 where one survives, or what caught it fails without a mutant."""
    mutants = [one for one in read(file) if not names or any(name in one.name for name in names)]
    jobs = [(one, Job(one.file, one.applied(), one.tests, SECONDS)) for one in mutants]
    caught_by: dict[Fixed, str] = {}
    for mutant, ended in outcomes(copies, jobs):
        test = "taking too long" if ended.timed_out else ended.failed
        caught_by[mutant] = test
        print(f"{mutant.name:60} {f'caught by {test}' if test else 'SURVIVED'}", flush=True)
    # Tests that always fail would catch everything.
    failing = failing_anyway({test for test in caught_by.values() if "::" in test}, copies[0])
    for test in sorted(failing):
        print(f"fails without a mutant: {test}")
    survived = [mutant for mutant, test in caught_by.items() if not test or test in failing]
    print(f"{len(mutants) - len(survived)} of {len(mutants)} caught")
    return 1 if survived or not mutants else 0
