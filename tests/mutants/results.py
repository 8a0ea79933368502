"""What mutants came to, kept from one call to the next, and reported."""

import hashlib
import json
import tomllib
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from tests.mutants import ROOT
from tests.mutants.operators import Mutant

CAUGHT = ("caught", "timed out")


class Results:
    """One line of JSON for each mutant that was run; the last one of a mutant counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.found: dict[str, dict[str, Any]] = {}
        for line in path.read_text().splitlines():
            try:
                kept = json.loads(line)
            except ValueError:  # the interrupted write of a killed call
                continue
            self.found[kept["mutant"]] = kept

    def add(self, mutant: Mutant, status: str, by: str, tests: list[str]) -> None:
        kept = {
            "mutant": self._key(mutant),
            "where": f"{mutant.path}:{mutant.line}",
            "change": [mutant.old, mutant.new],
            "status": status,
            "by": by,
            "tests": len(tests),
            "decided": self._digest([by] if "::" in by else tests),
        }
        self._keep(kept)

    def known(self, mutant: Mutant, tests: list[str]) -> bool:
        """Whether a result is there that still counts."""
        kept = self.found.get(self._key(mutant))
        if kept is None:
            return False
        return bool(kept["decided"] == self._digest([kept["by"]] if "::" in kept["by"] else tests))

    def status(self, mutant: Mutant) -> str:
        return str(self.found.get(self._key(mutant), {}).get("status", "not run"))

    def unproven(self, mutants: list[Mutant]) -> set[str]:
        """The tests that caught something, and aren't known to pass without it."""
        kept = [self.found[self._key(one)] for one in mutants if self._key(one) in self.found]
        return {one["by"] for one in kept if "::" in one["by"] and not one.get("proven")}

    def prove(self, mutants: list[Mutant], failing: set[str]) -> None:
        for key in self.found.keys() & {self._key(one) for one in mutants}:
            kept = self.found[key]
            if "::" in kept["by"] and not kept.get("proven"):
                if kept["by"] in failing:
                    self._keep({**kept, "status": "not run", "by": "", "decided": ""})
                else:
                    self._keep({**kept, "proven": True})

    def _keep(self, kept: dict[str, Any]) -> None:
        self.found[kept["mutant"]] = kept
        with self.path.open("a") as file:
            file.write(json.dumps(kept) + "\n")

    def _key(self, mutant: Mutant) -> str:
        place = f"{mutant.path}:{mutant.start}:{mutant.end}:{mutant.new}"
        return f"{_sha(ROOT / mutant.path)[:12]}:{place}"

    def _digest(self, tests: list[str]) -> str:
        """Of the files of the tests, and of which tests they are."""
        digest = hashlib.sha256()
        for test in sorted(tests):
            digest.update(test.encode())
        for name in sorted({test.partition("::")[0] for test in tests}):
            digest.update(_sha(ROOT / name).encode())
        return digest.hexdigest()[:12]


@cache
def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "gone"


class Survivors:
    """survivors.toml: for each source file what survives, by the text of its line, and why.

    `kind` is "equivalent" where no test could tell, "accepted" where none is worth it.
    """

    def __init__(self, path: Path) -> None:
        listed = tomllib.loads(path.read_text()) if path.is_file() else {}
        self.listed = {
            (name, one["line"], one["old"], one["new"]): one["kind"]
            for name, found in listed.items()
            for one in found
        }

    def kind(self, mutant: Mutant) -> str:
        return self.listed.get((mutant.path, source_line(mutant), mutant.old, mutant.new), "")


@cache
def _lines(path: str) -> list[str]:
    return (ROOT / path).read_text().splitlines()


def source_line(mutant: Mutant) -> str:
    return _lines(mutant.path)[mutant.line - 1].strip()


def folder(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[:2])


def report(mutants: list[Mutant], results: Results, survivors: Survivors) -> int:
    """Print each new survivor, and how many were caught, by file and by folder."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    new = 0
    for mutant in mutants:
        status = results.status(mutant)
        if status not in CAUGHT:
            if kind := survivors.kind(mutant):
                status = kind
            else:
                new += 1
                print(f"{mutant.path}:{mutant.line}  {source_line(mutant)}")
                print(f"    {status}: {mutant.old!r} -> {mutant.new!r}")
        for name in {mutant.path, folder(mutant.path), "all"}:
            counts[name][status] += 1
    print(f"{'':40} caught  timed out  survived  no test  accepted  equivalent  share")
    for name in sorted(counts, key=lambda name: (name == "all", name)):
        print(_row(name, counts[name]))
    print(f"{new} survive that survivors.toml doesn't list")
    return 1 if new else 0


def _row(name: str, count: Counter[str]) -> str:
    caught = count["caught"] + count["timed out"]
    share = caught / max(1, count.total() - count["equivalent"])
    return (
        f"{name:40} {count['caught']:6}  {count['timed out']:9}  {count['survived']:8}  "
        f"{count['no test']:7}  {count['accepted']:8}  {count['equivalent']:10}  {share:5.1%}"
    )
