"""Mutants written by hand: each must be caught, and by the tests it names."""

import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.worker import Copy, failing_anyway

ROOT = Path(__file__).parents[2]
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
    contents = {one: one.applied() for one in mutants}
    waiting, busy = list(reversed(mutants)), dict[Copy, Fixed]()
    caught_by: dict[Fixed, str] = {}
    while waiting or busy:
        for copy in copies:
            if copy not in busy and waiting:
                busy[copy] = waiting.pop()
                copy.write(busy[copy].file, contents[busy[copy]])
                copy.start(list(busy[copy].tests), SECONDS)
            elif copy in busy and (ended := copy.ended()):
                mutant = busy.pop(copy)
                copy.write(mutant.file, (ROOT / mutant.file).read_bytes())
                caught_by[mutant] = "taking too long" if ended.timed_out else ended.failed
                result = f"caught by {caught_by[mutant]}" if caught_by[mutant] else "SURVIVED"
                print(f"{mutant.name:60} {result}", flush=True)
        time.sleep(0.01)
    # Tests that always fail would catch everything.
    failing = failing_anyway({test for test in caught_by.values() if "::" in test}, copies[0])
    for test in sorted(failing):
        print(f"fails without a mutant: {test}")
    survived = [mutant for mutant, test in caught_by.items() if not test or test in failing]
    print(f"{len(mutants) - len(survived)} of {len(mutants)} caught")
    return 1 if survived or not mutants else 0
