"""Which tests run which line, and how long each takes: what `make coverage` measured."""

import sqlite3
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from tests.mutants import ROOT

COPIED_SOURCE = "/src/"


class Coverage:
    """Reads the database and the timings in a folder.

    A line that a fixture ran counts for all tests of that file, since the fixture may be theirs;
    it is timed with the test that was the first to need it.
    """

    def __init__(self, folder: Path) -> None:
        self.database, self.folder = folder / ".coverage", folder
        if not self.database.is_file():
            raise SystemExit(f"{self.database} is not there: run `make coverage` first")

    @cached_property
    def seconds(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for path in sorted(self.folder.glob("*.xml"), key=lambda path: path.stat().st_mtime):
            for case in ElementTree.parse(path).iter("testcase"):
                if case.find("skipped") is None:
                    file = case.attrib["classname"].replace(".", "/") + ".py"
                    found[f"{file}::{case.attrib['name']}"] = float(case.attrib["time"])
        return found

    @cached_property
    def tests_of_file(self) -> dict[str, set[str]]:
        tests: dict[str, set[str]] = defaultdict(set)
        for test in self.seconds:
            tests[test.partition("::")[0]].add(test)
        return tests

    @cached_property
    def lines(self) -> dict[str, dict[int, set[str]]]:
        """For each source file, the contexts in which each of its lines ran."""
        found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        query = (
            "select path, context, fromno, tono from arc join file on file.id = file_id "
            "join context on context.id = context_id"
        )
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            for path, context, first, last in connection.execute(query):
                for line in (first, last):
                    if line > 0:
                        found[self._source(path)][line].add(context)
        return found

    def covering(self, path: str, lines: range) -> tuple[dict[str, float], bool]:
        """The tests that ran one of the lines, and the seconds that a fixture takes before them.

        Where these ran as the file was imported, or where it has changed since: those that ran
        any line of the file, and False.
        """
        known = self.lines.get(path, {})
        changed = (ROOT / path).stat().st_mtime > self.database.stat().st_mtime
        found = set().union(*(known.get(line, set()) for line in lines))
        exact = not (changed or "" in found)
        if not exact:
            found = set().union(*known.values())
        tests: dict[str, float] = {}
        for context in sorted(found - {""}):
            self._add(context, tests)
        return tests, exact

    def _add(self, context: str, tests: dict[str, float]) -> None:
        """`FILE::TEST|run` of this process, or `FILE::TEST (call)` of one that it started."""
        test, separator, phase = context.rpartition("|" if "|" in context else " ")
        assert separator, context
        if test not in self.seconds:
            return
        if phase.strip("()") in ("run", "call"):
            tests[test] = 0.0
            return
        for one in self.tests_of_file[test.partition("::")[0]]:
            tests.setdefault(one, self.seconds[test])

    @staticmethod
    def _source(path: str) -> str:
        return f"src/{path.rpartition(COPIED_SOURCE)[2]}" if COPIED_SOURCE in path else path
